"""An earlier exam beside this one: values and changes by hand, judged by intervals; other patients are refused."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

import myoscope
from myoscope import analysis
from myoscope.analysis import judge
from myoscope.cli import app
from myoscope.correction import read_before, remeasure
from myoscope.errors import InputError
from myoscope.io.previous import read_previous
from myoscope.io.read import read_study
from myoscope.io.save import write_study
from myoscope.io.tables import tables_of
from myoscope.measure.previous import Change, compare, compare_again
from myoscope.measure.results import Flag, LeftVentricle, Measurements
from myoscope.report import render
from myoscope.report.previous import change_strip
from report_pages import EVIL, Page, make_measurements, make_segments, make_study


def rows(previous):
    return {row.measurement: row for row in previous.changes}


def test_change_by_hand_and_judged_by_the_intervals_of_both():
    then = LeftVentricle(
        edv_ml=150, edv_ml_interval=(140, 160), mass_g=100, mass_g_interval=(90, 110), esv_ml=50, ed_frame=1
    )
    now = LeftVentricle(edv_ml=180, edv_ml_interval=(170, 190), mass_g=115, mass_g_interval=(105, 125), sv_ml=90)
    found = rows(compare(make_measurements(lv=now), make_measurements(lv=then)))
    edv = found["lv.edv_ml"]
    assert (edv.before, edv.now, edv.change, edv.change_percent) == (150, 180, 30, 20)
    assert edv.verdict == "changed"
    assert found["lv.mass_g"].verdict == "within error"  # 105 to 110 are in both
    assert (found["lv.esv_ml"].now, found["lv.esv_ml"].change, found["lv.esv_ml"].verdict) == (None, None, None)
    assert found["lv.sv_ml"].before is None
    assert "lv.ed_frame" not in found
    touching = LeftVentricle(edv_ml=170, edv_ml_interval=(160, 180))
    assert (
        rows(compare(make_measurements(lv=touching), make_measurements(lv=then)))["lv.edv_ml"].verdict == "within error"
    )


def test_without_intervals_nothing_is_judged():
    previous = compare(make_measurements(), make_measurements(lv=LeftVentricle(edv_ml=10, esv_ml=0.0)))
    assert {row.verdict for row in previous.changes} == {None}
    assert rows(previous)["lv.esv_ml"].change_percent is None  # of nothing
    study, labels = make_study()
    text = Page(render(study, labels, make_measurements(previous=previous))).text
    assert "no change is judged" in text
    assert "Judged" not in text


def test_what_is_not_like_with_like_is_said():
    m = make_measurements()
    series = [m.provenance.series[0].model_copy(update={"labels_from": "another", "spacing_mm": (5.0, 1.0, 1.0)})]
    other = m.model_copy(update={"provenance": m.provenance.model_copy(update={"series": series})})
    notes = " ".join(compare(m, other).notes)
    assert "came from another then" in notes
    assert "5.0 mm apart then" in notes
    older = m.model_copy(update={"provenance": m.provenance.model_copy(update={"myoscope_version": "0.0"})})
    assert compare(m, older).notes[0].startswith("Measured by myoscope 0.0 then, and by ")
    assert compare(m, m).notes == []


def test_what_the_earlier_exam_was_warned_of_is_said():
    m = make_measurements()
    flags = [
        Flag(code="apex_not_labelled", level="warning", series="cine", message="Volumes may be too small."),
        Flag(code="stack_ends_at_base", level="info", series="cine", message="Perhaps short."),
    ]
    then = m.model_copy(update={"quality": m.quality.model_copy(update={"flags": [*m.quality.flags, *flags]})})
    assert compare(m, then).notes == ["Warned of in the earlier exam: Volumes may be too small."]
    assert compare(then, then).notes == []


def test_a_correction_after_the_comparison_is_said():
    m = make_measurements()
    series = [m.provenance.series[0].model_copy(update={"changed_voxels": 9}), *m.provenance.series[1:]]
    corrected = m.model_copy(update={"provenance": m.provenance.model_copy(update={"series": series})})
    previous = compare(m, m)
    for _ in range(2):
        previous = compare_again(corrected, previous)
        assert previous.notes == ["A person changed contours of this exam: the cine."]
    assert compare_again(m, previous).notes == []


def test_the_report_shows_both_exams_on_the_same_scales():
    then = make_measurements(segments=make_segments(scar_percent=lambda n: float(n)))
    now = make_measurements(segments=make_segments(scar_percent=lambda n: 2.0 * n))
    previous = compare(now, then).model_copy(update={"study_id": EVIL, "notes": [EVIL]})
    study, labels = make_study()
    html = render(study, labels, now.model_copy(update={"previous": previous}))
    page = Page(html)
    assert "<script" not in html
    section = html[html.index('id="previous"') : html.index("</section>", html.index('id="previous"'))]
    assert section.count('class="bullseye"') == 2
    assert section.count("url(#scale-scar)") == 2
    assert "Segment 5, wall 5 (LCX): 5<" in section and "Segment 5, wall 5 (LCX): 10<" in section
    assert "LV end-diastolic volume ml" in page.text
    assert "Before and now" not in Page(render(study, labels, now)).text


def test_a_second_measurement_of_this_exam_keeps_the_earlier_one():
    previous = compare(make_measurements(), make_measurements(lv=LeftVentricle(edv_ml=100)))
    again = compare_again(make_measurements(lv=LeftVentricle(edv_ml=110)), previous)
    assert rows(again)["lv.edv_ml"].change_percent == pytest.approx(10)
    assert tables_of(make_measurements(previous=previous)) == tables_of(make_measurements())
    text = make_measurements(previous=previous).model_dump_json()
    assert Measurements.model_validate_json(text).previous == previous


@pytest.fixture(scope="module")
def ann(tmp_path_factory):
    """A folder with a study on disk, and an earlier result of the same id; and the study."""
    root = tmp_path_factory.mktemp("exam")
    made, _ = make_study(frames=2)
    study = read_study(write_study(made, root / "ann"))
    before = make_measurements()
    patient = before.patient.model_copy(update={"study_id": "ann"})
    (root / "old").mkdir()
    (root / "old" / "measurements.json").write_text(before.model_copy(update={"patient": patient}).model_dump_json())
    return root, study


def test_the_same_id_is_the_same_patient_and_another_is_refused(ann):
    root, study = ann
    assert read_previous(root / "old", study).measurements.patient.study_id == "ann"
    text = (root / "old" / "measurements.json").read_text()
    (root / "other").mkdir(exist_ok=True)
    (root / "other" / "measurements.json").write_text(text.replace('"ann"', '"bob"'))
    with pytest.raises(InputError, match="found the id bob instead of ann") as refused:
        read_previous(root / "other", study)
    assert "--same-patient" in str(refused.value) and "\n" not in str(refused.value)
    assert read_previous(root / "other", study, same_patient=True).measurements.patient.study_id == "bob"
    with pytest.raises(InputError, match=r"found no measurements\.json"):
        read_previous(root / "nowhere", study)
    (root / "other" / "measurements.json").write_text(json.dumps({"patient": {}}))
    with pytest.raises(InputError, match="analyze that exam again"):
        read_previous(root / "other", study)


def test_sex_and_age_tell_another_patient_and_a_later_exam(ann, tmp_path):
    """Folders of two patients are called alike (`nifti`), and an older result is given as the present exam."""
    _, study = ann
    made = make_measurements()
    woman = replace(study, patient=replace(study.patient, sex="F", age_years=60))
    for sex, age, why in (("M", 60, "sex M instead of F"), ("F", 61, "taken later"), (None, 60.5, None)):
        patient = made.patient.model_copy(update={"study_id": "ann", "sex": sex, "age_years": age})
        text = made.model_copy(update={"patient": patient}).model_dump_json()
        (tmp_path / "measurements.json").write_text(text)
        if why is None:
            assert read_previous(tmp_path, woman)
            continue
        with pytest.raises(InputError, match=why):
            read_previous(tmp_path, woman)


def test_two_dicom_exams_are_known_by_patient_id(classic, tmp_path):
    from pydicom import dcmread

    study = read_study(classic)
    old = tmp_path / "old"
    (old / "dicom").mkdir(parents=True)
    made = make_measurements()  # of another study's id
    patient = made.patient.model_copy(update={"sex": study.patient.sex})
    (old / "measurements.json").write_text(made.model_copy(update={"patient": patient}).model_dump_json())
    header = dcmread(next(path for path in classic.rglob("*") if path.is_file()), stop_before_pixels=True)
    header.save_as(old / "dicom" / "report_sr.dcm")
    assert read_previous(old, study)
    for day, time, later in (("20260101", "235959", False), ("20260102", "101501", True), ("20260103", "", True)):
        header.StudyDate, header.StudyTime = day, time
        header.save_as(old / "dicom" / "report_sr.dcm")
        if not later:
            assert read_previous(old, study)
            continue
        with pytest.raises(InputError, match="found one that was taken later") as refused:
            read_previous(old, study, same_patient=True)
        assert "2026" not in str(refused.value)
    header.StudyDate = "20260101"
    header.PatientID = "SECRET-2"
    header.save_as(old / "dicom" / "report_sr.dcm")
    with pytest.raises(InputError, match="another PatientID") as refused:
        read_previous(old, study)
    assert "SECRET" not in str(refused.value) and "PID-0815" not in str(refused.value)
    (old / "dicom" / "report_sr.dcm").write_bytes(b"no DICOM")
    with pytest.raises(InputError, match="found the id"):
        read_previous(old, study)


def test_the_command_line_takes_the_earlier_exam_and_a_new_measurement_keeps_it(ann, monkeypatch, tmp_path):
    root, study = ann
    _, labels = make_study(frames=2)
    drawn = judge(study, labels, {})
    monkeypatch.setattr(analysis, "_analyzed", lambda *_: drawn)
    out = tmp_path / "out"
    called = CliRunner().invoke(app, ["analyze", str(root / "ann"), "-o", str(out), "--previous", str(root / "old")])
    assert called.exit_code == 0, called.output
    found = json.loads((out / "measurements.json").read_text())
    edv = next(row for row in found["previous"]["changes"] if row["measurement"] == "lv.edv_ml")
    assert edv["now"] == found["lv"]["edv_ml"]
    assert edv["change"] == pytest.approx(edv["now"] - make_measurements().lv.edv_ml)
    assert "Before and now" in (out / "report.html").read_text()
    again = remeasure(study, labels, read_before(out, study)).measurements
    assert again.previous is not None
    assert rows(again.previous)["lv.edv_ml"].now == pytest.approx(edv["now"])
    refused = CliRunner().invoke(app, ["analyze", str(root / "ann"), "-o", str(out), "--previous", str(root / "no")])
    assert isinstance(refused.exception, InputError)


def test_ones_own_correction_is_told_from_an_earlier_exam(ann, tmp_path):
    """The same images, before and after a person changed contours: said so, and not judged as a heart's change."""
    root, study = ann
    _, labels = make_study(frames=2)
    out = tmp_path / "out"
    judge(study, labels, {}).save(out)
    record = (out / "study.json").read_text()
    (out / "study.json").write_text(record.replace('"ann"', '"as it was called then"'))  # the images say whose it is
    maps = tmp_path / "maps"
    shutil.copytree(out / "segmentations", maps)
    path = next(maps.glob("cine*_seg.nii.gz"))
    drawn = nib.load(path)
    codes = np.asarray(drawn.dataobj).copy()
    codes[tuple(np.argwhere(codes == 2)[0])] = 1
    nib.save(nib.Nifti1Image(codes, drawn.affine, drawn.header), path)
    said = ["measure", root / "ann", "--labels", maps, "--from", out, "--previous", out, "-o", tmp_path / "new"]
    called = CliRunner().invoke(app, [str(part) for part in said])
    assert called.exit_code == 0, (called.output, called.exception)
    again = Measurements.model_validate_json((tmp_path / "new" / "measurements.json").read_bytes())
    assert again.previous.same_exam
    assert rows(again.previous)["lv.edv_ml"].change > 0
    assert {row.verdict for row in again.previous.changes} == {None}
    text = Page((tmp_path / "new" / "report.html").read_text()).text
    assert "Before correction and after correction" in text and "The same exam" in text
    assert "Earlier exam" not in text
    assert not read_previous(root / "old", study).same_exam
    assert rows(compare_again(again, again.previous))["lv.edv_ml"].verdict is None


