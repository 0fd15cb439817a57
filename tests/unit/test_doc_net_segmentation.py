"""doc-net's own segmentation: that its loss lets scar be found, and that training finds it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.test_doc_net import _case, one_thread  # noqa: F401
from torch.nn import functional as F

from myoscope.lab.loop import Budget, Optimisation
from myoscope.labels import Structure
from myoscope.study import Role
from myoscope.systems.doc_net import evaluation, figures, segmentation
from myoscope.systems.doc_net.segmentation import RECIPES, Model, ScarLoss, train


def test_loss_by_hand() -> None:
    truth = torch.zeros(1, 3, 10, 20)
    truth[:, 0], truth[0, 1, :5] = 1.0, 1.0
    truth[0, 0, :5] = 0.0  # 100 voxels of each of two classes, none of the third
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).reshape(1, 3, 1, 1).expand(1, 3, 10, 20)
    weights = np.array([1 / 100**2, 1 / 100**2, 1.0])  # the absent class is taken for 0.005 x 200 voxels: one
    both = (weights * [50, 30, 0]).sum()
    either = (weights * [200, 160, 40]).sum()
    expected = 1 - 2 * both / either - (np.log(0.5) + np.log(0.3)) / 2
    assert float(ScarLoss()(logits, truth)) == pytest.approx(expected, abs=1e-5)
    assert float(ScarLoss()(100 * truth, truth)) < 1e-4


def test_a_class_that_was_given_up_comes_back() -> None:
    """The Dice loss alone leaves a class whose probability has gone to nothing where it is."""
    truth = F.one_hot(torch.zeros(4, 32, 32, dtype=torch.long), 4).movedim(-1, 1).float()
    truth[:, :, 10:20, 10:20] = torch.tensor([0, 1, 0, 0.0])[None, :, None, None]
    truth[0, :, 12:18, 12:18] = torch.tensor([0, 0, 0, 1.0])[None, :, None, None]
    logits = (8 * truth).requires_grad_()
    with torch.no_grad():
        logits[0, :, 12:18, 12:18] = torch.tensor([0.0, 8.0, 0.0, -2.0])[:, None, None]
    (slope,) = torch.autograd.grad(ScarLoss()(logits, truth), logits)
    inside = slope[0, 3, 12:18, 12:18].sum()
    assert inside < -0.005  # of all that the loss can give: 36 of 4,096 pixels


def test_scar_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [_case(i) for i in range(8)]
    recipe = replace(
        RECIPES["doc-net-segmentation"],
        widths=(8, 16),
        spacing_mm=2.5,
        crop=48,
        locator_crop=48,
        batch=4,
        optimisation=Optimisation(ema_decay=0.9),
    )
    model = train(recipe, cases, Budget(steps=160), tmp_path)
    model.save(tmp_path / "w.safetensors", {"system": "doc-net-segmentation", "widths": recipe.widths})
    assert Model.load(tmp_path / "w.safetensors").recipe == replace(
        RECIPES["doc-net-segmentation"], widths=(8, 16), spacing_mm=2.5, crop=48
    )  # as it was trained, not as the recipe is
    monkeypatch.setattr(figures, "phantoms", lambda count, _: [_case(13), _case(15)][:count])
    figures.write_phantoms(model, tmp_path / "phantoms.svg")
    patients = [replace(_case(i), data_set="emidec") for i in (8, 11)]
    automatic = [replace(case, labels=dict(model.predict(case.study))) for case in patients]
    figures.write_patients(automatic, patients, tmp_path / "patients.svg")
    monkeypatch.setattr(evaluation.Segmentation, "load", lambda *_: model)
    (tmp_path / "runs").mkdir()
    evaluation._draw(tmp_path / "runs", automatic, patients, "cpu")
    assert [path.name for path in tmp_path.glob("runs/doc-net*.svg")] == [
        "doc-net-samples.svg"
    ]  # what --page publishes
    assert (tmp_path / "runs" / "patients.svg").exists()
    for name in ("phantoms", "patients"):
        assert (tmp_path / f"{name}.svg").read_text().count("<image") == 3 * 4  # image, drawn, automatic: four slices
    for case in (_case(8), _case(11)):  # one without, one with scar
        found = model.predict(case.study)[Role.LGE].voxels == Structure.INFARCT
        truth = case.labels[Role.LGE].voxels == Structure.INFARCT
        if truth.any():
            assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.45
        else:
            assert found.mean() < 0.002


def test_slices_with_scar_are_drawn_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    real = segmentation.batch

    def note(slices, size, crop, *rest):
        seen[crop] = slices
        return real(slices, size, crop, *rest)

    monkeypatch.setattr(segmentation, "batch", note)
    recipe = replace(RECIPES["doc-net-segmentation"], widths=(4, 8), crop=32, locator_crop=48, batch=2)
    train(recipe, [_case(0), _case(1)], Budget(steps=4), tmp_path)
    assert seen[32].weights.tolist() == [1.0] * 7 + [2.0] * 7
    assert seen[48].weights.tolist() == [1.0] * 14
