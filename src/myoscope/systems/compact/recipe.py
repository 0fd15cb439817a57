"""What decides what a variant becomes, and the variants."""

from dataclasses import dataclass, field

from myoscope.lab.augment import Strength
from myoscope.lab.loop import Optimisation
from myoscope.labels import Structure
from myoscope.study import Role


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a compact model becomes, given the cases."""

    name: str
    roles: tuple[Role, ...]
    classes: tuple[Structure, ...]
    stand_ins: dict[Structure, Structure]
    spacing_mm: float
    crop: int = 96
    batch: int = 12
    widths: tuple[int, ...] = (16, 32, 64, 128)
    phantoms: int = 60
    phantom_share: float = 0.15
    """Share of the slices drawn that are synthetic."""
    transplants: int = 0
    """So many cases are drawn that show another's infarct."""
    transplant_share: float = 0.3
    """Their share of the slices drawn, phantoms aside."""
    scar_weight: float = 1.0
    """How often a slice with scar is drawn, beside one without."""
    strength: Strength = field(default_factory=Strength)
    missed: float = 0.5
    """Weight of missed pixels in the Tversky loss; 0.5 makes it the Dice loss."""
    smallest_ml: dict[Structure, float] = field(default_factory=dict)
    """Less than this of a structure in the whole stack is taken for a mistake: see `drop_traces`."""
    start_from: str | None = None
    """Installed model whose weights training starts from."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0


MILD = Strength(
    shift_mm=20.0,
    anywhere=0.1,
    rotation_degrees=20.0,
    scale=(0.85, 1.2),
    elastic_mm=2.0,
    gamma=0.3,
    contrast=0.2,
    noise=0.04,
    shading=0.4,
    spike=0.06,
    lone_slice=0.05,
)
"""Two cores do not come to the point of overfitting: with more than this, training cases scored like test cases."""

_ANATOMY = (Structure.BACKGROUND, Structure.LV, Structure.MYOCARDIUM, Structure.RV)

RECIPES = {
    "compact-cine": Recipe(
        "compact-cine",
        (Role.CINE, Role.BSSFP),
        _ANATOMY,
        dict.fromkeys((Structure.INFARCT, Structure.NO_REFLOW, Structure.EDEMA), Structure.MYOCARDIUM),
        spacing_mm=1.25,
        crop=112,
        batch=6,
        phantoms=100,
        phantom_share=0.2,
        strength=MILD,
        optimisation=Optimisation(hold=0.6),
    ),
    "compact-lge": Recipe(
        "compact-lge",
        (Role.LGE,),
        (*_ANATOMY[:3], Structure.INFARCT, Structure.NO_REFLOW, Structure.RV),
        {Structure.EDEMA: Structure.MYOCARDIUM},
        spacing_mm=1.4,
        phantoms=100,
        phantom_share=0.15,
        strength=MILD,
        smallest_ml={Structure.NO_REFLOW: 2.0, Structure.INFARCT: 3.0},
        transplants=240,
        start_from="compact-cine",
        optimisation=Optimisation(hold=0.6),
    ),
}
