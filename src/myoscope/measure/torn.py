"""Label maps that are torn: structures in pieces, holes in them, slices left out; in which slices and phases."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import Anatomy
from myoscope.measure.results import Flag
from myoscope.measure.wall import fill_holes
from myoscope.volume import Spacing

NOTICEABLE_SHARE, NOTICEABLE_MM2 = 0.02, 15.0
"""A piece or a hole counts when it has this share of its structure in the slice, and at least this area."""

PHASE_WORDS = {"ed": "at end-diastole", "es": "at end-systole"}

_STRUCTURES: tuple[tuple[str, str, str, tuple[Structure, ...], Literal["info", "warning"]], ...] = (
    ("lv", "The LV cavity", "", (Structure.LV,), "warning"),
    ("myocardium", "The LV myocardium", "", LV_WALL, "warning"),
    ("rv", "The RV cavity", " (as inflow and outflow tract do at the base)", (Structure.RV,), "info"),
)

_GAPS = (
    ("slice_gap", "left ventricle", ((Structure.LV, *LV_WALL), (Structure.LV,))),
    ("slice_gap_rv", "right ventricle", ((Structure.RV,),)),
)
"""What no slice between others lacks."""

Places = dict[str, list[int]]
"""Slices by phase."""


def torn_flags(series: str, hearts: Sequence[Anatomy], phases: Sequence[str]) -> list[Flag]:
    """Flags on structures in more than one piece, and on holes.

    Args:
        series: Role of the series, as it stands in the flags.
        hearts: The heart in each frame that was measured.
        phases: What each of them shows: "ed", "es", or "" where nobody knows.

    Returns:
        One `pieces_STRUCTURE` for each structure, one `hole_STRUCTURE_PHASE` for each structure and phase that a hole
        touches, so that what is measured of others is not doubted (`report.concerns`); `slice_gap` and, of a cine,
        `slice_gap_rv` where slices between others lack a ventricle.
    """
    pieces: dict[str, Places] = {}
    holes: dict[str, Places] = {}
    for phase, heart in zip(phases, hearts, strict=True):
        for z, plane in enumerate(heart.labels):
            for name in _in_pieces(plane, heart.spacing_mm):
                pieces.setdefault(name, {}).setdefault(phase, []).append(z)
            for name in _holed(plane, heart.spacing_mm):
                holes.setdefault(name, {}).setdefault(phase, []).append(z)
    flags = []
    for name, title, aside, _, level in _STRUCTURES:
        if name in pieces:
            message = f"{title} lies in more than one piece{aside}: {_where(pieces[name], hearts[0])}."
            flags.append(Flag(code=f"pieces_{name}", level=level, series=series, message=message))
        for phase, slices in holes.get(name, {}).items():
            message = f"{title} has a hole in it or beside it: {_where({phase: slices}, hearts[0])}."
            code = "_".join(filter(None, ("hole", name, phase)))
            flags.append(Flag(code=code, level="warning", series=series, message=message))
    return flags + _gaps(series, hearts, phases)


def _gaps(series: str, hearts: Sequence[Anatomy], phases: Sequence[str]) -> list[Flag]:
    """Flags on slices that lack a ventricle though slices on both sides show it."""
    flags = []
    for code, title, parts in _GAPS if series == "cine" else _GAPS[:1]:
        places: Places = {}
        for phase, heart in zip(phases, hearts, strict=True):
            lacking = {z for structures in parts for z in _between(np.isin(heart.labels, structures))}
            if lacking:
                places[phase] = sorted(lacking)
        if places:
            where = _where(places, hearts[0])
            message = f"Between slices that show it there is no {title}: {where}; volumes are too small."
            flags.append(Flag(code=code, level="warning", series=series, message=message))
    return flags


def _between(mask: np.ndarray) -> list[int]:
    """Slices without any of a mask (Z, Y, X) between slices with some."""
    seen = np.flatnonzero(mask.any(axis=(1, 2)))
    return np.setdiff1d(np.arange(seen[0], seen[-1]), seen).tolist() if len(seen) else []


def _in_pieces(plane: np.ndarray, spacing_mm: Spacing) -> list[str]:
    """The structures that lie in more than one noticeable piece of a slice."""
    found = []
    for name, _, _, structures, _ in _STRUCTURES:
        mask = np.isin(plane, structures)
        pieces, count = ndimage.label(mask, np.ones((3, 3)))
        if count > 1 and len(_noticeable(pieces, int(mask.sum()), spacing_mm)) > 1:
            found.append(name)
    return found


def _holed(plane: np.ndarray, spacing_mm: Spacing) -> list[str]:
    """The structures that a noticeable hole touches: background that the LV, or the RV, encloses."""
    touched: set[int] = set()
    for structures in ((Structure.LV, *LV_WALL), (Structure.RV,)):
        mask = np.isin(plane, structures)
        holes, count = ndimage.label(fill_holes(mask) & (plane == Structure.BACKGROUND)) if mask.any() else (mask, 0)
        if count:
            large = np.isin(holes, _noticeable(holes, int(mask.sum()), spacing_mm))
            touched.update(plane[ndimage.binary_dilation(large) & mask].tolist())
    return [name for name, _, _, structures, _ in _STRUCTURES if touched.intersection(structures)]


def _noticeable(pieces: np.ndarray, whole: int, spacing_mm: Spacing) -> np.ndarray:
    """Which of some numbered pieces (0 is none) are large enough to count."""
    least = max(NOTICEABLE_SHARE * whole, NOTICEABLE_MM2 / (spacing_mm[1] * spacing_mm[2]))
    return 1 + np.flatnonzero(np.bincount(pieces.ravel())[1:] >= least)


def _where(places: Places, heart: Anatomy) -> str:
    """Slices and phases in words; slices are numbered as in the report, from 1 at the base."""
    last = len(heart.labels) - 1
    parts = []
    for phase, slices in places.items():
        numbers = sorted(last - z + 1 if heart.base_last else z + 1 for z in slices)
        listed = ", ".join(map(str, numbers))
        parts.append(" ".join(filter(None, (f"slice{'s' * (len(numbers) > 1)} {listed}", PHASE_WORDS.get(phase)))))
    return " and ".join(parts) + (", counted from the base" if last and heart.clear_base else "")
