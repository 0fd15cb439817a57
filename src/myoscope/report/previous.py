"""The report's section on an earlier exam, or on this one before: every measurement then and now, segments too."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from myoscope.measure.previous import Change
from myoscope.measure.results import Measurements
from myoscope.report.reference import EN_DASH, MINUS
from myoscope.report.tables import describe, in_unit

SCALE_PERCENT = 50.0
"""Ends of the picture of a change, in per cent of the earlier value: the same in every row and report."""

WORDS = {"changed": "changed", "within error": "within the error", None: EN_DASH}


def previous_section(measurements: Measurements, plots_of: Callable[[Measurements], Sequence[Any]]) -> Any:
    """What the section shows; None without an earlier exam.

    Args:
        measurements: Of this exam, with `previous`.
        plots_of: The bull's-eyes of measurements, as the report draws them.
    """
    previous = measurements.previous
    if previous is None:
        return None
    quality = measurements.quality.model_copy(update={"missing": previous.missing})
    then = measurements.model_copy(update={"segments": previous.segments, "quality": quality})
    now = {plot.title: plot for plot in plots_of(measurements)}
    pairs = [(plot, now[plot.title]) for plot in plots_of(then) if plot.title in now]
    return {
        "same_exam": previous.same_exam,
        "when": _words(measurements),
        "study_id": previous.study_id,
        "date": previous.created_utc[:10],
        "notes": previous.notes,
        "rows": [_row(change) for change in previous.changes],
        "judged": any(change.verdict for change in previous.changes),
        "scale": f"{SCALE_PERCENT:g}",
        "plots": [pair for pair in pairs if pair[0].svg or pair[1].svg],
    }


def _words(measurements: Measurements) -> tuple[str, str]:
    """Heads of the two columns: exams, or measurements of one exam, whose labels a person may have drawn."""
    if measurements.previous is None or not measurements.previous.same_exam:
        return "Before", "Now"
    labelled = [series for series in measurements.provenance.series if series.labels_from != "not segmented"]
    if any(series.changed_voxels or not series.weights_sha256 for series in labelled):
        return "Before correction", "After correction"
    return "Earlier measurement", "This measurement"


def _row(change: Change) -> dict[str, Any]:
    name = describe(change.measurement)
    return {
        "title": name.title,
        "unit": name.unit,
        "before": _value(change.before, change.before_interval, name.unit),
        "now": _value(change.now, change.now_interval, name.unit),
        "change": EN_DASH if change.change is None else _signed(change.change, name.unit),
        "percent": EN_DASH if change.change_percent is None else _signed(change.change_percent, "%", 0),
        "verdict": WORDS[change.verdict],
        "changed": change.verdict == "changed",
        "strip": change_strip(change),
    }


def _value(value: float | None, interval: tuple[float, float] | None, unit: str) -> str:
    if value is None:
        return EN_DASH
    low_high = f" ({in_unit(interval[0], unit)}{EN_DASH}{in_unit(interval[1], unit)})" if interval else ""
    return in_unit(value, unit) + low_high


def _signed(value: float, unit: str, decimals: int | None = None) -> str:
    text = in_unit(abs(value), unit) if decimals is None else f"{abs(value):.{decimals}f}"
    return text if not float(text) else ("+" if value > 0 else MINUS) + text


def change_strip(change: Change) -> Markup:
    """A change in per cent of the earlier value, on one scale for all; what lies beyond it is an arrow.

    The earlier value's interval is a band around 0, that of the value now a line through its mark.
    """
    if change.change_percent is None or not change.before:
        return Markup("")
    before = change.before

    def x(value: float) -> float:
        percent = 100 * (value - before) / before
        return 60 + 56 * min(max(percent / SCALE_PERCENT, -1), 1)

    parts = ['<path d="M4 8H116" stroke="#c4ccd0"/>']
    if change.before_interval:
        low, high = sorted(map(x, change.before_interval))
        parts.append(f'<rect x="{low:.1f}" y="3" width="{high - low:.1f}" height="10" fill="#b9cdd3"/>')
    parts.append('<path d="M60 1V15" stroke="#7a868d"/>')
    if change.now_interval:
        low, high = sorted(map(x, change.now_interval))
        parts.append(f'<path d="M{low:.1f} 8H{high:.1f}" stroke="#0f5a6d" stroke-width="2.4"/>')
    place = x(before + (change.change or 0))
    beyond = abs(change.change_percent) > SCALE_PERCENT
    tip = 5 if change.change_percent > 0 else -5
    mark = f"M{place - tip:.1f} 3L{place:.1f} 8L{place - tip:.1f} 13Z" if beyond else f"M{place:.1f} 3v10"
    parts.append(f'<path d="{mark}" stroke="#0f5a6d" stroke-width="3" fill="#0f5a6d"/>')
    return Markup(f'<svg viewBox="0 0 120 16" width="120" height="16" aria-hidden="true">{"".join(parts)}</svg>')
