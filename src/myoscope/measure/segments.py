"""What is measured in each of the 17 segments of the AHA: wall thickness, scar, edema."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from myoscope.labels import SCAR, Structure
from myoscope.measure.anatomy import NAMES, SEGMENTS, TERRITORIES, TIP, Anatomy, number_at
from myoscope.measure.part import Grade, Segment
from myoscope.measure.pattern import Found, segment_patterns
from myoscope.measure.values import Value, derive, number
from myoscope.measure.wall import RAYS, scar_depth, wall_thickness


class WallScar(NamedTuple):
    """Scar in one segment: share of its wall, mean depth where there is scar, both in per cent; and its pattern."""

    percent: Value
    depth_percent: Value
    pattern: Found

    @classmethod
    def none(cls, reason: str) -> "WallScar":
        """Nothing measured, for one reason."""
        return cls(reason, reason, Found(None, reason))


NO_SLICE_OF_BOTH = "no slice shows this segment's wall all round at end-diastole and at end-systole"
"""Why a segment has no thickening."""


def segment_thickness_mm(heart: Anatomy, levels: Mapping[int, int] | None = None) -> dict[int, Value]:
    """Mean wall thickness of each segment in mm, over all points of the endocardium in it, or why there is none.

    `levels` are the slices to take, with their third of the long axis; None: all full rings, by thirds of their own.
    """
    if heart.reason:
        return dict.fromkeys(NAMES, heart.reason)
    assert heart.insertion is not None
    total, points = np.zeros(SEGMENTS + 1), np.zeros(SEGMENTS + 1)
    for z, level in (heart.levels if levels is None else levels).items():
        angles, thickness = wall_thickness(heart.full[z], heart.spacing_mm[1:])
        numbers = number_at(angles, level, heart.insertion)
        total += np.bincount(numbers, thickness, SEGMENTS + 1)
        points += np.bincount(numbers, minlength=SEGMENTS + 1)
    values: dict[int, Value] = {
        n: float(total[n] / points[n]) if points[n] else "no endocardium seen in this segment" for n in NAMES
    }
    return values | {TIP: "wall thickness is not measured in the tip, which has no cavity"}


def segment_thickening_percent(ed: Anatomy | str, es: Anatomy | str) -> dict[int, Value]:
    """How much each segment's wall thickens from end-diastole to end-systole, of that at end-diastole.

    Over the slices with a full ring in both phases, by end-diastole's thirds: each phase's own thirds would put a
    slice into another segment where one phase has more rings, and compare two places of the wall.
    """
    if why := next(
        (one if isinstance(one, str) else one.reason for one in (ed, es) if isinstance(one, str) or one.reason), None
    ):
        return dict.fromkeys(NAMES, why)
    assert isinstance(ed, Anatomy) and isinstance(es, Anatomy)
    levels = {z: level for z, level in ed.levels.items() if z in es.full}
    ed_mm, es_mm = (segment_thickness_mm(heart, levels) for heart in (ed, es))
    values = {n: derive(lambda d, s: 100 * (s - d) / d, ed_mm[n], es_mm[n]) for n in NAMES}
    return {n: NO_SLICE_OF_BOTH if isinstance(v, str) and n != TIP else v for n, v in values.items()}


def segment_scar(heart: Anatomy) -> dict[int, WallScar]:
    """Scar of each segment.

    `percent` is scar's area as a share of the wall's, over all slices of the segment: what its transmurality is
    graded by. `depth_percent` is measured along rays from the cavity's centre, one a degree: the share of the wall on
    a ray that is scar, averaged over those rays of the segment that cross scar. It says how deep a scar reaches where
    there is one, and nothing of how much of the segment it takes.
    """
    if heart.reason:
        return dict.fromkeys(NAMES, WallScar.none(heart.reason))
    percent = segment_share(heart, SCAR)
    depth, hit = np.zeros(SEGMENTS + 1), np.zeros(SEGMENTS + 1)
    angles = np.radians((np.arange(RAYS) + 0.5) * 360 / RAYS)
    for z, ring in heart.full.items():
        numbers, share = heart.segments_at(angles, z), scar_depth(heart.labels[z], ring, heart.spacing_mm[1:])
        depth += np.bincount(numbers, share, SEGMENTS + 1)
        hit += np.bincount(numbers, share > 0, SEGMENTS + 1)
    depths: dict[int, Value] = {
        n: float(100 * depth[n] / hit[n]) if hit[n] else "no scar crosses the rays of this segment" for n in NAMES
    }
    depths[TIP] = "no depth of scar in the tip, which has no cavity"
    patterns = segment_patterns(heart, percent)
    return {
        n: WallScar(share, share if isinstance(share, str) else depths[n], patterns[n]) for n, share in percent.items()
    }


def segment_share(heart: Anatomy, structures: tuple[Structure, ...]) -> dict[int, Value]:
    """Area of structures in per cent of each segment's wall."""
    if heart.reason:
        return dict.fromkeys(NAMES, heart.reason)
    wall = np.bincount(heart.codes.ravel(), minlength=SEGMENTS + 1)
    part = np.bincount(heart.codes[np.isin(heart.labels, structures)], minlength=SEGMENTS + 1)
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
    ed_mm: Mapping[int, Value],
    es_mm: Mapping[int, Value],
    thickening: Mapping[int, Value],
    scar: Mapping[int, WallScar],
    edema: Mapping[int, Value],
    possible: Mapping[str, list[Grade]] | str,
) -> tuple[list[Segment], dict[str, str]]:
    """The 17 rows, and the reasons for what they lack; `possible` as from `intervals.possible_grades`.

    Reasons are gathered: under "segments" where nothing at all was measured, under "segments.17" where nothing was
    in that segment, under "segments.scar_percent" where a value is missing in all, else "segments.3.scar_percent".
    """
    rows, missing = [], dict[tuple[int, str], str]()
    for n, name in NAMES.items():
        percent, depth, (pattern, no_pattern) = scar[n]
        values: dict[str, Value] = {
            "wall_thickness_ed_mm": ed_mm[n],
            "wall_thickness_es_mm": es_mm[n],
            "wall_thickening_percent": thickening[n],
            "scar_percent": percent,
            "edema_percent": edema[n],
            "scar_depth_percent": depth,
        }
        share = number(percent)
        found = None if share is None else grade(share)
        rows.append(
            Segment(
                segment=n,
                name=name,
                territory=TERRITORIES[n],
                scar_pattern=pattern,
                transmurality_grade=found,
                transmurality_grade_interval=None if found is None or isinstance(possible, str) else possible[found],
                **{key: value for key, value in values.items() if not isinstance(value, str)},
            )
        )
        values["scar_pattern"] = no_pattern if pattern is None else 0.0
        values["transmurality_grade"] = percent
        values["transmurality_grade_interval"] = (
            possible if share is not None and isinstance(possible, str) else percent
        )
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
