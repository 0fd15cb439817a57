"""A U-Net for stacks of thick slices: 1x3x3 and 3x1x1 convolutions, never pooled from slice to slice.

Slices lie five to ten times further apart than pixels, so the plane is halved from level to level and the stack is not
(nnU-Net's rule for anisotropic images, Isensee et al. 2021, doi:10.1038/s41592-020-01008-z). The slices of all stacks
of a batch stand one after the other, (N, C, H, W): stacks of any length fit together without padding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_PRIOR = 1 / 255
"""Probabilities are raised to this before their logarithm is taken: what is said for certain may be wrong."""


class AcrossSlices(nn.Module):
    """A 3x1x1 convolution along the stack, batch norm and leaky ReLU, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3 * channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, follows: Tensor) -> Tensor:
        """Slices (N, C, H, W); `follows` (N,) says which slices continue the stack of the one before."""
        after = torch.cat([follows[1:], follows[:1]]).to(x.dtype)[:, None, None, None]
        before = follows.to(x.dtype)[:, None, None, None]
        previous, following = torch.cat([x[-1:], x[:-1]]), torch.cat([x[1:], x[:1]])  # `roll` is no operator of ONNX
        near = torch.cat([previous * before, x, following * after], 1)
        return x + F.leaky_relu(self.norm(self.convolution(near)), 0.01)


class Block(nn.Module):
    """Two 1x3x3 convolutions, each with batch norm and leaky ReLU, then one along the stack if asked for."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, across: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels_out) for _ in range(2))
        self.across = AcrossSlices(channels_out) if across else None

    def forward(self, x: Tensor, follows: Tensor) -> Tensor:
        """As `AcrossSlices`."""
        x = F.leaky_relu(self.norms[0](self.first(x)), 0.01, inplace=True)
        x = F.leaky_relu(self.norms[1](self.second(x)), 0.01, inplace=True)
        return self.across(x, follows) if self.across else x


class StackUNet(nn.Module):
    """Refines the class probabilities of a first stage: its output starts as their logarithm.

    Args:
        classes: Of the first stage and of the output.
        widths: Feature maps of each level; each level halves the plane. All but the finest look along the stack.

    Input slices (N, 1 + classes, H, W): image, then the probabilities, H and W divisible by `multiple`; and the number
    (N,) of the stack that each slice is from, slices of a stack in order. Output logits (1, N, classes, H, W).
    """

    def __init__(self, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        pairs = zip((1 + classes, *widths), widths, strict=False)
        self.encoder = nn.ModuleList(Block(a, b, 1 if i == 0 else 2, i > 0) for i, (a, b) in enumerate(pairs))
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2, bias=False) for a, b in ups)
        self.decoder = nn.ModuleList(Block(2 * b, b, 1, i < len(ups) - 1) for i, (_, b) in enumerate(ups))
        self.head = nn.Conv2d(widths[0], classes, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, stacks: Tensor) -> Tensor:
        """Logits (1, N, classes, H, W)."""
        follows = F.pad(stacks[1:] == stacks[:-1], (1, 0))
        prior = x[:, 1:].clamp(min=LEAST_PRIOR).log()
        levels = []
        for block in self.encoder:
            x = block(x, follows)
            levels.append(x)
        levels.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([up(x), levels.pop()], 1), follows)
        return (self.head(x).float() + prior)[None]
