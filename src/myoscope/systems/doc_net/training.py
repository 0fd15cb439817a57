"""How it is trained: its batches and its loss."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.lab.augment_stacks import apply, draw
from myoscope.lab.loop import Budget, keep_recipe, load_state, save_state, seed_of
from myoscope.study import Case
from myoscope.systems.doc_net.inputs import Inputs, collect
from myoscope.systems.doc_net.model import Model, build
from myoscope.systems.doc_net.network import DocNet
from myoscope.systems.doc_net.recipe import Recipe

VALIDATION_SHARE = 1 / 8
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse regularisation strengths that `linear+` chooses from, inside its training cases."""

CHECKPOINT_SECONDS = 30.0


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on cases with the labels that they carry: expert's, or of models that have not seen them.

    An eighth is set aside to choose the epoch. It ends with the recipe's last epoch or the budget, whichever is first.
    """
    keep_recipe(recipe, folder)
    return fit(recipe, collect(recipe, cases), budget, folder, device)


def fit(recipe: Recipe, inputs: Inputs, budget: Budget, folder: Path | None, device: str = "cpu") -> Model:
    """Train on inputs; see `train`. Without a folder nothing is kept."""
    torch.manual_seed(recipe.seed)
    network = build(recipe).to(device)
    kept, aside = _set_aside(inputs.classes, recipe.seed) if recipe.hidden else (torch.arange(len(inputs.classes)),) * 2
    known = inputs.values[kept].double().numpy()
    empty = np.isnan(known).all(0)
    network.mean.copy_(torch.from_numpy(np.where(empty, 0, np.nanmean(np.where(empty, 0, known), 0))))
    spread = np.nanstd(np.where(empty, 0, known), 0)
    network.scale.copy_(torch.from_numpy(np.where(spread > 1e-9, spread, 1)))
    if recipe.hidden:
        _descend(network, recipe, inputs.some(kept), inputs.some(aside), budget, folder)
    else:
        _fit_linear(network, inputs)
    return Model(recipe, network)


def _set_aside(classes: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Indices to train on and to validate on, an eighth of each class (at least one of two)."""
    rng = torch.Generator().manual_seed(seed)
    kept, aside = [], []
    for value in classes.unique():
        mine = (classes == value).nonzero()[:, 0]
        mine = mine[torch.randperm(len(mine), generator=rng)]
        n = min(len(mine) - 1, max(1, round(len(mine) * VALIDATION_SHARE)))
        aside.append(mine[:n])
        kept.append(mine[n:])
    return torch.cat(kept), torch.cat(aside)


def _fit_linear(network: DocNet, inputs: Inputs) -> None:
    """Logistic regression; its strength is chosen by log-loss in an inner cross-validation."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    folds = min(5, int(torch.bincount(inputs.classes).min()))
    x = network.standardise(inputs.values.to(network.mean)).double().numpy(force=True)
    found = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
        scoring="neg_log_loss",
        max_iter=5000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ).fit(x, inputs.classes.numpy())
    half = torch.from_numpy(np.vstack([-found.coef_, found.coef_]) / 2)
    with torch.no_grad():
        network.last.weight.copy_(half)
        network.last.bias.copy_(torch.tensor([-found.intercept_[0], found.intercept_[0]]) / 2)


def _descend(
    network: DocNet, recipe: Recipe, inputs: Inputs, validation: Inputs, budget: Budget, folder: Path | None
) -> None:
    """Adam (AdamW where weights decay) on cross-entropy; leaves the weights of the epoch with the best validation."""
    inputs = inputs.to(network.mean.device)
    optimiser = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    best = deepcopy(network)
    epoch, seconds = load_state(folder, network, best, optimiser) if folder else (0, 0.0)
    lowest = _log_loss(recipe, best, validation)
    begun, saved = budget.clock() - seconds, time.monotonic()
    batches = -(-len(inputs.classes) // recipe.batch)
    budget = budget.in_steps(len(inputs.classes), recipe.batch)
    while epoch < recipe.epochs and budget.spent(epoch * batches, budget.clock() - begun) < 1:
        torch.manual_seed(seed_of(recipe, epoch))
        changed = _augmented(recipe, inputs)
        network.train()
        for chosen in torch.randperm(len(inputs.classes)).split(recipe.batch):
            some = changed.some(chosen)
            loss = F.cross_entropy(network(some.values, some.stacks), some.classes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        epoch += 1
        if (error := _log_loss(recipe, network, validation)) < lowest:
            best.load_state_dict(network.state_dict())
            lowest = error
        if folder and (time.monotonic() - saved > CHECKPOINT_SECONDS or epoch == recipe.epochs):
            save_state(folder, network, best, optimiser, epoch, budget.clock() - begun)
            saved = time.monotonic()
    network.load_state_dict(best.state_dict())


def _log_loss(recipe: Recipe, network: DocNet, inputs: Inputs) -> float:
    shares = Model(recipe, network).probabilities(inputs)[np.arange(len(inputs.classes)), inputs.classes]
    return -float(np.log(np.clip(shares, 1e-9, 1)).mean())


def _augmented(recipe: Recipe, inputs: Inputs) -> Inputs:
    """Inputs with every stack changed and cropped, (N, 1, Z, crop, crop); randomness from torch's own generator."""
    if inputs.stacks is None:
        return inputs
    n, z = inputs.stacks.shape[:2]
    parameters = draw(n, z, recipe.crop, recipe.margin, recipe.augmentation, torch.default_generator)
    return replace(inputs, stacks=apply(parameters.to(inputs.stacks.device), inputs.stacks, recipe.crop)[:, None])
