"""Find the DICOM instances below a folder, in a zip or in a file, and read their headers; never a pixel."""

import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from myoscope.errors import InputError
from myoscope.io.dicom.elements import whole
from myoscope.io.dicom.frames import TAGS, Facts, Frame, NoPlaceError, facts_of, frames_of
from myoscope.io.dicom.unzip import unzipped
from myoscope.io.listing import DICOM_SUFFIXES, files_below, is_bare
from myoscope.io.nifti import shown

MR_CLASSES = (MRImageStorage, EnhancedMRImageStorage, "1.2.840.10008.5.1.4.1.1.4.4")
"""Classic, enhanced, and legacy converted enhanced MR."""

_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
PATIENT_FACTS = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientBirthDate", "StudyDate")


@dataclass(frozen=True)
class Scan:
    """What was found: frames with a place in the patient, and images that have none.

    `unusable` counts the latter by series (number, description) and reason. `patient` has the first value of each of
    `PATIENT_FACTS` that a header gives, as text. `empty` counts image files that hold nothing, as a broken copy leaves.
    `references` counts the frames of reference that the images of a series name, which must be one.
    """

    frames: tuple[Frame, ...]
    unusable: Mapping[tuple[int | None, str, str], int]
    study_uid: str
    patient: dict[str, str]
    duplicates: int
    references: Mapping[Facts, int]
    empty: int = 0
    shared_uids: int = 0


def scan(path: Path) -> Scan:
    """Read the headers of every instance below a folder (a DICOMDIR stands for its folder), in a zip, or of one file.

    Raises:
        InputError: no MR image is there, a file is damaged, or there is more than one patient or study.
    """
    if path.is_file() and zipfile.is_zipfile(path):
        folder = unzipped(path)
    else:
        folder = path.parent if path.is_file() and path.name.upper() == "DICOMDIR" else path
    files = list(files_below(folder)) if folder.is_dir() else [folder]
    empty = [file for file in files if file.suffix.lower() in DICOM_SUFFIXES and not file.stat().st_size]
    files = [file for file in files if file not in empty]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, on values that are not quite to the standard
        headers = [(file, h) for file in files if (h := _header(file, files == [path])) is not None]
        _check_one_study(path, folder, [h for _, h in headers])
        found = _sorted_out([(file, h) for file, h in headers if h.SOPClassUID in MR_CLASSES])
    return replace(found, empty=len(empty))


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(132)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); check its permissions") from None


def _header(path: Path, alone: bool) -> Dataset | None:
    """The header of a DICOM instance; None of another kind of file, or of a DICOMDIR."""
    start = _start(path)
    bare = is_bare(start)
    if start[128:] != b"DICM" and not bare:
        if path.suffix.lower() in DICOM_SUFFIXES or alone:
            raise InputError(f"{shown(path)}: expected DICOM, found no DICOM header; export it again")
        return None
    try:
        with path.open("rb") as file:
            header = dcmread(file, stop_before_pixels=True, specific_tags=TAGS, force=bare)
            at_end = not file.read(1)
        kind = header.file_meta.get("MediaStorageSOPClassUID")
        if kind == MediaStorageDirectoryStorage:
            return None
        named = all(header.get(key) for key in _UIDS)
        deflated = header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian  # is read to its end
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); copy it again") from None
    except Exception:  # pydicom raises whatever its parser trips over
        raise InputError(f"{shown(path)}: expected DICOM, it is damaged; copy it again") from None
    if not named and kind and kind not in MR_CLASSES:
        return None  # a palette or a protocol, say, is of no study
    if not named:
        raise InputError(f"{shown(path)}: expected a DICOM instance, its header is cut short; copy it again")
    if at_end and not deflated and header.SOPClassUID in MR_CLASSES:
        raise InputError(f"{shown(path)}: expected pixel data, the file ends before them; send it again")
    return header


def _kind(h: Dataset) -> str:
    """What an instance is, in words: its modality, or its class where that is no image of the modality."""
    modality, name = str(h.get("Modality") or "unnamed objects"), UID(str(h.SOPClassUID)).name
    return f"{name} ({modality})" if modality == "MR" and name else modality


