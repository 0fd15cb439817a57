"""The 17 segments of the AHA: where they lie in a stack of labels, and what is measured in each.

Only slices with myocardium all round count for segments 1 to 16. Their extent along the long axis is cut into equal
thirds: basal, mid, apical. In a slice, segments start at the anterior insertion of the right ventricle, which is the
border between segments 1 and 2; slices are seen from the apex (see `myoscope.volume`), so that from there the order
anticlockwise on screen is 2, 3 (septum), 4, 5, 6, 1. In the apical third the border between 13 and 14 lies 15 degrees
further. Segment 17 is the myocardium without cavity beyond the last ring.

Source: Cerqueira et al. 2002, doi:10.1161/hc0402.102975.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.results import Grade, Segment
from myoscope.measure.values import Value, derive, number
from myoscope.measure.wall import RAYS, Ring, find_ring, pixel_angles, rv_contact, scar_depth, wall_thickness
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
class SegmentMap:
    """Where the segments lie in one frame.

    `codes` is (Z, Y, X) uint8: 1 to 17 on the wall, 0 elsewhere. `rings` and `levels` (0 basal, 1 mid, 2 apical) are
    by slice, and empty where `reason` says why there are no segments. `insertion` is the angle of the anterior RV
    insertion in radians; `from_rv` whether the RV showed it. `clear_base` is False where base and apex look alike.
    """

    codes: np.ndarray
    rings: Mapping[int, Ring]
    levels: Mapping[int, int]
    insertion: float = UPRIGHT_INSERTION
    from_rv: bool = False
    clear_base: bool = True
    reason: str | None = None


class WallScar(NamedTuple):
    """Scar in one segment: share of its wall, and mean depth where there is scar; both in per cent of the wall."""

    percent: Value
    depth_percent: Value


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

    >>> circular_weighted_median(np.array([6.2, 0.1, 3.0]), np.array([1.0, 1.0, 0.5]))
    0.1
    """
    apart = np.abs((angles[:, None] - angles + np.pi) % (2 * np.pi) - np.pi)
    return float(angles[(apart * weights).sum(axis=1).argmin()])


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


def segment_map(labels: np.ndarray, spacing_mm: Spacing, fallback_insertion: float | None = None) -> SegmentMap:
    """Find the segments in one frame.

    Args:
        labels: Label map (Z, Y, X), slices in the standard view, base first or apex first.
        spacing_mm: Distance between voxel centres along (Z, Y, X), in mm.
        fallback_insertion: Angle of the anterior RV insertion (radians) where the labels show no RV.

    Returns:
        The map; without segments and with a reason where there are too few rings, or nothing says where to start.
    """
    spacing_yx = spacing_mm[1:]
    found = {z: ring for z, plane in enumerate(labels) if (ring := find_ring(plane, spacing_yx)) and ring.is_full}
    codes = np.zeros(labels.shape, np.uint8)
    if len(found) < MIN_RINGS:
        return SegmentMap(
            codes, {}, {}, reason=f"{len(found)} slices with a full ring of myocardium, fewer than {MIN_RINGS}"
        )
    seen = anterior_insertion(labels, found, spacing_yx)
    insertion = fallback_insertion if seen is None else seen
    if insertion is None:
        return SegmentMap(
            codes, {}, {}, reason="no right ventricle in the labels and no patient coordinates say where segments start"
        )
    slope = base_slope(labels)
    levels = ring_levels(list(found), slope > 0)
    for z, ring in found.items():
        wall = np.isin(labels[z], LV_WALL) & ring.disc
        angles = pixel_angles(wall.shape, ring.centre_yx, spacing_yx)
        codes[z][wall] = number_at(angles[wall], levels[z], insertion)
    for z in _tip_slices(labels, list(found), slope > 0):
        codes[z][np.isin(labels[z], LV_WALL)] = TIP
    return SegmentMap(codes, found, levels, insertion, seen is not None, abs(slope) >= CLEAR_SLOPE)


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


def segment_thickness_mm(where: SegmentMap, spacing_mm: Spacing) -> dict[int, Value]:
    """Mean wall thickness of each segment in mm, over all points of the endocardium in it, or why there is none."""
    if where.reason:
        return dict.fromkeys(NAMES, where.reason)
    total, points = np.zeros(SEGMENTS + 1), np.zeros(SEGMENTS + 1)
    for z, ring in where.rings.items():
        angles, thickness = wall_thickness(ring, spacing_mm[1:])
        numbers = number_at(angles, where.levels[z], where.insertion)
        total += np.bincount(numbers, thickness, SEGMENTS + 1)
        points += np.bincount(numbers, minlength=SEGMENTS + 1)
    values: dict[int, Value] = {
        n: float(total[n] / points[n]) if points[n] else "no endocardium seen in this segment" for n in NAMES
    }
    return values | {TIP: "wall thickness is not measured in the tip, which has no cavity"}


