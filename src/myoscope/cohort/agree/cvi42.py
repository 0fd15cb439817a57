"""Contours of a cvi42 workspace's XML (as users of UK Biobank have them), as labels on a DICOM study's images.

Points are image pixels times `SubpixelResolution`; a whole number is taken for a pixel's centre, as UK Biobank's users
do (github.com/baiwenjia/ukbb_cardiac, data/parse_cvi42_xml.py). The format is not published.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from myoscope.cohort.agree.polygons import ENDO, EPI, NO_REFLOW, RV, SCAR, labels_of
from myoscope.errors import InputError
from myoscope.io.dicom import on_source_frames
from myoscope.io.nifti import shown, to_view
from myoscope.study import Role, Study
from myoscope.volume import Volume

KINDS = {
    "saendocardialContour": ENDO,
    "saendocardialOpenContour": ENDO,
    "saepicardialContour": EPI,
    "saepicardialOpenContour": EPI,
    "sarvendocardialContour": RV,
    "saEnhancementAreaContour": SCAR,
    "noReflowAreaContour": NO_REFLOW,
}
"""Contours that are read, without a number at the end; papillary muscles stay in the blood pool, as in ours."""

MAX_BYTES = 512 * 2**20


def read_cvi42(path: Path, study: Study) -> dict[Role, Volume]:
    """Labels by role, on the images whose SOP instances the workspace names.

    Raises:
        InputError: no such XML, the study is not DICOM, or no contour lies on its images.
    """
    if not any(series.source for series in study.series):
        raise InputError(f"{shown(path)}: a cvi42 workspace names DICOM images, found NIfTI; analyze the DICOM study")
    contours = dict(_contours(path))
    labels = {}
    for series in study.series:
        if not series.source:
            continue
        planes = [[contours.get(image.sop_instance_uid) for image in phase] for phase in series.source.images]
        if not any(any(phase) for phase in planes):
            continue
        grid = series.files[0]
        drawn = np.zeros_like(on_source_frames(series.image.frames, grid), np.uint8)
        for t, phase in enumerate(planes):
            for z, outlines in enumerate(phase):
                if outlines:
                    drawn[t, z] = labels_of(outlines, (drawn.shape[2], drawn.shape[3]))
        codes = to_view(drawn.T, grid.axes, grid.flips)
        labels[series.role] = series.image.with_voxels(codes.reshape(series.image.voxels.shape))
    if not labels:
        raise InputError(f"{shown(path)}: expected contours on images of {study.id}, found none; is it this study's?")
    return labels


def _contours(path: Path) -> Iterator[tuple[str, dict[str, list[np.ndarray]]]]:
    """SOP instance UIDs and their contours that are read: pixels (column, row)."""
    for states in _root(path).iter():
        if _key(states) != "ImageStates":
            continue
        for image in states:
            outlines: dict[str, list[np.ndarray]] = defaultdict(list)
            for part in image:
                for contour in part if _key(part) == "Contours" else ():
                    kind = KINDS.get(re.sub(r"\d+$", "", _key(contour)))
                    line = _points(contour, path)
                    if kind and len(line) > 2:
                        outlines[kind].append(line)
            if outlines:
                yield _key(image), outlines


def _root(path: Path) -> ElementTree.Element:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{shown(path)}: expected at most {MAX_BYTES >> 20} MiB of XML; export one study")
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); check the file") from None
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise InputError(f"{shown(path)}: expected a workspace without a document type; do not trust this file")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):  # the latter two of an encoding that nobody knows
        raise InputError(f"{shown(path)}: expected a cvi42 workspace as XML, found another; export it again") from None


def _key(node: ElementTree.Element) -> str:
    """The attribute `Hash:key`, whatever its namespace is called."""
    return next((value for name, value in node.attrib.items() if name.split("}")[-1] in ("key", "Hash:key")), "")


def _points(contour: ElementTree.Element, path: Path) -> np.ndarray:
    """(n, 2), column and row."""
    points, resolution = [], 1.0
    try:
        for part in contour:
            if _key(part) == "SubpixelResolution":
                resolution = float(part.text or "")
            elif _key(part) == "Points":
                for point in part:
                    at = {child.tag.split("}")[-1].split(":")[-1]: float(child.text or "") for child in point}
                    points.append((at["x"], at["y"]))
    except (ValueError, KeyError):
        raise InputError(f"{shown(path)}: a contour has a point that is no pair of numbers; export it again") from None
    if not resolution > 0:
        raise InputError(f"{shown(path)}: expected a positive SubpixelResolution, found {resolution:g}")
    return np.array(points, float).reshape(-1, 2) / resolution
