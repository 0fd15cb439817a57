"""The diagnosis of an LGE study whose clinical values are known: `doc-net`'s default variant."""

from functools import lru_cache
from typing import Any

import numpy as np

from myoscope.datasets.clinical import TITLES, of_patient
from myoscope.diagnose.clinical_values import Linear
from myoscope.errors import InputError
from myoscope.labels import Structure
from myoscope.measure.results import START, Evidence, Flag, SeriesDiagnosis
from myoscope.study import Role, Study
from myoscope.volume import Volume
from myoscope.weights import is_installed, read_card, weights_of

SYSTEM = "doc-net.linear+"

ENOUGH = 6
"""Known values of the twelve below which the images alone are judged."""


def from_clinical_values(study: Study, labels: Volume) -> tuple[SeriesDiagnosis | None, list[Flag]]:
    """Normal or pathological, from clinical values and the volumes of LGE labels.

    Args:
        study: With the patient's clinical values.
        labels: `Structure` codes on the grid of the LGE series.

    Returns:
        The diagnosis, None where too few values are known, one is impossible, or labels without the LV's cavity leave
        the volumes unknown; and flags that say so.
    """
    try:
        values = of_patient(study.patient, study.id)
    except InputError as error:
        return None, [_flag("warning", f"Clinical values were not used. {error}.")]
    known = len(TITLES) - len(values.missing)
    if known < ENOUGH:
        return None, []
    if not (labels.voxels == Structure.LV).any():  # an average infarct would stand for the one that is there
        return None, [_flag("warning", "Clinical values were not used: the LGE labels show no cavity of the LV.")]
    model = _model()
    if model is None:
        return None, []
    found = model.classify(values, labels)
    evidence = [Evidence(measurement=m, value=value, weight=weight) for m, value, weight in found.evidence]
    (rival,) = found.probabilities.keys() - {found.prediction}
    if evidence:
        odds = found.probabilities[found.prediction] / max(found.probabilities[rival], np.finfo(float).tiny)
        start = float(np.log(odds)) - sum(one.weight for one in evidence)
        evidence.insert(0, Evidence(measurement=START, value=None, weight=start))
    diagnosis = SeriesDiagnosis(
        prediction=found.prediction,
        probabilities=dict(found.probabilities),
        evidence=evidence,
        runner_up=rival if evidence else None,
    )
    flags = [_flag("warning" if "check" in note else "info", note[:1].upper() + note[1:] + ".") for note in found.notes]
    return diagnosis, flags


def _flag(level: Any, message: str) -> Flag:
    return Flag(code="clinical_values", level=level, series=Role.LGE, message=message)


@lru_cache(maxsize=1)
def _model() -> Linear | None:
    return Linear.of(read_card(weights_of(SYSTEM))) if is_installed(SYSTEM) else None
