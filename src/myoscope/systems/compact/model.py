"""A trained network: from images to labels, to and from its file."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.lab.export import Plain, Seen, add_to_card, clinic_facts, write_network
from myoscope.lab.slices import normalise, resample_slices
from myoscope.lab.unet import UNet
from myoscope.labels import Structure
from myoscope.prediction import Prediction
from myoscope.segment.clean import drop_traces, keep_heart
from myoscope.segment.confidence import calibrate_all
from myoscope.study import Role, Series, Study
from myoscope.systems.compact.confidence import Familiar, heart_features
from myoscope.systems.compact.recipe import RECIPES, Recipe
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, write_weights

SLICES_AT_ONCE = 16


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
        self.name, self.roles = recipe.name, recipe.roles
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
        self.export(path)

    def export(self, path: Path) -> None:
        """Write the network file (ONNX) that `analyze` runs beside the weights, and what it must know into the card."""
        add_to_card(path, self.write_network(path.with_suffix(".onnx")))

    def write_network(self, path: Path) -> dict[str, Any]:
        """Write NAME.onnx; gives what the clinic must know."""
        network = copy.deepcopy(self.network)
        seen = Seen(network, self.familiar.mean, self.familiar.whitening) if self.familiar else Plain(network)
        write_network(path, seen, torch.zeros(2, 3, 8 * self.network.multiple, 8 * self.network.multiple))
        return clinic_facts(self.recipe, self.network.multiple, self.recipe.spacing_mm)

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
