"""A trained network, to and from its files."""

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from myoscope.lab.export import Plain, Seen, export_slices
from myoscope.lab.unet import UNet
from myoscope.systems.compact.confidence import Familiar
from myoscope.systems.compact.recipe import RECIPES, Recipe
from myoscope.weights import half, load_into, read_weights, refusing, write_weights


class Trained:
    """A trained network and its recipe; what predicts is the network file that it writes (`segment.cine`)."""

    def __init__(self, recipe: Recipe, network: UNet, familiar: Familiar | None = None) -> None:
        self.recipe = recipe
        self.familiar = familiar
        self.network = network.eval()

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        write_weights(path, self.tensors(), card | {"spacing_mm": self.recipe.spacing_mm})
        self.export(path)

    def export(self, path: Path) -> None:
        """Write the network file (ONNX) that `analyze` runs beside the weights, and what it must know into the card."""
        export_slices(path, self.exported(), self.recipe, self.network.multiple, channels=3)

    def exported(self) -> nn.Module:
        """What the network file computes."""
        network = copy.deepcopy(self.network)
        return Seen(network, self.familiar.mean, self.familiar.whitening) if self.familiar else Plain(network)

    def tensors(self) -> dict[str, Tensor]:
        """What `load` makes the model from again, with a card of its `system`, `widths` and `spacing_mm`."""
        tensors = half(self.network.state_dict())
        if self.familiar:
            tensors |= {"familiar.mean": self.familiar.mean, "familiar.whitening": self.familiar.whitening}
        return tensors

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Trained":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "a compact model"):
            card, tensors, _ = read_weights(path)
            recipe = RECIPES[card["system"]]
            recipe = replace(recipe, spacing_mm=float(card.get("spacing_mm", recipe.spacing_mm)))
            network = UNet(3, len(recipe.classes), tuple(card["widths"]))
            known = [tensors.pop(f"familiar.{k}", None) for k in ("mean", "whitening")]
            load_into(network, tensors)
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        familiar = Familiar(known[0], known[1]) if known[0] is not None and known[1] is not None else None
        return cls(recipe, network, familiar)
