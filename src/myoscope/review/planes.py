"""Images as the page gets them: 16-bit planes, and the window to begin with."""

from dataclasses import dataclass

import numpy as np

from myoscope.volume import Volume

WINDOW_PERCENTILES = (1.0, 99.5)
"""Brightness of these shares of the voxels around the heart is black and white, to begin with."""

MARGIN = 0.1
"""Around the heart: its own size, times this, on each side."""

SAMPLED = 2_000_000
"""So many voxels are enough to find the window from."""


@dataclass(frozen=True)
class Levels:
    """How signal became 16 bits: `low` is 0, `high` 65535; and the window to begin with, in 16 bits."""

    low: float
    high: float
    window: tuple[int, int]


def levels_of(image: Volume, labels: np.ndarray) -> Levels:
    """Levels of a whole image, whose labels (T, Z, Y, X) say where the heart is."""
    voxels = image.voxels
    low, high = float(voxels.min()), float(voxels.max())
    levels = Levels(low, high if high > low else low + 1, (0, 65535))
    around = voxels[..., *_around(labels)].ravel()
    black, white = np.percentile(around[:: max(len(around) // SAMPLED, 1)], WINDOW_PERCENTILES)
    window = (int(_scaled(black, levels)), int(_scaled(white, levels)))
    return Levels(levels.low, levels.high, (window[0], max(window[1], window[0] + 1)))


def _around(labels: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what is labelled, with a margin; all where nothing is."""
    drawn = np.asarray(labels.any((0, 1)))
    box = []
    for axis in (1, 0):
        at = np.flatnonzero(drawn.any(axis))
        if not len(at):
            return slice(None), slice(None)
        margin = round(MARGIN * (at[-1] - at[0]))
        box.append(slice(max(int(at[0]) - margin, 0), int(at[-1]) + margin + 1))
    return box[0], box[1]


def frame_bytes(image: Volume, t: int, levels: Levels) -> bytes:
    """One frame (Z, Y, X) as 16-bit little-endian numbers."""
    return np.rint(_scaled(image.frames[t], levels)).astype("<u2").tobytes()


def _scaled(voxels: np.ndarray, levels: Levels) -> np.ndarray:
    return (voxels - np.float32(levels.low)) * np.float32(65535 / (levels.high - levels.low))
