from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.anatomy import (
    NAMES,
    TERRITORIES,
    UPRIGHT_INSERTION,
    circular_weighted_median,
    contact_start,
    find_anatomy,
    not_short_axis,
    ring_levels,
)
from myoscope.measure.pattern import Found
from myoscope.measure.segments import WallScar, segment_rows, segment_scar, segment_thickness_mm
from myoscope.study import Role

SPACING = (8.0, 1.0, 1.0)
LEVELS = (range(0, 3), range(3, 6), range(6, 9))
CENTRES = [
    *((LEVELS[0], 60 * i + 30, n) for i, n in enumerate((2, 3, 4, 5, 6, 1))),
    *((LEVELS[1], 60 * i + 30, n) for i, n in enumerate((8, 9, 10, 11, 12, 7))),
    *((LEVELS[2], 90 * i + 60, n) for i, n in enumerate((14, 15, 16, 13))),
]
"""Slices, angle from the RV insertion, and the segment that lies there."""


def test_names_and_territories():
    assert NAMES[1] == "basal anterior"
    assert NAMES[9] == "mid inferoseptal"
    assert NAMES[16] == "apical lateral"
    assert [TERRITORIES[n] for n in (1, 2, 3, 6, 8, 10, 14, 15, 16, 17)] == [
        *("LAD", "LAD", "RCA", "LCX", "LAD", "RCA", "LAD", "RCA", "LCX", "LAD")
    ]


@pytest.mark.parametrize(("slices", "angle", "number"), CENTRES)
@pytest.mark.parametrize("insertion", [55.0, 120.0, 185.0])
def test_scar_falls_into_its_segment(ring_heart, slices, angle, number, insertion):
    heart = ring_heart(insertion=insertion, scar=(slices, (angle - 24, angle + 24), (0, 0.6)))
    labels = heart.labels()
    scar = segment_scar(find_anatomy(labels, SPACING))
    assert scar[number].percent > 5
    assert {n for n in range(1, 17) if scar[n].percent > 1} == {number}
    assert scar[number].depth_percent == pytest.approx(60, abs=6)


def test_septum_lies_at_the_rv_and_anterior_is_up(ring_heart):
    where = find_anatomy(ring_heart().labels(), SPACING)
    assert np.degrees(where.insertion) == pytest.approx(120, abs=4)
    assert where.from_rv
    for z, (up, left) in {1: (1, (2, 3)), 5: (7, (8, 9)), 9: (13, (14,))}.items():
        assert where.codes[z, :48, 60].max() == up
        assert where.codes[z, 49, :58].max() in left
    assert set(np.unique(where.codes[10])) == {0, 17}


@pytest.mark.parametrize("depth", [(0.0, "0"), (0.2, "1-25"), (0.4, "26-50"), (0.65, "51-75"), (1.0, "76-100")])
def test_grade(ring_heart, measure_labels, depth):
    labels = ring_heart(scar=(LEVELS[1], (0, 60), (0, depth[0]))).labels()
    rows = measure_labels({Role.LGE: labels}).segments
    assert rows[7].transmurality_grade == depth[1]
    assert rows[7].scar_percent == pytest.approx(100 * depth[0], abs=12)
    assert rows[9].transmurality_grade == "0"


def test_scar_in_the_tip(ring_heart, measure_labels):
    labels = ring_heart(scar=(range(9, 10), (0, 180), (0, 1))).labels()
    tip = measure_labels({Role.LGE: labels}).segments[16]
    assert tip.scar_percent == pytest.approx(50, abs=6)
    assert tip.transmurality_grade in ("26-50", "51-75")
    assert tip.scar_depth_percent is None


def test_a_narrow_scar_through_the_wall_is_deep_and_of_low_grade(ring_heart, measure_labels):
    labels = ring_heart(scar=(LEVELS[1], (28, 34), (0, 1))).labels()
    m = measure_labels({Role.LGE: labels})
    row = m.segments[7]
    assert row.scar_percent == pytest.approx(10, abs=3)  # 6 of 60 degrees
    assert row.transmurality_grade == "1-25"
    assert row.scar_depth_percent > 65  # rays at its sides run through less of it
    assert m.segments[9].scar_percent == 0
    assert m.segments[9].scar_depth_percent is None
    assert "no scar" in m.quality.missing["segments.10.scar_depth_percent"]


