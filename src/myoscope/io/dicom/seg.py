"""Label maps as DICOM Segmentation: one object a series, on the very frames that were segmented."""

from copy import deepcopy
from itertools import chain
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from myoscope.io.dicom import on_source_frames
from myoscope.io.dicom.codes import ARTIFICIAL_INTELLIGENCE, SEGMENTS
from myoscope.io.dicom.source import Planes, instances
from myoscope.labels import Structure
from myoscope.measure.results import NOTICE, SeriesProvenance
from myoscope.study import Series
from myoscope.volume import Volume


def segmentation(
    series: Series, labels: Volume, planes: Planes, origin: SeriesProvenance, maker: dict[str, Any]
) -> Segmentation | None:
    """A BINARY segmentation of a series: one segment for each structure that is there, numbered from 1.

    Every labelled frame of a cine is in it, not only end-diastole and end-systole: each refers to the source frame it
    was drawn on, and is indexed by segment, phase (TemporalPositionIndex) and position.

    Args:
        series: With `source`.
        labels: `Structure` codes on the series' grid.
        planes: From `source_planes`.
        origin: What made the labels.
        maker: Series, instance and equipment, as `myoscope.io.dicom.write` gives them.

    Returns:
        The object, or None where nothing is labelled.
    """
    codes = on_source_frames(labels.frames, series.files[0])
    present = [structure for structure in SEGMENTS if (codes == structure).any()]
    if not present:
        return None
    number_of = np.zeros(max(Structure) + 1, np.uint8)
    number_of[present] = np.arange(1, len(present) + 1)
    result = Segmentation(
        source_images=_stand_ins(planes),
        pixel_array=number_of[codes].reshape(-1, *codes.shape[2:]),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(structure, n, origin, maker) for n, structure in enumerate(present, 1)],
        content_label=f"{series.role.upper()}_SEG",
        content_description=NOTICE,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **maker,
    )
    _refer(result, series, planes)
    return result


def _describe(structure: Structure, number: int, origin: SeriesProvenance, maker: dict[str, Any]) -> SegmentDescription:
    category, kind, region = SEGMENTS[structure]
    algorithm = None
    if origin.weights_sha256 is not None:
        algorithm = hd.AlgorithmIdentificationSequence(
            name="myoscope",
            version=maker["software_versions"],
            family=ARTIFICIAL_INTELLIGENCE,
            parameters={"system": origin.labels_from, "weights_sha256": origin.weights_sha256},
        )
    return SegmentDescription(
        segment_number=number,
        segment_label=structure.title,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="MANUAL" if not algorithm else "SEMIAUTOMATIC" if origin.changed_voxels else "AUTOMATIC",
        algorithm_identification=algorithm,
        anatomic_regions=[region],
        tracking_id=f"{origin.role} {structure.title}",
        tracking_uid=hd.UID(),
        display_color=CIELabColor.from_string(structure.colour),
    )


def _stand_ins(planes: Planes) -> list[Dataset]:
    """The planes as one stack of single frames, each at a place of its own, 1 mm apart, in the order of the phases.

    highdicom takes frames of one series and one instance each, no two at one place; it knows no time. `_refer` puts
    the true references and places back.
    """
    flat = list(chain(*planes))
    row, column = np.reshape(np.array(flat[0].ImageOrientationPatient, float), (2, 3))
    stack = []
    for i, plane in enumerate(flat):
        stand_in = deepcopy(plane)
        stand_in.SOPClassUID, stand_in.SOPInstanceUID = MRImageStorage, f"2.25.{i + 1}"
        stand_in.SeriesInstanceUID = flat[0].SeriesInstanceUID
        stand_in.ImageOrientationPatient = flat[0].ImageOrientationPatient
        stand_in.ImagePositionPatient = [round(x, 6) for x in np.cross(column, row) * i]
        stack.append(stand_in)
    return stack


def _refer(result: Segmentation, series: Series, planes: Planes) -> None:
    """Put each frame where its source frame lies, refer to it, and index the phases of a cine."""
    assert series.source is not None
    groups = result.PerFrameFunctionalGroupsSequence
    frames = [divmod(_stand_in_of(group), len(planes[0])) for group in groups]
    phase_of, place_of = ({k: n for n, k in enumerate(sorted(set(used)), 1)} for used in zip(*frames, strict=True))
    for group, (t, z) in zip(groups, frames, strict=True):
        image, content = series.source.images[t][z], group.FrameContentSequence[0]
        group.PlanePositionSequence = [_made(ImagePositionPatient=planes[t][z].ImagePositionPatient)]
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
        if image.frame is not None:
            source.ReferencedFrameNumber = image.frame
        segment, _ = content.DimensionIndexValues
        content.DimensionIndexValues = [segment, place_of[z]]
        if len(planes) > 1:
            content.TemporalPositionIndex = t + 1
            content.DimensionIndexValues = [segment, phase_of[t], place_of[z]]
    if len(planes) > 1:
        by_place = result.DimensionIndexSequence[1]
        by_phase = _made(
            DimensionIndexPointer=tag_for_keyword("TemporalPositionIndex"),
            FunctionalGroupPointer=tag_for_keyword("FrameContentSequence"),
            DimensionOrganizationUID=by_place.DimensionOrganizationUID,
            DimensionDescriptionLabel="Temporal Position Index",
        )
        result.DimensionIndexSequence.insert(1, by_phase)
    result.pop("DimensionOrganizationType", None)  # highdicom judged by the stand-ins' places
    series_of: dict[str, list[Dataset]] = {}
    for plane in instances(planes):
        item = _made(ReferencedSOPClassUID=plane.SOPClassUID, ReferencedSOPInstanceUID=plane.SOPInstanceUID)
        series_of.setdefault(plane.SeriesInstanceUID, []).append(item)
    result.SourceImageSequence = list(chain(*series_of.values()))
    result.ReferencedSeriesSequence = [
        _made(SeriesInstanceUID=uid, ReferencedInstanceSequence=items) for uid, items in series_of.items()
    ]


def _stand_in_of(group: Dataset) -> int:
    source = group.DerivationImageSequence[0].SourceImageSequence[0]
    return int(source.ReferencedSOPInstanceUID.split(".")[-1]) - 1


def _made(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
