"""Find the DICOM instances below a folder, in a zip or in a file, and read their headers; never a pixel."""

import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from myoscope.errors import InputError
from myoscope.io.dicom.frames import TAGS, Facts, Frame, NoPlaceError, facts_of, frames_of
from myoscope.io.dicom.unzip import unzipped
from myoscope.io.nifti import shown

SUFFIXES = (".dcm", ".ima")
MR_CLASSES = (MRImageStorage, EnhancedMRImageStorage, "1.2.840.10008.5.1.4.1.1.4.4")
"""Classic, enhanced, and legacy converted enhanced MR."""

_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
PATIENT_FACTS = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientBirthDate", "StudyDate")


@dataclass(frozen=True)
class Scan:
    """What was found: frames with a place in the patient, and series (number, description) that have none, and why.

    `patient` has the first value of each of `PATIENT_FACTS` that a header gives, as text.
    """

    frames: tuple[Frame, ...]
    unusable: dict[tuple[int | None, str], str]
    study_uid: str
    patient: dict[str, str]
    duplicates: int


def scan(path: Path) -> Scan:
    """Read the headers of every instance below a folder, in a zip, or of one file.

    Raises:
        InputError: no MR image is there, a file is damaged, or there is more than one patient or study.
    """
    files = _files(unzipped(path) if path.is_file() and zipfile.is_zipfile(path) else path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, on values that are not quite to the standard
        headers = [(file, h) for file in files if (h := _header(file, files == [path])) is not None]
        _check_one_study(path, [h for _, h in headers])
        return _sorted_out([(file, h) for file, h in headers if h.SOPClassUID in MR_CLASSES])


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(132)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); check its permissions") from None


def _header(path: Path, alone: bool) -> Dataset | None:
    """The header of a DICOM instance; None of another kind of file, or of a DICOMDIR."""
    start = _start(path)
    bare = start[:2] == b"\x08\x00"  # written without the preamble of a file
    if start[128:] != b"DICM" and not bare:
        if path.suffix.lower() in SUFFIXES or alone:
            raise InputError(f"{shown(path)}: expected DICOM, found no DICOM header; export it again")
        return None
    try:
        with path.open("rb") as file:
            header = dcmread(file, stop_before_pixels=True, specific_tags=TAGS, force=bare)
            at_end = not file.read(1)
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            return None
        whole = all(header.get(key) for key in _UIDS)
        deflated = header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian  # is read to its end
    except Exception as error:  # pydicom raises whatever its parser trips over
        what = f"expected DICOM, it is damaged ({type(error).__name__})"
        raise InputError(f"{shown(path)}: {what}; copy it again") from None
    if not whole:
        raise InputError(f"{shown(path)}: expected a DICOM instance, its header is cut short; copy it again")
    if at_end and not deflated and header.SOPClassUID in MR_CLASSES:
        raise InputError(f"{shown(path)}: expected pixel data, the file ends before them; send it again")
    return header


def _check_one_study(path: Path, headers: Sequence[Dataset]) -> None:
    """Raise InputError where there is no MR image, or more than one patient or study; without saying who."""
    images = [h for h in headers if h.SOPClassUID in MR_CLASSES]
    if not images:
        kinds = sorted({str(h.get("Modality") or "unnamed objects") for h in headers})
        found = shown(", ".join(kinds)) if kinds else "no DICOM"
        raise InputError(f"{shown(path)}: expected DICOM of cardiac MR, found {found}; give the MR study")
    patients = {
        (str(h.get("PatientID") or h.get("PatientName", "")).strip(), h.get("PatientBirthDate", "")) for h in headers
    }
    if len(patients) > 1:
        raise InputError(f"{shown(path)}: expected one patient, found {len(patients)}; give one patient's study")
    studies = {h.StudyInstanceUID for h in images}
    if len(studies) > 1:
        raise InputError(
            f"{shown(path)}: expected one study, found {len(studies)} of this patient; give one study's folder"
        )


def _sorted_out(images: Sequence[tuple[Path, Dataset]]) -> Scan:
    frames: list[Frame] = []
    unusable: dict[tuple[int | None, str], str] = {}
    facts_by_series: dict[str, Facts] = {}
    once = {h.SOPInstanceUID: (file, h) for file, h in images}
    for file, h in once.values():
        if h.SeriesInstanceUID not in facts_by_series:
            facts_by_series[h.SeriesInstanceUID] = facts_of(h)
        facts = facts_by_series[h.SeriesInstanceUID]
        try:
            frames += frames_of(file, h, facts)
        except NoPlaceError as error:
            unusable[facts.series_number, facts.description] = str(error)
    frames = [f for f in frames if (f.facts.series_number, f.facts.description) not in unusable]
    patient = {
        key: next((str(v) for _, h in images if (v := h.get(key)) not in (None, "")), "") for key in PATIENT_FACTS
    }
    return Scan(tuple(frames), unusable, str(images[0][1].StudyInstanceUID), patient, len(images) - len(once))
