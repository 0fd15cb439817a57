import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from myoscope import diagnose as package
from myoscope.analysis import judge
from myoscope.datasets.acdc import SAME_SCAN
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.diagnose import diagnose, diagnosis_flags, distance
from myoscope.errors import InputError
from myoscope.lab.diagnosis import TEMPLATE, compare, confusion, page_facts, read_predictions, with_other
from myoscope.lab.diagnosis_fit import Judged, Table, deal, final, judge_nested
from myoscope.lab.pages import render
from myoscope.lab.statistics import interval, wilson
from myoscope.labels import Structure
from myoscope.measure.results import START, Lge, Measurements
from myoscope.study import Case, Role


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(3, TRAINING, "MINF"), (Role.CINE, Role.LGE), frames=2)


@pytest.fixture(scope="module")
def measured(case: Case) -> Measurements:
    return judge(case.study, case.labels, {}).measurements


def test_each_series_is_judged_and_the_infarct_leads(measured: Measurements) -> None:
    found = measured.diagnosis
    assert set(found.by_series) == {"cine", "lge"}
    assert found.prediction == found.by_series["lge"].prediction == "pathological"
    for one in found.by_series.values():
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert one.prediction == max(one.probabilities, key=one.probabilities.get)
        weights = [abs(item.weight) for item in one.evidence]
        assert weights == sorted(weights, reverse=True)
        assert one.runner_up == sorted(one.probabilities, key=one.probabilities.get)[-2]
        assert sum(one.prevalence.values()) == pytest.approx(1)
        assert one.unlike_training == (one.distance > one.usual_distance)


def test_evidence_adds_up_to_the_odds_against_the_runner_up(measured: Measurements) -> None:
    for name, one in measured.diagnosis.by_series.items():
        model = json.loads((Path(package.__file__).parent / f"{name}.json").read_text())
        odds = np.log(one.probabilities[one.prediction] / one.probabilities[one.runner_up])
        best, second = (model["intercepts"][model["classes"].index(c)] for c in (one.prediction, one.runner_up))
        beyond = max(1, one.distance / one.usual_distance) ** 2
        assert odds == pytest.approx(sum(item.weight for item in one.evidence), abs=1e-6)
        start = one.evidence[0]
        assert (start.measurement, start.value) == (START, None)
        assert start.weight == pytest.approx((best - second) / beyond, abs=1e-6)


def test_far_from_all_classes_is_uncertain_and_says_so(measured: Measurements) -> None:
    """A heart of no class: huge right ventricle, huge mass, hardly any cavity."""
    near = diagnose(measured).by_series["cine"]
    lv = measured.lv.model_copy(update={"mass_g": 400.0, "wall_thickness_max_mm": 30.0, "esv_ml": 20.0})
    rv = measured.rv.model_copy(update={"edv_ml": 480.0, "esv_ml": 450.0})
    found = diagnose(measured.model_copy(update={"lv": lv, "rv": rv, "lge": Lge()}))
    one = found.by_series["cine"]
    assert one.distance > near.distance and one.distance > 1.5 * one.usual_distance
    assert found.unlike_training and max(one.probabilities.values()) < 0.9
    (flag,) = diagnosis_flags(found)
    assert (flag.code, flag.level, flag.series) == ("unlike_training", "warning", "cine")
    assert "none of the classes" in flag.message


def test_nothing_is_built_on_what_no_heart_has(case: Case) -> None:
    image = case.study.get(Role.LGE).image
    speck = np.zeros(image.voxels.shape, np.uint8)
    speck[2:5, 50:54, 50:54] = Structure.MYOCARDIUM
    speck[2:5, 51:53, 51:53] = Structure.LV
    found = judge(case.study, {Role.LGE: image.with_voxels(speck)}, {}).measurements
    assert any(flag.code.startswith("implausible_lge") for flag in found.quality.flags)
    assert found.diagnosis.prediction is None


def test_without_measurements_there_is_no_diagnosis(case: Case) -> None:
    image = case.study.get(Role.CINE).image
    nothing = image.with_voxels(np.zeros(image.voxels.shape, np.uint8))
    assert diagnose(judge(case.study, {Role.CINE: nothing}, {}).measurements).prediction is None


def blobs(seed: int = 0, n: int = 16, apart: float = 3.0) -> Table:
    """Three classes in two measurements, and two that say nothing; two patients of one scan."""
    rng = np.random.default_rng(seed)
    y = np.repeat(range(3), n)
    x = np.hstack(
        [rng.normal(size=(3 * n, 2)) + apart * np.array([[0, 0], [1, 0], [0, 1]])[y], rng.normal(size=(3 * n, 2))]
    )
    names = [f"p{i}" for i in range(3 * n)]
    scans = np.array(["p0", "p0", *names[2:]])
    return Table(names, x, y, scans, ["a", "b", "c", "d"], ["A", "B", "C"], {"two": [0, 1], "noise": [2, 3]})


