"""A trained network, to and from its files."""

import copy
from pathlib import Path

from torch import nn

from myoscope.lab.export import Plain, export_slices
from myoscope.lab.unet import UNet
from myoscope.systems.compact.myops.recipe import RECIPES, Recipe
from myoscope.weights import half, load_into, read_weights, refusing, write_weights


class Trained:
    """A trained network and its recipe; what predicts is the network file that it writes (`segment.joint`)."""

    def __init__(self, recipe: Recipe, network: UNet) -> None:
        self.recipe = recipe
        self.network = network.eval()

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        write_weights(path, half(self.network.state_dict()), card)
        self.export(path)

    def export(self, path: Path) -> None:
        """Write the network file (ONNX) that `analyze` runs beside the weights, and what it must know into the card."""
        export_slices(path, self.exported(), self.recipe, self.network.multiple, len(self.recipe.roles))

    def exported(self) -> nn.Module:
        """What the network file computes."""
        return Plain(copy.deepcopy(self.network))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Trained":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "compact-myops"):
            card, tensors, _ = read_weights(path)
            recipe = RECIPES[card["system"]]
            network = UNet(len(recipe.roles), len(recipe.classes), tuple(card["widths"]))
            load_into(network, tensors)
        return cls(recipe, network.to(device))
