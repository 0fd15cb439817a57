"""From measurements to a proposed diagnosis, with its evidence, and how far the patient lies from those learned from.

A logistic regression for each kind of series, fitted by `myoscope.lab.diagnosis` and kept as plain numbers in
`cine.json` and `lge.json`. Evidence is what each measurement adds to the log-odds of the predicted class against the
runner-up, compared with an average case of the training data; before it stand the log-odds of that case. Where
clinical values are known, `clinical.py` takes the place of the LGE's.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.diagnose.features import FEATURES, LOGARITHMIC, believable
from myoscope.measure.results import START, Diagnosis, Evidence, Flag, Measurements, SeriesDiagnosis


def diagnose(measurements: Measurements, lge_with_clinic: SeriesDiagnosis | None = None) -> Diagnosis:
    """Propose a diagnosis from what was measured.

    Where a study has both a cine and LGE, an infarct on LGE decides for the LGE's class, else the cine decides.

    Args:
        measurements: Of the study.
        lge_with_clinic: From `diagnose.clinical`, where clinical values are known; it stands for the LGE then.

    Returns:
        A Diagnosis with prediction None where neither series gave the measurements that are needed, or gave ones that
        no heart has.
    """
    found = {
        name: _of_series(name, features(measurements)) if believable(measurements, name) else None
        for name, features in FEATURES.items()
    }
    if found["lge"] and lge_with_clinic:
        found["lge"] = lge_with_clinic
    by_series = {name: one for name, one in found.items() if one}
    if not by_series:
        return Diagnosis()
    lge, cine = by_series.get("lge"), by_series.get("cine")
    leading = lge if lge and (cine is None or lge.prediction == "pathological") else cine
    assert leading is not None
    return Diagnosis(**leading.model_dump(), by_series=by_series)


def diagnosis_flags(diagnosis: Diagnosis) -> list[Flag]:
    """A warning for every series whose measurements are unlike those of the patients that were learned from."""
    return [
        Flag(
            code="unlike_training",
            level="warning",
            series=name,
            message=(
                "Together, these measurements are unlike those of the patients behind the diagnosis "
                f"(distance {one.distance:.1f}, usual up to {one.usual_distance:.1f}): perhaps it is none of the "
                "classes, or the segmentation failed."
            ),
        )
        for name, one in diagnosis.by_series.items()
        if one.unlike_training
    ]


def _of_series(name: str, features: dict[str, float]) -> SeriesDiagnosis | None:
    """Apply the series' classifier; None where a measurement that it needs is missing."""
    path = Path(__file__).with_name(f"{name}.json")
    if not path.exists() or not set((model := _classifier(path))["features"]) <= features.keys():
        return None
    values = np.array([features[key] for key in model["features"]])
    scaled = ((np.log1p(values) if LOGARITHMIC[name] else values) - model["mean"]) / model["scale"]
    weights, classes = np.array(model["weights"]), model["classes"]
    far = distance(scaled, np.array(model["centres"]), np.array(model["precision"]))
    beyond = max(1.0, far / model["usual_distance"])
    logits = (weights @ scaled + model["intercepts"]) / beyond**2
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    second, best = np.argsort(shares, kind="stable")[-2:]
    added = (weights[best] - weights[second]) * scaled / beyond**2
    start = (model["intercepts"][best] - model["intercepts"][second]) / beyond**2
    evidence = [Evidence(measurement=START, value=None, weight=float(start))]
    evidence += [
        Evidence(measurement=model["features"][i], value=float(values[i]), weight=float(added[i]))
        for i in np.argsort(-np.abs(added))
    ]
    return SeriesDiagnosis(
        prediction=classes[best],
        probabilities=dict(zip(classes, shares.tolist(), strict=True)),
        evidence=evidence,
        runner_up=classes[second],
        prevalence=model["prevalence"],
        distance=far,
        usual_distance=model["usual_distance"],
        unlike_training=beyond > 1,
    )


def distance(scaled: np.ndarray, centres: np.ndarray, precision: np.ndarray) -> float:
    """Mahalanobis distance of measurements (f,) from the nearest of some classes' centres (k, f).

    >>> distance(np.array([3.0, 0.0]), np.array([[0.0, 0.0], [3.0, 2.0]]), np.eye(2))
    2.0
    """
    away = centres - scaled
    return float(np.sqrt(np.einsum("kf,fg,kg->k", away, precision, away).min()))


@lru_cache
def _classifier(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
