"""What decides what a variant becomes, and the variants."""

from dataclasses import dataclass, field

from myoscope.lab.augment import Strength
from myoscope.lab.augment_sequences import Sequences
from myoscope.lab.loop import Optimisation
from myoscope.labels import Structure
from myoscope.segment.joint import ROLES, WALL
from myoscope.study import Role

PHANTOM = "phantom"
_LESION = (Structure.INFARCT, Structure.EDEMA)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the model becomes, given the cases."""

    name: str = "compact-myops"
    roles: tuple[Role, ...] = ROLES
    classes: tuple[Structure, ...] = (Structure.BACKGROUND, Structure.LV, *WALL, Structure.RV)
    regions: tuple[tuple[Structure, ...], ...] = (
        (Structure.LV,),
        (Structure.RV,),
        WALL,
        (Structure.INFARCT,),
        _LESION,
    )
    """What the Dice part of the loss is taken over."""
    spacing_mm: float = 1.4
    crop: int = 96
    batch: int = 12
    widths: tuple[int, ...] = (32, 64, 128, 256)
    t2_share: float = 0.6
    """Share of the slices drawn that come from cases with T2..."""
    lge_share: float = 0.28
    """... from those with LGE but no T2; the rest are bSSFP (or cine) alone."""
    phantoms: int = 60
    phantom_share: float = 0.15
    """Share of all slices drawn that come from phantoms."""
    strength: Strength = field(
        default_factory=lambda: Strength(
            shift_mm=32, anywhere=0.2, rotation_degrees=25, mirror=0.1, scale=(0.85, 1.2), gamma=0.3, contrast=0.2,
            noise=0.04, shading=0.3, spike=0.06,
        )
    )  # fmt: skip
    sequences: Sequences = field(default_factory=Sequences)
    smallest_ml: dict[Structure, float] = field(
        default_factory=lambda: {Structure.INFARCT: 1.0, Structure.NO_REFLOW: 1.0, Structure.EDEMA: 20.0}
    )
    """Less is taken for a mistake; of edema only where there is LGE and no scar."""
    optimisation: Optimisation = field(default_factory=lambda: Optimisation(hold=0.6))
    seed: int = 0


RECIPES = {"compact-myops": Recipe()}
