"""Units: every measurement's name ends with its own."""

from typing import Any

UNITS = {
    "ml_m2": "ml/m²",
    "g_m2": "g/m²",
    "l_min_m2": "l/min/m²",
    "l_min": "l/min",
    "percent": "%",
    "per_s": "1/s",
    "years": "years",
    "bpm": "/min",
    "ml": "ml",
    "mm2": "mm²",
    "mm": "mm",
    "cm": "cm",
    "kg": "kg",
    "ms": "ms",
    "m2": "m²",
    "g": "g",
}
"""Unit as printed, of each ending of a measurement's name; longer endings stand first."""


def ending_of(name: str) -> str | None:
    """The ending that is a name's unit, None where it has none; an interval has that of its measurement.

    >>> ending_of("lv.edv_index_ml_m2"), ending_of("lv.ed_frame")
    ('ml_m2', None)
    """
    name = name.removesuffix("_interval")
    return next((ending for ending in UNITS if name.endswith("_" + ending)), None)


def with_units(schema: dict[str, Any]) -> None:
    """Give every property of a JSON Schema its `unit`, unless it has one: "1" for plain numbers, null for all else."""
    for name, one in schema["properties"].items():
        ending = ending_of(name)
        one.setdefault("unit", UNITS[ending] if ending else "1" if _is_number(one) else None)


def _is_number(one: Any) -> bool:
    """Whether a property's values are numbers, or lists of them, or dictionaries."""
    parts = [*one.get("anyOf", ()), one.get("items"), one.get("additionalProperties"), *one.get("prefixItems", ())]
    return one.get("type") in ("integer", "number") or any(
        isinstance(part, dict) and _is_number(part) for part in parts
    )
