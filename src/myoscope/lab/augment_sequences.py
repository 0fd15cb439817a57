"""Augmentation of slices that several sequences show: one geometry, intensities of their own, sequences missing."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from myoscope.lab.augment import Strength, apply, draw
from myoscope.lab.slices import CANVAS, SliceSet


@dataclass(frozen=True)
class Sequences:
    """What happens to the sequences of a slice as a whole."""

    all_shown: float = 0.4
    """Share of slices that keep every sequence; the others keep some, at random, at least one."""
    misaligned: float = 0.5
    """Share of sequences that are shifted against the labels..."""
    misaligned_mm: float = 2.0
    """... by as much (standard deviation, in each direction)."""


def shown(present: Tensor, all_shown: float, rng: torch.Generator) -> Tensor:
    """Which of the sequences that are present (B, C) a batch keeps: all, or each with one half, but never none."""
    n, channels = present.shape
    some = present & (torch.rand((n, channels), generator=rng) < 0.5)
    lone = torch.multinomial(present.float(), 1, generator=rng)
    some = torch.where(some.any(1, keepdim=True), some, torch.zeros_like(some).scatter(1, lone, True))
    return torch.where(torch.rand((n, 1), generator=rng) < all_shown, present, some)


def sequence_batch(
    slices: SliceSet, size: int, crop: int, spacing_mm: float, strength: Strength, sequences: Sequences, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One augmented batch; the same seed gives the same batch.

    Args:
        slices: `images` (M, CANVAS, CANVAS), the first one blank; `neighbours` (N, C) are the images that show a slice,
            0 where a sequence is missing; labels and all else as in `SliceSet`.
        size: Slices in the batch.
        crop: Side of the crops, in pixels.
        spacing_mm: Pixel spacing.
        strength: Ranges of what is done to each image.
        sequences: What is done to the sequences of a slice.
        seed: Seed of everything random.

    Returns:
        Images (size, C, crop, crop), 0 where a sequence is missing; labels (size, crop, crop), which lie on the first
        sequence that is left; and merge matrices (size, K, K).
    """
    device = slices.images.device
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.multinomial(slices.weights.cpu(), size, replacement=True, generator=rng).to(device)
    near = slices.neighbours[chosen]
    channels = near.shape[1]
    kept = shown((near > 0).cpu(), sequences.all_shown, rng)
    first = kept.float().argmax(1)
    parameters = draw(slices.centres[chosen].repeat_interleave(channels, 0), strength, crop, spacing_mm, rng)
    offset = torch.randn((size, channels, 2), generator=rng) * sequences.misaligned_mm / spacing_mm * 2 / CANVAS
    offset = offset * (torch.rand((size, channels, 1), generator=rng) < sequences.misaligned)
    offset[torch.arange(size), first] = 0
    geometry = {
        name: getattr(parameters, name)[::channels].repeat_interleave(channels, 0) for name in ("affine", "elastic")
    }
    geometry["affine"][:, :, 2] += offset.flatten(0, 1)
    parameters = replace(parameters, **geometry).to(device)
    images = slices.images[near.flatten()][:, None].float() / 255
    labels = slices.labels[chosen].repeat_interleave(channels, 0)
    pixels, codes = apply(parameters, images, labels, crop, torch.Generator(device).manual_seed(seed))
    pixels = pixels.reshape(size, channels, crop, crop) * kept.to(device)[:, :, None, None]
    codes = codes.reshape(size, channels, crop, crop)[torch.arange(size), first.to(device)]
    return pixels, codes, slices.merges[chosen]
