"""TransUNet: a CNN, a transformer on its deepest features, and a CNN decoder with skip connections.

Chen et al. 2021, TransUNet: transformers make strong encoders for medical image segmentation, arXiv:2102.04306.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.lab.torchvision_shim import torchvision_ready
from myoscope.lab.unet import UNet

HYBRID = "vit_base_r50_s16_224"
"""timm's name of the hybrid of ResNet-50 and ViT-B/16; its pre-trained weights are from ImageNet-21k."""


class Attention(nn.Module):
    """Three transformer layers on a grid of features (B, width, side, side), added to it; what they add starts as 0."""

    def __init__(self, width: int, side: int, dropout: float) -> None:
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(1, side**2, width))
        heads = max(1, width // 64)
        layers = [
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(3)
        ]
        self.layers = nn.Sequential(*layers, nn.LayerNorm(width))
        self.added = nn.Linear(width, width)
        nn.init.zeros_(self.added.weight)
        nn.init.zeros_(self.added.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        tokens = self.layers(x.flatten(2).transpose(1, 2) + self.position)
        return x + self.added(tokens).transpose(1, 2).unflatten(2, x.shape[2:])


class SmallTransUNet(UNet):
    """The compact U-Net with a transformer on its deepest level; the weights of a plain U-Net are a start.

    Args:
        channels_in: Input channels.
        channels_out: Classes.
        widths: Feature maps of each level, as for `UNet`.
        side: Height and width of its input, in pixels; divisible by `multiple`.
        dropout: In the transformer.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: tuple[int, ...], side: int, dropout: float) -> None:
        super().__init__(channels_in, channels_out, widths)
        self.attention = Attention(widths[-1], side // self.multiple, dropout)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features of every level, the finest first."""
        *levels, deep = super().encode(x)
        return [*levels, self.attention(deep)]


class TransUNet(nn.Module):
    """The published size, about 100 million weights: timm's ResNetV2-50 and ViT-B/16 hybrid, decoder 256-128-64-16.

    Unlike TransUNet's, timm's transformer has a class token, which the decoder does not see.

    Args:
        channels_out: Classes.
        side: Height and width of its input, in pixels; divisible by 16.
        dropout: In the transformer, as the paper has it.
        pretrained: Whether to fetch weights trained on ImageNet-21k.

    Input (B, 3, side, side), output logits (B, channels_out, side, side).

    Raises:
        InputError: timm or torchvision is not installed, or pretrained weights cannot be fetched.
    """

    def __init__(self, channels_out: int, side: int, dropout: float, pretrained: bool) -> None:
        super().__init__()
        self.encoder: Any = _hybrid(side, dropout, pretrained)
        self.resnet: Any = self.encoder.patch_embed.backbone
        self.encoder.patch_embed.backbone = nn.Identity()
        self.grid = side // 16
        self.first = _conv(768, 512)
        steps = ((512 + 512, 256), (256 + 256, 128), (128 + 64, 64), (64, 16))
        self.decoder = nn.ModuleList(nn.Sequential(_conv(a, b), _conv(b, b)) for a, b in steps)
        self.head = nn.Conv2d(16, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, channels_out, side, side)."""
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features at a half, a quarter, an eighth and (the transformer's) a sixteenth of the resolution."""
        stem = self.resnet.stem
        levels = [stem.norm(stem.conv(x))]
        x = stem.pool(levels[0])
        for stage in self.resnet.stages:
            x = stage(x)
            levels.append(x)
        tokens = self.encoder.forward_features(levels.pop())[:, self.encoder.num_prefix_tokens :]
        return [*levels, tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))]

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Logits from what `encode` gave."""
        *skips, x = levels
        x = self.first(x)
        for block in self.decoder:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = block(torch.cat([x, skips.pop()], 1) if skips else x)
        return self.head(x)


def _conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU, as all of TransUNet's decoder has them."""
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


def _hybrid(side: int, dropout: float, pretrained: bool) -> Any:
    torchvision_ready()
    try:
        import timm
    except ModuleNotFoundError:
        raise InputError("TransUNet: expected the package timm, found none; pip install 'myoscope[ensemble]'") from None
    settings: dict[str, Any] = {"img_size": side, "num_classes": 0, "pos_drop_rate": dropout, "proj_drop_rate": dropout}
    client = logging.getLogger("huggingface_hub")  # it would tell of each of its ten attempts
    level = client.level
    client.setLevel(logging.CRITICAL)
    try:
        return timm.create_model(HYBRID, pretrained=pretrained, **settings)
    except Exception as error:  # whatever the hub's client raises; without pretrained nothing is fetched
        if not pretrained:
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"TransUNet: expected timm's pre-trained weights of {HYBRID} from its hub, found it out of reach "
            f"({reason[:120]}); choose a variant that starts without"
        ) from None
    finally:
        client.setLevel(level)
