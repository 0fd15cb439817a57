"""Which codes a label map was drawn with: the conventions that `measure` takes, and maps that contradict ours."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from myoscope.errors import InputError
from myoscope.labels import ACDC_CODES, EMIDEC_CODES, LV_WALL, MYOPS_CODES, OWN_CODES, Structure
from myoscope.volume import Spacing

CONVENTIONS = {"myoscope": OWN_CODES, "acdc": ACDC_CODES, "emidec": EMIDEC_CODES, "myops": MYOPS_CODES}
"""What `--codes` can name."""

JUDGED_FRAMES = 6
"""So many frames of a map are looked at, those with the most labels: its codes do not change from frame to frame."""

CAVITY_SHARE = 0.5
"""At least this share of what the LV's wall encloses must be LV cavity."""

HOLE_SHARE = 0.2
"""A blood pool that encloses more than this share of its own area is no blood pool; papillary muscles are less."""

SCAR_SHARE = 0.15
"""Scar that lies enclosed in normal wall, where there is no cavity, is believed below this share of that wall."""

FAR_MM, FAR_SHARE = 8.0, 1 / 3
"""In a map without RV, muscle of which more than the share lies further than this outside of the wall is an RV."""

BETWEEN_SHARE = 0.1
"""More borders than this share with one voxel of a code between those on both sides: the map is no label map any more.

In 263 experts' maps of four sets at most 0.033, with pixels 2.5 times as large 0.088. Shifted by a third of a pixel
or more, or resized, interpolated and rounded: mostly 0.12 to 0.5, less where the LV's cavity alone is drawn.
"""


_LIKELY = {
    Structure.INFARCT: "1 LV, 2 myocardium, 3 RV",
    Structure.NO_REFLOW: "1 LV, 2 myocardium, 4 RV, as UK Biobank's",
    Structure.EDEMA: "1 LV, 2 myocardium, 5 RV",
    Structure.MYOCARDIUM: "1 LV, 2 RV, 3 wall",
}
"""What a map was drawn with in which a code of the wall lies outside of it."""


def codes_of(name: str) -> dict[int, Structure]:
    """The codes of a convention by its name.

    Raises:
        InputError: no convention has this name.
    """
    if name not in CONVENTIONS:
        raise InputError(f"expected --codes {'|'.join(CONVENTIONS)}, found {name!r}")
    return CONVENTIONS[name]


def check_geometry(
    labels: np.ndarray, spacing_mm: Spacing, where: str, code_of: Mapping[int, Structure] = OWN_CODES
) -> None:
    """Refuse a label map whose geometry contradicts our codes: then it was drawn with others, or interpolated.

    Args:
        labels: `Structure` codes, (T, Z, Y, X).
        spacing_mm: Of (Z, Y, X).
        where: File named in the error.
        code_of: The codes that stood in the file.

    Raises:
        InputError: a wall without cavity inside, scar that fills the cavity, RV inside the LV, and the like; the
            message names the convention that would fit, where one does.
    """
    planes = _judged(labels)
    if found := _interpolated(planes, code_of) or _contradiction(planes, spacing_mm):
        raise InputError(f"{where}: {found} (if the map is right, --codes myoscope takes it as it is)")


def _interpolated(planes: np.ndarray, code_of: Mapping[int, Structure]) -> str | None:
    """Whether borders have a seam of the codes in between, as a resampled image has: 6, 3, 0 beside an RV."""
    number = {structure: code for code, structure in code_of.items()}
    codes = np.array([number.get(s, 0) for s in Structure])[planes]
    seams = borders = 0
    for axis in (1, 2):
        before, at, after = (np.take(codes, range(i, codes.shape[axis] - 2 + i), axis) for i in range(3))
        seams += int((((before < at) & (at < after)) | ((before > at) & (at > after))).sum())
        borders += int((before != after).sum())
    if seams <= BETWEEN_SHARE * borders:
        return None
    return (
        f"{100 * seams / borders:.0f} % of the borders between structures have a seam of the codes in between; the "
        "labels were interpolated when they were resampled, and the seam is no tissue: resample to the nearest voxel"
    )


