"""How it is trained: its batches and its loss."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.lab.augment import batch
from myoscope.lab.loop import Budget, keep_recipe, mixed, seed_of
from myoscope.lab.loop import train as run
from myoscope.lab.slices import SliceSet, collect
from myoscope.lab.transplant import transplants
from myoscope.lab.unet import UNet
from myoscope.labels import SCAR, Structure
from myoscope.segment.engine import SLICES_AT_ONCE
from myoscope.study import Case, Role
from myoscope.systems.compact.confidence import Familiar, heart_features
from myoscope.systems.compact.model import Trained
from myoscope.systems.compact.recipe import Recipe
from myoscope.weights import weights_of

FAMILIAR_SLICES = 800
"""So many training slices say what is familiar."""


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Trained:
    """Train on labelled cases (and phantoms, as the recipe says) until the budget is spent."""
    keep_recipe(recipe, folder)
    torch.manual_seed(recipe.seed)
    network = UNet(3, len(recipe.classes), recipe.widths).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.start_from:
        start = Trained.load(weights_of(recipe.start_from), device)
        _copy_weights(start, network, recipe.classes)
    slices = _slices(recipe, cases).to(torch.device(device))
    budget = budget.in_steps(len(slices.labels), recipe.batch)
    average = run(network, _loss(recipe, slices), budget, folder, recipe.optimisation, recipe.name)
    model = Trained(recipe, average)  # type: ignore[arg-type]
    return Trained(recipe, model.network, _familiar(model, slices))


def _slices(recipe: Recipe, cases: Sequence[Case]) -> SliceSet:
    """All slices to train on, each weighted by how often it is drawn."""

    weighted = [(case, 1.0) for case in cases] + _phantoms(recipe, cases) + _transplants(recipe, cases)
    slices = collect(weighted, recipe.roles, recipe.classes, recipe.stand_ins, recipe.spacing_mm)
    scar = torch.tensor([recipe.classes.index(s) for s in SCAR if s in recipe.classes])
    shown = torch.isin(slices.labels, scar).flatten(1).any(1)
    return replace(slices, weights=torch.where(shown, slices.weights * recipe.scar_weight, slices.weights))


def _familiar(model: Trained, slices: SliceSet) -> Familiar:
    """Where the features of training slices lie, from a sample as training draws them but unchanged."""
    rng = torch.Generator().manual_seed(model.recipe.seed)
    weights = slices.weights.cpu()
    chosen = torch.multinomial(weights, min(FAMILIAR_SLICES, int((weights > 0).sum())), generator=rng)
    features = []
    with torch.inference_mode():
        for part in chosen.to(slices.images.device).split(SLICES_AT_ONCE):
            stack = slices.images[slices.neighbours[part]].float() / 255
            levels = model.network.encode(stack.contiguous(memory_format=torch.channels_last))
            features.append(heart_features(levels[-1], model.network.decode(levels).argmax(1) > 0))
    found = torch.cat(features)
    return Familiar.fit(found[found.isfinite().all(1)])


def _copy_weights(start: Trained, network: UNet, classes: tuple[Structure, ...]) -> None:
    """Start from another model: all features, and the outputs of the classes that both have."""
    tensors = network.state_dict()
    for name, tensor in start.network.state_dict().items():
        if not name.startswith("head."):
            tensors[name].copy_(tensor)
            continue
        rows = tensors[name].unflatten(0, (len(classes), -1))
        known = tensor.unflatten(0, (len(start.recipe.classes), -1))
        for i, structure in enumerate(classes):
            if structure in start.recipe.classes:
                rows[i].copy_(known[start.recipe.classes.index(structure)])


def _loss(recipe: Recipe, slices: SliceSet) -> Callable[[torch.nn.Module, int], Tensor]:
    """The loss of a step: cross-entropy + Dice over the classes that each case draws."""

    def loss_of(network: torch.nn.Module, step: int) -> Tensor:
        seed = seed_of(recipe, step)
        images, labels, merges = batch(slices, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.strength, seed)
        with mixed(images.device.type):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        shares = logits.float().softmax(1)
        if (merges != torch.eye(len(recipe.classes), device=merges.device)).any():
            shares = torch.einsum("bij,bjhw->bihw", merges, shares)
        return F.nll_loss(shares.clamp(min=1e-6).log(), labels) + _tversky(shares, labels, recipe.missed)

    return loss_of


def _tversky(shares: Tensor, labels: Tensor, missed: float) -> Tensor:
    """Tversky loss over the whole batch, mean of all classes but the first; as MONAI's, in a tenth of its time.

    Args:
        shares: Class probabilities (B, C, H, W).
        labels: Class indices (B, H, W).
        missed: Weight of missed pixels; 0.5 makes it the Dice loss.
    """
    classes = range(1, shares.shape[1])
    both = torch.stack([(shares[:, i] * (labels == i)).sum() for i in classes])
    drawn = torch.stack([(labels == i).sum() for i in classes])
    found = shares.sum((0, 2, 3))[1:]
    wrong = (1 - missed) * (found - both) + missed * (drawn - both)
    return (1 - (both + 1e-5) / (both + wrong + 1e-5)).mean()


@lru_cache(maxsize=1)
def _draw_phantoms(count: int, roles: tuple[Role, ...]) -> list[Case]:
    """Training phantoms at ED and ES; drawn once and kept (`lab.phantoms`)."""
    from myoscope.datasets.phantom import ROLES, TRAINING, draw, sample
    from myoscope.lab.phantoms import kept_phantoms

    wanted = [role for role in roles if role in ROLES]
    groups = ("MINF", None)  # every other one with an infarct

    def one(seed: int) -> Case:
        return draw(sample(seed, TRAINING, groups[seed % 2]), wanted, frames=2)

    return kept_phantoms(" ".join(wanted), count, one, _draw_phantoms.__wrapped__)


def _phantoms(recipe: Recipe, cases: Sequence[Case]) -> list[tuple[Case, float]]:
    """Synthetic cases, weighted to make up the recipe's share of all slices."""
    if not recipe.phantoms or not recipe.phantom_share:
        return []
    return _at_share(_draw_phantoms(recipe.phantoms, recipe.roles), cases, recipe.phantom_share, recipe.roles)


def _transplants(recipe: Recipe, cases: Sequence[Case]) -> list[tuple[Case, float]]:
    """Cases with another's infarct, weighted to make up the recipe's share of all slices."""
    drawn = transplants([case for case in cases if Role.LGE in case.labels], recipe.transplants, recipe.seed)
    return _at_share(drawn, cases, recipe.transplant_share, recipe.roles) if drawn else []


def _at_share(
    drawn: list[Case], cases: Sequence[Case], share: float, roles: tuple[Role, ...]
) -> list[tuple[Case, float]]:
    """Drawn cases, weighted so that they and the given ones are at the share."""

    def count(some: Sequence[Case]) -> int:
        shapes = [s.image.frames.shape for case in some for s in case.study.series if s.role in roles]
        return sum(t * z for t, z, _, _ in shapes)

    weight = count(cases) * share / (1 - share) / count(drawn) if cases else 1.0
    return [(case, weight) for case in drawn]
