"""Slices of many cases, resampled in plane, in memory on the device: what a batch is drawn from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.labels import Structure
from myoscope.segment import images
from myoscope.study import Case, Role
from myoscope.volume import Volume

CANVAS = 256
"""Side of the square that every slice is padded or cropped to, in pixels."""


def normalise(slices: Tensor) -> Tensor:
    """As `segment.images.normalise`, on tensors."""
    return torch.from_numpy(images.normalise(slices.numpy(force=True))).to(slices.device)


def resample_slices(slices: Tensor, spacing_mm: tuple[float, float], target_mm: float) -> Tensor:
    """As `segment.images.resample_slices`, on tensors."""
    found = images.resample_slices(slices.numpy(force=True), spacing_mm, target_mm)
    return torch.from_numpy(found).to(slices.device)


def resample_labels(labels: np.ndarray, spacing_mm: tuple[float, float], target_mm: float) -> Tensor:
    """Class indices (N, H, W) at another in-plane spacing: each class is resampled, the largest share wins."""
    indices = torch.from_numpy(labels.astype(np.int64))
    shares = F.one_hot(indices).movedim(-1, 0).float()
    return torch.stack([resample_slices(share, spacing_mm, target_mm) for share in shares]).argmax(0).to(torch.uint8)


def fit_canvas(slices: Tensor, side: int = CANVAS) -> Tensor:
    """Slices (N, H, W), zero-padded or cropped around their centre to (N, side, side)."""
    height, width = slices.shape[1:]
    top, left = (side - height) // 2, (side - width) // 2
    return F.pad(slices, (left, side - width - left, top, side - height - top))


@dataclass(frozen=True)
class SliceSet:
    """Slices on one device.

    `images` and `labels` are (N, CANVAS, CANVAS), uint8; `neighbours` (N, 3) are the indices of the slice before, the
    slice itself and the slice after (itself again at the ends); `centres` (N, 2) the heart's centre (y, x) in pixels;
    (of several sequences, see `augment_sequences`, there are more images than labels: `neighbours` says which show it)
    `merges` (N, C, C) move the probability of classes that a case does not draw into the class drawn there;
    `weights` (N,) say how often a slice is drawn.
    """

    images: Tensor
    labels: Tensor
    neighbours: Tensor
    centres: Tensor
    merges: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "SliceSet":
        """The same slices on another device."""
        return SliceSet(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def collect(
    cases: Iterable[tuple[Case, float]],
    roles: tuple[Role, ...],
    classes: tuple[Structure, ...],
    stand_ins: dict[Structure, Structure],
    spacing_mm: float,
) -> SliceSet:
    """Put the labelled slices of many cases together.

    Args:
        cases: Cases, each with the weight of its slices.
        roles: Series to take from each case.
        classes: Structures in the order of the network's outputs.
        stand_ins: What a structure counts as where it is no class of its own (edema as myocardium).
        spacing_mm: In-plane spacing of the slices.
    """
    parts: list[tuple[Tensor, ...]] = []
    start = 0
    for case, weight in cases:
        for series in case.study.series:
            if series.role not in roles or series.role not in case.labels:
                continue
            labels = case.labels[series.role]
            for image, codes in zip(series.image.frames, labels.frames, strict=True):
                part = one_frame(series.image, image, codes, classes, stand_ins, spacing_mm)
                n = len(part[0])
                merge = merge_matrix(case.drawn_as, classes).expand(n, -1, -1)
                parts.append((*part[:2], part[2] + start, part[3], merge, torch.full((n,), weight)))
                start += n
    return SliceSet(*(torch.cat(column) for column in zip(*parts, strict=True)))


def one_frame(
    grid: Volume,
    image: np.ndarray,
    codes: np.ndarray,
    classes: tuple[Structure, ...],
    stand_ins: dict[Structure, Structure],
    spacing_mm: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, labels, neighbours and centres of one frame's slices, as in `SliceSet`; arguments as for `collect`."""
    in_plane = grid.spacing_mm[1:]
    pixels = resample_slices(normalise(torch.from_numpy(image.astype(np.float32))), in_plane, spacing_mm)
    indices = resample_labels(class_indices(codes, classes, stand_ins), in_plane, spacing_mm)
    pixels, indices = (fit_canvas(x) for x in ((pixels * 255).round().to(torch.uint8), indices))
    z = torch.arange(len(pixels))
    neighbours = torch.stack([(z - 1).clamp(min=0), z, (z + 1).clamp(max=len(z) - 1)], 1)
    heart = (indices > 0).nonzero().float()
    centre = heart[:, 1:].mean(0) if len(heart) else torch.full((2,), CANVAS / 2)
    return pixels, indices, neighbours, centre.expand(len(z), 2)


def class_indices(
    codes: np.ndarray, classes: tuple[Structure, ...], stand_ins: dict[Structure, Structure]
) -> np.ndarray:
    """Position in `classes` of every voxel's structure."""
    table = np.zeros(len(Structure), np.uint8)
    for structure in map(Structure, np.unique(codes)):
        table[structure] = classes.index(stand_ins.get(structure, structure))
    return table[codes]


def merge_matrix(drawn_as: Mapping[Structure, Structure], classes: tuple[Structure, ...]) -> Tensor:
    """(C, C) matrix that adds the probability of an undrawn class to the class drawn in its place."""
    merge = torch.eye(len(classes))
    for undrawn, drawn in drawn_as.items():
        if undrawn in classes and drawn in classes:
            i, j = classes.index(undrawn), classes.index(drawn)
            merge[i, i], merge[j, i] = 0, 1
    return merge
