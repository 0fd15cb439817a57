"""How it is trained: its batches and its loss."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.files import write_whole
from myoscope.lab.loop import Budget, keep_recipe, mixed, progress_of, seed_of
from myoscope.lab.loop import train as run
from myoscope.study import Case
from myoscope.systems.acdc_multitask.inputs import (
    Augmentation,
    Inputs,
    batch,
    channels,
    collect,
)
from myoscope.systems.acdc_multitask.model import Model, build
from myoscope.systems.acdc_multitask.network import PHASES
from myoscope.systems.acdc_multitask.recipe import Recipe
from myoscope.weights import half

STRUCTURE_WEIGHTS = (0.1, 0.3, 0.3, 0.3)
MARGIN = 12
"""Pixels kept around the crop for augmentation."""


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on labelled cases until the budget is spent; the folder keeps the snapshots of the learning curve too."""
    keep_recipe(recipe, folder)
    margin = MARGIN if recipe.augmentation != Augmentation() else 0
    inputs = collect(cases, recipe.crop + 2 * margin, recipe.spacing_mm)
    torch.manual_seed(recipe.seed)
    network = build(recipe)
    if recipe.features:
        network.features_mean.copy_(inputs.features.mean(0))
        network.features_scale.copy_(inputs.features.std(0, correction=0).clamp(min=1e-3))
        inputs = replace(inputs, features=(inputs.features - network.features_mean) / network.features_scale)
    network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    budget = budget.in_steps(len(inputs.stacks), recipe.batch)
    average = run(network, _loss(recipe, inputs, folder, device), budget, folder, recipe.optimisation, recipe.name)
    if (last := progress_of(folder)[0]) % recipe.snapshot_steps == 0:
        _keep(network, _snapshot(folder, last))
    return Model(recipe, average)  # type: ignore[arg-type]


def _loss(recipe: Recipe, inputs: Inputs, folder: Path, device: str) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a step; now and then it keeps the weights for the learning curve (`train` those of the last)."""

    def loss_of(network: nn.Module, step: int) -> Tensor:
        if step and step % recipe.snapshot_steps == 0:
            _keep(network, _snapshot(folder, step))
        seed = seed_of(recipe, step)
        stacks, labels, chosen = batch(inputs, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.augmentation, seed)
        images = channels(stacks).to(device).contiguous(memory_format=torch.channels_last_3d)
        torch.manual_seed(seed)  # of the dropout: a resumed run goes on as if it had not been killed
        with mixed(images.device.type):
            found = {key: value.float() for key, value in network(images).items()}
        terms: dict[str, Tensor] = {}
        if recipe.segmentation:
            terms["segmentation"] = torch.stack(
                [dice_loss(found[p], labels[:, i].to(device)) for i, p in enumerate(PHASES)]
            ).mean()
        if recipe.features:
            terms["features"] = F.mse_loss(found["features"], inputs.features[chosen].to(device))
        if recipe.diagnosis:
            terms["diagnosis"] = F.cross_entropy(found["diagnosis"], inputs.classes[chosen].to(device))
        return combined(terms, recipe.alpha, recipe.beta, recipe.cedes)

    return loss_of


def combined(terms: dict[str, Tensor], alpha: float, beta: float, cedes: bool = True) -> Tensor:
    """alpha segmentation + (1 - alpha) (beta features + (1 - beta) diagnosis).

    A task that is not learned cedes its share, or its term is just left out.

    >>> one = {"segmentation": torch.tensor(1.0), "diagnosis": torch.tensor(2.0)}
    >>> float(combined(one, 0.25, 0.6)), round(float(combined(one, 0.25, 0.6, cedes=False)), 6)
    (1.75, 0.85)
    """
    if not cedes:
        shares = {"segmentation": alpha, "features": (1 - alpha) * beta, "diagnosis": (1 - alpha) * (1 - beta)}
        return sum((shares[task] * term for task, term in terms.items()), torch.zeros(()))
    rest = [(beta, terms.get("features")), (1 - beta, terms.get("diagnosis"))]
    judged = [(weight, term) for weight, term in rest if term is not None]
    loss = sum((weight * term for weight, term in judged), torch.zeros(())) / max(sum(w for w, _ in judged), 1e-9)
    if "segmentation" not in terms:
        return loss
    return alpha * terms["segmentation"] + (1 - alpha) * loss if judged else terms["segmentation"]


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - the weighted Dice of every structure, with squares in its denominator (Milletari et al. 2016).

    Args:
        logits: (B, C, Z, Y, X).
        labels: (B, Z, Y, X), int64.
    """
    shares, truth = logits.softmax(1), F.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
    overlap = (2 * (shares * truth).sum((2, 3, 4)) + 1) / ((shares**2 + truth).sum((2, 3, 4)) + 1)
    return 1 - (overlap.mean(0) * overlap.new_tensor(STRUCTURE_WEIGHTS)).sum()


def _snapshot(folder: Path, step: int) -> Path:
    return folder / "snapshots" / f"{step:06}.safetensors"


def _keep(network: nn.Module, path: Path) -> None:
    from safetensors.torch import save

    path.parent.mkdir(exist_ok=True)
    write_whole(path, save({name: tensor.contiguous() for name, tensor in half(network.state_dict()).items()}))
