"""Batched augmentation on the device: random parameters are drawn in one place and applied in another."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.lab.slices import CANVAS, SliceSet


@dataclass(frozen=True)
class Strength:
    """Ranges that augmentation draws from."""

    shift_mm: float = 32.0
    anywhere: float = 0.15
    """Share of crops that lie anywhere in the slice, heart or not."""
    rotation_degrees: float = 35.0
    mirror: float = 0.3
    """Share of slices that are turned by a quarter or mirrored: nothing may depend on the display convention."""
    scale: tuple[float, float] = (0.75, 1.35)
    shear: float = 0.0
    """Largest tangent of its angle."""
    elastic_mm: float = 4.0
    gamma: float = 0.5
    contrast: float = 0.3
    brightness: float = 0.1
    blur: float = 0.25
    """Share of slices that are blurred..."""
    low_resolution: float = 0.15
    """... and of those at half the resolution."""
    noise: float = 0.06
    shading: float = 0.6
    """Spread of the logarithm of a smooth field: coils make the near side several times as bright as the far one."""
    spike: float = 0.12
    """Largest amplitude of the stripes that a spike in k-space leaves; one slice in ten has them."""
    lone_slice: float = 0.1
    """Share of slices whose neighbours are hidden, as in a stack of one."""


@dataclass(frozen=True)
class Draw:
    """Random parameters of one batch of B slices; fields are tensors with B rows."""

    affine: Tensor
    elastic: Tensor
    gamma: Tensor
    contrast: Tensor
    brightness: Tensor
    noise: Tensor
    shading: Tensor
    blur: Tensor
    low_resolution: Tensor
    spike: Tensor

    def to(self, device: torch.device) -> "Draw":
        """The same parameters on another device."""
        return Draw(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def draw(centres: Tensor, strength: Strength, crop: int, spacing_mm: float, rng: torch.Generator) -> Draw:
    """Draw the parameters of a batch.

    Args:
        centres: Heart centres (B, 2) as (y, x) on the canvas, in pixels.
        strength: Ranges.
        crop: Side of the crops, in pixels.
        spacing_mm: Pixel spacing.
        rng: Generator on the CPU; the same state gives the same parameters on every device.
    """
    n = len(centres)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((n, *shape), generator=rng) * (high - low) + low

    def chance(share: float, *shape: int) -> Tensor:
        return (torch.rand((n, *shape), generator=rng) < share).float()

    half = crop / 2
    near = centres.cpu() + uniform(-1, 1, 2) * strength.shift_mm / spacing_mm
    far = uniform(half, CANVAS - half, 2)
    centre = torch.where(chance(strength.anywhere, 1).bool(), far, near)
    angle = torch.deg2rad(uniform(-1, 1) * strength.rotation_degrees)
    other_view = chance(strength.mirror)
    angle = angle + other_view * torch.randint(4, (n,), generator=rng) * torch.pi / 2
    mirrored = 1 - 2 * other_view * chance(0.5)
    size = uniform(*strength.scale)
    stretch = uniform(0.92, 1.08)
    cos, sin = torch.cos(angle) * crop / CANVAS / size, torch.sin(angle) * crop / CANVAS / size
    shift = centre * 2 / CANVAS - 1
    rows = [
        torch.stack([mirrored * stretch * cos, -sin / stretch, shift[:, 1]], 1),
        torch.stack([mirrored * stretch * sin, cos / stretch, shift[:, 0]], 1),
    ]
    affine = torch.stack(rows, 1)
    if strength.shear:  # drawn where it is asked for only: the batches of others stay what they were
        affine[:, :, 1] += affine[:, :, 0] * uniform(-1, 1, 1) * strength.shear
    bend = torch.randn((n, 2, 5, 5), generator=rng)
    return Draw(
        affine=affine,
        elastic=bend * strength.elastic_mm / spacing_mm * 2 / CANVAS * chance(0.5, 1, 1, 1),
        gamma=torch.exp(uniform(-1, 1, 1, 1, 1) * strength.gamma),
        contrast=1 + uniform(-1, 1, 1, 1, 1) * strength.contrast,
        brightness=uniform(-strength.brightness, strength.brightness, 1, 1, 1),
        noise=uniform(0, strength.noise, 1, 1, 1) * chance(0.5, 1, 1, 1),
        shading=torch.randn((n, 1, 3, 3), generator=rng) * strength.shading * chance(0.5, 1, 1, 1),
        blur=uniform(0, 1, 1, 1, 1) * chance(strength.blur, 1, 1, 1),
        low_resolution=chance(strength.low_resolution, 1, 1, 1),
        spike=torch.stack([uniform(0, 1) * strength.spike * chance(0.1), uniform(-0.4, 0.4), uniform(0, 0.4)], 1),
    )  # fmt: skip


def apply(draw: Draw, images: Tensor, labels: Tensor, crop: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crop and change a batch.

    Args:
        draw: Parameters of B slices.
        images: (B, C, CANVAS, CANVAS), float, in [0, 1].
        labels: (B, CANVAS, CANVAS), uint8.
        crop: Side of the crops, in pixels.
        rng: Generator on the images' device, for the noise.

    Returns:
        Images (B, C, crop, crop) and labels (B, crop, crop), int64.
    """
    grid = sampling_grid(draw, crop)
    pixels = F.grid_sample(images, grid, align_corners=False)
    codes = F.grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0].long()
    return recolour(draw, pixels, rng), codes


