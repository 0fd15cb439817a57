"""The automatic segmentation of Clinic-NET+ and DOC-NET+: find the blood pool, crop around it, segment the crop.

Two 2-D U-Nets trained one after the other: the first, with Dice loss, marks the LV blood pool on coarse slices, and its
centroid is the heart's centre; the second, with generalised Dice loss (Sudre et al. 2017,
doi:10.1007/978-3-319-67558-9_28), segments blood pool, healthy myocardium and scar on a crop around it. No-reflow is
not told from the scar it lies in. Our choices where the paper is silent: spacings, widths, optimiser, augmentation.

Deviations, declared: cross-entropy beside the generalised Dice loss, whose weights are clipped; slices with scar are
drawn more often; the crop is 96x96 pixels of 1.4 mm (the paper: 128x128 as acquired), as two cores afford. With the
Dice loss alone the class of few voxels got a weight without bound wherever a batch had next to none of it, its
probability went to 0 and stayed there: no scar was found in any patient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.lab.augment import Strength, batch
from myoscope.lab.loop import Budget, Optimisation, keep_recipe, mixed, seed_of
from myoscope.lab.loop import train as run
from myoscope.lab.slices import collect, normalise, resample_slices
from myoscope.lab.unet import UNet
from myoscope.labels import Structure
from myoscope.measure.wall import largest_piece
from myoscope.study import Case, Role, Study
from myoscope.systems.compact.recipe import MILD
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, write_weights

LOCATOR_SHARE = 0.25
"""Share of the budget that goes into finding the blood pool."""

ON_CARD = ("crop", "spacing_mm", "locator_spacing_mm")
"""What the networks were trained on, and are to see again, whatever the recipe has become by then."""

LEAST_SHARE = 0.005
"""Share of a batch's voxels below which a class weighs no more in the generalised Dice loss: 46 pixels of a crop."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the two networks become, given the cases."""

    name: str = "doc-net-segmentation"
    roles: tuple[Role, ...] = (Role.LGE,)
    classes: tuple[Structure, ...] = (Structure.BACKGROUND, Structure.LV, Structure.MYOCARDIUM, Structure.INFARCT)
    spacing_mm: float = 1.4
    crop: int = 96
    """134 mm: scar is one pixel in fifty of it, where it was one in a hundred of 180 mm."""
    locator_spacing_mm: float = 4.0
    locator_crop: int = 96
    """384 mm: holds the whole slice, wherever the heart lies in it."""
    locator_shift_mm: float = 100.0
    shift_mm: float = 16.0
    """Of the crop around the heart in training: more than the first network is off."""
    scar_draws: float = 2.0
    """How many times as often a slice with scar is drawn as one without."""
    batch: int = 8
    widths: tuple[int, ...] = (16, 32, 64, 128)
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.spacing_mm, self.locator_spacing_mm, self.crop, self.batch, *self.widths) <= 0:
            raise InputError("expected positive spacings, crop, batch and widths in the recipe")


RECIPES = {"doc-net-segmentation": Recipe()}
_LOCATED = (Structure.BACKGROUND, Structure.LV)


class Model:
    """The two networks and their recipe."""

    def __init__(self, recipe: Recipe, locator: nn.Module, segmenter: nn.Module, card: dict | None = None) -> None:
        self.recipe = recipe
        self.locator = locator.eval()
        self.segmenter = segmenter.eval()
        self.card = card or {}

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Label maps of `Structure` codes, uint8, on the LGE series' grid; empty where no blood pool is found."""
        return {
            s.role: s.image.with_voxels(self._segment(s.image)) for s in study.series if s.role in self.recipe.roles
        }

    def _segment(self, image: Volume) -> np.ndarray:
        device = next(self.segmenter.parameters()).device
        slices = normalise(torch.from_numpy(image.voxels.astype(np.float32)).to(device))
        centre = self._locate(slices, image)
        if centre is None:
            return np.zeros(image.voxels.shape, np.uint8)
        fine = resample_slices(slices, image.spacing_mm[1:], self.recipe.spacing_mm)
        crop = self.recipe.crop
        top, left = (round(c * n - crop / 2) for c, n in zip(centre, fine.shape[1:], strict=True))
        height, width = fine.shape[1:]
        window = (left, width - left - crop, top, height - top - crop)
        logits = _run(self.segmenter, F.pad(fine, [-n for n in window]))
        shares = logits.softmax(1)
        background = F.pad(shares[:, :1], window, value=1.0)
        shares = torch.cat([background, F.pad(shares[:, 1:], window)], 1)
        shares = F.interpolate(shares, image.voxels.shape[1:], mode="bilinear", align_corners=False)
        return np.array(self.recipe.classes, np.uint8)[shares.argmax(1).numpy(force=True)]

    def _locate(self, slices: Tensor, image: Volume) -> tuple[float, float] | None:
        """Centroid (y, x) of the largest body of blood pool, as shares of the slice; None where there is none."""
        coarse = resample_slices(slices, image.spacing_mm[1:], self.recipe.locator_spacing_mm)
        found = _run(self.locator, coarse).argmax(1).numpy(force=True)
        if not found.any():
            return None
        centre = ndimage.center_of_mass(largest_piece(found > 0))
        _, y, x = ((c + 0.5) / n for c, n in zip(centre, found.shape, strict=True))
        return float(y), float(x)

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        networks = {"locator": self.locator, "segmenter": self.segmenter}
        tensors = {f"{n}.{k}": v for n, network in networks.items() for k, v in network.state_dict().items()}
        write_weights(path, half(tensors), card | {name: getattr(self.recipe, name) for name in ON_CARD})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        networks = []
        with refusing(path, "doc-net-segmentation"):
            card, tensors, _ = read_weights(path)
            known = {name: card[name] for name in ON_CARD if name in card}
            recipe = replace(RECIPES[card["system"]], widths=tuple(card["widths"]), **known)
            for name, classes in (("locator", _LOCATED), ("segmenter", recipe.classes)):
                network = UNet(1, len(classes), recipe.widths)
                load_into(network, {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(name)})
                networks.append(network.to(device))
        return cls(recipe, networks[0], networks[1], card)


