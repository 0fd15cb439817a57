"""Six kinds of augmentation for batches of whole stacks: parameters are drawn in one place and applied in another.

Rotation and flip; additional cropping (shift, zoom, lost end slices); additive noise; corruption of k-space; smooth
free-form deformation; scaling of intensity and contrast.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Ranges:
    """What augmentation draws from; each stack gets each of the six kinds with probability `share`."""

    share: float = 0.5
    rotation_degrees: float = 45.0
    shift: float = 0.2
    """Of the crop, as a share of its half side."""
    zoom: tuple[float, float] = (0.85, 1.15)
    lost_slices: int = 2
    """At most so many slices are lost at either end."""
    noise: float = 0.08
    lines: float = 0.15
    """Share of the lines of k-space that are corrupted; the innermost eighth is spared."""
    line_error: float = 1.0
    """Spread of the complex factor's error on a corrupted line."""
    bend: float = 0.06
    """Spread of the displacement of control points, as a share of the half side."""
    gamma: float = 0.4
    contrast: float = 0.3


@dataclass(frozen=True)
class Draw:
    """Parameters of B stacks of Z slices: (B, ...) each, neutral where a kind was not drawn."""

    affine: Tensor
    lost: Tensor
    noise: Tensor
    lines: Tensor
    bend: Tensor
    gamma: Tensor
    contrast: Tensor

    def to(self, device: torch.device) -> "Draw":
        """The same parameters on another device."""
        return Draw(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def draw(n: int, slices: int, crop: int, margin: int, ranges: Ranges, rng: torch.Generator) -> Draw:
    """Draw the parameters of n stacks; arguments as for `apply`. The generator lies on the CPU."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((n, *shape), generator=rng) * (high - low) + low

    def chosen(*shape: int) -> Tensor:
        return (torch.rand(n, generator=rng) < ranges.share).float().reshape(n, *shape)

    turned, cropped = chosen(), chosen()
    angle = torch.deg2rad(uniform(-1, 1) * ranges.rotation_degrees) * turned
    flip = 1 - 2 * turned * (torch.rand(n, generator=rng) < 0.5)
    inside = crop / (crop + 2 * margin)
    size = inside / (1 + cropped * (uniform(*ranges.zoom) - 1))
    shift = uniform(-1, 1, 2) * ranges.shift * inside * cropped[:, None]
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    affine = torch.stack(
        [torch.stack([flip * cos, -sin, shift[:, 0]], 1), torch.stack([flip * sin, cos, shift[:, 1]], 1)], 1
    )
    ends = (uniform(0, ranges.lost_slices + 1, 2).floor() * cropped[:, None]).long()
    z = torch.arange(slices)
    frequency = torch.fft.fftfreq(crop).abs()
    hit = (torch.rand((n, crop), generator=rng) < ranges.lines) & (frequency > 1 / 16)
    error = torch.complex(torch.randn((n, crop), generator=rng), torch.randn((n, crop), generator=rng))
    return Draw(
        affine=affine,
        lost=(z < ends[:, :1]) | (z >= slices - ends[:, 1:]),
        noise=uniform(0, ranges.noise, 1, 1, 1) * chosen(1, 1, 1),
        lines=1 + error * ranges.line_error * hit * chosen(1),
        bend=torch.randn((n, 2, 3, 5, 5), generator=rng) * ranges.bend * chosen(1, 1, 1, 1),
        gamma=torch.exp(uniform(-1, 1, 1, 1, 1) * ranges.gamma * (scaled := chosen(1, 1, 1))),
        contrast=1 + uniform(-1, 1, 1, 1, 1) * ranges.contrast * scaled,
    )


def apply(draw: Draw, stacks: Tensor, crop: int) -> Tensor:
    """Crop and change a batch of stacks; the noise comes from torch's own generator.

    Args:
        draw: Parameters of B stacks, on the stacks' device.
        stacks: (B, Z, S, S) in [0, 1], S = crop + 2 margins; slices of padding are 0 and stay so.
        crop: Side of what comes out.

    Returns:
        (B, Z, crop, crop).
    """
    b, z = stacks.shape[:2]
    shown = stacks.flatten(2).any(2)
    first = shown.float().argmax(1, keepdim=True)  # the slices that are lost are counted from the stack's own ends
    last = z - shown.flip(1).float().argmax(1, keepdim=True)
    index = torch.arange(z, device=stacks.device)
    head, tail = draw.lost.cumprod(1).sum(1, keepdim=True), draw.lost.flip(1).cumprod(1).sum(1, keepdim=True)
    kept = (index >= first + head) & (index < last - tail) & shown

    grid = F.affine_grid(draw.affine, [b, 1, crop, crop], align_corners=False).repeat_interleave(z, 0)
    points = F.interpolate(draw.bend, (z, 5, 5), mode="trilinear", align_corners=True).transpose(1, 2).flatten(0, 1)
    grid = grid + F.interpolate(points, (crop, crop), mode="bicubic", align_corners=True).movedim(1, -1)
    pixels = F.grid_sample(stacks.flatten(0, 1)[:, None], grid, align_corners=False).reshape(b, z, crop, crop)

    corrupted = (draw.lines != 1).any(1)
    if corrupted.any():
        spectrum = torch.fft.fft(pixels[corrupted], dim=-2) * draw.lines[corrupted][:, None, :, None]
        pixels = pixels.index_put((corrupted,), torch.fft.ifft(spectrum, dim=-2).abs())
    pixels = pixels.clamp(0, 1) ** draw.gamma
    pixels = (pixels - 0.5) * draw.contrast + 0.5
    pixels = pixels + torch.randn_like(pixels) * draw.noise
    return pixels * kept[:, :, None, None]


def middle(stacks: Tensor, crop: int) -> Tensor:
    """What `apply` gives where nothing was drawn: the middle (B, Z, crop, crop) of the stacks."""
    margin = (stacks.shape[-1] - crop) // 2
    return stacks[..., margin : margin + crop, margin : margin + crop]
