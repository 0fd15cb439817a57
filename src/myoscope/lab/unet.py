"""A compact 2-D U-Net (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28), plain enough to start in no time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 2
"""Pixels are folded into channels by this factor before the first convolution, and unfolded after the last."""


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each followed by batch norm and leaky ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        layers: list[nn.Module] = []
        for cin, step in ((channels_in, stride), (channels_out, 1)):
            layers += [
                nn.Conv2d(cin, channels_out, 3, stride=step, padding=1, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.LeakyReLU(0.01, inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """Encoder and decoder with skip connections, one level for each width.

    Args:
        channels_in: Input channels (neighbouring slices).
        channels_out: Classes.
        widths: Feature maps of each level; each level halves the resolution of the one before.

    Half of the time of a U-Net this small goes into its finest level. Here that level works on 2x2 patches, folded
    into channels without loss (pixel unshuffle), at 0.6 times the cost.

    Input (B, channels_in, H, W) with H and W divisible by `multiple`; output logits (B, channels_out, H, W).
    """

    def __init__(self, channels_in: int, channels_out: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = PATCH * 2 ** (len(widths) - 1)
        pairs = list(zip((channels_in * PATCH**2, *widths), widths, strict=False))
        self.encoder = nn.ModuleList(ConvBlock(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(pairs))
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2, bias=False) for a, b in ups)
        self.decoder = nn.ModuleList(ConvBlock(2 * b, b) for _, b in ups)
        self.head = nn.Conv2d(widths[0], channels_out * PATCH**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, channels_out, H, W)."""
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features of every level, the finest first."""
        x = F.pixel_unshuffle(x, PATCH)
        levels = []
        for block in self.encoder:
            x = block(x)
            levels.append(x)
        return levels

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Logits from what `encode` gave."""
        *skips, x = levels
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([up(x), skips.pop()], 1))
        return F.pixel_shuffle(self.head(x), PATCH)