def _check_one_study(path: Path, folder: Path, headers: Sequence[Dataset]) -> None:
    """Raise InputError where there is no MR image, or more than one patient or study; without saying who."""
    images = [h for h in headers if h.SOPClassUID in MR_CLASSES]
    if not images:
        kinds = sorted({_kind(h) for h in headers})
        found = shown(", ".join(kinds)) if kinds else "no DICOM"
        if not headers and folder != path and any(".nii" in file.name for file in files_below(folder)):
            raise InputError(f"{shown(path)}: expected DICOM in a zip, found NIfTI; unpack it and give the folder")
        raise InputError(f"{shown(path)}: expected DICOM of cardiac MR, found {found}; give the MR study")
    names = {str(h.get("PatientID") or h.get("PatientName", "")).strip() for h in headers}
    births = {str(h.PatientBirthDate).strip() for h in headers if h.get("PatientBirthDate")}  # a screenshot may lack it
    if (patients := max(len(names), len(births))) > 1:
        raise InputError(f"{shown(path)}: expected one patient, found {patients}; give one patient's study")
    studies = {h.StudyInstanceUID for h in images}
    if len(studies) > 1:
        raise InputError(
            f"{shown(path)}: expected one study, found {len(studies)} of this patient; give one study's folder"
        )


def _sorted_out(images: Sequence[tuple[Path, Dataset]]) -> Scan:
    frames: list[Frame] = []
    unusable: Counter[tuple[int | None, str, str]] = Counter()
    facts_by_series: dict[tuple[str, ...], Facts] = {}
    references: dict[Facts, set[str]] = defaultdict(set)
    once, shared = _once(images)
    of_series = Counter(h.SeriesInstanceUID for _, h in once)
    for file, h in once:
        key = _series_key(h, of_series[h.SeriesInstanceUID])
        if key not in facts_by_series:
            facts_by_series[key] = facts_of(h)
        facts = facts_by_series[key]
        references[facts].add(str(h.get("FrameOfReferenceUID") or ""))
        try:
            frames += frames_of(file, h, facts)
        except NoPlaceError as error:
            unusable[facts.series_number, facts.description, str(error)] += whole(h, "NumberOfFrames") or 1
    patient = {
        key: next((str(v) for _, h in images if (v := h.get(key)) not in (None, "")), "") for key in PATIENT_FACTS
    }
    study_uid, duplicates = str(images[0][1].StudyInstanceUID), len(images) - len(once)
    named = {facts: len(uids) for facts, uids in references.items()}
    return Scan(tuple(frames), unusable, study_uid, patient, duplicates, named, shared_uids=shared)


def _series_key(h: Dataset, images: int) -> tuple[str, ...]:
    """What tells series apart: the UID, and number, names and sequence where a de-identifier gave all one UID.

    A series of one image is told by the rest alone, if it has a number: some give each image a series UID of its own.
    """
    rest = [str(h.get(k) or "") for k in ("SeriesNumber", "SeriesDescription", "ProtocolName", "ScanningSequence")]
    return ("" if images == 1 and rest[0] else str(h.SeriesInstanceUID), *rest)


def _once(images: Sequence[tuple[Path, Dataset]]) -> tuple[list[tuple[Path, Dataset]], int]:
    """Images without copies of the same one, and how many different images have a UID that another one has."""
    by_uid: dict[str, list[tuple[Path, Dataset]]] = {}
    for file, h in images:
        alike = by_uid.setdefault(h.SOPInstanceUID, [])
        if not any(_is_copy(file, h, *other) for other in alike):
            alike.append((file, h))
    return [image for alike in by_uid.values() for image in alike], sum(len(a) for a in by_uid.values() if len(a) > 1)


def _is_copy(file: Path, h: Dataset, other_file: Path, other: Dataset) -> bool:
    """Whether two files of one UID hold the same image: the same header, and the same pixels however compressed."""
    if h != other:
        return False
    if h.file_meta.get("TransferSyntaxUID") != other.file_meta.get("TransferSyntaxUID"):
        return True
    pixels = [dcmread(f, specific_tags=["PixelData"], force=True).get("PixelData") for f in (file, other_file)]
    return bool(pixels[0] == pixels[1])
