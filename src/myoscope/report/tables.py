"""Rows and cells of the page: values as shown, beside their ranges, with footnotes for sources and reasons."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from myoscope.measure.results import Measurements
from myoscope.measure.units import UNITS, ending_of
from myoscope.report.charts import range_strip
from myoscope.report.concerns import warnings_about
from myoscope.report.reference import MINUS, SEX_WORDS, Sex, Source, mark, ranges_for, z_score

TITLES = {
    "lv.edv_ml": "LV end-diastolic volume",
    "lv.esv_ml": "LV end-systolic volume",
    "lv.sv_ml": "LV stroke volume",
    "lv.edv_index_ml_m2": "LV end-diastolic volume index",
    "lv.esv_index_ml_m2": "LV end-systolic volume index",
    "lv.sv_index_ml_m2": "LV stroke volume index",
    "lv.mass_index_g_m2": "LV mass index",
    "lv.wall_thickness_max_mm": "LV maximal wall thickness",
    "lv.wall_thickness_max_es_mm": "LV maximal wall thickness, end-systole",
    "rv.edv_ml": "RV end-diastolic volume",
    "rv.esv_ml": "RV end-systolic volume",
    "rv.sv_ml": "RV stroke volume",
    "rv.edv_index_ml_m2": "RV end-diastolic volume index",
    "rv.esv_index_ml_m2": "RV end-systolic volume index",
    "rv.sv_index_ml_m2": "RV stroke volume index",
    "lge.infarct_percent": "Infarct",
    "lge.no_reflow_percent": "No-reflow",
    "t2.edema_percent": "Edema",
    "t2.salvage_index_percent": "Salvage index",
}
"""Names that do not read well from their parts."""

_UPPER = {name: name.upper() for name in ("lv", "rv", "lge", "t1", "t2", "ecv", "edv", "esv", "sv")}
_PHASES = {"ed": "end-diastolic", "es": "end-systolic"}

VENTRICLE_ROWS: tuple[tuple[str, str, str | None], ...] = (
    ("End-diastolic volume", "edv_ml", "edv_index_ml_m2"),
    ("End-systolic volume", "esv_ml", "esv_index_ml_m2"),
    ("Stroke volume", "sv_ml", "sv_index_ml_m2"),
    ("Ejection fraction", "ejection_fraction_percent", None),
)
LV_ROWS: tuple[tuple[str, str, str | None], ...] = (
    *VENTRICLE_ROWS,
    ("Mass, end-diastole", "mass_g", "mass_index_g_m2"),
    ("Cardiac output, index", "cardiac_output_l_min", "cardiac_index_l_min_m2"),
    ("Maximal wall thickness, end-diastole", "wall_thickness_max_mm", None),
    ("Maximal wall thickness, end-systole", "wall_thickness_max_es_mm", None),
    ("LV to RV volume, end-diastole", "edv_to_rv_ratio", None),
    ("LV to RV volume, end-systole", "esv_to_rv_ratio", None),
    ("Myocardium to LV volume, end-diastole", "myocardium_to_edv_ratio", None),
    ("Myocardium to LV volume, end-systole", "myocardium_to_esv_ratio", None),
)
LGE_ROWS = (
    ("LV myocardium", ("lge.myocardium_ml", "lge.myocardium_g")),
    ("Infarct, no-reflow included", ("lge.infarct_ml", "lge.infarct_g", "lge.infarct_percent")),
    ("No-reflow", ("lge.no_reflow_ml", "lge.no_reflow_g", "lge.no_reflow_percent")),
)
T2_ROWS = (("Edema, infarct included", ("t2.edema_ml", "t2.edema_g", "t2.edema_percent")),)
"""The salvage index stands below them, apart: it is for research only."""


@dataclass(frozen=True)
class Name:
    """A measurement's name for people, and its unit."""

    title: str
    unit: str


