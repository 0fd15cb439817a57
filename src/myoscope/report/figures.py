"""Every slice of a series with its contours.

Pictures are data URIs, everything drawn is inline SVG: the page needs no file beside it.
"""

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from contourpy import LineType, contour_generator
from markupsafe import Markup, escape
from PIL import Image
from scipy import ndimage

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.anatomy import CLEAR_SLOPE, base_slope
from myoscope.report.film import MIN_FRAMES, Film, film
from myoscope.study import Role, Series
from myoscope.volume import Volume

MARGIN_MM = 18.0
"""Kept around the heart when a series is cropped."""

WINDOW_PERCENTILES = (1.0, 99.5)
"""Grey values from black to white, around the heart of one slice: a surface coil's light fades from apex to base."""

AROUND_MM = 6.0
"""How far around the heart a slice's window looks."""

MAX_SIDE = 360
"""Pictures with more voxels a side are shrunk to this, so that uncropped series keep the page small."""

ROLE_TITLES = {
    Role.CINE: "Cine",
    Role.LGE: "Late gadolinium enhancement",
    Role.T2: "T2-weighted",
    Role.BSSFP: "bSSFP",
    Role.MAP_T1: "T1 map",
    Role.MAP_T1_NATIVE: "Native T1 map",
    Role.MAP_T1_POST: "T1 map after contrast agent",
    Role.MAP_T2: "T2 map",
    Role.MAP_ECV: "ECV map",
}

OUTLINES: dict[Structure, tuple[tuple[Structure, ...], str, str]] = {
    Structure.MYOCARDIUM: ((Structure.LV, *LV_WALL), "8 3", "LV myocardium (epicardial border)"),
    Structure.RV: ((Structure.RV,), "2 2", "RV blood pool"),
    Structure.LV: ((Structure.LV,), "", "LV blood pool (endocardial border)"),
    Structure.EDEMA: ((Structure.EDEMA, *SCAR), "9 3 2 3", "edema, infarct included"),
    Structure.INFARCT: (SCAR, "4 2", "infarct, no-reflow included"),
    Structure.NO_REFLOW: ((Structure.NO_REFLOW,), "1.5 1.5", "no-reflow"),
}
"""What is outlined for a structure, its dash pattern and its words; drawn in this order."""


@dataclass(frozen=True)
class Panel:
    """One slice as it is shown; `end` says "base" or "apex" at the ends of the stack."""

    number: int
    end: str
    svg: Markup


@dataclass(frozen=True)
class Row:
    """The slices of one frame, base to apex."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class SeriesFigure:
    """All of a series that is shown."""

    role: str
    title: str
    name: str
    rows: tuple[Row, ...]
    legend: tuple[tuple[Markup, str], ...]
    notes: tuple[str, ...]
    film: Film | None = None


def series_figure(series: Series, labels: Volume | None, ed: int | None, es: int | None) -> SeriesFigure:
    """Every slice of a series with its contours: at ED and ES for a cine, else of the first frame."""
    images = series.image.frames
    masks, notes = _masks(images, labels)
    phases = _phases(series.role, len(images), ed, es, masks)
    shown = None if masks is None else masks[[frame for _, frame in phases]]
    order, known = (list(range(images.shape[1])), False) if shown is None else base_to_apex(shown)
    if not known:
        notes.append("Which end is the base was not found; slices stand in the order of the file.")
    window = crop(shown, images.shape[-2:], series.image.spacing_mm[1:])
    cut = images[[frame for _, frame in phases]][:, :, *window]
    grey = slice_windows(cut, None if shown is None else shown[:, :, *window] > 0, series.image.spacing_mm[1:])
    if len(order) > 1:
        notes.append("Each slice has its own grey window: compare brightness within a slice, not between slices.")
    rows = []
    for i, (title, _) in enumerate(phases):
        panels = []
        for number, z in enumerate(order, 1):
            where = ", ".join(filter(None, [ROLE_TITLES[series.role], title]))
            alt = f"{where}, slice {number} of {len(order)}"
            mask = None if shown is None else shown[i, z][window]
            end = "" if not known else "base" if number == 1 else "apex" if number == len(order) else ""
            panels.append(Panel(number, end, slice_svg(grey[i, z], mask, series.image.spacing_mm[1:], alt)))
        rows.append(Row(title, tuple(panels)))
    return SeriesFigure(
        series.role,
        ROLE_TITLES[series.role],
        series.name,
        tuple(rows),
        _legend(shown),
        tuple(notes),
        _film(series, shown, order, window) if series.role is Role.CINE else None,
    )


def _film(series: Series, shown: np.ndarray | None, order: list[int], window: tuple[slice, slice]) -> Film | None:
    """The cine's film, cropped and windowed as its slices are."""
    frames = series.image.frames[:, :, *window]
    if len(frames) < MIN_FRAMES:
        return None
    heart = None if shown is None or not shown.any() else np.asarray((shown > 0).any(axis=0))
    drawn = None if heart is None else np.broadcast_to(heart[:, *window], frames.shape)
    grey = slice_windows(frames, drawn, series.image.spacing_mm[1:])
    there = None if heart is None else np.asarray(heart.any(axis=(1, 2)))
    return film(grey, order, there, series.image.spacing_mm, series.image.frame_time_ms)


