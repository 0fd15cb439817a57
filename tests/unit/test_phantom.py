"""The phantom: what it draws is deterministic, anatomically right, and labelled exactly."""

from dataclasses import replace

import numpy as np
import pytest

from myoscope.datasets.phantom import (
    KEPT_ASIDE,
    ROLES,
    TRAINING,
    Look,
    PhantomSettings,
    Shape,
    draw,
    phantom_case,
    sample,
)
from myoscope.errors import InputError
from myoscope.labels import LV_WALL, Structure
from myoscope.study import Case, Role

S = Structure
CODES = {
    Role.CINE: {S.BACKGROUND, S.LV, S.MYOCARDIUM, S.RV},
    Role.LGE: {S.BACKGROUND, S.LV, S.MYOCARDIUM, S.INFARCT, S.NO_REFLOW, S.RV},
    Role.T2: {S.BACKGROUND, S.LV, S.MYOCARDIUM, S.EDEMA, S.RV},
}
PRESETS = pytest.mark.parametrize("settings", [TRAINING, KEPT_ASIDE], ids=["training", "kept-aside"])


def volumes_ml(case: Case, role: Role, structure: Structure) -> np.ndarray:
    labels = case.labels[role]
    return (labels.frames == structure).sum(axis=(1, 2, 3)) * labels.voxel_ml


@pytest.fixture(scope="module")
def infarcted() -> Case:
    """A study with an infarct that has a no-reflow core, both drawn large."""
    settings = replace(
        TRAINING,
        no_reflow_probability=1.0,
        no_reflow=(0.5, 0.6),
        transmurality=(0.7, 0.9),
        infarct_half_width=(50.0, 60.0),
        infarct_half_length=(0.4, 0.5),
    )
    return draw(sample(7, settings, group="MINF"), frames=2)


def test_same_seed_same_study_whichever_roles_are_drawn() -> None:
    whole, part = phantom_case(11, frames=1), draw(sample(11), roles=(Role.LGE,))
    assert [s.role for s in part.study.series] == [Role.LGE]
    np.testing.assert_array_equal(whole.study.get(Role.LGE).image.voxels, part.study.get(Role.LGE).image.voxels)
    np.testing.assert_array_equal(whole.labels[Role.LGE].voxels, part.labels[Role.LGE].voxels)
    assert whole.study.patient == part.study.patient
    other = draw(sample(12), roles=(Role.LGE,))
    assert not np.array_equal(other.labels[Role.LGE].voxels, part.labels[Role.LGE].voxels)


@PRESETS
def test_every_series_lies_on_an_oblique_grid_with_allowed_codes(settings: PhantomSettings) -> None:
    case = phantom_case(3, settings, frames=1)
    assert {s.role for s in case.study.series} == set(ROLES)
    for series in case.study.series:
        image, labels = series.image, case.labels[series.role]
        look = settings.looks[series.role]
        assert image.same_grid(labels) and image.voxels.shape == labels.voxels.shape
        assert image.voxels.ndim == (4 if series.role is Role.CINE else 3)
        assert image.is_oblique and np.isfinite(image.voxels).all()
        assert look.slice_mm[0] <= image.spacing_mm[0] <= look.slice_mm[1]
        assert look.spacing_mm[0] <= image.spacing_mm[2] <= look.spacing_mm[1]
        assert set(np.unique(labels.voxels)) <= CODES[series.role]
        assert {S.LV, S.MYOCARDIUM, S.RV} <= set(np.unique(labels.voxels))
        assert series.ed_frame is None and series.es_frame is None


@pytest.mark.parametrize(
    ("settings", "group"), [*((TRAINING, g) for g in sorted(TRAINING.shapes)), (KEPT_ASIDE, "HCM"), (KEPT_ASIDE, "RV")]
)
def test_labels_hold_the_volumes_that_were_drawn(settings: PhantomSettings, group: str) -> None:
    parameters = sample(5, settings, group)
    case, heart = draw(parameters, roles=(Role.CINE,), frames=2), parameters.heart
    lv, rv, wall = (volumes_ml(case, Role.CINE, s) for s in (S.LV, S.RV, S.MYOCARDIUM))
    assert case.group == group
    assert lv[0] == pytest.approx(heart.edv_ml, rel=0.08)
    assert rv[0] == pytest.approx(heart.rv_edv_ml, rel=0.1)
    assert 1 - lv[1] / lv[0] == pytest.approx(heart.ef, abs=0.09)
    assert 1 - rv[1] / rv[0] == pytest.approx(heart.rv_ef, abs=0.11)
    assert wall[1] == pytest.approx(wall[0], rel=0.15)


