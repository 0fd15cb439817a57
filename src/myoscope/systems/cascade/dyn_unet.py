"""nnU-Net's networks (MONAI's DynUNet) on the slices of many stacks.

Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
"""

import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn

HEADS = 3
"""Levels below the finest whose output is compared with the labels too (deep supervision)."""

PLANE_LEVELS = 3
"""So many levels look at one slice each: until pixels are about as large as the slices are apart."""


class SliceUNet(nn.Module):
    """A 2-D or 3-D U-Net with instance norm and deep supervision; the 3-D one never pools along the stack.

    Args:
        channels_in: The image, and after it what a first stage says.
        classes: Output channels.
        widths: Feature maps of each level.
        along_stack: True for the 3-D network.

    Input and output as for `StackUNet`; in training mode the output has a head for each supervised level,
    (heads, N, classes, H, W), the finest first.
    """

    def __init__(self, channels_in: int, classes: int, widths: tuple[int, ...], along_stack: bool) -> None:
        super().__init__()
        self.along_stack = along_stack
        n = len(widths)
        self.multiple = 2 ** (n - 1)
        halved = [1, *[2] * (n - 1)]
        kernels, strides = [[3, 3]] * n, [[s, s] for s in halved]
        if along_stack:
            kernels = [[1 if i < PLANE_LEVELS else 3, 3, 3] for i in range(n)]
            strides = [[1, s, s] for s in halved]
        self.network = DynUNet(
            2 + along_stack,
            channels_in,
            classes,
            kernels,
            strides,
            strides[1:],
            list(widths),
            deep_supervision=n > 2,
            deep_supr_num=max(1, min(HEADS, n - 2)),
        )

    def forward(self, x: Tensor, stacks: Tensor) -> Tensor:
        """Logits (heads, N, classes, H, W); one head in evaluation mode."""
        spread, mean = torch.std_mean(x[:, :1], (2, 3), keepdim=True)
        x = torch.cat([(x[:, :1] - mean) / spread.clamp(min=1e-3), x[:, 1:]], 1)
        if not self.along_stack:
            return self._heads(self.network(x), 4)
        if (stacks == stacks[0]).all():  # one stack, as all are when it is exported
            return self._heads(self.network(x.movedim(0, 1)[None]), 5)[:, 0].transpose(1, 2)
        numbers, place = torch.unique_consecutive(stacks, return_inverse=True)
        slot = torch.arange(len(x), device=x.device) - torch.searchsorted(place, place)
        volume = x.new_zeros(len(numbers), x.shape[1], int(slot.max()) + 1, *x.shape[2:])
        volume[place, :, slot] = x
        return self._heads(self.network(volume), 5)[:, place, :, slot].transpose(0, 1)

    @staticmethod
    def _heads(found: Tensor, dimensions: int) -> Tensor:
        return found[None] if found.ndim == dimensions else found.movedim(1, 0)
