from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from myoscope.errors import MeasurementError
from myoscope.labels import Structure
from myoscope.measure import measure
from myoscope.measure.anatomy import find_anatomy
from myoscope.measure.function import Phases
from myoscope.measure.quality import label_flags, phase_flags
from myoscope.measure.results import Provenance
from myoscope.report.concerns import warnings_about
from myoscope.study import Note, Patient, Role, Series, Study
from myoscope.volume import Volume, plain_affine

SPACING = (8.0, 1.0, 1.0)


def _codes(labels, spacing=SPACING):
    return {flag.code: flag.level for flag in label_flags("cine", [find_anatomy(labels, spacing)])}


def _assert_reasons(m):
    """Every None in lv, rv, lge, t2 and the segments has a reason, and no reason is given for what was measured."""
    missing = m.quality.missing
    for part in ("lv", "rv", "lge", "t2"):
        for name, value in getattr(m, part):
            assert (value is None) == (f"{part}.{name}" in missing), f"{part}.{name}"
    for row in m.segments:
        for name, value in row:
            keys = {"segments", f"segments.{row.segment}", f"segments.{name}", f"segments.{row.segment}.{name}"}
            if name not in ("segment", "name", "territory"):
                assert (value is None) == bool(keys & missing.keys()), keys
    assert (m.patient.bsa_m2 is None) == ("patient.bsa_m2" in missing)
    assert all(missing.values())


def test_every_none_has_a_reason(ring_heart, measure_labels):
    heart, small = ring_heart().labels(), ring_heart(cavity_mm=15).labels()
    stacks = {
        "cycle": np.stack([heart, small, small, heart] * 3),
        "two": np.stack([heart, small]),
        "one": heart,
        "no rv": ring_heart(rv=False).labels(),
        "few": ring_heart(rings=2, tip=False).labels(),
        "empty": np.zeros_like(heart),
        "cavity only": np.where(heart == Structure.LV, heart, 0),
        "wall only": np.where(heart == Structure.MYOCARDIUM, heart, 0),
    }
    patients = (None, Patient(height_cm=170, weight_kg=60, heart_rate_bpm=60))
    for (name, stack), patient in product(stacks.items(), patients):
        for roles in ((Role.CINE,), (Role.LGE,), (Role.BSSFP,), (Role.T2, Role.LGE), tuple(Role)):
            frames = {role: stack if role is Role.CINE or stack.ndim == 3 else stack[0] for role in roles}
            m = measure_labels(frames, patient=patient)
            _assert_reasons(m)
            assert ("heart_not_found" in {f.code for f in m.quality.flags}) == (name == "empty")
    unlabelled = measure_labels({}, unlabelled=(Role.CINE, Role.T2))
    _assert_reasons(unlabelled)
    assert "edema" in unlabelled.quality.missing["t2.edema_ml"]
    assert unlabelled.quality.missing["lv.edv_ml"] == "cine series not segmented"
    assert unlabelled.quality.missing["lge.infarct_ml"] == "no LGE series"


def test_empty_labels_are_an_error_flag_not_a_crash(measure_labels):
    m = measure_labels({role: np.zeros((4, 16, 16), np.uint8) for role in Role})
    assert [f.level for f in m.quality.flags if f.code == "heart_not_found"] == ["error"] * 4


@settings(deadline=None, max_examples=25)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(4), st.just(9), st.just(9)), elements=st.integers(0, 6))
)
def test_any_labels_can_be_measured(measure_labels, labels):
    m = measure_labels({Role.CINE: labels, Role.LGE: labels[0], Role.T2: labels[0]})
    _assert_reasons(m)
    assert m.lge.infarct_percent is None or 0 <= m.lge.infarct_percent <= 100
    assert all(0 <= s.scar_percent <= 100 for s in m.segments if s.scar_percent is not None)


def test_lge_and_t2_extent(measure_labels):
    labels = np.zeros((2, 10, 10), np.uint8)
    labels[0, 0, :6] = [2, 2, 3, 3, 4, 5]
    m = measure_labels({Role.LGE: labels, Role.T2: labels}, spacing_mm=(10.0, 1.0, 2.0))
    assert m.lge.myocardium_ml == pytest.approx(0.12)
    assert m.lge.infarct_g == pytest.approx(0.063)
    assert m.lge.infarct_percent == pytest.approx(50)
    assert m.lge.no_reflow_percent == pytest.approx(100 / 6)
    assert m.t2.edema_ml == pytest.approx(0.08)
    assert m.t2.edema_percent == pytest.approx(400 / 6)


def test_a_good_heart_has_no_warning(ring_heart):
    assert _codes(ring_heart().labels()) == {}
    assert _codes(ring_heart(base_first=False).labels()) == {}


