"""The report's section on maps: a table by segment, where the wall came from, and why a map is not measured."""

from typing import Any

from myoscope.measure.anatomy import NAMES
from myoscope.measure.maps import PARTS
from myoscope.measure.results import Measurements
from myoscope.report.reference import EN_DASH
from myoscope.report.tables import reason_of
from myoscope.study import MAPS, Role, Study


def maps_section(study: Study, measurements: Measurements) -> dict[str, Any] | None:
    """What the section shows; None where the study has no map and nothing was measured in one."""
    there, absent = [], []
    columns: list[list[str]] = []
    for role in MAPS:
        part = PARTS[role]
        found = getattr(measurements.maps, part)
        if found.segments:
            unit = "percent" if role is Role.MAP_ECV else "ms"
            there.append(
                {"title": part.upper(), "unit": "%" if unit == "percent" else unit, "wall_from": found.wall_from}
            )
            cells = [
                [_cell(getattr(row, f"{name}_{unit}")) for row in (found, *found.segments)]
                for name in ("median", "iqr")
            ]
            columns += [*cells, [str(row.voxels) for row in (found, *found.segments)]]
        elif study.get(role) is not None:
            absent.append(f"{part.upper()} map not measured: {reason_of(measurements.quality.missing, f'maps.{part}')}")
    if not there and not absent:
        return None
    names = ["Whole wall", *(f"{n} {name}" for n, name in NAMES.items())]
    rows = list(zip(names, zip(*columns, strict=True), strict=True)) if columns else []
    return {"there": there, "rows": rows, "absent": absent}


def _cell(value: float | None) -> str:
    return EN_DASH if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