def describe(name: str) -> Name:
    """Name and unit of a measurement from its dotted name, or from words that end with the unit in brackets.

    >>> describe("rv.ejection_fraction_percent")
    Name(title='RV ejection fraction', unit='%')
    >>> describe("largest wall thickness (mm)")
    Name(title='Largest wall thickness', unit='mm')
    """
    if found := re.fullmatch(r"(.+) \(([^()]+)\)", name):
        return Name(found[1][:1].upper() + found[1][1:], found[2])
    ending = ending_of(name)
    unit = UNITS[ending] if ending else ""
    if name in TITLES:
        return Name(TITLES[name], unit)
    words = name.removesuffix(f"_{ending}").replace(".", " ").replace("_", " ").split()
    title = " ".join(_UPPER.get(word) or _PHASES.get(word) or word for word in words)
    return Name(title[:1].upper() + title[1:], unit)


def in_unit(value: float, unit: str) -> str:
    """A value with the decimals of its unit: whole ml and g, two for ratios, else one.

    >>> in_unit(141.6, "ml"), in_unit(51.24, "%")
    ('142', '51.2')
    """
    decimals = 0 if unit in ("ml", "g", "ml/m²", "g/m²", "cm", "/min", "years", "ms") and abs(value) >= 10 else 1
    if unit in ("m²", "g/ml", "ml/g", "1/s", ""):
        decimals = 2
    return f"{value:.{decimals}f}".replace("-", MINUS)


@dataclass
class Notes:
    """Footnotes in order of their first use; the same text is one note."""

    numbers: str | None = None
    texts: list[object] = field(default_factory=list)

    def mark(self, text: object) -> str:
        """The mark of a note: a letter of `numbers`, or a number."""
        if text not in self.texts:
            self.texts.append(text)
        return self._mark(self.texts.index(text))

    def listed(self) -> list[tuple[str, object]]:
        """Every note with its mark."""
        return [(self._mark(i), text) for i, text in enumerate(self.texts)]

    def _mark(self, index: int) -> str:
        return str(index + 1) if self.numbers is None or index >= len(self.numbers) else self.numbers[index]


@dataclass(frozen=True)
class ShownRange:
    """A reference range as printed: whose (where both are shown), limits, and the mark of its source."""

    whose: str
    text: str
    note: str


@dataclass(frozen=True)
class Cell:
    """A value as printed, with the warnings about it, or the mark of the note that says why there is none."""

    unit: str
    text: str | None = None
    interval: str | None = None
    missing_note: str | None = None
    reason: str | None = None
    side: str | None = None
    mark: str | None = None
    ranges: tuple[ShownRange, ...] = ()
    strip: Markup = field(default_factory=Markup)
    warned: tuple[str, ...] = ()
    z: str | None = None


@dataclass(frozen=True)
class TableRow:
    """A measurement, and its index by body surface area where it has one."""

    title: str
    value: Cell
    index: Cell | None


@dataclass(frozen=True)
class Group:
    """Rows of one ventricle, or the one reason why there are none; `left_out` names rows without a value."""

    title: str
    rows: tuple[TableRow, ...]
    reason: str | None
    left_out: tuple[str, ...] = ()


