"""Global circumferential and radial strain of the LV from a short-axis cine, since end-diastole.

Circumferential strain is the change of length of the line that lies midway between endo- and epicardium at
end-diastole, radial strain the change of the wall's mean thickness, each averaged over the slices. Two ways:

- Followed: the wall is tracked in the image of a whole cycle (`tracking`), and through the slices, which stand still
  while the base comes down: how far a piece of the wall has moved along the axis is taken from the volume of the wall
  beyond it, which stays.
- From contours: the labels' contours alone, in slices that stand still, as far as the two are the same line.

Strain by segment is not given: it does not repeat from exam to exam as global strain does
(Mangion et al. 2019, doi:10.1038/s41598-019-39807-w).

Source: Voigt et al. 2015, definitions of strain, doi:10.1093/ehjci/jeu184.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import base_slope
from myoscope.measure.function import Phases, heart_rate_bpm
from myoscope.measure.tracking import (
    ANGLES,
    LAYERS,
    Borders,
    agreement,
    find_borders,
    follow,
    motion,
    radius_mm,
    unroll,
)
from myoscope.volume import Volume

MIN_FRAMES = 10
"""Fewer frames do not show a cycle well enough to follow the wall."""

MIN_SLICES = 3
"""Fewer slices do not speak for the whole ventricle."""

APICAL_SHARE = 0.2
"""So much of the LV's length at the apex is left out: there slices cut the wall at a slant."""

MAX_GAP = 0.4
"""A cine whose first and last frame's cavities differ by more than this share of the stroke volume is no cycle."""

MIN_AGREEMENT = 0.7
"""A slice in which a frame fits the others less (correlation) is not followed."""

LATEST_PEAK = 0.6
"""A peak later than this share of the cycle after end-diastole is none: one of the two was not found."""

SECTORS = 24
"""Parts of a ring, 15 degrees each, whose strain the uniformity is told from."""

FOLLOWED = tuple(
    f"{name}{ending}"
    for name in ("global_circumferential_strain", "global_radial_strain")
    for ending in ("_percent", "_rate_per_s", "_time_to_peak_ms")
)
CURVES = ("circumferential_strain_curve_percent", "radial_strain_curve_percent")
CYCLE = ("global_circumferential_strain_from_contours_percent", "global_radial_strain_from_contours_percent")
END_SYSTOLIC = (
    "end_systolic_circumferential_strain_from_contours_percent",
    "end_systolic_radial_strain_from_contours_percent",
)
UNIFORMITY = "circumferential_uniformity"

Found = tuple[dict[str, float | list[float]], dict[str, str]]
"""Values by field of `LeftVentricle`, and reasons by the fields that have none."""


class _Rings(NamedTuple):
    """Length of the middle line and thickness of the wall, (T, Z), and lengths of sectors, (T, Z, SECTORS), in mm."""

    middle: np.ndarray
    thickness: np.ndarray
    sectors: np.ndarray


def measure_strain(labels: Volume, image: Volume, phases: Phases) -> Found:
    """Strain of the LV from a labelled cine.

    Args:
        labels: `Structure` codes of the cine.
        image: The cine, on the same grid.
        phases: Its end-diastole and end-systole.

    Returns:
        Values by field of `LeftVentricle`, strain in per cent; and for every field that has none the reason.
    """
    names = (*FOLLOWED, *CURVES, *CYCLE, UNIFORMITY)
    if isinstance(phases.ed, str):
        return {}, dict.fromkeys((*names, *END_SYSTOLIC), phases.ed)
    codes, voxels = labels.frames, image.frames
    if base_slope(codes[phases.ed]) > 0:
        codes, voxels = codes[:, ::-1], voxels[:, ::-1]
    values, missing = _end_systolic(codes, labels, phases)
    whole = _whole_cycle(codes, phases.ed)
    if whole:
        return values, missing | dict.fromkeys(names, whole)
    borders = find_borders(codes, labels.spacing_mm)
    slices = _usable(codes, borders, phases.ed, range(len(codes)))
    if isinstance(slices, str):
        return values, missing | dict.fromkeys(names, slices)
    still = _rings(_part(borders, slices), None, phases.ed)
    values |= dict(zip(CYCLE, (_peak(c) for c in _curves(still, phases.ed)), strict=True))
    followed = _follow(codes, voxels, labels, borders, phases.ed)
    if isinstance(followed, str):
        return values, missing | dict.fromkeys((*FOLLOWED, *CURVES, UNIFORMITY), followed)
    curves = _curves(followed, phases.ed)
    values |= dict(zip(CURVES, (curve.tolist() for curve in curves), strict=True))
    numbers, reasons = _peaks(curves, phases.ed, image.frame_time_ms)
    if (late := reasons.get(FOLLOWED[0])) is None:
        values[UNIFORMITY] = _uniformity(followed.sectors, phases.ed, int(curves[0].argmin()))
    else:
        reasons[UNIFORMITY] = late
    return values | numbers, missing | reasons