def segment_scar(where: SegmentMap, labels: np.ndarray, spacing_mm: Spacing) -> dict[int, WallScar]:
    """Scar of each segment, from the labels (Z, Y, X) that the map was made of.

    `percent` is scar's area as a share of the wall's, over all slices of the segment: what its transmurality is
    graded by. `depth_percent` is measured along rays from the cavity's centre, one a degree: the share of the wall on
    a ray that is scar, averaged over those rays of the segment that cross scar. It says how deep a scar reaches where
    there is one, and nothing of how much of the segment it takes.
    """
    if where.reason:
        return dict.fromkeys(NAMES, WallScar(where.reason, where.reason))
    percent = segment_share(where, labels, SCAR)
    depth, hit = np.zeros(SEGMENTS + 1), np.zeros(SEGMENTS + 1)
    angles = np.radians((np.arange(RAYS) + 0.5) * 360 / RAYS)
    for z, ring in where.rings.items():
        numbers, share = (
            number_at(angles, where.levels[z], where.insertion),
            scar_depth(labels[z], ring, spacing_mm[1:]),
        )
        depth += np.bincount(numbers, share, SEGMENTS + 1)
        hit += np.bincount(numbers, share > 0, SEGMENTS + 1)
    depths: dict[int, Value] = {
        n: float(100 * depth[n] / hit[n]) if hit[n] else "no scar crosses the rays of this segment" for n in NAMES
    }
    depths[TIP] = "no depth of scar in the tip, which has no cavity"
    return {n: WallScar(share, share if isinstance(share, str) else depths[n]) for n, share in percent.items()}


def segment_share(where: SegmentMap, labels: np.ndarray, structures: tuple[Structure, ...]) -> dict[int, Value]:
    """Area of structures in the labels (Z, Y, X) that the map was made of, in per cent of each segment's wall."""
    if where.reason:
        return dict.fromkeys(NAMES, where.reason)
    wall = np.bincount(where.codes.ravel(), minlength=SEGMENTS + 1)
    part = np.bincount(where.codes[np.isin(labels, structures)], minlength=SEGMENTS + 1)
    values: dict[int, Value] = {
        n: float(100 * part[n] / wall[n]) if wall[n] else "no myocardium seen in this segment" for n in NAMES
    }
    return values if wall[TIP] else values | {TIP: "no slice shows the tip of the LV"}


def grade(scar_percent: float) -> Grade:
    """Grade of transmurality of a segment by the share of its wall that is scar, in per cent.

    0, 1-25, 26-50, 51-75 or 76-100; anything above 0 is at least 1-25.

    Source:
        Kim et al. 2000, doi:10.1056/NEJM200011163432003: a segment is graded by how much of its tissue is enhanced.

    >>> [grade(p) for p in (0, 0.2, 25, 25.1, 60, 100)]
    ['0', '1-25', '1-25', '26-50', '51-75', '76-100']
    """
    if scar_percent <= 0:
        return "0"
    bins: tuple[tuple[float, Grade], ...] = ((25, "1-25"), (50, "26-50"), (75, "51-75"))
    return next((name for top, name in bins if scar_percent <= top), "76-100")


def segment_rows(
    ed_mm: Mapping[int, Value], es_mm: Mapping[int, Value], scar: Mapping[int, WallScar], edema: Mapping[int, Value]
) -> tuple[list[Segment], dict[str, str]]:
    """The 17 rows, and the reasons for what they lack.

    Reasons are gathered: under "segments" where nothing at all was measured, under "segments.17" where nothing was
    in that segment, under "segments.scar_percent" where a value is missing in all, else "segments.3.scar_percent".
    """
    rows, missing = [], dict[tuple[int, str], str]()
    for n, name in NAMES.items():
        percent, depth = scar[n]
        values: dict[str, Value] = {
            "wall_thickness_ed_mm": ed_mm[n],
            "wall_thickness_es_mm": es_mm[n],
            "wall_thickening_percent": derive(lambda d, s: 100 * (s - d) / d, ed_mm[n], es_mm[n]),
            "scar_percent": percent,
            "edema_percent": edema[n],
            "scar_depth_percent": depth,
        }
        share = number(percent)
        rows.append(
            Segment(
                segment=n,
                name=name,
                territory=TERRITORIES[n],
                transmurality_grade=None if share is None else grade(share),
                **{key: value for key, value in values.items() if not isinstance(value, str)},
            )
        )
        values["transmurality_grade"] = percent
        missing |= {(n, key): value for key, value in values.items() if isinstance(value, str)}
    return rows, _gather(missing, list(values))


def _gather(missing: Mapping[tuple[int, str], str], fields: list[str]) -> dict[str, str]:
    def joined(keys: list[tuple[int, str]]) -> str:
        return "; ".join(dict.fromkeys(missing[key] for key in keys))

    if len(missing) == SEGMENTS * len(fields):
        return {"segments": joined([key for key in missing if key[0] != TIP])}
    gathered: dict[str, str] = {}
    for field in fields:
        keys = [(n, field) for n in NAMES if (n, field) in missing]
        if len(keys) == SEGMENTS:
            gathered[f"segments.{field}"] = joined([key for key in keys if key[0] != TIP])
    for n in NAMES:
        keys = [(n, field) for field in fields if (n, field) in missing]
        if len(keys) == len(fields):
            own = [key for key in keys if f"segments.{key[1]}" not in gathered]
            gathered[f"segments.{n}"] = joined(own or keys)
        else:
            gathered |= {f"segments.{n}.{f}": missing[n, f] for _, f in keys if f"segments.{f}" not in gathered}
    return gathered