def test_without_tip_the_apex_is_missing(ring_heart, measure_labels):
    m = measure_labels({Role.LGE: ring_heart(tip=False).labels()})
    assert m.segments[16].scar_percent is None
    assert "tip" in m.quality.missing["segments.17"]


def test_thickness_by_segment_and_thickening(ring_heart, measure_labels):
    ed, es = ring_heart(cavity_mm=22, wall_mm=8).labels(), ring_heart(cavity_mm=16, wall_mm=12).labels()
    m = measure_labels({Role.CINE: np.stack([ed, es])})
    for row in m.segments[:16]:
        assert row.wall_thickness_ed_mm == pytest.approx(8, abs=0.5)
        assert row.wall_thickness_es_mm == pytest.approx(12, abs=0.5)
        assert row.wall_thickening_percent == pytest.approx(50, abs=12)
    assert m.lv.wall_thickness_max_mm == pytest.approx(8, abs=1)
    assert m.lv.wall_thickness_max_es_mm == pytest.approx(12, abs=1)


@pytest.mark.parametrize("base_first", [True, False])
def test_thickening_compares_the_same_slices(ring_heart, measure_labels, base_first):
    """One heart twice, thick at the base, of which end-systole lacks rings: nothing thickens."""
    thick, thin = (ring_heart(wall_mm=mm).labels() for mm in (14, 7))
    ed = np.concatenate([thick[:4], thin[4:]])
    for missing in (2, 3):
        es = ed.copy()
        es[1 : 1 + missing] = 0
        pair = np.stack([ed, es]) if base_first else np.stack([ed[::-1], es[::-1]])
        m = measure_labels({Role.CINE: pair}, ed_frame=0, es_frame=1)
        thickened = [row.wall_thickening_percent for row in m.segments[:16]]
        assert all(row.wall_thickness_es_mm for row in m.segments[:16])
        if missing == 2:
            assert thickened == pytest.approx([0.0] * 16)
        else:
            assert thickened[:6] == [None] * 6 and thickened[6:] == pytest.approx([0.0] * 10)
            assert "end-diastole and at end-systole" in m.quality.missing["segments.1.wall_thickening_percent"]


@pytest.mark.parametrize("base_first", [True, False])
def test_thickness_by_slice_from_the_base(ring_heart, measure_labels, base_first):
    ed = ring_heart(cavity_mm=22, wall_mm=8, base_first=base_first).labels()
    es = ring_heart(cavity_mm=16, wall_mm=12, base_first=base_first).labels()
    es[9 if base_first else 1] = 0
    m = measure_labels({Role.CINE: np.stack([ed, es])})
    assert [row.slice for row in m.slices] == list(range(2, 11))
    for row in m.slices:
        assert row.wall_thickness_ed_mm == pytest.approx(8, abs=0.5)
        assert row.wall_thickness_ed_mm <= row.wall_thickness_ed_max_mm < 9
        assert row.wall_thickness_ed_sd_mm < 0.5
        z = row.slice - 1 if base_first else 11 - row.slice
        assert row.lv_area_ed_mm2 == (ed[z] == Structure.LV).sum()
        assert row.rv_area_ed_mm2 == (ed[z] == Structure.RV).sum()
    for row in m.slices[:-1]:
        assert row.wall_thickness_es_mm == pytest.approx(12, abs=0.5)
        assert row.wall_thickening_percent == pytest.approx(50, abs=12)
    assert m.slices[-1].wall_thickness_es_mm is None
    for name in ("wall_thickness_es_sd_mm", "wall_thickening_percent"):
        assert "end-systole" in m.quality.missing[f"slices.10.{name}"]


def test_slices_of_one_frame_lack_end_systole_and_without_cine_all(ring_heart, measure_labels):
    m = measure_labels({Role.CINE: ring_heart().labels()}, ed_frame=0)
    assert m.slices[0].wall_thickness_ed_mm and m.slices[0].wall_thickening_percent is None
    assert [n for n in m.quality.missing if n.startswith("slices.")] == [
        *(f"slices.wall_thickness_es_{e}" for e in ("mm", "max_mm", "sd_mm")),
        *(f"slices.{name}_area_es_mm2" for name in ("lv", "rv")),
        "slices.wall_thickening_percent",
    ]
    m = measure_labels({Role.LGE: ring_heart().labels()})
    assert m.slices == [] and m.quality.missing["slices"] == "no cine series"