def _masks(images: np.ndarray, labels: Volume | None) -> tuple[np.ndarray | None, list[str]]:
    """Label maps as (T, Z, Y, X) of the image's shape, or None and why."""
    if labels is None:
        return None, ["No labels: slices without contours."]
    masks = labels.frames
    if masks.shape == images.shape:
        return masks, []
    return None, [f"Labels of shape {masks.shape} do not fit the image {images.shape}: slices without contours."]


def _phases(role: Role, frames: int, ed: int | None, es: int | None, masks: np.ndarray | None) -> list[tuple[str, int]]:
    """Titles and frames to show."""
    if role is Role.CINE and frames > 1:
        named = [("End-diastole", ed), ("End-systole", es)]
        found = [(f"{title}, frame {t + 1} of {frames}", t) for title, t in named if t is not None and 0 <= t < frames]
        if found:
            return found
    labelled = [] if masks is None else np.flatnonzero(masks.any(axis=(1, 2, 3))).tolist()
    first = labelled[0] if labelled else 0
    return [("" if frames == 1 else f"Frame {first + 1} of {frames}", first)]


def base_to_apex(masks: np.ndarray) -> tuple[list[int], bool]:
    """Slices from base to apex, and whether the direction was found; the file's order where it was not.

    Args:
        masks: Label maps (T, Z, Y, X); the first frame with a heart decides.
    """
    slices = list(range(masks.shape[1]))
    shown = [frame for frame in masks if frame.any()]
    slope = base_slope(shown[0]) if shown else 0.0
    return (slices[::-1] if slope > 0 else slices), abs(slope) > CLEAR_SLOPE


