"""How it is trained: its batches and its loss."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.datasets.phantom import PhantomParameters
from myoscope.lab.augment_sequences import sequence_batch
from myoscope.lab.loop import Budget, keep_recipe, mixed, seed_of
from myoscope.lab.loop import train as run
from myoscope.lab.slices import CANVAS, SliceSet, merge_matrix, one_frame
from myoscope.lab.unet import UNet
from myoscope.labels import Structure
from myoscope.segment.joint import ROLES, joint_channels
from myoscope.study import Case, Role, Series
from myoscope.systems.compact.myops.model import Trained
from myoscope.systems.compact.myops.recipe import PHANTOM, Recipe
from myoscope.volume import Volume


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Trained:
    """Train until the budget is spent, on cases with LGE, T2 or bSSFP labels; of others the cine serves as bSSFP.

    The folder keeps the names of the cases too.
    """
    keep_recipe(recipe, folder)
    (folder / "cases.json").write_text(json.dumps([case.id for case in cases]))
    torch.manual_seed(recipe.seed)
    network = UNet(len(recipe.roles), len(recipe.classes), recipe.widths).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    slices = collect_sequences(recipe, [*cases, *_phantoms(recipe.phantoms)]).to(torch.device(device))
    budget = budget.in_steps(len(slices.labels), recipe.batch)
    return Trained(recipe, run(network, _loss(recipe, slices), budget, folder, recipe.optimisation, recipe.name))  # type: ignore[arg-type]


def collect_sequences(recipe: Recipe, cases: Sequence[Case]) -> SliceSet:
    """All slices to train on, as `augment_sequences` takes them, each weighted by how often it is drawn."""
    images: list[Tensor] = [torch.zeros((1, CANVAS, CANVAS), dtype=torch.uint8)]
    rows: list[tuple[Tensor, ...]] = []
    kinds: list[int] = []
    count = 1
    for case in cases:
        for shown, labels in _stacks(case):
            indices = torch.zeros((len(labels.voxels), len(ROLES)), dtype=torch.long)
            for role, image in shown.items():
                pixels, codes, _, centres = one_frame(
                    labels, image, labels.voxels, recipe.classes,
                    {Structure.NO_REFLOW: Structure.INFARCT}, recipe.spacing_mm,
                )  # fmt: skip
                images.append(pixels)
                indices[:, recipe.roles.index(role)] = torch.arange(count, count + len(pixels))
                count += len(pixels)
            merge = merge_matrix(_undrawn(case, shown), recipe.classes).expand(len(codes), -1, -1)
            rows.append((codes, indices, centres, merge))
            kind = 3 if case.data_set == PHANTOM else 0 if Role.T2 in shown else 1 if Role.LGE in shown else 2
            kinds += [kind] * len(codes)
    codes, indices, centres, merges = (torch.cat(column) for column in zip(*rows, strict=True))
    found = torch.tensor(kinds)
    real = torch.tensor([recipe.t2_share, recipe.lge_share, 1 - recipe.t2_share - recipe.lge_share])
    shares = torch.cat([real * (1 - recipe.phantom_share), torch.tensor([recipe.phantom_share])])
    weights = shares[found] / torch.bincount(found, minlength=4)[found]
    return SliceSet(torch.cat(images), codes, indices, centres, merges, weights)


def _phantoms(count: int) -> list[Case]:
    """Training phantoms, every other one with an infarct; drawn once and kept (`lab.phantoms`)."""
    from myoscope.datasets.phantom import TRAINING, sample
    from myoscope.lab.phantoms import kept_phantoms

    def one(seed: int) -> Case:
        return joint_phantom(sample(seed, TRAINING, ("MINF", None)[seed % 2]))

    return kept_phantoms("joint", count, one, joint_phantom)


def joint_phantom(drawn: PhantomParameters, bssfp: bool = False) -> Case:
    """A phantom's LGE and T2 on one grid, as labels are: the LGE's; `bssfp`: and the cine's ED frame on its own."""
    from myoscope.datasets.phantom import draw

    lge, t2 = (drawn.scans[role] for role in (Role.LGE, Role.T2))
    together = replace(lge, signal=t2.signal, noise=t2.noise, offset=t2.offset, seed=t2.seed)
    roles = (Role.CINE, Role.LGE, Role.T2) if bssfp else (Role.LGE, Role.T2)
    case = draw(replace(drawn, scans={**drawn.scans, Role.T2: together}), roles, frames=2)
    scar, swollen = (case.labels[role].voxels for role in (Role.LGE, Role.T2))
    edema = (scar == Structure.MYOCARDIUM) & (swollen == Structure.EDEMA)
    joint = case.labels[Role.LGE].with_voxels(np.where(edema, np.uint8(Structure.EDEMA), scar))
    series = tuple(
        Series(Role.BSSFP, "bssfp", s.image.with_voxels(s.image.frames[0])) if s.role == Role.CINE else s
        for s in case.study.series
    )
    return replace(
        case,
        study=replace(case.study, series=series),
        labels={s.role: joint for s in series},
        data_set=PHANTOM,
    )


