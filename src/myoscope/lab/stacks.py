"""Batches of whole stacks, with what a first stage says of each slice.

Brightness is changed slice by slice. Geometry is a stack's, but for a small slip of each slice (patients do not hold
every breath alike). What the first stage says is at times spoilt, so that the second does not learn to repeat it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.lab.augment import Strength, draw, recolour, sampling_grid
from myoscope.lab.slices import SliceSet


@dataclass(frozen=True)
class Spoil:
    """How often what the first stage says is spoilt: shares of stacks (of slices: `slice_lost`)."""

    lost: float = 0.08
    slice_lost: float = 0.05
    blurred: float = 0.25
    tempered: float = 0.25
    """Raised to a power between 1/2 and 2: more or less sure than it was."""


@dataclass(frozen=True)
class StackSet:
    """Slices of many stacks on one device.

    `slices` are stack after stack in order, `starts` (S + 1) the first slice of each stack and the end; `priors`
    (N, C - 1, CANVAS, CANVAS), uint8, the probability of each class but the background, 0 to 255; None where there is
    no first stage.
    """

    slices: SliceSet
    starts: tuple[int, ...]
    priors: Tensor | None = None

    def to(self, device: torch.device) -> "StackSet":
        """The same stacks on another device."""
        priors = None if self.priors is None else self.priors.to(device)
        return StackSet(self.slices.to(device), self.starts, priors)


def starts_of(slices: SliceSet) -> tuple[int, ...]:
    """Where stacks begin, and the end: a first slice has no slice before it."""
    alone = slices.neighbours[:, 0] == slices.neighbours[:, 1]
    return (*alone.nonzero()[:, 0].tolist(), len(alone))


def batch(
    stacks: StackSet,
    size: int,
    depth: int,
    crop: int,
    spacing_mm: float,
    strength: Strength,
    slip_mm: float,
    spoil: Spoil,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One augmented batch; the same seed gives the same batch.

    Args:
        stacks: What to draw from.
        size: Number of stacks.
        depth: Of longer stacks, so many neighbouring slices are taken.
        crop: Side of the crops, in pixels.
        spacing_mm: Of the pixels.
        strength: Of the augmentation.
        slip_mm: Spread of the shift of each slice against its stack.
        spoil: How often the priors are spoilt.
        seed: Of everything random.

    Returns:
        Images and priors (N, 1 + C, crop, crop), labels (N, crop, crop), merge matrices (N, C, C), and the number of
        the stack of each slice (N,).
    """
    device = stacks.slices.images.device
    rng = torch.Generator().manual_seed(seed)
    chosen = [_some_slices(stacks.starts, depth, rng) for _ in range(size)]
    index = torch.cat(chosen)
    number = torch.repeat_interleave(torch.arange(size), torch.tensor([len(c) for c in chosen]))
    parameters = draw(stacks.slices.centres[index.to(device)], strength, crop, spacing_mm, rng)
    lead = torch.searchsorted(number, number)
    affine = parameters.affine[lead]
    affine[:, :, 2] += torch.randn((len(index), 2), generator=rng) * slip_mm / spacing_mm * 2 / _side(stacks)
    parameters = replace(parameters, affine=affine, elastic=parameters.elastic[lead]).to(device)
    index = index.to(device)
    grid = sampling_grid(parameters, crop)
    images = F.grid_sample(stacks.slices.images[index][:, None].float() / 255, grid, align_corners=False)
    images = recolour(parameters, images, torch.Generator(device).manual_seed(seed))
    labels = stacks.slices.labels[index][:, None].float()
    labels = F.grid_sample(labels, grid, mode="nearest", align_corners=False)[:, 0].long()
    if stacks.priors is not None:
        found = F.grid_sample(stacks.priors[index].float() / 255, grid, align_corners=False)
        images = torch.cat([images, spoilt(with_background(found), number, spoil, rng)], 1)
    return images, labels, stacks.slices.merges[index], number.to(device)


def with_background(shares: Tensor) -> Tensor:
    """Probabilities of all classes (N, C, H, W), from those of all but the background (N, C - 1, H, W)."""
    return torch.cat([1 - shares.sum(1, keepdim=True), shares], 1).clamp(0, 1)


def spoilt(priors: Tensor, number: Tensor, spoil: Spoil, rng: torch.Generator) -> Tensor:
    """Priors (N, C, H, W), some lost (all classes alike), blurred, or more or less sure; `number` (N,) are stacks."""
    count = int(number.max()) + 1

    def chosen(share: float, each_slice: bool = False) -> Tensor:
        hit = torch.rand(len(number) if each_slice else count, generator=rng) < share
        return (hit if each_slice else hit[number]).to(priors.device)[:, None, None, None]

    blurred = F.avg_pool2d(priors, 7, 1, 3, count_include_pad=False)
    result = torch.where(chosen(spoil.blurred), blurred, priors)
    power = torch.exp2(2 * torch.rand(count, generator=rng) - 1)[number].to(priors.device)[:, None, None, None]
    raised = result.clamp(min=1e-4) ** power
    result = torch.where(chosen(spoil.tempered), raised / raised.sum(1, keepdim=True), result)
    lost = chosen(spoil.lost) | chosen(spoil.slice_lost, each_slice=True)
    return torch.where(lost, torch.full_like(priors, 1 / priors.shape[1]), result)


def _some_slices(starts: tuple[int, ...], depth: int, rng: torch.Generator) -> Tensor:
    """Neighbouring slices of one stack, from either end."""
    stack = int(torch.randint(len(starts) - 1, (1,), generator=rng))
    first, end = starts[stack], starts[stack + 1]
    first += int(torch.randint(max(1, end - first - depth + 1), (1,), generator=rng))
    index = torch.arange(first, min(end, first + depth))
    return index.flip(0) if torch.rand(1, generator=rng) < 0.5 else index


def _side(stacks: StackSet) -> int:
    return stacks.slices.images.shape[-1]
