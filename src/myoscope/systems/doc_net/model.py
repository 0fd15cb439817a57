"""Clinic-NET and DOC-NET: normal or pathological, from 12 clinical values, the LGE stack and volumes of its labels.

Published as four networks: Clinic-NET (clinical values), DOC-NET (and the LGE stack), and both with "+" (and volumes
of label maps). What the paper leaves open is decided here:

- Values: troponin and NT-proBNP as decadic logarithms, volumes as log(1 + ml), tobacco as never, former, current (0 to
  2), yes as 1; all standardised; an unknown value is the training mean.
- Batch of one: at Adam 1e-5, 170 epochs of anything larger do not move the weights.
- The layer widths of the "+" networks are those of the networks without.
- The epoch kept is the one of the lowest validation loss; an eighth of the cases is set aside for it (70/10/20 where
  a fifth is the test).

Deviations, declared: stacks at 2 mm in plane, cropped to 64x64 (the paper has 128x128 native pixels), so that a run
takes minutes on two cores and neither pixel size nor the border of the image, which give the class away in EMIDEC, can
be seen; no instance norm where one voxel is left, which cannot run. The slice distance and names are never an input.

`linear+` is ours: the inputs of Clinic-NET+ and no hidden layer, which is a logistic regression.
"""

import json
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.datasets import clinical
from myoscope.datasets.emidec import CLASSES
from myoscope.errors import InputError
from myoscope.lab.augment_stacks import apply, draw, middle
from myoscope.lab.loop import Budget, load_state, save_state
from myoscope.labels import Structure
from myoscope.study import Case, Role, Study
from myoscope.systems import Classification, system_module
from myoscope.systems.doc_net.inputs import (
    AUTOMATIC,
    Inputs,
    Recipe,
    as_read,
    collect,
    read_stack,
    read_values,
    value_names,
)
from myoscope.systems.doc_net.network import DocNet, ImageBranch
from myoscope.volume import Volume
from myoscope.weights import read_weights, refusing, weights_of, write_weights

