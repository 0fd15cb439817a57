"""What decides what a variant becomes, and the variants."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from myoscope.lab.loop import Optimisation
from myoscope.study import Role
from myoscope.systems.myops_ensemble.blocks import (
    DIRECT_BLOCKS,
    Block,
    encoded_blocks,
)

ROLES = (Role.BSSFP, Role.LGE, Role.T2)
KINDS = ("unet", "unetpp", "maskrcnn")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the networks become, given the cases."""

    name: str
    blocks: tuple[Block, ...] = field(default_factory=lambda: encoded_blocks((Role.LGE,), (Role.T2,)))
    kinds: tuple[str, ...] = KINDS
    roles: tuple[Role, ...] = ROLES
    small: bool = False
    side: int = 256
    spacing_mm: float | None = None
    """Pixels are resampled to this; None leaves them as they are."""
    warp_pixels: float = 5.0
    """Largest displacement of a point of the 8x8 grid."""
    rotated: float = 0.5
    """Share of slices turned by 90, 180 or 270 degrees."""
    batch: Mapping[str, int] = field(default_factory=lambda: {"unet": 8, "unetpp": 8, "maskrcnn": 2})
    learning_rate: Mapping[str, float] = field(default_factory=lambda: {"unet": 1e-5, "unetpp": 1e-5, "maskrcnn": 1e-3})
    time_share: Mapping[str, float] = field(default_factory=lambda: {"unet": 1.0, "unetpp": 2.0, "maskrcnn": 3.0})
    """How the minutes are divided between the networks."""
    ema_decay: float = Optimisation.ema_decay
    plain: bool = True
    """As the paper's Adam, see `Optimisation`."""
    copies: int = 40
    """An epoch, as the paper counts, shows so many changed copies of every slice."""
    seed: int = 0
    together: ClassVar[bool] = True
    """A case must have every role."""


_PUBLISHED = Recipe("myops-ensemble.published")
_SMALL = Recipe(
    "myops-ensemble.small",
    small=True,
    side=96,
    spacing_mm=2.0,
    warp_pixels=2.0,
    learning_rate={"unet": 3e-3, "unetpp": 3e-3, "maskrcnn": 1e-3},
    time_share={"unet": 1.0, "unetpp": 1.5, "maskrcnn": 1.5},
    ema_decay=0.98,
    plain=False,
)


def _variants() -> dict[str, Recipe]:
    both = (Role.LGE, Role.T2)
    found = [replace(_SMALL, name=f"{_SMALL.name}-both", blocks=encoded_blocks(both, both))]  # the first one ships
    for whole in (_SMALL, _PUBLISHED):
        direct = replace(whole, name=f"{whole.name}-direct", blocks=DIRECT_BLOCKS)
        found += [whole, replace(direct, name=f"{whole.name}-unet", kinds=("unet",)), direct]
    found.append(replace(_SMALL, name=f"{_SMALL.name}-swapped", blocks=encoded_blocks((Role.T2,), (Role.LGE,))))
    return {recipe.name: recipe for recipe in found}


RECIPES = _variants()


def members(recipe: Recipe) -> list[tuple[str, str, Block]]:
    """Name, kind and block of every network."""
    return [
        (f"{kind}-{block.name}", kind, block)
        for block in recipe.blocks
        for kind in (recipe.kinds if block.pathology else ("unet",))
    ]
