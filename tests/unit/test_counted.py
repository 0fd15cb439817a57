"""What was counted slice by slice, and the base's choice, against counts by hand."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from myoscope.io.tables import tables_of
from myoscope.labels import Structure
from myoscope.measure import measure
from myoscope.measure.results import Provenance
from myoscope.report import render
from myoscope.study import Role
from report_pages import Page, make_measurements, make_study

VOXEL = 0.008


def two_phases(ring_heart, **heart):
    """ED and ES of a heart whose base moves one slice towards the apex."""
    heart = ring_heart(**heart)
    ed, es = heart.labels(), replace(heart, cavity_mm=0.75 * heart.cavity_mm).labels()
    es[1 if heart.base_first else -2] = 0
    return np.stack([ed, es])


def choices(m):
    return {c.measurement: c for c in m.base_choices}


def codes(m):
    return {f.code: f.level for f in m.quality.flags if f.code.startswith("base_choice")}


@pytest.mark.parametrize("base_first", [True, False])
def test_slices_hold_what_the_volumes_sum(ring_heart, measure_labels, base_first):
    cine = two_phases(ring_heart, base_first=base_first)
    m = measure_labels({Role.CINE: cine}, ed_frame=0, es_frame=1)
    from_base = cine if base_first else cine[:, ::-1]
    assert [row.slice for row in m.slice_volumes] == list(range(2, 12))  # 1 is empty
    for row in m.slice_volumes:
        for part, code in (("lv", 1), ("rv", 6), ("myocardium", 2)):
            for frame, phase in enumerate(("ed", "es")):
                by_hand = VOXEL * (from_base[frame, row.slice - 1] == code).sum()
                assert getattr(row, f"{part}_{phase}_ml") == pytest.approx(by_hand)
    assert sum(row.lv_ed_ml for row in m.slice_volumes) == pytest.approx(m.lv.edv_ml)
    assert sum(row.rv_es_ml for row in m.slice_volumes) == pytest.approx(m.rv.esv_ml)
    assert [row.wall_around_ed_percent for row in m.slice_volumes] == [100] * 9 + [None]
    assert m.slice_volumes[0].wall_around_es_percent is None
    assert codes(m) == {}
    lv = choices(m)["lv.edv_ml"]
    base = VOXEL * (from_base[0, 1] == Structure.LV).sum()
    assert (lv.slice, lv.counted, lv.doubt) == (2, True, None)
    assert lv.otherwise_ml == pytest.approx(m.lv.edv_ml - base)
    assert lv.change_percent == pytest.approx(-100 * base / m.lv.edv_ml)
    fraction = 100 * (lv.otherwise_ml - m.lv.esv_ml) / lv.otherwise_ml
    assert lv.ejection_fraction_otherwise_percent == pytest.approx(fraction)


def test_a_base_drawn_in_part_is_a_warning_with_the_value_either_way(ring_heart, measure_labels):
    cine = two_phases(ring_heart)
    cine[0, 1, :, 55:][cine[0, 1, :, 55:] == Structure.LV] = Structure.MYOCARDIUM
    m = measure_labels({Role.CINE: cine}, ed_frame=0, es_frame=1)
    left, after = ((cine[0, z] == Structure.LV).sum() for z in (1, 2))
    assert left < 0.6 * after
    choice = choices(m)["lv.edv_ml"]
    assert choice.strong and f"{100 * left / after:.0f} %" in choice.doubt
    assert (abs(choice.change_percent) > 5) == ("base_choice_lv_edv" in codes(m))
    assert choice.otherwise_ml == pytest.approx(VOXEL * (cine[0, 2:] == Structure.LV).sum())


def test_an_open_ring_is_a_warning(ring_heart, measure_labels):
    cine = two_phases(ring_heart)
    wall = cine[0, 1, :48] == Structure.MYOCARDIUM
    cine[0, 1, :48][wall] = Structure.BACKGROUND
    m = measure_labels({Role.CINE: cine}, ed_frame=0, es_frame=1)
    assert m.slice_volumes[0].wall_around_ed_percent == pytest.approx(50, abs=3)
    assert codes(m) == {"base_choice_lv_edv": "warning"}
    (flag,) = (f for f in m.quality.flags if f.code == "base_choice_lv_edv")
    otherwise = choices(m)["lv.edv_ml"].otherwise_ml
    assert f"Without it {otherwise:.0f} instead of {m.lv.edv_ml:.0f} ml" in flag.message
    assert flag.message.count("\n") == 0


def test_a_base_left_out_is_estimated_by_the_next_slice(ring_heart, measure_labels):
    cine = two_phases(ring_heart)
    cine[1, 2] = 0  # two slices of 8 mm below that of ED
    cine[0, 1][cine[0, 1] == Structure.RV] = Structure.BACKGROUND
    m = measure_labels({Role.CINE: cine}, ed_frame=0, es_frame=1)
    lv, rv = choices(m)["lv.esv_ml"], choices(m)["rv.edv_ml"]
    assert (lv.slice, lv.counted, lv.strong) == (3, False, True)
    assert lv.otherwise_ml == pytest.approx(m.lv.esv_ml + VOXEL * (cine[1, 3] == Structure.LV).sum())
    assert (rv.slice, rv.counted, rv.strong) == (2, False, False)
    assert rv.otherwise_ml == pytest.approx(m.rv.edv_ml + VOXEL * (cine[0, 2] == Structure.RV).sum())
    assert codes(m) == {"base_choice_lv_esv": "warning", "base_choice_rv_edv": "info"}


def test_an_rv_whose_base_does_not_move_is_information(ring_heart, measure_labels):
    heart = ring_heart()
    cine = np.stack([heart.labels(), replace(heart, cavity_mm=16).labels()])
    m = measure_labels({Role.CINE: cine}, ed_frame=0, es_frame=1)
    assert codes(m) == {"base_choice_rv_esv": "info"}


def test_reasons_where_nothing_can_be_said(ring_heart, measure_labels):
    heart = ring_heart().labels()
    one = measure_labels({Role.CINE: heart}, ed_frame=0)
    assert {c.measurement for c in one.base_choices} == {"lv.edv_ml", "rv.edv_ml"}
    assert one.slice_volumes[0].lv_es_ml is None
    assert one.quality.missing["slice_volumes.lv_es_ml"]
    late = measure_labels({Role.LGE: heart})
    assert (late.slice_volumes, late.base_choices) == ([], [])
    assert late.quality.missing["base_choices"] == late.quality.missing["slice_volumes"] == "no cine series"
    alike = np.stack([ring_heart(rv=False).labels()[4]] * 6)
    m = measure_labels({Role.CINE: np.stack([alike, alike])}, ed_frame=0, es_frame=1)
    assert m.base_choices == [] and "alike" in m.quality.missing["base_choices"]
    assert len(m.slice_volumes) == 6


def test_the_report_shows_what_was_counted_and_the_base_either_way():
    study, labels = make_study(roles=(Role.CINE,), frames=2)
    voxels = labels[Role.CINE].voxels.copy()
    voxels[0, 0, :48][voxels[0, 0, :48] == Structure.MYOCARDIUM] = Structure.BACKGROUND
    labels = {Role.CINE: labels[Role.CINE].with_voxels(voxels)}
    made_by = Provenance(myoscope_version="0", created_utc="2026-01-01T00:00:00+00:00", series=[], conventions=[])
    m = measure(study, labels, made_by)
    page = Page(render(study, labels, m)).text
    lv = choices(m)["lv.edv_ml"]
    by_hand = [0.0225 * (voxels[0, z] == Structure.LV).sum() for z in range(10)]
    change = f"\N{MINUS SIGN}{100 * by_hand[0] / sum(by_hand):.0f}"
    assert f"{sum(by_hand[1:]):.0f} ml ({change} %)" in page
    assert lv.doubt in page
    assert f"1 {by_hand[0]:.1f} " in page
    assert f"Sum {sum(by_hand):.1f} " in page
    assert "What was counted" not in Page(render(*make_study(roles=(Role.LGE,)), make_measurements())).text


def test_slices_csv_has_what_was_counted(ring_heart, measure_labels):
    m = measure_labels({Role.CINE: two_phases(ring_heart)}, ed_frame=0, es_frame=1)
    found = list(csv.DictReader(io.StringIO(tables_of(m)["slices.csv"])))
    assert [row["slice"] for row in found] == [str(n) for n in range(2, 12)]
    assert float(found[0]["lv_ed_ml"]) == pytest.approx(m.slice_volumes[0].lv_ed_ml)
    assert found[0]["wall_thickness_ed_mm"] and not found[-1]["wall_thickness_ed_mm"]
    (row,) = csv.DictReader(io.StringIO(tables_of(m)["measurements.csv"]))
    assert row["base_choices"].startswith(f"lv.edv_ml={m.base_choices[0].otherwise_ml:.6g};")


def test_a_base_that_begins_at_end_systole_is_doubted(ring_heart, measure_labels):
    """As where a person took the base away at end-diastole alone: no heart's base moves away from its apex."""
    cine = two_phases(ring_heart, base_first=True)
    cine[0, 1:3] = 0
    m = measure_labels({Role.CINE: cine}, ed_frame=0, es_frame=1)
    lv = choices(m)["lv.edv_ml"]
    assert (lv.slice, lv.counted, lv.doubt) == (3, False, "it shows the LV at end-systole")
    assert codes(m)["base_choice_lv_edv"] == "warning"
