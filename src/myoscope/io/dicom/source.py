"""What results take over from the DICOM frames they were made of: patient, study, geometry, references."""

from collections.abc import Iterable
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VM, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import DA, TM

from myoscope.errors import InputError
from myoscope.io.dicom.elements import number
from myoscope.io.nifti import shown
from myoscope.study import Series, SourceImage

Planes = list[list[Dataset]]
"""[t][z]: a small dataset for each source frame, with its geometry and the UIDs of its instance.

The first one also has the patient and the study, as every object of the archive must.
"""

_PATIENT_AND_STUDY = (0x0008, 0x0010, 0x0012, 0x0020, 0x0032, 0x0040)
"""Groups of attributes among which highdicom finds those of the patient's and the study's modules."""

_REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
"""Empty where nobody knows them, but there."""

_FORMATS = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
_LENGTHS = {"AccessionNumber": 16, "StudyID": 16, "PatientName": 3 * 65}


def source_planes(series: Series) -> Planes:
    """Read the headers of a series' source once more, for results to carry.

    Raises:
        InputError: a file is gone, or is no longer what was read.
    """
    assert series.source is not None
    headers: dict[Path, Dataset] = {}
    reference_uid = generate_uid()
    for image in chain(*series.source.images):
        if image.path not in headers:
            headers[image.path] = header_of(image)
    planes = [[_plane(headers[image.path], image, series) for image in phase] for phase in series.source.images]
    first = headers[series.source.images[0][0].path]
    planes[0][0].update(_patient_and_study(first))
    reference = first.get("FrameOfReferenceUID")
    for plane in chain(*planes):
        plane.FrameOfReferenceUID = reference if _is_uid(reference) else reference_uid
        plane.ImageOrientationPatient = planes[0][0].ImageOrientationPatient  # slices tilted a little lie as parallel
    return planes


def _is_uid(value: Any) -> bool:
    return bool(value) and UID(str(value)).is_valid


def instances(planes: Planes) -> list[Dataset]:
    """The first plane of each instance: of all planes in classic DICOM, of a few in enhanced."""
    first: dict[str, Dataset] = {}
    for plane in chain(*planes):
        first.setdefault(plane.SOPInstanceUID, plane)
    return list(first.values())


def header_of(image: SourceImage) -> Dataset:
    """The header of an image's file, read once more; an InputError where it is gone or is another."""
    try:
        header = pydicom.dcmread(image.path, stop_before_pixels=True, force=True)
    except (OSError, EOFError, InvalidDicomError):
        raise InputError(f"{shown(image.path)}: cannot be read again; keep it there") from None
    if header.get("SOPInstanceUID") != image.sop_instance_uid:
        raise InputError(f"{shown(image.path)}: expected the instance that was read, found another; analyze again")
    return header


def _plane(header: Dataset, image: SourceImage, series: Series) -> Dataset:
    """The geometry of one frame, and its instance's UIDs."""
    assert series.source is not None
    groups = [header]
    if image.frame is not None:
        own, shared = header.PerFrameFunctionalGroupsSequence[image.frame - 1], header.SharedFunctionalGroupsSequence[0]
        groups = [item[0] for group in (own, shared) for item in _macros(group)]
    plane = Dataset()
    plane.SOPClassUID, plane.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    plane.SeriesInstanceUID = header.SeriesInstanceUID
    plane.StudyInstanceUID = series.source.study_instance_uid
    plane.Columns, plane.Rows = series.files[0].shape[:2]
    plane.Modality = "MR"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        plane[keyword] = next(group[keyword] for group in groups if keyword in group)
    if any(image.offset):
        row, column = np.reshape(np.array(plane.ImageOrientationPatient, float), (2, 3))
        (down, right), (rows_mm, columns_mm) = image.offset, map(float, plane.PixelSpacing)
        corner = np.array(plane.ImagePositionPatient, float) - down * rows_mm * column - right * columns_mm * row
        plane.ImagePositionPatient = [float(f"{v:.6f}") for v in corner]
    distance_mm = series.image.spacing_mm[0]
    thickness = next((mm for group in groups if (mm := number(group, "SliceThickness")) and mm > 0), None)
    plane.SliceThickness = round(thickness or distance_mm, 6)
    plane.SpacingBetweenSlices = round(distance_mm, 6)
    return plane


def _macros(group: Dataset) -> list[Any]:
    """The functional groups of a frame: the sequences in an item."""
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    return [group[name].value for name in names if name in group]


def _patient_and_study(header: Dataset) -> Dataset:
    """Patient and study of a header, and whether it was compressed with loss; what is malformed is left empty."""
    part = Dataset()
    for tag in header.keys():  # noqa: SIM118, iterating a Dataset decodes its values
        if tag.group in _PATIENT_AND_STUDY or keyword_for_tag(tag).startswith("LossyImageCompression"):
            element = _decoded(header, tag)
            if element is not None:
                part.add(element)
    for keyword in _REQUIRED:
        if part.get(keyword) is None or not _well_formed(keyword, part.get(keyword)):
            setattr(part, keyword, "")
    if part.PatientSex not in ("F", "M", "O"):
        part.PatientSex = ""
    return part


def malformed(first: Dataset, series: Series) -> list[str]:
    """Names of the patient's and study's attributes that the source has, and that its first plane leaves out."""
    assert series.source is not None
    header = header_of(series.source.images[0][0])
    return [keyword for keyword in _REQUIRED if first.get(keyword) == "" and _raw(header, keyword)]


def _raw(header: Dataset, keyword: str) -> bool:
    """Whether an element holds anything, whatever it is."""
    try:
        return keyword in header and bool(header[keyword].value)
    except Exception:
        return True


def _decoded(header: Dataset, tag: BaseTag) -> DataElement | None:
    """An element whose value is what its kind of value asks for, else None: it is better left out than written on."""
    try:
        element = header[tag]
        single = element.VM <= 1 or dictionary_VM(tag) != "1"
        if not single or any("\N{REPLACEMENT CHARACTER}" in str(v) or "\\" in str(v) for v in _values(element)):
            return None
        probe = Dataset()
        probe.SpecificCharacterSet = "ISO_IR 192"
        probe.add(element)
        with BytesIO() as buffer:
            probe.save_as(buffer, implicit_vr=False, little_endian=True)
    except Exception:  # whatever pydicom trips over in a foreign value
        return None
    return element


def _values(element: DataElement) -> Iterable[Any]:
    return element.value if isinstance(element.value, MultiValue) else [element.value]


def _well_formed(keyword: str, value: Any) -> bool:
    try:
        _FORMATS.get(keyword, str)(value)
    except ValueError:
        return False
    return len(str(value)) <= _LENGTHS.get(keyword, 64)