def test_python_takes_the_earlier_exam_too(ann, monkeypatch):
    root, study = ann
    _, labels = make_study(frames=2)
    monkeypatch.setattr(analysis, "_analyzed", lambda study, *_: judge(study, labels, {}))
    found = analysis.analyze(root / "ann", previous=root / "old", hematocrit=0.42)
    assert found.measurements.previous.study_id == "ann" and not found.measurements.previous.same_exam
    assert found.measurements.patient.hematocrit == 0.42
    for wrong, why in (({"hematocrit": 42}, "hematocrit"), ({"previous": root}, r"no measurements\.json")):
        with pytest.raises(InputError, match=why):
            analysis.analyze(root / "ann", **wrong)
    with pytest.raises(InputError, match="a study already"):
        analysis.analyze(study, role="cine")
    again = myoscope.measure(study, labels, previous=root / "old")
    assert again.measurements.previous.study_id == "ann"


def test_the_picture_and_the_per_cent_agree_in_sign():
    """A strain of -20 % that has become -15 % has lost a quarter: left of the middle, like its -25 %."""
    lost = Change(
        measurement="lv.x_percent", before=-20, now=-15, change=5, change_percent=-25, before_interval=(-22, -18)
    )
    assert 'd="M32.0 3v10"' in change_strip(lost)
    assert '<rect x="48.8" y="3" width="22.4"' in change_strip(lost)
    grown = Change(measurement="lv.edv_ml", before=100, now=200, change=100, change_percent=100)
    assert 'd="M111.0 3L116.0 8L111.0 13Z"' in change_strip(grown)  # beyond the scale
    assert change_strip(Change(measurement="lge.infarct_ml", before=0, now=1, change=1)) == ""
