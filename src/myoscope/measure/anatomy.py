"""Where the heart lies in one labelled frame: its rings, its base, the RV's insertion, the 17 segments of the AHA.

Found once for a frame; everything that measures or judges the frame reads it from there.

Only slices with myocardium all round count for segments 1 to 16. Their extent along the long axis is cut into equal
thirds: basal, mid, apical. In a slice, segments start at the anterior insertion of the right ventricle, which is the
border between segments 1 and 2; slices are seen from the apex (see `myoscope.volume`), so that from there the order
anticlockwise on screen is 2, 3 (septum), 4, 5, 6, 1. In the apical third the border between 13 and 14 lies 15 degrees
further. Segment 17 is the myocardium without cavity beyond the last ring.

Source: Cerqueira et al. 2002, doi:10.1161/hc0402.102975.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.wall import RAYS, Ring, Thickness, find_ring, pixel_angles, ring_thickness_mm, rv_contact
from myoscope.volume import Spacing

SEGMENTS = 17
TIP = 17

UPRIGHT_INSERTION = float(np.radians(120))
"""Anterior insertion by convention, where no RV shows it: segment 1 is centred upwards, 60 to 120 degrees."""

MIN_RINGS = 3
"""Thirds of the long axis need this many slices with a full ring."""

MIN_CONTACT_DEGREES = 30
"""A slice in which the RV touches less of the LV than this does not say where the insertion is."""

BRIDGE_DEGREES = 20
"""Gaps in the contact of RV and LV up to this are closed."""

CLEAR_SLOPE = 0.15
"""Base and apex are told apart with confidence when areas, as `base_slope` sums them, change this much end to end."""

RINGS_OF_A_SHORT_AXIS = 3
"""A short axis shows the wall closed all round in so many neighbouring slices, or in all where there are fewer."""

Territory = Literal["LAD", "RCA", "LCX"]

_WALLS = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
_BASAL_TERRITORIES: tuple[Territory, ...] = ("LAD", "LAD", "RCA", "RCA", "LCX", "LCX")

NAMES: dict[int, str] = {
    **{n + 1: f"basal {wall}" for n, wall in enumerate(_WALLS)},
    **{n + 7: f"mid {wall}" for n, wall in enumerate(_WALLS)},
    **{n + 13: f"apical {wall}" for n, wall in enumerate(("anterior", "septal", "inferior", "lateral"))},
    TIP: "apex",
}
"""Names of the segments."""

TERRITORIES: dict[int, Territory] = {
    **{n + 1: t for n, t in enumerate(_BASAL_TERRITORIES * 2)},
    **{13: "LAD", 14: "LAD", 15: "RCA", 16: "LCX", TIP: "LAD"},
}
"""Coronary artery that usually feeds each segment; in single patients it varies."""

_FROM_INSERTION = (np.array([2, 3, 4, 5, 6, 1]), np.array([8, 9, 10, 11, 12, 7]), np.array([14, 15, 16, 13]))


@dataclass(frozen=True)
class Anatomy:
    """What is known of where the heart lies in one frame.

    Attributes:
        labels: `Structure` codes (Z, Y, X), slices in the standard view, base first or apex first.
        spacing_mm: Distance between voxel centres along (Z, Y, X), in mm.
        rings: The LV's ring in every slice that shows cavity and wall, closed or open.
        slope: How the heart grows along the slices, see `base_slope`.
        insertion: Angle of the anterior RV insertion in radians; None where nothing says where segments start.
        from_rv: Whether the RV showed it.
    """

    labels: np.ndarray
    spacing_mm: Spacing
    rings: Mapping[int, Ring]
    slope: float
    insertion: float | None
    from_rv: bool

    @cached_property
    def full(self) -> dict[int, Ring]:
        """Rings with wall all round, by slice."""
        return {z: ring for z, ring in self.rings.items() if ring.is_full}

    @cached_property
    def thickness_mm(self) -> dict[int, Thickness]:
        """Wall thickness of the full rings, by slice."""
        return {z: ring_thickness_mm(ring, self.spacing_mm[1:]) for z, ring in self.full.items()}

    @property
    def base_last(self) -> bool:
        """Whether the base lies at the last slice."""
        return self.slope > 0

    @property
    def clear_base(self) -> bool:
        """Whether base and apex are told apart with confidence."""
        return abs(self.slope) >= CLEAR_SLOPE

    @property
    def reason(self) -> str | None:
        """Why there are no segments; None where there are."""
        if len(self.full) < MIN_RINGS:
            return f"{len(self.full)} slices with a full ring of myocardium, fewer than {MIN_RINGS}"
        if self.insertion is None:
            return "no right ventricle in the labels and no patient coordinates say where segments start"
        return None

    @cached_property
    def levels(self) -> dict[int, int]:
        """Third of the long axis (0 basal, 1 mid, 2 apical) of every slice with a full ring."""
        return {} if self.reason else ring_levels(list(self.full), self.base_last)

    @cached_property
    def codes(self) -> np.ndarray:
        """Segments 1 to 17 on the wall, 0 elsewhere: (Z, Y, X) uint8."""
        codes = np.zeros(self.labels.shape, np.uint8)
        if self.reason or self.insertion is None:
            return codes
        for z, ring in self.full.items():
            wall = np.isin(self.labels[z], LV_WALL) & ring.disc
            angles = pixel_angles(wall.shape, ring.centre_yx, self.spacing_mm[1:])
            codes[z][wall] = number_at(angles[wall], self.levels[z], self.insertion)
        for z in _tip_slices(self.labels, list(self.full), self.base_last):
            codes[z][np.isin(self.labels[z], LV_WALL)] = TIP
        return codes

    def segments_at(self, angles: np.ndarray, z: int) -> np.ndarray:
        """Segment number at angles (radians) of a slice with a full ring; only where there are segments."""
        assert self.insertion is not None
        return number_at(angles, self.levels[z], self.insertion)


def find_anatomy(labels: np.ndarray, spacing_mm: Spacing, fallback_insertion: float | None = None) -> Anatomy:
    """Find the heart in one frame.

    Args:
        labels: `Structure` codes (Z, Y, X), slices in the standard view, base first or apex first.
        spacing_mm: Distance between voxel centres along (Z, Y, X), in mm.
        fallback_insertion: Angle of the anterior RV insertion (radians) where the labels show no RV.
    """
    rings = {z: ring for z, plane in enumerate(labels) if (ring := find_ring(plane, spacing_mm[1:]))}
    full = {z: ring for z, ring in rings.items() if ring.is_full}
    seen = anterior_insertion(labels, full, spacing_mm[1:]) if len(full) >= MIN_RINGS else None
    insertion = fallback_insertion if seen is None else seen
    return Anatomy(labels, spacing_mm, rings, base_slope(labels), insertion, seen is not None)


def share_insertion(one: Anatomy, other: Anatomy) -> tuple[Anatomy, Anatomy]:
    """Two phases of one heart: where only one shows the RV, the other's segments start where that one's do."""
    if one.from_rv and not other.from_rv:
        return one, replace(other, insertion=one.insertion)
    if other.from_rv and not one.from_rv:
        return replace(one, insertion=other.insertion), other
    return one, other


def not_short_axis(frames: Sequence[Anatomy]) -> str | None:
    """Why the frames of one stack do not look like a short axis; None where they do.

    In a short axis the wall is closed all round in neighbouring slices; in a long axis it is open at the base. A slice
    counts where it is closed in one of the frames. How far the stack runs beyond the heart does not matter, the tip has
    no cavity to be closed around, and labels without any wall, or without a heart, say nothing.
    """
    if not any((frame.labels == Structure.LV).any() and np.isin(frame.labels, LV_WALL).any() for frame in frames):
        return None
    slices = len(frames[0].labels)
    closed = np.zeros(slices, bool)
    closed[sorted({z for frame in frames for z in frame.full})] = True
    tips = np.array(
        [(np.isin(f.labels, LV_WALL).any((1, 2)) & ~(f.labels == Structure.LV).any((1, 2))) for f in frames]
    )
    needed = min(RINGS_OF_A_SHORT_AXIS, max(slices - int(tips.all(axis=0).sum()), 1))
    if any(closed[z : z + needed].all() for z in range(slices - needed + 1)):
        return None
    where = {1: "its slice", 2: "both of its slices"}.get(needed, f"{needed} neighbouring slices")
    return f"this does not look like a short axis: the wall of the LV is not closed all round in {where}"


def base_slope(labels: np.ndarray) -> float:
    """How the heart grows along the slice axis of labels (Z, Y, X): positive where the base is at the last slice.

    Areas within the epicardium and of the RV, each as a share of its largest, are summed and fitted with a line; the
    result is the line's rise from first to last slice. 0.0 where fewer than two slices show the LV.
    """
    disc = np.isin(labels, [Structure.LV, *LV_WALL]).sum(axis=(1, 2))
    rv = (labels == Structure.RV).sum(axis=(1, 2))
    slices = np.flatnonzero(disc)
    if len(slices) < 2:
        return 0.0
    size = disc[slices] / disc.max() + rv[slices] / max(rv.max(), 1)
    return float(np.polyfit(slices, size, 1)[0] * (slices[-1] - slices[0]))


def ring_levels(rings: list[int], base_last: bool) -> dict[int, int]:
    """Third of the long axis (0 basal, 1 mid, 2 apical) of each slice in a list.

    >>> ring_levels([2, 3, 4, 5, 6, 7], base_last=False)
    {2: 0, 3: 0, 4: 1, 5: 1, 6: 2, 7: 2}
    """
    first, extent = min(rings), max(rings) - min(rings) + 1
    depth = {z: (z - first + 0.5) / extent for z in rings}
    return {z: int(3 * (1 - d if base_last else d)) for z, d in depth.items()}


def contact_start(contact: np.ndarray) -> tuple[float, int] | None:
    """Anterior end of the arc on which RV and LV touch, and the arc's length in degrees.

    Seen from the apex the septum runs anticlockwise from the anterior insertion to the inferior one, so the anterior
    end is where the arc begins. Returns None where the arc is too short (or has no ends).

    Args:
        contact: Rays with contact, shape (RAYS,) bool.

    >>> angles = np.arange(360)
    >>> start, length = contact_start((angles >= 130) & (angles < 240))
    >>> round(np.degrees(start)), length
    (130, 110)
    """
    bridged = ndimage.binary_closing(np.tile(contact, 3), np.ones(BRIDGE_DEGREES + 1))[RAYS : 2 * RAYS]
    if bridged.all() or not bridged.any():
        return None
    first_gap = int(np.flatnonzero(~bridged)[0])
    runs, _ = ndimage.label(np.roll(bridged, -first_gap))
    longest = np.flatnonzero(runs == 1 + np.bincount(runs)[1:].argmax())
    if len(longest) * 360 / RAYS < MIN_CONTACT_DEGREES:
        return None
    return float(np.radians((longest[0] + first_gap) % RAYS * 360 / RAYS)), int(len(longest) * 360 / RAYS)


def circular_weighted_median(angles: np.ndarray, weights: np.ndarray) -> float:
    """The one of some angles (radians) from which the others lie least far round the circle, by weight.

    Of several such the smallest, so that it does not matter from which end a stack is counted.

    >>> circular_weighted_median(np.array([6.2, 0.1, 3.0]), np.array([1.0, 1.0, 0.5]))
    0.1
    """
    apart = np.abs((angles[:, None] - angles + np.pi) % (2 * np.pi) - np.pi)
    far = (apart * weights).sum(axis=1)
    return float(angles[np.isclose(far, far.min(), rtol=1e-9)].min())


def anterior_insertion(labels: np.ndarray, rings: Mapping[int, Ring], spacing_yx: tuple[float, float]) -> float | None:
    """Angle of the anterior RV insertion in radians: median over a stack's rings, weighted by length of contact."""
    starts = [contact_start(rv_contact(labels[z], ring, spacing_yx)) for z, ring in rings.items()]
    seen = np.array([start for start in starts if start is not None], float)
    return circular_weighted_median(seen[:, 0], seen[:, 1]) if len(seen) else None


