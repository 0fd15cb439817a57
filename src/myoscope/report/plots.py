"""The bull's-eyes of the page, each with its scale and the reasons for what it lacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from myoscope.measure.results import Measurements, Segment
from myoscope.report import bullseye
from myoscope.report.reference import EN_DASH, MINUS
from myoscope.report.tables import reason_of
from myoscope.study import Role, Study

WALL_MM = (4.0, 16.0)
"""Ends of the colour scale of wall thickness: the same in every report, so that reports can be compared."""


@dataclass(frozen=True)
class Plot:
    """A bull's-eye with its scale or key, and why values are missing; without any value, the reason alone."""

    title: str
    svg: Markup | None
    scale: Markup
    key: tuple[tuple[str, str], ...]
    reason: str | None


def plots(study: Study, measurements: Measurements) -> list[Plot]:
    """The bull's-eyes that the study has a series or a value for."""
    rows = measurements.segments
    wanted = [
        ("Wall thickness, end-diastole (mm)", "wall_thickness_ed_mm", Role.CINE, ("wall", *WALL_MM)),
        ("Wall thickening (%)", "wall_thickening_percent", None, ("wall", 0.0, 100.0)),
        ("Scar (% of the segment)", "scar_percent", Role.LGE, ("scar", 0.0, 100.0)),
        ("Transmurality (% of the segment, graded)", "transmurality_grade", Role.LGE, None),
        ("Edema, infarct included (% of the segment)", "edema_percent", None, ("scar", 0.0, 100.0)),
    ]
    made = []
    for title, field, role, scale in wanted:
        found = {row.segment: value for row in rows if (value := getattr(row, field)) is not None}
        if found or (role is not None and study.get(role) is not None):
            made.append(_plot(title, field, found, scale, measurements))
    return made


def _plot(
    title: str, field: str, found: dict[int, Any], ends: tuple[str, float, float] | None, measurements: Measurements
) -> Plot:
    missing = measurements.quality.missing
    if ends is None:
        values = {n: (bullseye.GRADES[g], g.replace("-", EN_DASH)) for n, g in found.items()}
        scale, key = Markup(""), tuple(bullseye.grade_key())
    else:
        colours, low, high = ends
        decimals = 1 if field.endswith("mm") else 0
        texts = {n: f"{v:.{decimals}f}".replace("-", MINUS) for n, v in found.items()}
        values = {n: (bullseye.shade(colours, v, low, high), texts[n]) for n, v in found.items()}
        scale, key = bullseye.colour_bar(colours, low, high, "mm" if field.endswith("mm") else "%"), ()
    absent = [n for n in range(1, 18) if n not in found]
    reasons = {n: reason_of(missing, f"segments.{n}.{field}") for n in absent}
    if not found:
        return Plot(title, None, Markup(""), (), _why(reasons))
    details = {n: _segment_detail(row, values, reasons) for row in measurements.segments if (n := row.segment)}
    spoken = ", ".join(f"{n}: {text}" for n, (_, text) in sorted(values.items())) or "not measured"
    svg = bullseye.plot(f"{title}, by segment. {spoken}", values, details)
    return Plot(title, svg, scale, key, _why(reasons))


def _segment_detail(row: Segment, values: Mapping[int, tuple[str, str]], reasons: Mapping[int, str]) -> str:
    n = row.segment
    text = values[n][1] if n in values else f"not measured: {reasons[n]}"
    return f"Segment {n}, {row.name} ({row.territory}): {text}"


def _why(reasons: Mapping[int, str]) -> str | None:
    """Why segments are hatched, in one line; None where all were measured."""
    gathered: dict[str, list[int]] = {}
    for segment, reason in reasons.items():
        gathered.setdefault(reason, []).append(segment)
    if not gathered:
        return None
    if len(reasons) == 17:
        return f"Not measured: {'; '.join(gathered)}."
    parts = [f"{', '.join(map(str, numbers))} ({reason})" for reason, numbers in gathered.items()]
    return f"Not measured: {'; '.join(parts)}."
