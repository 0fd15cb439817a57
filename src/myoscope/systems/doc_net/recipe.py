"""What decides what a variant becomes, and the variants."""

from dataclasses import dataclass, field, replace

from myoscope.diagnose.clinical_values import VOLUMES
from myoscope.errors import InputError
from myoscope.lab.augment_stacks import Ranges

AUTOMATIC = ("LV blood pool", "healthy myocardium", "scar")
MANUAL = ("LV blood pool", "healthy myocardium", "enhanced scar", "no-reflow")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a variant becomes, given the cases.

    Raises:
        InputError: a number that cannot be meant.
    """

    name: str
    hidden: tuple[int, ...]
    """Units of the fully connected layers before the last one."""
    volumes: tuple[str, ...] = ()
    segmentation: str | None = None
    """System whose label maps give volumes and centre where nobody drew any."""
    channels: tuple[int, ...] = ()
    """Of the image branch's layers; none: images are not read."""
    dropout: float = 0.2
    slices: int = 10
    crop: int = 64
    spacing_mm: float | None = 2.0
    """In plane; None: pixels as they were acquired."""
    margin: int = 8
    """Pixels kept around the crop for augmentation; 160 mm in all, inside every field of view of EMIDEC."""
    augmentation: Ranges = field(default_factory=Ranges)
    learning_rate: float = 1e-5
    weight_decay: float = 0.0
    batch: int = 1
    epochs: int = 170
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.slices, self.crop, self.spacing_mm or 1, self.learning_rate, self.batch, self.epochs)
        if min(*numbers, *self.hidden, *self.channels, 1) <= 0 or min(self.margin, self.weight_decay) < 0:
            raise InputError(f"{self.name}: expected positive numbers in the recipe")
        if not 0 <= self.dropout < 1:
            raise InputError(f"{self.name}: expected dropout from 0 to below 1, found {self.dropout}")
        if set(self.volumes) - set(VOLUMES):
            raise InputError(f"{self.name}: expected volumes among {', '.join(VOLUMES)}, found {self.volumes}")

    @property
    def reads_images(self) -> bool:
        """Whether an LGE stack is needed, for itself or for the volumes of its labels."""
        return bool(self.channels or self.volumes)


_CLINIC, _DOC, _CHANNELS = (20, 30, 10), (33, 50, 16), (4, 8, 16, 32, 64, 16, 8)
OWN_SEGMENTATION, BETTER = "doc-net-segmentation", "cascade.small"

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("doc-net.linear+", (), AUTOMATIC, BETTER),
        Recipe("doc-net.clinic-net", _CLINIC),
        Recipe("doc-net.doc-net", _DOC, (), OWN_SEGMENTATION, _CHANNELS),
        Recipe("doc-net.clinic-net+", _CLINIC, AUTOMATIC, OWN_SEGMENTATION),
        Recipe("doc-net.doc-net+", _DOC, AUTOMATIC, OWN_SEGMENTATION, _CHANNELS),
        Recipe("doc-net.published", _DOC, (), OWN_SEGMENTATION, _CHANNELS, crop=128, spacing_mm=None),
        Recipe("doc-net.published+", _DOC, AUTOMATIC, OWN_SEGMENTATION, _CHANNELS, crop=128, spacing_mm=None),
    )
}
"""The default first, then the four networks as published, DOC-NET's on smaller stacks; last DOC-NET on the paper's."""


def retuned(recipe: Recipe) -> Recipe:
    """The same network with a learning rate that moves its weights; set beforehand, not searched for."""
    epochs = 60 if recipe.channels else 100
    return replace(recipe, learning_rate=1e-3, weight_decay=1e-2, batch=8, epochs=epochs)