def _run(network: nn.Module, slices: Tensor) -> Tensor:
    """Logits (N, C, H, W) of slices (N, H, W) of any size."""
    height, width = slices.shape[1:]
    m = int(network.multiple)  # type: ignore[arg-type]
    padded = F.pad(slices, (m, m + -width % m, m, m + -height % m))[:, None]
    with torch.inference_mode():
        return network(padded)[:, :, m : m + height, m : m + width]


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train both networks on labelled cases; a quarter of the budget goes into the first."""
    from monai.losses import DiceLoss

    keep_recipe(recipe, folder)
    locate = _Stage(
        _LOCATED,
        {structure: Structure.BACKGROUND for structure in Structure if structure != Structure.LV},
        recipe.locator_spacing_mm,
        recipe.locator_crop,
        Strength(shift_mm=recipe.locator_shift_mm),
        DiceLoss(include_background=False, softmax=True, batch=True),
    )
    segment = _Stage(
        recipe.classes,
        {
            Structure.NO_REFLOW: Structure.INFARCT,
            Structure.EDEMA: Structure.MYOCARDIUM,
            Structure.RV: Structure.BACKGROUND,
        },
        recipe.spacing_mm,
        recipe.crop,
        replace(MILD, shift_mm=recipe.shift_mm, anywhere=0.0),
        ScarLoss(),
    )
    networks = []
    for name, stage, share in (("locator", locate, LOCATOR_SHARE), ("segmenter", segment, 1 - LOCATOR_SHARE)):
        torch.manual_seed(recipe.seed)
        network = UNet(1, len(stage.classes), recipe.widths).to(device)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        loss_of = _loss(recipe, stage, cases, device)
        title = f"{recipe.name}: {name}"
        networks.append(run(network, loss_of, _part(budget, share), folder / name, recipe.optimisation, title))
    return Model(recipe, networks[0], networks[1])


class ScarLoss(nn.Module):
    """Cross-entropy plus generalised Dice loss over the batch: logits (N, C, H, W) against one-hot labels, as shaped.

    A class weighs 1 / voxels^2 (Sudre et al. 2017, doi:10.1007/978-3-319-67558-9_28), but no more than one that fills
    `LEAST_SHARE` of the batch.
    """

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Scalar, 0 for a perfect answer."""
        shares = logits.softmax(1)
        voxels = truth.sum((0, 2, 3)).float()
        weights = voxels.clamp(min=LEAST_SHARE * voxels.sum()) ** -2
        both, either = (shares * truth).sum((0, 2, 3)), (shares + truth).sum((0, 2, 3))
        dice = 1 - 2 * (weights * both).sum() / (weights * either).sum()
        return dice + F.cross_entropy(logits, truth.argmax(1))


@dataclass(frozen=True)
class _Stage:
    """What tells the two networks apart in training."""

    classes: tuple[Structure, ...]
    stand_ins: dict[Structure, Structure]
    spacing_mm: float
    crop: int
    strength: Strength
    loss: nn.Module


def _part(budget: Budget, share: float) -> Budget:
    steps = max(1, round(budget.steps * share)) if budget.steps else None
    return replace(budget, minutes=budget.minutes and budget.minutes * share, steps=steps)


def _loss(recipe: Recipe, stage: _Stage, cases: Sequence[Case], device: str) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a step on one augmented batch of single slices."""

    weighted = [(case, 1.0) for case in cases]
    slices = collect(weighted, recipe.roles, stage.classes, stage.stand_ins, stage.spacing_mm)
    if Structure.INFARCT in stage.classes:
        scarred = (slices.labels == stage.classes.index(Structure.INFARCT)).flatten(1).any(1)
        slices = replace(slices, weights=torch.where(scarred, recipe.scar_draws, 1.0))
    slices = slices.to(torch.device(device))

    def loss_of(network: nn.Module, step: int) -> Tensor:
        seed = seed_of(recipe, step)
        images, labels, _ = batch(slices, recipe.batch, stage.crop, stage.spacing_mm, stage.strength, seed)
        with mixed(images.device.type):
            logits = network(images[:, 1:2].contiguous(memory_format=torch.channels_last))
        return stage.loss(logits.float(), F.one_hot(labels, len(stage.classes)).movedim(-1, 1))

    return loss_of
