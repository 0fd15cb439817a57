"""Whether labels, image and header fit each other: what is true of every short axis is not true where one is wrong.

Limits of our own, wide on purpose. In the 150 frames of ACDC with experts' contours the LV is up to 1.41 times as long
as wide (where the RV presses on it), and blood outshines the wall by 0.30 of the spread or more (a small cavity at
end-systole has least); with the same contours mirrored 62 % of the frames lie below 0.25.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import Anatomy
from myoscope.measure.results import Flag
from myoscope.study import Role
from myoscope.volume import Volume

LONG_AS_WIDE = 1.5
"""The LV within its epicardium is not longer than this times wide, in the median slice."""

BLOOD_OVER_WALL = 0.25
"""Bright blood lies above the wall by this share of what labelled voxels spread (10 to 90 %), medians of both."""

BETTER_MIRRORED = 1.12
"""Mirrored contours lie better on the edges of an image by this factor: those of 305 experts' at most by 1.108."""

EDGE = 0.15
"""A border, smoothed by a pixel, is where its slope is at least this (0.4 at most)."""

LEAST_VOXELS = 60
"""Less cavity or wall says nothing."""

TO_APEX, TO_RV = np.array([-1.0, 1.0, -1.0]) / np.sqrt(3), np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
"""In RAS+, from base to apex (left, front, feet), and from LV to RV (right, front): no heart turns by 90 degrees."""


def fit_flags(role: Role, hearts: Sequence[Anatomy], image: Volume, frames: Sequence[int]) -> list[Flag]:
    """Warnings on labels, image and header of one series that contradict each other.

    Args:
        role: Of the series.
        hearts: The heart in each frame that was measured.
        image: The series' image.
        frames: Which of its frames these are.
    """
    flags = []
    if role in (Role.CINE, Role.BSSFP):
        shares = [blood_over_wall(h.labels, image.frames[t]) for h, t in zip(hearts, frames, strict=True)]
        if (least := min((s for s in shares if s is not None), default=None)) is not None and least < BLOOD_OVER_WALL:
            message = (
                "Blood is hardly brighter than the wall where the contours lie: they may lie beside the heart (of "
                "another image, mirrored, shifted), or this is no image with bright blood. Look at the contours."
            )
            flags.append(Flag(code="contours_off_image", level="warning", series=role, message=message))
    turns = [turn for h, t in zip(hearts, frames, strict=True) if (turn := mirrored(h.labels, image.frames[t]))]
    if turns:
        message = (
            f"The contours would lie on the image's edges better with {turns[0]}: the label map may have been "
            "mirrored or turned when it was saved. Look at the contours."
        )
        flags.append(Flag(code="contours_mirrored", level="warning", series=role, message=message))
    if (ratio := long_as_wide(hearts[0])) is not None and ratio > LONG_AS_WIDE:
        message = (
            f"The LV is {ratio:.1f} times as long as wide within its slices, which no short axis is: check the pixel "
            "spacing in the header, its order too, and the contours."
        )
        flags.append(Flag(code="not_round", level="warning", series=role, message=message))
    if image.is_oblique and (wrong := turned(hearts[0], image.affine)):
        message = (
            f"By the header {' and '.join(wrong)}, as in no usual heart: image or header may be mirrored or turned. "
            "Volumes do not depend on it; segments do, and where anything lies."
        )
        flags.append(Flag(code="heart_turned", level="warning", series=role, message=message))
    return flags


def blood_over_wall(labels: np.ndarray, signal: np.ndarray) -> float | None:
    """How far blood outshines the LV's wall, in shares of the spread over labelled voxels; None for too few of them."""
    blood, wall = signal[labels == Structure.LV], signal[np.isin(labels, LV_WALL)]
    if min(len(blood), len(wall)) < LEAST_VOXELS:
        return None
    low, high = np.percentile(signal[labels > 0], (10, 90))
    return float((np.median(blood) - np.median(wall)) / (high - low)) if high > low else 0.0


