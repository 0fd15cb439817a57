"""Contours of a DICOM RT Structure Set, as labels on a study's images."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from myoscope.cohort.agree.polygons import EDEMA, ENDO, EPI, NO_REFLOW, RV, SCAR, labels_of
from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"

WORDS = {
    NO_REFLOW: r"no.?reflow|mvo|microvascular",
    SCAR: r"scar|infarct|lge|enhanced|fibrosis",
    EDEMA: r"o?edema",
    RV: r"rv|right.?ventric",
    EPI: r"epi|lv.?epi\w*|epicard\w*",
    ENDO: r"endo|lv.?endo\w*|endocard\w*|lv|lv.?cavity|lv.?blood.?pool|left.?ventric\w*",
}
"""Names of regions, the most telling first; an RV's epicardium is not drawn by us and not read."""

OFF_SLICE = 0.25
"""A contour this part of a slice's distance off its plane lies on no slice."""


def read_rtstruct(path: Path, study: Study) -> dict[Role, Volume]:
    """Labels by role, on the images that the contours lie on.

    Raises:
        InputError: no structure set, no region of a known name, or a contour that lies on no slice of the study.
    """
    try:
        found = dcmread(path)
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in found.StructureSetROISequence}
        contours = [
            (names.get(int(roi.ReferencedROINumber), ""), c)
            for roi in found.ROIContourSequence
            for c in roi.get("ContourSequence", [])
        ]
    except Exception:  # whatever a parser of foreign bytes may raise
        raise InputError(f"{shown(path)}: expected an RT Structure Set, it cannot be read; export it again") from None
    drawn: dict[tuple[Role, int, int], dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    kinds = {name: kind_of(name) for name, _ in contours}
    for name, contour in contours:
        kind = kinds[name]
        if kind and str(contour.get("ContourGeometricType", "CLOSED_PLANAR")) == "CLOSED_PLANAR":
            series, frame, z, line = _placed(path, contour, study)
            drawn[series.role, frame, z][kind].append(line)
    if not drawn:
        raise InputError(
            f"{shown(path)}: expected regions called endo, epi, rv, scar, no-reflow or edema, "
            f"found {shown(', '.join(kinds)[:80])}; rename them"
        )
    labels = {}
    for role in {role for role, _, _ in drawn}:
        image = next(series.image for series in study.series if series.role is role)
        codes = np.zeros_like(image.frames, np.uint8)
        for (at, frame, z), outlines in drawn.items():
            if at is role:
                codes[frame, z] = labels_of(outlines, image.voxels.shape[-2:])
        labels[role] = image.with_voxels(codes.reshape(image.voxels.shape))
    return labels


def kind_of(name: str) -> str | None:
    """What a region of this name is.

    >>> [kind_of(name) for name in ("LV endo", "sax_RV", "RV epi", "Epicardium", "Infarct core", "Liver")]
    ['endo', 'rv', None, 'epi', 'scar', None]
    """
    text = re.sub(r"[^a-z]+", " ", name.lower()).strip()
    found = {kind for kind, words in WORDS.items() if re.search(rf"\b({words})\b", text)}
    if RV in found and EPI in found:
        return None
    return next((kind for kind in WORDS if kind in found), None)


def _placed(path: Path, contour: Dataset, study: Study) -> tuple[Series, int, int, np.ndarray]:
    """The series, frame and slice that a contour lies on, and its line there as columns and rows."""
    try:
        points = np.array(contour.ContourData, float).reshape(-1, 3) * [-1, -1, 1]  # LPS to RAS
    except (AttributeError, ValueError, TypeError):
        raise InputError(f"{shown(path)}: expected contours of points in mm, found another; export it again") from None
    uids = {str(image.ReferencedSOPInstanceUID) for image in contour.get("ContourImageSequence", [])}
    for series in study.series:
        frames = len(series.image.frames)
        found = [
            (t, z)
            for t, phase in enumerate(series.source.images if series.source else ())
            for z, image in enumerate(phase)
            if image.sop_instance_uid in uids
        ]
        if uids and series.source and not found:
            continue
        voxels = np.c_[points, np.ones(len(points))] @ np.linalg.inv(series.image.affine).T
        z = round(float(voxels[:, 2].mean()))
        if np.abs(voxels[:, 2] - z).max() > OFF_SLICE or not 0 <= z < series.image.frames.shape[1]:
            continue
        if not found and frames > 1:
            raise InputError(f"{shown(path)}: expected contours that name the image they lie on, found none in a cine")
        frame = next((t for t, at in found if at == z), None) if found else 0
        if frame is not None:
            return series, frame, z, voxels[:, :2]
    raise InputError(f"{shown(path)}: expected contours on slices of {study.id}, found one that lies on none")
