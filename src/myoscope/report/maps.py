"""The report's section on maps: a table by segment, where the wall came from, and why a map is not measured."""

from typing import Any

from myoscope.measure.anatomy import NAMES
from myoscope.measure.maps import PARTS, TITLES
from myoscope.measure.results import Measurements
from myoscope.report.reference import EN_DASH
from myoscope.report.tables import reason_of
from myoscope.study import MAPS, Role, Study

_SHORT = {
    Role.MAP_T1: "T1",
    Role.MAP_T1_NATIVE: "Native T1",
    Role.MAP_T1_POST: "T1 after contrast",
    Role.MAP_T2: "T2",
    Role.MAP_ECV: "ECV",
}
"""Heads of columns."""


def maps_section(study: Study, measurements: Measurements) -> dict[str, Any] | None:
    """What the section shows; None where the study has no map and nothing was measured in one."""
    there, absent = [], []
    columns: list[list[str]] = []
    for role in MAPS:
        part = PARTS[role]
        found = getattr(measurements.maps, part)
        title = TITLES[role]
        if found.segments:
            unit = "percent" if role is Role.MAP_ECV else "ms"
            there.append(
                {
                    "title": title[0].upper() + title[1:],
                    "short": _SHORT[role],
                    "unit": "%" if unit == "percent" else unit,
                    "wall_from": found.wall_from,
                    "untold": role is Role.MAP_T1,
                }
            )
            cells = [
                [_cell(getattr(row, f"{name}_{unit}")) for row in (found, *found.segments)]
                for name in ("median", "iqr")
            ]
            columns += [*cells, [str(row.voxels) for row in (found, *found.segments)]]
        elif study.get(role) is not None:
            why = reason_of(measurements.quality.missing, f"maps.{part}")
            absent.append(f"{title[0].upper()}{title[1:]} not measured: {why}")
    if not there and not absent:
        return None
    ecv = measurements.maps.ecv_from_t1
    if ecv.segments:
        columns.append([_cell(one) for one in (ecv.ecv_percent, *(row.ecv_percent for row in ecv.segments))])
    elif study.get(Role.MAP_T1_NATIVE) or study.get(Role.MAP_T1_POST) or study.patient.hematocrit is not None:
        absent.append(f"ECV not computed: {reason_of(measurements.quality.missing, 'maps.ecv_from_t1')}")
    names = ["Whole wall", *(f"{n} {name}" for n, name in NAMES.items())]
    rows = list(zip(names, zip(*columns, strict=True), strict=True)) if columns else []
    return {"there": there, "rows": rows, "absent": absent, "ecv": ecv if ecv.segments else None}


def _cell(value: float | None) -> str:
    return EN_DASH if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
