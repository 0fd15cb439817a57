"""The cine as a small moving picture, which plays in the page without a script."""

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from myoscope.volume import Spacing

MIN_FRAMES = 3
"""End-diastole and end-systole alone are no film."""

PLACES = (0.2, 0.5, 0.8)
"""Slices shown side by side, by their place between base and apex."""

HEIGHTS = (220, 160, 110)
"""Heights of the picture in pixels, the largest that keeps it small first."""

LARGEST_BYTES = 1_400_000
"""A film is smaller: in base64 it stays below 2 MB."""

BEAT_MS = 1000.0
"""How long a beat is taken to last where the file does not say it."""


@dataclass(frozen=True)
class Film:
    """A moving picture as a data URI, its size in pixels, and what it shows."""

    uri: str
    width: int
    height: int
    caption: str


def film(
    grey: np.ndarray, order: list[int], heart: np.ndarray | None, spacing_mm: Spacing, frame_time_ms: float | None
) -> Film | None:
    """Three slices of a cine side by side, over the cycle.

    Args:
        grey: What is shown, 8 bits, shape (T, Z, Y, X).
        order: Slices from base to apex.
        heart: Slices that show a heart, shape (Z,) bool; None where nobody knows.
        spacing_mm: Distance between voxel centres along (Z, Y, X).
        frame_time_ms: Time between frames; None: the frames are taken for a beat of one second.

    Returns:
        The film; None where there are fewer than three frames, or it would be too large.
    """
    if len(grey) < MIN_FRAMES:
        return None
    there = [z for z in order if heart is None or heart[z]] or order
    numbers = sorted({order.index(there[round(place * (len(there) - 1))]) for place in PLACES})
    wide = np.concatenate([grey[:, order[n]] for n in numbers], axis=2)
    each_ms = frame_time_ms or BEAT_MS / len(grey)
    for height in HEIGHTS:
        size = (round(height * wide.shape[2] * spacing_mm[2] / (wide.shape[1] * spacing_mm[1])), height)
        data = _webp(wide, size, max(round(each_ms), 10))
        if len(data) <= LARGEST_BYTES:
            shown = ", ".join(str(n + 1) for n in numbers)
            speed = f"{each_ms:.0f} ms a frame" + ("" if frame_time_ms else ", for a beat taken to last a second")
            caption = f"{'Slices' if len(numbers) > 1 else 'Slice'} {shown} from the base; {len(grey)} frames, {speed}."
            return Film(f"data:image/webp;base64,{base64.b64encode(data).decode()}", *size, caption)
    return None


def _webp(frames: np.ndarray, size: tuple[int, int], each_ms: int) -> bytes:
    """Frames (T, Y, X), 8 bits, as an endless animation of a size (width, height)."""
    pictures = [Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC).convert("RGB") for frame in frames]
    buffer = BytesIO()
    pictures[0].save(
        buffer, "webp", save_all=True, append_images=pictures[1:], duration=each_ms, loop=0, quality=60, method=3
    )
    return buffer.getvalue()
