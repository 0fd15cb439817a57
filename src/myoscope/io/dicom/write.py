"""Results as DICOM: a segmentation for each series that was segmented, and one structured report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem

from myoscope import __version__
from myoscope.io.dicom.codes import SCHEME
from myoscope.io.dicom.seg import segmentation
from myoscope.io.dicom.source import source_planes
from myoscope.io.dicom.sr import structured_report
from myoscope.measure.results import Measurements
from myoscope.study import Role, Study
from myoscope.volume import Volume

FIRST_SERIES_NUMBER = 9901
"""Far beyond a scanner's own; series of the study that were read are not hit in any case."""


def write_dicom(folder: Path, study: Study, labels: Mapping[Role, Volume], measurements: Measurements) -> list[Path]:
    """Write `ROLE_seg.dcm` for each labelled series that came from DICOM, and `report_sr.dcm`; gives their paths.

    They belong to the patient and study of the source, so they carry the patient's name.

    Raises:
        InputError: a source file is gone, or is no longer what was read.
    """
    folder.mkdir()
    sourced = [series for series in study.series if series.source]
    planes = {series.role: source_planes(series) for series in sourced}
    taken = max((series.source.series_number or 0 for series in sourced if series.source), default=0)
    numbers = iter(range(max(FIRST_SERIES_NUMBER, taken + 1), 1 << 31))
    origins = {origin.role: origin for origin in measurements.provenance.series}
    segmentations = {}
    for series in sourced:
        role = series.role
        if role in labels:
            maker = _maker(next(numbers), f"myoscope {role} segmentation, research use only")
            found = segmentation(series, labels[role], planes[role], origins[role], maker)
            if found is not None:
                segmentations[role] = found
    maker = _maker(next(numbers), "myoscope measurements, research use only")
    objects: dict[str, hd.SOPClass] = {f"{role}_seg.dcm": found for role, found in segmentations.items()}
    objects["report_sr.dcm"] = structured_report(measurements, planes, segmentations, maker)
    for name, whole in objects.items():
        whole.save_as(folder / name)
    return [folder / name for name in objects]


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
