"""One contract for every system that segments; `test_doc_net` has the one that classifies."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.errors import InputError
from myoscope.lab.loop import Budget
from myoscope.labels import Structure
from myoscope.study import Case, Role
from myoscope.systems import SYSTEMS, full_name, system_module


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(1, TRAINING, "MINF"), (Role.CINE, Role.LGE), frames=2)


SMALL = {
    "myoscope.systems.cascade": {"widths": (4, 8), "crop": 32, "batch": 2},
    "myoscope.systems.compact": {
        "widths": (4, 8),
        "spacing_mm": 2.0,
        "crop": 32,
        "batch": 2,
        "phantoms": 0,
        "start_from": None,
    },
    "myoscope.systems.compact.myops": {"widths": (4, 8), "crop": 32, "batch": 2, "phantoms": 0},
    "myoscope.systems.doc_net.segmentation": {"widths": (4, 8), "crop": 32, "locator_crop": 32, "batch": 2},
    "myoscope.systems.jdl": {"widths": (4, 8), "crop": 32, "batch": 2, "start_from": None},
}
CLASSIFYING = ("acdc-multitask", "doc-net")
WITH_ALL_SEQUENCES = ("myops-ensemble",)  # has the same test, with a case that shows them


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in (*CLASSIFYING, *WITH_ALL_SEQUENCES)])
def test_trains_predicts_saves_and_loads(name: str, case: Case, tmp_path: Path) -> None:
    module, small = system_module(name), SMALL.get(SYSTEMS[name], {})
    name = full_name(name, None)
    recipe = dataclasses.replace(module.RECIPES[name], **small)
    assert recipe.name == name
    model = module.train(recipe, [case], Budget(steps=2), tmp_path / "run")
    card = {"system": name, "widths": recipe.widths, "licence": "none"}
    model.save(tmp_path / "weights.safetensors", card)
    loaded = module.Model.load(tmp_path / "weights.safetensors")
    predictions = loaded.predict(case.study)
    assert set(predictions) == {role for role in case.labels if role in recipe.roles}
    for role, labels in predictions.items():
        image = case.study.get(role).image
        assert labels.voxels.shape == image.voxels.shape
        assert labels.voxels.dtype == np.uint8
        assert labels.same_grid(image)
        assert set(np.unique(labels.voxels)) <= set(getattr(loaded, "classes", recipe.classes))


@pytest.mark.parametrize("name", SYSTEMS)
def test_missing_weights_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected (weights|a card)"):
        system_module(name).Model.load(tmp_path / "none.safetensors")


def test_what_is_no_weights_is_named(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"no")
    for card in ("no", "[]", "{}", '{"system": "x"}', '{"system": "compact-cine", "widths": [4, 8]}'):
        weights.with_suffix(".json").write_text(card)
        with pytest.raises(InputError, match="not the weights of a compact model"):
            system_module("compact-cine").Trained.load(weights)


def test_unknown_system_is_named() -> None:
    with pytest.raises(InputError, match="compact-cine"):
        system_module("compact-cin")


def test_only_the_largest_body_is_kept() -> None:
    from myoscope.segment.clean import keep_heart

    labels = np.zeros((3, 10, 10), np.uint8)
    labels[:, 2:5, 2:5] = Structure.LV
    labels[1, 5, 5] = Structure.RV
    labels[0, 8:, 8:] = Structure.LV
    kept = keep_heart(labels)
    assert not kept[0, 8:, 8:].any()
    assert kept[1, 5, 5] == Structure.RV
    assert (kept[:, 2:5, 2:5] == Structure.LV).all()
    assert not keep_heart(np.zeros((2, 4, 4), np.uint8)).any()


def test_rv_is_one_body() -> None:
    from myoscope.segment.clean import keep_heart

    labels = np.zeros((3, 12, 12), np.uint8)
    labels[:, 3:8, 3:8] = Structure.MYOCARDIUM
    labels[:, 3:8, 1:3] = Structure.RV
    labels[1, 2, 7:9] = Structure.RV  # at the heart, but not at the RV
    kept = keep_heart(labels)
    assert not kept[1, 2].any()
    assert (kept[:, 3:8] == labels[:, 3:8]).all()


def test_traces_of_scar_are_dropped() -> None:
    from myoscope.segment.clean import drop_traces

    labels = np.array([[[1, 2, 3, 3, 3, 4]]], np.uint8)
    limits = {Structure.NO_REFLOW: 0.3, Structure.INFARCT: 2.0}
    assert drop_traces(labels, limits, 1.0).tolist() == labels.tolist()
    assert drop_traces(labels, limits, 0.2).ravel().tolist() == [1, 2, 2, 2, 2, 2]
    assert drop_traces(labels, {Structure.NO_REFLOW: 1.5}, 1.0).ravel().tolist() == [1, 2, 3, 3, 3, 3]
