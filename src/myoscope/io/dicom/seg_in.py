"""DICOM Segmentation in: segments of a corrected object, put back on the frames that they were drawn on."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from myoscope.errors import InputError
from myoscope.io.dicom.codes import SEGMENTS
from myoscope.io.dicom.source import source_planes
from myoscope.io.nifti import shown, to_view
from myoscope.labels import Structure
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume

PLACE_MM, DIRECTION = 0.1, 1e-3
"""A segmented frame lies on its source frame when corner and direction cosines differ by no more."""


def read_seg(path: Path, study: Study) -> tuple[Role, Volume]:
    """Read a segmentation (BINARY or LABELMAP) of one series of a study: its role, and `Structure` codes on its grid.

    Segments are told by their coded type and region, as `analyze` writes them, else by their label ("LV blood pool").

    Raises:
        InputError: it cannot be read, segments no series of the study or several, lies elsewhere than its source
            frames, has a segment of an unknown kind, or two segments on one voxel.
    """
    where = shown(path)
    try:
        found = pydicom.dcmread(path)
        kind, pixels = found.SegmentationType, found.pixel_array
        groups = list(found.PerFrameFunctionalGroupsSequence)
        structures = {int(item.SegmentNumber): _structure(item, where) for item in found.SegmentSequence}
    except InputError:
        raise
    except Exception:  # whatever a parser of foreign bytes may raise
        raise InputError(f"{where}: expected a DICOM segmentation, it cannot be read; export it again") from None
    if kind not in ("BINARY", "LABELMAP"):
        raise InputError(f"{where}: expected a BINARY or LABELMAP segmentation, found {shown(kind)}; export it so")
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    if len(pixels) != len(groups):
        raise InputError(f"{where}: expected {len(groups)} frames, found {len(pixels)}; export it again")
    places, series = _places([_source(group, where) for group in groups], study, where)
    planes = source_planes(series)
    codes = np.zeros((len(planes), len(planes[0]), planes[0][0].Rows, planes[0][0].Columns), np.uint8)
    shared = found.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
    for plane, group, (t, z) in zip(pixels, groups, places, strict=True):
        if plane.shape != codes.shape[2:] or not _on(planes[t][z], group, shared):
            raise InputError(
                f"{where}: expected segments on the pixels of their source frames, found others; draw there"
            )
        _put(codes[t, z], plane, group, kind, structures, where)
    grid = series.files[0]
    labels = to_view(codes.T, grid.axes, grid.flips)
    return series.role, series.image.with_voxels(labels.reshape(series.image.voxels.shape))


def _structure(item: Dataset, where: str) -> Structure:
    """What a segment shows."""
    kind = _code(item.SegmentedPropertyTypeCodeSequence)
    region = _code(item.get("AnatomicRegionSequence"))
    coded = [
        s
        for s, (_, own_kind, own_region) in SEGMENTS.items()
        if kind == (own_kind.value, own_kind.scheme_designator)
        and (region in (None, (own_region.value, own_region.scheme_designator)))
    ]
    titled = [s for s in SEGMENTS if s.title.lower() == str(item.SegmentLabel).strip().lower()]
    for candidates in (coded, titled):
        if len(candidates) == 1:
            return candidates[0]
    titles = ", ".join(s.title for s in SEGMENTS)
    raise InputError(f"{where}: segment {shown(item.SegmentLabel)!r} is of an unknown kind; name segments {titles}")


def _code(sequence: Any) -> tuple[str, str] | None:
    return (sequence[0].CodeValue, sequence[0].CodingSchemeDesignator) if sequence else None


def _source(group: Dataset, where: str) -> tuple[str, int | None]:
    """Instance, and frame in it, that a segmented frame was drawn on."""
    try:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = source.get("ReferencedFrameNumber")
        frame = frame[0] if isinstance(frame, pydicom.multival.MultiValue) else frame
        return source.ReferencedSOPInstanceUID, None if frame is None else int(frame)
    except (AttributeError, IndexError, TypeError, ValueError):
        raise InputError(
            f"{where}: expected a reference to the source image in each frame, found none; export it with references"
        ) from None


def _places(sources: list[tuple[str, int | None]], study: Study, where: str) -> tuple[list[tuple[int, int]], Series]:
    """Phase and slice of each segmented frame, and the one series in which they all lie."""
    for series in study.series:
        if series.source is None:
            continue
        place_of = {
            (image.sop_instance_uid, image.frame): (t, z)
            for t, phase in enumerate(series.source.images)
            for z, image in enumerate(phase)
        }
        found = [place_of.get(source) for source in sources]
        if all(found) and found:
            return [place for place in found if place is not None], series
        if any(found):
            raise InputError(f"{where}: expected segments of one series, found others beside {series.role}; split it")
    roles = ", ".join(series.role for series in study.series)
    raise InputError(f"{where}: expected a segmentation of the study's {roles}, found one of other images")


def _on(plane: Dataset, group: Dataset, shared: Dataset) -> bool:
    """Whether a segmented frame lies where its source frame does; what it does not say is taken for the same."""
    for macro, keyword, tolerance in (
        ("PlanePositionSequence", "ImagePositionPatient", PLACE_MM),
        ("PlaneOrientationSequence", "ImageOrientationPatient", DIRECTION),
        ("PixelMeasuresSequence", "PixelSpacing", DIRECTION),
    ):
        said = group.get(macro) or shared.get(macro)
        value = said[0].get(keyword) if said else None
        if value is not None and np.abs(np.subtract(value, plane[keyword].value)).max() > tolerance:
            return False
    return True


def _put(
    codes: np.ndarray, plane: np.ndarray, group: Dataset, kind: str, structures: dict[int, Structure], where: str
) -> None:
    """Add one segmented frame to the codes (rows, columns) of its source frame."""
    if kind == "LABELMAP":
        unknown = set(np.unique(plane).tolist()) - {0, *structures}
        if unknown:
            raise InputError(f"{where}: expected segments {sorted(structures)}, found {sorted(unknown)[:5]}")
        numbers = [(number, plane == number) for number in structures]
    else:
        numbers = [(int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber), plane > 0)]
    for number, drawn in numbers:
        if codes[drawn].any():
            raise InputError(f"{where}: expected one structure a voxel, found two segments on one; let none overlap")
        codes[drawn] = structures[number]
