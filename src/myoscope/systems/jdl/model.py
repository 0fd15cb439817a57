"""A trained network: from images to labels, to and from its file."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.lab.slices import normalise, resample_slices
from myoscope.lab.unet import UNet
from myoscope.labels import Structure
from myoscope.measure.wall import largest_piece
from myoscope.study import Role, Study
from myoscope.systems.jdl.network import WallAndScar
from myoscope.systems.jdl.recipe import RECIPES, SCAR_ABOVE, SMALLEST_ML, WALL_IN_SCAR_ABOVE, Recipe
from myoscope.systems.jdl.transunet import SmallTransUNet, TransUNet
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, weights_of, write_weights

SQUARES_AT_ONCE = 16


class Model:
    """A trained method and its recipe."""

    def __init__(
        self, recipe: Recipe, network: WallAndScar, card: dict | None = None, sha256: str | None = None
    ) -> None:
        self.recipe = recipe
        self.network = network.eval()
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Segment every LGE series of a study.

        Returns:
            Label maps of `Structure` codes (myocardium and infarct), uint8, on each series' grid and with its frames.
        """
        found = {}
        for series in (s for s in study.series if s.role in self.recipe.roles):
            frames = np.stack([labels_of(*self.masks(frame, series.image)) for frame in series.image.frames])
            found[series.role] = series.image.with_voxels(frames if series.image.voxels.ndim == 4 else frames[0])
        return found

    def masks(self, frame: np.ndarray, grid: Volume) -> tuple[np.ndarray | None, np.ndarray]:
        """Wall (its largest body; None: not looked for) and scar as the networks find them, in a frame (Z, Y, X)."""
        return masks_of(self.probabilities(frame, grid), grid)

    def probabilities(self, frame: np.ndarray, grid: Volume) -> Tensor:
        """Probabilities (Z, 2 or 1, Y, X) of wall (if it is looked for) and scar in a frame (Z, Y, X)."""
        device = next(self.network.parameters()).device
        slices = normalise(torch.from_numpy(frame.astype(np.float32)).to(device))
        slices = resample_slices(slices, grid.spacing_mm[1:], self.recipe.spacing_mm)
        before, after = torch.cat([slices[:1], slices[:-1]]), torch.cat([slices[1:], slices[-1:]])
        if self.recipe.strength.lone_slice == 1:
            before = after = slices
        with torch.inference_mode():
            shares = in_squares(self.look, torch.stack([before, slices, after], 1), self.recipe.crop)
        return F.interpolate(shares, frame.shape[1:], mode="bilinear", align_corners=False)

    def look(self, squares: Tensor) -> Tensor:
        """Probabilities of wall (if it is looked for) and scar, (B, 2 or 1, crop, crop), of squares (B, 3, ...)."""
        logits = self.network(squares.contiguous(memory_format=torch.channels_last))
        return torch.cat([x for x in logits if x is not None], 1).sigmoid()

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        facts = {"widths": list(self.recipe.widths), "crop": self.recipe.crop}
        write_weights(path, half(self.network.state_dict()), card | facts)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "a jdl model"):
            card, tensors, sha256 = read_weights(path)
            recipe = replace(RECIPES[card["system"]], widths=tuple(card["widths"]), crop=card["crop"])
            network = build(replace(recipe, start_from=None), device, fetch=False)
            load_into(network, tensors)
        return cls(recipe, network, card, sha256)


def masks_of(shares: Tensor, grid: Volume) -> tuple[np.ndarray | None, np.ndarray]:
    """Wall (its largest body; None: not looked for) and scar of probabilities (Z, 2 or 1, Y, X)."""
    *wall, scar = shares.movedim(1, 0).numpy(force=True)
    diseased = scar > SCAR_ABOVE
    drawn = largest_piece((wall[0] > 0.5) | (diseased & (wall[0] > WALL_IN_SCAR_ABOVE))) if wall else None
    within = diseased if drawn is None else diseased & drawn
    return drawn, diseased & (within.sum() * grid.voxel_ml >= SMALLEST_ML)