def _stacks(case: Case) -> list[tuple[dict[Role, np.ndarray], Volume]]:
    """What shows each labelled stack of a case: images (Z, Y, X) by role, and the labels on the same grid."""
    known = tuple(series for series in case.study.series if series.role in case.labels)
    if any(series.role in ROLES for series in known):
        first, images = joint_channels(replace(case.study, series=known))
        labels = case.labels[first.role]
        return [(images, labels.with_voxels(labels.frames[0]))]
    return [
        ({Role.BSSFP: image.astype(np.float32)}, series.image.with_voxels(codes))
        for series in known
        for image, codes in zip(series.image.frames, case.labels[series.role].frames, strict=True)
    ]


def _undrawn(case: Case, shown: Mapping[Role, np.ndarray]) -> dict[Structure, Structure]:
    """What a case does not draw, and what is drawn in its place: edema where there is no T2, scar where no LGE either.

    An expert without T2 drew edema as normal myocardium.
    """
    undrawn = dict(case.drawn_as)
    if Role.T2 not in shown:
        undrawn[Structure.EDEMA] = Structure.MYOCARDIUM
        if Role.LGE not in shown:
            undrawn[Structure.INFARCT] = Structure.MYOCARDIUM
    return undrawn


def _loss(recipe: Recipe, slices: SliceSet) -> Callable[[torch.nn.Module, int], Tensor]:
    """The loss of a step: cross-entropy over the classes and Dice over the regions that each case draws."""
    regions = torch.tensor([[float(s in region) for s in recipe.classes] for region in recipe.regions])
    regions = regions.to(slices.images.device)

    def loss_of(network: torch.nn.Module, step: int) -> Tensor:
        images, labels, merges = sequence_batch(
            slices, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.strength, recipe.sequences,
            seed_of(recipe, step),
        )  # fmt: skip
        with mixed(images.device.type):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        shares = torch.einsum("bij,bjhw->bihw", merges, logits.float().softmax(1))
        truth = F.one_hot(labels, len(recipe.classes)).movedim(-1, 1).float()
        return F.nll_loss(shares.clamp(min=1e-6).log(), labels) + region_loss(shares, truth, merges, regions)

    return loss_of


def region_loss(shares: Tensor, truth: Tensor, merges: Tensor, regions: Tensor) -> Tensor:
    """Mean over regions of 1 - Dice of the batch, each taken over the cases that draw all of the region.

    Args:
        shares: Class probabilities (B, K, H, W) after merging.
        truth: One-hot labels, same shape.
        merges: (B, K, K), see `SliceSet`.
        regions: (R, K), 1 for the classes of a region.
    """
    drawn = ((regions @ merges) == regions).all(2).float()
    p, t = (torch.einsum("rk,bkhw->brhw", regions, x) for x in (shares, truth))
    both, each = ((x.sum((2, 3)) * drawn).sum(0) for x in (p * t, p + t))
    return (1 - (2 * both + 1) / (each + 1)).mean()
