"""How it is trained: its batches and its loss."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.lab.augment import batch
from myoscope.lab.loop import Budget, keep_recipe, mixed, seed_of
from myoscope.lab.loop import train as run
from myoscope.lab.slices import SliceSet, collect
from myoscope.study import Case
from myoscope.systems.jdl.model import Model, build
from myoscope.systems.jdl.recipe import Recipe

SMOOTHING = 1e-6


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on labelled cases until the budget is spent; two-step's networks are trained at once, without a message."""

    keep_recipe(recipe, folder)
    torch.manual_seed(recipe.seed)
    network = build(recipe, device)
    weighted = [(case, 1.0) for case in cases]
    slices = collect(weighted, recipe.roles, recipe.classes, recipe.stand_ins, recipe.spacing_mm)
    loss = _loss(recipe, slices.to(torch.device(device)))
    budget = budget.in_steps(len(slices.labels), recipe.batch)
    average = run(network, loss, budget, folder, recipe.optimisation, recipe.name)
    return Model(recipe, average)  # type: ignore[arg-type]


def mask_loss(logits: Tensor, truth: Tensor, dice_weight: float) -> Tensor:
    """Cross-entropy + dice_weight x (1 - soft Dice of the batch); logits and truth (0 or 1) of one shape, float.

    The paper prints the second term with a minus, which would reward the worst Dice.
    """
    shares = logits.sigmoid()
    overlap = (2 * (shares * truth).sum() + SMOOTHING) / (shares.sum() + truth.sum() + SMOOTHING)
    return F.binary_cross_entropy_with_logits(logits, truth) + dice_weight * (1 - overlap)


def _loss(recipe: Recipe, slices: SliceSet) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a step: lambda x the wall's + the scar's."""

    def loss_of(network: nn.Module, step: int) -> Tensor:
        seed = seed_of(recipe, step)
        images, labels, _ = batch(slices, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.strength, seed)
        drawn, diseased = ((labels >= k)[:, None].float() for k in (1, 2))  # infarct is part of the wall
        torch.manual_seed(seed)  # dropout draws from torch's own generator
        with mixed(images.device.type):
            wall, scar = network(images.contiguous(memory_format=torch.channels_last), drawn)
        loss = mask_loss(scar.float(), diseased, recipe.dice_weight)
        return loss if wall is None else recipe.wall_weight * mask_loss(wall.float(), drawn, recipe.dice_weight) + loss

    return loss_of
