"""Changes as the page says them, the journal, and numbers after each stroke; without a server."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_results import measured, phantom
from myoscope.correction import read_before, remeasure
from myoscope.errors import InputError
from myoscope.io.read import read_study
from myoscope.io.save import write_study
from myoscope.labels import LV_WALL, Structure
from myoscope.measure.intervals import STRETCHED
from myoscope.measure.results import Flag
from myoscope.review.journal import NAME
from myoscope.review.numbers import SHOWN
from myoscope.review.planes import frame_bytes, levels_of
from myoscope.review.session import Session
from myoscope.review.steps import StepError, read_step, runs_of, say_step
from myoscope.study import Patient, Role
from myoscope.volume import Volume
from review_world import analysed

SHAPES = {Role.CINE: (3, 2, 4, 5)}


def cine(*patches: dict[str, Any]) -> dict[str, Any]:
    return {"role": "cine", "patches": list(patches)}


def test_runs_there_and_back() -> None:
    said = cine({"t": 2, "z": 1, "runs": [[0, 2, 3], [4, 1, 3], [5, 15, 0]]})
    step = read_step(said, SHAPES)
    assert step.patches[0].index.tolist() == [0, 1, *range(4, 20)]
    assert step.patches[0].codes.tolist() == [3, 3, 3, *[0] * 15]
    assert say_step(step) == said
    assert runs_of(np.array([], int), np.array([], int)) == []


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"role": "liver", "patches": [{"t": 0, "z": 0, "runs": [[0, 1, 1]]}]},
        {"role": "lge", "patches": [{"t": 0, "z": 0, "runs": [[0, 1, 1]]}]},
        cine(),
        cine({"t": 0, "z": 0}),
        cine({"t": True, "z": 0, "runs": [[0, 1, 1]]}),
        cine({"t": 3, "z": 0, "runs": [[0, 1, 1]]}),
        cine({"t": 0, "z": -1, "runs": [[0, 1, 1]]}),
        cine({"t": 0, "z": 0, "runs": []}),
        cine({"t": 0, "z": 0, "runs": [[0, 1]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 1, 1], [2]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 1, 7]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 1, -1]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 0, 1]]}),
        cine({"t": 0, "z": 0, "runs": [[19, 2, 1]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 2**62, 1]]}),
        cine({"t": 0, "z": 0, "runs": [[2**70, 1, 1]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 1, 1.5]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 1, "1"]]}),
        cine({"t": 0, "z": 0, "runs": [[0, 3, 1], [2, 1, 2]]}),
        {"frames": {"ed_frame": 3}},
        {"frames": {"ed_frame": "0"}},
        {"frames": {"other": 0}},
        {"frames": {}},
    ],
)
def test_what_is_no_change_is_refused(said: Any) -> None:
    with pytest.raises(StepError):
        read_step(said, SHAPES)


def test_planes_keep_the_order_of_brightness() -> None:
    voxels = np.linspace(-3, 1000, 24, dtype=np.float32).reshape(2, 3, 2, 2)
    image = Volume(voxels, np.diag([1.0, 1, 1, 1]))
    levels = levels_of(image, np.zeros(voxels.shape, np.uint8))
    found = np.concatenate([np.frombuffer(frame_bytes(image, t, levels), "<u2") for t in (0, 1)])
    assert (np.diff(found.astype(int)) > 0).all()
    assert (found[0], found[-1]) == (0, 65535)
    assert 0 <= levels.window[0] < levels.window[1] <= 65535


# --- a session ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    analysed(folder)
    return folder


@pytest.fixture
def session(folder: Path) -> Session:
    (folder / "out" / NAME).unlink(missing_ok=True)
    return Session(folder / "out", read_study(folder / "study"))


def again(session: Session) -> Session:
    """As if the process had been killed: opened anew from what is on the disk."""
    return Session(session.out, session.study)


def stroke(session: Session, t: int = 0, z: int = 3, code: int = 1, start: int = 2000) -> dict[str, Any]:
    return session.do(cine({"t": t, "z": z, "runs": [[start, 40, code]]}))


def test_numbers_are_those_of_the_report(session: Session) -> None:
    assert session.state()["numbers"] == pytest.approx(session.old)
    stroke(session)
    session.do({"role": "lge", "patches": [{"t": 0, "z": 3, "runs": [[3000, 60, Structure.INFARCT]]}]})
    state = session.do({"frames": {"es_frame": 2}})
    labels = {role: session._volume(role, codes) for role, codes in session.drawn().items()}
    result = remeasure(session.study, labels, session.before, by_hand=session.by_hand).measurements
    for name, _, _ in SHOWN:
        part, field = name.split(".")
        expected = getattr(getattr(result, part), field)
        assert state["numbers"][name] == (None if expected is None else pytest.approx(expected)), name
    assert state["es"] == result.lv.es_frame == 2
    assert next(o for o in result.provenance.series if o.role == "cine").frames_by_hand == ["es_frame"]
    assert state["numbers"]["lv.edv_ml"] != session.old["lv.edv_ml"]


@pytest.mark.parametrize("role", [Role.CINE, Role.LGE])
def test_what_the_report_refuses_has_no_numbers_here(session: Session, role: Role) -> None:
    """A wall that is open in every slice is no short axis: no volume, no infarct, and the report's own reason."""
    codes = session.labels[role]
    wall = np.isin(codes, LV_WALL)
    wall[..., : codes.shape[-1] // 2] = False  # one side of it
    patches = []
    for t, z in np.argwhere(wall.any(axis=(2, 3))).tolist():
        index = np.flatnonzero(wall[t, z]).astype(np.uint32)
        patches.append({"t": t, "z": z, "runs": runs_of(index, np.zeros(len(index), np.uint8))})
    state = session.do({"role": role, "patches": patches})
    labels = {role: session._volume(role, codes) for role, codes in session.drawn().items()}
    result = remeasure(session.study, labels, session.before, by_hand=session.by_hand).measurements
    parts = ("lv", "rv") if role is Role.CINE else ("lge",)
    for name in (name for name, _, _ in SHOWN if name.split(".")[0] in parts):
        assert state["numbers"][name] is None, name
        assert state["reasons"][name] == result.quality.missing[name]
        assert "does not look like a short axis" in state["reasons"][name]
    assert state["curves"].keys() == (set() if role is Role.CINE else {"lv", "rv"})
    session.undo()
    assert session.state()["numbers"] == pytest.approx(session.old) and not session.state()["reasons"]


def test_numbers_before_and_now_count_papillary_muscles_alike(folder: Path, tmp_path: Path) -> None:
    """Else a mass of 100 g, with them, became 90 g before anything was drawn."""
    shutil.copytree(folder / "out", out := tmp_path / "out")
    (out / NAME).unlink(missing_ok=True)
    said = json.loads((path := out / "measurements.json").read_text())
    said["provenance"]["papillary"], said["lv"]["mass_g"] = "muscle", said["lv"]["mass_g"] + 10
    path.write_text(json.dumps(said))
    session = Session(out, read_study(folder / "study"))
    assert session.state()["numbers"] == pytest.approx(session.old)
    assert "papillary muscles as blood" in str(session.notice)


def test_undo_and_redo_without_end(session: Session) -> None:
    first = session.labels[Role.CINE].copy()
    counts = session.counts[Role.CINE].copy()
    for k in range(30):
        stroke(session, t=k % 3, z=k % 7, code=k % 7, start=1500 + 17 * k)
    last = session.labels[Role.CINE].copy()
    for _ in range(30):
        session.undo()
    assert np.array_equal(session.labels[Role.CINE], first)
    assert np.array_equal(session.counts[Role.CINE], counts)
    assert not session.dirty
    session.undo()
    for _ in range(30):
        session.redo()
    assert np.array_equal(session.labels[Role.CINE], last)
    assert session.dirty


def test_a_killed_session_loses_nothing_that_was_confirmed(session: Session) -> None:
    for k in range(5):
        stroke(session, z=k)
    session.undo()
    session.undo()
    session.redo()
    session.do({"frames": {"ed_frame": 1}})
    found = again(session)
    assert np.array_equal(found.labels[Role.CINE], session.labels[Role.CINE])
    assert found.by_hand == {"ed_frame": 1}
    assert found.dirty and "taken up again: 5" in str(found.notice)
    for _ in range(5):
        found.undo()
    assert not found.dirty


def test_a_line_cut_short_is_dropped(session: Session) -> None:
    stroke(session)
    kept = session.labels[Role.CINE].copy()
    stroke(session, z=4)
    path = session.out / NAME
    path.write_bytes(path.read_bytes()[:-9])
    found = again(session)
    assert np.array_equal(found.labels[Role.CINE], kept)
    stroke(found, z=5)
    assert len(again(found).done) == 2


def test_maps_changed_by_another_program(session: Session) -> None:
    stroke(session)
    path = session.out / NAME
    lines = path.read_text().splitlines()
    base = json.loads(lines[0])
    base["base"]["cine"] = "0" * 64
    path.write_text("\n".join([json.dumps(base), *lines[1:]]) + "\n")
    found = again(session)
    assert not found.done and "put aside" in str(found.notice)
    aside = list(session.out.glob(".review-journal-*.jsonl"))
    assert len(aside) == 1
    aside[0].unlink()


def test_a_map_that_is_gone_does_not_take_its_numbers_along_unsaid(folder: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(folder / "out", tmp_path / "out"))
    study = read_study(folder / "study")
    (out / "segmentations" / "lge_seg.nii.gz").unlink()
    with pytest.raises(InputError, match="expected the label map of lge that the analysis left"):
        Session(out, study)
    before = read_before(out, study)
    with pytest.raises(InputError, match="label map of lge"):
        remeasure(study, before.labels, before)
    whole = read_before(folder / "out", study).labels
    assert remeasure(study, whole, before).measurements.lge.infarct_ml is not None


def test_a_save_that_was_interrupted(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the label maps were replaced and before the journal began again."""
    before = session.labels[Role.CINE].copy()
    stroke(session)
    stroke(session, z=4)
    session.undo()
    after = session.labels[Role.CINE].copy()
    with monkeypatch.context() as patch:
        patch.setattr("myoscope.review.session.read_before", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.save()
    found = again(session)
    assert np.array_equal(found.labels[Role.CINE], after)
    assert found.dirty
    monkeypatch.undo()
    found.save()
    assert not found.dirty
    assert again(found).notice is None
    # what was undone after a save is not lost either
    stroke(found, z=5)
    found.save()
    found.undo()
    back = again(found)
    assert np.array_equal(back.labels[Role.CINE], after)
    back.labels[Role.CINE][:] = before
    assert {o.role: o.changed_voxels for o in back.before.measurements.provenance.series}["cine"] > 0


def test_warnings_of_the_first_run_stay_as_long_as_they_hold(session: Session) -> None:
    """One voxel of the LV is no second look at the RV, at all other slices, or at where T2 lies."""
    quality = session.before.measurements.quality
    said = {"unusual_series": "cine", "unsure_rv": "cine", "poor_alignment": "t2", "patient_contradicted": None}
    flags = [Flag(code=code, level="warning", series=series, message=code) for code, series in said.items()]
    quality = quality.model_copy(update={"flags": [*quality.flags, *flags]})
    measurements = session.before.measurements.model_copy(update={"quality": quality})
    drawn = {role: labels for role, labels in session.before.automatic.items() if role is not Role.T2}
    before = replace(session.before, measurements=measurements, labels=drawn, automatic=drawn)

    def left(change: Any = None) -> set[str]:
        voxels = drawn[Role.CINE].frames.copy()
        if change is not None:
            voxels[change] = np.where(voxels[change] == Structure.LV, Structure.MYOCARDIUM, Structure.LV)
        labels = drawn | {Role.CINE: drawn[Role.CINE].with_voxels(voxels)}
        found = remeasure(session.study, labels, before).measurements.quality.flags
        return said.keys() & {flag.code for flag in found}

    assert left() == set(said)
    ed = measurements.lv.ed_frame
    lv, rv = (tuple(np.argwhere(drawn[Role.CINE].frames[ed] == s)[0]) for s in (Structure.LV, Structure.RV))
    assert left((ed, *lv)) == set(said)
    assert left((ed, *rv)) == said.keys() - {"unsure_rv"}
    assert left(np.s_[..., 50, 50]) == said.keys() - {"unusual_series"}  # in every slice


def test_what_a_table_told_of_the_patient_is_kept(session: Session) -> None:
    """A cohort's table gave height, weight and heart rate: without them the output rested on the time of a frame."""
    patient = session.before.measurements.patient.model_copy(
        update={"sex": "F", "height_cm": 180.0, "weight_kg": 80.0, "heart_rate_bpm": 72.0}
    )
    before = replace(
        session.before,
        measurements=session.before.measurements.model_copy(update={"patient": patient}),
        told=["sex", "height_cm", "weight_kg", "heart_rate_bpm"],
    )
    nobody = replace(session.study, patient=Patient())
    found = remeasure(nobody, session.before.labels, before).measurements
    assert (found.patient.sex, found.patient.bsa_m2) == ("F", pytest.approx(2.0))
    assert found.lv.cardiac_output_l_min == pytest.approx(found.lv.sv_ml * 72 / 1000)
    note = next(flag for flag in found.quality.flags if flag.code == "patient_facts_kept")
    assert "height_cm, weight_kg, heart_rate_bpm" in note.message
    assert remeasure(nobody, session.before.labels).measurements.patient.sex is None


def test_what_somebody_took_out_of_the_files_does_not_come_back(tmp_path: Path) -> None:
    """A table told the height; the weight stood in patient.json, was wrong, and is gone: no index."""
    case = phantom()
    write_study(replace(case.study, patient=Patient(weight_kg=8.0)), tmp_path / "study")
    study = read_study(tmp_path / "study")
    study = replace(study, patient=replace(study.patient, height_cm=180.0))
    result = measured(study, case)
    assert result.measurements.lv.edv_index_ml_m2
    result.save(out := tmp_path / "out")
    (tmp_path / "study" / "patient.json").unlink()
    for _ in range(2):  # what was kept is known to be so the next time too
        session = Session(out, read_study(tmp_path / "study"))
        session.save()
        found = session.before.measurements
        assert (found.patient.height_cm, found.patient.weight_kg, found.lv.edv_index_ml_m2) == (180.0, None, None)
        assert any(flag.code == "patient_facts_kept" for flag in found.quality.flags)


def test_kept_intervals_are_still_said_to_be_stretched(session: Session) -> None:
    was = session.before.measurements
    line = f"{STRETCHED}on up to 40 cases of this site's readers."
    provenance = was.provenance.model_copy(update={"conventions": [*was.provenance.conventions, line]})
    before = replace(session.before, measurements=was.model_copy(update={"provenance": provenance}))
    found = remeasure(session.study, session.before.automatic, before).measurements
    assert found.provenance.conventions.count(line) == 1


def test_a_joint_map_is_corrected_where_it_lies(session: Session) -> None:
    origins = session.before.measurements.provenance.series
    shared = [o.model_copy(update={"labels_from": "compact-myops, one map on the grid of lge"}) for o in origins[1:]]
    provenance = session.before.measurements.provenance.model_copy(update={"series": [origins[0], *shared]})
    measurements = session.before.measurements.model_copy(update={"provenance": provenance})
    session.before = replace(session.before, measurements=measurements, joint=Role.LGE)
    with pytest.raises(StepError, match="t2 is measured from the map on lge; correct it there"):
        session.do({"role": "t2", "patches": [{"t": 0, "z": 3, "runs": [[0, 1, 1]]}]})
    session.do({"role": "lge", "patches": [{"t": 0, "z": 3, "runs": [[0, 1, 1]]}]})
