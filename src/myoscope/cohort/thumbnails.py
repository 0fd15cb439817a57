"""One small picture a study: the middle slice at ED, ES and on LGE, with contours, side by side."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from myoscope.analysis import Result
from myoscope.files import write_whole
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.report.figures import crop, to_grey
from myoscope.study import Role

NAME = "thumbnail.webp"
SIDE = 112
"""Pixels of a picture's side."""

_DRAWN = {
    Structure.MYOCARDIUM: (Structure.LV, *LV_WALL),
    Structure.RV: (Structure.RV,),
    Structure.LV: (Structure.LV,),
    Structure.INFARCT: SCAR,
}


def write_thumbnail(folder: Path, result: Result) -> None:
    """Write a study's picture, if anything was segmented."""
    lv = result.measurements.lv
    pictures = []
    for series in result.study.series:
        if series.role not in result.labels or series.role is Role.T2:
            continue
        images, labels = series.image.frames, result.labels[series.role].frames
        frames = [lv.ed_frame, lv.es_frame] if series.role is Role.CINE else [None]
        for frame in dict.fromkeys(0 if frame is None else frame for frame in frames):
            if frame < len(labels) and labels[frame].any():
                pictures.append(_picture(images[frame], labels[frame], series.image.spacing_mm[1:]))
    if pictures:
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(pictures[:3], axis=1)).save(buffer, "webp", quality=55, method=4)
        write_whole(folder / NAME, buffer.getvalue())


def _picture(image: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """(SIDE, SIDE, 3), of the middle one of the slices that show the LV, else anything."""
    shown = np.flatnonzero(np.isin(labels, (Structure.LV, *LV_WALL)).any(axis=(1, 2)))
    slices = shown if len(shown) else np.flatnonzero(labels.any(axis=(1, 2)))
    z = int(slices[len(slices) // 2])
    window = crop(labels[None], labels.shape[1:], spacing_mm)
    mask, grey = labels[z][window], to_grey(image[z][window], labels[z][window] > 0)
    height, width = mask.shape[0] * spacing_mm[0], mask.shape[1] * spacing_mm[1]
    size = (max(round(SIDE * width / max(height, width)), 1), max(round(SIDE * height / max(height, width)), 1))
    pixels = np.stack([np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))] * 3, axis=-1)
    for structure, parts in _DRAWN.items():
        drawn = Image.fromarray(np.isin(mask, parts).astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
        inside = np.asarray(drawn) > 127
        colour = [int(structure.colour[i : i + 2], 16) for i in (1, 3, 5)]
        pixels[inside & ~ndimage.binary_erosion(inside, border_value=1)] = colour
    canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = pixels
    return canvas
