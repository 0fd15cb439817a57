"""The multitask network against the paper's Table 2, and on processors."""

import pytest
import torch
from torch import nn

from myoscope.systems.acdc_multitask.model import build
from myoscope.systems.acdc_multitask.network import DenseBlock, WideConv3d
from myoscope.systems.acdc_multitask.recipe import RECIPES


def _sizes(network: nn.Module) -> list[tuple[str, tuple[int, ...], int]]:
    """What every row of Table 2 makes: operation, size (x, y, z), number of feature maps; nothing is computed."""
    found: list[tuple[str, tuple[int, ...], int]] = []

    def note(module: nn.Module, _: object, out: torch.Tensor) -> None:
        name = type(module).__name__
        if isinstance(module, nn.Conv3d):
            name = "Bottleneck" if module.kernel_size == (1, 1, 1) else f"Conv{module.kernel_size[0]}"
        found.append((name, (*out.shape[:1:-1],), out.shape[1]))

    def wanted(module: nn.Module) -> bool:
        kernel = getattr(module, "kernel_size", None)
        kinds = (DenseBlock, nn.AvgPool3d, nn.MaxPool3d, nn.AdaptiveMaxPool3d, nn.ConvTranspose3d, nn.Linear)
        return isinstance(module, kinds) or (isinstance(module, nn.Conv3d) and kernel != (3, 3, 3))

    for module in filter(wanted, network.modules()):
        module.register_forward_hook(note)
    network(torch.zeros(1, 3, 6, 192, 192))
    return found


def _square(side: int, slices: int = 6) -> tuple[int, int, int]:
    return side, side, slices


MAIN = [
    ("Conv7", _square(96), 64),
    ("DenseBlock", _square(96), 136),
    ("Bottleneck", _square(96), 68),
    ("AvgPool3d", _square(48), 68),
    ("DenseBlock", _square(48), 140),
    ("Bottleneck", _square(48), 70),
    ("AvgPool3d", _square(24), 70),
    ("DenseBlock", _square(24), 214),
]
CLASSIFICATION = [
    ("Bottleneck", _square(24), 107),
    ("MaxPool3d", _square(12, 3), 107),
    ("DenseBlock", _square(12, 3), 683),
    ("Bottleneck", _square(12, 3), 341),
    ("MaxPool3d", _square(6, 1), 341),
    ("DenseBlock", _square(6, 1), 725),
    ("AdaptiveMaxPool3d", _square(1, 1), 725),
]
SEGMENTATION = [
    ("Bottleneck", _square(24), 107),
    ("ConvTranspose3d", _square(48), 107),
    ("DenseBlock", _square(48), 179),
]
END = [
    ("Bottleneck", _square(48), 89),
    ("ConvTranspose3d", _square(96), 89),
    ("DenseBlock", _square(96), 161),
    ("Bottleneck", _square(96), 80),
    ("ConvTranspose3d", _square(192), 80),
    ("Bottleneck", _square(192), 4),
]
DIAGNOSIS, CARDIAC = [("Linear", (), 5)], [("Linear", (), 13)]

EXPERIMENTS = {
    "diagnosis": MAIN + CLASSIFICATION + DIAGNOSIS,
    "segmentation": MAIN + SEGMENTATION + END + END,
    "double": MAIN + CLASSIFICATION + DIAGNOSIS + SEGMENTATION + END + END,
    "triple": MAIN + CLASSIFICATION + DIAGNOSIS + CARDIAC + SEGMENTATION + END + END,
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_size_of_the_papers_table_2(name: str) -> None:
    with torch.device("meta"):
        network = build(RECIPES[f"acdc-multitask.{name}"])
        assert _sizes(network) == EXPERIMENTS[name]
        blocks = [block for block in network.modules() if isinstance(block, DenseBlock)]
    layers = [6, 6, 12] + [48, 32] * (name != "segmentation") + [6, 6, 6] * (name != "diagnosis")
    assert [len(block) for block in blocks] == layers
    convolutions = {m.kernel_size for block in blocks for m in block.modules() if isinstance(m, nn.Conv3d)}
    assert convolutions == {(3, 3, 3)}
    first = network.main[1]
    assert (first.stride, first.in_channels) == ((1, 2, 2), 3)


def test_gradients_of_the_first_convolution_are_finite() -> None:
    for _ in range(4):
        first = WideConv3d(3, 32, 7, stride=(1, 2, 2), padding=3, bias=False)
        with torch.autocast("cpu", torch.bfloat16):
            found = first(torch.randn(4, 3, 6, 96, 96))
        found.square().mean().backward()
        assert first.weight.grad is not None and first.weight.grad.isfinite().all()
