"""compact-cine and compact-lge: one 2.5-D U-Net each, small enough to train and to run on two cores.

Each slice is segmented with its two neighbours as further input channels. What a data set does not draw (the RV in
EMIDEC, no-reflow in MyoPS) is learned from the sets that draw it: on the others its probability is added to the class
that stands in its place before the loss is taken.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.labels import SCAR, Structure
from myoscope.networks.unet import UNet
from myoscope.study import Case, Role, Series, Study
from myoscope.training.loop import Budget, Optimisation
from myoscope.training.slices import normalise, resample_slices
from myoscope.volume import Volume
from myoscope.weights import weights_of

SLICES_AT_ONCE = 16


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a compact model becomes, given the cases."""

    name: str
    roles: tuple[Role, ...]
    classes: tuple[Structure, ...]
    stand_ins: dict[Structure, Structure]
    spacing_mm: float
    crop: int = 128
    batch: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 256)
    phantoms: int = 60
    phantom_share: float = 0.15
    """Share of the slices drawn that are synthetic."""
    smallest_ml: dict[Structure, float] = field(default_factory=dict)
    """Less than this of a structure in the whole stack is taken for a mistake: see `drop_traces`."""
    start_from: str | None = None
    """Installed model whose weights training starts from."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0


_ANATOMY = (Structure.BACKGROUND, Structure.LV, Structure.MYOCARDIUM, Structure.RV)

RECIPES = {
    "compact-cine": Recipe(
        "compact-cine",
        (Role.CINE, Role.BSSFP),
        _ANATOMY,
        dict.fromkeys((Structure.INFARCT, Structure.NO_REFLOW, Structure.EDEMA), Structure.MYOCARDIUM),
        spacing_mm=1.5,
    ),
    "compact-lge": Recipe(
        "compact-lge",
        (Role.LGE,),
        (*_ANATOMY[:3], Structure.INFARCT, Structure.NO_REFLOW, Structure.RV),
        {Structure.EDEMA: Structure.MYOCARDIUM},
        spacing_mm=1.4,
        crop=96,
        batch=12,
        smallest_ml={Structure.NO_REFLOW: 1.0, Structure.INFARCT: 3.0},
        start_from="compact-cine",
    ),
}


class Model:
    """A trained network and its recipe."""

    def __init__(self, recipe: Recipe, network: UNet, card: dict | None = None, sha256: str | None = None) -> None:
        self.recipe = recipe
        self.network = network.eval()
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Segment every series of the study that this model reads.

        Returns:
            Label maps of `Structure` codes, uint8, on each series' grid and with its frames.
        """
        return {s.role: self.segment(s) for s in study.series if s.role in self.recipe.roles}

    def segment(self, series: Series) -> Volume:
        """Segment one series, frame by frame; see `predict`."""
        codes = np.array(self.recipe.classes, np.uint8)
        labels = [codes[self._indices(frame, series.image)] for frame in series.image.frames]
        labels = [drop_traces(keep_heart(x), self.recipe.smallest_ml, series.image.voxel_ml) for x in labels]
        return series.image.with_voxels(np.stack(labels) if series.image.voxels.ndim == 4 else labels[0])

    def _indices(self, frame: np.ndarray, grid: Volume) -> np.ndarray:
        """Class indices (Z, Y, X) of one frame (Z, Y, X)."""
        device = next(self.network.parameters()).device
        in_plane = grid.spacing_mm[1:]
        slices = normalise(torch.from_numpy(frame.astype(np.float32)).to(device))
        slices = resample_slices(slices, in_plane, self.recipe.spacing_mm)
        height, width = slices.shape[1:]
        m = self.network.multiple
        slices = F.pad(slices, (m, m + -width % m, m, m + -height % m))
        stack = torch.stack([torch.cat([slices[:1], slices[:-1]]), slices, torch.cat([slices[1:], slices[-1:]])], 1)
        result = []
        for part in stack.split(SLICES_AT_ONCE):
            with torch.inference_mode():
                logits = self.network(part.contiguous(memory_format=torch.channels_last))
                logits = logits[:, :, m : m + height, m : m + width]
                logits = F.interpolate(logits, frame.shape[1:], mode="bilinear", align_corners=False)
            result.append(logits.argmax(1).to(torch.uint8))
        return torch.cat(result).numpy(force=True)

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        from safetensors.torch import save

        tensors = {k: v.half().contiguous() for k, v in self.network.state_dict().items() if v.is_floating_point()}
        write_whole(path.with_suffix(".json"), json.dumps(card, indent=2, ensure_ascii=False) + "\n")
        write_whole(path, save(tensors))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        from safetensors.torch import load

        card_path = path.with_suffix(".json")
        if not (path.is_file() and card_path.is_file()):
            raise InputError(f"{path}: expected weights with a card beside them, found none; train or reinstall")
        card = json.loads(card_path.read_text())
        data = path.read_bytes()
        recipe = RECIPES[card["system"]]
        network = UNet(3, len(recipe.classes), tuple(card["widths"]))
        result = network.load_state_dict({k: v.float() for k, v in load(data).items()}, strict=False)
        if [k for k in result.missing_keys if not k.endswith("num_batches_tracked")] or result.unexpected_keys:
            raise InputError(f"{path}: weights do not fit {recipe.name}; train it again")
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(recipe, network, card, hashlib.sha256(data).hexdigest())


def keep_heart(labels: np.ndarray) -> np.ndarray:
    """Labels (Z, Y, X) without what is not connected to the largest labelled body."""
    parts, count = ndimage.label(labels > 0, np.ones((3, 3, 3)))
    if count < 2:
        return labels
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    return np.where(parts == largest, labels, 0).astype(np.uint8)


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
    from myoscope.training.loop import train as run

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
    torch.manual_seed(recipe.seed)
    network = UNet(3, len(recipe.classes), recipe.widths).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.start_from:
        start = Model.load(weights_of(recipe.start_from), device)
        _copy_weights(start, network, recipe.classes)
    loss_of = _loss(recipe, cases, torch.device(device))
    return Model(recipe, run(network, loss_of, budget, folder, recipe.optimisation, recipe.name))  # type: ignore[arg-type]


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


def _loss(recipe: Recipe, cases: Sequence[Case], device: torch.device) -> Callable[[torch.nn.Module, int], Tensor]:
    """The loss of a step: cross-entropy + Dice over the classes that each case draws."""
    from monai.losses import DiceLoss

    from myoscope.training.augment import Strength, batch
    from myoscope.training.slices import collect

    weighted = [(case, 1.0) for case in cases] + _phantoms(recipe, cases)
    slices = collect(weighted, recipe.roles, recipe.classes, recipe.stand_ins, recipe.spacing_mm).to(device)
    dice = DiceLoss(include_background=False, batch=True)
    strength = Strength()

    def loss_of(network: torch.nn.Module, step: int) -> Tensor:
        seed = recipe.seed * 1_000_003 + step
        images, labels, merges = batch(slices, recipe.batch, recipe.crop, recipe.spacing_mm, strength, seed)
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        shares = torch.einsum("bij,bjhw->bihw", merges, logits.float().softmax(1))
        truth = F.one_hot(labels, len(recipe.classes)).movedim(-1, 1)
        return F.nll_loss(shares.clamp(min=1e-6).log(), labels) + dice(shares, truth)

    return loss_of


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
