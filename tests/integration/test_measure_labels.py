"""`measure STUDY --labels`: every label map of a study at once, NIfTI and DICOM, and what was changed is told."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_results import Sent, sent
from myoscope import cli
from myoscope.analysis import judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.io.read import read_study
from myoscope.io.save import write_study, write_volume
from myoscope.labels import Structure
from myoscope.study import Case, Role
from myoscope.volume import Volume

Measure = Any


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(6, KEPT_ASIDE, "MINF"), frames=3)


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Measure:
    """Run `measure` on a study; gives measurements.json, or the one line of a refusal."""

    def run(*arguments: object, out: Path = tmp_path / "out") -> Any:
        monkeypatch.setattr(sys, "argv", ["myoscope", "measure", *map(str, arguments), "-o", str(out)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        if stopped.value.code == 2:
            assert len(said.err.splitlines()) == 1
            return said.err
        assert stopped.value.code == 0, said.err
        return json.loads((out / "measurements.json").read_text())

    return run


@pytest.fixture(scope="module")
def once(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study on disk, and what an analysis left: the generator's labels in the network's place."""
    folder = tmp_path_factory.mktemp("once")
    study = write_study(case.study, folder / "study")
    origins = {
        role: {"labels_from": f"compact-{role}", "weights_sha256": "0" * 64, "weights_licence": "none"}
        for role in case.labels
    }
    found = read_study(study)
    labels = {s.role: s.image.with_voxels(case.labels[s.role].voxels) for s in found.series}
    judge(found, labels, origins).save(folder / "before")
    return study, folder / "before"


