import numpy as np
import pytest

from myoscope.analysis import judge
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.diagnose import diagnose
from myoscope.labels import Structure
from myoscope.measure.results import Measurements
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


def test_two_classes_differ_by_their_evidence(measured: Measurements) -> None:
    """Evidence adds up to the log-odds, but for the odds of an average case."""
    lge = measured.diagnosis.by_series["lge"]
    odds = np.log(lge.probabilities["pathological"] / lge.probabilities["normal"])
    average = odds - sum(item.weight for item in lge.evidence)
    assert abs(average) < 5


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
