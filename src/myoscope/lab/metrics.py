"""Scores of a label map against an expert's, on the whole volume, by the challenges' definitions."""

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.volume import Spacing

CINE_REGIONS = {
    "LV": (Structure.LV,),
    "myocardium": LV_WALL,
    "RV": (Structure.RV,),
}

LGE_REGIONS = {
    "LV": (Structure.LV,),
    "myocardium": LV_WALL,
    "infarction": SCAR,
    "no-reflow": (Structure.NO_REFLOW,),
}
"""EMIDEC's regions: myocardium is all of the wall, infarction includes no-reflow (emidec.com)."""


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks of the same shape; 1 where both are empty, as the EMIDEC challenge has it.

    >>> dice(np.array([1, 1, 0], bool), np.array([0, 1, 0], bool))
    0.6666666666666666
    >>> dice(np.zeros(3, bool), np.zeros(3, bool))
    1.0
    """
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def region_scores(
    predicted: np.ndarray, truth: np.ndarray, regions: dict[str, tuple[Structure, ...]], voxel_ml: float
) -> dict[str, float]:
    """Dice and volumes of every region in one volume.

    Args:
        predicted: `Structure` codes (Z, Y, X).
        truth: The expert's, same shape.
        regions: Structures that make up each region.
        voxel_ml: Volume of a voxel in ml.

    Returns:
        For each region NAME: `NAME dice`, `NAME ml` (predicted) and `NAME true ml`.
    """
    scores = {}
    for name, structures in regions.items():
        a, b = np.isin(predicted, structures), np.isin(truth, structures)
        scores[f"{name} dice"] = dice(a, b)
        scores[f"{name} ml"] = float(a.sum()) * voxel_ml
        scores[f"{name} true ml"] = float(b.sum()) * voxel_ml
    return scores


def hausdorff_mm(predicted: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    """Hausdorff distance of two masks (Z, Y, X) in mm, between voxel centres; NaN where one of them is empty.

    >>> a, b = np.zeros((2, 1, 3, 9), bool)
    >>> a[0, 1, :3] = b[0, 1, :7] = True
    >>> hausdorff_mm(a, b, (10.0, 1.0, 1.5))
    6.0
    """
    if not (predicted.any() and truth.any()):
        return float("nan")
    far = [ndimage.distance_transform_edt(~b, spacing_mm)[a].max() for a, b in ((predicted, truth), (truth, predicted))]
    return float(max(far))


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