@pytest.fixture
def analysed(once: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The study, and a copy of what the analysis left."""
    return once[0], Path(shutil.copytree(once[1], tmp_path / "before"))


def origin(measured: Any, role: str) -> Any:
    return next(o for o in measured["provenance"]["series"] if o["role"] == role)


def delete_slice(path: Path, z: int, t: int) -> int:
    """Delete a slice of a label map on disk; gives how many voxels that were."""
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    count = int((voxels[:, :, z, t] > 0).sum())
    voxels[:, :, z, t] = 0
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)
    return count


def test_every_map_of_a_study_at_once(case: Case, analysed: tuple[Path, Path], measure: Measure) -> None:
    study, before = analysed
    measured = measure(study, "--labels", before / "segmentations")
    expected = json.loads((before / "measurements.json").read_text())
    for part in ("patient", "lv", "rv", "lge", "t2", "segments"):
        assert measured[part] == expected[part]
    assert measured["patient"]["sex"] == case.study.patient.sex
    assert origin(measured, "lge")["labels_from"] == "file lge_seg.nii.gz"
    assert origin(measured, "lge")["changed_voxels"] is None


def test_one_changed_map_and_the_rest_as_before(
    case: Case, analysed: tuple[Path, Path], measure: Measure, tmp_path: Path
) -> None:
    study, before = analysed
    old = json.loads((before / "measurements.json").read_text())
    ed = old["lv"]["ed_frame"]
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(before / "segmentations" / "cine_seg.nii.gz", mine)
    labels = case.labels[Role.CINE]
    z = int(np.flatnonzero((labels.frames[ed] == Structure.LV).any((1, 2)))[0])
    count = delete_slice(mine / "cine_seg.nii.gz", z, ed)
    measured = measure(study, "--labels", mine, "--from", before)
    counts = (labels.frames == Structure.LV).sum((1, 2, 3))
    counts[ed] -= (labels.frames[ed, z] == Structure.LV).sum()
    assert measured["lv"]["edv_ml"] == pytest.approx(counts.max() * labels.voxel_ml) != old["lv"]["edv_ml"]
    assert measured["lge"] == old["lge"]
    assert origin(measured, "cine")["labels_from"] == "compact-cine, corrected by hand"
    assert (origin(measured, "cine")["changed_voxels"], origin(measured, "lge")["changed_voxels"]) == (count, 0)
    assert origin(measured, "lge")["labels_from"] == "compact-lge"
    kept = tmp_path / "out" / "segmentations" / "automatic"
    assert [path.name for path in kept.iterdir()] == ["cine_seg.nii.gz"]
    assert (kept / "cine_seg.nii.gz").read_bytes() == (before / "segmentations" / "cine_seg.nii.gz").read_bytes()
    again = measure(study, "--labels", before / "segmentations", "--from", tmp_path / "out", out=tmp_path / "out")
    assert origin(again, "cine")["changed_voxels"] == 0
    assert again["lv"] == old["lv"]
    assert not kept.exists()


def test_a_map_changed_in_its_place(analysed: tuple[Path, Path], measure: Measure) -> None:
    """Then nobody knows what it was before: no number of changed voxels is made up."""
    study, before = analysed
    delete_slice(before / "segmentations" / "cine_seg.nii.gz", 5, 0)
    measured = measure(study, "--labels", before / "segmentations", "--from", before)
    assert origin(measured, "cine")["labels_from"] == "file cine_seg.nii.gz"
    assert origin(measured, "cine")["changed_voxels"] is None
    assert origin(measured, "lge")["changed_voxels"] == 0


def test_a_role_is_named(analysed: tuple[Path, Path], measure: Measure, tmp_path: Path) -> None:
    study, before = analysed
    shutil.copy(before / "segmentations" / "lge_seg.nii.gz", tmp_path / "scar.nii.gz")
    measured = measure(study, "--labels", f"lge={tmp_path / 'scar.nii.gz'}")
    assert measured["lge"]["infarct_ml"] > 0
    assert measured["lv"]["edv_ml"] is None
    assert "bssfp, which the study lacks" in measure(study, "--labels", f"bssfp={tmp_path / 'scar.nii.gz'}")
    assert "expected labels of 3 frames for cine, found 1; give one map of all frames" in measure(
        study, "--labels", f"cine={one_frame(before, tmp_path)}"
    )
    twice = measure(study, "--labels", before / "segmentations", "--labels", f"lge={tmp_path / 'scar.nii.gz'}")
    assert "found another already; give one" in twice


def one_frame(before: Path, folder: Path, frame: int = 0) -> Path:
    image = nib.load(before / "segmentations" / "cine_seg.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., frame], image.affine, image.header), folder / "one.nii.gz")
    return folder / "one.nii.gz"


def test_labels_of_single_frames_are_told_by_their_names(
    case: Case, analysed: tuple[Path, Path], measure: Measure, tmp_path: Path
) -> None:
    """Of a cine in one file: `frame02` is its second frame; nobody drew the others, or --from has them."""
    study, before = analysed
    drawn, lv_ml = tmp_path / "drawn", case.labels[Role.CINE].voxel_ml
    drawn.mkdir()
    counts = (case.labels[Role.CINE].frames == Structure.LV).sum((1, 2, 3))
    given = []
    for t in (1, 2):
        file = one_frame(before, tmp_path, t).rename(drawn / f"p_frame0{t + 1}_gt.nii.gz")
        given += ["--labels", f"cine={file}"]
    measured = measure(study, *given)
    assert measured["lv"]["volume_curve_ml"] == pytest.approx([0, *(counts[1:] * lv_ml)])
    assert "frames_without_lv" in {flag["code"] for flag in measured["quality"]["flags"]}
    again = measure(study, *given, "--from", before, out=tmp_path / "again")
    assert again["lv"]["volume_curve_ml"] == pytest.approx(counts * lv_ml)
    file = one_frame(before, tmp_path, 1).rename(drawn / "p_frame04_gt.nii.gz")
    assert "expected labels of 3 frames" in measure(study, "--labels", f"cine={file}")


def test_labels_of_an_ed_and_an_es_file(case: Case, measure: Measure, tmp_path: Path) -> None:
    """Of a cine in two files, in any order and under other names; one phase alone is refused."""
    image, labels = case.study.get(Role.CINE).image, case.labels[Role.CINE]
    study, maps = tmp_path / "study", tmp_path / "maps"
    study.mkdir(), maps.mkdir()
    counts = (labels.frames == Structure.LV).sum((1, 2, 3))
    for phase, t in (("ED", counts.argmax()), ("ES", counts.argmin())):
        write_volume(Volume(image.frames[t], image.affine), study / f"heart_{phase}.nii.gz")
        write_volume(Volume(labels.frames[t], labels.affine), maps / f"reader-2 {phase}.nii.gz")
    es, ed = ("--labels", f"cine={maps / 'reader-2 ES.nii.gz'}"), ("--labels", f"cine={maps / 'reader-2 ED.nii.gz'}")
    measured = measure(study, *es, *ed)
    assert measured["lv"]["edv_ml"] == pytest.approx(counts.max() * labels.voxel_ml)
    assert measured["lv"]["esv_ml"] == pytest.approx(counts.min() * labels.voxel_ml)
    assert "heart_ES_seg.nii.gz: expected a label map of each cine frame" in measure(study, *ed)
    assert "found another already" in measure(study, *ed, *ed)


def test_the_codes_of_another_set(case: Case, analysed: tuple[Path, Path], measure: Measure, tmp_path: Path) -> None:
    study, _ = analysed
    labels = case.labels[Role.CINE]
    theirs = np.array([0, 3, 2, 0, 0, 0, 1], np.uint8)[labels.voxels]
    write_volume(labels.with_voxels(theirs), tmp_path / "gt.nii.gz")
    given = ["--labels", f"cine={tmp_path / 'gt.nii.gz'}"]
    assert "infarct (3) fills the cavity; likely ACDC's codes" in measure(study, *given)
    measured = measure(study, *given, "--codes", "acdc")
    counted = (labels.frames == Structure.LV).sum((1, 2, 3)).max() * labels.voxel_ml
    assert measured["lv"]["edv_ml"] == pytest.approx(counted)
    assert "expected --codes myoscope|acdc|emidec|myops" in measure(study, *given, "--codes", "mine")


def frame_of(volume: Volume, t: int) -> Volume:
    return replace(volume, voxels=volume.frames[t], frame_time_ms=None)


def test_frames_in_files_of_their_own(case: Case, measure: Measure, tmp_path: Path) -> None:
    series = case.study.get(Role.CINE)
    assert series is not None
    study, mine = tmp_path / "study", tmp_path / "mine"
    study.mkdir()
    mine.mkdir()
    for t, number in ((0, 1), (1, 12)):
        write_volume(frame_of(series.image, t), study / f"a_frame{number:02}.nii.gz")
        write_volume(frame_of(case.labels[Role.CINE], t), mine / f"a_frame{number:02}_seg.nii.gz")
    measured = measure(study, "--labels", mine)
    for t, name in ((0, "edv_ml"), (1, "esv_ml")):
        counted = (case.labels[Role.CINE].frames[t] == Structure.LV).sum() * case.labels[Role.CINE].voxel_ml
        assert measured["lv"][name] == pytest.approx(counted)
    (mine / "a_frame01_seg.nii.gz").rename(mine / "a_frame01_gt.nii.gz")
    shutil.copy(study / "a_frame12.nii.gz", mine / ".hidden.nii.gz")
    assert measure(study, "--labels", mine)["lv"] == measured["lv"]
    (mine / "a_frame12_seg.nii.gz").rename(mine / "b.nii.gz")
    assert "b.nii.gz: expected the name of an image (a_frame01_seg.nii.gz, " in measure(study, "--labels", mine)
    (mine / "b.nii.gz").unlink()
    assert "a_frame12_seg.nii.gz: expected a label map of each cine frame, one is missing" in measure(
        study, "--labels", mine
    )


# --- DICOM ---


@pytest.fixture(scope="module")
def dicom() -> Sent:
    return sent("classic")


def test_segmentations_come_back_voxel_for_voxel(dicom: Sent, measure: Measure, tmp_path: Path) -> None:
    measured = measure(dicom.source, "--labels", dicom.out.parent / "dicom")
    assert "report_sr.dcm: expected a DICOM segmentation" in measured
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in dicom.out.glob("*_seg.dcm"):
        shutil.copy(path, mine / f"corrected {path.name}")
    measured = measure(dicom.source, "--labels", mine)
    expected = dicom.result.measurements.model_dump(mode="json")
    for part in ("patient", "lv", "rv", "lge", "t2", "segments"):
        assert measured[part] == expected[part]


@pytest.mark.parametrize("shape", ["enhanced", "separate"])
def test_segmentations_of_other_shapes(shape: str) -> None:
    from myoscope.io.dicom.seg_in import read_seg

    there = sent(shape)
    for role, labels in there.result.labels.items():
        found, read = read_seg(there.out / f"{role}_seg.dcm", there.result.study)
        assert found is role
        assert np.array_equal(read.voxels, labels.voxels)


def test_nifti_maps_of_a_dicom_study(dicom: Sent, measure: Measure, tmp_path: Path) -> None:
    dicom.result.save(tmp_path / "before")
    z = int(np.flatnonzero(dicom.result.labels[Role.CINE].frames[0].any((1, 2)))[0])
    count = delete_slice(tmp_path / "before" / "segmentations" / "cine_seg.nii.gz", z, 0)
    mine = tmp_path / "before" / "segmentations" / "cine_seg.nii.gz"
    dicom.result.save(tmp_path / "untouched")
    measured = measure(dicom.source, "--labels", f"cine={mine}", "--from", tmp_path / "untouched")
    assert origin(measured, "cine")["changed_voxels"] == count
    made = dcmread(tmp_path / "out" / "dicom" / "cine_seg.dcm")
    assert {item.SegmentAlgorithmType for item in made.SegmentSequence} == {"SEMIAUTOMATIC"}
    made = dcmread(tmp_path / "out" / "dicom" / "lge_seg.dcm")
    assert {item.SegmentAlgorithmType for item in made.SegmentSequence} == {"AUTOMATIC"}


def test_a_segmentation_of_another_study(dicom: Sent, measure: Measure, tmp_path: Path) -> None:
    other = dcmread(dicom.out / "lge_seg.dcm")
    for group in other.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    other.save_as(tmp_path / "other.dcm")
    assert "expected a segmentation of the study's" in measure(dicom.source, "--labels", tmp_path / "other.dcm")


def moved(seg: Dataset) -> None:
    seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 0]


def of_the_liver(seg: Dataset) -> None:
    seg.SegmentSequence[0].SegmentLabel = "liver"
    seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "10200004"


def fractional(seg: Dataset) -> None:
    seg.SegmentationType = "FRACTIONAL"


def without_source(seg: Dataset) -> None:
    del seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (moved, "expected segments on the pixels of their source frames"),
        (of_the_liver, "segment 'liver' is of an unknown kind"),
        (fractional, "expected a BINARY or LABELMAP"),
        (without_source, "expected a reference to the source image"),
    ],
)
def test_segmentations_that_cannot_be_believed(
    change: Any, said: str, dicom: Sent, measure: Measure, tmp_path: Path
) -> None:
    changed = dcmread(dicom.out / "lge_seg.dcm")
    change(changed)
    changed.save_as(tmp_path / "mine.dcm")
    assert said in measure(dicom.source, "--labels", tmp_path / "mine.dcm")
