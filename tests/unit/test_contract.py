"""The schema of measurements.json explains itself, and the tables have its keys, the same for every study."""

import csv
from typing import Any

import pytest

from myoscope.analysis import judge
from myoscope.datasets.phantom import KEPT_ASIDE, phantom_case
from myoscope.io.tables import columns, row_of, segment_rows, tables_of
from myoscope.measure.results import Flag, Measurements, Quality
from myoscope.study import Role

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


# --- tables ---


@pytest.fixture(scope="module")
def written() -> dict[str, dict[str, list[dict[str, str]]]]:
    """The tables of a whole study and of one whose LGE alone was labelled, by name."""
    case = phantom_case(1001, KEPT_ASIDE, frames=4)
    found = {
        "whole": judge(case.study, case.labels, {}),
        "lge": judge(case.study, {Role.LGE: case.labels[Role.LGE]}, {}),
    }
    return {
        name: {file: list(csv.DictReader(text.splitlines())) for file, text in tables_of(one.measurements).items()}
        for name, one in found.items()
    }


def test_the_columns_are_the_same_for_every_study(written: Any) -> None:
    whole, lge = (written[name]["measurements.csv"][0] for name in ("whole", "lge"))
    assert list(whole) == list(lge) == list(columns())
    assert whole["lv.edv_ml"] and not lge["lv.edv_ml"]
    assert lge["segments.7.scar_percent"] == whole["segments.7.scar_percent"] != ""
    assert "lge.scar_sheet.sd_2_5.core_g" in whole and "maps.t1.segments.3.median_ms" in whole
    assert whole["diagnosis.probabilities.MINF"] and "diagnosis.probabilities.pathological" in whole


def test_a_list_of_a_segment_takes_one_cell() -> None:
    segment = {"segment": 3, "transmurality_grade_interval": ["0", "1-25"]}
    rows = segment_rows({"patient": {"study_id": "x"}, "segments": [segment]})
    assert rows[2]["transmurality_grade_interval"] == "0;1-25" and rows[3]["transmurality_grade_interval"] is None


def test_flags_and_reasons_have_a_column_each(written: Any) -> None:
    row = written["lge"]["measurements.csv"][0]
    reasons = dict(one.split("=", 1) for one in row["quality.missing"].split(";"))
    assert reasons["lv.edv_ml"] == "cine series not segmented"
    assert [name for name in row if name.startswith("quality.")] == [
        f"quality.{n}" for n in ("flags", "missing", "confidence")
    ]
    flag = Flag(code="few_slices", level="warning", series="lge", message="Two; no more.")
    quality = Quality(flags=[flag, flag.model_copy(update={"series": None})])
    assert (
        row_of({"quality": quality.model_dump()})["quality.flags"] == "warning:few_slices:lge;warning:few_slices:study"
    )


def test_segments_and_slices_have_a_row_each(written: Any) -> None:
    wide, rows = (written["whole"][f"{name}.csv"] for name in ("measurements", "segments"))
    assert [row["segment"] for row in rows] == [str(n) for n in range(1, 18)]
    assert all(row["scar_percent"] == wide[0][f"segments.{row['segment']}.scar_percent"] for row in rows)
    assert rows[0]["name"] == "basal anterior" and rows[0]["map_t1_median_ms"] == ""
    assert len(written["whole"]["slices.csv"]) > 2 and not written["lge"]["slices.csv"]
