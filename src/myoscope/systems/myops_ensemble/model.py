"""myops-ensemble: scar and edema from bSSFP, LGE and T2 by three networks, between a linear encoder and decoder.

Five blocks each have one input image and a nested target. A shallow U-Net is trained on all five, Mask R-CNN and a
U-Net++ on the two of the pathology; their mean is cut at 0.5. `published` has the paper's sizes; it weighs about
250 MB and wants a GPU. `small` is for CPUs: 96x96 pixels of 2 mm, a Mask R-CNN of 1.9 and a U-Net++ of 0.15 million
weights, learning rate and averaging retuned for few steps. Both as the ablation has them (`-unet`: U-Net alone,
`-direct`: without encoder and decoder), and `small` in two ways of our own: `-swapped` (LGE for scar and T2 for edema;
the paper feeds them the other way round), `-both` (both sequences to both; the best of the wholes, it ships).

Where this departs from the paper: warps and rotations are drawn for every batch and not 40 times beforehand; the
learning rate falls along a cosine over the budget, and a moving average of the weights is kept instead of the best on
warped copies of training slices; Mask R-CNN has GroupNorm. Where the paper is silent: the U-Net has two convolutions
a level with BatchNorm; Mask R-CNN's objects are connected pieces, and those with a score of 0.5 or more count.

Source: papers/systems.md, `myops-ensemble` (MyoPS 2020 challenge, STACOM).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.lab.loop import Budget, Optimisation, mixed, progress_of
from myoscope.lab.slices import resample_labels, resample_slices
from myoscope.study import Case, Role, Study
from myoscope.systems.compact.myops.model import joint_channels
from myoscope.systems.myops_ensemble.blocks import (
    DIRECT_BLOCKS,
    Block,
    decode,
    decode_plain,
    encoded_blocks,
    masks_of,
    tidy,
)
from myoscope.systems.myops_ensemble.network import build, instances, probabilities
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, write_weights

ROLES = (Role.BSSFP, Role.LGE, Role.T2)
KINDS = ("unet", "unetpp", "maskrcnn")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the networks become, given the cases."""

    name: str
    blocks: tuple[Block, ...] = field(default_factory=lambda: encoded_blocks((Role.LGE,), (Role.T2,)))
    kinds: tuple[str, ...] = KINDS
    roles: tuple[Role, ...] = ROLES
    small: bool = False
    side: int = 256
    spacing_mm: float | None = None
    """Pixels are resampled to this; None leaves them as they are."""
    warp_pixels: float = 5.0
    """Largest displacement of a point of the 8x8 grid."""
    rotated: float = 0.5
    """Share of slices turned by 90, 180 or 270 degrees."""
    batch: Mapping[str, int] = field(default_factory=lambda: {"unet": 8, "unetpp": 8, "maskrcnn": 2})
    learning_rate: Mapping[str, float] = field(default_factory=lambda: {"unet": 1e-5, "unetpp": 1e-5, "maskrcnn": 1e-3})
    time_share: Mapping[str, float] = field(default_factory=lambda: {"unet": 1.0, "unetpp": 2.0, "maskrcnn": 3.0})
    """How the minutes are divided between the networks."""
    ema_decay: float = Optimisation.ema_decay
    seed: int = 0


_PUBLISHED = Recipe("myops-ensemble.published")
_SMALL = Recipe(
    "myops-ensemble.small",
    small=True,
    side=96,
    spacing_mm=2.0,
    warp_pixels=2.0,
    learning_rate={"unet": 3e-3, "unetpp": 3e-3, "maskrcnn": 1e-3},
    time_share={"unet": 1.0, "unetpp": 1.5, "maskrcnn": 1.5},
    ema_decay=0.98,
)


def _variants() -> dict[str, Recipe]:
    both = (Role.LGE, Role.T2)
    found = [replace(_SMALL, name=f"{_SMALL.name}-both", blocks=encoded_blocks(both, both))]  # the first one ships
    for whole in (_SMALL, _PUBLISHED):
        direct = replace(whole, name=f"{whole.name}-direct", blocks=DIRECT_BLOCKS)
        found += [whole, replace(direct, name=f"{whole.name}-unet", kinds=("unet",)), direct]
    found.append(replace(_SMALL, name=f"{_SMALL.name}-swapped", blocks=encoded_blocks((Role.T2,), (Role.LGE,))))
    return {recipe.name: recipe for recipe in found}


RECIPES = _variants()