def test_no_rv_and_no_coordinates(ring_heart, measure_labels):
    m = measure_labels({Role.CINE: ring_heart(rv=False).labels()[None].repeat(2, 0)}, ed_frame=0, es_frame=1)
    assert all(row.wall_thickness_ed_mm is None for row in m.segments)
    assert "right ventricle" in m.quality.missing["segments"]
    assert "no_segments" in {flag.code for flag in m.quality.flags}


def test_no_rv_but_measured_coordinates(ring_heart, measure_labels):
    turn = np.linalg.qr(np.array([[1, 0.4, 0.3], [-0.5, 1, 0.2], [0.1, -0.6, 1]]))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.0, 1.0, 8.0]
    labels = ring_heart(rv=False, insertion=120, scar=(LEVELS[0], (-40, -20), (0, 1))).labels()
    m = measure_labels({Role.LGE: labels}, affine=affine)
    assert m.segments[0].scar_percent > 10
    assert "segments_by_convention" in {flag.code for flag in m.quality.flags}


def test_end_systole_without_rv_starts_where_end_diastole_does(ring_heart, measure_labels):
    ed, es = ring_heart(insertion=70).labels(), ring_heart(insertion=70, cavity_mm=16, rv=False).labels()
    both = [np.stack([ed, es]), np.stack([ring_heart(insertion=70, rv=False).labels(), es])]
    assert all(row.wall_thickness_es_mm for row in measure_labels({Role.CINE: both[0]}).segments[:16])
    assert not any(row.wall_thickness_es_mm for row in measure_labels({Role.CINE: both[1]}).segments)


@pytest.mark.parametrize("rings", [1, 2])
def test_too_few_rings(ring_heart, measure_labels, rings):
    m = measure_labels({Role.LGE: ring_heart(rings=rings).labels()[1:]})
    assert "full ring" in m.quality.missing["segments"]


def test_open_ring_is_left_out(ring_heart):
    labels = ring_heart().labels()
    labels[1, :48, 60:][labels[1, :48, 60:] == 2] = 0
    where = find_anatomy(labels, SPACING)
    assert 1 not in where.full
    assert not where.codes[1].any()


def test_ring_levels():
    assert list(ring_levels([0, 1, 2], base_last=True).values()) == [2, 1, 0]
    assert list(ring_levels(list(range(7)), base_last=False).values()) == [0, 0, 1, 1, 1, 2, 2]
    assert list(ring_levels([0, 1, 4, 5], base_last=False).values()) == [0, 0, 2, 2]


def test_contact_bridges_gaps_and_wraps_round():
    angles = np.arange(360)
    contact = (angles >= 330) | (angles < 80)
    contact[10:20] = False
    contact[200:205] = True
    start, length = contact_start(contact)
    assert round(np.degrees(start)) == 330
    assert length == 110
    assert contact_start(angles < 10) is None
    assert contact_start(angles >= 0) is None


def test_the_median_of_insertions_does_not_depend_on_their_order():
    """Of an even number of rings two angles may lie equally far from the others, and sums differ in their last bit."""
    angles, weights = np.array([0.3, 0.4, 0.5, 0.6]), np.array([111.0, 113.0, 113.0, 111.0])
    orders = [list(order) for order in permutations(range(4))]
    assert {circular_weighted_median(angles[order], weights[order]) for order in orders} == {0.4}


@settings(deadline=None, max_examples=20)
@given(
    st.floats(0, 359), st.integers(3, 8), st.floats(0, 359), st.floats(10, 200), st.floats(0.1, 1), st.floats(10, 20)
)
def test_properties_of_segments(ring_heart, insertion, rings, start, width, depth, cavity):
    scar = (range(rings), (start, start + width), (0.0, depth))
    labels = ring_heart(
        insertion=insertion, rings=rings, scar=scar, cavity_mm=cavity, shape=(84, 84), centre_mm=(41, 43)
    ).labels()
    where = find_anatomy(labels, SPACING)
    values = segment_scar(where)
    wall = np.isin(labels, LV_WALL)
    areas = np.bincount(where.codes[wall], minlength=18)
    assert areas[0] == 0
    assert areas.sum() == wall.sum()
    total = sum(values[n].percent * areas[n] for n in NAMES) / 100
    assert total == pytest.approx(np.isin(labels, SCAR).sum())
    assert all(0 <= value.percent <= 100 for value in values.values())
    depths = [values[n].depth_percent for n in range(1, 17)]
    assert all(isinstance(d, str) or 0 < d <= 100 for d in depths)

    flipped = find_anatomy(labels[::-1], SPACING)
    assert (flipped.codes[::-1] == where.codes).all()
    assert segment_thickness_mm(flipped) == pytest.approx(segment_thickness_mm(where), abs=1e-9)

    turned = find_anatomy(np.rot90(labels, axes=(1, 2)), SPACING)
    agree = np.rot90(turned.codes, -1, axes=(1, 2)) == where.codes
    assert agree[wall].mean() > 0.93