def test_volume_falls_to_end_systole_at_a_third_of_the_cycle_and_rises_again() -> None:
    case = draw(sample(2, group="NOR"), roles=(Role.CINE,), frames=10)
    lv = volumes_ml(case, Role.CINE, S.LV)
    lowest = int(lv.argmin())
    assert lv.argmax() == 0 and 0.3 <= lowest / 10 <= 0.45
    assert (np.diff(lv[: lowest + 1]) < 0).all() and (np.diff(lv[lowest:]) >= 0).all()
    cine = case.study.get(Role.CINE).image
    assert cine.frame_time_ms == pytest.approx(60000 / case.study.patient.heart_rate_bpm / 10)


def test_rv_lies_left_of_the_lv_and_slices_run_as_the_affine_says() -> None:
    orders = set()
    for seed, apex_first in enumerate((0.0, 1.0)):
        case = draw(sample(seed, replace(TRAINING, apex_first_probability=apex_first)), roles=(Role.T2,))
        labels = case.labels[Role.T2]
        voxels, affine = labels.voxels, labels.affine
        x = {s: np.nonzero(voxels == s)[2].mean() for s in (S.RV, S.LV)}
        assert x[S.RV] < x[S.LV]
        lv = (voxels == S.LV).sum(axis=(1, 2))
        centre = (lv * np.arange(lv.size)).sum() / lv.sum()
        heart_slices = np.nonzero(lv)[0]
        base_first = centre < heart_slices.mean()
        towards_apex = affine[:3, 2] @ np.cross(affine[:3, 0], affine[:3, 1]) < 0
        assert base_first == towards_apex
        orders.add(bool(base_first))
    assert orders == {True, False}


def test_infarct_and_core_lie_in_the_wall_and_edema_is_larger(infarcted: Case) -> None:
    lge = infarcted.labels[Role.LGE].voxels
    wall = np.isin(lge, LV_WALL)
    assert (lge == S.NO_REFLOW).any()
    for structure in (S.INFARCT, S.NO_REFLOW):
        found = np.argwhere(lge == structure)
        # Every voxel of the structure has wall or blood on all four sides of its slice: nothing floats in the lung.
        inside = np.isin(lge, (*LV_WALL, S.LV, S.RV))
        share = np.mean([inside[z, y - 1 : y + 2, x - 1 : x + 2].mean() for z, y, x in found])
        assert share > 0.9
    assert (lge == S.INFARCT).sum() < 0.6 * wall.sum()
    scar = sum(volumes_ml(infarcted, Role.LGE, s)[0] for s in (S.INFARCT, S.NO_REFLOW))
    assert volumes_ml(infarcted, Role.T2, S.EDEMA)[0] > scar


def test_contrast_is_that_of_each_sequence(infarcted: Case) -> None:
    def mean(role: Role, structure: Structure) -> float:
        image = infarcted.study.get(role).image
        return float(image.voxels[infarcted.labels[role].voxels == structure].mean())

    assert mean(Role.CINE, S.LV) > 1.5 * mean(Role.CINE, S.MYOCARDIUM)
    assert mean(Role.LGE, S.INFARCT) > mean(Role.LGE, S.MYOCARDIUM)
    assert mean(Role.LGE, S.INFARCT) > mean(Role.LGE, S.NO_REFLOW)
    assert mean(Role.T2, S.EDEMA) > mean(Role.T2, S.MYOCARDIUM) > mean(Role.T2, S.LV)


def test_no_infarct_where_none_was_drawn() -> None:
    case = draw(sample(4, group="NOR"), roles=(Role.LGE, Role.T2))
    assert not np.isin(case.labels[Role.LGE].voxels, (S.INFARCT, S.NO_REFLOW)).any()
    assert not (case.labels[Role.T2].voxels == S.EDEMA).any()


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: replace(TRAINING, shading=(0.5, 0.1)), "shading"),
        (lambda: replace(TRAINING, no_reflow_probability=1.5), "no_reflow_probability"),
        (lambda: replace(TRAINING, elongation=(float("nan"), 3)), "elongation"),
        (lambda: replace(TRAINING, shapes={}), "diagnosis"),
        (lambda: replace(TRAINING, looks={}), "look"),
        (lambda: replace(TRAINING.shapes["NOR"], ef=(0.5, 1.2)), "Shape.ef"),
        (lambda: replace(TRAINING.looks[Role.CINE], spacing_mm=(0.0, 1.0)), "Look.spacing_mm"),
        (lambda: sample(-1), "seed"),
        (lambda: sample(0, group="XYZ"), "group"),
        (lambda: draw(sample(0), frames=0), "frame"),
        (lambda: draw(sample(0), roles=(Role.BSSFP,)), "roles"),
    ],
)
def test_impossible_settings_and_calls_are_refused(make: object, names: str) -> None:
    with pytest.raises(InputError, match=names):
        make()


def test_presets_differ_where_it_matters() -> None:
    assert isinstance(TRAINING.shapes["NOR"], Shape) and isinstance(TRAINING.looks[Role.CINE], Look)
    for role in ROLES:
        ours, theirs = TRAINING.looks[role].spacing_mm, KEPT_ASIDE.looks[role].spacing_mm
        assert ours[1] <= theirs[0] or theirs[1] <= ours[0]
