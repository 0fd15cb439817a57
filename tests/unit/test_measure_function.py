import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from myoscope.errors import MeasurementError
from myoscope.labels import LV_WALL, Structure
from myoscope.measure.function import Phases, find_phases, heart_rate_bpm, label_volume_ml
from myoscope.study import Patient, Role

LABELS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=5), elements=st.integers(0, 6))
SPACING = st.tuples(*[st.floats(0.5, 15)] * 3)


def test_volume_counts_voxels():
    labels = np.zeros((2, 3, 4, 5), np.uint8)
    labels[0, 1, 1:3, 1:4] = Structure.LV
    labels[1, 0, 0, 0] = Structure.LV
    assert label_volume_ml(labels, [Structure.LV], (10.0, 1.5, 2.0)).tolist() == [6 * 30 / 1000, 30 / 1000]
    assert label_volume_ml(labels, [Structure.RV], (10.0, 1.5, 2.0)).tolist() == [0.0, 0.0]


def test_volume_is_the_same_with_slices_half_as_far_apart(ring_heart):
    labels = ring_heart().labels()[None]
    whole = label_volume_ml(labels, LV_WALL, (8.0, 1.0, 1.0))
    halved = label_volume_ml(labels.repeat(2, axis=1), LV_WALL, (4.0, 1.0, 1.0))
    assert halved == pytest.approx(whole)


@pytest.mark.parametrize(
    ("labels", "spacing"),
    [
        (np.zeros((2, 3, 4), np.uint8), (1.0, 1.0, 1.0)),
        (np.zeros((1, 2, 3, 4)), (1.0, 1.0, 1.0)),
        (np.zeros((1, 2, 3, 4), np.uint8), (1.0, 0.0, 1.0)),
        (np.zeros((1, 2, 3, 4), np.uint8), (1.0, np.nan, 1.0)),
    ],
)
def test_volume_refuses(labels, spacing):
    with pytest.raises(MeasurementError):
        label_volume_ml(labels, [Structure.LV], spacing)


@settings(deadline=None, max_examples=30)
@given(LABELS, SPACING, st.floats(0.2, 5))
def test_volume_scales_with_spacing_and_ignores_the_view(labels, spacing, factor):
    volume = label_volume_ml(labels, LV_WALL, spacing)
    z, y, x = spacing
    assert label_volume_ml(labels, LV_WALL, (z * factor, y, x)) == pytest.approx(volume * factor)
    assert label_volume_ml(np.rot90(labels, axes=(2, 3)), LV_WALL, (z, x, y)) == pytest.approx(volume)
    assert label_volume_ml(labels[:, ::-1], LV_WALL, spacing) == pytest.approx(volume)


def test_phases_survive_one_bad_frame():
    curve = 100 + 40 * np.cos(np.linspace(0, 2 * np.pi, 20, endpoint=False))
    assert find_phases(curve) == Phases(0, 10)
    curve[5] = 10.0
    assert find_phases(curve) == Phases(0, 10)


def test_phases_skip_frames_without_ventricle():
    assert find_phases(np.array([100.0, 0.0, 60.0, 80.0])) == Phases(0, 2)
    assert isinstance(find_phases(np.array([100.0, 0.0])).es, str)
    assert isinstance(find_phases(np.zeros(5)).ed, str)


def test_phases_as_given():
    assert find_phases(np.array([1.0, 2.0, 3.0]), 1, 0) == Phases(1, 0)
    assert find_phases(np.array([3.0]), ed_frame=0).ed == 0
    assert isinstance(find_phases(np.array([3.0, 3.0]), 1, 1).es, str)
    with pytest.raises(MeasurementError, match="found 3"):
        find_phases(np.array([1.0, 2.0, 3.0]), es_frame=3)


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(float, st.integers(2, 30), elements=st.floats(1, 400)), st.integers(0, 29))
def test_phases_turn_with_the_cycle(curve, by):
    phases = find_phases(curve)
    turned = find_phases(np.roll(curve, by))
    assert 0 <= phases.ed < len(curve)
    if isinstance(phases.es, int) and isinstance(turned.es, int) and len(np.unique(curve)) == len(curve):
        chosen = (lambda c, f: np.median(c.take([f - 1, f, f + 1], mode="wrap"))) if len(curve) >= 8 else np.take
        assert chosen(curve, phases.es) == chosen(np.roll(curve, by), turned.es)


