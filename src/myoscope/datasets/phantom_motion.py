"""How the wall of the phantom's heart moves: material coordinates, a pattern that moves with them, and true strain.

A piece of the wall is named by its level `q` (fraction of the cavity's length from the base), its angle at end diastole
and the share of the wall's area that lies inside of it, (r^2 - endo^2) / (epi^2 - endo^2). Over the cycle the level and
the share stay, the angle turns by `Beat.turn`, and the base moves towards the apex, through slices that stand still.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from myoscope.datasets.phantom_heart import Beat, Heart, Points, ring_of
from myoscope.labels import Structure

_KNOTS, _KNOT_MM = 32, 3.0
"""The pattern is a cubic spline over a cube of random numbers, repeated; its grain is about twice as wide as a knot."""

LEVELS = tuple(np.linspace(0.1, 0.8, 15))
"""Levels over which true strain is averaged: from the base to where the cavity closes."""

_DEGREES = np.arange(361)


class WallTexture:
    """A random pattern of the wall that moves with it, of standard deviation `heart.texture`.

    Args:
        heart: Whose wall.
        finer: Sample places within every voxel along x and along y.
    """

    def __init__(self, heart: Heart, finer: int):
        rng = np.random.default_rng((heart.seed, 1))
        knots = rng.normal(size=(_KNOTS,) * 3)
        self.pattern = knots * heart.texture / _spread(knots)
        self.finer = finer

    def __call__(self, beat: Beat, planes: np.ndarray, points: Points, tissues: np.ndarray) -> np.ndarray:
        """The pattern's mean in every voxel, (Y, X) float32, 0 beyond the wall.

        Args:
            beat: The heart at one moment.
            planes: Sample planes across a slice, in mm along the axis, shape (planes,).
            points: Sample places in a plane.
            tissues: Tissue of every sample, shape (planes, Y * finer, X * finer).
        """
        total = np.zeros(tissues.shape[1:])
        for s, tissue in zip(planes, tissues, strict=True):
            wall = tissue == Structure.MYOCARDIUM
            if wall.any():
                angle = np.arctan2(points.y[wall], points.x[wall])
                places = place_at_rest(beat, s, angle, points.radius[wall]) / _KNOT_MM
                total[wall] += ndimage.map_coordinates(self.pattern, places, order=3, mode="grid-wrap", prefilter=False)
        y, x = tissues.shape[1] // self.finer, tissues.shape[2] // self.finer
        return (total.reshape(y, self.finer, x, self.finer).mean((1, 3)) / len(tissues)).astype(np.float32)


def _spread(knots: np.ndarray) -> float:
    """Standard deviation of the cubic spline with these numbers at its knots, at the knots."""
    weights = np.array([1, 4, 1]) / 6
    for axis in range(3):
        knots = ndimage.convolve1d(knots, weights, axis=axis, mode="wrap")
    return float(knots.std())


def place_at_rest(beat: Beat, s: float, angle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Where pieces of the wall lie at end diastole.

    Args:
        beat: The heart at one moment.
        s: Plane across the axis in which they lie at that moment, in mm.
        angle: Their angles, in radians, shape (N,).
        radius: Their distances from the axis, in mm, shape (N,).

    Returns:
        s, y and x at end diastole in mm, shape (3, N).
    """
    q, anatomy = beat.level(s), beat.anatomy
    endo, epi = (_around(table, q, angle) for table in (beat.endo, beat.epi))
    share = (radius**2 - endo**2) / np.maximum(epi**2 - endo**2, 1e-3)
    first = angle - beat.turn(q)
    at_rest = np.sqrt(_around(anatomy.endo, q, first) ** 2 + share.clip(0, 1) * _around(anatomy.wall_area, q, first))
    return np.stack([np.full_like(at_rest, q * anatomy.length), at_rest * np.sin(first), at_rest * np.cos(first)])


class TrueStrain(NamedTuple):
    """Strain since end diastole, in per cent: global curves (T,), and circumferential by place, (T, levels, 360)."""

    circumferential_percent: np.ndarray
    radial_percent: np.ndarray
    local_percent: np.ndarray


def true_strain(heart: Heart, phases: Sequence[float], levels: Sequence[float] = LEVELS) -> TrueStrain:
    """Strain of the wall as it moves, whatever slices see of it.

    Circumferential: change of length of the line that lies midway between endo- and epicardium at end diastole.
    Radial: change of the wall's mean thickness. Both are averaged over the levels.

    Args:
        heart: Whose wall.
        phases: Parts of the cycle, 0 to 1; the strain at 0 is 0.
        levels: Fractions of the cavity's length from the base.
    """
    beats = [heart.anatomy.at(phase) for phase in phases]
    rest = heart.anatomy.at(0)
    lengths, thickness = (np.empty((len(levels), len(beats) + 1)) for _ in range(2))
    local = np.empty((*lengths.shape, 360))
    for i, q in enumerate(levels):
        endo, epi = ring_of(rest.endo, q), ring_of(rest.epi, q)
        share = ((endo + epi) ** 2 / 4 - endo**2) / (epi**2 - endo**2)
        for t, beat in enumerate([rest, *beats]):
            inner, middle, outer = (_piece(beat, q, f) for f in (0.0, share, 1.0))
            steps = np.hypot(*np.diff(middle, axis=1))
            lengths[i, t] = steps.sum()
            local[i, t] = steps
            thickness[i, t] = np.hypot(*(outer - inner))[:-1].mean()
    circumferential, radial = (100 * (v[:, 1:] / v[:, :1] - 1) for v in (lengths, thickness))
    return TrueStrain(circumferential.mean(0), radial.mean(0), 100 * (local[:, 1:] / local[:, :1] - 1).swapaxes(0, 1))


def _piece(beat: Beat, q: float, share: np.ndarray | float) -> np.ndarray:
    """Where the pieces of one level and of shares (one a degree at end diastole) lie: x and y in mm, shape (2, 361)."""
    angle = np.radians(_DEGREES) + beat.turn(q)
    endo, epi = (_around(table, q, angle) for table in (beat.endo, beat.epi))
    radius = np.sqrt(endo**2 + share * (epi**2 - endo**2))
    return radius * np.array([np.cos(angle), np.sin(angle)])


def _around(table: np.ndarray, q: float, angle: np.ndarray) -> np.ndarray:
    """A table's values at one level and at angles in radians."""
    return np.interp(np.degrees(angle) % 360, _DEGREES, ring_of(table, q))
