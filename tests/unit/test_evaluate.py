import numpy as np
import pytest

from myoscope.lab.crossval import summarise
from myoscope.lab.folds import deal, fold_of
from myoscope.lab.metrics import LGE_REGIONS, dice, region_scores
from myoscope.study import Case, Patient, Study


def _case(name: str, group: str, scan: str = "") -> Case:
    return Case(Study(name, Patient(), ()), {}, group, scan or name)


def test_folds_keep_scans_together_and_classes_balanced() -> None:
    cases = [_case(f"p{i:02}", "AB"[i % 2]) for i in range(30)]
    cases.append(_case("twin", "A", scan="p03"))
    folds = fold_of(cases)
    assert folds[-1] == folds[3]
    assert [sum(f == k for f in folds[:-1]) for k in range(5)] == [6] * 5
    assert fold_of(cases[::-1]) == folds[::-1]
    learns, unseen = deal(cases, folds[-1])
    assert {"p03", "twin"} <= {case.id for case in unseen} and len(unseen) == 7
    assert sorted(case.id for case in learns + unseen) == sorted(case.id for case in cases)
    assert deal(cases, None) == (cases, [])


def test_dice_by_hand() -> None:
    a, b = np.zeros((2, 10), bool)
    assert dice(a, b) == 1
    a[:4] = True
    assert dice(a, b) == 0
    b[2:8] = True
    assert dice(a, b) == pytest.approx(2 * 2 / 10)


def test_emidec_regions_by_hand() -> None:
    truth = np.array([[[1, 2, 2, 3, 4, 0]]], np.uint8)
    found = np.array([[[1, 2, 3, 3, 3, 2]]], np.uint8)
    scores = region_scores(found, truth, LGE_REGIONS, voxel_ml=0.5)
    assert scores["myocardium dice"] == pytest.approx(8 / 9)
    assert scores["infarction dice"] == pytest.approx(4 / 5)
    assert scores["no-reflow dice"] == 0
    assert scores["infarction ml"] == 1.5
    assert scores["infarction true ml"] == 1.0


def test_summary_tells_presence_from_overlap() -> None:
    rows = [
        {"data": "x", "phase": "", "scar dice": d, "scar ml": v, "scar true ml": t}
        for d, v, t in ((1.0, 0, 0), (0.0, 3, 0), (0.6, 5, 4), (0.0, 0, 2))
    ]
    (one,) = summarise(rows)
    assert one["dice"] == pytest.approx(0.4)
    assert one["present_dice"] == pytest.approx(0.3)
    assert (one["n"], one["present_n"], one["presence_right_percent"]) == (4, 2, 50)
    assert one["volume_error_ml"] == pytest.approx(1.5)