def labels_of(wall: np.ndarray | None, scar: np.ndarray) -> np.ndarray:
    """`Structure` codes of masks of one shape, uint8: scar inside the wall, all scar where there is no wall."""
    if wall is None:
        return np.where(scar, Structure.INFARCT, Structure.BACKGROUND).astype(np.uint8)
    return np.where(wall, np.where(scar, Structure.INFARCT, Structure.MYOCARDIUM), 0).astype(np.uint8)


def in_squares(look: Callable[[Tensor], Tensor], stack: Tensor, side: int) -> Tensor:
    """What a network of fixed input size says of whole slices.

    Args:
        look: From squares (B, C, side, side) to maps (B, K, side, side).
        stack: Slices (Z, C, H, W) of any size.
        side: Of the squares, in pixels.

    Returns:
        (Z, K, H, W), mean over squares that overlap by half or more, weighted towards their centres.
    """
    height, width = stack.shape[2:]
    stack = F.pad(stack, (0, max(0, side - width), 0, max(0, side - height)))
    ramp = torch.hann_window(side + 2, periodic=False, device=stack.device)[1:-1]
    weight = torch.outer(ramp, ramp)
    places = list(product(*(_starts(n, side) for n in stack.shape[2:])))
    squares = torch.cat([stack[:, :, y : y + side, x : x + side] for y, x in places])
    found = torch.cat([look(part) for part in squares.split(SQUARES_AT_ONCE)]) * weight
    total = found.new_zeros(len(stack), found.shape[1] + 1, *stack.shape[2:])
    for (y, x), square in zip(places, found.split(len(stack)), strict=True):
        total[:, :-1, y : y + side, x : x + side] += square
        total[:, -1, y : y + side, x : x + side] += weight
    return (total[:, :-1] / total[:, -1:])[:, :, :height, :width]


def _starts(length: int, side: int) -> list[int]:
    """Where squares begin along an axis.

    >>> _starts(96, 96), _starts(200, 96)
    ([0], [0, 35, 69, 104])
    """
    count = -(-(length - side) // (side // 2)) + 1
    return [round((length - side) * i / max(1, count - 1)) for i in range(count)]


def build(recipe: Recipe, device: str = "cpu", fetch: bool = True) -> WallAndScar:
    """The untrained networks of a recipe; `fetch`: where it starts from ImageNet, get these weights."""
    network = WallAndScar(recipe.method, partial(_backbone, recipe, fetch))
    if recipe.start_from:
        from myoscope.systems import compact

        known = wall_against_rest(compact.Trained.load(weights_of(recipe.start_from)))
        features = {name: tensor for name, tensor in known.items() if not name.startswith("head.")}
        for part, tensors in ((network.wall, known), (network.scar, features)):
            if part is not None:
                own = part.state_dict()
                part.load_state_dict({k: v for k, v in tensors.items() if k in own}, strict=False)
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def wall_against_rest(start: Any) -> dict[str, Tensor]:
    """Weights of a compact model with one output: its logit of myocardium minus the mean of its other logits."""
    tensors, classes = start.network.state_dict(), start.recipe.classes
    share = torch.full((len(classes),), -1 / (len(classes) - 1))
    share[classes.index(Structure.MYOCARDIUM)] = 1.0
    for name in ("head.weight", "head.bias"):
        tensors[name] = torch.einsum("c,c...->...", share, tensors[name].unflatten(0, (len(classes), -1)))
    return tensors


def _backbone(recipe: Recipe, fetch: bool) -> nn.Module:
    if recipe.backbone in ("published", "pretrained"):
        return TransUNet(1, recipe.crop, recipe.dropout, fetch and recipe.backbone == "pretrained")
    if recipe.backbone == "small":
        return SmallTransUNet(3, 1, recipe.widths, recipe.crop, recipe.dropout)
    network = UNet(3, 1, recipe.widths)
    network.encoder[-1].append(nn.Dropout(recipe.dropout))  # type: ignore[operator]
    return network
