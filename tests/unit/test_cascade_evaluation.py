"""The cascade's evaluation by hand: Dice, distances, least volumes, votes, and the page with the paper's numbers."""

import numpy as np
import pytest

from myoscope.lab.metrics import border_hausdorff_mm
from myoscope.lab.pages import render
from myoscope.lab.panels import phantoms
from myoscope.labels import Structure
from myoscope.study import Role
from myoscope.systems.cascade import evaluation
from myoscope.systems.cascade.page import TEMPLATE, page_facts
from myoscope.systems.cascade.vote import votes_of


def test_the_majority_decides_and_the_likelier_where_it_is_even() -> None:
    classes = (Structure.BACKGROUND, Structure.LV, Structure.INFARCT)
    drawn = [np.full((1, 1, 3), c, np.uint8) for c in (Structure.LV, Structure.INFARCT) * 2]
    drawn.append(np.array([[[Structure.LV, Structure.INFARCT, Structure.BACKGROUND]]], np.uint8))
    mean = np.array([[0.0, 0.1, 0.9], [0.0, 0.9, 0.1], [0.8, 0.1, 0.1]], np.float32).T.reshape(1, 3, 1, 3)
    found = votes_of(drawn, mean, classes)
    assert np.allclose(found.sum(1), 1)
    decided = np.array(classes)[found.argmax(1)].flatten().tolist()
    assert decided[:2] == [Structure.LV, Structure.INFARCT]  # against the mean of the probabilities
    assert decided[2] == Structure.LV  # two votes each, equally likely; never the likelier lone one
    mean[0, :, 0, 2] = [0.8, 0.05, 0.15]
    assert np.array(classes)[votes_of(drawn, mean, classes).argmax(1)].flatten()[2] == Structure.INFARCT


def test_hausdorff_is_between_borders() -> None:
    a, b = np.zeros((2, 3, 9, 9), bool)
    a[:, 1:8, 1:8] = True
    b[:, 4, 4] = True
    spacing = (10.0, 1.0, 2.0)
    assert border_hausdorff_mm(a, b, spacing) == pytest.approx(np.hypot(3, 6))
    assert border_hausdorff_mm(b, a, spacing) == pytest.approx(np.hypot(3, 6))
    b = a.copy()
    b[0] = False
    assert border_hausdorff_mm(a, b, spacing) == 10.0
    assert np.isnan(border_hausdorff_mm(a, np.zeros_like(a), spacing))


def test_least_volumes_are_chosen_by_official_dice() -> None:
    def s(ml: float, true_ml: float, dice: float) -> dict[str, float]:
        of = {"ml": ml, "true ml": true_ml, "dice": dice}
        return {"myocardium dice": 0.8} | {f"{r} {k}": v for r in ("infarction", "no-reflow") for k, v in of.items()}

    # a false 0.8 ml and a true 2 ml: what is below 1 ml should go, what is above stay
    plain = {row: {"a": s(0.8, 0.0, 0.0), "b": s(2.0, 2.0, 0.7)} for row in evaluation.STAGES}
    plain["mean"]["b"] = s(2.0, 2.0, 0.9)
    plain["mirrored"]["b"] = s(2.0, 2.0, 0.905)  # not worth its time
    found = evaluation.choose(plain, ["a", "b"])
    assert found["best"] == "mean"
    assert found["mean"] == {"infarct": 1.0, "no_reflow": 0.0}  # no-reflow goes with its infarct
    assert evaluation.choose(plain, ["b"])["mean"]["infarct"] == 0.0
    plain["first"]["b"] = s(2.0, 2.0, 0.95)
    assert evaluation.choose(plain, ["a", "b"])["best"] == "first"
    assert evaluation.choose(plain, ["a", "b"], evaluation.STAGES[1:])["best"] == "mean"