def _end_systolic(codes: np.ndarray, labels: Volume, phases: Phases) -> Found:
    """Strain at end-systole from the contours of the two phases."""
    if isinstance(phases.es, str) or isinstance(phases.ed, str):
        return {}, dict.fromkeys(END_SYSTOLIC, str(phases.es))
    two = codes[[phases.ed, phases.es]]
    borders = find_borders(two, labels.spacing_mm)
    slices = _usable(two, borders, 0, (0, 1))
    if isinstance(slices, str):
        return {}, dict.fromkeys(END_SYSTOLIC, slices)
    curves = _curves(_rings(_part(borders, slices), None, 0), 0)
    return dict(zip(END_SYSTOLIC, (float(curve[1]) for curve in curves), strict=True)), {}


def _whole_cycle(codes: np.ndarray, ed: int) -> str | None:
    """Why a cine does not show a whole cycle; None where it does."""
    if len(codes) < MIN_FRAMES:
        return f"{len(codes)} frames, fewer than the {MIN_FRAMES} of a cycle in which the wall can be followed"
    cavity = (codes == Structure.LV).sum(axis=(2, 3))
    cavity = cavity[:, cavity.all(axis=0)].sum(axis=1)  # slices that the base leaves would make jumps
    gap = abs(int(cavity[-1]) - int(cavity[0])) / max(int(cavity[ed]) - int(cavity.min()), 1)
    if gap > MAX_GAP:
        return (
            "the cine does not close: the cavity of its last and first frame differs by "
            f"{100 * gap:.0f} % of the stroke volume"
        )
    return None


def _usable(codes: np.ndarray, borders: Borders, ed: int, frames: range | tuple[int, ...]) -> np.ndarray | str:
    """Slices with a full ring in all frames, less those at the apex; or why they are too few."""
    full = ~np.isnan(borders.endo_mm).any(axis=2)
    wall = np.flatnonzero(np.isin(codes[ed], LV_WALL).any(axis=(1, 2)))
    if not full[ed].any():
        return "no slice with a full ring of myocardium at end-diastole"
    first, last = np.flatnonzero(full[ed])[0] - 0.5, wall[-1] + 0.5
    high = (last - np.arange(len(full[ed]))) > APICAL_SHARE * (last - first)
    slices = np.flatnonzero(full[list(frames)].all(axis=0) & high)
    if len(slices) < MIN_SLICES:
        return (
            f"{len(slices)} slices above the apex with a full ring of myocardium in every frame that is needed, "
            f"fewer than {MIN_SLICES}"
        )
    return slices


def _part(borders: Borders, slices: np.ndarray) -> Borders:
    return Borders(borders.endo_mm[:, slices], borders.epi_mm[:, slices], borders.centre[slices])


def _rings(borders: Borders, moving: np.ndarray | None, ed: int) -> _Rings:
    """Lengths in every frame of the lines that are followed, without `moving` by their share of the wall's area."""
    endo, epi = borders.endo_mm[ed], borders.epi_mm[ed]
    share = ((endo + epi) ** 2 / 4 - endo**2) / (epi**2 - endo**2)
    layer = np.stack([np.zeros_like(share), share, np.ones_like(share)], axis=-1) * (LAYERS - 1)
    angle = np.broadcast_to(np.arange(ANGLES)[:, None], layer.shape).astype(float)
    if moving is None:
        angles, layers = (np.broadcast_to(v, (len(borders.endo_mm), *layer.shape)) for v in (angle, layer))
    else:
        angles, layers = follow(moving, angle, layer, ed)
    radius, turn = radius_mm(borders, angles, layers), angles * (2 * np.pi / ANGLES)
    inner, middle, outer = np.moveaxis(np.stack([radius * np.cos(turn), radius * np.sin(turn)]), -1, 0)
    steps = np.hypot(*(np.roll(middle, -1, axis=-1) - middle))
    sectors = steps.reshape(*steps.shape[:2], SECTORS, -1).sum(axis=-1)
    return _Rings(steps.sum(axis=-1), np.hypot(*(outer - inner)).mean(axis=-1), sectors)


def _follow(codes: np.ndarray, voxels: np.ndarray, labels: Volume, borders: Borders, ed: int) -> _Rings | str:
    """The rings followed in the image and along the axis, or why they cannot be."""
    steady = np.flatnonzero(~np.isnan(borders.endo_mm).any(axis=(0, 2)))
    kept = _part(borders, steady)
    unrolled = unroll(voxels[:, steady], kept, labels.spacing_mm)
    if not np.isfinite(unrolled).all():
        return "voxels of the wall have no number"
    moving = motion(unrolled)
    fits = agreement(unrolled, moving).min(axis=0) >= MIN_AGREEMENT
    if fits.sum() < MIN_SLICES:
        return (
            f"image and contours do not move together: the frames of {len(steady) - int(fits.sum())} of {len(steady)} "
            "slices do not fit each other"
        )
    rings = _rings(_part(kept, np.flatnonzero(fits)), moving[:, :, fits], ed)
    steady = steady[fits]
    deeper = descent(codes, steady, ed)
    slices = _usable(codes, borders, ed, range(len(codes)))
    if isinstance(slices, str):
        return slices
    seen = np.isin(steady, slices) & ((steady + deeper).max(axis=0) <= steady[-1] + 0.25)
    if seen.sum() < MIN_SLICES:
        return f"{int(seen.sum())} slices whose wall stays in the stack over the cycle, fewer than {MIN_SLICES}"
    return _Rings(*(_at_depth(values, steady, steady + deeper)[:, seen] for values in rings))


