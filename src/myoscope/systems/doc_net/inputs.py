"""What Clinic-NET and DOC-NET read, and how it comes from a study and its labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.datasets import clinical
from myoscope.datasets.emidec import CLASSES
from myoscope.diagnose.clinical_values import read_values
from myoscope.errors import InputError
from myoscope.lab.slices import normalise, resample_slices
from myoscope.labels import Structure
from myoscope.study import Case, Role
from myoscope.systems.doc_net.recipe import Recipe
from myoscope.volume import Volume


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


def read_stack(recipe: Recipe, image: Volume, labels: Volume) -> Tensor:
    """The stack around the blood pool's centroid (Z, S, S) in [0, 1], S = crop + 2 margins.

    Zero-padded (at both ends) or cut to the recipe's slices. Without a blood pool the middle of the image is taken.
    """
    pool = np.argwhere(labels.voxels == Structure.LV)
    size = np.array(image.voxels.shape[1:])
    centre = (pool[:, 1:].mean(0) + 0.5) / size if len(pool) else np.array([0.5, 0.5])
    pixels = normalise(torch.from_numpy(image.voxels.astype(np.float32)))
    if recipe.spacing_mm:
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
        values.append(read_values(recipe.volumes, clinical.of_patient(case.study.patient, case.id), labels))
        if recipe.channels:
            stacks.append(read_stack(recipe, series.image, labels))  # type: ignore[union-attr,arg-type]
        classes.append(CLASSES.index(case.group))
    return Inputs(torch.tensor(values), torch.stack(stacks) if stacks else None, torch.tensor(classes))
