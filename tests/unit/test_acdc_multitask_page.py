"""The multitask evaluation by hand: distances, summary, curves, and what its page says."""

import numpy as np
import pytest

from myoscope.datasets.acdc import CLASSES
from myoscope.lab.metrics import hausdorff_mm
from myoscope.systems.acdc_multitask.page import difference, mean_curve, summarise


def test_hausdorff_by_hand() -> None:
    a, b = np.zeros((2, 3, 5, 5), bool)
    assert np.isnan(hausdorff_mm(a, b, (10, 1, 1)))
    a[0, 2, 2] = b[0, 2, 2] = b[2, 2, 2] = True
    assert hausdorff_mm(a, b, (10, 1, 1)) == hausdorff_mm(b, a, (10, 1, 1)) == 20


def _row(case: str, group: str, said: str, sure: float = 0.6) -> dict:
    shares = [sure if name == said else (1 - sure) / 4 for name in CLASSES]
    return {"case": case, "scan": case, "group": group, "probabilities": shares, "middle": shares}


def test_summary_by_hand() -> None:
    rows = [_row(f"p{i}", CLASSES[i % 5], CLASSES[i % 5] if i < 15 else "HCM") for i in range(20)]
    found = summarise(rows)
    assert found["accuracy"] == found["middle"] == pytest.approx(100 * 16 / 20)
    right, wrong = 0.4**2 + 4 * 0.1**2, 0.9**2 + 0.6**2 + 3 * 0.1**2
    assert found["brier"] == pytest.approx((16 * right + 4 * wrong) / 20)
    assert found["log_loss"] == pytest.approx(-(16 * np.log(0.6) + 4 * np.log(0.1)) / 20)
    assert found["accuracy_low"] < 80 < found["accuracy_high"]
    assert np.trace(found["confusion"]) == 16
    assert found["confusion"][CLASSES.index("NOR")][CLASSES.index("HCM")] == 1
    worse = [_row(r["case"], r["group"], "HCM") for r in reversed(rows)]
    mean, low, high, n = difference({"rows": rows}, {"rows": worse})
    assert (mean, n) == (pytest.approx(60), 20)
    assert 0 < low < 60 < high


def test_curves_are_means_over_the_folds_that_have_them() -> None:
    def curve(*errors: float | None) -> list[dict]:
        return [{"step": 50 * i, "held out": {"accuracy": e}} for i, e in enumerate(errors, 1)]

    assert mean_curve([curve(0.2, 0.4, 0.6), curve(0.4, 0.8)], "held out", "accuracy") == (
        [50, 100],
        pytest.approx([0.3, 0.6]),
    )
    assert mean_curve([curve(None)], "held out", "accuracy") == ([], [])
    assert mean_curve([], "held out", "accuracy") == ([], [])


def test_the_weights_of_every_task_are_on_the_page() -> None:
    """0.3 and 0.7 where the features cede their share, 0.3 and 0.28 where their term is left out of the formula."""
    from myoscope.systems.acdc_multitask.page import title, weights

    double = weights("acdc-multitask.double")
    literal = weights("acdc-multitask.double-literal")
    triple = weights("acdc-multitask.triple")
    assert double == pytest.approx({"segmentation": 0.3, "diagnosis": 0.7})
    assert literal == pytest.approx({"segmentation": 0.3, "diagnosis": 0.28})
    assert triple == pytest.approx({"segmentation": 0.3, "features": 0.42, "diagnosis": 0.28})
    assert weights("acdc-multitask.diagnosis") == {"diagnosis": 1.0}
    assert title("acdc-multitask.half-double-literal") == "double task, the formula's weights, half resolution"


def test_steps_say_what_came_at_the_thesis_two() -> None:
    from myoscope.systems.acdc_multitask.page import steps_facts

    points = [{"step": s, "held out": {"accuracy": a, "largest": 0.25}} for s, a in ((1100, 0.75), (1500, 0.25))]
    found = {
        "acdc-multitask.double": {"trained": [{"steps": 1600}], "curves": [points]},
        "acdc-multitask.triple": {"trained": [{"steps": 1200}], "curves": [points[:1]]},
    }
    facts = steps_facts(found)
    assert (facts["least"], facts["most"]) == (1200, 1600)
    double, triple = facts["points"]
    assert (double["accuracy 1100"], double["accuracy 1500"], double["largest 1500"]) == (75, 25, 25)
    assert (triple["accuracy 1100"], triple["accuracy 1500"]) == (75, None)