def members(recipe: Recipe) -> list[tuple[str, str, Block]]:
    """Name, kind and block of every network."""
    return [
        (f"{kind}-{block.name}", kind, block)
        for block in recipe.blocks
        for kind in (recipe.kinds if block.pathology else ("unet",))
    ]


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


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train every network on the cases that have all three sequences, one after the other; minutes are shared out.

    Args:
        recipe: What to train.
        cases: Training cases only; a budget in steps is each network's.
        budget: When to stop.
        folder: Where recipe, names of the cases and a folder a network are kept; a killed run goes on from there.
        device: "cpu" or "cuda".

    Raises:
        InputError: no case has all three sequences, labelled.
    """
    from myoscope.lab.loop import train as run

    cases = [case for case in cases if set(ROLES) <= set(case.labels)]
    if not cases:
        raise InputError(f"expected cases with labelled bSSFP, LGE and T2 for {recipe.name}, found none")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
    (folder / "cases.json").write_text(json.dumps([case.id for case in cases]))
    where = torch.device(device)
    images, codes = (x.to(where) for x in collect(recipe, cases))
    todo = members(recipe)
    whole = sum(recipe.time_share[kind] for _, kind, _ in todo)
    networks, trained = {}, {}
    for name, kind, block in todo:
        share = recipe.time_share[kind] / whole
        part = replace(budget, minutes=budget.minutes * share) if budget.minutes else budget
        torch.manual_seed(recipe.seed)
        network = _build(recipe, kind, block).to(where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rate = recipe.learning_rate[kind]
        optimisation = Optimisation(learning_rate=rate, weight_decay=0.0, ema_decay=recipe.ema_decay)
        loss = _loss(recipe, kind, block, images, codes)
        networks[name] = run(network, loss, part, folder / name, optimisation, f"{recipe.name} {name}")
        trained[name] = {"steps": progress_of(folder / name)[0], "learning_rate": rate, "batch": recipe.batch[kind]}
    return Model(recipe, networks, trained)


def collect(recipe: Recipe, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
    """All slices: images (N, 3, side, side) and `Structure` codes (N, side, side), uint8."""
    images, codes = [], []
    for case in cases:
        first, channels = joint_channels(case.study)
        labels = case.labels[first.role]
        images.append(prepare([channels[role] for role in ROLES], labels, recipe))
        drawn = torch.from_numpy(labels.frames[0])
        if recipe.spacing_mm:
            drawn = resample_labels(labels.frames[0], labels.spacing_mm[1:], recipe.spacing_mm)
        codes.append(centred(drawn, (recipe.side, recipe.side)))
    return torch.cat(images), torch.cat(codes)


def augmented(images: Tensor, codes: Tensor, recipe: Recipe, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Warped, and half of them rotated, copies of slices: images (B, C, S, S) linear, codes (B, S, S) nearest.

    An 8x8x2 grid, uniform in +-`warp_pixels`, is resized to the image: where each pixel comes from.
    """
    n, _, side, _ = images.shape
    points = (torch.rand((n, 2, 8, 8), generator=rng) * 2 - 1) * recipe.warp_pixels * 2 / side
    turned = torch.rand(n, generator=rng) < recipe.rotated
    quarters = turned * torch.randint(1, 4, (n,), generator=rng)
    bend = F.interpolate(points.to(images.device), (side, side), mode="bilinear", align_corners=True).movedim(1, -1)
    grid = F.affine_grid(torch.eye(2, 3, device=images.device).expand(n, 2, 3), [n, 1, side, side], align_corners=False)
    warped = F.grid_sample(images, grid + bend, align_corners=False)
    drawn = F.grid_sample(codes[:, None].float(), grid + bend, mode="nearest", align_corners=False)[:, 0]
    warped = torch.stack([torch.rot90(x, int(q), (1, 2)) for x, q in zip(warped, quarters, strict=True)])
    drawn = torch.stack([torch.rot90(x, int(q), (0, 1)) for x, q in zip(drawn, quarters, strict=True)])
    return warped, drawn.to(torch.uint8)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of the batch, mean over targets; logits and truth (B, K, H, W)."""
    shares = logits.sigmoid()
    both, each = (x.sum((0, 2, 3)) for x in (shares * truth, shares + truth))
    return (1 - (2 * both + 1) / (each + 1)).mean()


def _loss(
    recipe: Recipe, kind: str, block: Block, images: Tensor, codes: Tensor
) -> Callable[[torch.nn.Module, int], Tensor]:
    def loss_of(network: torch.nn.Module, step: int) -> Tensor:
        seed = recipe.seed * 1_000_003 + step
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(images), (recipe.batch[kind],), generator=rng).to(images.device)
        pixels, drawn = augmented(images[chosen][:, _channels(block)], codes[chosen], recipe, rng)
        masks = torch.from_numpy(masks_of(drawn.numpy(force=True), block.targets)).movedim(0, 1).to(images.device)
        if kind != "maskrcnn":
            with mixed(images.device.type):
                logits = network(pixels.contiguous(memory_format=torch.channels_last))
            return dice_loss(logits.float(), masks.float())
        torch.manual_seed(seed)  # it samples proposals with torch's own generator
        losses = network(list(pixels), [instances(m) for m in masks])
        return torch.stack(list(losses.values())).sum()

    return loss_of
