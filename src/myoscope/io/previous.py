"""An earlier result, read for a comparison: whether it is of the same patient, and whether of the very same exam."""

from pathlib import Path
from typing import NamedTuple

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
    name. No message holds a PatientID.

    Args:
        out: The folder that `analyze` wrote then.
        study: The present exam.
        same_patient: Believe that it is one patient, whatever the ids say.

    Raises:
        InputError: there is no earlier result, it cannot be read, or it is of another patient.
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
    old, new = _patient_id_of_result(out), _patient_id(study)
    if old and new:
        return None if old == new else "another PatientID"
    ids = before.patient.study_id, study.id
    return None if ids[0] == ids[1] else f"the id {shown(ids[0])} instead of {shown(ids[1])}"


def _patient_id(study: Study) -> str | None:
    """PatientID of a DICOM study; None of another, or where it is empty."""
    source = next((series.source for series in study.series if series.source), None)
    if source is None:
        return None
    from myoscope.io.dicom.source import header_of

    return str(header_of(source.images[0][0]).get("PatientID") or "").strip() or None


def _patient_id_of_result(out: Path) -> str | None:
    """PatientID in the DICOM results of an earlier exam; None where there are none that can be read."""
    found = sorted((out / "dicom").glob("*.dcm"))
    if not found:
        return None
    import pydicom

    try:
        header = pydicom.dcmread(found[0], stop_before_pixels=True)
    except Exception:  # whatever a parser of foreign bytes may raise: not a result that says whose it is
        return None
    return str(header.get("PatientID") or "").strip() or None
