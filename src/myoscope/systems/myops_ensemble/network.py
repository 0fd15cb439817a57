"""The three networks of the MyoPS ensemble, as published and small enough for a CPU. All give logits or masks.

Mask R-CNN has GroupNorm instead of BatchNorm: from scratch, in batches of two, it does not learn with the latter.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from myoscope.errors import InputError
from myoscope.lab.torchvision_shim import torchvision_ready
from myoscope.lab.unet import ConvBlock

SHALLOW_WIDTHS = (16, 32, 64, 128)


class ShallowUNet(nn.Module):
    """Of `small`: U-Net 16-32-64-128 with max pooling, two convolutions and BatchNorm a level.

    Input (B, channels_in, H, W), H and W divisible by 8, output logits.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        pairs = list(zip((channels_in, *SHALLOW_WIDTHS), SHALLOW_WIDTHS, strict=False))
        self.down = nn.ModuleList(ConvBlock(a, b) for a, b in pairs)
        ups = list(zip(SHALLOW_WIDTHS[:0:-1], SHALLOW_WIDTHS[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in ups)
        self.merge = nn.ModuleList(ConvBlock(2 * b, b) for _, b in ups)
        self.head = nn.Conv2d(SHALLOW_WIDTHS[0], channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, channels_out, H, W)."""
        skips = []
        for i, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if i else x)
            skips.append(x)
        x = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], 1))
        return self.head(x)


class PublishedUNet(nn.Module):
    """The paper's Figure 2: eight 3x3 convolutions (16 | 16, 32, 64, 128, 64, 32, 16), each with ReLU, and a 1x1 one.

    Levels at 1, 1/2, 1/4 and 1/8 (max pooling), skip connections by concatenation. The figure has no normalisation, and
    no weights between its levels: upwards pixels are doubled. Input (B, channels_in, H, W), H and W divisible by 8,
    output logits: the figure's sigmoid is the loss's and `probabilities`'.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()

        def conv(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True))

        first, second, third, deep = SHALLOW_WIDTHS
        self.start = conv(channels_in, first)
        self.down = nn.ModuleList([conv(first, first), conv(first, second), conv(second, third), conv(third, deep)])
        self.up = nn.ModuleList([conv(deep + third, third), conv(third + second, second), conv(second + first, first)])
        self.head = nn.Conv2d(first, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, channels_out, H, W)."""
        x, skips = self.start(x), []
        for i, conv in enumerate(self.down):
            x = conv(nn.functional.max_pool2d(x, 2) if i else x)
            skips.append(x)
        x = skips.pop()
        for conv in self.up:
            x = conv(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skips.pop()], 1))
        return self.head(x)


def build(kind: str, channels_in: int, channels_out: int, side: int, small: bool) -> nn.Module:
    """A network of a kind ("unet", "unetpp" or "maskrcnn") for images of `side` pixels.

    Raises:
        InputError: a package of `myoscope[ensemble]` is not installed.
    """
    if kind == "unet":
        return (ShallowUNet if small else PublishedUNet)(channels_in, channels_out)
    if kind == "unetpp":
        return _SmallUNetPlusPlus(channels_in, channels_out) if small else _unetpp_vgg16(channels_in, channels_out)
    return _mask_rcnn(channels_in, channels_out, side, small)


class _SmallUNetPlusPlus(nn.Module):
    """MONAI's U-Net++ (Zhou et al. 2018, doi:10.1007/978-3-030-00889-5_1) with few features and no VGG16."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

        self.network = BasicUNetPlusPlus(2, channels_in, channels_out, (8, 8, 16, 32, 64, 8))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, channels_out, H, W)."""
        return self.network(x)[0]


def _unetpp_vgg16(channels_in: int, channels_out: int) -> nn.Module:
    torchvision_ready()
    try:
        from segmentation_models_pytorch import UnetPlusPlus
    except ModuleNotFoundError:
        raise InputError(
            "expected the package segmentation-models-pytorch, found none; pip install 'myoscope[ensemble]'"
        ) from None
    return UnetPlusPlus("vgg16", encoder_weights=None, in_channels=channels_in, classes=channels_out)


def _mask_rcnn(channels_in: int, classes: int, side: int, small: bool) -> nn.Module:
    """Mask R-CNN on a ResNet-50 FPN; small: three stages of one block of a ResNet-18, 64 channels, fewer proposals."""
    torchvision_ready()
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.models.resnet import BasicBlock, ResNet

    norm = partial(nn.GroupNorm, 8)
    settings: dict[str, Any] = {
        "min_size": side, "max_size": side, "image_mean": [0.0] * channels_in, "image_std": [1.0] * channels_in,
        "box_score_thresh": 0.5, "box_detections_per_img": 20,
    }  # fmt: skip
    if not small:
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=norm, trainable_layers=5)
        backbone.body["conv1"] = nn.Conv2d(channels_in, 64, 7, 2, 3, bias=False)
        anchors = AnchorGenerator(((16,), (32,), (64,), (128,), (256,)), ((0.5, 1.0, 2.0),) * 5)
        return MaskRCNN(backbone, 1 + classes, rpn_anchor_generator=anchors, **settings)
    resnet = ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=norm)
    resnet.conv1 = nn.Conv2d(channels_in, 64, 7, 2, 3, bias=False)
    stages = {"layer1": "0", "layer2": "1", "layer3": "2"}
    return MaskRCNN(
        BackboneWithFPN(resnet, stages, [64, 128, 256], 64),
        rpn_anchor_generator=AnchorGenerator(((8,), (16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 4),
        box_head=TwoMLPHead(64 * 7 * 7, 128),
        box_predictor=FastRCNNPredictor(128, 1 + classes),
        mask_head=MaskRCNNHeads(64, (64, 64), 1),
        mask_predictor=MaskRCNNPredictor(64, 64, 1 + classes),
        rpn_pre_nms_top_n_train=200, rpn_post_nms_top_n_train=100, rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_test=50, rpn_batch_size_per_image=64, box_batch_size_per_image=32,
        **settings,
    )  # fmt: skip


def instances(masks: Tensor) -> dict[str, Tensor]:
    """What Mask R-CNN learns from a slice's masks (C, H, W): every connected piece is an object of class 1 to C."""
    from scipy import ndimage

    boxes, labels, pieces = [], [], []
    for c, mask in enumerate(masks.numpy(force=True) > 0):
        numbered, count = ndimage.label(mask)
        for i, (rows, columns) in enumerate(ndimage.find_objects(numbered, count)):
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            labels.append(1 + c)
            pieces.append(torch.from_numpy(numbered == i + 1))
    device = masks.device
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64, device=device),
        "masks": (torch.stack(pieces) if pieces else torch.zeros((0, *masks.shape[1:]))).to(device, torch.uint8),
    }


def probabilities(network: nn.Module, images: Tensor, classes: int) -> Tensor:
    """Probability maps (B, classes, H, W) of any of the three; of Mask R-CNN the largest mask of the objects found."""
    if not hasattr(network, "roi_heads"):
        return network(images).sigmoid()
    result = images.new_zeros((len(images), classes, *images.shape[2:]))
    for shares, found in zip(result, network(list(images)), strict=True):
        for label, mask in zip(found["labels"].tolist(), found["masks"][:, 0], strict=True):
            shares[label - 1] = torch.maximum(shares[label - 1], mask)
    return result
