"""The three-branch 3-D DenseNet that segments a cine at ED and ES, and judges the patient.

Dense blocks after Huang et al. 2017 (doi:10.1109/CVPR.2017.243), in 3-D. Tensors are (B, C, Z, Y, X).
"""

import torch
from torch import Tensor, nn

CHANNELS, SLICES = 3, 6
"""ED, ED - ES and ES; the classification branch needs as many slices to end in one."""

IN_PLANE = (1, 2, 2)
PHASES = ("ED", "ES")


class WideConv3d(nn.Conv3d):
    """Stays in float32 on CPUs: there PyTorch 2.13's bfloat16 weight gradients of 7x7x7 are not finite."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv3d`."""
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class DenseLayer(nn.Sequential):
    """Batch norm, ReLU, 3x3x3 convolution, dropout; the input is kept in front of what comes out."""

    def __init__(self, maps: int, growth: int, dropout: float) -> None:
        conv = nn.Conv3d(maps, growth, 3, padding=1, bias=False)
        super().__init__(nn.BatchNorm3d(maps), nn.ReLU(inplace=True), conv, nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps + growth, Z, Y, X)."""
        return torch.cat([x, super().forward(x)], 1)


class DenseBlock(nn.Sequential):
    """Dense layers; `maps` says how many feature maps come out."""

    def __init__(self, maps: int, layers: int, growth: int, dropout: float) -> None:
        super().__init__(*(DenseLayer(maps + i * growth, growth, dropout) for i in range(layers)))
        self.maps = maps + layers * growth


class Transition(nn.Sequential):
    """Bottleneck (batch norm, ReLU, 1x1x1 convolution) that halves the maps, and a change of their size."""

    def __init__(self, maps: int, resize: nn.Module | None = None) -> None:
        self.maps = maps // 2
        super().__init__(*bottleneck(maps, self.maps), resize or _up(self.maps))


def bottleneck(maps: int, out: int) -> tuple[nn.Module, ...]:
    """Batch norm, ReLU and a 1x1x1 convolution."""
    return nn.BatchNorm3d(maps), nn.ReLU(inplace=True), nn.Conv3d(maps, out, 1)


def _up(maps: int) -> nn.Module:
    """Twice the size in plane."""
    return nn.ConvTranspose3d(maps, maps, IN_PLANE, stride=IN_PLANE)


class AcdcMultitask(nn.Module):
    """Main branch, classification branch (with heads for diagnosis and features) and segmentation branch.

    Args:
        classes: Of the diagnosis; 0 leaves the head out.
        features: Cardiac features to estimate; 0 leaves the head out.
        structures: To segment, background included; 0 leaves the segmentation branch out.
        maps: Of the first convolution.
        growth: Maps that a dense layer adds.
        dropout: Share of values dropped behind each dense layer.
        dropout_input: Share of input voxels dropped.

    Input (B, 3, 6, H, W), H and W divisible by 8. `forward` gives what there are heads for: `diagnosis` logits
    (B, classes), `features` (B, features) in standard deviations from `features_mean`, `ED` and `ES` logits
    (B, structures, 6, H, W).
    """

    features_mean: Tensor
    features_scale: Tensor

    def __init__(
        self,
        classes: int = 5,
        features: int = 13,
        structures: int = 4,
        maps: int = 64,
        growth: int = 12,
        dropout: float = 0.5,
        dropout_input: float = 0.2,
    ) -> None:
        super().__init__()

        def block(maps: int, layers: int) -> DenseBlock:
            return DenseBlock(maps, layers, growth, dropout)

        first = WideConv3d(CHANNELS, maps, 7, stride=IN_PLANE, padding=3, bias=False)
        parts: list[nn.Module] = [nn.Dropout(dropout_input), first, b := block(maps, 6)]
        for layers in (6, 12):
            parts += [t := Transition(b.maps, nn.AvgPool3d(IN_PLANE)), b := block(t.maps, layers)]
        self.main = nn.Sequential(*parts)
        shared = b.maps
        self.classification = self.diagnosis = self.features = None
        if classes or features:
            parts = []
            for layers, pool in ((48, (2, 2, 2)), (32, (3, 2, 2))):
                parts += [t := Transition(b.maps, nn.MaxPool3d(pool)), b := block(t.maps, layers)]
            self.classification = nn.Sequential(*parts, nn.AdaptiveMaxPool3d(1), nn.Flatten())
            self.diagnosis = nn.Linear(b.maps, classes) if classes else None
            self.features = nn.Linear(b.maps, features) if features else None
        self.register_buffer("features_mean", torch.zeros(features))
        self.register_buffer("features_scale", torch.ones(features))
        self.segmentation = self.ends = None
        if structures:
            t = Transition(shared)
            self.segmentation = nn.Sequential(t, both := block(t.maps, 6))
            self.ends = nn.ModuleDict()
            for phase in PHASES:
                t = Transition(both.maps)
                b = block(t.maps, 6)
                last = Transition(b.maps)
                self.ends[phase] = nn.Sequential(t, b, last, *bottleneck(last.maps, structures))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """What there are heads for, by name."""
        x = self.main(x)
        found = {}
        if self.classification is not None:
            seen = self.classification(x.clone() if self.segmentation is not None else x)
            for name, head in (("diagnosis", self.diagnosis), ("features", self.features)):
                if head is not None:
                    found[name] = head(seen)
        if self.segmentation is not None and self.ends is not None:
            both = self.segmentation(x)
            found |= {phase: end(both) for phase, end in self.ends.items()}
        return found