def test_cut_at_the_edge(ring_heart):
    assert _codes(ring_heart().labels()[:, :, 30:])["cut_at_edge"] == "warning"


def test_ends_of_the_stack(ring_heart):
    whole = ring_heart().labels()
    assert _codes(whole[1:]) == {"stack_ends_at_base": "info"}
    assert _codes(whole[:6])["stack_ends_at_apex"] == "info"
    assert _codes(whole[:6][::-1])["stack_ends_at_apex"] == "info"


def test_a_stack_that_ends_in_the_middle_of_the_heart_is_a_warning(ring_heart, measure_labels):
    """Five of nine rings: an end-diastolic volume that looks like one, of the basal half."""
    part = ring_heart(wall_mm=14).labels()[:6]
    for labels in (part, part[::-1]):
        flags = measure_labels({Role.CINE: np.stack([labels, labels])}, SPACING).quality.flags
        (flag,) = (flag for flag in flags if flag.code == "stack_ends_at_apex")
        assert flag.level == "warning" and "of a part of the heart" in flag.message


def test_what_a_header_promises_matters_where_the_heart_reaches_the_end(ring_heart, measure_labels):
    def codes(labels):
        promised = Note("images_promised", "info", "a header says 20 more", Role.CINE)
        flags = measure_labels({Role.CINE: np.stack([labels, labels])}, SPACING, notes=(promised,)).quality.flags
        return [flag.message for flag in flags if flag.code == "images_missing"]

    assert codes(ring_heart().labels()) == []
    (message,) = codes(ring_heart().labels()[1:])
    assert "the heart reaches the stack's base" in message


def test_an_apex_that_is_not_labelled(ring_heart):
    whole = ring_heart().labels()
    tips = np.flatnonzero(whole.any((1, 2)))
    for labels in (whole, whole[::-1]):
        assert "apex_not_labelled" not in _codes(labels)
    short = whole.copy()
    short[tips[6:]] = 0
    for labels in (short, short[::-1]):
        assert _codes(labels)["apex_not_labelled"] == "warning"


def test_few_slices_and_gaps(ring_heart):
    labels = ring_heart(rings=4, tip=False).labels()
    assert "few_slices" in _codes(labels)
    labels = ring_heart().labels()
    labels[4] = 0
    assert "slice_gap" in _codes(labels)
    whole = ring_heart().labels()
    assert _codes(np.where(np.arange(len(whole))[:, None, None] == 4, whole * (whole != 1), whole))["slice_gap"]


def test_a_slice_left_out_at_end_systole_or_of_the_rv(ring_heart, measure_labels):
    """A slice less at end-systole alone is an ejection fraction too high."""

    def said(frames):
        flags = measure_labels({Role.CINE: frames}, SPACING).quality.flags
        return {f.code: (f.level, f.message) for f in flags if f.code.startswith("slice_gap")}

    ed, es = ring_heart().labels(), ring_heart(cavity_mm=12).labels()
    assert said(np.stack([ed, es])) == {}
    gap = es.copy()
    gap[4] = 0
    level, message = said(np.stack([ed, gap]))["slice_gap"]
    assert level == "warning" and "slice 5 at end-systole" in message
    no_rv = ed.copy()
    no_rv[2][no_rv[2] == Structure.RV] = 0
    assert said(np.stack([no_rv, es]))["slice_gap_rv"][0] == "warning"


def test_pieces_and_holes(ring_heart):
    labels = ring_heart().labels()
    labels[3, 2:8, 90:98] = Structure.LV
    labels[3, 2:8, 100:108] = Structure.MYOCARDIUM
    labels[4, 52:58, 20:25] = 0
    assert labels[4, 55, 19] == labels[4, 55, 25] == Structure.RV
    assert _codes(labels) == {"pieces_lv": "warning", "pieces_myocardium": "warning", "hole_rv": "warning"}


def test_a_hole_says_where_it_is_and_doubts_only_what_it_touches(ring_heart, measure_labels):
    """A hole in the wall at end-systole, in the fourth slice from the base: volumes and mass stay in the summary."""
    ed, es = ring_heart().labels(), ring_heart(cavity_mm=15).labels()
    z = np.flatnonzero((es == Structure.LV).any((1, 2)))[3]
    wall = np.argwhere(es[z] == Structure.MYOCARDIUM)
    y, x = wall[wall[:, 1] == np.median(wall[:, 1])][0]  # the top of the ring
    es[z, y + 1 : y + 8, x - 4 : x + 5] = 0
    assert (es[z, y : y + 9, x - 5 : x + 6] == Structure.MYOCARDIUM).sum() == 9 * 11 - 7 * 9
    for turned in (slice(None), slice(None, None, -1)):
        m = measure_labels({Role.CINE: np.stack([ed, es])[:, turned]})
        found = [f for f in m.quality.flags if f.code.startswith("hole")]
        number = z + 1
        assert [f.code for f in found] == ["hole_myocardium_es"]
        assert f"slice {number} at end-systole, counted from the base" in found[0].message
        assert not warnings_about("lv.edv_ml", m) and not warnings_about("lv.mass_g", m)
        assert warnings_about("lv.myocardium_es_ml", m) == (found[0].message,)


