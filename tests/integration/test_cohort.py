"""A cohort of small phantoms, really run: its tables, what is done again and what is not, what fails and how."""

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import myoscope
from cohort_world import small_study, write_studies
from myoscope.analysis import judge
from myoscope.cohort.agree import agree
from myoscope.cohort.page import render
from myoscope.cohort.run import Options, Outcome, plan, run
from myoscope.cohort.state import Out
from myoscope.cohort.table import rows_of
from myoscope.errors import InputError
from myoscope.io.read import read_study
from myoscope.io.save import write_study
from myoscope.study import Role

HANG = """
import sys
if "myoscope.cohort.child" in " ".join(sys.orig_argv):
    import time, myoscope.io.read as read
    plain = read.read_study
    read.read_study = lambda path, *a: time.sleep(3600) if "hangs" in str(path) else plain(path, *a)
"""
"""Put in the way of the analysing process by `sitecustomize`: a study that is never read to its end."""


def cohort(*words: object, before: Callable[[], None] | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "myoscope.cli", "cohort", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, preexec_fn=before, env=os.environ | env, check=False
    )


def counts(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.done, outcome.failed, outcome.analysed


def statuses(out: Path) -> dict[str, tuple[str, str]]:
    with (out / "cohort.csv").open() as file:
        return {row["study"].rsplit("-", 1)[0]: (row["status"], row["reason"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    """Two LGE studies and a cine: the folder they lie in, OUT, and what `myoscope.cohort` gave."""
    root = tmp_path_factory.mktemp("cohort")
    studies = write_studies(root / "in", 2)
    write_study(small_study(9, Role.CINE), studies / "Muster_Erika")
    (studies / "Muster_Erika" / "patient.json").write_text('{"sex": "F"}')
    shutil.copy(studies / "Muster_Erika" / "cine.nii.gz", studies / "Muster_Erika" / "Erika_4ch.nii.gz")  # left out
    (root / "patients.csv").write_text("study;sex;height;weight;class\nMuster_Erika;M;170;70;HCM\nnobody;F;;;\n")
    frame = myoscope.cohort(studies, root / "out", workers=1, hashed=True, patients=root / "patients.csv")
    return studies, root / "out", frame


def test_the_table_has_a_row_a_study(made: tuple[Path, Path, pd.DataFrame]) -> None:
    _, out, frame = made
    assert list(frame.columns[:4]) == ["study", "status", "reason", "class"]
    assert list(frame["status"]) == ["done"] * 3
    assert frame["lge.infarct_ml"].notna().sum() == 2 and frame["lv.ejection_fraction_percent"].notna().sum() == 1
    for _, row in frame.iterrows():
        measured = json.loads((out / "studies" / row["study"] / "measurements.json").read_text())
        assert measured["patient"]["study_id"] == row["study"]
        for part, key in (("lv", "ejection_fraction_percent"), ("lge", "infarct_ml")):
            value = measured[part][key]
            assert pd.isna(row[f"{part}.{key}"]) if value is None else row[f"{part}.{key}"] == value
    with (out / "cohort.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["study"] for line in lines] == list(frame["study"])
    assert [float(line["lge.infarct_ml"] or "nan") for line in lines] == pytest.approx(
        list(frame["lge.infarct_ml"].astype(float)), nan_ok=True
    )


def test_the_patient_table_fills_what_files_do_not_say(made: tuple[Path, Path, pd.DataFrame]) -> None:
    _, out, frame = made
    ((_, row),) = frame[frame["class"] == "HCM"].iterrows()
    assert (row["patient.sex"], row["patient.height_cm"], row["patient.weight_kg"]) == ("F", 170, 70)
    measured = json.loads((out / "studies" / row["study"] / "measurements.json").read_text())
    assert any("patient table contradicts" in flag["message"] for flag in measured["quality"]["flags"])
    assert "1 lines of the patient table name no study" in (out / "cohort.log").read_text()


def test_no_name_gets_out(made: tuple[Path, Path, pd.DataFrame]) -> None:
    """Nor in names of files; only what its owner alone can read (study.json, links) knows where the images lie."""
    _, out, _ = made
    for path in out.rglob("*"):
        assert "Muster" not in path.name and "Erika" not in path.name
        if path.is_file() and path.name != "study.json" and not path.is_symlink():
            assert b"Muster" not in path.read_bytes() and b"Erika" not in path.read_bytes(), path
        if path.name in ("study.json", "inputs"):
            assert path.stat().st_mode & 0o077 == 0 or path.name == "inputs"


def test_what_is_done_stays(made: tuple[Path, Path, pd.DataFrame], tmp_path: Path) -> None:
    """Unchanged: skipped. A file changed, or other facts: done again, that study only."""
    studies, out, _ = made
    options = Options(workers=1, hashed=True, patients=out.parent / "patients.csv")
    assert plan([studies], out, options).todo == ()
    before = {path.parent.name: path.stat().st_ino for path in out.glob("studies/*/run.json")}
    assert run([studies], out, options).analysed == 0
    assert before == {path.parent.name: path.stat().st_ino for path in out.glob("studies/*/run.json")}
    (other := tmp_path / "patients.csv").write_text("study,age\np000,50\n")
    again = plan([studies], out, Options(hashed=True, patients=other))
    assert sorted(item.name for item in again.todo) == ["Muster_Erika", "p000"]
    assert set(again.why.values()) == {"done", "changed: patient"}
    with Out(out).locked(), pytest.raises(InputError, match="another cohort works there"):
        run([studies], out, options)


def test_what_fails_is_a_row_and_stops_nobody(tmp_path: Path) -> None:
    """A study that hangs, one that eats memory, a damaged one; then the damaged one is mended and tried again."""
    studies, out = write_studies(tmp_path / "in", 2), tmp_path / "out"
    write_study(small_study(7), studies / "hangs")
    (studies / "eats").mkdir()
    large = nib.Nifti1Image(np.zeros((512, 512, 800), np.int8), np.diag([1.0, 1.0, 8.0, 1.0]))
    nib.save(large, studies / "eats" / "lge.nii.gz")
    del large
    (studies / "broken").mkdir()
    (studies / "broken" / "lge.nii.gz").write_bytes(b"no image")
    (tmp_path / "sitecustomize.py").write_text(HANG)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    hung = cohort(studies / "hangs", "-o", out, "--minutes", 0.1, PYTHONPATH=path)
    assert hung.stdout.startswith("0 studies done, 1 failed"), hung.stderr
    limits = Options(workers=2, memory_gb=0.9)
    assert counts(run([studies], out, limits)) == (2, 3, 4), statuses(out)
    found = statuses(out)
    assert {name: status for name, (status, _) in found.items()} == {
        **dict.fromkeys(("p000", "p001"), "done"),
        **dict.fromkeys(("hangs", "eats", "broken"), "failed"),
    }
    assert "took longer than 0.1 minutes" in found["hangs"][1]
    assert "more than 0.9 GB of memory" in found["eats"][1]
    assert "lge.nii.gz" in found["broken"][1] and str(tmp_path) not in found["broken"][1]
    assert counts(run([studies], out, limits)) == (2, 3, 0)

    write_study(small_study(8), studies / "broken")
    shutil.rmtree(studies / "hangs")
    shutil.rmtree(studies / "eats")
    assert counts(run([studies], out, Options(workers=1))) == (3, 0, 1)
    assert not (out / ".work").exists() and not list(out.glob("failed/broken*"))


def test_retry_failed_takes_those_alone(tmp_path: Path) -> None:
    studies, out = write_studies(tmp_path / "in", 2), tmp_path / "out"
    (item, other) = plan([studies], out, Options()).items
    state = Out(out)
    state.prepare()
    state.fail(item.id, plan([studies], out, Options()).made[item.id], "lost", 0.0, "here")
    assert [one.id for one in plan([studies], out, Options()).todo] == [other.id]
    assert [one.id for one in plan([studies], out, Options(retry_failed=True)).todo] == [item.id]


def test_a_row_says_that_its_result_is_of_other_files(tmp_path: Path) -> None:
    """Results that stay though an image was replaced: because only failures were asked for, or a person's contours."""
    studies, out = write_studies(tmp_path / "in", 2), tmp_path / "out"
    (first, second) = (before := plan([studies], out, Options())).items
    state = Out(out)
    state.prepare()
    for item in (first, second):
        judge(read_study(Path(item.path)), {}, {}).save(state.studies / item.id)
        (state.studies / item.id / "run.json").write_text(json.dumps({"made_of": asdict(before.made[item.id])}))
    for item in (first, second):
        write_study(small_study(20), Path(item.path))
    (by_hand := state.studies / second.id / "segmentations").mkdir(exist_ok=True)
    (by_hand / "mine_seg.nii.gz").touch()
    assert [one.id for one in plan([studies], out, Options()).todo] == [first.id]
    run([studies], out, Options(retry_failed=True))
    found = statuses(out)
    assert found["p000"] == ("done", "an earlier result, changed: input")
    assert found["p001"] == ("done", "an earlier result, kept: corrected by hand, though changed: input")


def test_one_patient_twice_is_warned_of_in_both_rows(tmp_path: Path) -> None:
    """A copy that was packed and named anew has other bytes and the same voxels; readers' agreement says it too."""
    studies, out = write_studies(tmp_path / "in", 4, distinct=4), tmp_path / "out"
    for old in (studies / "p003").iterdir():
        old.unlink()
    nib.save(nib.load(studies / "p001" / "lge.nii.gz"), studies / "p003" / "again_lge.nii")
    state, items = Out(out), plan([studies], out, Options()).items
    state.prepare()
    for item in items:
        judge(read_study(Path(item.path)), {}, {}).save(state.studies / item.id)
        (state.studies / item.id / "run.json").write_text('{"class": null}')
    rows = {row["study"].rsplit("-", 1)[0]: row for row in rows_of(state, items, {items[1].id: "an earlier result"})}
    assert (rows["p000"]["reason"], rows["p002"]["reason"]) == ("", "")
    assert rows["p001"]["reason"] == f"an earlier result; the same images as {items[3].id} (lge)"
    assert rows["p003"]["reason"] == f"the same images as {items[1].id} (lge)"
    assert [name for name, row in rows.items() if "warning:images_twice" in row["quality.flags"]] == ["p001", "p003"]
    assert "This study lies twice" in render(state, list(rows.values()))
    (table := tmp_path / "readers.csv").write_text("study,lge.myocardium_g\n" + "".join(f"{i.id},1\n" for i in items))
    for item in items:
        path = state.studies / item.id / "measurements.json"
        path.write_text(path.read_text().replace('"myocardium_g": null', '"myocardium_g": 90.0'))
    assert f"{items[1].id}: the same images as {items[3].id} (lge); the patient counts twice." in agree(
        out, table, tmp_path / "agree.html"
    )


def test_a_full_disk_ends_with_one_line_and_a_whole_state(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the report is larger."""
    studies, out = write_studies(tmp_path / "in", 3), tmp_path / "out"

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    full = cohort(studies, "-o", out, "--workers", 1, before=small_files)
    assert full.returncode == 2
    assert full.stderr.startswith("myoscope: ") and full.stderr.count("\n") == 1
    assert "File too large" in full.stderr and "repeat the command" in full.stderr
    assert list((out / "studies").iterdir()) == [] and list((out / "failed").iterdir()) == []
    assert counts(run([studies], out, Options(workers=1))) == (3, 0, 3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(scheduler="tcp://127.0.0.1:1", slurm=Path("x.toml")), "found both"),
        (Options(slurm=Path("nowhere.toml")), "nowhere.toml: cannot read it"),
        (Options(patients=Path("nowhere.csv")), "nowhere.csv: cannot read it"),
    ],
)
def test_a_call_that_cannot_be_is_refused(tmp_path: Path, options: Options, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        run([write_studies(tmp_path / "in", 1)], tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_result_shows_its_report_in_a_notebook() -> None:
    from cohort_world import small_case
    from myoscope.analysis import judge

    case = small_case(7)
    shown = judge(case.study, case.labels, {})._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and " sandbox " in shown and shown.count("<") == 2
    assert "Research use only" in shown
