"""How sure a segmentation is: for each structure the network's mean probability, put right by its card."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from myoscope.labels import Structure
from myoscope.prediction import Prediction
from myoscope.study import Series


def calibrate(raw: float, line: tuple[float, float]) -> float:
    """A mean probability put right by a line over its log-odds (Platt 1999), fitted on patients that were not seen.

    >>> round(calibrate(0.9, (0.0, 1.0)), 6)
    0.9
    """
    odds = np.log(np.clip(raw, 1e-4, 1 - 1e-4) / np.clip(1 - raw, 1e-4, 1 - 1e-4))
    return float(1 / (1 + np.exp(-(line[0] + line[1] * odds))))


def calibrate_all(raw: Mapping[Structure, float], card: Mapping[str, Any]) -> dict[Structure, float]:
    """Calibrated probabilities of the structures that a model's card has a line for."""
    lines = (card.get("confidence") or {}).get("lines", {})
    return {s: calibrate(share, lines[s.name.lower()]) for s, share in raw.items() if s.name.lower() in lines}


def unusual_distance(card: Mapping[str, Any]) -> float:
    """Distance of a slice's features beyond which it is unlike those of training; infinite where the card has none."""
    return (card.get("confidence") or {}).get("unusual_distance", np.inf)


def sums_of(shares: np.ndarray, found: np.ndarray, classes: Sequence[Structure]) -> np.ndarray:
    """(classes, 2): for each the sum of its shares (Z, C, Y, X) over the voxels found (Z, Y, X) to be it; how many."""
    masks = [found == structure for structure in classes]
    return np.array([(shares[:, i][mask].sum(dtype=float), mask.sum()) for i, mask in enumerate(masks)])


def prediction_of(
    series: Series,
    frames: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    classes: Sequence[Structure],
    card: Mapping[str, Any],
) -> Prediction:
    """A series from its frames: of each the labels (Z, Y, X), their `sums_of`, and the slices' distances (Z,)."""
    labels, sums, distances = (np.stack(part) for part in zip(*frames, strict=True))
    raw = {s: shares / n for s, (shares, n) in zip(classes, sums.sum(0), strict=True) if s and n}
    volume = series.image.with_voxels(labels if series.image.voxels.ndim == 4 else labels[0])
    intervals = card.get("intervals") or {}
    return Prediction(volume, raw, distances, calibrate_all(raw, card), unusual_distance(card), intervals)