def _judged(labels: np.ndarray) -> np.ndarray:
    """The slices to look at: (N, Y, X), cut to what is labelled, with a margin."""
    by_size = np.argsort((labels > 0).sum((1, 2, 3)), kind="stable")[::-1][:JUDGED_FRAMES]
    planes = labels[by_size].reshape(-1, *labels.shape[2:])
    planes = planes[planes.any((1, 2))]
    if not len(planes):
        return planes
    drawn = np.asarray(planes.any(0))
    box = tuple(
        slice(max(int(at.min()) - 1, 0), int(at.max()) + 2) for at in (np.flatnonzero(drawn.any(1 - k)) for k in (0, 1))
    )
    return planes[:, *box]


def _contradiction(planes: np.ndarray, spacing_mm: Spacing) -> str | None:
    area = np.bincount(planes.ravel(), minlength=len(Structure))
    walls = sum(area[code] for code in LV_WALL)
    inside = _enclosed(planes, LV_WALL)
    in_muscle = _enclosed(planes, [Structure.MYOCARDIUM])
    in_lv = _enclosed(planes, [Structure.LV])
    if inside[Structure.RV] > CAVITY_SHARE * max(inside.sum(), 1):
        return "the RV (6) lies inside the LV's wall; LV and RV seem exchanged: 1 is the LV's cavity, 6 the RV's"
    scar = in_muscle[Structure.INFARCT]
    acdc = not area[Structure.INFARCT + 1 :].any()  # its codes end with 3
    if acdc and scar > inside[Structure.LV] and scar > SCAR_SHARE * area[Structure.MYOCARDIUM]:
        return "infarct (3) fills the cavity; likely ACDC's codes (1 RV, 2 myocardium, 3 LV): give --codes acdc"
    if in_lv.sum() > HOLE_SHARE * area[Structure.LV]:
        return "the LV's cavity (1) is a ring; likely 1 was drawn as myocardium: 1 is the cavity, 2 the myocardium"
    for code, likely in _LIKELY.items():
        if not area[Structure.RV] and _lies_outside(planes, code, spacing_mm):
            return f"code {int(code)} lies outside of the LV's wall; likely {likely}: convert to 1 LV, 2 wall, 6 RV"
    if walls and (not area[Structure.LV] or inside[Structure.LV] < CAVITY_SHARE * inside.sum()):
        return "there is no LV cavity (1) inside the wall (2 to 5); draw the cavity too, or convert the codes"
    return None


def _enclosed(planes: np.ndarray, codes: Sequence[Structure]) -> np.ndarray:
    """How many voxels of each code lie within closed rings of these codes."""
    counts = np.zeros(len(Structure), int)
    for plane in planes:
        hole = _filled(np.isin(plane, codes)) & ~np.isin(plane, codes)
        counts += np.bincount(plane[hole], minlength=len(Structure))
    return counts


def _filled(ring: np.ndarray) -> np.ndarray:
    """A region with its holes; what reaches the plane's edge is no hole.

    >>> _filled(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)).sum()
    np.int64(5)
    """
    pieces, _ = ndimage.label(np.pad(~ring, 1, constant_values=True))
    return (pieces != pieces[0, 0])[1:-1, 1:-1]


def _lies_outside(planes: np.ndarray, code: Structure, spacing_mm: Spacing) -> bool:
    """Whether voxels of a code of the wall lie far outside of a closed wall that the other codes make."""
    others = [c for c in LV_WALL if c is not code]
    far = total = 0
    for plane in planes:
        ring = np.isin(plane, others)
        whole = _filled(ring)
        if (plane[whole & ~ring] == Structure.LV).any():
            away = ndimage.distance_transform_edt(~whole, sampling=spacing_mm[1:])[plane == code]
            far, total = far + int((away > FAR_MM).sum()), total + len(away)
    return far > FAR_SHARE * total
