"""How it is trained: its batches and its loss."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.lab.loop import Budget, Optimisation, keep_recipe, mixed, progress_of, seed_of
from myoscope.lab.loop import train as run
from myoscope.lab.slices import resample_labels
from myoscope.segment.joint import joint_channels
from myoscope.study import Case
from myoscope.systems.myops_ensemble.blocks import (
    Block,
    masks_of,
)
from myoscope.systems.myops_ensemble.model import Model, _build, _channels, centred, percentile_normalise, prepare
from myoscope.systems.myops_ensemble.network import instances
from myoscope.systems.myops_ensemble.recipe import ROLES, Recipe, members


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train every network on the cases that have all three sequences, one after the other.

    Minutes are shared out; a budget in steps or epochs is each network's. The folder keeps the names of the cases, and
    a folder for each network.

    Raises:
        InputError: no case has all three sequences, labelled.
    """
    cases = [case for case in cases if set(ROLES) <= set(case.labels)]
    if not cases:
        raise InputError(f"expected cases with labelled bSSFP, LGE and T2 for {recipe.name}, found none")
    keep_recipe(recipe, folder)
    (folder / "cases.json").write_text(json.dumps([case.id for case in cases]))
    where = torch.device(device)
    images, codes = (x.to(where) for x in collect(recipe, cases))
    todo = members(recipe)
    whole = sum(recipe.time_share[kind] for _, kind, _ in todo)
    networks, trained = {}, {}
    for name, kind, block in todo:
        share = recipe.time_share[kind] / whole
        part = replace(budget, minutes=budget.minutes * share) if budget.minutes else budget
        part = part.in_steps(len(images) * recipe.copies, recipe.batch[kind])
        torch.manual_seed(recipe.seed)
        network = _build(recipe, kind, block).to(where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rate = recipe.learning_rate[kind]
        optimisation = Optimisation(rate, weight_decay=0.0, ema_decay=recipe.ema_decay, plain=recipe.plain)
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

    An 8x8x2 grid, uniform in +-`warp_pixels`, is resized to the image: where each pixel comes from. `published`
    normalises what comes out, as its paper does.
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
    if not recipe.small:
        warped = percentile_normalise(warped.flatten(0, 1)).unflatten(0, warped.shape[:2])
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
        seed = seed_of(recipe, step)
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
