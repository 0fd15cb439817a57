"""What decides what a variant becomes, and the variants."""

from dataclasses import dataclass, field, replace

from myoscope.errors import InputError
from myoscope.lab.folds import FOLDS
from myoscope.lab.loop import Optimisation
from myoscope.study import Role
from myoscope.systems.acdc_multitask.inputs import Augmentation

LOCATOR = "compact-cine"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a variant becomes, given the cases.

    Raises:
        InputError: a number that cannot be meant.
    """

    name: str
    diagnosis: bool = True
    segmentation: bool = True
    features: bool = False
    roles: tuple[Role, ...] = (Role.CINE,)
    crop: int = 192
    spacing_mm: float = 1.0
    widths: tuple[int, int] = (64, 12)
    """Feature maps of the first convolution; growth."""
    batch: int = 4
    dropout: float = 0.5
    dropout_input: float = 0.2
    alpha: float = 0.3
    """Weight of the segmentation beside the rest."""
    beta: float = 0.6
    """Weight of the features beside the diagnosis."""
    cedes: bool = True
    """A task that is not learned cedes its share; otherwise the others keep the formula's weights."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimisation: Optimisation = field(default_factory=lambda: Optimisation(5e-4, weight_decay=0.0, plain=True))
    snapshot_steps: int = 100
    """The learning curve has a point every so many steps."""
    seed: int = 0
    folds: int = 4
    """Into which the cases are dealt: the thesis trains on three quarters of them."""

    def __post_init__(self) -> None:
        if min(self.crop, self.spacing_mm, *self.widths, self.batch, self.snapshot_steps) <= 0 or self.crop % 8:
            raise InputError(f"{self.name}: expected positive numbers and a crop divisible by 8 in the recipe")
        if not all(0 <= share <= 1 for share in (self.dropout, self.dropout_input, self.alpha, self.beta)):
            raise InputError(f"{self.name}: expected dropout, alpha and beta from 0 to 1")


_DOUBLE = Recipe("double")
PUBLISHED = (
    _DOUBLE,
    replace(_DOUBLE, name="diagnosis", segmentation=False, batch=15),
    replace(_DOUBLE, name="segmentation", diagnosis=False),
    replace(_DOUBLE, name="triple", features=True),
    replace(_DOUBLE, name="double-literal", cedes=False),
)


def _halved(recipe: Recipe) -> Recipe:
    return replace(
        recipe,
        name=f"half-{recipe.name}",
        crop=72,
        spacing_mm=2.0,
        widths=(32, 6),
        batch=4 if recipe.segmentation else 8,
        dropout=0.1,
        dropout_input=0.0,
        augmentation=Augmentation(rotation_degrees=30, zoom=0.08, shift_mm=10, contrast=0.2, noise=0.1),
        optimisation=Optimisation(2e-3, 0.02, ema_decay=0.98),
        snapshot_steps=50,
        folds=FOLDS,
    )


RECIPES = {
    f"acdc-multitask.{recipe.name}": replace(recipe, name=f"acdc-multitask.{recipe.name}")
    for recipe in (*map(_halved, PUBLISHED), *PUBLISHED)
}
"""The default first: it is the one that is installed."""
