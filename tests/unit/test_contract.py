"""The schema of measurements.json explains itself: every property says what it is, and in which unit."""

from typing import Any

import pytest

from myoscope.measure.results import Measurements

SCHEMA = Measurements.model_json_schema()
PROPERTIES = [
    pytest.param(name, one, id=f"{title}.{name}")
    for title, part in {"Measurements": SCHEMA, **SCHEMA["$defs"]}.items()
    for name, one in part["properties"].items()
]


def holds_numbers(one: dict[str, Any]) -> bool:
    return any(f"'type': '{kind}'" in str(one) for kind in ("number", "integer"))


@pytest.mark.parametrize(("name", "one"), PROPERTIES)
def test_every_property_has_a_description_and_a_unit(name: str, one: dict[str, Any]) -> None:
    assert len(one["description"]) > 5
    assert not one["description"].endswith(".")
    assert "unit" in one
    if "$ref" not in str(one):
        assert bool(one["unit"]) == holds_numbers(one), name


def test_units_are_those_of_the_names() -> None:
    lv, sheet = (SCHEMA["$defs"][part]["properties"] for part in ("LeftVentricle", "ScarSheet"))
    units = {name: lv[name]["unit"] for name in ("edv_ml", "mass_index_g_m2", "cardiac_output_l_min", "ed_frame")}
    assert units == {"edv_ml": "ml", "mass_index_g_m2": "g/m²", "cardiac_output_l_min": "l/min", "ed_frame": "1"}
    assert lv["volume_curve_ml"]["unit"] == "ml"
    assert sheet["segments_over_50_percent"]["unit"] == "1"  # a number of segments
    assert SCHEMA["$defs"]["Flag"]["properties"]["message"]["unit"] is None
