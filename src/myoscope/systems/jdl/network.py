"""Wall and scar from one image by four methods, on any backbone that has `encode` and `decode`."""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn

Method = Literal["joint", "direct", "two-step", "multitask"]
METHODS: tuple[Method, ...] = ("joint", "direct", "two-step", "multitask")
OF_DECODER = ("first", "up", "decoder", "head")


class WallAndScar(nn.Module):
    """Two networks that pass a message, or not.

    - joint: the scar network sees image x probability of wall, and its loss reaches the wall network through that.
    - direct: one network, for scar, sees the image.
    - two-step: the scar network sees the image inside the drawn wall in training, inside the found one afterwards.
    - multitask: one encoder, a decoder for each.

    Args:
        method: One of these.
        backbone: Makes a network of one output.

    Input (B, C, H, W); output two logits (B, 1, H, W), of wall (None where direct) and of scar.
    """

    def __init__(self, method: Method, backbone: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.method = method
        self.wall: Any = None if method == "direct" else backbone()
        self.scar: Any = backbone()
        if method == "multitask":
            for name in [name for name, _ in self.scar.named_children() if name not in OF_DECODER]:
                delattr(self.scar, name)

    def forward(self, images: Tensor, drawn: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """Logits of wall and scar; `drawn` (B, 1, H, W) is the expert's wall, which two-step trains on."""
        if self.wall is None:
            return None, self.scar(images)
        levels = self.wall.encode(images)
        wall = self.wall.decode(levels)
        if self.method == "multitask":
            return wall, self.scar.decode(levels)
        if self.method == "joint":
            return wall, self.scar(images * wall.sigmoid())
        return wall, self.scar(images * ((wall > 0) if drawn is None else drawn))
