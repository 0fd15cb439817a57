"""From measurements to a proposed diagnosis, with its evidence.

A logistic regression for each kind of series, fitted by `myoscope.evaluate.diagnosis` and kept as plain numbers in
`cine.json` and `lge.json`. Evidence is what each measurement adds to the log-odds of the predicted class against the
average class, compared with an average case of the training data. Where clinical values are known, `clinical.py` takes
the place of the LGE's.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.diagnose.features import FEATURES, LOGARITHMIC, believable
from myoscope.measure.results import Diagnosis, Evidence, Measurements, SeriesDiagnosis


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
        name: _of_series(name, features(measurements) if believable(measurements, name) else None)
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
    return Diagnosis(
        prediction=leading.prediction,
        probabilities=leading.probabilities,
        evidence=leading.evidence,
        by_series=by_series,
    )


def _of_series(name: str, features: dict[str, float] | None) -> SeriesDiagnosis | None:
    """Apply the series' classifier; None where a measurement that it needs is missing."""
    path = Path(__file__).with_name(f"{name}.json")
    if features is None or not path.exists():
        return None
    model = _classifier(path)
    values = np.array([features[key] for key in model["features"]])
    scaled = ((np.log1p(values) if LOGARITHMIC[name] else values) - model["mean"]) / model["scale"]
    weights = np.array(model["weights"])
    logits = weights @ scaled + model["intercepts"]
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    others = np.delete(weights, best, 0).mean(0)
    added = (weights[best] - others) * scaled
    evidence = [
        Evidence(measurement=model["features"][i], value=float(values[i]), weight=float(added[i]))
        for i in np.argsort(-np.abs(added))
    ]
    return SeriesDiagnosis(
        prediction=model["classes"][best],
        probabilities=dict(zip(model["classes"], shares.tolist(), strict=True)),
        evidence=evidence,
    )


@lru_cache
def _classifier(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
