"""`study.json`, and that an output folder never mixes two studies and never eats what a person drew."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from myoscope import cli
from myoscope.analysis import Result, judge
from myoscope.errors import InputError
from myoscope.io.read import read_study
from myoscope.io.record import LABEL_TABLES, TABLES, handwork, read_record, refuse_handwork, sha256_of
from myoscope.labels import Structure
from myoscope.study import Role
from myoscope.volume import plain_affine


def result(folder: Path, *roles: Role) -> Result:
    """A result on small images as they were read from files; labels as a network would give them."""
    y, x = np.indices((44, 40))
    radius = np.hypot(y - 22, x - 20)
    labels, image = {}, np.random.default_rng(0).integers(1, 900, (40, 44, 5)).astype(np.int16)
    for role in roles:
        voxels = image if role is Role.LGE else np.stack([image, image + 1], -1)
        nib.save(nib.Nifti1Image(voxels, plain_affine((8.0, 1.5, 1.5))), folder / f"{role}.nii.gz")
    study = read_study(folder)
    for series in study.series:
        disc = np.zeros(series.image.voxels.shape, np.uint8)
        disc[..., radius < 14], disc[..., radius < 8] = Structure.MYOCARDIUM, Structure.LV
        labels[series.role] = series.image.with_voxels(disc)
    return judge(study, labels, {role: {"labels_from": "x", "weights_sha256": "0" * 64} for role in labels})


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return result(tmp_path_factory.mktemp("both"), Role.CINE, Role.LGE)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return result(tmp_path_factory.mktemp("late"), Role.LGE)


def names(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def corrected(path: Path, code: int = Structure.MYOCARDIUM) -> Path:
    """Change some voxels of a label map on disk, as an editor does."""
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[2:5, 2:5] = code
    nib.save(type(image)(voxels, None, image.header), path)
    return path


def test_the_record_says_what_was_read_and_written(both: Result, tmp_path: Path) -> None:
    both.save(tmp_path)
    record = read_record(tmp_path)
    assert record and record.input and both.study.opened
    assert Path(record.input.path).is_absolute()
    assert (record.input.role, record.input.series) == (None, {})
    again = read_study(record.input.path, record.input.role, record.input.series)
    assert [series.role for series in again.series] == [image.role for image in record.images]
    for image in record.images:
        assert image.sha256 == sha256_of(*map(Path, image.files))
    assert {label.file for label in record.labels} == {"segmentations/cine_seg.nii.gz", "segmentations/lge_seg.nii.gz"}
    assert all(label.sha256 == sha256_of(tmp_path / label.file) and not label.by_hand for label in record.labels)
    assert (tmp_path / "study.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "study.json").read_text())["study_id"] == both.study.id


def test_a_study_from_no_file_is_recorded_too(both: Result, tmp_path: Path) -> None:
    study = replace(both.study, opened=None, series=tuple(replace(s, files=()) for s in both.study.series))
    Result(study, {}, both.measurements).save(tmp_path)
    record = read_record(tmp_path)
    assert record and record.input is None
    assert [image.files for image in record.images] == [[], []]


def test_the_files_of_an_earlier_study_go(both: Result, late: Result, tmp_path: Path) -> None:
    both.save(tmp_path)
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "report_sr.dcm").touch()
    (tmp_path / "notes.txt").write_text("mine")
    late.save(tmp_path)
    expected = {
        "report.html",
        "measurements.json",
        *TABLES,
        *LABEL_TABLES,
        "study.json",
        "segmentations/lge_seg.nii.gz",
    }
    assert names(tmp_path) == {*expected, "notes.txt"}
    assert not (tmp_path / "dicom").exists()
    assert handwork(tmp_path) == {}


@pytest.mark.parametrize("change", ["edited", "added", "record lost"])
def test_handwork_is_never_replaced(change: str, both: Result, late: Result, tmp_path: Path) -> None:
    both.save(tmp_path)
    cine = tmp_path / "segmentations" / "cine_seg.nii.gz"
    if change == "edited":
        corrected(cine)
    elif change == "added":
        (tmp_path / "segmentations" / "mine.nii.gz").write_bytes(cine.read_bytes())
    else:
        (tmp_path / "study.json").write_text("{")
    before = {name: sha256_of(tmp_path / name) for name in names(tmp_path)}
    with pytest.raises(InputError, match=r"segmentations/.*measure STUDY --labels"):
        refuse_handwork(tmp_path)
    with pytest.raises(InputError, match=r"segmentations/.*measure STUDY --labels"):
        late.save(tmp_path)
    assert {name: sha256_of(tmp_path / name) for name in names(tmp_path)} == before


def test_analyze_says_so_before_it_works(
    late: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late.save(tmp_path)
    corrected(tmp_path / "segmentations" / "lge_seg.nii.gz")
    assert late.study.opened
    monkeypatch.setattr("myoscope.analysis.analyze", lambda *_, **__: pytest.fail("it was analysed all the same"))
    monkeypatch.setattr("sys.argv", ["myoscope", "analyze", str(late.study.opened.path), "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "was changed since" in capsys.readouterr().err


def test_a_corrected_map_can_be_measured_where_it_lies_and_is_kept_afterwards(late: Result, tmp_path: Path) -> None:
    late.save(tmp_path)
    place = corrected(tmp_path / "segmentations" / "lge_seg.nii.gz")
    assert late.study.opened
    image = late.study.opened.path / "lge.nii.gz"
    again = [str(x) for x in ("measure", image, "--labels", place, "-o", tmp_path, "--codes", "myoscope")]
    cli.app(again, standalone_mode=False)
    record = read_record(tmp_path)
    assert record and [label.by_hand for label in record.labels] == [True]
    with pytest.raises(InputError, match="was drawn by hand"):
        late.save(tmp_path)
    corrected(place, Structure.LV)
    cli.app(again, standalone_mode=False)  # and once more


def test_what_a_person_changed_in_an_analysis_is_kept_from_the_next(late: Result, tmp_path: Path) -> None:
    drawn = late.labels[Role.LGE]
    voxels = drawn.voxels.copy()
    voxels[:, 5, 5] = Structure.INFARCT
    changed = replace(late, labels={Role.LGE: drawn.with_voxels(voxels)}, automatic={Role.LGE: drawn})
    changed.save(tmp_path)
    assert (tmp_path / "segmentations" / "automatic" / "lge_seg.nii.gz").exists()
    with pytest.raises(InputError, match="was drawn by hand"):
        late.save(tmp_path)
    late.save(tmp_path, replaces={Role.LGE})  # who changed it takes it back
    assert not (tmp_path / "segmentations" / "automatic").exists()
    assert handwork(tmp_path) == {}


def test_what_a_killed_run_left_goes(late: Result, tmp_path: Path) -> None:
    (tmp_path / ".myoscope-abc").mkdir()
    (tmp_path / ".myoscope-abc" / "report.html").touch()
    late.save(tmp_path)
    assert not list(tmp_path.glob(".myoscope-*"))


def test_a_record_cannot_remove_files_elsewhere(late: Result, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine.nii.gz"
    late.save(out)
    mine.write_text("x")
    record = json.loads((out / "study.json").read_text())
    record["labels"].append({"role": "lge", "file": "../mine.nii.gz", "sha256": sha256_of(mine)})
    (out / "study.json").write_text(json.dumps(record))
    late.save(out)
    assert mine.exists()
