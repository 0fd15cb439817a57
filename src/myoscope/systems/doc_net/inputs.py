"""What Clinic-NET and DOC-NET read: the recipe that says what, and how it comes from a study and its labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.datasets import clinical
from myoscope.datasets.emidec import CLASSES
from myoscope.errors import InputError
from myoscope.lab.augment_stacks import Ranges
from myoscope.lab.slices import normalise, resample_slices
from myoscope.labels import SCAR, Structure
from myoscope.study import Case, Role
from myoscope.volume import Volume

VOLUMES: dict[str, tuple[Structure, ...]] = {
    "LV blood pool": (Structure.LV,),
    "healthy myocardium": (Structure.MYOCARDIUM,),
    "scar": SCAR,
    "enhanced scar": (Structure.INFARCT,),
    "no-reflow": (Structure.NO_REFLOW,),
}
"""Volumes that a "+" network may read, and what they are made of."""

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
    spacing_mm: float = 2.0
    margin: int = 8
    """Pixels kept around the crop for augmentation; 160 mm in all, inside every field of view of EMIDEC."""
    augmentation: Ranges = field(default_factory=Ranges)
    learning_rate: float = 1e-5
    weight_decay: float = 0.0
    batch: int = 1
    epochs: int = 170
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.slices, self.crop, self.spacing_mm, self.learning_rate, self.batch, self.epochs)
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


@dataclass(frozen=True)
class Inputs:
    """What a network reads of N cases: values (N, V), NaN where unknown; stacks (N, Z, S, S) or None; classes (N,)."""

    values: Tensor
    stacks: Tensor | None
    classes: Tensor

    def some(self, chosen: Tensor) -> "Inputs":
        """The inputs of the cases of these indices."""
        return Inputs(self.values[chosen], None if self.stacks is None else self.stacks[chosen], self.classes[chosen])

    def to(self, device: torch.device) -> "Inputs":
        """The same inputs on another device."""
        stacks = None if self.stacks is None else self.stacks.to(device)
        return Inputs(self.values.to(device), stacks, self.classes.to(device))


def value_names(recipe: Recipe) -> list[str]:
    """Names of the values a network reads, in order."""
    return [*clinical.TITLES.values(), *(f"{name} (ml)" for name in recipe.volumes)]


def read_values(recipe: Recipe, values: clinical.ClinicalValues, labels: Volume | None) -> list[float]:
    """Clinical values and volumes as the network takes them; NaN where unknown."""
    numbers = []
    for name in type(values).model_fields:
        value = getattr(values, name)
        if value is None:
            numbers.append(np.nan)
        elif name in ("troponin", "nt_probnp"):
            numbers.append(float(np.log10(max(value, 0.01))))
        elif name == "tobacco":
            numbers.append(3.0 - int(value))
        else:
            numbers.append(float(value) if isinstance(value, float | int) else float(value in ("Y", "M")))
    if labels is None or not (labels.voxels == Structure.LV).any():
        return numbers + [np.nan] * len(recipe.volumes)
    return numbers + [
        float(np.log1p(np.isin(labels.voxels, VOLUMES[name]).sum() * labels.voxel_ml)) for name in recipe.volumes
    ]


def read_stack(recipe: Recipe, image: Volume, labels: Volume) -> Tensor:
    """The stack around the blood pool's centroid (Z, S, S) in [0, 1], S = crop + 2 margins.

    Zero-padded (at both ends) or cut to the recipe's slices. Without a blood pool the middle of the image is taken.
    """
    pool = np.argwhere(labels.voxels == Structure.LV)
    size = np.array(image.voxels.shape[1:])
    centre = (pool[:, 1:].mean(0) + 0.5) / size if len(pool) else np.array([0.5, 0.5])
    pixels = normalise(torch.from_numpy(image.voxels.astype(np.float32)))
    pixels = resample_slices(pixels, image.spacing_mm[1:], recipe.spacing_mm)
    side = recipe.crop + 2 * recipe.margin
    z, height, width = pixels.shape
    top, left = (round(c * n - side / 2) for c, n in zip(centre, (height, width), strict=True))
    before = (recipe.slices - z) // 2
    window = (-left, left + side - width, -top, top + side - height, before, recipe.slices - z - before)
    return F.pad(pixels, window)


def collect(recipe: Recipe, cases: Sequence[Case]) -> Inputs:
    """Inputs of cases with the volumes and centres of their own labels, whoever drew them.

    Raises:
        InputError: a case has no such class, or not the images or labels that the recipe reads.
    """
    values, stacks, classes = [], [], []
    for case in cases:
        if case.group not in CLASSES:
            raise InputError(f"{case.id}: expected a case that is {' or '.join(CLASSES)}, found {case.group}")
        series, labels = case.study.get(Role.LGE), case.labels.get(Role.LGE)
        if recipe.reads_images and (series is None or labels is None):
            raise InputError(f"{case.id}: expected an LGE image with labels, found none; {recipe.name} reads both")
        values.append(read_values(recipe, clinical.of_patient(case.study.patient, case.id), labels))
        if recipe.channels:
            stacks.append(read_stack(recipe, series.image, labels))  # type: ignore[union-attr,arg-type]
        classes.append(CLASSES.index(case.group))
    return Inputs(torch.tensor(values), torch.stack(stacks) if stacks else None, torch.tensor(classes))


def as_read(recipe: Recipe, numbers: Tensor) -> list[float]:
    """Values as a clinician wrote them, volumes in ml: `read_values` undone."""
    names = [*clinical.TITLES, *recipe.volumes]
    undo = {"troponin": lambda x: 10**x, "nt_probnp": lambda x: 10**x, "tobacco": lambda x: 3 - x}
    undo |= dict.fromkeys(recipe.volumes, np.expm1)
    return [float(f"{undo.get(name, float)(x):.6g}") for name, x in zip(names, numbers.tolist(), strict=True)]
