"""The page: what stands where. Numbers, words and figures are made elsewhere; the template only lays them out.

Everything that comes from files is text to be shown, never markup: Jinja2 escapes it, `printable` takes out what
cannot be shown, and a content security policy forbids scripts and anything loaded from elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from myoscope.datasets.clinical import readable
from myoscope.io.dicom.exam import exam_facts, page_name, short_name
from myoscope.measure.intervals import STRETCHED
from myoscope.measure.maps import PARTS
from myoscope.measure.quality import STRUCTURE_WORDS
from myoscope.measure.results import (
    NOTICE,
    Measurements,
    Segment,
    SliceWall,
)
from myoscope.report import bullseye
from myoscope.report.charts import Curve, curve_key, volume_curve
from myoscope.report.concerns import warnings_about
from myoscope.report.counted import counted_section
from myoscope.report.figures import ROLE_TITLES, SeriesFigure, series_figure
from myoscope.report.impression import impression
from myoscope.report.maps import maps_section
from myoscope.report.plots import plots
from myoscope.report.previous import previous_section
from myoscope.report.reference import (
    EN_DASH,
    INFARCT_SIZE,
    INFARCT_SIZE_UNCHECKED,
    MINUS,
    Z_NOTE,
    age_note,
    infarct_size,
)
from myoscope.report.remote import remote_key, remote_panels
from myoscope.report.strain import strain_section
from myoscope.report.tables import LGE_ROWS, T2_ROWS, Cell, Tables, all_reasons, by_reason, describe, in_unit
from myoscope.report.verdict import FULL_BAR, diagnoses, series_title
from myoscope.study import MAPS, Role, Series, Study
from myoscope.volume import Volume, onto_grid

TEMPLATES = Path(__file__).parent / "templates"
MIN_CURVE_FRAMES = 5
"""Fewer frames than this are no curve."""

SEGMENT_COLUMNS = (
    ("Wall ED", "mm", "wall_thickness_ed_mm"),
    ("Wall ES", "mm", "wall_thickness_es_mm"),
    ("Thickening", "%", "wall_thickening_percent"),
    ("Scar", "%", "scar_percent"),
    ("Transmurality", "%", "transmurality_grade"),
    ("Depth of scar", "%", "scar_depth_percent"),
    ("Pattern of scar", "", "scar_pattern"),
    ("Edema", "%", "edema_percent"),
)
SLICE_COLUMNS = (
    *(
        column
        for phase in ("ED", "ES")
        for column in (
            (f"{phase}, mean", "mm", f"wall_thickness_{phase.lower()}_mm"),
            (f"{phase}, largest", "mm", f"wall_thickness_{phase.lower()}_max_mm"),
            (f"{phase}, SD", "mm", f"wall_thickness_{phase.lower()}_sd_mm"),
        )
    ),
    ("Thickening", "%", "wall_thickening_percent"),
)
"""Columns of the tables by segment and by slice: title, unit, field."""

LEVELS = {"error": "Error", "warning": "Warning", "info": "Note"}
"""Levels of flags in words, most serious first."""

_UNSAFE = {*range(0x00, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)}
_UNSAFE |= {0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF}


def render(study: Study, labels: Mapping[Role, Volume], measurements: Measurements) -> str:
    """The report as one self-contained HTML page.

    Args:
        study: The study, with its images.
        labels: For each role that was segmented, `Structure` codes on the grid of that role's series.
        measurements: What was measured in them; its `quality` says why something is missing.

    Returns:
        The page: it loads nothing, runs no script, and is the same for the same input.

    Source:
        After the SCMR reporting recommendations 2022, doi:10.1186/s12968-021-00827-z.
    """
    tables = Tables(measurements)
    context = {
        "study_id": study.id,
        "title": short_name(study),
        "foot": page_name(study),
        "notice": NOTICE,
        "authors": _authors(measurements),
        "m": measurements,
        "exam": exam_facts(study),
        "facts": _facts(measurements),
        "clinical": readable(measurements.patient.clinical),
        "flags": (flags := _flags(measurements)),
        "flag_numbers": {message: number for number, (*_, message) in enumerate(flags, 1)},
        "doubts": {part: warnings_about(part, measurements) for part in ("segments.", "diagnosis")},
        "confidence": _confidence(measurements),
        "segmented": bool(labels),
        "impression": impression(measurements),
        "diagnoses": diagnoses(measurements),
        "key_numbers": _key_numbers(study, tables),
        "groups": tables.groups(),
        "no_index": tables.no_index(),
        "stretched": any(line.startswith(STRETCHED) for line in measurements.provenance.conventions),
        "sources": tables.sources.listed(),
        "reasons": tables.reasons.listed(),
        "z_note": Z_NOTE,
        "age_note": age_note(measurements.patient.age_years) if tables.sources.texts else None,
        "figures": _figures(study, labels, measurements),
        "plots": plots(study, measurements),
        "segments": _grid(measurements.segments, SEGMENT_COLUMNS),
        "slices": _grid(measurements.slices, SLICE_COLUMNS),
        "curve": _curve(measurements),
        "strain": strain_section(tables),
        "counted": counted_section(measurements),
        "previous": previous_section(measurements, lambda found: plots(study, found)),
        "lge": _lge(study, tables),
        "remote": remote_panels(study, labels, measurements),
        "remote_key": remote_key(),
        "t2": _t2(study, tables),
        "maps": maps_section(study, measurements),
        "not_measured": by_reason(measurements.quality.missing),
        "full_bar": FULL_BAR,
        "definitions": bullseye.definitions(),
    }
    return _template().render(context)


def printable(value: Any) -> Any:
    """Text without control characters, direction overrides and broken code points; anything else as it is.

    >>> printable("a\\x00b")
    'a\\ufffdb'
    """
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.translate(dict.fromkeys(_UNSAFE, "\ufffd"))
    return value


def css_text(text: str) -> str:
    """Text for a CSS string: all but ASCII letters and digits by their code point, so that none of it is markup.

    >>> css_text('a"</style>')
    'a\\\\22 \\\\3c \\\\2f style\\\\3e '
    """
    return "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in printable(text))


def pages_of(templates: Path) -> Environment:
    """How every page is made from templates: what comes in is escaped and printable, and nothing may be undefined."""
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printable,
    )


@cache
def _template() -> Any:
    environment = pages_of(TEMPLATES)
    environment.filters |= {
        "css_text": css_text,
        "name": describe,
        "in_unit": in_unit,
        "lower_first": lambda s: s[:1].lower() + s[1:],
    }
    environment.globals |= {"role_titles": {str(role): title for role, title in ROLE_TITLES.items()}}
    return environment.get_template("report.html.j2")


def _facts(measurements: Measurements) -> list[tuple[str, str]]:
    patient = measurements.patient
    sex = {"F": "female", "M": "male", None: "unknown"}[patient.sex]
    numbers = [
        ("Age", patient.age_years, "years"),
        ("Height", patient.height_cm, "cm"),
        ("Weight", patient.weight_kg, "kg"),
        ("Body surface area (Mosteller)", patient.bsa_m2, "m²"),
        *([("Body surface area (DuBois)", patient.bsa_dubois_m2, "m²")] if patient.bsa_dubois_m2 else []),
        ("Heart rate", patient.heart_rate_bpm, "/min"),
        *([("Hematocrit", 100 * patient.hematocrit, "%")] if patient.hematocrit else []),
    ]
    return [("Sex", sex), *((title, "unknown" if v is None else _fact(v, unit)) for title, v, unit in numbers)]


def _fact(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}" if unit == "m²" else f"{round(value, 1):g} {unit}"


def _flags(measurements: Measurements) -> list[tuple[str, str, str, str]]:
    """Level, its word, series and message of each flag, most serious first; series that share one stand together."""
    order = list(LEVELS)
    shared: dict[tuple[str, str], list[str]] = {}
    for flag in sorted(measurements.quality.flags, key=lambda flag: order.index(flag.level)):
        shared.setdefault((flag.level, flag.message), []).append(series_title(flag.series))
    return [(level, LEVELS[level], ", ".join(where), message) for (level, message), where in shared.items()]


def _authors(measurements: Measurements) -> str:
    """Who made the contours and the numbers, in a sentence."""
    drawn = [series for series in measurements.provenance.series if series.labels_from != "not segmented"]
    given = [series for series in drawn if series.weights_sha256 is None]
    if drawn and len(given) == len(drawn):
        return "Measured by a program in contours that were given to it; nobody has confirmed the numbers."
    if given or any(series.changed_voxels for series in drawn):
        return "Made by a program, its contours changed by a person in places."
    return "Made by a program; nobody has confirmed it."


def _confidence(measurements: Measurements) -> list[tuple[str, str]]:
    """For each series that a network segmented: its title, and how much of each structure is likely right."""
    found = measurements.quality.confidence
    words = STRUCTURE_WORDS | {"myocardium": "myocardium"}
    return [
        (
            series_title(series),
            ", ".join(f"{words.get(name, name)} {100 * share:.0f} %" for name, share in shares.items()),
        )
        for series, shares in found.items()
    ]


def _key_numbers(study: Study, tables: Tables) -> list[tuple[str, Cell, str]]:
    """The numbers a reader looks for first: title, cell, and what a share is of."""
    names = []
    if study.get(Role.CINE) or tables.value("lv.edv_ml") is not None:
        names.append("lv.ejection_fraction_percent")
        for index, plain in (("lv.edv_index_ml_m2", "lv.edv_ml"), ("lv.mass_index_g_m2", "lv.mass_g")):
            names.append(index if tables.value(index) is not None else plain)
        names.append("rv.ejection_fraction_percent")
    if _has(study, tables, Role.LGE, "lge"):
        names += ["lge.infarct_percent", "lge.no_reflow_percent"]
    if _has(study, tables, Role.T2, "t2"):
        names.append("t2.edema_percent")
    return [(_card(tables, name), tables.cell(name, with_notes=False), _of_what(tables, name)) for name in names]


def _card(tables: Tables, name: str) -> str:
    """A card's title; of a mass whose phase is not known it says so."""
    unknown = name.startswith("lv.mass") and tables.value(name) is not None and tables.value("lv.ed_frame") is None
    return describe(name).title + ", phase unknown" * unknown


