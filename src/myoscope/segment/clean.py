"""Label maps put in order: scattered voxels and traces removed."""

from collections.abc import Mapping

import numpy as np

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.wall import largest_piece


def keep_heart(labels: np.ndarray) -> np.ndarray:
    """Labels (Z, Y, X) without what is not connected to the largest labelled body, nor to the RV's largest.

    Where the network goes wrong beside the heart (lung, effusion), it mostly calls it RV.
    """
    heart = np.where(largest_piece(labels > 0), labels, 0).astype(np.uint8)
    rv = heart == Structure.RV
    heart[rv & ~largest_piece(rv)] = 0
    return heart


def one_wall(labels: np.ndarray) -> np.ndarray:
    """Labels (Z, Y, X) where each slice keeps one body of LV and wall; what was scar elsewhere is background."""
    result = labels.copy()
    for z, body in enumerate(np.isin(labels, (Structure.LV, *LV_WALL))):
        result[z][body & ~largest_piece(body)] = Structure.BACKGROUND
    return result


def drop_traces(labels: np.ndarray, smallest_ml: Mapping[Structure, float], voxel_ml: float) -> np.ndarray:
    """Labels (Z, Y, X) where a trace of no-reflow became infarct, and a trace of infarct (with it) myocardium.

    Args:
        labels: `Structure` codes.
        smallest_ml: Volume below which a structure is a trace; an absent structure is never one.
        voxel_ml: Volume of a voxel in ml.
    """
    result = labels.copy()
    for traces, becomes in (((Structure.NO_REFLOW,), Structure.INFARCT), (SCAR, Structure.MYOCARDIUM)):
        found = np.isin(result, traces)
        if found.sum() * voxel_ml < smallest_ml.get(traces[0], 0.0):
            result[found] = becomes
    return result