VALIDATION_SHARE = 1 / 8
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse regularisation strengths that `linear+` chooses from, inside its training cases."""

FAR = 4.0
"""A number so many standard deviations from the training mean is named: it may be in another unit."""

CHECKPOINT_SECONDS = 30.0


_CLINIC, _DOC, _CHANNELS = (20, 30, 10), (33, 50, 16), (4, 8, 16, 32, 64, 16, 8)
OWN_SEGMENTATION, BETTER = "doc-net-segmentation", "cascade.small"

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("doc-net.linear+", (), AUTOMATIC, BETTER),
        Recipe("doc-net.clinic-net", _CLINIC),
        Recipe("doc-net.doc-net", _DOC, (), OWN_SEGMENTATION, _CHANNELS),
        Recipe("doc-net.clinic-net+", _CLINIC, AUTOMATIC, OWN_SEGMENTATION),
        Recipe("doc-net.doc-net+", _DOC, AUTOMATIC, OWN_SEGMENTATION, _CHANNELS),
    )
}
"""The default first, then as published."""


def retuned(recipe: Recipe) -> Recipe:
    """The same network with a learning rate that moves its weights; set beforehand, not searched for."""
    epochs = 60 if recipe.channels else 100
    return replace(recipe, learning_rate=1e-3, weight_decay=1e-2, batch=8, epochs=epochs)


class Model:
    """A trained network and its recipe."""

    def __init__(self, recipe: Recipe, network: DocNet, card: dict | None = None, sha256: str | None = None) -> None:
        self.recipe = recipe
        self.network = network.eval()
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study, labels: Volume | None = None) -> Classification:
        """Normal or pathological.

        Args:
            study: With an LGE series where the recipe reads one.
            labels: `Structure` codes on its grid; without them the recipe's segmentation makes some.

        Raises:
            InputError: no LGE image, no clinical value at all for a network that reads nothing else, or a bad value.
        """
        values = clinical.of_patient(study.patient, study.id)
        notes = clinical.notes(values)
        series = study.get(Role.LGE)
        if self.recipe.reads_images and series is None:
            raise InputError(f"{study.id}: expected an LGE image, found none; give one, or --variant clinic-net")
        if not self.recipe.reads_images and len(values.missing) == len(clinical.TITLES):
            raise InputError(
                f"{study.id}: expected clinical values, found none; see docs/concepts.md for where to put them"
            )
        if self.recipe.reads_images and labels is None:
            labels = _segmenter(self.recipe.segmentation or BETTER).predict(study)[Role.LGE]
        if labels is not None and not (labels.voxels == Structure.LV).any():
            notes.append("no left ventricle was found on the LGE image: its volumes are taken as average")
        stack = read_stack(self.recipe, series.image, labels)[None] if self.recipe.channels else None  # type: ignore[union-attr,arg-type]
        numbers = torch.tensor([read_values(self.recipe, values, labels)])
        return self._classify(numbers, stack, notes)

    def _classify(self, numbers: Tensor, stack: Tensor | None, notes: list[str]) -> Classification:
        shares = self.probabilities(Inputs(numbers, stack, torch.zeros(1, dtype=torch.long)))[0]
        names = value_names(self.recipe)
        standard = self.network.standardise(numbers.to(self.network.mean))[0].numpy(force=True)
        far = [n for n, z in zip(names, standard, strict=True) if abs(z) > FAR and n not in clinical.CODED]
        if far:
            notes = [*notes, f"{', '.join(far)}: far from any training case; check value and unit"]
        return Classification(
            dict(zip(CLASSES, shares.tolist(), strict=True)), self._evidence(numbers[0], standard, shares), tuple(notes)
        )

    def _evidence(
        self, numbers: Tensor, standard: np.ndarray, shares: np.ndarray
    ) -> tuple[tuple[str, float, float], ...]:
        """What each known value adds to the log-odds of the class, the largest first; only a linear model can tell."""
        if self.recipe.hidden or self.recipe.channels:
            return ()
        weights = self.network.last.weight.numpy(force=True)
        best = int(shares.argmax())
        added = (weights[best] - weights[1 - best]) * standard
        names = [name + clinical.MEANING.get(name, "") for name in value_names(self.recipe)]
        rows = zip(names, as_read(self.recipe, numbers), added.tolist(), strict=True)
        return tuple(sorted((row for row in rows if not np.isnan(row[1])), key=lambda row: -abs(row[2])))

    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """Of the classes, (N, 2)."""
        device = self.network.mean.device
        with torch.inference_mode():
            stacks = None
            if inputs.stacks is not None:
                stacks = middle(inputs.stacks.to(device), self.recipe.crop)[:, None]
            return self.network(inputs.values.to(device).float(), stacks).softmax(1).numpy(force=True)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Write the weights (safetensors) and the card (json) beside them."""
        write_weights(path, self.network.state_dict(), {**card, "segmentation": self.recipe.segmentation})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "doc-net"):
            card, tensors, sha256 = read_weights(path)
            recipe = replace(RECIPES[card["system"]], segmentation=card["segmentation"])
            network = build(recipe)
            network.load_state_dict(tensors)
        return cls(recipe, network.to(device), card, sha256)


@lru_cache(maxsize=2)
def _segmenter(system: str) -> Any:
    return system_module(system).Model.load(weights_of(system))


def build(recipe: Recipe) -> DocNet:
    """The untrained network of a recipe."""
    branch = None
    if recipe.channels:
        branch = ImageBranch((recipe.slices, recipe.crop, recipe.crop), recipe.channels, recipe.dropout)
    return DocNet(len(value_names(recipe)), recipe.hidden, branch, recipe.channels[-1] if branch else 0)


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on cases with the labels that they carry: expert's, or of models that have not seen them.

    Args:
        recipe: What to train.
        cases: Training cases only; an eighth is set aside to choose the epoch.
        budget: Training ends with the recipe's last epoch or the budget, whichever comes first.
        folder: Where checkpoint and recipe are kept; a killed run goes on from there.
        device: "cpu" or "cuda".
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
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
    while epoch < recipe.epochs and budget.spent(epoch * batches, budget.clock() - begun) < 1:
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
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
