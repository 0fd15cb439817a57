"""What results take over from the DICOM frames they were made of: patient, study, geometry, references."""

from itertools import chain
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from myoscope.errors import InputError
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


def source_planes(series: Series) -> Planes:
    """Read the headers of a series' source once more, for results to carry.

    Raises:
        InputError: a file is gone, or is no longer what was read.
    """
    assert series.source is not None
    headers: dict[Path, Dataset] = {}
    for image in chain(*series.source.images):
        if image.path not in headers:
            headers[image.path] = _header(image)
    planes = [[_plane(headers[image.path], image, series) for image in phase] for phase in series.source.images]
    first = headers[series.source.images[0][0].path]
    planes[0][0].update(_patient_and_study(first))
    reference = first.get("FrameOfReferenceUID") or generate_uid()
    for plane in chain(*planes):
        plane.FrameOfReferenceUID = reference
    return planes


def instances(planes: Planes) -> list[Dataset]:
    """The first plane of each instance: of all planes in classic DICOM, of a few in enhanced."""
    first: dict[str, Dataset] = {}
    for plane in chain(*planes):
        first.setdefault(plane.SOPInstanceUID, plane)
    return list(first.values())


def _header(image: SourceImage) -> Dataset:
    try:
        header = pydicom.dcmread(image.path, stop_before_pixels=True, force=True)
    except (OSError, EOFError, InvalidDicomError) as error:
        raise InputError(f"{shown(image.path)}: cannot be read again ({type(error).__name__}); keep it there") from None
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
    plane.Rows, plane.Columns, plane.Modality = header.Rows, header.Columns, "MR"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        plane[keyword] = next(group[keyword] for group in groups if keyword in group)
    distance_mm = series.image.spacing_mm[0]
    thickness = next((group.SliceThickness for group in groups if group.get("SliceThickness")), None)
    plane.SliceThickness = thickness or round(distance_mm, 6)
    plane.SpacingBetweenSlices = round(distance_mm, 6)
    return plane


def _macros(group: Dataset) -> list[Any]:
    """The functional groups of a frame: the sequences in an item."""
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    return [group[name].value for name in names if name in group]


def _patient_and_study(header: Dataset) -> Dataset:
    """Patient and study of a header, and whether it was compressed with loss; what is malformed is left empty."""
    part = Dataset()
    for element in header:
        if element.tag.group in _PATIENT_AND_STUDY or element.keyword.startswith("LossyImageCompression"):
            part.add(element)
    for keyword in _REQUIRED:
        if part.get(keyword) is None or not _well_formed(keyword, part.get(keyword)):
            setattr(part, keyword, "")
    if part.PatientSex not in ("F", "M", "O"):
        part.PatientSex = ""
    return part


def _well_formed(keyword: str, value: Any) -> bool:
    try:
        _FORMATS.get(keyword, str)(value)
    except ValueError:
        return False
    return True