def test_specks_do_not_count(ring_heart):
    labels = ring_heart().labels()
    labels[3, 2:4, 90:92] = Structure.LV
    labels[3, 48, 35] = 0
    assert _codes(labels) == {}


def test_open_rings(ring_heart):
    labels = ring_heart().labels()
    labels[1, :48, 60:][labels[1, :48, 60:] == 2] = 0
    assert _codes(labels)["open_ring"] == "info"
    labels[4, :48, 60:][labels[4, :48, 60:] == 2] = 0
    assert _codes(labels)["open_ring"] == "warning"


def test_phases():
    def codes(curve, *phases):
        return {f.code for f in phase_flags("cine", np.array(curve, float), Phases(*phases))}

    assert codes([100, 50], 0, 1) == set()
    assert codes([100, 50], 1, 0) == {"phases_swapped"}
    assert codes([100, 100], 0, "same frame") == {"no_end_systole"}
    assert codes([100, 0, 50, 60], 0, 2) == {"frames_without_lv", "few_frames"}
    assert codes([100, 95, 90, 30, 80, 70, 80, 90, 95], 0, 5) == {"uneven_curve"}
    assert codes([100, 98, 92, 84, 75, 66, 58, 52, 49], 0, 8) == {"open_cycle"}
    assert codes([100, 90, 75, 60, 50, 55, 75, 85, 88], 0, 4) == set()  # the atrium's share of filling is not recorded
    assert codes([50, 60, 80, 90, 95, 100, 85, 60], 5, 0) == set()  # begins at end-systole


def test_values_beyond_belief(ring_heart, measure_labels):
    tiny = measure_labels({Role.CINE: np.stack([ring_heart().labels(), ring_heart(cavity_mm=4).labels()])}, (2.0, 1, 1))
    codes = {f.code for f in tiny.quality.flags}
    assert {"implausible_lv_edv_ml", "implausible_lv_ejection_fraction_percent", "stroke_volumes_differ"} <= codes
    inches = measure_labels({}, patient=Patient(height_cm=68, weight_kg=154))
    assert [(f.code, f.level) for f in inches.quality.flags] == [("implausible_patient_bsa_m2", "warning")]
    child = measure_labels({}, patient=Patient(height_cm=100, weight_kg=15, heart_rate_bpm=250))
    assert {f.code for f in child.quality.flags} == {"implausible_patient_bsa_m2", "implausible_patient_heart_rate_bpm"}


def test_a_heart_rate_from_frames_is_doubted(ring_heart):
    cycle = np.stack([ring_heart(cavity_mm=c).labels() for c in (20, 19, 17, 15, 14, 16, 18, 19)])
    image = Volume(cycle * 100.0, plain_affine(SPACING), 100.0)
    made_by = Provenance(myoscope_version="0", created_utc="2026-01-01T00:00:00+00:00", series=[], conventions=[])
    codes = []
    for patient in (Patient(), Patient(heart_rate_bpm=75)):
        study = Study("x", patient, (Series(Role.CINE, "cine", image),))
        found = measure(study, {Role.CINE: image.with_voxels(cycle)}, made_by)
        assert found.lv.cardiac_output_l_min
        codes.append({f.code for f in found.quality.flags})
    assert codes[0] - codes[1] == {"heart_rate_from_frames"}


def test_labels_must_belong_to_the_series(measure_labels):
    made_by = measure_labels({}).provenance
    image = Volume(np.zeros((4, 8, 8)), plain_affine(SPACING))
    study = Study("s1", Patient(), (Series(Role.LGE, "late", image),))
    good = np.zeros((4, 8, 8), np.uint8)
    for labels, message in (
        ({Role.CINE: image.with_voxels(good)}, "no such series"),
        ({Role.LGE: Volume(good, plain_affine((8.0, 1.0, 1.1)))}, "resample"),
        ({Role.LGE: image.with_voxels(good + 9)}, "codes 0 to 6"),
        ({Role.LGE: image.with_voxels(good.astype(float))}, "integer"),
    ):
        with pytest.raises(MeasurementError, match=message):
            measure(study, labels, made_by)