def number_at(angles: np.ndarray, level: int, insertion: float) -> np.ndarray:
    """Segment number at each angle (radians), in a slice of a level (0 basal, 1 mid, 2 apical); same shape, uint8.

    >>> number_at(np.radians([90, 130, 200, 270, 330, 30]), 0, np.radians(120)).tolist()
    [1, 2, 3, 4, 5, 6]
    >>> number_at(np.radians([90, 140, 270, 0]), 2, np.radians(120)).tolist()
    [13, 14, 15, 16]
    """
    order = _FROM_INSERTION[level]
    start = insertion + (np.radians(15) if level == 2 else 0)
    index = ((np.asarray(angles) - start) % (2 * np.pi) / (2 * np.pi) * len(order)).astype(int) % len(order)
    return order[index].astype(np.uint8)


def _tip_slices(labels: np.ndarray, rings: list[int], base_last: bool) -> list[int]:
    """Slices next to one another, beyond the last ring towards the apex, with wall but without cavity."""
    towards = range(min(rings) - 1, -1, -1) if base_last else range(max(rings) + 1, len(labels))
    tip: list[int] = []
    for z in towards:
        has_wall, has_cavity = np.isin(labels[z], LV_WALL).any(), (labels[z] == Structure.LV).any()
        if has_wall and not has_cavity:
            tip.append(z)
        elif tip or not has_wall:
            break
    return tip
