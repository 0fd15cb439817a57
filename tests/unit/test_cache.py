"""Cases in one small file, and folds trained from it side by side."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.errors import InputError
from myoscope.lab.cache import SIDE_MM, read_cache, write_cache
from myoscope.lab.crossval import read_cases, side_by_side, train_fold, train_folds, weights_path
from myoscope.lab.loop import Budget
from myoscope.labels import Structure
from myoscope.study import Case, Role
from myoscope.systems import compact


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    drawn = [draw(sample(seed, TRAINING, "MINF"), (Role.CINE, Role.LGE), frames=2) for seed in range(2)]
    return [dataclasses.replace(case, drawn_as={Structure.RV: Structure.BACKGROUND}, data_set="own") for case in drawn]


def _heart(case: Case, role: Role) -> tuple[float, np.ndarray]:
    """Volume in ml, and centre of gravity in mm, of what is labelled."""
    labels = case.labels[role]
    z, y, x = np.argwhere(labels.frames[0] > 0).mean(0)
    return (labels.frames > 0).sum() * labels.voxel_ml, (labels.affine @ [x, y, z, 1])[:3]


def test_a_cache_holds_the_same_hearts_at_the_same_places(cases: list[Case], tmp_path: Path) -> None:
    write_cache(cases, tmp_path / "cases.npz")
    again = read_cache(tmp_path / "cases.npz")
    assert [dataclasses.replace(c, study=None, labels={}) for c in again] == [
        dataclasses.replace(c, study=None, labels={}) for c in cases
    ]
    for case, kept in zip(cases, again, strict=True):
        assert kept.study.patient == case.study.patient
        for role in (Role.CINE, Role.LGE):
            (ml, where), (kept_ml, kept_where) = _heart(case, role), _heart(kept, role)
            assert kept_ml == pytest.approx(ml, rel=0.02)
            assert np.abs(kept_where - where).max() < 1
            image = kept.study.get(role).image
            assert (
                max(n * mm for n, mm in zip(image.voxels.shape[-2:], image.spacing_mm[1:], strict=True)) <= SIDE_MM + 2
            )


def test_what_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "cases.npz").write_bytes(b"no")
    with pytest.raises(InputError, match=r"cases\.npz: expected a cache of cases"):
        read_cases([tmp_path / "cases.npz"])


def test_folds_train_side_by_side_from_a_cache(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"widths": (4, 8), "crop": 32, "batch": 2, "phantoms": 0}
    recipe = dataclasses.replace(compact.RECIPES["compact-cine"], **small)
    monkeypatch.setitem(compact.RECIPES, "compact-cine", recipe)
    write_cache(cases, tmp_path / "cases.npz")
    call = ("compact-cine", [tmp_path / "cases.npz"], [0, 1], Budget(steps=2))
    paths = train_folds(*call, tmp_path / "runs", None, "cpu")
    assert [path.parent.name for path in paths] == ["fold-1", "fold-2"]
    assert [compact.Model.load(path).card["trained_on"] for path in paths] == [{"own": 1}] * 2
    assert side_by_side(*call, tmp_path / "runs", "cpu") == paths
    (tmp_path / "cases.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="expected a cache"):
        side_by_side(*call, tmp_path / "other", "cpu")


def test_two_systems_do_not_train_in_one_folder(cases: list[Case], tmp_path: Path) -> None:
    (tmp_path / "fold-1").mkdir()
    (tmp_path / "fold-1" / "recipe.json").write_text('{"name": "compact-lge"}')
    with pytest.raises(InputError, match="expected a folder for compact-cine, found a training of compact-lge"):
        train_fold("compact-cine", cases, 0, Budget(steps=1), tmp_path, "cpu")


def test_label_maps_that_a_system_does_not_learn_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected no --segmentations for compact-cine"):
        train_folds("compact-cine", [], [0], Budget(steps=1), tmp_path, tmp_path, "cpu")


def test_runs_of_a_variant_lie_in_a_folder_of_its_name() -> None:
    assert weights_path("compact-cine", 0, Path("r")) == Path("r/fold-1/compact-cine.safetensors")
    assert weights_path("jdl.direct", None, Path("r")) == Path("r/direct/all/jdl.direct.safetensors")
