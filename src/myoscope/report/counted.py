"""The report's section on what was counted in each slice, and on the choice of the base."""

from typing import Any

from myoscope.measure.counted import BaseChoice
from myoscope.measure.results import Measurements
from myoscope.report.reference import EN_DASH, MINUS
from myoscope.report.tables import describe, in_unit

COLUMNS = (
    ("LV, ED", "lv_ed_ml"),
    ("LV, ES", "lv_es_ml"),
    ("RV, ED", "rv_ed_ml"),
    ("RV, ES", "rv_es_ml"),
    ("Myocardium, ED", "myocardium_ed_ml"),
    ("Myocardium, ES", "myocardium_es_ml"),
)


def counted_section(measurements: Measurements) -> dict[str, Any] | None:
    """What the section shows; None where nothing was counted in a cine."""
    slices = measurements.slice_volumes
    if not slices:
        return None
    kept = [(title, key) for title, key in COLUMNS if any(getattr(row, key) is not None for row in slices)]
    rows = []
    for row in slices:
        around = [row.wall_around_ed_percent, row.wall_around_es_percent]
        shares = [EN_DASH if share is None else f"{share:.0f} %" for share in around]
        rows.append((row.slice, [_cell(getattr(row, key)) for _, key in kept], shares))
    return {
        "doubtful": [_choice(choice, measurements) for choice in measurements.base_choices if choice.doubt],
        "why": measurements.quality.missing.get("base_choices"),
        "head": [title for title, _ in kept],
        "rows": rows,
        "sums": [_cell(sum(getattr(row, key) or 0.0 for row in slices)) for _, key in kept],
    }


def _choice(choice: BaseChoice, measurements: Measurements) -> dict[str, Any]:
    part, key = choice.measurement.split(".")
    fraction = choice.ejection_fraction_otherwise_percent
    return {
        "title": describe(choice.measurement).title,
        "value": in_unit(getattr(getattr(measurements, part), key), "ml"),
        "slice": choice.slice,
        "counted": choice.counted,
        "otherwise": in_unit(choice.otherwise_ml, "ml"),
        "change": f"{choice.change_percent:+.0f}".replace("-", MINUS),
        "fraction": None if fraction is None else in_unit(fraction, "%"),
        "doubt": choice.doubt,
    }


def _cell(value: float | None) -> str:
    return EN_DASH if value is None else f"{value:.1f}"
