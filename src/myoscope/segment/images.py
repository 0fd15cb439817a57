"""Slices made ready for a network, and what it says brought back to the image's grid: numpy alone.

Resampling is two small matrices, one for rows and one for columns. Their weights are those of torch's
`interpolate(mode="bilinear", align_corners=False)`, antialiased or not, with which the shipped networks were trained.
"""

from functools import lru_cache

import numpy as np

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5

FEWEST_PIXELS = 16
"""A slice with fewer pixels above its padding shows nothing."""


def normalise(slices: np.ndarray) -> np.ndarray:
    """Each slice scaled to [0, 1] between its own percentiles, padding left out.

    Slice by slice, because EMIDEC's slices were stored so. Padding is what equals the slice's minimum.

    Args:
        slices: (N, H, W), any numbers.

    Returns:
        (N, H, W), float32; a constant slice gives 0.
    """
    slices = slices.astype(np.float32)
    result = np.zeros_like(slices)
    for image, scaled in zip(slices, result, strict=True):
        inside = image[image > image.min()]
        if inside.size < FEWEST_PIXELS:
            continue
        low, high = np.percentile(inside, (LOW_PERCENTILE, HIGH_PERCENTILE), overwrite_input=True)
        np.clip((image - low) / np.float32(max(high - low, 1e-6)), 0, 1, out=scaled)
    return result


def resample_slices(slices: np.ndarray, spacing_mm: tuple[float, float], target_mm: float) -> np.ndarray:
    """Slices (..., H, W) at another in-plane spacing; antialiased where it gets coarser."""
    return resize(slices, resampled_size(slices.shape, spacing_mm, target_mm), antialias=True)


def resampled_size(shape: tuple[int, ...], spacing_mm: tuple[float, float], target_mm: float) -> tuple[int, int]:
    """Rows and columns at another in-plane spacing, of slices (..., H, W)."""
    rows, columns = (max(1, round(n * mm / target_mm)) for n, mm in zip(shape[-2:], spacing_mm, strict=True))
    return rows, columns


def resize(slices: np.ndarray, size: tuple[int, int], antialias: bool = False) -> np.ndarray:
    """Slices (..., H, W), float32, interpolated linearly to (..., *size) pixels over the same field of view."""
    if slices.shape[-2:] == size:
        return slices
    rows, columns = matrices(slices.shape, size, antialias)
    return rows @ (slices @ columns.T)


def matrices(shape: tuple[int, ...], size: tuple[int, int], antialias: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """What `resize` multiplies rows and columns with: (size[0], H) and (size[1], W); the shape ends in H, W."""
    rows, columns = (_matrix(n, m, antialias) for n, m in zip(shape[-2:], size, strict=True))
    return rows, columns


@lru_cache(maxsize=32)
def _matrix(before: int, after: int, antialias: bool) -> np.ndarray:
    """(after, before), float32: what each new sample takes from the old ones; rows add up to 1.

    A triangle around the new sample's centre, as wide as the new spacing where that is coarser and antialiasing is
    wanted, else as the old one; cut off at the edge.

    >>> _matrix(2, 4, False).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    step = np.float32(before) / np.float32(after)  # float32 throughout, as torch counts
    width = max(step, np.float32(1)) if antialias else np.float32(1)
    centres = step * (np.arange(after, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    if width == 1:
        centres = centres.clip(0, before - 1)
    weights = (1 - np.abs(np.arange(before, dtype=np.float32) - centres[:, None]) / width).clip(0)
    return weights / weights.sum(1, keepdims=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits (N, C, ...)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    powers /= powers.sum(1, keepdims=True)
    return powers