def test_one_scan_is_never_on_two_sides() -> None:
    found = blobs()
    for seed in range(20):
        folds = deal(found.y, found.scans, seed)
        assert folds[0] == folds[1]
        assert np.ptp(np.bincount(folds, minlength=5)) <= 3


def test_patients_074_and_076_are_one_scan_to_the_classifier() -> None:
    assert SAME_SCAN == {"patient076": "patient074"}
    names = np.array([f"patient{i:03}" for i in range(60, 90)])
    scans = np.array([SAME_SCAN.get(name, name) for name in names])
    for seed in range(20):
        folds = dict(zip(names, deal(np.arange(30) % 5, scans, seed), strict=True))
        assert folds["patient074"] == folds["patient076"]


@pytest.fixture(scope="module")
def judged() -> Judged:
    return judge_nested(blobs(), repeats=1)


def test_nested_judgement_finds_the_measurements_that_matter(judged: Judged) -> None:
    found = blobs()
    assert {choice.measurements for choice in judged.chosen} == {"two"}
    scores = judged.of_truth(found.y)
    assert scores["right"].mean() > 0.8
    assert 0 < scores["brier"].mean() < 0.4
    kept = final(found, judged)
    assert kept["features"] == ["a", "b"] and kept["prevalence"] == {"A": 1 / 3, "B": 1 / 3, "C": 1 / 3}
    scaled = (found.x[:, :2] - kept["mean"]) / kept["scale"]
    away = [distance(row, np.array(kept["centres"]), np.array(kept["precision"])) for row in scaled]
    assert np.mean(np.array(away) <= kept["usual_distance"]) == pytest.approx(0.95, abs=0.06)
    assert json.loads(json.dumps(kept)) == kept


def test_what_says_nothing_is_not_judged_right() -> None:
    found = blobs(apart=0.0)
    scores = judge_nested(found, repeats=1).of_truth(found.y)
    assert scores["right"].mean() < 0.6
    assert scores["log loss"].mean() > 0.9


def test_another_model_is_compared_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myoscope.lab.diagnosis_fit.REPEATS", 1)
    found = replace(blobs(apart=1.0), sets={"two": [0, 1]})
    judged = judge_nested(found)
    lines = ["case,prediction,A,B,C"]
    for name, c in zip(found.ids, found.y, strict=True):
        p = np.full(3, 0.05)
        p[c] = 0.9
        lines.append(f"{name},{found.classes[c]},{p[0]},{p[1]},{p[2]}")
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join(lines))
    knows = read_predictions(path, found.classes)
    both = with_other(found, knows)
    assert both.x.shape == (48, 7) and both.sets["two"] == [0, 1, 4, 5, 6]
    assert compare(found, judged, knows)["verdict"] == "adds"
    guesses = dict.fromkeys(knows, np.full(3, 1 / 3))
    assert compare(found, judged, guesses)["verdict"] == "nothing"
    assert "By log loss the other model adds nothing" in render(
        TEMPLATE, page_facts("x", [("x", found, judged)], guesses)
    )
    with pytest.raises(InputError, match="none of p0"):
        with_other(found, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,A\nx,1", "case,prediction,A,B"),
        ("case,prediction,A,B\nx,A,0.2,0.3", "add up to 1"),
        ("", "given"),
        (None, "No such"),
    ],
)
def test_other_predictions_are_checked(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "p.csv"
    if text is not None:
        path.write_text(text)
    if message == "given":
        assert read_predictions(path, ["A", "B"]) == {}
        return
    with pytest.raises(InputError, match=message):
        read_predictions(path, ["A", "B"])


def test_page_and_intervals(judged: Judged) -> None:
    found = blobs()
    page = render(TEMPLATE, page_facts("cine", [("expert", found, judged)]))
    assert "16 A, 16 B, 16 C" in page and "| expert | 48 | 0 |" in page and "Brier" in page
    assert confusion(np.array([0, 1]), np.array([[0, 0], [0, 1]]), 2)[-1] == [0.5, 0.5]
    low, high = interval(np.arange(48.0), found.scans)
    assert low < 23.5 < high
    assert wilson(1.0, 75) == pytest.approx((95.1, 100.0), abs=0.1)
    perfect = Judged(np.eye(3)[found.y][None], np.zeros((1, 48))).of_truth(found.y)
    assert perfect["brier"].max() == 0 and perfect["right"].min() == 1