def _of_what(tables: Tables, name: str) -> str:
    """What a share of tissue is a share of, and how much that is; nothing for other numbers."""
    grams = None if name.startswith(("lv.", "rv.")) else tables.value(name.removesuffix("percent") + "g")
    return "" if grams is None else f"of the LV wall, {in_unit(grams, 'g')} g"


def _has(study: Study, tables: Tables, role: Role, part: str) -> bool:
    """Whether a part of the measurements has a place in the report: its series is there, or a value is."""
    measured = getattr(tables.measurements, part)
    return study.get(role) is not None or any(value is not None for _, value in measured)


def _figures(study: Study, labels: Mapping[Role, Volume], measurements: Measurements) -> list[SeriesFigure]:
    order = list(ROLE_TITLES)
    lv = measurements.lv
    found = []
    for series in sorted(study.series, key=lambda s: order.index(s.role)):
        ed = series.ed_frame if lv.ed_frame is None else lv.ed_frame
        es = series.es_frame if lv.es_frame is None else lv.es_frame
        drawn, carried = labels.get(series.role), None
        measured = series.role not in MAPS or getattr(measurements.maps, PARTS[series.role]).wall_from
        if drawn is None and measured:
            drawn, carried = _carried_over(series, labels)
        figure = series_figure(series, drawn, ed, es)
        found.append(replace(figure, notes=(*figure.notes, carried)) if carried else figure)
    return found


