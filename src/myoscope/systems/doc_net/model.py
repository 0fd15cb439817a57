"""A trained network: from images to labels, to and from its file."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from myoscope.datasets import clinical
from myoscope.datasets.emidec import CLASSES
from myoscope.diagnose.clinical_values import Linear, notes_of, read_values, value_names
from myoscope.errors import InputError
from myoscope.lab.augment_stacks import middle
from myoscope.prediction import Classification
from myoscope.study import Role, Study
from myoscope.systems import system_module
from myoscope.systems.doc_net.inputs import Inputs, read_stack
from myoscope.systems.doc_net.network import DocNet, ImageBranch
from myoscope.systems.doc_net.recipe import BETTER, RECIPES, Recipe
from myoscope.volume import Volume
from myoscope.weights import add_to_card, read_weights, refusing, weights_of, write_weights


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
        series = study.get(Role.LGE)
        if self.recipe.reads_images and series is None:
            raise InputError(f"{study.id}: expected an LGE image, found none; give one, or --variant clinic-net")
        if not self.recipe.reads_images and len(values.missing) == len(clinical.TITLES):
            raise InputError(
                f"{study.id}: expected clinical values, found none; see docs/concepts.md for where to put them"
            )
        if self.recipe.reads_images and labels is None:
            labels = _segmenter(self.recipe.segmentation or BETTER).predict(study)[Role.LGE]
        if not (self.recipe.hidden or self.recipe.channels):
            return self.linear().classify(values, labels)
        stack = read_stack(self.recipe, series.image, labels)[None] if self.recipe.channels else None  # type: ignore[union-attr,arg-type]
        numbers = torch.tensor([read_values(self.recipe.volumes, values, labels)])
        shares = self.probabilities(Inputs(numbers, stack, torch.zeros(1, dtype=torch.long)))[0]
        standard = self.network.standardise(numbers.to(self.network.mean))[0].numpy(force=True)
        notes = notes_of(self.recipe.volumes, values, labels, standard)
        return Classification(dict(zip(CLASSES, shares.tolist(), strict=True)), (), tuple(notes))

    def linear(self) -> Linear:
        """A network without hidden layers and images, as the clinic runs it."""
        network, last = self.network, self.network.last
        numbers = (network.mean, network.scale, last.weight, last.bias)
        return Linear(self.recipe.volumes, *(tensor.tolist() for tensor in numbers))

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
        if not (self.recipe.hidden or self.recipe.channels):
            self.export(path)

    def export(self, path: Path) -> None:
        """Write the numbers of a linear network, which `analyze` computes with, into the card."""
        add_to_card(path, {"linear": asdict(self.linear())})

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
    return DocNet(len(value_names(recipe.volumes)), recipe.hidden, branch, recipe.channels[-1] if branch else 0)