def sampling_grid(draw: Draw, crop: int) -> Tensor:
    """Where the pixels of the crops come from, (B, crop, crop, 2), as `grid_sample` has it."""
    grid = F.affine_grid(draw.affine, [len(draw.affine), 1, crop, crop], align_corners=False)
    return grid + smooth(draw.elastic, crop).movedim(1, -1)


def smooth(points: Tensor, side: int) -> Tensor:
    """Control points (B, C, n, n) interpolated to (B, C, side, side), bicubic: two small matrix products."""
    rows = _bicubic(points.shape[-1], side).to(points.device)
    return rows @ points @ rows.T


@lru_cache
def _bicubic(points: int, side: int) -> Tensor:
    """Weights (side, points) of the control points along one axis, corners aligned."""
    columns = torch.eye(points)[:, None, :, None]
    return F.interpolate(columns, (side, 1), mode="bicubic", align_corners=True)[:, 0, :, 0].T.contiguous()


def recolour(draw: Draw, pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Change the brightness and sharpness of crops (B, C, crop, crop); `rng` as for `apply`."""
    crop = pixels.shape[-1]
    size = (crop, crop)
    pixels = pixels.clone()
    if (hit := draw.low_resolution.flatten() > 0).any():  # what few slices have is made for those few only
        pixels[hit] = F.interpolate(F.avg_pool2d(pixels[hit], 2), size, mode="bilinear", align_corners=False)
    if (hit := draw.blur.flatten() > 0).any():
        pixels[hit] = torch.lerp(pixels[hit], F.avg_pool2d(pixels[hit], 3, 1, 1), draw.blur[hit])
    pixels = pixels.clamp_(0, 1).pow_(draw.gamma).mul_(torch.exp(smooth(draw.shading, crop)))
    pixels = (pixels - 0.3) * draw.contrast + 0.3 + draw.brightness * (pixels > 0)
    if (hit := draw.spike[:, 0] > 0).any():
        amplitude, *waves = draw.spike[hit].T[..., None, None, None]
        y, x = torch.meshgrid(*[torch.arange(crop, device=pixels.device)] * 2, indexing="ij")
        pixels[hit] += amplitude * torch.cos(2 * torch.pi * (waves[0] * x + waves[1] * y))
    noise = torch.randn(pixels.shape, generator=rng, device=pixels.device)
    return pixels + noise * draw.noise


def batch(
    slices: SliceSet, size: int, crop: int, spacing_mm: float, strength: Strength, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One augmented batch; the same seed gives the same batch.

    Returns:
        Images (size, 3, crop, crop), labels (size, crop, crop) and merge matrices (size, C, C).
    """
    device = slices.images.device
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.multinomial(slices.weights.cpu(), size, replacement=True, generator=rng)
    parameters = draw(slices.centres[chosen.to(device)], strength, crop, spacing_mm, rng).to(device)
    lone = torch.rand(size, 1, generator=rng) < strength.lone_slice
    reverse = torch.rand(size, 1, generator=rng) < 0.5
    chosen = chosen.to(device)
    near = slices.neighbours[chosen].cpu()
    near = torch.where(reverse, near.flip(1), near)
    near = torch.where(lone, near[:, 1:2], near).to(device)
    images = slices.images[near].float().div_(255)
    noise_rng = torch.Generator(device).manual_seed(seed)
    pixels, labels = apply(parameters, images, slices.labels[chosen], crop, noise_rng)
    return pixels, labels, slices.merges[chosen]
