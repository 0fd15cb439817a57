"""The multitask network of the ACDC thesis: five classes, ED and ES segmentation, thirteen features of the heart.

Four experiments, as published (`diagnosis`, `segmentation`, `double`, `triple`: 192x192 at 1 mm) and, for two cores, at
half the resolution and half the growth (`half-...`: 72x72 at 2 mm). What the thesis leaves open, or we do otherwise:

- The difference is that of the normalised slices; ED and ES are normalised each by itself.
- Transposed convolutions have the kernel of their stride, 1x2x2; dropout follows every dense layer.
- The features are learned in standard deviations from their training mean: in ml they would drown the rest.
- AdamW without decay, a warm-up, a cosine schedule and a moving average of the weights instead of plain Adam; the last
  weights are kept, not those that the held-out cases like best.
- The half variants: less dropout, a larger learning rate and mild augmentation in plane (the thesis has none).
- The heart is found by compact-cine, not by an expert's labels.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.datasets.acdc import CLASSES
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.lab.loop import Budget, Optimisation, mixed
from myoscope.study import Case, Role, Series, Study
from myoscope.systems import Classification, system_module
from myoscope.systems.acdc_multitask.inputs import (
    FEATURES,
    STRUCTURES,
    Augmentation,
    Heart,
    Inputs,
    batch,
    channels,
    collect,
    find_heart,
    read_stack,
    resampled_size,
    window,
)
from myoscope.systems.acdc_multitask.network import PHASES, SLICES, AcdcMultitask
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, weights_of, write_weights

LOCATOR = "compact-cine"
STRUCTURE_WEIGHTS = (0.1, 0.3, 0.3, 0.3)
MARGIN = 12
"""Pixels kept around the crop for augmentation."""


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
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimisation: Optimisation = field(default_factory=lambda: Optimisation(5e-4, 0.0))
    snapshot_steps: int = 100
    """The learning curve has a point every so many steps."""
    seed: int = 0

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
    )


RECIPES = {
    f"acdc-multitask.{recipe.name}": replace(recipe, name=f"acdc-multitask.{recipe.name}")
    for recipe in (*map(_halved, PUBLISHED), *PUBLISHED)
}
"""The default first: it is the one that is installed."""


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


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on labelled cases until the budget is spent.

    Args:
        recipe: What to train.
        cases: Training cases only.
        budget: When to stop.
        folder: Where checkpoint, curve, recipe and the snapshots of the learning curve are kept; a killed run goes on
            from there.
        device: "cpu" or "cuda".
    """
    from myoscope.lab.loop import train as run

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
    margin = MARGIN if recipe.augmentation != Augmentation() else 0
    inputs = collect(cases, recipe.crop + 2 * margin, recipe.spacing_mm)
    torch.manual_seed(recipe.seed)
    network = build(recipe)
    if recipe.features:
        network.features_mean.copy_(inputs.features.mean(0))
        network.features_scale.copy_(inputs.features.std(0, correction=0).clamp(min=1e-3))
        inputs = replace(inputs, features=(inputs.features - network.features_mean) / network.features_scale)
    network = network.to(device)
    average = run(network, _loss(recipe, inputs, folder, device), budget, folder, recipe.optimisation, recipe.name)
    return Model(recipe, average)  # type: ignore[arg-type]


def _loss(recipe: Recipe, inputs: Inputs, folder: Path, device: str) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a step; now and then it keeps the weights for the learning curve."""

    def loss_of(network: nn.Module, step: int) -> Tensor:
        if step and step % recipe.snapshot_steps == 0:
            _keep(network, folder / "snapshots" / f"{step:06}.safetensors")
        seed = recipe.seed * 1_000_003 + step
        stacks, labels, chosen = batch(inputs, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.augmentation, seed)
        images = channels(stacks).to(device)
        torch.manual_seed(seed)  # of the dropout: a resumed run goes on as if it had not been killed
        with mixed(images.device.type):
            found = {key: value.float() for key, value in network(images).items()}
        terms: dict[str, Tensor] = {}
        if recipe.segmentation:
            terms["segmentation"] = torch.stack(
                [dice_loss(found[p], labels[:, i].to(device)) for i, p in enumerate(PHASES)]
            ).mean()
        if recipe.features:
            terms["features"] = F.mse_loss(found["features"], inputs.features[chosen].to(device))
        if recipe.diagnosis:
            terms["diagnosis"] = F.cross_entropy(found["diagnosis"], inputs.classes[chosen].to(device))
        return combined(terms, recipe.alpha, recipe.beta)

    return loss_of


def combined(terms: dict[str, Tensor], alpha: float, beta: float) -> Tensor:
    """alpha segmentation + (1 - alpha) (beta features + (1 - beta) diagnosis).

    A task that is not learned cedes its share.

    >>> one = {"segmentation": torch.tensor(1.0), "diagnosis": torch.tensor(2.0)}
    >>> float(combined(one, 0.25, 0.6))
    1.75
    """
    rest = [(beta, terms.get("features")), (1 - beta, terms.get("diagnosis"))]
    judged = [(weight, term) for weight, term in rest if term is not None]
    loss = sum((weight * term for weight, term in judged), torch.zeros(())) / max(sum(w for w, _ in judged), 1e-9)
    if "segmentation" not in terms:
        return loss
    return alpha * terms["segmentation"] + (1 - alpha) * loss if judged else terms["segmentation"]


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - the weighted Dice of every structure, with squares in its denominator (Milletari et al. 2016).

    Args:
        logits: (B, C, Z, Y, X).
        labels: (B, Z, Y, X), int64.
    """
    shares, truth = logits.softmax(1), F.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
    overlap = (2 * (shares * truth).sum((2, 3, 4)) + 1) / ((shares**2 + truth).sum((2, 3, 4)) + 1)
    return 1 - (overlap.mean(0) * overlap.new_tensor(STRUCTURE_WEIGHTS)).sum()


def _keep(network: nn.Module, path: Path) -> None:
    from safetensors.torch import save

    path.parent.mkdir(exist_ok=True)
    write_whole(path, save({name: tensor.contiguous() for name, tensor in half(network.state_dict()).items()}))
