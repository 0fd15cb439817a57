"""Intervals: their arithmetic, that they hold as often as they say, and their silence where nothing is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myoscope.analysis import JOINT_LGE_SYSTEM, JOINT_SYSTEM, judge
from myoscope.correction import Before, remeasure
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.errors import InputError
from myoscope.lab.intervals import Row, cross_fit, fit, fit_all, fit_grades, measured, read_rows, write_rows
from myoscope.labels import Structure
from myoscope.measure.calibration import Calibration, calibrated, read_calibration
from myoscope.measure.intervals import GRADES, NO_ERRORS, SCALED, STRUCTURES, Errors, interval
from myoscope.measure.results import Measurements, SeriesProvenance
from myoscope.prediction import Prediction
from myoscope.segment.cine import SliceModel
from myoscope.segment.joint import JointModel
from myoscope.study import Case, Role
from myoscope.weights import network_of

ERRORS = {"scale": (2.0, 0.1, 0.0), "low": -1.0, "high": 0.5, "n": 75}
KEPT = {
    "level_percent": 90,
    "errors": dict.fromkeys(STRUCTURES, ERRORS),
    "transmurality_grades": {grade: list(GRADES[:2]) for grade in GRADES},
}


def _rows(count: int, seed: int, name: str = "lv.edv_ml") -> list[Row]:
    """Patients whose measurement errs by 3 % of itself, and by more where the network doubts."""
    rng = np.random.default_rng(seed)
    truth, doubt = rng.uniform(60, 260, count), rng.uniform(0.02, 0.2, count)
    found = truth * (1 + rng.normal(0.01, 0.03 + 0.2 * doubt))
    return [
        Row("acdc", f"p{i}", "NOR", 1 + i % 5, name, *map(float, row))
        for i, row in enumerate(zip(truth, found, doubt, strict=True))
    ]


def test_nine_of_ten_unseen_patients_lie_within() -> None:
    errors = fit(_rows(400, 0))
    unseen = _rows(2000, 1)
    ends = [interval(r.measurement, r.predicted, r.doubt, errors) for r in unseen]
    held = np.mean([low <= r.truth <= high for r, (low, high) in zip(unseen, ends, strict=True)])
    assert 0.85 < held < 0.95
    widths = np.array([high - low for low, high in ends])
    doubt = np.array([r.doubt for r in unseen])
    assert widths[doubt > 0.15].mean() > 1.3 * widths[doubt < 0.05].mean()
    assert 0.85 < np.mean([low <= r.truth <= high for r, low, high in cross_fit(_rows(75, 2))]) <= 1


def test_a_bias_moves_the_interval_and_the_measurement_stays_inside() -> None:
    rows = [replace(row, predicted=row.truth + 10) for row in _rows(60, 0)]
    errors = fit(rows)
    assert errors.high == 0.0
    low, high = interval("lv.edv_ml", 100.0, 0.1, errors)
    assert low <= 90.0 <= high == 100.0


@given(st.floats(0, 500), st.floats(0, 1), st.sampled_from(sorted(STRUCTURES)))
def test_ends_are_possible_and_hold_the_measurement(value: float, doubt: float, name: str) -> None:
    value = min(value, 100.0) if name.endswith("_percent") else value
    low, high = interval(name, value, doubt, Errors((1.0, 0.3, 1.0), -2.0, 2.0, 75))
    assert 0 <= low <= value <= high
    assert high <= 100 or not name.endswith("_percent")


def test_what_is_impossible_stays_in_its_interval() -> None:
    errors = Errors((1.0, 0.3, 1.0), -2.0, 2.0, 75)
    low, high = interval("rv.ejection_fraction_percent", -71.9, 0.1, errors)
    assert low == -71.9 < high


def test_what_the_expert_does_not_draw_counts_for_no_error() -> None:
    case = draw(sample(1, TRAINING, "MINF"), [Role.LGE])
    found = {Role.LGE: Prediction(case.labels[Role.LGE], {}, np.zeros((1, 1)))}
    no_reflow = {"lge.no_reflow_ml", "lge.no_reflow_percent"}
    assert no_reflow < {row.measurement for row in measured(case, 1, found, joint=False)}
    undrawn = replace(case, drawn_as={Structure.NO_REFLOW: Structure.INFARCT})
    rows = {row.measurement for row in measured(undrawn, 1, found, joint=False)}
    assert "lge.infarct_ml" in rows and not rows & no_reflow


def test_a_joint_map_has_intervals_where_there_is_lge() -> None:
    study = draw(sample(1, TRAINING, "MINF"), [Role.LGE, Role.T2]).study
    model, lge = JointModel.load(network_of(JOINT_SYSTEM)), SliceModel.load(network_of(JOINT_LGE_SYSTEM))
    assert {"lge.infarct_ml", "t2.edema_ml"} < set(model.segment_joint(study, lge)[1].intervals["errors"])
    alone = replace(study, series=tuple(s for s in study.series if s.role is Role.T2))
    assert not model.segment_joint(alone, lge)[1].intervals


def test_possible_grades_are_the_fewest_that_hold() -> None:
    def rows(truths: list[float], predicted: float) -> list[Row]:
        return [Row("e", f"{i}", "-", 1, "segments.1.scar_percent", t, predicted, 0.0) for i, t in enumerate(truths)]

    found = fit_grades(rows([0.0] * 96 + [10.0] * 4, 0.0) + rows([0.0] * 30 + [10.0] * 40 + [40.0] * 30, 10.0))
    assert found["0"] == ["0"]
    assert found["1-25"] == ["0", "1-25", "26-50"]
    assert found["76-100"] == list(GRADES)  # never seen


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [replace(row, truth=100.0, predicted=101.5, doubt=0.25) for row in _rows(5, 0)]
    write_rows(tmp_path / "out-of-fold-x.csv", rows)
    assert read_rows(tmp_path / "out-of-fold-x.csv") == rows
    assert set(fit_all(rows)["errors"]) == {"lv.edv_ml"}


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(3, TRAINING, "MINF"), [Role.CINE, Role.LGE], frames=2)


def _measured(case: Case, far: float = 0.5, intervals: dict | None = None) -> Measurements:
    predictions = {
        role: Prediction(
            labels,
            dict.fromkeys(Structure, 0.9),
            np.full(labels.frames.shape[:2], far),
            unusual_distance=1.0,
            intervals=KEPT if intervals is None else intervals,
        )
        for role, labels in case.labels.items()
    }
    study = replace(case.study, patient=replace(case.study.patient, height_cm=180.0, weight_kg=80.0))
    return judge(study, case.labels, {}, predictions).measurements


def test_every_measurement_has_an_interval_around_it(case: Case) -> None:
    m = _measured(case)
    for name in (*STRUCTURES, *SCALED):
        part, field = name.split(".")
        value, ends = getattr(getattr(m, part), field), getattr(getattr(m, part), f"{field}_interval")
        if part == "t2":
            assert m.quality.missing[f"{name}_interval"] == m.quality.missing[name]
            continue
        assert ends[0] <= value <= ends[1], name
    unit = 2 + 0.1 * m.lv.edv_ml
    assert m.lv.edv_ml_interval == pytest.approx((m.lv.edv_ml - unit, m.lv.edv_ml + unit / 2))
    assert m.lv.edv_index_ml_m2_interval == pytest.approx([end / m.patient.bsa_m2 for end in m.lv.edv_ml_interval])
    by = m.lv.cardiac_output_l_min / m.lv.sv_ml
    assert m.lv.cardiac_output_l_min_interval == pytest.approx([end * by for end in m.lv.sv_ml_interval])
    assert m.segments[0].transmurality_grade_interval == ["0", "1-25"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"far": 2.0}, "unlike those that the network was trained on"), ({"intervals": {}}, NO_ERRORS)],
)
def test_without_known_errors_there_is_none_and_a_reason(case: Case, changes: dict, words: str) -> None:
    m = _measured(case, **changes)
    assert m.lv.edv_ml
    assert m.lv.edv_ml_interval is m.lge.infarct_percent_interval is m.segments[0].transmurality_grade_interval is None
    for name in ("lv.edv_ml_interval", "lge.infarct_percent_interval", "segments.transmurality_grade_interval"):
        assert words in m.quality.missing[name]


def test_contours_by_hand_have_none(case: Case) -> None:
    m = judge(case.study, case.labels, {}).measurements
    assert m.rv.edv_ml
    assert m.rv.edv_ml_interval is None
    assert "not a network's alone" in m.quality.missing["rv.edv_ml_interval"]


def test_intervals_stay_where_nobody_changed_the_contours(case: Case) -> None:
    before = _measured(case)
    labels = dict(case.labels)
    changed = labels[Role.CINE].voxels.copy()
    changed[0][changed[0] == Structure.RV] = 0
    labels[Role.CINE] = labels[Role.CINE].with_voxels(changed)
    study = replace(case.study, patient=replace(case.study.patient, height_cm=180.0, weight_kg=80.0))
    origins = [
        SeriesProvenance(role=r, files=[], slices=1, frames=1, spacing_mm=(1, 1, 1), labels_from="x") for r in labels
    ]
    provenance = before.provenance.model_copy(update={"series": origins})
    earlier = Before(before.model_copy(update={"provenance": provenance}), case.labels, case.labels, None)
    m = remeasure(study, labels, earlier).measurements
    assert m.lge.infarct_ml_interval == before.lge.infarct_ml_interval
    assert "lge.infarct_ml_interval" not in m.quality.missing
    assert m.segments[0].transmurality_grade_interval == before.segments[0].transmurality_grade_interval
    assert m.lv.edv_ml_interval is None
    assert "not a network's alone" in m.quality.missing["lv.edv_ml_interval"]


def test_a_sites_calibration_stretches_and_is_refused_with_other_weights(case: Case, tmp_path: Path) -> None:
    m = _measured(case)
    Calibration({"lv.edv_ml": (2.0, 0.5)}, {"lv.edv_ml": 40}, {"cine": "a" * 64}).write(tmp_path / "x.json")
    found = calibrated(m, read_calibration(tmp_path / "x.json"))
    unit = 2 + 0.1 * m.lv.edv_ml
    ends = (m.lv.edv_ml - 2 * unit, m.lv.edv_ml + unit / 4)
    assert found.lv.edv_ml_interval == pytest.approx(ends)
    assert found.lv.edv_index_ml_m2_interval == pytest.approx([end / m.patient.bsa_m2 for end in ends])
    assert found.rv == m.rv
    assert "40 cases of this site's readers" in found.provenance.conventions[-1]
    origin = SeriesProvenance(
        role="cine", files=[], slices=1, frames=2, spacing_mm=(1, 1, 1), labels_from="x", weights_sha256="b" * 64
    )
    other = m.model_copy(update={"provenance": m.provenance.model_copy(update={"series": [origin]})})
    with pytest.raises(InputError, match="made with these weights of cine"):
        calibrated(other, read_calibration(tmp_path / "x.json"))
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(InputError, match="expected a calibration"):
        read_calibration(tmp_path / "x.json")
    with pytest.raises(
        InputError, match=r"nowhere\.json: cannot read it \(No such file or directory\); check the path"
    ):
        read_calibration(tmp_path / "nowhere.json")