def test_heart_rate():
    assert heart_rate_bpm(71.0, 25, 10.0) == 71.0
    assert isinstance(heart_rate_bpm(None, 25, 1.0), str)
    assert isinstance(heart_rate_bpm(None, 4, 200.0), str)


def _beat(ring_heart, frames=10):
    radii = 18 + 4 * np.cos(np.linspace(0, 2 * np.pi, frames, endpoint=False))
    return np.stack([ring_heart(cavity_mm=r).labels() for r in radii])


def test_whole_cine(ring_heart, measure_labels):
    cine = _beat(ring_heart)
    patient = Patient(height_cm=180, weight_kg=80)
    m = measure_labels({Role.CINE: cine}, patient=patient, frame_time_ms=100.0)
    voxel = 0.008
    edv, esv = ((cine[frame] == Structure.LV).sum() * voxel for frame in (0, 5))
    assert (m.lv.ed_frame, m.lv.es_frame) == (0, 5)
    assert m.lv.edv_ml == pytest.approx(edv)
    assert m.lv.ejection_fraction_percent == pytest.approx(100 * (edv - esv) / edv)
    assert m.lv.cardiac_output_l_min == pytest.approx((edv - esv) * 60 / 1000)
    assert m.lv.cardiac_index_l_min_m2 == pytest.approx((edv - esv) * 30 / 1000)
    assert m.lv.mass_g == pytest.approx(1.05 * (cine[0] == Structure.MYOCARDIUM).sum() * voxel)
    assert m.lv.sv_index_ml_m2 == pytest.approx(m.lv.sv_ml / 2)
    assert len(m.lv.volume_curve_ml) == len(m.rv.volume_curve_ml) == 10
    assert m.rv.edv_ml == pytest.approx((cine[0] == Structure.RV).sum() * voxel)
    missing = [name for name in m.quality.missing if name[:3] in ("lv.", "rv.")]
    assert [name for name in missing if not name.endswith("_interval")] == []  # of labels that no network drew
    wall_ed, wall_es = ((cine[frame] == Structure.MYOCARDIUM).sum() * voxel for frame in (0, 5))
    assert (m.lv.myocardium_ed_ml, m.lv.myocardium_es_ml) == pytest.approx((wall_ed, wall_es))
    assert (m.lv.myocardium_to_edv_ratio, m.lv.myocardium_to_esv_ratio) == pytest.approx((wall_ed / edv, wall_es / esv))
    assert (m.lv.edv_to_rv_ratio, m.lv.esv_to_rv_ratio) == pytest.approx((edv / m.rv.edv_ml, esv / m.rv.esv_ml))
    assert m.patient.bsa_dubois_m2 == pytest.approx(1.996, abs=1e-3)


def test_two_frames_in_either_order(ring_heart, measure_labels):
    cine = _beat(ring_heart, 2)
    there, back = (measure_labels({Role.CINE: c}) for c in (cine, cine[::-1]))
    assert (back.lv.ed_frame, back.lv.es_frame) == (1, 0)
    assert back.lv.model_dump(exclude={"ed_frame", "es_frame"}) == there.lv.model_dump(exclude={"ed_frame", "es_frame"})
    assert back.segments == there.segments


def test_one_frame_gives_mass_only(ring_heart, measure_labels):
    heart = ring_heart().labels()
    for role in (Role.CINE, Role.BSSFP):
        m = measure_labels({role: heart}, patient=Patient(height_cm=180, weight_kg=80))
        assert m.lv.mass_index_g_m2 == pytest.approx(1.05 * (heart == Structure.MYOCARDIUM).sum() * 0.008 / 2)
        assert m.lv.edv_ml is None
        assert m.quality.missing["lv.ejection_fraction_percent"]
    assert measure_labels({Role.CINE: heart}, ed_frame=0).lv.edv_ml


def test_without_right_ventricle_its_ratios_have_a_reason(ring_heart, measure_labels):
    m = measure_labels({Role.CINE: np.stack([ring_heart(rv=False, cavity_mm=r).labels() for r in (22, 16)])})
    assert m.lv.edv_to_rv_ratio is None
    assert "right ventricle" in m.quality.missing["lv.edv_to_rv_ratio"]
    assert m.lv.myocardium_to_edv_ratio