def crop(masks: np.ndarray | None, shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns around everything segmented, with a margin; the whole slice where nothing is.

    >>> crop(None, (10, 12), (1.0, 1.0))
    (slice(0, 10, None), slice(0, 12, None))
    """
    if masks is None or not masks.any():
        return slice(0, shape[0]), slice(0, shape[1])
    found = masks.any(axis=(0, 1))
    ranges = []
    for axis, (size, mm) in enumerate(zip(shape, spacing_mm, strict=True)):
        inside = np.flatnonzero(np.any(found, axis=1 - axis))
        margin = round(MARGIN_MM / mm)
        ranges.append(slice(max(int(inside[0]) - margin, 0), min(int(inside[-1]) + margin + 1, size)))
    return ranges[0], ranges[1]


def to_grey(voxels: np.ndarray, heart: np.ndarray | None = None) -> np.ndarray:
    """Voxels as 8-bit grey values, one window for all: the heart's, where it is known; a constant image is black."""
    low, high = np.percentile(voxels if heart is None or not heart.any() else voxels[heart], WINDOW_PERCENTILES)
    scale = 255 / (high - low) if high > low else 0.0
    return np.clip((voxels - low) * scale, 0, 255).astype(np.uint8)


def slice_windows(voxels: np.ndarray, heart: np.ndarray | None, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Voxels (T, Z, Y, X) as 8-bit grey values, a window for each slice and the same in all frames.

    Args:
        voxels: What is shown.
        heart: Where the heart is, same shape, bool; None where nobody knows. A slice without any is shown as the
            place where the others have it.
        spacing_mm: Of rows and columns.
    """
    grey = np.empty(voxels.shape, np.uint8)
    anywhere = None if heart is None else heart.any(axis=(0, 1))
    rows, columns = (int(AROUND_MM / mm) for mm in spacing_mm)
    for z in range(voxels.shape[1]):
        region = None
        if heart is not None and anywhere is not None:
            here = heart[:, z].any(axis=0)
            size = (2 * rows + 1, 2 * columns + 1)
            region = ndimage.maximum_filter(here if here.any() else anywhere, size)
        grey[:, z] = to_grey(voxels[:, z], None if region is None else np.broadcast_to(region, voxels[:, z].shape))
    return grey


def data_uri(grey: np.ndarray) -> str:
    """An 8-bit slice as PNG or JPEG, whichever is smaller, in a data URI."""
    picture = Image.fromarray(grey)
    if max(picture.size) > MAX_SIDE:
        picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    found = []
    for kind, options in (("jpeg", {"quality": 86}), ("png", {})):
        buffer = BytesIO()
        picture.save(buffer, kind, **options)
        found.append((kind, buffer.getvalue()))
    kind, data = min(found, key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def slice_svg(
    grey: np.ndarray, mask: np.ndarray | None, spacing_mm: tuple[float, float], alt: str, more: str = ""
) -> Markup:
    """A slice in true proportions, with the contours of what its label map shows, and `more` paths in half voxels."""
    rows, columns = grey.shape
    height, width = rows * spacing_mm[0], columns * spacing_mm[1]
    drawn = ("" if mask is None else _contours(mask)) + more
    scale = f"scale({spacing_mm[1] / 2:.5g} {spacing_mm[0] / 2:.5g})"
    return Markup(
        f'<svg class="slice" viewBox="0 0 {width:.2f} {height:.2f}" role="img" aria-label="{escape(alt)}">'
        f'<image href="{data_uri(grey)}" width="{width:.2f}" height="{height:.2f}" preserveAspectRatio="none"/>'
        f'<g class="contours" transform="{scale}">{drawn}</g></svg>'
    )


def _contours(mask: np.ndarray) -> str:
    paths = []
    for structure, (parts, dash, _) in OUTLINES.items():
        if structure is Structure.MYOCARDIUM and not np.isin(mask, LV_WALL).any():
            continue
        if structure is Structure.EDEMA and not (mask == Structure.EDEMA).any():
            continue
        path = contour_path(np.isin(mask, parts))
        if path:
            paths.append(_stroke(path, structure, dash))
    return "".join(paths)


def _stroke(path: str, structure: Structure, dash: str) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="under" d="{path}"/><path d="{path}" stroke="{structure.colour}"{dashed}/>'


def contour_path(mask: np.ndarray) -> str:
    """Outlines of a mask at 0.5 as SVG path data, in half voxels from the slice's corner.

    >>> contour_path(np.array([[False, False], [False, True]]))
    'M2 3l1 -1 1 1 -1 1z'
    """
    if not mask.any():
        return ""
    padded = np.pad(mask, 1).astype(float)
    lines = contour_generator(z=padded, name="serial", line_type=LineType.Separate).lines(0.5)
    return "".join(_closed_path(np.rint(2 * np.asarray(line) - 1).astype(int)) for line in lines)


def _closed_path(points: np.ndarray) -> str:
    """Relative path of a closed line; steps that go on in one direction become one."""
    steps = np.diff(points, axis=0)
    merged: list[list[int]] = []
    for dx, dy in steps.tolist():
        if merged and merged[-1][0] * dy == merged[-1][1] * dx and merged[-1][0] * dx + merged[-1][1] * dy > 0:
            merged[-1][0] += dx
            merged[-1][1] += dy
        else:
            merged.append([dx, dy])
    moves = " ".join(f"{dx} {dy}" for dx, dy in merged[:-1])
    return f"M{points[0, 0]} {points[0, 1]}l{moves}z"


def _legend(masks: np.ndarray | None) -> tuple[tuple[Markup, str], ...]:
    """A line and words for every structure that is outlined."""
    found = set() if masks is None else set(np.unique(masks).tolist())
    entries = []
    for structure, (parts, dash, words) in OUTLINES.items():
        if structure in found or (structure is not Structure.EDEMA and found.intersection(parts[1:])):
            line = _stroke("M1 6H35", structure, dash)
            entries.append((Markup(f'<svg class="key" viewBox="0 0 36 12" aria-hidden="true">{line}</svg>'), words))
    return tuple(entries)
