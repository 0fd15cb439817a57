"""compact-cine and compact-lge: one 2.5-D U-Net each, small enough to train and to run on two cores.

Each slice is segmented with its two neighbours as further input channels. What a data set does not draw (the RV in
EMIDEC, no-reflow in MyoPS) is learned from the sets that draw it: on the others its probability is added to the class
that stands in its place before the loss is taken.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.lab.augment import Strength
from myoscope.lab.loop import Budget, Optimisation, mixed
from myoscope.lab.slices import SliceSet, normalise, resample_slices
from myoscope.lab.unet import UNet
from myoscope.labels import SCAR, Structure
from myoscope.measure.wall import largest_piece
from myoscope.prediction import Prediction
from myoscope.study import Case, Role, Series, Study
from myoscope.systems.compact.confidence import Familiar, calibrate_all, heart_features
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, weights_of, write_weights

SLICES_AT_ONCE = 16
FAMILIAR_SLICES = 800
"""So many training slices say what is familiar."""


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
        smallest_ml={Structure.NO_REFLOW: 1.0, Structure.INFARCT: 3.0},
        start_from="compact-cine",
        optimisation=Optimisation(hold=0.6),
    ),
}


class Model:
    """A trained network and its recipe."""

    def __init__(
        self,
        recipe: Recipe,
        network: UNet,
        familiar: Familiar | None = None,
        card: dict | None = None,
        sha256: str | None = None,
    ) -> None:
        self.recipe = recipe
        self.familiar = familiar
        self.network = network.eval()
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Segment every series of the study that this model reads.

        Returns:
            Label maps of `Structure` codes, uint8, on each series' grid and with its frames.
        """
        return {s.role: self.segment(s).labels for s in study.series if s.role in self.recipe.roles}

    def segment(self, series: Series) -> Prediction:
        """Segment one series, frame by frame, and say how sure that is."""
        return segment_series(series, self, self.recipe.classes)

    def draw(self, shares: Tensor, voxel_ml: float) -> np.ndarray:
        """Labels (Z, Y, X) from class probabilities (Z, C, Y, X)."""
        found = np.array(self.recipe.classes, np.uint8)[shares.argmax(1).numpy(force=True)]
        return drop_traces(keep_heart(found), self.recipe.smallest_ml, voxel_ml)

    def shares(self, frame: np.ndarray, grid: Volume) -> tuple[Tensor, np.ndarray]:
        """Class probabilities (Z, C, Y, X) of one frame (Z, Y, X), and each slice's distance from training's."""
        device = next(self.network.parameters()).device
        in_plane = grid.spacing_mm[1:]
        slices = normalise(torch.from_numpy(frame.astype(np.float32)).to(device))
        slices = resample_slices(slices, in_plane, self.recipe.spacing_mm)
        stack = torch.stack([torch.cat([slices[:1], slices[:-1]]), slices, torch.cat([slices[1:], slices[-1:]])], 1)
        return shares_of(self, stack, frame.shape[1:])

    def look(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the heart (B, C) and logits (B, classes, H, W) of slices with their neighbours (B, 3, H, W)."""
        levels = self.network.encode(stack.contiguous(memory_format=torch.channels_last))
        logits = self.network.decode(levels)
        return heart_features(levels[-1], logits.argmax(1) > 0), logits

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        write_weights(path, self.tensors(), card | {"spacing_mm": self.recipe.spacing_mm})

    def tensors(self) -> dict[str, Tensor]:
        """What `of` makes the model from again, with a card of its `system`, `widths` and `spacing_mm`."""
        tensors = half(self.network.state_dict())
        if self.familiar:
            tensors |= {"familiar.mean": self.familiar.mean, "familiar.whitening": self.familiar.whitening}
        return tensors

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "a compact model"):
            card, tensors, sha256 = read_weights(path)
            return cls.of(card, tensors, device, sha256)

    @classmethod
    def of(cls, card: dict, tensors: dict[str, Tensor], device: str, sha256: str | None = None) -> "Model":
        """The model from its card and its tensors (float32).

        Raises:
            ValueError, KeyError, RuntimeError: they do not fit each other.
        """
        recipe = RECIPES[card["system"]]
        recipe = replace(recipe, spacing_mm=float(card.get("spacing_mm", recipe.spacing_mm)))
        network = UNet(3, len(recipe.classes), tuple(card["widths"]))
        known = [tensors.pop(f"familiar.{k}", None) for k in ("mean", "whitening")]
        load_into(network, tensors)
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        familiar = Familiar(known[0], known[1]) if known[0] is not None and known[1] is not None else None
        return cls(recipe, network, familiar, card, sha256)


def segment_series(series: Series, model: Any, classes: Sequence[Structure]) -> Prediction:
    """Segment a series frame by frame with a model's `shares` and `draw`, and say how sure that is.

    Args:
        series: What to segment.
        model: With `shares(frame, grid)`, `draw(shares, voxel_ml)` and a `card`.
        classes: Of the probabilities that `shares` gives.
    """
    labels, distances = [], []
    sums, counts = np.zeros(len(classes)), np.zeros(len(classes))
    for frame in series.image.frames:
        shares, far = model.shares(frame, series.image)
        found = model.draw(shares, series.image.voxel_ml)
        for i, structure in enumerate(classes):
            mask = torch.from_numpy(found == structure)
            sums[i] += float(shares[:, i].cpu()[mask].sum())
            counts[i] += int(mask.sum())
        labels.append(found)
        distances.append(far)
    voxels = np.stack(labels) if series.image.voxels.ndim == 4 else labels[0]
    raw = {s: sums[i] / counts[i] for i, s in enumerate(classes) if s and counts[i]}
    unusual = (model.card.get("confidence") or {}).get("unusual_distance", np.inf)
    volume = series.image.with_voxels(voxels)
    return Prediction(volume, raw, np.stack(distances), calibrate_all(raw, model.card), unusual)


def shares_of(model: Any, stack: Tensor, size: tuple[int, ...]) -> tuple[Tensor, np.ndarray]:
    """Class probabilities (Z, C, *size) of a model's input slices (Z, channels, H, W), and their distances (Z,)."""
    height, width = stack.shape[2:]
    m = model.network.multiple
    stack = F.pad(stack, (m, m + -width % m, m, m + -height % m))
    shares, distances = [], []
    with torch.inference_mode():
        for part in stack.split(SLICES_AT_ONCE):
            features, logits = model.look(part)
            logits = logits[:, :, m : m + height, m : m + width]
            logits = F.interpolate(logits, list(size), mode="bilinear", align_corners=False)
            shares.append(logits.softmax(1))
            far = model.familiar.distance(features) if model.familiar else features[:, 0] * torch.nan
            distances.append(far.numpy(force=True))
    return torch.cat(shares), np.concatenate(distances)


def keep_heart(labels: np.ndarray) -> np.ndarray:
    """Labels (Z, Y, X) without what is not connected to the largest labelled body, nor to the RV's largest.

    Where the network goes wrong beside the heart (lung, effusion), it mostly calls it RV.
    """
    heart = np.where(largest_piece(labels > 0), labels, 0).astype(np.uint8)
    rv = heart == Structure.RV
    heart[rv & ~largest_piece(rv)] = 0
    return heart


def drop_traces(labels: np.ndarray, smallest_ml: dict[Structure, float], voxel_ml: float) -> np.ndarray:
    """Labels (Z, Y, X) where a trace of no-reflow became infarct, and a trace of infarct (with it) myocardium.

    Args:
        labels: `Structure` codes.
        smallest_ml: Volume below which a structure is a trace; an absent structure is never one.
        voxel_ml: Volume of a voxel in ml.
    """
    result = labels.copy()
    for traces, becomes in (((Structure.NO_REFLOW,), Structure.INFARCT), (SCAR, Structure.MYOCARDIUM)):
        found = np.isin(result, traces)
        if found.sum() * voxel_ml < smallest_ml.get(traces[0], 0.0):
            result[found] = becomes
    return result


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on labelled cases (and phantoms, as the recipe says) until the budget is spent.

    Args:
        recipe: What to train.
        cases: Training cases only.
        budget: When to stop.
        folder: Where checkpoint, curve and recipe are kept; a killed run goes on from there.
        device: "cpu" or "cuda".
    """
    from myoscope.lab.loop import train as run

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
    torch.manual_seed(recipe.seed)
    network = UNet(3, len(recipe.classes), recipe.widths).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.start_from:
        start = Model.load(weights_of(recipe.start_from), device)
        _copy_weights(start, network, recipe.classes)
    slices = _slices(recipe, cases).to(torch.device(device))
    average = run(network, _loss(recipe, slices), budget, folder, recipe.optimisation, recipe.name)
    model = Model(recipe, average)  # type: ignore[arg-type]
    return Model(recipe, model.network, _familiar(model, slices))


def _slices(recipe: Recipe, cases: Sequence[Case]) -> SliceSet:
    """All slices to train on, each weighted by how often it is drawn."""
    from myoscope.lab.slices import collect

    weighted = [(case, 1.0) for case in cases] + _phantoms(recipe, cases)
    slices = collect(weighted, recipe.roles, recipe.classes, recipe.stand_ins, recipe.spacing_mm)
    scar = torch.tensor([recipe.classes.index(s) for s in SCAR if s in recipe.classes])
    shown = torch.isin(slices.labels, scar).flatten(1).any(1)
    return replace(slices, weights=torch.where(shown, slices.weights * recipe.scar_weight, slices.weights))


def _familiar(model: Model, slices: SliceSet) -> Familiar:
    """Where the features of training slices lie, from a sample as training draws them but unchanged."""
    rng = torch.Generator().manual_seed(model.recipe.seed)
    weights = slices.weights.cpu()
    chosen = torch.multinomial(weights, min(FAMILIAR_SLICES, int((weights > 0).sum())), generator=rng)
    features = []
    with torch.inference_mode():
        for part in chosen.to(slices.images.device).split(SLICES_AT_ONCE):
            features.append(model.look(slices.images[slices.neighbours[part]].float() / 255)[0])
    found = torch.cat(features)
    return Familiar.fit(found[found.isfinite().all(1)])


def _copy_weights(start: Model, network: UNet, classes: tuple[Structure, ...]) -> None:
    """Start from another model: all features, and the outputs of the classes that both have."""
    tensors = network.state_dict()
    for name, tensor in start.network.state_dict().items():
        if not name.startswith("head."):
            tensors[name].copy_(tensor)
            continue
        rows = tensors[name].unflatten(0, (len(classes), -1))
        known = tensor.unflatten(0, (len(start.recipe.classes), -1))
        for i, structure in enumerate(classes):
            if structure in start.recipe.classes:
                rows[i].copy_(known[start.recipe.classes.index(structure)])


def _loss(recipe: Recipe, slices: SliceSet) -> Callable[[torch.nn.Module, int], Tensor]:
    """The loss of a step: cross-entropy + Dice over the classes that each case draws."""
    from myoscope.lab.augment import batch

    def loss_of(network: torch.nn.Module, step: int) -> Tensor:
        seed = recipe.seed * 1_000_003 + step
        images, labels, merges = batch(slices, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.strength, seed)
        with mixed(images.device.type):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        shares = logits.float().softmax(1)
        if (merges != torch.eye(len(recipe.classes), device=merges.device)).any():
            shares = torch.einsum("bij,bjhw->bihw", merges, shares)
        return F.nll_loss(shares.clamp(min=1e-6).log(), labels) + _tversky(shares, labels, recipe.missed)

    return loss_of


def _tversky(shares: Tensor, labels: Tensor, missed: float) -> Tensor:
    """Tversky loss over the whole batch, mean of all classes but the first; as MONAI's, in a tenth of its time.

    Args:
        shares: Class probabilities (B, C, H, W).
        labels: Class indices (B, H, W).
        missed: Weight of missed pixels; 0.5 makes it the Dice loss.
    """
    classes = range(1, shares.shape[1])
    both = torch.stack([(shares[:, i] * (labels == i)).sum() for i in classes])
    drawn = torch.stack([(labels == i).sum() for i in classes])
    found = shares.sum((0, 2, 3))[1:]
    wrong = (1 - missed) * (found - both) + missed * (drawn - both)
    return (1 - (both + 1e-5) / (both + wrong + 1e-5)).mean()


@lru_cache(maxsize=1)
def _draw_phantoms(count: int, roles: tuple[Role, ...]) -> list[Case]:
    """Training phantoms at ED and ES; drawn once for all folds of a run."""
    from myoscope.datasets.phantom import ROLES, TRAINING, draw, sample

    wanted = [role for role in roles if role in ROLES]
    groups = ("MINF", None)  # every other one with an infarct
    return [draw(sample(seed, TRAINING, groups[seed % 2]), wanted, frames=2) for seed in range(count)]


def _phantoms(recipe: Recipe, cases: Sequence[Case]) -> list[tuple[Case, float]]:
    """Synthetic cases, weighted to make up the recipe's share of all slices."""
    if not recipe.phantoms or not recipe.phantom_share:
        return []
    drawn = _draw_phantoms(recipe.phantoms, recipe.roles)

    def count(some: Sequence[Case]) -> int:
        shapes = [s.image.frames.shape for case in some for s in case.study.series if s.role in recipe.roles]
        return sum(t * z for t, z, _, _ in shapes)

    share = recipe.phantom_share if cases else 1.0
    weight = count(cases) * share / (1 - share) / count(drawn) if cases else 1.0
    return [(case, weight) for case in drawn]