def _carried_over(series: Series, labels: Mapping[Role, Volume]) -> tuple[Volume | None, str | None]:
    """Labels of LGE, else T2, else bSSFP on the slices of one of these that has none of its own, and a note of it."""
    still = (Role.LGE, Role.T2, Role.BSSFP)
    source = next((role for role in still if role in labels), None)
    if source is None or series.role not in (*still, *MAPS) or len(series.image.frames) > 1:
        return None, None
    codes = onto_grid(labels[source], series.image, order=0).astype(np.uint8)
    if not codes.any():
        return None, None
    drawn = series.image.with_voxels(codes.reshape(series.image.voxels.shape))
    return drawn, f"Contours carried over by geometry from: {ROLE_TITLES[source]}."


def _grid(rows: Sequence[Segment | SliceWall], columns: Sequence[tuple[str, str, str]]) -> dict[str, Any] | None:
    """Header and cells of a table by segment or slice: without the columns that hold no value; None where all do."""
    kept = [column for column in columns if any(getattr(row, column[2]) is not None for row in rows)]
    if not kept:
        return None
    cells = [(row, [_cell(getattr(row, field)) for _, _, field in kept]) for row in rows]
    return {"head": [(title, unit) for title, unit, _ in kept], "rows": cells}


def _cell(value: float | str | None) -> str:
    if isinstance(value, str):
        return value.replace("-", EN_DASH) if value[:1].isdigit() else value
    return EN_DASH if value is None else f"{value:.1f}".replace("-", MINUS)


def _curve(measurements: Measurements) -> dict[str, Any] | None:
    """The volume-time curve where the whole cine was measured."""
    lv, rv = measurements.lv, measurements.rv
    curves: list[Curve] = []
    for name, kind, part in (("Left ventricle", "lv", lv), ("Right ventricle", "rv", rv)):
        values = part.volume_curve_ml
        if values and len(values) >= MIN_CURVE_FRAMES and (not curves or len(values) == len(curves[0][2])):
            curves.append((name, kind, values))
    if not curves:
        return None
    svg = volume_curve(curves, lv.ed_frame, lv.es_frame, lv.frame_time_ms)
    return {"svg": svg, "key": [(curve_key(kind), name) for name, kind, _ in curves]}


def _lge(study: Study, tables: Tables) -> dict[str, Any] | None:
    if not _has(study, tables, Role.LGE, "lge"):
        return None
    percent = tables.measurements.lge.infarct_percent
    size = None if percent is None else infarct_size(percent)
    note = INFARCT_SIZE + (f" {INFARCT_SIZE_UNCHECKED}" if size in ("medium", "large") else "")
    rows = tables.extents(LGE_ROWS)
    return {"rows": rows, "why": _nothing_in(tables, LGE_ROWS, rows), "size": size, "size_note": note}


def _t2(study: Study, tables: Tables) -> dict[str, Any] | None:
    if not _has(study, tables, Role.T2, "t2"):
        return None
    rows, salvage = tables.extents(T2_ROWS), tables.cell("t2.salvage_index_percent", with_notes=False)
    return {"rows": rows, "why": _nothing_in(tables, T2_ROWS, rows), "salvage": salvage}


def _nothing_in(tables: Tables, rows: tuple[tuple[str, tuple[str, ...]], ...], shown: list[Any]) -> str | None:
    names = [name for _, names in rows for name in names]
    return None if shown else all_reasons(tables.measurements.quality.missing, names)