def descent(codes: np.ndarray, slices: np.ndarray, ed: int) -> np.ndarray:
    """How far the wall of some slices has moved towards the apex since end-diastole, in slices, (T, len(slices)).

    The volume of the wall beyond a plane that moves with it stays. What that gives for each slice is fitted with one
    shortening of the axis a frame, with the apex at rest, smoothed over time.

    Args:
        codes: `Structure` codes (T, Z, Y, X), base first.
        slices: Which slices, at end-diastole.
        ed: The frame of end-diastole.
    """
    wall = np.isin(codes, LV_WALL).sum(axis=(2, 3)).astype(float)
    beyond = np.pad(np.cumsum(wall[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
    edges = np.arange(wall.shape[1] + 1) - 0.5
    reach = np.flatnonzero(wall[ed])[-1] + 0.5 - slices
    wanted = np.interp(slices, edges, beyond[ed])
    moved = np.stack([np.interp(-wanted, -frame, edges) for frame in beyond]) - slices
    shortening = ndimage.gaussian_filter1d(moved @ reach / (reach @ reach), 1, mode="wrap")
    return (shortening - shortening[ed])[:, None] * reach


def _at_depth(values: np.ndarray, slices: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Values (T, Z, ...) of slices, at depths (T, Z) between them."""
    flat = values.reshape(*values.shape[:2], -1)
    found = [
        np.stack([np.interp(d, slices, column) for column in frame.T], axis=-1)
        for d, frame in zip(depth, flat, strict=True)
    ]
    return np.stack(found).reshape(values.shape)


def _curves(rings: _Rings, ed: int) -> tuple[np.ndarray, np.ndarray]:
    """Circumferential and radial strain in per cent, each (T,): the mean over slices."""
    circumferential, radial = (100 * (v / v[ed] - 1).mean(axis=1) for v in (rings.middle, rings.thickness))
    return circumferential, radial


def _peak(curve: np.ndarray) -> float:
    """The largest shortening where a curve goes down, else the largest lengthening."""
    return float(curve[np.abs(curve).argmax()])


def _peaks(curves: tuple[np.ndarray, np.ndarray], ed: int, frame_time_ms: float | None) -> Found:
    """Peak, peak systolic rate and time to peak of both curves."""
    numbers: dict[str, float | list[float]] = {}
    reasons: dict[str, str] = {}
    beat = heart_rate_bpm(None, len(curves[0]), frame_time_ms)
    for name, curve, sign in zip(("circumferential", "radial"), curves, (-1, 1), strict=True):
        frames = np.arange(len(curve) + 1)
        spline = CubicSpline(frames, np.append(rolled := np.roll(curve, -ed), rolled[0]), bc_type="periodic")
        fine = np.linspace(0, len(curve), 20 * len(curve) + 1)
        peak = int((sign * spline(fine)).argmax())
        if (share := fine[peak] / len(curve)) > LATEST_PEAK:
            late = f"the peak lies {100 * share:.0f} % of the cycle after end-diastole: one of them was not found"
            reasons |= dict.fromkeys((field for field in FOLLOWED if name in field), late)
            continue
        numbers[f"global_{name}_strain_percent"] = float(spline(fine[peak]))
        if isinstance(beat, str) or frame_time_ms is None:
            continue
        rates = sign * spline(fine[: peak + 1], 1) / 100 / (frame_time_ms / 1000)
        numbers[f"global_{name}_strain_rate_per_s"] = sign * float(rates.max())
        numbers[f"global_{name}_strain_time_to_peak_ms"] = float(fine[peak] * frame_time_ms)
    why = beat.replace("heart rate", "time between frames") if isinstance(beat, str) else ""
    return numbers, {name: why for name in FOLLOWED if name not in numbers} | reasons


def _uniformity(sectors: np.ndarray, ed: int, frame: int) -> float:
    """CURE: 1 where all parts of a ring shorten alike, 0 where one half shortens as the other lengthens.

    Ring and heart are taken to stay where they are: the heart's motion as a whole would count as unevenness.
    The share of the zeroth in the zeroth and first order of strain's Fourier series round the ring, the square root of
    the share of power; at the peak of global strain, the mean over slices.

    Args:
        sectors: Lengths of parts of the rings (T, Z, SECTORS).
        ed: The frame of end-diastole.
        frame: That of the peak.

    Source:
        After Kass 2005, J Am Coll Cardiol 46:2223, figure 4 (its legend read), for the idea; the formula is ours.
    """
    power = np.abs(np.fft.rfft(sectors[frame] / sectors[ed] - 1, axis=-1)) ** 2
    return float(np.sqrt(power[:, 0] / np.maximum(power[:, 0] + 2 * power[:, 1], 1e-12)).mean())
