"""A trained network: from images to labels, to and from its file."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.datasets.acdc import CLASSES
from myoscope.errors import InputError
from myoscope.prediction import Classification
from myoscope.study import Role, Series, Study
from myoscope.systems import system_module
from myoscope.systems.acdc_multitask.inputs import (
    FEATURES,
    STRUCTURES,
    Heart,
    channels,
    find_heart,
    read_stack,
    resampled_size,
    window,
)
from myoscope.systems.acdc_multitask.network import PHASES, SLICES, AcdcMultitask
from myoscope.systems.acdc_multitask.recipe import LOCATOR, RECIPES, Recipe
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, weights_of, write_weights


@dataclass(frozen=True)
class Seen:
    """What the network makes of every window of six slices: W windows, the first slice of each in `starts`.

    `diagnosis` (W, 5) are probabilities; `features` (W, 13) in their own units; `shares` (W, 2, C, 6, S, S) the
    probabilities of STRUCTURES at ED and ES. What the variant has not learned is None.
    """

    heart: Heart
    slices: int
    starts: list[int]
    diagnosis: Tensor | None
    features: Tensor | None
    shares: Tensor | None

    @property
    def middle(self) -> int:
        """The window of the middle six slices."""
        return self.starts.index(max(0, self.slices - SLICES) // 2)


class Model:
    """A trained network and its recipe."""

    def __init__(
        self, recipe: Recipe, network: AcdcMultitask, card: dict | None = None, sha256: str | None = None
    ) -> None:
        self.recipe = recipe
        self.network = network.eval()
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study, heart: Heart | None = None) -> Classification | dict[Role, Volume]:
        """The class of a patient, and label maps that are no better than they need to be: never measure them.

        Args:
            study: With a cine that shows end-diastole and end-systole.
            heart: Where it lies; without it compact-cine looks for it.

        Returns:
            A Classification with label maps (uint8, `Structure` codes on the cine's grid, frames other than ED and ES
            empty) where the variant segments; the label maps alone where it does nothing else.

        Raises:
            InputError: there is no such cine.
        """
        series = study.get(Role.CINE)
        if series is None or len(series.image.frames) < 2:
            found = "no cine" if series is None else "one frame"
            raise InputError(f"{study.id}: expected a cine with end-diastole and end-systole, found {found}")
        if heart is None:
            heart = find_heart(series, _locator().predict(study)[Role.CINE])
        return self.conclude(series, self.look(series, heart))

    def look(self, series: Series, heart: Heart, only_middle: bool = False) -> Seen:
        """Run the network on every six consecutive slices, or on the middle six; fewer: end slices are repeated."""
        device = next(self.network.parameters()).device
        stack = read_stack(series.image, heart, self.recipe.crop, self.recipe.spacing_mm)
        slices = stack.shape[1]
        lacking = max(0, SLICES - slices)
        index = (torch.arange(slices + lacking) - lacking // 2).clamp(0, slices - 1)
        whole = channels(stack[None, :, index]).to(device)
        starts = list(range(whole.shape[2] - SLICES + 1))
        if only_middle:
            starts = [len(starts[:-1]) // 2]
        found: list[dict[str, Tensor]] = []
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            for z in starts:
                found.append(self.network(whole[:, :, z : z + SLICES]))
        rows = {key: torch.cat([one[key].float() for one in found]).cpu() for key in found[0]}
        shares = torch.stack([rows[p].softmax(1) for p in PHASES], 1) if PHASES[0] in rows else None
        features = self._in_units(rows["features"]) if "features" in rows else None
        diagnosis = rows["diagnosis"].softmax(1) if "diagnosis" in rows else None
        return Seen(heart, slices, starts, diagnosis, features, shares)

    def _in_units(self, features: Tensor) -> Tensor:
        return features * self.network.features_scale.cpu() + self.network.features_mean.cpu()

    def conclude(self, series: Series, seen: Seen) -> Classification | dict[Role, Volume]:
        """The mean over all windows, and the label maps that the windows make together."""
        labels = {Role.CINE: self._labels(series.image, seen)} if seen.shares is not None else {}
        if seen.diagnosis is None:
            return labels
        notes = []
        if seen.heart.centre is None:
            notes.append("no heart was found on the cine: the middle of the image was judged")
        if seen.slices < SLICES:
            notes.append(f"fewer than {SLICES} slices: the end slices were repeated")
        shares = dict(zip(CLASSES, seen.diagnosis.mean(0).tolist(), strict=True))
        return Classification(shares, notes=tuple(notes), labels=labels)

    def _labels(self, image: Volume, seen: Seen) -> Volume:
        assert seen.shares is not None
        lacking = max(0, SLICES - seen.slices)
        total = torch.zeros((2, len(STRUCTURES), seen.slices + lacking, *seen.shares.shape[-2:]))
        for z, shares in zip(seen.starts, seen.shares, strict=True):
            total[:, :, z : z + SLICES] += shares
        total = total[:, :, lacking // 2 :][:, :, : seen.slices]
        total = total / total.sum(1, keepdim=True)
        height, width = image.voxels.shape[-2:]
        rows, columns = resampled_size(image, self.recipe.spacing_mm)
        undo = [-n for n in window(rows, columns, seen.heart, self.recipe.crop)]
        codes = np.array(STRUCTURES, np.uint8)
        result = np.zeros(image.frames.shape, np.uint8)
        for frame, shares in zip((seen.heart.ed, seen.heart.es), total, strict=True):
            parts = [F.pad(share, undo, value=float(i == 0)) for i, share in enumerate(shares)]
            onto = F.interpolate(torch.stack(parts, 1), (height, width), mode="bilinear", align_corners=False)
            result[frame] = codes[onto.argmax(1).numpy()]
        return image.with_voxels(result)

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        write_weights(path, half(self.network.state_dict()), {**card, "crop": self.recipe.crop})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "acdc-multitask"):
            card, tensors, sha256 = read_weights(path)
            recipe = replace(RECIPES[card["system"]], widths=tuple(card["widths"]), crop=card["crop"])
            network = build(recipe)
            load_into(network, tensors)
        return cls(recipe, network.to(device), card, sha256)


@lru_cache(maxsize=1)
def _locator() -> Any:
    return system_module(LOCATOR).Model.load(weights_of(LOCATOR))


def build(recipe: Recipe) -> AcdcMultitask:
    """The untrained network of a recipe."""
    return AcdcMultitask(
        len(CLASSES) if recipe.diagnosis else 0,
        len(FEATURES) if recipe.features else 0,
        len(STRUCTURES) if recipe.segmentation else 0,
        *recipe.widths,
        recipe.dropout,
        recipe.dropout_input,
    )
