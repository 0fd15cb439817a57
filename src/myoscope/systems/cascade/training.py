"""How it is trained: its batches and its loss."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.lab.loop import Budget, mixed
from myoscope.lab.slices import fit_canvas
from myoscope.lab.stacks import StackSet, batch, starts_of
from myoscope.study import Case, Series
from myoscope.systems import compact
from myoscope.systems.cascade.model import Model, prior_of, to_spacing
from myoscope.systems.cascade.recipe import Recipe, build
from myoscope.weights import weights_of


def train(
    recipe: Recipe,
    cases: Sequence[Case],
    budget: Budget,
    folder: Path,
    device: str = "cpu",
    first: Any = None,
    priors: Mapping[str, Tensor] | None = None,
) -> Model:
    """Train one stage on labelled cases until the budget is spent.

    Args:
        recipe: What to train.
        cases: Training cases only.
        budget: When to stop.
        folder: Where checkpoint, curve and recipe are kept; a killed run goes on from there.
        device: "cpu" or "cuda".
        first: First stage that the model will go on from; default: the installed one.
        priors: By case what a first stage that has not seen it says (`prior_on_canvas`); default: what `first` says,
            which is only right for cases that are new to it.
    """
    from myoscope.lab.loop import train as run

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
    if recipe.first and first is None:
        first = compact.Model.load(weights_of(recipe.first), device)
    torch.manual_seed(recipe.seed)
    network = build(recipe, recipe.widths, device)
    stacks = _stacks(recipe, cases, first, priors).to(torch.device(device))
    average = run(network, _loss(recipe, stacks), budget, folder, recipe.optimisation, recipe.name)
    return Model(recipe, average, first)


def prior_on_canvas(recipe: Recipe, first: Any, series: Series) -> Tensor:
    """What a first stage says of a series: (slices of all frames, C - 1, CANVAS, CANVAS), uint8, 0 to 255."""
    found = []
    for frame in series.image.frames:
        prior = prior_of(first.shares(frame, series.image)[0], first.recipe.classes, recipe.classes)[:, 1:]
        prior = to_spacing(prior, series.image.spacing_mm[1:], recipe.spacing_mm)
        found.append(torch.stack([fit_canvas(share) for share in prior.unbind(1)], 1))
    return (torch.cat(found) * 255).round().to(torch.uint8).cpu()


def _stacks(recipe: Recipe, cases: Sequence[Case], first: Any, priors: Mapping[str, Tensor] | None) -> StackSet:
    from myoscope.lab.slices import collect

    slices = collect([(case, 1.0) for case in cases], recipe.roles, recipe.classes, recipe.stand_ins, recipe.spacing_mm)
    starts = starts_of(slices)
    if not recipe.first:
        return StackSet(slices, starts)
    if priors:
        return StackSet(slices, starts, torch.cat([priors[case.id] for case in cases]))
    shown = [s for case in cases for s in case.study.series if s.role in recipe.roles and s.role in case.labels]
    return StackSet(slices, starts, torch.cat([prior_on_canvas(recipe, first, series) for series in shown]))


def _loss(recipe: Recipe, stacks: StackSet) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a step: cross-entropy + Dice over the classes that each case draws, at every supervised level."""
    from monai.losses import DiceLoss

    dice = DiceLoss(include_background=False, batch=True)

    def loss_of(network: nn.Module, step: int) -> Tensor:
        seed = recipe.seed * 1_000_003 + step
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