def test_page_has_the_papers_numbers_beside_ours() -> None:
    def s(row: str, fold: int) -> dict[str, object]:
        found: dict[str, object] = {"row": row, "case": f"c{fold}", "fold": fold, "group": "pathological"}
        for region in ("LV", "myocardium", "infarction", "no-reflow", "infarct alone"):
            found |= {f"{region} dice": 0.5, f"{region} ml": 8.0, f"{region} true ml": 10.0}
            found |= {f"{region} ratio_error_percent": 20.0, f"{region} dice by slice": 0.625}
        return found | {"myocardium hausdorff_mm": 9.0, "myocardium hausdorff_mm, axes as released": 11.0}

    scores = [s(row, fold) for row in ("coarse", "second", "first", "chosen", "FWHM") for fold in range(1, 6)]
    for score in scores[20:]:
        score["no-reflow dice by slice"] = 0.8
    least = {"infarct": 1.0, "no_reflow": 0.5}
    part = {
        "name": "cascade.small",
        "scores": scores,
        "choices": {k: {"best": "second", "second": least} for k in range(1, 6)},
        "ships": {"shares": "second", "smallest_ml": least},
        "cards": [{"minutes": 12.0, "steps": 3000, "device": "cpu, 2 cores"}],
        "plain": {"second": {str(i): score for i, score in enumerate(scores[:5])}},
    }
    for score in scores[10:20]:
        score["infarction dice"] = 0.75
    text = render(TEMPLATE, page_facts([part], ["emidec"]))
    assert "| infarction | Dice % | paper | 61.44 | 72.08 | 81.51 | 68.48 | 76.87 | 72.08 ± 6.90 |" in text
    assert "| infarction | Dice % | ours | 50.00 | 50.00 | 50.00 | 50.00 | 50.00 | 50.00 ± 0.00 |" in text
    assert "| myocardium | volume error mm3 | ours | 2000.00 |" in text
    assert "| infarction | Dice % | ours, cleaned | 75.00 | 75.00 |" in text
    assert "| infarction | Dice % | ours, as chosen | 75.00 | 75.00 | 75.00 | 75.00 | 75.00 | 75.00 ± 0.00 |" in text
    assert "There is no such test set here" in text
    assert "| infarction | Dice % | 71.24 | 50.00 ± 0.00 |" in text
    assert "| myocardium | Hausdorff mm, as released | 13.01 | 11.00 ± 0.00 |" in text  # the paper's code, so its axes
    assert "| second stage | 50.0 ± 0.0 | 9.0 ± 0.0 | 11.0 ± 0.0 |" in text
    assert "| no-reflow | ratio error % | 0.38 | 20.00 ± 0.00 |" in text
    assert "stage then has 62.5, 62.5, 62.5 %, a map\nwithout any no-reflow 80.0 % of no-reflow" in text
    assert "training data are not in the cards" in text
    learned = {"system": "compact-lge", "trained_on": {"emidec": 64, "phantom": 100}}
    start = {"system": "compact-cine", "trained_on": {"acdc": 75}}
    part["cards"][0]["first"] = learned | {"started_from": start}
    some = {"mean": 80.0, "sd": 1.0, "n": 12}
    row = {"myocardium": some, "infarction": some, "no-reflow": some, "error_ml": some}
    part["together"] = [{"how": "majority vote", "n": 12} | row]
    text = render(TEMPLATE, page_facts([part], ["emidec"]))
    assert "compact-lge, learned from emidec (64), phantom (100) (fold 1's), and began with compact-cine, which" in text
    assert "| majority vote | 80.0 ± 1.0 |" in text
    assert "| infarction | 75 % | 75.0 % | reached |" in text
    assert "| presence of infarct right | 92 % | 100.0 % | reached |" in text


def test_scores_of_a_case_by_hand() -> None:
    (case,) = phantoms(1, 5)
    truth = case.labels[Role.LGE]
    codes = truth.frames[0].copy()
    perfect = evaluation.score(codes, case)
    assert perfect["infarction dice"] == perfect["myocardium dice"] == 1.0
    assert perfect["myocardium hausdorff_mm"] == 0.0
    assert perfect["infarction ratio_error_percent"] == 0.0
    codes[codes == Structure.INFARCT] = Structure.MYOCARDIUM
    codes[codes == Structure.NO_REFLOW] = Structure.MYOCARDIUM
    missed = evaluation.score(codes, case)
    share = perfect["infarction true ml"] / perfect["myocardium true ml"]
    assert share > 0
    assert missed["infarction ratio_error_percent"] == pytest.approx(100 * share)
    assert missed["infarction dice"] == missed["infarct alone dice"] == 0.0
    assert missed["myocardium dice"] == 1.0
    codes = truth.frames[0].copy()
    scar = np.isin(codes, (Structure.INFARCT, Structure.NO_REFLOW))
    z = scar.sum((1, 2)).argmax()
    codes[z][scar[z]] = Structure.MYOCARDIUM
    one_slice_missed = evaluation.score(codes, case)
    assert one_slice_missed["infarction dice by slice"] == 1 - 1 / len(codes)
