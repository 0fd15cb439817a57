"""Scores of a label map against an expert's, on the whole volume, by the challenges' definitions."""

import numpy as np

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.overlap import border_hausdorff_mm, dice, hausdorff_mm

__all__ = ["CINE_REGIONS", "LGE_REGIONS", "border_hausdorff_mm", "dice", "hausdorff_mm", "region_scores"]

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
