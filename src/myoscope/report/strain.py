"""Strain in the report: the curves over the cycle and the numbers, or why there are none."""

from typing import Any

from myoscope.measure.results import Measurements
from myoscope.report.charts import Curve, curve_key, cycle_curve
from myoscope.report.tables import Tables, all_reasons

ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *(
        (title, tuple(f"lv.{when}_{name}_strain_{ending}" for name in ("circumferential", "radial")))
        for title, when, ending in (
            ("Peak", "global", "percent"),
            ("Fastest rate before the peak", "global", "rate_per_s"),
            ("Time from end-diastole to the peak", "global", "time_to_peak_ms"),
            ("Peak, from contours alone", "global", "from_contours_percent"),
            ("End-systole, from contours alone", "end_systolic", "from_contours_percent"),
        )
    ),
    ("Uniformity round the ring (CURE)", ("lv.circumferential_uniformity",)),
)


def strain_section(tables: Tables) -> dict[str, Any] | None:
    """Curves and rows; a reason alone where nothing was measured; None without LV volumes, which say why already."""
    measurements = tables.measurements
    if measurements.lv.edv_ml is None:
        return None
    rows = [(title, cells) for title, cells in tables.extents(ROWS) if any(cell.text for cell in cells)]
    names = [name for _, names in ROWS for name in names if tables.value(name) is None]
    why = all_reasons(measurements.quality.missing, names) if names else None
    return {"rows": rows, "why": why, **_curves(measurements)}


def _curves(measurements: Measurements) -> dict[str, Any]:
    lv = measurements.lv
    circumferential, radial = lv.circumferential_strain_curve_percent, lv.radial_strain_curve_percent
    if not circumferential or not radial:
        return {"svg": None, "key": []}
    curves: list[Curve] = [("Circumferential", "lv", circumferential), ("Radial", "rv", radial)]
    svg = cycle_curve(curves, lv.ed_frame, lv.es_frame, lv.frame_time_ms, "%", "Global strain over the cardiac cycle")
    return {"svg": svg, "key": [(curve_key(kind), name) for name, kind, _ in curves]}
