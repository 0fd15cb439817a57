"""A trained network: from images to labels, to and from its file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.lab.slices import resample_slices
from myoscope.segment.joint import joint_channels
from myoscope.study import Role, Study
from myoscope.systems.myops_ensemble.blocks import (
    DIRECT_BLOCKS,
    Block,
    decode,
    decode_plain,
    tidy,
)
from myoscope.systems.myops_ensemble.network import build, probabilities
from myoscope.systems.myops_ensemble.recipe import RECIPES, ROLES, Recipe, members
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, write_weights


class Model:
    """Trained networks by name, and their recipe. `trained` has steps and learning rate of each."""

    def __init__(
        self,
        recipe: Recipe,
        networks: Mapping[str, torch.nn.Module],
        trained: Mapping[str, Any] | None = None,
        card: dict | None = None,
        sha256: str | None = None,
    ) -> None:
        self.recipe = recipe
        self.networks = {name: network.eval() for name, network in networks.items()}
        self.trained = trained or {}
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study) -> dict[Role, Volume]:
        """The joint map of bSSFP, LGE and T2 (`Structure` codes), on the grid of the LGE image.

        Raises:
            InputError: a sequence is missing; `compact-myops` can do without.
        """
        missing = [role for role in ROLES if study.get(role) is None]
        if missing:
            raise InputError(
                f"{study.id}: expected bSSFP, LGE and T2 for {self.recipe.name}, found no {' and no '.join(missing)}; "
                "choose compact-myops, which does without"
            )
        series, channels = joint_channels(study)
        grid = series.image
        size = grid.voxels.shape[-2:]
        device = next(next(iter(self.networks.values())).parameters()).device
        blank = np.zeros((grid.voxels.shape[-3], *size), np.float32)
        stack = prepare([channels.get(role, blank) for role in ROLES], grid, self.recipe).to(device)
        shares = []
        with torch.inference_mode():
            for block in self.recipe.blocks:
                shares.append(torch.stack([
                    probabilities(self.networks[name], stack[:, _channels(block)], len(block.targets))
                    for name, _, its in members(self.recipe) if its is block
                ]).mean(0))  # fmt: skip
        found = back(torch.cat(shares, 1), grid, self.recipe).movedim(1, 0).numpy(force=True) > 0.5
        found[0] = tidy(found[0])
        plain = self.recipe.blocks == DIRECT_BLOCKS
        if not plain:
            found[2] = tidy(found[2])
        codes = decode_plain(found) if plain else decode(found)
        return {series.role: grid.with_voxels(codes if grid.voxels.ndim == 3 else codes[None])}

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors), and the card (json) with what each network was trained for."""
        tensors = {
            f"{name}:{k}": v for name, network in self.networks.items() for k, v in half(network.state_dict()).items()
        }
        write_weights(path, tensors, card | {"networks": dict(self.trained)})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card, or torchvision is missing.
        """
        with refusing(path, "a MyoPS ensemble"):
            card, tensors, sha256 = read_weights(path)
            recipe = RECIPES[card["system"]]
            networks = {}
            for name, kind, block in members(recipe):
                network = _build(recipe, kind, block)
                own = {k.partition(":")[2]: v for k, v in tensors.items() if k.partition(":")[0] == name}
                load_into(network, own)
                networks[name] = network.to(device)
        return cls(recipe, networks, card.get("networks"), card, sha256)


def _build(recipe: Recipe, kind: str, block: Block) -> torch.nn.Module:
    return build(kind, len(block.roles), len(block.targets), recipe.side, recipe.small)


def _channels(block: Block) -> list[int]:
    return [ROLES.index(role) for role in block.roles]


def percentile_normalise(slices: Tensor) -> Tensor:
    """(I - I05) / (I95 - I05) of each slice (N, H, W), by its 5th and 95th percentile; a constant slice gives 0."""
    flat = slices.flatten(1)
    low, high = (torch.quantile(flat, q, dim=1)[:, None, None] for q in (0.05, 0.95))
    return torch.where(high > low, (slices - low) / (high - low).clamp(min=1e-6), torch.zeros_like(slices))


def centred(slices: Tensor, size: tuple[int, int]) -> Tensor:
    """Slices (..., H, W), zero-padded or cropped around their centre; undone by a second call with the first size."""
    top, left = ((b - a) // 2 if b >= a else -((a - b) // 2) for a, b in zip(slices.shape[-2:], size, strict=True))
    return F.pad(slices, (left, size[1] - slices.shape[-1] - left, top, size[0] - slices.shape[-2] - top))


def prepare(images: Sequence[np.ndarray], grid: Volume, recipe: Recipe) -> Tensor:
    """Network input (Z, sequences, side, side) from images (Z, Y, X) on one grid."""
    planes = []
    for image in images:
        slices = torch.from_numpy(image)
        if recipe.spacing_mm:
            slices = resample_slices(slices, grid.spacing_mm[1:], recipe.spacing_mm)
        planes.append(percentile_normalise(centred(slices, (recipe.side, recipe.side))))
    return torch.stack(planes, 1)


def back(shares: Tensor, grid: Volume, recipe: Recipe) -> Tensor:
    """Probabilities (Z, K, side, side) on the grid's own pixels (Z, K, Y, X); 0 outside the crop."""
    size = (int(grid.voxels.shape[-2]), int(grid.voxels.shape[-1]))
    if not recipe.spacing_mm:
        return centred(shares, size)
    resampled = [max(1, round(n * mm / recipe.spacing_mm)) for n, mm in zip(size, grid.spacing_mm[1:], strict=True)]
    whole = centred(shares, (resampled[0], resampled[1]))
    return F.interpolate(whole, size, mode="bilinear", align_corners=False)
