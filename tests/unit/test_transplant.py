"""Infarcts carried from heart to heart: they stay in the wall, and look like the heart that receives them."""

import numpy as np
import pytest

from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.lab.transplant import transplant, transplants
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.study import Case, Role


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [draw(sample(seed, TRAINING, group), [Role.LGE]) for seed, group in ((1, None), (2, "MINF"), (4, "MINF"))]


def _parts(case: Case) -> tuple[np.ndarray, np.ndarray]:
    series = case.study.get(Role.LGE)
    assert series
    return series.image.frames[0], case.labels[Role.LGE].frames[0]


@pytest.mark.parametrize(("recipient", "donor"), [(0, 1), (1, 2), (2, 1)])
def test_an_infarct_moves_into_another_wall(cases: list[Case], recipient: int, donor: int) -> None:
    before, given = cases[recipient], cases[donor]
    new = transplant(before, given, np.random.default_rng(0))
    assert new
    (old_image, old), (image, labels), (_, source) = _parts(before), _parts(new), _parts(given)
    wall = np.isin(old, LV_WALL)
    assert np.array_equal(np.isin(labels, LV_WALL), wall)
    assert np.array_equal(labels[~wall], old[~wall])
    assert np.array_equal(image[~wall], old_image[~wall])
    shares = [np.isin(codes, SCAR).sum() / np.isin(codes, LV_WALL).sum() for codes in (labels, source)]
    assert shares[0] == pytest.approx(shares[1], abs=0.06)
    scar, remote = np.isin(labels, SCAR), labels == Structure.MYOCARDIUM
    assert np.median(image[scar & (labels == Structure.INFARCT)]) > np.percentile(image[remote], 75)


def test_remote_wall_covers_what_was_scar(cases: list[Case]) -> None:
    new = transplant(cases[1], cases[2], np.random.default_rng(1))
    assert new
    (_, old), (image, labels) = _parts(cases[1]), _parts(new)
    covered = np.isin(old, SCAR) & (labels == Structure.MYOCARDIUM)
    stayed = (old == Structure.MYOCARDIUM) & (labels == Structure.MYOCARDIUM)
    assert covered.sum() > 20
    spread = np.percentile(image[stayed], 90) - np.percentile(image[stayed], 10)
    assert abs(np.median(image[covered]) - np.median(image[stayed])) < spread


def test_they_are_the_same_for_the_same_seed_and_need_an_infarct(cases: list[Case]) -> None:
    first, again = (transplants(cases, 4, seed=7) for _ in range(2))
    assert len(first) == 4
    assert all(np.array_equal(_parts(a)[0], _parts(b)[0]) for a, b in zip(first, again, strict=True))
    assert transplants(cases[:1], 4, seed=7) == []
