"""An interval beside every measurement: between which values an expert's would lie in 90 of 100 patients like ours.

From the errors of networks on patients that they had not seen (`lab.intervals`), kept in a system's card: a
measurement plus two quantiles of the errors, in units of a scale that grows with the measurement and with the network's
doubt. Lei et al. 2018, doi:10.1080/01621459.2017.1307116. Another site's scanners and readers may differ by more:
`calibration` fits it to them.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from myoscope.labels import Structure
from myoscope.measure.results import Grade, Measurements
from myoscope.prediction import Prediction

LEVEL_PERCENT = 90

NO_ERRORS = "no interval: the network's errors on unseen patients are not known"
NOTHING = "no interval: what it is computed from is 0"

STRETCHED = "Intervals are stretched by how they held "
"""How the line in `provenance.conventions` begins where `measure.calibration` stretched them."""

GRADES: tuple[Grade, ...] = get_args(Grade)

_LV, _WALL, _RV = (Structure.LV,), (Structure.MYOCARDIUM,), (Structure.RV,)
_SCAR, _DARK, _EDEMA = (Structure.INFARCT,), (Structure.NO_REFLOW,), (Structure.EDEMA,)

STRUCTURES: dict[str, tuple[Structure, ...]] = {
    "lv.edv_ml": _LV,
    "lv.esv_ml": _LV,
    "lv.sv_ml": _LV,
    "lv.ejection_fraction_percent": _LV,
    "lv.mass_g": _WALL,
    "lv.wall_thickness_max_mm": _WALL,
    "lv.wall_thickness_max_es_mm": _WALL,
    "lv.edv_to_rv_ratio": _LV + _RV,
    "lv.esv_to_rv_ratio": _LV + _RV,
    "lv.myocardium_to_edv_ratio": _WALL + _LV,
    "lv.myocardium_to_esv_ratio": _WALL + _LV,
    "rv.edv_ml": _RV,
    "rv.esv_ml": _RV,
    "rv.sv_ml": _RV,
    "rv.ejection_fraction_percent": _RV,
    "lge.myocardium_ml": _WALL,
    "lge.infarct_ml": _SCAR,
    "lge.infarct_percent": _SCAR,
    "lge.no_reflow_ml": _DARK,
    "lge.no_reflow_percent": _DARK,
    "t2.edema_ml": _EDEMA,
    "t2.edema_percent": _EDEMA,
}
"""Measurements with an interval, and the structures whose doubt widens it."""

SCALED = {
    "lv.edv_index_ml_m2": "lv.edv_ml",
    "lv.esv_index_ml_m2": "lv.esv_ml",
    "lv.sv_index_ml_m2": "lv.sv_ml",
    "lv.mass_index_g_m2": "lv.mass_g",
    "rv.edv_index_ml_m2": "rv.edv_ml",
    "rv.esv_index_ml_m2": "rv.esv_ml",
    "rv.sv_index_ml_m2": "rv.sv_ml",
    "lv.cardiac_output_l_min": "lv.sv_ml",
    "lv.cardiac_index_l_min_m2": "lv.sv_ml",
}
"""Measurements that are another one by body surface area or times heart rate, which are taken as exact."""


@dataclass(frozen=True)
class Errors:
    """Errors of a measurement on `n` unseen patients: quantiles `low` and `high` (truth - measured), in units of
    `scale`: a constant, a share of the measurement, and a share of it times the doubt (0 to 1)."""

    scale: tuple[float, float, float]
    low: float
    high: float
    n: int

    def kept(self) -> dict[str, Any]:
        """As it stands in a card."""
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Errors":
        """From what stands in a card."""
        return cls(tuple(kept["scale"]), kept["low"], kept["high"], kept["n"])


def doubt_of(name: str, prediction: Prediction) -> float:
    """The network's doubt in what a measurement rests on: 1 - mean probability; 0 where nothing was found."""
    shares = [prediction.raw[s] for s in STRUCTURES.get(name, _SCAR) if s in prediction.raw]
    return 1 - min(shares) if shares else 0.0


