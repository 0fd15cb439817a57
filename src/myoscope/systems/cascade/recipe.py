"""The cascade's recipes: every number that decides what a stage becomes, and the network that it asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from myoscope.lab.augment import Strength
from myoscope.lab.loop import Optimisation
from myoscope.lab.slices import CANVAS
from myoscope.lab.stacks import Spoil
from myoscope.labels import Structure
from myoscope.study import Role

Shares = Literal["first", "second", "mean", "mirrored"]
"""Whose probabilities decide: a stage's, the mean of both, or the second's on the image and its mirrored copies."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a stage becomes, given the cases and the first stage."""

    name: str
    first: str | None
    """System that is the first stage; None: this is one itself."""
    network: Literal["refine", "2d", "3d"]
    widths: tuple[int, ...]
    crop: int
    """Side of what the network sees around the heart, in pixels, in training."""
    view: int
    """The same in prediction."""
    batch: int
    depth: int
    """Slices taken of a longer stack."""
    strength: Strength
    slip_mm: float
    spoil: Spoil = field(default_factory=Spoil)
    roles: tuple[Role, ...] = (Role.LGE,)
    classes: tuple[Structure, ...] = tuple(Structure)[:5]
    """In the order of their codes; the RV, drawn by no case of EMIDEC, is left to the first stage."""
    stand_ins: dict[Structure, Structure] = field(
        default_factory=lambda: {Structure.EDEMA: Structure.MYOCARDIUM, Structure.RV: Structure.BACKGROUND}
    )
    spacing_mm: float = 1.4
    shares: Shares = "second"
    smallest_ml: dict[Structure, float] = field(default_factory=dict)
    """Less than this of a structure is taken for a mistake (`compact.drop_traces`)."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0


_MILD = Strength(
    shift_mm=12.0,
    anywhere=0.0,
    rotation_degrees=25.0,
    mirror=0.5,
    scale=(0.85, 1.2),
    elastic_mm=2.5,
    gamma=0.3,
    contrast=0.2,
    noise=0.04,
    shading=0.3,
    spike=0.05,
)
_NNUNET = Strength(
    shift_mm=10.0, anywhere=0.0, rotation_degrees=180.0, mirror=0.5, scale=(0.7, 1.4), elastic_mm=0.0, shading=0.0,
    spike=0.0,
)  # fmt: skip
# The paper's Adam from 1e-2 on; whole slices became CANVAS pixels of 1.4 mm around the heart, see the package's head.
_PUBLISHED = Optimisation(learning_rate=1e-2, weight_decay=3e-5, plain=True, fall=0.9)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "cascade.small",
            first="compact-lge",
            network="refine",
            widths=(16, 32, 64, 128),
            crop=80,
            view=112,
            batch=2,
            depth=8,
            strength=_MILD,
            slip_mm=1.0,
            smallest_ml={Structure.NO_REFLOW: 0.5, Structure.INFARCT: 1.5},
        ),
        Recipe(
            "cascade.published",
            first="cascade.published-2d",
            network="3d",
            widths=(32, 64, 128, 256, 320, 320, 320),
            crop=CANVAS,
            view=CANVAS,
            batch=2,
            depth=12,
            strength=_NNUNET,
            slip_mm=0.0,
            spoil=Spoil(0, 0, 0, 0),
            optimisation=_PUBLISHED,
        ),
        Recipe(
            "cascade.published-2d",
            first=None,
            network="2d",
            widths=(32, 64, 128, 256, 480, 480, 480),
            crop=CANVAS,
            view=CANVAS,
            batch=24,
            depth=1,
            strength=_NNUNET,
            slip_mm=0.0,
            optimisation=_PUBLISHED,
        ),
    )
}


def build(recipe: Recipe, widths: Sequence[int], device: str = "cpu") -> nn.Module:
    """An untrained network of a recipe."""
    if recipe.network == "refine":
        from myoscope.systems.cascade.stack_unet import StackUNet

        network: nn.Module = StackUNet(len(recipe.classes), tuple(widths))
    else:
        from myoscope.systems.cascade.dyn_unet import SliceUNet

        channels = 1 + (len(recipe.classes) if recipe.first else 0)
        network = SliceUNet(channels, len(recipe.classes), tuple(widths), recipe.network == "3d")
    order = torch.contiguous_format if recipe.network == "3d" else torch.channels_last
    return network.to(device).to(memory_format=order)  # type: ignore[call-overload]
