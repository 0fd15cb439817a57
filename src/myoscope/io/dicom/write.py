"""Results as DICOM: a segmentation for each series that was segmented, and one structured report."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import chain
from typing import Any

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.seg import Segmentation

from myoscope import __version__
from myoscope.errors import InputError
from myoscope.io.dicom.codes import SCHEME
from myoscope.io.dicom.seg import segmentation
from myoscope.io.dicom.source import Planes, malformed, source_planes
from myoscope.io.dicom.sr import structured_report
from myoscope.measure.results import Flag, Measurements
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume

logging.getLogger("highdicom").addHandler(logging.NullHandler())  # it would quote values of headers on stderr

FIRST_SERIES_NUMBER = 9901
"""Far beyond a scanner's own; series of the study that were read are not hit in any case."""


def dicom_results(
    study: Study, labels: Mapping[Role, Volume], measurements: Measurements
) -> tuple[dict[str, bytes], list[Flag]]:
    """The files `ROLE_seg.dcm` for each labelled series that came from DICOM, and `report_sr.dcm`, as their bytes.

    They belong to the patient and study of the source, so they carry the patient's name. What cannot be made is left
    out, with a flag that says why, and never costs the rest of a result: no name and no path is in it.
    """
    objects: dict[str, bytes] = {}
    sourced = [series for series in study.series if series.source]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom and highdicom, which quote patients' names
        try:
            _check_uids(sourced)
            planes = {series.role: source_planes(series) for series in sourced}
            segmentations, maker, flags = _segmentations(sourced, labels, planes, measurements)
        except Exception as error:  # whatever a foreign header makes the libraries trip over
            return {}, [_flag("segmentations and report", error)]
        for role, whole in segmentations.items():
            objects[f"{role}_seg.dcm"] = _bytes(whole)
        try:
            objects["report_sr.dcm"] = _bytes(structured_report(measurements, planes, segmentations, maker))
        except Exception as error:
            flags.append(_flag("report_sr.dcm", error))
    if left_out := sorted({name for series in sourced for name in malformed(planes[series.role][0][0], series)}):
        message = f"Malformed in the source's headers and left empty in the DICOM results: {', '.join(left_out)}."
        flags.append(Flag(code="dicom_fields_left_out", level="warning", series=None, message=message))
    return objects, flags


def _segmentations(
    sourced: Sequence[Series],
    labels: Mapping[Role, Volume],
    planes: Mapping[Role, Planes],
    measurements: Measurements,
) -> tuple[dict[Role, Segmentation], dict[str, Any], list[Flag]]:
    """Segmentations of the labelled series, what the report is made with, and flags on those that failed."""
    taken = max((series.source.series_number or 0 for series in sourced if series.source), default=0)
    numbers = iter(range(max(FIRST_SERIES_NUMBER, taken + 1), 1 << 31))
    origins = {origin.role: origin for origin in measurements.provenance.series}
    made: dict[Role, Segmentation] = {}
    flags = []
    for series in sourced:
        role = series.role
        if role in labels:
            maker = _maker(next(numbers), f"myoscope {role} segmentation, research use only")
            try:
                found = segmentation(series, labels[role], planes[role], origins[role], maker)
                if found is not None and _bytes(found):  # that it can be written is a part of it
                    made[role] = found
            except Exception as error:
                flags.append(_flag(f"{role}_seg.dcm", error))
    return made, _maker(next(numbers), "myoscope measurements, research use only"), flags


def _bytes(whole: hd.SOPClass) -> bytes:
    with BytesIO() as file:
        whole.save_as(file)
        return file.getvalue()


def _check_uids(sourced: Sequence[Series]) -> None:
    """Raise InputError where a reference to a source image would mean two."""
    images = [image for series in sourced if series.source for image in chain(*series.source.images)]
    if len({(image.path, image.frame) for image in images}) > len({(i.sop_instance_uid, i.frame) for i in images}):
        raise InputError("its images share SOPInstanceUIDs")


def _flag(what: str, error: Exception) -> Flag:
    """A flag on what was not written; of errors that may quote a header or a path, only the kind is told."""
    why = (
        "the source's files are gone, changed, or share UIDs" if isinstance(error, InputError) else type(error).__name__
    )
    message = f"Not written as DICOM: {what} ({why}). Everything else is there."
    return Flag(code="dicom_not_written", level="warning", series=None, message=message)


def _maker(series_number: int, description: str) -> dict[str, Any]:
    """Series, instance and equipment of a new object."""
    return {
        "series_instance_uid": hd.UID(),
        "series_number": series_number,
        "series_description": description,
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "manufacturer": "myoscope",
        "manufacturer_model_name": "myoscope",
        "software_versions": __version__,
        "device_serial_number": __version__,
        "specific_character_set": "ISO_IR 192",
        "coding_schemes": [
            CodingSchemeIdentificationItem(SCHEME, name="myoscope's own codes", responsible_organization="myoscope")
        ],
    }
