"""How much two masks overlap, and how far apart they lie."""

import numpy as np
from scipy import ndimage

from myoscope.volume import Spacing


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks of the same shape; 1 where both are empty, as the EMIDEC challenge has it.

    >>> dice(np.array([1, 1, 0], bool), np.array([0, 1, 0], bool))
    0.6666666666666666
    >>> dice(np.zeros(3, bool), np.zeros(3, bool))
    1.0
    """
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def hausdorff_mm(predicted: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    """Hausdorff distance of two masks (Z, Y, X) in mm, between voxel centres; NaN where one of them is empty.

    >>> a, b = np.zeros((2, 1, 3, 9), bool)
    >>> a[0, 1, :3] = b[0, 1, :7] = True
    >>> hausdorff_mm(a, b, (10.0, 1.0, 1.5))
    6.0
    """
    if not (predicted.any() and truth.any()):
        return float("nan")
    box = ndimage.find_objects((predicted | truth).astype(np.uint8))[0]
    one, other = predicted[box], truth[box]
    return float(max(ndimage.distance_transform_edt(~b, spacing_mm)[a].max() for a, b in ((one, other), (other, one))))


def border_hausdorff_mm(predicted: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    """The EMIDEC challenge's Hausdorff distance in mm: between the borders of two masks (Z, Y, X), not their bodies.

    A border voxel has a neighbour outside, across one of its six faces. NaN where a mask is empty. (The released code
    hands the spacing over as (X, Y, Z), to arrays (Z, Y, X); for its values give `spacing_mm` the other way round.)

    >>> a, b = np.zeros((2, 1, 5, 9), bool)
    >>> a[0, 1:4, 1:8] = True
    >>> b[0, 2, 1:8] = True
    >>> border_hausdorff_mm(a, b, (10.0, 1.5, 1.0))
    1.5

    Source:
        metrics.py of github.com/EMIDEC-Challenge/Evaluation-metrics, after MedPy.
    """
    if not (predicted.any() and truth.any()):
        return float("nan")
    box = ndimage.find_objects((predicted | truth).astype(np.uint8))[0]
    a, b = (mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (predicted, truth))
    return hausdorff_mm(a, b, spacing_mm)
