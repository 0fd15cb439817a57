"""What decides what a variant becomes, and the variants."""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from myoscope.errors import InputError
from myoscope.lab.augment import Strength
from myoscope.lab.folds import FOLDS
from myoscope.lab.loop import Optimisation
from myoscope.labels import Structure
from myoscope.study import Role
from myoscope.systems.compact.recipe import MILD
from myoscope.systems.jdl.network import METHODS, Method

Backbone = Literal["unet", "small", "published", "pretrained"]
SCAR_ABOVE = 0.3
"""Least probability of scar..."""
WALL_IN_SCAR_ABOVE = 0.25
"""... and there of the wall, which elsewhere needs a half: either network is wary at the other's border."""
SMALLEST_ML = 1.0
"""Less scar than this in the whole stack is taken for a mistake."""
PRINTED_ABOVE = 0.5
"""Least probability of wall, and of scar wherever it is, as the paper reads its networks; nothing is dropped."""
LIMITS = (SCAR_ABOVE, WALL_IN_SCAR_ABOVE, SMALLEST_ML, PRINTED_ABOVE)
"""What masks depend on besides the weights."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a method becomes on a backbone, given the cases."""

    name: str
    method: Method = "joint"
    backbone: Backbone = "unet"
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Of the U-Net; TransUNet has its own."""
    crop: int = 96
    """Side of the squares that the networks see, in pixels."""
    spacing_mm: float = 1.4
    batch: int = 12
    dropout: float = 0.1
    """In the transformer; of the U-Net, on its deepest features."""
    wall_weight: float = 1.0
    """Weight of the myocardium's loss beside the scar's: the paper's lambda."""
    dice_weight: float = 1.0
    """Weight of the Dice term beside cross-entropy: the paper's w."""
    strength: Strength = MILD
    start_from: str | None = "compact-cine"
    """Installed U-Net whose features training starts from."""
    roles: tuple[Role, ...] = (Role.LGE,)
    classes: tuple[Structure, ...] = (Structure.BACKGROUND, Structure.MYOCARDIUM, Structure.INFARCT)
    stand_ins: dict[Structure, Structure] = field(
        default_factory=lambda: {
            Structure.LV: Structure.BACKGROUND,
            Structure.RV: Structure.BACKGROUND,
            Structure.EDEMA: Structure.MYOCARDIUM,
            Structure.NO_REFLOW: Structure.INFARCT,
        }
    )
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0
    folds: int = FOLDS
    """Into which the cases are dealt; of six, one leaves the paper's 140 of 168 patients to train on."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1 or min(self.wall_weight, self.dice_weight) < 0:
            raise InputError(
                f"{self.name}: expected dropout in [0, 1) and weights of 0 or more, found {self.dropout}, "
                f"{self.wall_weight} and {self.dice_weight}"
            )


_AFFINE = Strength(
    shift_mm=20.0, rotation_degrees=30.0, mirror=0.0, shear=0.2, elastic_mm=0.0, gamma=0.0, contrast=0.0,
    brightness=0.0, blur=0.0, low_resolution=0.0, noise=0.0, shading=0.0, spike=0.0, lone_slice=1.0,
)  # fmt: skip
_PUBLISHED = Recipe(
    "jdl.published",
    backbone="published",
    crop=224,
    spacing_mm=1.5,
    batch=40,
    dropout=0.39,
    wall_weight=1.02,
    strength=_AFFINE,
    start_from=None,
    optimisation=Optimisation(learning_rate=4.73e-4, weight_decay=5.58e-6, checkpoint_seconds=300, plain=True),
    folds=6,
)
_BACKBONES = (
    Recipe("jdl.unet"),
    Recipe("jdl.small", backbone="small"),
    _PUBLISHED,
    replace(_PUBLISHED, name="jdl.pretrained", backbone="pretrained"),
)
"""The first one ships."""

RECIPES = {
    f"{base.name}-{method}": replace(base, name=f"{base.name}-{method}", method=method)
    for base, method in product(_BACKBONES, METHODS)
}
