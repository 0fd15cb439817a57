"""A cohort as BIDS derivatives: what is written, what is not, and by whose rules."""

import csv
import gzip
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_world import data_set, image, participants
from cohort_world import small_study
from myoscope.cohort.derivatives import MANIFEST, check_target, write_derivatives
from myoscope.cohort.find import find_studies
from myoscope.cohort.run import Options, run
from myoscope.cohort.state import Out
from myoscope.errors import InputError
from myoscope.io.read import read_study
from myoscope.io.save import write_volume
from myoscope.labels import Structure
from myoscope.study import Role

VALIDATOR_VARIABLE = "MYOSCOPE_BIDS_VALIDATOR"
VALIDATOR = os.environ.get(VALIDATOR_VARIABLE, "")
"""The official validator's program (PyPI: bids-validator-deno, 140 MB with its runtime)."""


@dataclass(frozen=True)
class World:
    raw: Path
    out: Out
    target: Path
    notes: tuple[str, ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two sessions of one BIDS subject, a study that fails, and a folder named after a person, a file a frame."""
    root = tmp_path_factory.mktemp("bids")
    raw = data_set(root / "raw")
    for session in ("1", "2"):
        image(raw, f"sub-01_ses-{session}_acq-sax_LGE", seed=7 + int(session), folder="cmr")
    image(raw, "sub-02_LGE")
    (raw / "sub-02/anat/sub-02_LGE.nii.gz").write_bytes(b"no NIfTI")
    participants(raw, "participant_id age sex height\nsub-01 93 male 1.8\nsub-02 50 F n/a", height="m", age="year")
    person = root / "Muster_Erika"
    person.mkdir()
    cine = small_study(9, Role.CINE).series[0].image
    for i, phase in enumerate(("ED", "ES")):
        frame = person / f"Erika_SA_{phase}.nii.gz"
        write_volume(cine.with_voxels(cine.frames[i]), frame)
        signed = nib.load(frame)
        signed.header["db_name"], signed.header["aux_file"] = b"Muster", b"Erika"  # of what kept it, the copy has none
        nib.save(signed, frame)
    target = raw / "derivatives" / "myoscope"
    target.parent.mkdir()
    outcome = run([raw, person], root / "out", Options(workers=1, bids=target))
    return World(raw, Out(root / "out"), target, outcome.notes)


@pytest.fixture
def again(made: World, tmp_path: Path) -> tuple[Out, Path]:
    """A copy of OUT, to be changed, and a place for a data set."""
    shutil.copytree(made.out.root, tmp_path / "out")
    return Out(tmp_path / "out"), tmp_path / "bids"


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def test_the_tree_is_named_as_bids_has_it(made: World) -> None:
    with (made.out.root / "bids.csv").open() as file:
        labels = {row["study"]: (row["participant_id"], row["session_id"]) for row in csv.DictReader(file)}
    person = next(one for study, (one, _) in labels.items() if study.startswith("Muster_Erika-"))
    assert labels["sub-01_ses-2"] == ("sub-01", "ses-2") and len(labels) == 3
    names = [f"sub-01/ses-{n}/anat/sub-01_ses-{n}_desc-lge_dseg" for n in (1, 2)]
    names += [f"{person}/anat/{person}_desc-cineFrame{n}_dseg" for n in (1, 2)]
    tables = ["phenotype/myoscope.json", "phenotype/myoscope.tsv", "sessions.json", "sub-01/sub-01_sessions.tsv"]
    root = ["README", "dataset_description.json", "dseg.tsv", "participants.json", "participants.tsv", MANIFEST]
    found = {path.relative_to(made.target).as_posix() for path in made.target.rglob("*") if path.is_file()}
    assert found == {*(f"{name}{end}" for name in names for end in (".nii.gz", ".json")), *tables, *root}
    assert made.notes[-1] == "Written as BIDS derivatives: studies 3, subjects 2."
    assert not list(made.target.parent.glob(".*"))


def test_label_maps_are_those_of_the_studies_on_their_images(made: World) -> None:
    for session in ("1", "2"):
        stem = made.target / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_desc-lge_dseg"
        (source,) = (made.out.studies / f"sub-01_ses-{session}" / "segmentations").glob("*_seg.nii.gz")
        theirs, ours = nib.load(source), nib.load(f"{stem}.nii.gz")
        assert (np.asarray(theirs.dataobj) == np.asarray(ours.dataobj)).all()
        said = json.loads(stem.with_name(f"{stem.name}.json").read_text())
        (raw,) = said["Sources"]
        links = json.loads((made.target / "dataset_description.json").read_text())["DatasetLinks"]
        one = (made.target / links["raw"] / raw.removeprefix("bids:raw:")).resolve()
        assert one.is_file() and np.allclose(nib.load(one).affine, ours.affine, atol=1e-4)
        assert said["Manual"] is False and said["SpatialReference"] == "orig"
    codes = {int(row["index"]): row["name"] for row in table(made.target / "dseg.tsv")}
    assert codes == {int(one): one.title for one in Structure}


def test_numbers_are_those_of_the_studies_with_a_word_on_each_column(made: World) -> None:
    for path, key, studies in (
        (made.target / "sub-01/sub-01_sessions.tsv", "session_id", ["sub-01_ses-1", "sub-01_ses-2"]),
        (made.target / "phenotype/myoscope.tsv", "participant_id", [p.name for p in made.out.studies.glob("Muster*")]),
    ):
        about = json.loads(
            (made.target / ("sessions.json" if key == "session_id" else "phenotype/myoscope.json")).read_text()
        )
        rows = table(path)
        assert list(rows[0]) == [key, *about] and len(rows) == len(studies)
        for row, study in zip(rows, studies, strict=True):
            measured = json.loads((made.out.studies / study / "measurements.json").read_text())
            for part, name in (("lge", "infarct_ml"), ("lv", "ejection_fraction_percent")):
                value, ends = measured[part][name], measured[part][f"{name}_interval"]
                said = [row[f"{part}.{name}{end}"] for end in ("", "_interval_low", "_interval_high")]
                assert said[0] == ("n/a" if value is None else str(value))
                assert said[1:] == (["n/a"] * 2 if ends is None else [f"{end:.6g}" for end in ends])
            for column, cell in row.items():
                if column in about and "Units" in about[column] and cell != "n/a":
                    float(cell)
    assert all(one["Description"] for one in about.values())
    assert about["lv.edv_ml"]["Units"] == "ml"


def test_participants_have_what_all_their_studies_say_and_no_age_above_89(made: World) -> None:
    rows = table(made.target / "participants.tsv")
    assert next(row for row in rows if row["participant_id"] == "sub-01") == {
        "participant_id": "sub-01",
        "age": "89",
        "sex": "M",
        "height": "180.0",
        "weight": "n/a",
    }
    assert json.loads((made.target / "participants.json").read_text())["height"]["Units"] == "cm"


def test_what_made_it_stands_there(made: World) -> None:
    said = json.loads((made.target / "dataset_description.json").read_text())
    assert (said["DatasetType"], said["BIDSVersion"]) == ("derivative", "1.11.1")
    measured = json.loads((made.out.studies / "sub-01_ses-1" / "measurements.json").read_text())["provenance"]
    (weights,) = [one["weights_members"] for one in measured["series"]]
    assert {one["Name"] for one in said["GeneratedBy"]} == {"myoscope"}
    assert {one["Version"] for one in said["GeneratedBy"]} == {measured["myoscope_version"]}
    assert any(all(sha in one["Description"] for sha in weights) for one in said["GeneratedBy"]) and weights


def test_nobodys_name_gets_in(made: World) -> None:
    for path in (path for path in made.target.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".gz":
            assert data[3] == 0 and data[4:8] == bytes(4), "no name, no time"
            data = gzip.decompress(data)
        assert not any(name in data or name.decode() in str(path) for name in (b"Muster", b"Erika"))


def test_it_can_be_repeated_and_is_no_study_itself(made: World) -> None:
    before = {path: path.read_bytes() for path in made.target.rglob("*") if path.is_file()}
    ids = [item.id for item in find_studies([made.raw])[0]]
    assert write_derivatives(made.out, made.target)[-1] == made.notes[-1]
    assert {path: path.read_bytes() for path in made.target.rglob("*") if path.is_file()} == before
    assert [item.id for item in find_studies([made.raw])[0]] == ids
    with pytest.raises(InputError, match="derivatives"):
        find_studies([made.target])
    with pytest.raises(InputError, match="BIDS data set"):
        read_study(made.target)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("out", "of this cohort's own"),
        ("out/studies/x", "of this cohort's own"),
        (".", "of this cohort's own"),
        ("a_file", "found a file"),
        ("a_file/x", "a_file cannot be written"),
        ("full", "notes.txt, which it did not write"),
    ],
)
def test_a_folder_that_is_something_else_is_refused(again: tuple[Out, Path], place: str, says: str) -> None:
    out, target = again
    (target.parent / "a_file").touch()
    (target.parent / "full").mkdir()
    (target.parent / "full" / "notes.txt").touch()
    before = sorted(target.parent.rglob("*"))
    with pytest.raises(InputError, match=says) as error:
        write_derivatives(out, target.parent / place)
    assert "\n" not in str(error.value)
    assert sorted(target.parent.rglob("*")) == before


def test_what_somebody_changed_there_is_never_removed(again: tuple[Out, Path]) -> None:
    out, target = again
    target.mkdir()
    write_derivatives(out, target)
    (target / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes.txt, which it did not write"):
        check_target(target, out)
    (target / "notes.txt").unlink()
    (target / "README").write_text("ours now")
    with pytest.raises(InputError, match="README, changed since"):
        run([], out.root, Options(bids=str(target)))  # type: ignore[arg-type]
    assert (target / "README").read_text() == "ours now"


def test_maps_that_a_person_changed(again: tuple[Out, Path]) -> None:
    """One that was measured since says so; one that was not is left out, for its numbers are of another."""
    out, target = again
    record = out.studies / "sub-01_ses-1" / "study.json"
    said = json.loads(record.read_text())
    said["labels"][0]["by_hand"] = True
    record.write_text(json.dumps(said))
    (changed,) = (out.studies / "sub-01_ses-2" / "segmentations").glob("*_seg.nii.gz")
    changed.write_bytes(gzip.compress(gzip.decompress(changed.read_bytes()), 9))
    notes = write_derivatives(out, target)
    assert "sub-01_ses-2" in notes[0] and "changed after they were measured" in notes[0]
    assert "studies 2, subjects 2" in notes[-1]
    assert not (target / "sub-01" / "ses-2").exists()
    assert json.loads(next((target / "sub-01").rglob("*_dseg.json")).read_text())["Manual"] is True
    made_by = json.loads((target / "dataset_description.json").read_text())["GeneratedBy"]
    assert [one["Name"] for one in made_by].count("Manual") == 1


def test_hashed_ids_name_no_image(made: World) -> None:
    target = made.raw / "derivatives" / "hashed"
    write_derivatives(made.out, target, hashed=True)
    assert not any("Sources" in path.read_text() for path in target.rglob("*.json"))


def test_without_a_study_nothing_is_written(again: tuple[Out, Path]) -> None:
    out, target = again
    shutil.rmtree(out.studies)
    out.studies.mkdir()
    assert write_derivatives(out, target) == ["No study is done, so no BIDS derivatives were written."]
    assert not target.exists()


if VALIDATOR:

    def test_it_is_valid_by_the_official_validator(made: World, again: tuple[Out, Path]) -> None:
        def errors(root: Path) -> set[str]:
            command = [VALIDATOR, str(root), "--format", "json"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            issues = json.loads(done.stdout)["issues"]["issues"]
            return {one["code"] for one in issues if one["severity"] == "error"}

        assert errors(made.target) == set()
        out, target = again
        write_derivatives(out, target)
        (target / "sub-01" / "cine.nii.gz").touch()
        assert errors(target)