class Tables:
    """Makes the cells of one page, and gathers their footnotes."""

    def __init__(self, measurements: Measurements) -> None:
        self.measurements = measurements
        self.sources = Notes()
        self.reasons = Notes("abcdefghijklmnopqrstuvwxyz")

    def groups(self) -> tuple[Group, ...]:
        """Left and right ventricle."""
        return (self._group("Left ventricle", "lv", LV_ROWS), self._group("Right ventricle", "rv", VENTRICLE_ROWS))

    def value(self, name: str) -> float | None:
        """A measurement by its dotted name."""
        part, key = name.split(".")
        found = getattr(getattr(self.measurements, part), key)
        return None if found is None else float(found)

    def interval(self, name: str) -> str | None:
        """The interval of a measurement in words, None where it has none."""
        part, key = name.split(".")
        ends = getattr(getattr(self.measurements, part), f"{key}_interval", None)
        return " to ".join(in_unit(end, describe(name).unit) for end in ends) if ends else None

    def cell(self, name: str, with_notes: bool = True) -> Cell:
        """A value with its unit and range; `with_notes` marks sources and reasons as footnotes."""
        value, unit = self.value(name), describe(name).unit
        sex: Sex | None = self.measurements.patient.sex
        papillary = self.measurements.provenance.papillary
        ranges = ranges_for(name, sex, papillary)
        if value is None:
            reason = reason_of(self.measurements.quality.missing, name)
            return Cell(unit, missing_note=self.reasons.mark(reason) if with_notes else None, reason=reason)
        shown = tuple(
            ShownRange("" if sex else SEX_WORDS[s], str(r), self._source(r.source) if with_notes else "")
            for s, r in ranges.items()
        )
        text = in_unit(value, unit)
        rounded = float(text.replace(MINUS, "-"))
        side, words = mark(rounded, ranges) or (None, None)
        only = next(iter(ranges.values())) if len(ranges) == 1 else None
        strip = range_strip(rounded, only.low, only.high) if only else Markup("")
        warned, z = warnings_about(name, self.measurements), z_score(name, sex, value, papillary)
        return Cell(
            unit,
            text,
            self.interval(name),
            side=side,
            mark=words,
            ranges=shown,
            strip=strip,
            warned=warned,
            z=None if z is None else f"{z:+.1f}".replace("-", MINUS),
        )

    def extents(self, rows: tuple[tuple[str, tuple[str, ...]], ...]) -> list[tuple[str, list[Cell]]]:
        """Rows of volumes, masses and shares without ranges; none where nothing was measured."""
        if all(self.value(name) is None for _, names in rows for name in names):
            return []
        return [(title, [self.cell(name, with_notes=False) for name in names]) for title, names in rows]

    def no_index(self) -> str | None:
        """Why no measurement has an index by body surface area; None where one has, or nothing was measured."""
        tables = (("lv", LV_ROWS), ("rv", VENTRICLE_ROWS))
        names = [f"{part}.{index}" for part, rows in tables for _, _, index in rows if index]
        if any(self.value(name) is not None for name in names):
            return None
        return all_reasons(self.measurements.quality.missing, names)

    def _group(self, title: str, part: str, rows: tuple[tuple[str, str, str | None], ...]) -> Group:
        names = [f"{part}.{key}" for _, *keys in rows for key in keys if key]
        if all(self.value(name) is None for name in names):
            return Group(title, (), all_reasons(self.measurements.quality.missing, names))
        indexed = self.no_index() is None
        made, without = [], dict[str, list[str]]()
        for words, key, index in rows:
            if self.value(f"{part}.{key}") is None:
                reason = reason_of(self.measurements.quality.missing, f"{part}.{key}")
                without.setdefault(reason, []).append(words if words[1:2].isupper() else words[0].lower() + words[1:])
                continue
            if key == "mass_g" and self.measurements.lv.ed_frame is None:
                words = "Mass, phase unknown"
            made.append(
                TableRow(words, self.cell(f"{part}.{key}"), self.cell(f"{part}.{index}") if index and indexed else None)
            )
        left_out = tuple(f"{'; '.join(names)}: {reason}" for reason, names in without.items())
        return Group(title, tuple(made), None, left_out)

    def _source(self, source: Source) -> str:
        return self.sources.mark(source)


def reason_of(missing: Mapping[str, str], name: str) -> str:
    """Why a value is missing: the reason under its own name, else under the name of what it is part of.

    >>> reason_of({"segments": "no RV"}, "segments.3.scar_percent")
    'no RV'
    """
    parts = name.split(".")
    names = [name, f"{parts[0]}.{parts[-1]}", *(".".join(parts[:i]) for i in range(len(parts) - 1, 0, -1))]
    return next((missing[n] for n in names if n in missing), "no reason was recorded")


def all_reasons(missing: Mapping[str, str], names: list[str]) -> str:
    """The different reasons of several missing values, in one line.

    >>> all_reasons({"lv.edv_ml": "no cine", "lv.esv_ml": "no cine"}, ["lv.edv_ml", "lv.esv_ml"])
    'no cine'
    """
    return "; ".join(dict.fromkeys(reason_of(missing, name) for name in names))


def by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of everything that was not measured, gathered under their reasons."""
    gathered: dict[str, list[str]] = {}
    for name, reason in missing.items():
        gathered.setdefault(reason, []).append(name)
    return gathered
