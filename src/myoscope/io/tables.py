"""Measurements as tables: a row a study with columns that never change, a row a segment, a row a slice.

Columns are the keys of `measurements.json`, dotted, as its schema lists them. What has no fixed number of keys takes
one column: flags as `level:code:series`, reasons and other lists as `name=value`, all joined with semicolons.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from myoscope.diagnose.words import DIAGNOSES
from myoscope.measure.anatomy import NAMES
from myoscope.measure.results import Measurements

_CLASSES = ("diagnosis.probabilities", "diagnosis.prevalence")
"""Dictionaries with a column for each class that there is."""


_APART = ("slices", "slice_volumes", "previous")
"""No columns of a study's row: as many as the stack has slices, in a table of their own; another exam."""

_NUMBERS = ("patient.", "lv.", "rv.", "lge.", "t2.", "maps.")
FIRST = {
    "lv.ejection_fraction_percent": ("LV ejection fraction", "%"),
    "lv.edv_ml": ("LV end-diastolic volume", "ml"),
    "lv.mass_g": ("LV mass", "g"),
    "rv.ejection_fraction_percent": ("RV ejection fraction", "%"),
    "lge.infarct_percent": ("infarct", "% of the LV myocardium"),
    "lge.no_reflow_percent": ("no-reflow", "% of the LV myocardium"),
    "t2.edema_percent": ("edema, infarct included", "% of the LV myocardium"),
}
"""What a reader looks for first, in words, and its unit."""


class Row(NamedTuple):
    """A number, its name and its unit; "1" is the unit of ratios and counts."""

    name: str
    value: float | None
    unit: str


def number_rows(measurements: Measurements) -> list[Row]:
    """Every single number but those of segments and slices, by dotted name; None where it was not measured."""
    return [
        Row(name, value, one["unit"])
        for name, one, value in _walk(measurements.model_dump(mode="json"))
        if name.startswith(_NUMBERS) and ".segments." not in name and _is_number(one)
    ]


@lru_cache(maxsize=1)
def columns() -> dict[str, str | None]:
    """The columns of a study's row, and their units; None: no number."""
    return {name: one["unit"] for name, one, _ in _walk({})}


def described() -> dict[str, tuple[str | None, str, bool]]:
    """The columns of a study's row: unit, what it is in words, and whether it is a single number."""
    return {name: (one["unit"], one.get("description", ""), _is_number(one)) for name, one, _ in _walk({})}


def row_of(measurements: Mapping[str, Any]) -> dict[str, Any]:
    """A study's row, from what `measurements.json` holds; None where something is missing."""
    return {name: value for name, _, value in _walk(measurements)}


def segment_rows(measurements: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each of the 17 segments, with what maps say of it in columns `map_t1_median_ms` and so on."""
    own = {one["segment"]: one for one in measurements.get("segments", ())}
    maps = {
        (part, one["segment"]): one for part, found in measurements.get("maps", {}).items() for one in found["segments"]
    }
    rows = []
    for number in range(1, len(NAMES) + 1):
        row: dict[str, Any] = {"study_id": measurements["patient"]["study_id"]}
        found = own.get(number, {})
        row |= {name: _in_one(name, found.get(name)) for name in _fields("Segment")} | {"segment": number}
        for part, one in _fields("Maps").items():
            kind = _kind(_fields(_kind(one) or "")["segments"]["items"]) or ""
            names = [name for name in _fields(kind) if name not in row]
            row |= {f"map_{part}_{name}": maps.get((part, number), {}).get(name) for name in names}
        rows.append(row)
    return rows


def slice_rows(measurements: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each slice of the cine of which something was counted or measured, base first."""
    parts = [{one["slice"]: one for one in measurements.get(part, ())} for part in ("slices", "slice_volumes")]
    study = {"study_id": measurements["patient"]["study_id"]}
    return [study | parts[0].get(n, {}) | parts[1].get(n, {}) for n in sorted({*parts[0], *parts[1]})]


def as_csv(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as CSV; what is None is empty, and no text can be taken for a formula."""
    names = list(names)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values: Sequence[Any] = [row.get(name) for name in names]
        writer.writerow(["" if value is None else harmless(value) for value in values])
    return text.getvalue()


def tables_of(measurements: Measurements) -> dict[str, str]:
    """`measurements.csv`, `segments.csv` and `slices.csv`, by name; the same columns for every study."""
    measured = measurements.model_dump(mode="json")
    segments, slices = segment_rows(measured), slice_rows(measured)
    return {
        "measurements.csv": as_csv(columns(), [row_of(measured)]),
        "segments.csv": as_csv(segments[0], segments),
        "slices.csv": as_csv(["study_id", *_fields("SliceWall"), *list(_fields("SliceVolume"))[1:]], slices),
    }


def harmless(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return Measurements.model_json_schema()


def _fields(kind: str) -> dict[str, Any]:
    return _schema()["$defs"][kind]["properties"]


def _is_number(one: Mapping[str, Any]) -> bool:
    return any(part.get("type") in ("integer", "number") for part in (one, *one.get("anyOf", ())))


def _walk(value: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Name, schema and value of every column."""
    for part, one in _schema()["properties"].items():
        yield from _column(part, one, value.get(part))


def _column(name: str, one: Mapping[str, Any], value: Any) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    if name in _APART:
        return
        return
    kind, items = _kind(one), _kind(one.get("items") or {})
    if kind:
        for key, inner in _fields(kind).items():
            yield from _column(f"{name}.{key}", inner, (value or {}).get(key))
    elif items and "segment" in _fields(items):
        found = {row["segment"]: row for row in value or ()}
        for number in range(1, len(NAMES) + 1):
            for key in _fields(items):
                if key not in ("segment", "name", "territory"):
                    yield f"{name}.{number}.{key}", _fields(items)[key], found.get(number, {}).get(key)
    elif name in _CLASSES:
        for key in DIAGNOSES:
            yield f"{name}.{key}", one, (value or {}).get(key)
    else:
        yield name, one, _in_one(name, value)


def _kind(one: Mapping[str, Any]) -> str | None:
    """The model that a property holds, None for plain values."""
    refs = [part["$ref"] for part in (one, *one.get("anyOf", ())) if "$ref" in part]
    return refs[0].rpartition("/")[2] if refs else None


def _in_one(name: str, value: Any) -> Any:
    """A list or a dictionary in one cell."""
    if name in _SHORT and value is not None:
        return ";".join(_SHORT[name](value))
    if isinstance(value, Mapping):
        return ";".join(f"{key}={_text(item)}" for key, item in value.items())
    return ";".join(map(_text, value)) if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace(";", ",")


_SHORT: dict[str, Callable[[Any], list[str]]] = {
    "diagnosis.evidence": lambda found: [f"{_text(one['measurement'])}={_text(one['weight'])}" for one in found],
    "diagnosis.by_series": lambda found: [f"{role}={_text(one['prediction'])}" for role, one in found.items()],
    "quality.flags": lambda found: [f"{one['level']}:{one['code']}:{one['series'] or 'study'}" for one in found],
    "quality.confidence": lambda found: [
        f"{role}.{name}={_text(share)}" for role, shares in found.items() for name, share in shares.items()
    ],
    "base_choices": lambda found: [f"{one['measurement']}={_text(one['otherwise_ml'])}" for one in found],
    "provenance.series": lambda found: [f"{one['role']}={_text(one['labels_from'])}" for one in found],
}
"""How lists of several facts are put into one cell."""
