"""Clinic-NET and DOC-NET: clinical values, with or without an LGE stack, to normal or pathological."""

from itertools import pairwise

import torch
from torch import Tensor, nn

CLASSES = 2


class ImageBranch(nn.Sequential):
    """A stack (B, 1, Z, Y, X) to a vector (B, channels[-1]).

    Each layer: 3x3x3 convolution with stride 2, instance norm, dropout, PReLU. As printed this cannot run: where one
    voxel is left instance norm has nothing to normalise, and is left out there.

    Args:
        shape: (Z, Y, X) of the input; the strides must take it down to one voxel.
        channels: Of each layer.
        dropout: Share of values dropped.
    """

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], dropout: float) -> None:
        layers: list[nn.Module] = []
        for a, b in pairwise((1, *channels)):
            shape = tuple((n + 1) // 2 for n in shape)  # type: ignore[assignment]
            norm = [nn.InstanceNorm3d(b, affine=True)] if max(shape) > 1 else []
            layers += [nn.Conv3d(a, b, 3, stride=2, padding=1), *norm, nn.Dropout(dropout), nn.PReLU()]
        if max(shape) > 1:
            raise ValueError(f"{len(channels)} layers leave {shape} of the stack, expected one voxel")
        super().__init__(*layers, nn.Flatten())


class DocNet(nn.Module):
    """Fully connected layers over standardised values, joined by what the image branch makes of a stack.

    Args:
        values: Number of clinical values and volumes.
        hidden: Units of each hidden layer, followed by PReLU; none makes it a logistic regression.
        branch: For the images; None where there are none.
        features: Length of the branch's vector.

    `mean` and `scale` (values,) are those of the training data. Input: values (B, V), NaN where unknown (the mean
    stands in), and a stack (B, 1, Z, Y, X) or None. Output: logits (B, 2).
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, values: int, hidden: tuple[int, ...], branch: ImageBranch | None = None, features: int = 0
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("scale", torch.ones(values))
        self.branch = branch
        sizes = (values + features, *hidden)
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.PReLU())]
        self.body = nn.Sequential(*layers)
        self.last = nn.Linear(sizes[-1], CLASSES)

    def standardise(self, values: Tensor) -> Tensor:
        """Values (B, V) in standard deviations from the mean, 0 where unknown."""
        return ((values - self.mean) / self.scale).nan_to_num(0.0)

    def forward(self, values: Tensor, stack: Tensor | None = None) -> Tensor:
        """Logits (B, 2)."""
        x = self.standardise(values)
        if self.branch is not None:
            x = torch.cat([self.branch(stack), x], 1)
        return self.last(self.body(x))