def test_upright_convention_is_segment_one_up():
    assert np.degrees(UPRIGHT_INSERTION) == pytest.approx(120)


def test_a_segment_without_values_gives_its_own_reasons() -> None:
    """Not the reason of what is missing everywhere: that stands under the value's own name."""
    numbers, none = dict.fromkeys(range(1, 17), 8.0), dict.fromkeys(range(1, 18), "no T2")
    wall = numbers | {17: "no cavity in the tip"}
    seen = WallScar(5.0, 5.0, Found("endocardial"))
    scar = {n: seen if n < 17 else WallScar.none("no slice of the tip") for n in range(1, 18)}
    _, missing = segment_rows(wall, wall, wall, scar, none, {"1-25": ["0", "1-25"]})
    assert missing == {"segments.edema_percent": "no T2", "segments.17": "no cavity in the tip; no slice of the tip"}


def _opened(labels: np.ndarray, slices: slice) -> np.ndarray:
    """The wall cut open above, as mitral valve or outflow tract do in a long axis."""
    cut = labels.copy()
    half = cut[slices, :48]
    half[np.isin(half, LV_WALL)] = 0
    return cut


def test_a_wall_open_in_all_neighbours_is_no_short_axis(ring_heart):
    labels = ring_heart().labels()
    assert not_short_axis([find_anatomy(labels, SPACING)]) is None
    beyond = np.concatenate([np.zeros((12, *labels.shape[1:]), np.uint8), labels])
    assert not_short_axis([find_anatomy(beyond, SPACING)]) is None  # a stack that runs far beyond the heart
    assert not_short_axis([find_anatomy(_opened(labels, slice(4, None)), SPACING)]) is None  # three closed: 1, 2, 3
    two = _opened(labels, slice(3, None))
    assert "3 neighbouring slices" in not_short_axis([find_anatomy(two, SPACING)])
    assert not_short_axis([find_anatomy(two, SPACING), find_anatomy(labels, SPACING)]) is None  # closed at end-systole
    for few, words in ((1, "its slice"), (2, "both of its slices")):
        assert not_short_axis([find_anatomy(labels[3 : 3 + few], SPACING)]) is None
        assert words in not_short_axis([find_anatomy(_opened(labels[3 : 3 + few], slice(None)), SPACING)])
    assert not_short_axis([find_anatomy(np.where(labels == Structure.LV, labels, 0), SPACING)]) is None  # no wall drawn
    assert not_short_axis([find_anatomy(np.zeros_like(labels), SPACING)]) is None
    assert not_short_axis([find_anatomy(labels[-3:], SPACING)]) is None  # two rings and the tip


@pytest.mark.parametrize("role", [Role.CINE, Role.LGE, Role.T2])
def test_nothing_is_measured_where_it_is_no_short_axis(ring_heart, measure_labels, role):
    labels = _opened(ring_heart().labels(), slice(None))
    m = measure_labels({role: np.stack([labels, labels]) if role is Role.CINE else labels})
    parts = {**m.lv.model_dump(), **m.rv.model_dump(), **m.lge.model_dump(), **m.t2.model_dump()}
    assert set(parts.values()) == {None} and not m.slices
    assert all(row.wall_thickness_ed_mm is None and row.scar_percent is None for row in m.segments)
    assert [(f.code, f.level, f.series) for f in m.quality.flags] == [("not_short_axis", "warning", role)]
    name = {Role.CINE: "lv.edv_ml", Role.LGE: "lge.infarct_percent", Role.T2: "t2.edema_ml"}[role]
    assert "does not look like a short axis" in m.quality.missing[name]
