"""What a path is taken for: a file, a folder of files, a case folder of a data set; and what an image shows."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from myoscope.datasets import acdc, emidec, layout_of, myops, read_case
from myoscope.errors import InputError
from myoscope.io.read import guess_role, read_study
from myoscope.labels import Structure
from myoscope.study import Role
from myoscope.volume import plain_affine

SHAPE = (20, 18, 5)
AFFINE = plain_affine((10.0, 1.5, 1.25))


def write(path: Path, shape: tuple[int, ...] = SHAPE, codes: tuple[int, ...] | None = None) -> Path:
    rng = np.random.default_rng(0)
    voxels = rng.integers(1, 999, shape) if codes is None else rng.choice(codes, shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), AFFINE), path)
    return path


def acdc_case(folder: Path, info: str = "ED: 1\nES: 9\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n") -> Path:
    for frame in (1, 9):
        write(folder / f"patient001_frame{frame:02}.nii.gz")
        write(folder / f"patient001_frame{frame:02}_gt.nii.gz", codes=(0, 1, 2, 3))
    (folder / "Info.cfg").write_text(info)
    return folder


def emidec_case(root: Path, name: str = "Case_P007") -> Path:
    write(root / name / "Images" / f"{name}.nii.gz")
    write(root / name / "Contours" / f"{name}.nii.gz", codes=(0, 1, 2, 3, 4))
    text = f"{name.replace('_', ' ')}\r\n\r\nSex\xa0: F\r\nAge : 61\r\nTroponin: 12,5 µg\r\nGlycemia:  \r\n"
    (root / f"{name.replace('_', ' ')}.txt").write_bytes(text.encode("iso-8859-1"))
    return root / name


def myops_case(folder: Path, name: str = "Case3001", late: str = "LGE") -> Path:
    for word in ("C0", late, "T2"):
        write(folder / f"{name}_{word}.nii.gz")
    write(folder / f"{name}_gd.nii.gz", codes=(0, 200, 500, 600, 1220, 2221))
    return folder


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("x/Case_LGE.nii.gz", Role.LGE),
        ("x/a-DE.nii", Role.LGE),
        ("x/psir 3.nii", Role.LGE),
        ("x/cine_sax.nii", Role.CINE),
        ("x/p_frame01.nii", Role.CINE),
        ("x/T2.nii.gz", Role.T2),
        ("x/Case3001_C0.nii.gz", Role.BSSFP),
        ("LGE/image.nii.gz", Role.LGE),
        ("cine/series/image.nii.gz", Role.CINE),
        ("LGE/T2.nii.gz", Role.T2),
        ("x/model.nii.gz", None),
        ("x/decode.nii.gz", None),
    ],
)
def test_words_say_the_role(name: str, role: Role | None) -> None:
    assert guess_role(Path(name)) is role


def test_two_words_are_one_too_many() -> None:
    with pytest.raises(InputError, match="cine and lge; give --role"):
        guess_role(Path("x/cine_lge.nii"))


def test_one_file_with_a_role(tmp_path: Path) -> None:
    study = read_study(write(tmp_path / "image.nii.gz"), "LGE")
    assert [series.role for series in study.series] == [Role.LGE]
    assert study.id == "image"


def test_one_file_without_a_word_asks_for_the_role(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"image\.nii.*--role cine\|lge\|t2\|bssfp"):
        read_study(write(tmp_path / "image.nii"))


def test_a_four_dimensional_file_is_a_cine(tmp_path: Path) -> None:
    series = read_study(write(tmp_path / "image.nii.gz", (*SHAPE, 6))).series[0]
    assert series.role is Role.CINE
    assert series.image.voxels.shape == (6, 5, 18, 20)
    with pytest.raises(InputError, match="expected one frame for lge, found 6"):
        read_study(tmp_path / "image.nii.gz", "lge")


def test_a_folder_of_files(tmp_path: Path) -> None:
    write(tmp_path / "cine.nii.gz", (*SHAPE, 6))
    write(tmp_path / "late" / "LGE.nii")
    write(tmp_path / "LGE_seg.nii.gz", codes=(0, 1))
    study = read_study(tmp_path)
    assert {series.role for series in study.series} == {Role.CINE, Role.LGE}
    assert study.id == tmp_path.name


def test_frames_in_files_of_their_own_are_one_cine(tmp_path: Path) -> None:
    for frame in (3, 1, 2):
        write(tmp_path / f"p_frame{frame:02}.nii.gz")
    (series,) = read_study(tmp_path).series
    assert series.image.voxels.shape[0] == 3
    assert [grid.path.name[-9:-7] for grid in series.files] == ["01", "02", "03"]


def test_frames_on_two_grids_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "p_frame01.nii.gz")
    write(tmp_path / "p_frame02.nii.gz", (20, 18, 4))
    with pytest.raises(InputError, match=r"frame02\.nii\.gz.*grid of p_frame01"):
        read_study(tmp_path)


def test_two_images_of_one_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "LGE.nii.gz")
    write(tmp_path / "psir.nii.gz")
    with pytest.raises(InputError, match=r"one lge image, found LGE, psir; keep one"):
        read_study(tmp_path)


def test_a_data_sets_root_is_not_a_study(tmp_path: Path) -> None:
    emidec_case(tmp_path)
    with pytest.raises(InputError, match="found a data set; give one case folder"):
        read_study(tmp_path)


def test_only_labels_are_no_study(tmp_path: Path) -> None:
    write(tmp_path / "a_gt.nii.gz", codes=(0, 1))
    with pytest.raises(InputError, match="found only labels"):
        read_study(tmp_path)


def test_acdc(tmp_path: Path) -> None:
    folder = acdc_case(tmp_path / "patient001")
    assert layout_of(folder) is acdc
    study = read_study(folder)
    (series,) = study.series
    assert (series.ed_frame, series.es_frame) == (0, 1)
    assert (study.patient.height_cm, study.patient.weight_kg) == (184.0, 95.0)
    case = read_case(folder)
    assert case.group == "DCM"
    with pytest.raises(InputError, match="patient001: --role is for one image, found a case of a data set"):
        read_study(folder, Role.LGE)
    assert set(np.unique(case.labels[Role.CINE].voxels)) == {0, Structure.LV, Structure.MYOCARDIUM, Structure.RV}


def test_the_class_is_not_in_what_a_prediction_sees(tmp_path: Path) -> None:
    assert "DCM" not in str(read_study(acdc_case(tmp_path / "patient001")).patient)


@pytest.mark.parametrize("info", ["", "ED: 3\nES: 4\nHeight: tall\n", "ED: x\n:\n"])
def test_acdc_with_odd_facts_is_read_without_them(info: str, tmp_path: Path) -> None:
    study = read_study(acdc_case(tmp_path / "patient001", info))
    assert study.patient.height_cm is None
    assert study.series[0].ed_frame is None


def test_acdc_prefers_the_whole_cine(tmp_path: Path) -> None:
    folder = acdc_case(tmp_path / "patient001")
    write(folder / "patient001_4d.nii.gz", (*SHAPE, 12))
    (series,) = read_study(folder).series
    assert series.image.voxels.shape[0] == 12


def test_one_frame_of_acdc_is_a_cine(tmp_path: Path) -> None:
    folder = acdc_case(tmp_path / "patient001")
    assert read_study(folder / "patient001_frame01.nii.gz").series[0].role is Role.CINE


def test_emidec(tmp_path: Path) -> None:
    folder = emidec_case(tmp_path)
    assert layout_of(folder) is emidec
    study = read_study(folder)
    assert [series.role for series in study.series] == [Role.LGE]
    assert (study.patient.sex, study.patient.age_years) == ("F", 61.0)
    assert study.patient.clinical == {"Troponin": "12,5 µg"}
    case = read_case(folder)
    assert case.group == "pathological"
    assert case.drawn_as == {Structure.RV: Structure.BACKGROUND}
    assert read_case(emidec_case(tmp_path, "Case_N001")).group == "normal"


def test_an_image_inside_an_emidec_case_is_lge(tmp_path: Path) -> None:
    folder = emidec_case(tmp_path)
    assert read_study(folder / "Images" / "Case_P007.nii.gz").series[0].role is Role.LGE


@pytest.mark.parametrize(("name", "late"), [("Case3001", "LGE"), ("myops_training_101", "DE")])
def test_myops(name: str, late: str, tmp_path: Path) -> None:
    folder = myops_case(tmp_path / name, name, late)
    assert layout_of(folder) is myops
    assert {series.role for series in read_study(folder).series} == {Role.BSSFP, Role.LGE, Role.T2}
    labels = read_case(folder).labels[Role.LGE].voxels
    expected = {Structure.BACKGROUND, Structure.MYOCARDIUM, Structure.LV, Structure.RV}
    assert set(np.unique(labels)) == expected | {Structure.EDEMA, Structure.INFARCT}


def test_unknown_codes_name_the_file(tmp_path: Path) -> None:
    folder = acdc_case(tmp_path / "patient001")
    write(folder / "patient001_frame01_gt.nii.gz", codes=(0, 7))
    with pytest.raises(InputError, match=r"frame01_gt\.nii\.gz.*\[0, 1, 2, 3\].*7"):
        read_case(folder)


def test_ed_and_es_of_other_slices_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for name, slices in (("P1_ED", 5), ("P1_ES", 4)):
        voxels = np.random.default_rng(0).integers(0, 900, (24, 24, slices)).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, np.diag([1.5, 1.5, 8, 1])), tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match=r"P1_ES.*grid of P1_ED.*found 1 of \(4, 24, 24\).*each file alone"):
        read_study(tmp_path)