def interval(name: str, value: float, doubt: float, errors: Errors) -> tuple[float, float]:
    """The interval of a measurement by its dotted name, within what is possible, and round the measurement.

    >>> interval("lv.edv_ml", 100.0, 0.1, Errors((1.0, 0.02, 0.2), -2.0, 1.0, 75))
    (90.0, 105.0)
    """
    unit = float(np.dot(errors.scale, (1.0, abs(value), abs(value) * doubt)))
    top = 100.0 if name.endswith("_percent") else np.inf
    return max(value + errors.low * unit, min(value, 0.0)), min(value + errors.high * unit, max(value, top))


def errors_of(prediction: Prediction | None) -> Mapping[str, Any] | str:
    """The errors that a network's card keeps, or why there are none to build an interval from."""
    if prediction is None:
        return "no interval: these contours are not a network's alone"
    if prediction.mostly_unusual:
        return "no interval: the images are unlike those that the network was trained on"
    return prediction.intervals or NO_ERRORS


def with_intervals(
    part: str, values: Any, reasons: Mapping[str, str], prediction: Prediction | None
) -> tuple[Any, dict[str, str]]:
    """One part of the measurements with its intervals, and the reasons for what is None, by field name.

    Args:
        part: "lv", "rv", "lge" or "t2".
        values: That part.
        reasons: For what is None in it.
        prediction: Of the network that drew the labels, None where it did not, or not alone.
    """
    errors, found, missing = errors_of(prediction), dict[str, Any](), dict(reasons)
    for name in (n for n in (*STRUCTURES, *SCALED) if n.startswith(f"{part}.")):
        base, field = SCALED.get(name, name), name.partition(".")[2]
        value = getattr(values, base.partition(".")[2])
        known = None if isinstance(errors, str) else errors["errors"].get(base)
        if field in reasons or value is None:
            missing[f"{field}_interval"] = reasons.get(field, "not measured")
        elif known is None or prediction is None:
            missing[f"{field}_interval"] = errors if isinstance(errors, str) else NO_ERRORS
        elif name in SCALED and not value:
            missing[f"{field}_interval"] = NOTHING
        else:
            ends = interval(base, value, doubt_of(base, prediction), Errors.of(known))
            by = getattr(values, field) / value if name in SCALED else 1.0
            found[f"{field}_interval"] = (ends[0] * by, ends[1] * by)
    return values.model_copy(update=found), missing


def possible_grades(prediction: Prediction | None) -> Mapping[str, list[Grade]] | str:
    """For each grade of transmurality found those that an expert's may be, or why that is not known."""
    errors = errors_of(prediction)
    return errors if isinstance(errors, str) else errors.get("transmurality_grades") or NO_ERRORS


def keep_intervals(now: Measurements, before: Measurements, parts: Collection[str]) -> Measurements:
    """Measurements with the intervals that they had before, in parts ("lv", "lge") whose labels are the same."""
    missing, changes = dict(now.quality.missing), dict[str, Any]()
    for part in parts:
        new, old = getattr(now, part), getattr(before, part)
        fields = [name for name in type(new).model_fields if name.endswith("_interval") and getattr(old, name)]
        kept = [f for f in fields if getattr(new, (value := f.removesuffix("_interval"))) == getattr(old, value)]
        changes[part] = new.model_copy(update={name: getattr(old, name) for name in kept})
        for name in kept:
            missing.pop(f"{part}.{name}", None)
    grades = {s.segment: s for s in before.segments} if "lge" in parts else {}
    if any(s.transmurality_grade_interval for s in grades.values()):
        name = "transmurality_grade_interval"
        changes["segments"] = [s.model_copy(update={name: getattr(grades[s.segment], name)}) for s in now.segments]
        missing.pop(f"segments.{name}", None)
        missing |= {
            k: why for k, why in before.quality.missing.items() if k.startswith("segments.") and k.endswith(name)
        }
    changes["quality"] = now.quality.model_copy(update={"missing": missing})
    stretched = [line for line in before.provenance.conventions if line.startswith(STRETCHED)] if parts else []
    conventions = [*now.provenance.conventions, *stretched]
    changes["provenance"] = now.provenance.model_copy(update={"conventions": conventions})
    return now.model_copy(update=changes)
