"""Folders of NIfTI as people have them: names of public layouts, bystanders, single slices, phases, patient facts."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from myoscope.cohort.find import find_studies
from myoscope.errors import InputError
from myoscope.io.names import map_role
from myoscope.io.read import read_study
from myoscope.io.record import record_of
from myoscope.io.save import write_series
from myoscope.study import Role, Study
from myoscope.volume import plain_affine

SHAPE = (20, 18, 5)


def write(path: Path, *frames: int, affine: np.ndarray | None = None, shape: tuple[int, ...] = SHAPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(len(path.name)).integers(1, 999, (*shape, *frames)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, plain_affine((10.0, 1.5, 1.25)) if affine is None else affine), path)
    return path


def labels(path: Path, codes: tuple[int, ...] = (0, 1, 2, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(0).choice(codes, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, plain_affine((10.0, 1.5, 1.25))), path)
    return path


def roles(study: Study) -> dict[Role, str]:
    return {series.role: series.name for series in study.series}


LAYOUTS = {
    "UK Biobank": (["sa.nii.gz:5", "la_2ch.nii.gz:5", "la_4ch.nii.gz:5"], {Role.CINE: "sa"}),
    "UK Biobank, split": (["sa.nii.gz:5", "sa_ED.nii.gz", "sa_ES.nii.gz", "seg_sa_ED.nii.gz"], {Role.CINE: "sa"}),
    "M&Ms": (["A0S9V9_sa.nii.gz:5", "A0S9V9_sa_gt.nii.gz:5"], {Role.CINE: "A0S9V9_sa"}),
    "M&Ms-2": (["001_SA_ED.nii.gz", "001_SA_ES.nii.gz", "001_LA_ED.nii.gz", "001_LA_ES.nii.gz"], {Role.CINE: "001_sa"}),
    "CMRxRecon": (
        ["cine_sax.nii.gz:5", "cine_lax.nii.gz:5", "T1map.nii.gz:4"],
        {Role.CINE: "cine_sax"},
    ),
    "nnU-Net": (["patient001_frame01_0000.nii.gz", "patient001_frame12_0000.nii.gz"], {Role.CINE: "patient001"}),
    "LGE both ways": (["LGE_sax.nii.gz", "psir_4ch.nii.gz"], {Role.LGE: "LGE_sax"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_public_layouts(layout: str, tmp_path: Path) -> None:
    names, expected = LAYOUTS[layout]
    for name in names:
        file, _, frames = name.partition(":")
        write(tmp_path / file, *([int(frames)] if frames else []))
    study = read_study(tmp_path)
    assert roles(study) == expected
    unnamed = [name for name in names if "la" in name.lower().split(".")[0].split("_")]
    assert all(name.split(":")[0] in str(study.notes) for name in unnamed)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cine_lax", "a long axis"),
        ("la_4ch", "a long axis"),
        ("3_chamber", "a long axis"),
        ("T2_map", "a map"),
        ("sax_T1_map_post", "a map"),
        ("ECV", "a map"),
        ("MOLLI_sax", "a map"),
        ("sax_perfusion", "perfusion"),
        ("cine_flow", "flow"),
    ],
)
def test_what_a_name_excludes_is_not_measured_unless_told(name: str, why: str, tmp_path: Path) -> None:
    path = write(tmp_path / "study" / f"{name}.nii.gz", 5)
    for given in (path, path.parent):
        with pytest.raises(InputError, match=f"{why}.*--role"):
            read_study(given)
    assert roles(read_study(path, "cine")) == {Role.CINE: name}


def test_a_folders_name_says_long_axis(tmp_path: Path) -> None:
    write(tmp_path / "study" / "4ch" / "cine.nii.gz", 5)
    write(tmp_path / "study" / "sa" / "cine.nii.gz", 5)
    (series,) = read_study(tmp_path / "study").series
    assert series.files[0].path.parent.name == "sa"


def test_maps_are_read_by_name_beside_an_image(tmp_path: Path) -> None:
    for name in ("sub-1_LGE", "sub-1_T1map", "sub-1_T2map", "sub-1_ECV", "sub-1_T1map_post", "sub-1_T2star_map"):
        write(tmp_path / f"{name}.nii.gz")
    study = read_study(tmp_path)
    assert roles(study) == {
        Role.LGE: "sub-1_LGE",
        Role.MAP_T1: "sub-1_T1map",
        Role.MAP_T1_POST: "sub-1_T1map_post",
        Role.MAP_T2: "sub-1_T2map",
        Role.MAP_ECV: "sub-1_ECV",
    }
    assert "sub-1_T2star_map" in str(study.notes)
    write(tmp_path / "sub-1_run-2_T1map.nii.gz")  # two of one kind: neither
    again = read_study(tmp_path)
    assert again.get(Role.MAP_T1) is None
    assert "run-2_T1map" in str(again.notes)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("map_t1_native", Role.MAP_T1_NATIVE),
        ("T1map_pre", Role.MAP_T1_NATIVE),
        ("pre_gd_T1map", Role.MAP_T1_NATIVE),
        ("map_t1_post", Role.MAP_T1_POST),
        ("sub-1_ce-gadolinium_T1map", Role.MAP_T1_POST),
        ("T1map_15min_post", Role.MAP_T1_POST),
        ("T1map_pre_and_post", Role.MAP_T1),
        ("T1map", Role.MAP_T1),
        ("ECV_post", None),
        ("T1map_post_sd", None),
    ],
)
def test_a_maps_name_says_whether_contrast_agent_was_there(name: str, role: Role | None) -> None:
    assert map_role(Path(f"{name}.nii.gz")) is role


# --- phases ---


def test_two_files_named_ed_and_es_are_phases_of_one_cine(tmp_path: Path) -> None:
    write(tmp_path / "P07_ES.nii.gz")
    write(tmp_path / "P07_ED.nii.gz")
    (series,) = read_study(tmp_path).series
    assert (series.role, series.ed_frame, series.es_frame) == (Role.CINE, 0, 1)
    assert [grid.path.name for grid in series.files] == ["P07_ED.nii.gz", "P07_ES.nii.gz"]
    assert series.image.voxels.shape[0] == 2


@pytest.mark.parametrize(("name", "phases"), [("a_ED", (0, None)), ("a_ES", (None, 0))])
def test_one_phase_is_no_other(name: str, phases: tuple[int | None, int | None], tmp_path: Path) -> None:
    path = write(tmp_path / f"{name}.nii.gz")
    for given in (path, tmp_path):
        (series,) = read_study(given).series
        assert (series.role, series.ed_frame, series.es_frame) == (Role.CINE, *phases)


def test_phases_of_two_patients_are_refused(tmp_path: Path) -> None:
    for name in ("a_ED", "a_ES", "b_ED", "b_ES"):
        write(tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match="one cine image, found a, b; keep one"):
        read_study(tmp_path)


def test_dcm2niix_s_files_of_one_trigger_time_are_phases_by_time(tmp_path: Path) -> None:
    names = ["sax_t120", "sax", "sax_t40", "sax_t81"]  # as they sort, 120 is before 40; at 0 ms no suffix
    for name in names:
        write(tmp_path / "a" / f"{name}.nii.gz")
    write(tmp_path / "a" / "LGE_t650.nii.gz")
    series = read_study(tmp_path / "a").get(Role.CINE)
    assert series is not None and series.name == "sax"
    assert [grid.stem for grid in series.files] == ["sax", "sax_t40", "sax_t81", "sax_t120"]
    assert series.image.frame_time_ms == pytest.approx(40)
    alone = read_study(tmp_path / "a" / "sax_t81.nii.gz").series[0].image.voxels
    assert (series.image.voxels[2] == alone).all()
    assert [item.name for item in find_studies([tmp_path])[0]] == ["a"]


@pytest.mark.parametrize("why", ["a phase is missing", "torn apart"])
def test_files_of_trigger_times_that_are_no_cine_are_refused_with_what_to_do(why: str, tmp_path: Path) -> None:
    for ms in (40, 80, 160) if why == "a phase is missing" else (40, 80, 120):
        write(tmp_path / f"sax_t{ms}.nii.gz", shape=(20, 18, 3 if ms == 80 and why == "torn apart" else 5))
    with pytest.raises(InputError, match=r"one cine image, found sax_t.*NAME_t40, .* else give the DICOM"):
        read_study(tmp_path)


# --- bystanders and label maps ---


def test_what_computers_leave_beside_is_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "lge.nii.gz")
    for name in ("._lge.nii.gz", ".DS_Store", "report.pdf", "__MACOSX/._lge.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    copy = tmp_path / ".ipynb_checkpoints" / "lge-checkpoint.nii.gz"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    study = read_study(tmp_path)
    assert roles(study) == {Role.LGE: "lge"}
    assert study.notes == ()


def test_an_empty_file_is_said(tmp_path: Path) -> None:
    write(tmp_path / "cine.nii.gz", 5)
    (tmp_path / "lge.nii.gz").touch()
    (note,) = read_study(tmp_path).notes
    assert note.level == "warning"
    assert "lge.nii.gz was left out: it is empty" in note.message


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "disk" / "lge.nii.gz")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "study" / "again").symlink_to(tmp_path / "study")
    assert roles(read_study(tmp_path / "study")) == {Role.LGE: "lge"}


@pytest.mark.parametrize("name", ["lge_seg", "Segmentation_1", "lge_manual", "lge_pred", "lge_myo", "lge_label1", "x"])
def test_a_label_map_is_no_image(name: str, tmp_path: Path) -> None:
    write(tmp_path / "lge.nii.gz")
    labels(tmp_path / f"{name}.nii.gz")
    assert roles(read_study(tmp_path)) == {Role.LGE: "lge"}
    with pytest.raises(InputError, match="label"):
        read_study(tmp_path / f"{name}.nii.gz", "lge")


def test_a_mask_of_two_values_and_myops_codes_are_labels(tmp_path: Path) -> None:
    for codes in ((0, 255), (0, 200, 500, 600, 1220, 2221)):
        with pytest.raises(InputError, match="found a label map by its values"):
            read_study(labels(tmp_path / "lge.nii.gz", codes))


# --- single slices ---


def slices(folder: Path, places: list[int], *frames: int) -> np.ndarray:
    affine = np.array([[1.2, 0, 4.8, 3], [0, 1.5, 0, -7], [-0.9, 0, 6.4, 11], [0, 0, 0, 1.0]])
    voxels = np.random.default_rng(1).integers(1, 999, (20, 18, 9, *frames)).astype(np.int16)
    for n, z in enumerate(places):
        own = affine.copy()
        own[:3, 3] = (affine @ [0, 0, z, 1])[:3]
        folder.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(voxels[:, :, z : z + 1], own), folder / f"cine_sax_{n + 5}.nii.gz")
    nib.save(nib.Nifti1Image(voxels[:, :, sorted(places)], affine), folder.parent / "whole_cine.nii.gz")
    return affine


def test_single_slices_are_stacked_by_where_they_lie(tmp_path: Path) -> None:
    slices(tmp_path / "parts", [3, 0, 2, 1], 6)
    study = read_study(tmp_path / "parts")
    (series,) = study.series
    (whole,) = read_study(tmp_path / "whole_cine.nii.gz").series
    assert (series.name, series.role) == ("cine_sax", Role.CINE)
    assert series.image.voxels.shape == (6, 4, *whole.image.voxels.shape[2:])
    assert (series.image.voxels == whole.image.voxels).all()
    assert np.allclose(series.image.affine, whole.image.affine, atol=1e-4)
    (written,) = write_series(series, series.image.with_voxels(np.ones(series.image.voxels.shape)), tmp_path)
    assert np.allclose(nib.load(written).affine @ [0, 0, 1, 1], whole.image.affine @ [0, 0, 1, 1], atol=1e-4)
    assert len(record_of(study, []).images[0].files) == 4


@pytest.mark.parametrize("places", [[0, 1, 3, 4], [0, 1, 1, 2]])
def test_a_missing_or_a_second_slice_is_refused(places: list[int], tmp_path: Path) -> None:
    slices(tmp_path / "parts", places, 6)
    with pytest.raises(InputError, match="single slices at one distance"):
        read_study(tmp_path / "parts")


# --- patient.json ---


def test_patient_facts_beside_the_images(tmp_path: Path) -> None:
    write(tmp_path / "nifti" / "lge.nii.gz")
    (tmp_path / "nifti" / "patient.json").write_text(json.dumps({"height_cm": 170}))
    assert read_study(tmp_path).patient.height_cm == 170


def test_patient_facts_beside_a_data_sets_case(tmp_path: Path) -> None:
    folder = tmp_path / "patient001"
    write(folder / "patient001_4d.nii.gz", 6)
    (folder / "Info.cfg").write_text("Height: 184.0\nWeight: 95.0\n")
    (folder / "patient.json").write_text(json.dumps({"height_cm": 170, "sex": "F"}))
    study = read_study(folder)
    assert (study.patient.height_cm, study.patient.weight_kg, study.patient.sex) == (170, 95, "F")
    (note,) = study.notes
    assert "height_cm 184.0 and 170" in note.message


def test_two_patients_facts_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a" / "lge.nii.gz")
    for place, height in ((tmp_path, 170), (tmp_path / "a", 171)):
        (place / "patient.json").write_text(json.dumps({"height_cm": height}))
    with pytest.raises(InputError, match="the facts of one patient"):
        read_study(tmp_path)


@pytest.mark.parametrize("facts", [{"height_m": 1.7}, {"height_cm": "170 cm"}, {"height_cm": 1.7}, {"patient": {}}])
def test_unknown_keys_and_units_are_refused(facts: dict[str, object], tmp_path: Path) -> None:
    write(tmp_path / "lge.nii.gz")
    (tmp_path / "patient.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"patient\.json"):
        read_study(tmp_path)
