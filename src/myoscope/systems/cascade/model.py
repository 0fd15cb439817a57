"""A trained network: from images to labels, to and from its file."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.lab.export import OneStack, add_to_card, clinic_facts, write_network
from myoscope.lab.slices import normalise, resample_slices
from myoscope.labels import Structure
from myoscope.measure.wall import largest_piece
from myoscope.prediction import Prediction
from myoscope.segment.clean import one_wall
from myoscope.study import Role, Series, Study
from myoscope.systems import compact
from myoscope.systems.cascade.recipe import RECIPES, Recipe, Shares, build
from myoscope.systems.compact.model import drop_traces, keep_heart, segment_series
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, write_weights

MIRRORS = ((), (2,), (3,), (2, 3))
"""Axes (of N, C, Y, X) that each copy is mirrored along."""


class Model:
    """A trained stage, its recipe, and the first stage that it goes on from (None: it is one)."""

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        first: Any = None,
        card: dict | None = None,
        sha256: str | None = None,
    ) -> None:
        self.recipe = recipe
        self.name, self.roles = recipe.name, recipe.roles
        self.network = network.eval()
        self.first = first
        self.card = card or {}
        self.sha256 = sha256
        chosen = self.card.get("chosen") or {}
        self.decides: Shares = chosen.get("shares", recipe.shares)
        known = chosen.get("smallest_ml")
        self.smallest_ml = {Structure[k.upper()]: v for k, v in known.items()} if known else recipe.smallest_ml
        self.classes: tuple[Structure, ...] = first.recipe.classes if first else recipe.classes

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Segment every series of the study that this model reads.

        Returns:
            Label maps of `Structure` codes, uint8, on each series' grid and with its frames.
        """
        return {s.role: self.segment(s).labels for s in study.series if s.role in self.recipe.roles}

    def segment(self, series: Series) -> Prediction:
        """Segment one series, frame by frame, and say how sure that is."""
        return segment_series(series, self, self.classes)

    def draw(self, shares: Tensor, voxel_ml: float) -> np.ndarray:
        """Labels (Z, Y, X) from class probabilities (Z, C, Y, X), scattered voxels and traces of scar removed."""
        return drop_traces(self.whole(shares), self.smallest_ml, voxel_ml)

    def whole(self, shares: Tensor) -> np.ndarray:
        """Labels (Z, Y, X) from class probabilities (Z, C, Y, X), scattered voxels removed."""
        codes = np.array(self.classes, np.uint8)
        return one_wall(keep_heart(codes[shares.argmax(1).numpy(force=True)]))

    def shares(self, frame: np.ndarray, grid: Volume) -> tuple[Tensor, np.ndarray]:
        """Probabilities (Z, C, Y, X) of `classes` in one frame (Z, Y, X), and each slice's distance from training's."""
        first, second, far = self.stages(frame, grid, MIRRORS if self.decides == "mirrored" else ((),))
        return {"first": first, "mean": (first + second) / 2}.get(self.decides, second), far

    def stages(
        self, frame: np.ndarray, grid: Volume, mirrors: Sequence[tuple[int, ...]] = ((),)
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """What each stage says (twice the same where there is one stage or no heart), and the distances of `shares`.

        Args:
            frame: Image (Z, Y, X).
            grid: What it is a frame of.
            mirrors: The second stage's mean is taken over copies mirrored along these axes.
        """
        if self.first is None:
            shares = self._look(frame, grid, None, mirrors)
            return shares, shares, np.full(len(shares), np.nan)
        first, far = self.first.shares(frame, grid)
        if not (first.argmax(1) > 0).any():
            return first, first, far
        prior = prior_of(first, self.first.recipe.classes, self.recipe.classes)
        second = self._look(frame, grid, prior, mirrors)
        return first, spread(second, first, self.first.recipe.classes, self.recipe.classes), far

    def _look(
        self, frame: np.ndarray, grid: Volume, prior: Tensor | None, mirrors: Sequence[tuple[int, ...]]
    ) -> Tensor:
        """Probabilities (Z, C, Y, X) of the recipe's classes; those of the prior outside the network's view."""
        device = next(self.network.parameters()).device
        in_plane, side = grid.spacing_mm[1:], self.recipe.view
        pixels = normalise(torch.from_numpy(frame.astype(np.float32)).to(device))
        pixels = resample_slices(pixels, in_plane, self.recipe.spacing_mm)[:, None]
        shares = pixels.new_zeros(len(pixels), len(self.recipe.classes), *pixels.shape[2:])
        shares[:, 0] = 1
        y, x = (n / 2 for n in pixels.shape[2:])
        if prior is not None:
            shares = to_spacing(prior, in_plane, self.recipe.spacing_mm)
            y, x = heart_centre(shares)
            pixels = torch.cat([pixels, shares], 1)
        top, left = (round(c - side / 2) + side for c in (y, x))  # on slices with a margin of one view all round
        window = (..., slice(top, top + side), slice(left, left + side))
        stacks = torch.zeros(len(pixels), dtype=torch.long, device=device)
        seen = F.pad(pixels, (side,) * 4)[window]
        if prior is not None:
            seen[:, 1] = 1 - seen[:, 2:].sum(1)  # beyond the image lies background
        found = torch.zeros_like(shares[:, :, :1, :1])
        with torch.inference_mode():
            for axes in mirrors:
                copy = seen.flip(axes).contiguous(memory_format=torch.channels_last)
                found = found + self.network(copy, stacks)[0].softmax(1).flip(axes) / len(mirrors)
        whole = F.pad(shares, (side,) * 4)
        whole[window] = found
        whole = whole[..., side:-side, side:-side]
        return F.interpolate(whole, frame.shape[1:], mode="bilinear", align_corners=False)

    def save(self, path: Path, card: dict) -> None:
        """Write the weights of both stages (float16 safetensors) and the card (json) beside them."""
        write_weights(path, self.tensors(), card | self.facts())
        if self.recipe.network == "refine":  # the published ones are not for `analyze`
            self.export(path)

    def export(self, path: Path) -> None:
        """Write the network files (ONNX) that `analyze` runs beside the weights, what it must know into the card."""
        classes = len(self.recipe.classes)
        one = OneStack(copy.deepcopy(self.network))
        write_network(path.with_suffix(".onnx"), one, torch.zeros(3, 1 + classes, self.recipe.view, self.recipe.view))
        multiple: Any = self.network.multiple
        facts = clinic_facts(self.recipe, multiple, self.recipe.spacing_mm) | {
            "view": self.recipe.view,
            "shares": self.recipe.shares,
            "first": self.facts()["first"] | self.first.write_network(path.with_suffix(".first.onnx")),
        }
        add_to_card(path, facts)

    def facts(self) -> dict[str, Any]:
        """What `of` must know beside the tensors."""
        facts: dict[str, Any] = {"system": self.recipe.name, "widths": list(self.recipe.widths)}
        if self.first:
            card = self.first.card
            known = {key: card[key] for key in ("widths", "spacing_mm", "first") if key in card}
            facts["first"] = {"system": self.first.recipe.name, "sha256": self.first.sha256} | known
        return facts

    def tensors(self) -> dict[str, Tensor]:
        """What `of` makes the model from again; the first stage's under `first.`."""
        tensors = {f"second.{k}": v for k, v in half(self.network.state_dict()).items()}
        return tensors | ({f"first.{k}": v for k, v in self.first.tensors().items()} if self.first else {})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "a cascade"):
            card, tensors, sha256 = read_weights(path)
            return cls.of(card, tensors, device, sha256)

    @classmethod
    def of(cls, card: dict, tensors: Mapping[str, Tensor], device: str, sha256: str | None = None) -> "Model":
        """The model from its card and its tensors (float32).

        Raises:
            ValueError, KeyError, RuntimeError: they do not fit each other.
        """
        recipe = RECIPES[card["system"]]
        parts: dict[str, dict[str, Tensor]] = {"first": {}, "second": {}}
        for name, tensor in tensors.items():
            stage, name = name.split(".", 1)
            parts[stage][name] = tensor
        first = None
        if recipe.first:
            kind: Any = cls if recipe.first in RECIPES else compact.Model
            first = kind.of(card["first"], parts["first"], device, card["first"].get("sha256"))
        network = build(recipe, card["widths"], device)
        load_into(network, parts["second"])
        return cls(recipe, network, first, card, sha256)


