"""How it is trained: its batches and its loss."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.lab.loop import Budget, keep_recipe, mixed, seed_of
from myoscope.lab.loop import train as run
from myoscope.lab.slices import collect, fit_canvas
from myoscope.lab.stacks import StackSet, batch, starts_of
from myoscope.segment.images import resample_slices
from myoscope.segment.lge import prior_of
from myoscope.study import Case, Series
from myoscope.systems import system_module
from myoscope.systems.cascade.model import Trained
from myoscope.systems.cascade.recipe import Recipe, build
from myoscope.weights import weights_of


def train(
    recipe: Recipe,
    cases: Sequence[Case],
    budget: Budget,
    folder: Path,
    device: str = "cpu",
    first: Path | None = None,
    priors: Mapping[str, Tensor] | None = None,
) -> Trained:
    """Train one stage on labelled cases until the budget is spent.

    Args:
        first: Weights of the first stage that the model will go on from; default: the installed ones.
        priors: By case what a first stage that has not seen it says (`prior_on_canvas`); default: what `first` says,
            which is only right for cases that are new to it.
    """
    keep_recipe(recipe, folder)
    if recipe.first and first is None:
        first = weights_of(recipe.first)
    torch.manual_seed(recipe.seed)
    network = build(recipe, recipe.widths, device)
    stacks = _stacks(recipe, cases, first, priors).to(torch.device(device))
    items = len(stacks.slices.labels) if recipe.depth == 1 else len(stacks.starts) - 1
    budget = budget.in_steps(items, recipe.batch)
    average = run(network, _loss(recipe, stacks), budget, folder, recipe.optimisation, recipe.name)
    return Trained(recipe, average, first)


def prior_on_canvas(recipe: Recipe, first: Any, series: Series) -> Tensor:
    """What a first stage says of a series: (slices of all frames, C - 1, CANVAS, CANVAS), uint8, 0 to 255."""
    found = []
    for frame in series.image.frames:
        prior = prior_of(first.shares(frame, series.image)[0], first.classes, recipe.classes)[:, 1:]
        seen = torch.from_numpy(resample_slices(prior, series.image.spacing_mm[1:], recipe.spacing_mm))
        found.append(torch.stack([fit_canvas(share) for share in seen.unbind(1)], 1))
    return (torch.cat(found) * 255).round().to(torch.uint8)


def _stacks(recipe: Recipe, cases: Sequence[Case], first: Path | None, priors: Mapping[str, Tensor] | None) -> StackSet:

    slices = collect([(case, 1.0) for case in cases], recipe.roles, recipe.classes, recipe.stand_ins, recipe.spacing_mm)
    starts = starts_of(slices)
    if priors:
        return StackSet(slices, starts, torch.cat([priors[case.id] for case in cases]))
    if not (recipe.first and first):
        return StackSet(slices, starts)
    shown = [s for case in cases for s in case.study.series if s.role in recipe.roles and s.role in case.labels]
    model = system_module(recipe.first).Model.load(first)
    return StackSet(slices, starts, torch.cat([prior_on_canvas(recipe, model, series) for series in shown]))


def _loss(recipe: Recipe, stacks: StackSet) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a step: cross-entropy + Dice over the classes that each case draws, at every supervised level."""
    from monai.losses import DiceLoss

    dice = DiceLoss(include_background=False, batch=True)

    def loss_of(network: nn.Module, step: int) -> Tensor:
        seed = seed_of(recipe, step)
        inputs, labels, merges, numbers = batch(
            stacks,
            recipe.batch,
            recipe.depth,
            recipe.crop,
            recipe.spacing_mm,
            recipe.strength,
            recipe.slip_mm,
            recipe.spoil,
            seed,
        )
        with mixed(inputs.device.type):
            heads = network(inputs.contiguous(memory_format=torch.channels_last), numbers)
        truth = F.one_hot(labels, len(recipe.classes)).movedim(-1, 1)
        weights = [0.5**i for i in range(len(heads))]
        loss = inputs.new_zeros(())
        for logits, weight in zip(heads, weights, strict=True):
            shares = torch.einsum("bij,bjhw->bihw", merges, logits.float().softmax(1))
            one = F.nll_loss(shares.clamp(min=1e-6).log(), labels) + dice(shares, truth)
            loss = loss + one * weight / sum(weights)
        return loss

    return loss_of
