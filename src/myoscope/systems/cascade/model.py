"""A trained stage, to and from its files."""

import copy
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from myoscope.files import write_whole
from myoscope.lab.export import OneStack, clinic_facts, write_network
from myoscope.systems.cascade.recipe import RECIPES, Recipe, build
from myoscope.weights import add_to_card, half, load_into, members_of, read_card, read_weights, refusing, write_weights

OF_FIRST = (
    *("system", "widths", "roles", "classes", "spacing_mm", "multiple", "smallest_ml", "view", "shares"),
    *("trained_on", "started_from"),
)
"""What a card says of the first stage, where that stage's own says it."""


class Trained:
    """A trained stage and its recipe; what predicts is the network file that it writes (`segment.lge`).

    Args:
        recipe: Its recipe.
        network: Its network.
        first: Weights of the first stage that it goes on from, their network file beside them; None: it is one itself,
            or the first stage's file lies where this one's is written.
    """

    def __init__(self, recipe: Recipe, network: nn.Module, first: Path | None = None) -> None:
        self.recipe = recipe
        self.network = network.eval()
        self.first = first

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors), the card (json) and the network files beside them."""
        tensors = {f"second.{name}": tensor for name, tensor in half(self.network.state_dict()).items()}
        write_weights(path, tensors, card | {"system": self.recipe.name, "widths": list(self.recipe.widths)})
        self.export(path)

    def export(self, path: Path) -> None:
        """Write the network files (ONNX) that `analyze` runs beside the weights, what it must know into the card."""
        recipe = self.recipe
        channels = 1 + (len(recipe.classes) if recipe.first else 0)
        write_network(path.with_suffix(".onnx"), self.exported(), torch.zeros(3, channels, recipe.view, recipe.view))
        multiple: Any = self.network.multiple
        facts = clinic_facts(recipe, multiple) | {"view": recipe.view, "shares": recipe.shares}
        if self.first:
            card = read_card(self.first)
            network, *_ = members_of(self.first, card)  # of an installed one, the member whose weights these are
            write_whole(path.with_suffix(".first.onnx"), network.read_bytes())
            known = {key: card[key] for key in OF_FIRST if key in card}
            facts["first"] = known | {"sha256": sha256(self.first.read_bytes()).hexdigest()}
        add_to_card(path, facts)

    def exported(self) -> nn.Module:
        """What the network file computes."""
        return OneStack(copy.deepcopy(self.network))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Trained":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "a cascade"):
            card, tensors, _ = read_weights(path)
            recipe = RECIPES[card["system"]]
            network = build(recipe, card["widths"], device)
            own = {name: tensor for name, tensor in tensors.items() if name.startswith("second.")}
            load_into(network, {name.removeprefix("second."): tensor for name, tensor in own.items()})
        return cls(recipe, network)