def mirrored(labels: np.ndarray, signal: np.ndarray) -> str | None:
    """What would bring labels (Z, Y, X) clearly better onto the edges of their image, in words; None as a rule."""
    scale = signal.std(axis=(1, 2), keepdims=True)
    smooth = ndimage.gaussian_filter(signal / np.where(scale > 0, scale, 1), (0, 1, 1))
    slopes = np.stack(np.gradient(smooth, axis=(1, 2)))
    turned_about = {
        "left and right exchanged": labels[:, :, ::-1],
        "top and bottom exchanged": labels[:, ::-1],
        "half a turn in plane": labels[:, ::-1, ::-1],
        "the slices in reverse order": labels[::-1],
    }
    if labels.shape[1] == labels.shape[2]:
        turned_about["rows and columns exchanged"] = labels.transpose(0, 2, 1)
    limit = BETTER_MIRRORED * on_edges(labels, slopes)
    found = {way: on_edges(other, slopes) for way, other in turned_about.items()} if limit else {}
    best = max(found, key=lambda way: found[way], default=None)
    return best if best and found[best] > limit else None


def on_edges(labels: np.ndarray, slopes: np.ndarray) -> float:
    """How steep an image is across the LV's endocardium and epicardium, geometric mean; 0 where too little is drawn.

    Args:
        labels: (Z, Y, X).
        slopes: Of the image along rows and columns, (2, Z, Y, X).
    """
    steep: list[tuple[float, ...]] = []
    for plane, slope in zip(labels, slopes.transpose(1, 0, 2, 3), strict=True):
        blood, wall = plane == Structure.LV, np.isin(plane, LV_WALL)
        if min(blood.sum(), wall.sum()) >= LEAST_VOXELS:
            rows, columns = np.nonzero(blood | wall)
            box = tuple(slice(max(at.min() - 3, 0), at.max() + 4) for at in (rows, columns))
            steep.append(tuple(_across(inside[box], slope[:, *box]) for inside in (blood, blood | wall)))
    return float(np.sqrt(np.prod(np.mean(steep, axis=0)))) if steep else 0.0


def _across(inside: np.ndarray, slope: np.ndarray) -> float:
    """The mean slope of an image across the border of a region, whichever side is brighter."""
    normal = np.stack(np.gradient(ndimage.gaussian_filter(inside.astype(np.float32), 1)))
    weight = np.hypot(*normal)
    on = weight > EDGE
    return float(np.abs((normal * slope).sum(axis=0))[on].sum() / weight[on].sum()) if on.any() else 0.0


def long_as_wide(heart: Anatomy) -> float | None:
    """Longer by shorter axis of the LV with its wall, by second moments; the median over slices with full rings."""
    ratios = []
    for z in heart.full:
        rows, columns = np.nonzero(np.isin(heart.labels[z], (Structure.LV, *LV_WALL)))
        spread = np.cov(np.stack([rows * heart.spacing_mm[1], columns * heart.spacing_mm[2]]))
        small, large = np.linalg.eigvalsh(spread)
        ratios.append(float(np.sqrt(large / small)) if small > 0 else np.inf)
    return float(np.median(ratios)) if ratios else None


def turned(heart: Anatomy, affine: np.ndarray) -> list[str]:
    """What the header places where no usual heart has it, in words: the apex, the RV."""
    wrong = []
    to_apex = affine[:3, 2] * (-1 if heart.base_last else 1)
    if heart.clear_base and to_apex @ TO_APEX < 0:
        wrong.append("the apex points to where the base should be")
    lv, rv = (np.argwhere(heart.labels == code) for code in (Structure.LV, Structure.RV))
    both = np.intersect1d(lv[:, 0], rv[:, 0])  # in the same slices, so that only the place within them counts
    if len(both):
        there, here = (part[np.isin(part[:, 0], both)].mean(axis=0) for part in (rv, lv))
        if affine[:3, :2] @ (there - here)[[2, 1]] @ TO_RV < 0:
            wrong.append("the RV lies on the LV's free side")
    return wrong
