"""Where in the wall's depth scar lies, by AHA segment: at the endocardium, mid-wall, at the epicardium, or through it.

Rays from the cavity's centre, one a degree, are cut into thirds between cavity and epicardium. Over the rays of a
segment that cross scar, each third has a share that is scar. All three at least half: transmural. Else endocardial
where the inner third has at least half of the largest share, and more than the outer; epicardial the other way round;
mid-wall where neither has half of it. No-reflow counts as scar. The rule is our own; the words are those by which
ischaemic and other disease are told apart (Senthilkumar et al. 2009, doi:10.1016/j.hfc.2009.02.009, abstract read).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from myoscope.measure.anatomy import NAMES, SEGMENTS, TIP, Anatomy
from myoscope.measure.part import Pattern
from myoscope.measure.values import Value
from myoscope.measure.wall import RAYS, scar_thirds

THROUGH_SHARE = 0.5
"""Scar goes through the wall where every third is scar by this share."""

ALIKE = 0.1
"""Inner and outer third are alike within this share of the largest."""

MIN_PERCENT, MIN_RAYS = 5.0, 10
"""Less scar than this share of the segment's wall, or on fewer rays, has no pattern."""

MIN_PIXELS = 3.0
"""Thirds of a thinner wall are less than a pixel."""


class Found(NamedTuple):
    """A pattern, or why there is none."""

    pattern: Pattern | None
    reason: str = ""


def segment_patterns(heart: Anatomy, percent: Mapping[int, Value]) -> dict[int, Found]:
    """Pattern of scar in each segment.

    Args:
        heart: The heart in LGE labels.
        percent: By segment the share of its wall that is scar, in per cent, or why that is not known.
    """
    if heart.reason:
        return dict.fromkeys(NAMES, Found(None, heart.reason))
    thirds, rays, pixels = np.zeros((SEGMENTS + 1, 3)), np.zeros(SEGMENTS + 1), np.zeros(SEGMENTS + 1)
    angles = np.radians((np.arange(RAYS) + 0.5) * 360 / RAYS)
    for z, ring in heart.full.items():
        shares, wall_pixels = scar_thirds(heart.labels[z], ring, heart.spacing_mm[1:])
        hit = shares.any(axis=1)
        numbers = heart.segments_at(angles[hit], z)
        rays += np.bincount(numbers, minlength=SEGMENTS + 1)
        pixels += np.bincount(numbers, wall_pixels[hit], SEGMENTS + 1)
        for third in range(3):
            thirds[:, third] += np.bincount(numbers, shares[hit, third], SEGMENTS + 1)
    found = {}
    for n in NAMES:
        share = percent[n]
        if isinstance(share, str):
            found[n] = Found(None, share)
        elif n == TIP:
            found[n] = Found(None, "no depth of scar in the tip, which has no cavity")
        elif share < MIN_PERCENT or rays[n] < MIN_RAYS:
            found[n] = Found(None, "too little scar for a pattern" if share else "no scar in this segment")
        elif pixels[n] / rays[n] < MIN_PIXELS:
            found[n] = Found(None, "the wall is too thin for a pattern: less than 3 pixels")
        else:
            found[n] = pattern_of(*(thirds[n] / rays[n]))
    return found


def pattern_of(inner: float, middle: float, outer: float) -> Found:
    """Pattern from the share of scar in the thirds of the wall, 0 to 1.

    >>> [pattern_of(*p).pattern for p in ((1, 0.9, 0.6), (1, 0.8, 0.1), (0.1, 0.8, 0.2))]
    ['transmural', 'endocardial', 'mid-wall']
    >>> [pattern_of(*p).pattern for p in ((0.1, 0.6, 0.9), (0.4, 0.2, 0.39))]
    ['epicardial', None]
    """
    if min(inner, middle, outer) >= THROUGH_SHARE:
        return Found("transmural")
    half = max(inner, middle, outer) / 2
    if max(inner, outer) < half:
        return Found("mid-wall")
    if abs(inner - outer) < ALIKE * 2 * half:
        return Found(None, "about as much scar at the endocardium as at the epicardium")
    return Found("endocardial" if inner > outer else "epicardial")
