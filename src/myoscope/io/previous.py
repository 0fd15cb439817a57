"""An earlier result, read for a comparison: whether it is of the same patient, and whether of the very same exam."""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.io.record import read_record, record_of
from myoscope.measure.results import Measurements
from myoscope.study import Study


class Earlier(NamedTuple):
    """What was measured then, and whether in images of this exam: then contours or program differ, not the heart."""

    measurements: Measurements
    same_exam: bool


def read_previous(out: Path, study: Study, same_patient: bool = False) -> Earlier:
    """The measurements of an earlier exam of a study's patient, or earlier ones of this exam.

    The patient is known by PatientID where both exams came from DICOM, else by the study's id: a folder's or file's
    name; and by sex. Which exam came first is known by StudyDate where both came from DICOM, else by the patient's age.
    No message holds a PatientID or a date.

    Args:
        out: The folder that `analyze` wrote then.
        study: The present exam.
        same_patient: Believe that it is one patient, whatever the ids say.

    Raises:
        InputError: there is no earlier result, it cannot be read, or it is of another patient or of a later exam.
    """
    path = out / "measurements.json"
    try:
        before = Measurements.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{shown(out)}: expected what analyze wrote for an earlier exam, found no measurements.json "
            f"({error.strerror}); give its folder"
        ) from None
    except ValidationError:
        raise InputError(
            f"{shown(path)}: expected measurements that this version can read, found others; analyze that exam again"
        ) from None
    same_exam = _same_exam(out, before, study)
    if not (same_patient or same_exam) and (other := _another_patient(out, before, study)):
        raise InputError(
            f"{shown(out)}: expected an earlier exam of the same patient, found {other}; if they are one patient, add "
            "--same-patient"
        )
    if not same_exam and _later(out, before, study):
        raise InputError(
            f"{shown(out)}: expected an earlier exam, found one that was taken later, so that every change would have "
            "the wrong sign; analyze that one, with this one as the earlier"
        )
    return Earlier(before, same_exam)


def _same_exam(out: Path, before: Measurements, study: Study) -> bool:
    """Whether a result was made from this exam: the same DICOM study, or an image with the same bytes."""
    if any(series.source for series in study.series) and before.patient.study_id == study.id:
        return True
    record = read_record(out)
    then = {image.sha256 for image in record.images} if record else set()
    return bool(then) and any(image.sha256 in then for image in record_of(study, []).images)


def _another_patient(out: Path, before: Measurements, study: Study) -> str | None:
    """How two exams' ids differ, in words; None where they are the same."""
    then, now = _headers(out, study)
    old, new = (str(header.get("PatientID") or "").strip() for header in (then, now))
    sexes = before.patient.sex, study.patient.sex
    if None not in sexes and sexes[0] != sexes[1]:
        return f"one of sex {sexes[0]} instead of {sexes[1]}"
    if old and new:
        return None if old == new else "another PatientID"
    ids = before.patient.study_id, study.id
    return None if ids[0] == ids[1] else f"the id {shown(ids[0])} instead of {shown(ids[1])}"


def _later(out: Path, before: Measurements, study: Study) -> bool:
    """Whether a result is of an exam that was taken later, as far as anything says when."""
    days, times = (
        [str(header.get(key) or "").strip() for header in _headers(out, study)] for key in ("StudyDate", "StudyTime")
    )
    if all(day.isdecimal() and len(day) == len("20260102") for day in days):
        return days[0] > days[1] or (days[0] == days[1] and all(times) and times[0][:6] > times[1][:6])
    ages = before.patient.age_years, study.patient.age_years
    return ages[0] is not None and ages[1] is not None and ages[0] >= ages[1] + 1


def _headers(out: Path, study: Study) -> tuple[Any, Any]:
    """Headers of an earlier result's and of a study's DICOM; empty where there is none, or none that can be read."""
    source = next((series.source for series in study.series if series.source), None)
    now: Any = {}
    if source is not None:
        from myoscope.io.dicom.source import header_of

        now = header_of(source.images[0][0])
    found = sorted((out / "dicom").glob("*.dcm"))
    if not found:
        return {}, now
    import pydicom

    try:
        return pydicom.dcmread(found[0], stop_before_pixels=True), now
    except Exception:  # whatever a parser of foreign bytes may raise: not a result that says whose it is
        return {}, now