def prior_of(shares: Tensor, known: Sequence[Structure], wanted: Sequence[Structure]) -> Tensor:
    """Probabilities (Z, C, Y, X) of the classes wanted; those of other classes are background's."""
    prior = shares[:, [known.index(s) for s in wanted]].clone()
    prior[:, 0] = 1 - prior[:, 1:].sum(1)
    return prior


def spread(second: Tensor, first: Tensor, known: Sequence[Structure], drawn: Sequence[Structure]) -> Tensor:
    """The second stage's probabilities in the first's classes: background is dealt out as the first stage does."""
    ground = known.index(Structure.BACKGROUND)
    left = [i for i, s in enumerate(known) if s not in drawn]
    share = first[:, left] / (first[:, left].sum(1, keepdim=True) + first[:, ground : ground + 1]).clamp(min=1e-6)
    shares = torch.empty_like(first)
    for i, structure in enumerate(drawn):
        shares[:, known.index(structure)] = second[:, i]
    shares[:, left] = second[:, :1] * share
    shares[:, ground] -= shares[:, left].sum(1)
    return shares


def to_spacing(shares: Tensor, spacing_mm: tuple[float, float], target_mm: float) -> Tensor:
    """Probabilities (Z, C, Y, X) at another in-plane spacing."""
    return torch.stack([resample_slices(share, spacing_mm, target_mm) for share in shares.unbind(1)], 1)


def heart_centre(shares: Tensor) -> tuple[float, float]:
    """Centre (y, x) of the largest body of foreground in probabilities (Z, C, Y, X), in pixels."""
    body = largest_piece(shares.argmax(1).numpy(force=True) > 0).any(0)
    y, x = np.nonzero(body) if body.any() else [np.array([n / 2]) for n in body.shape]
    return float(y.mean()), float(x.mean())
