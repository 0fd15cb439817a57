"""What the multitask network reads: where the heart lies, the stack around it, and what it is to learn of a case."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.datasets.acdc import CLASSES
from myoscope.errors import InputError
from myoscope.lab.slices import class_indices
from myoscope.labels import Structure
from myoscope.measure.function import find_phases, label_volume_ml
from myoscope.study import Case, Role, Series
from myoscope.systems.acdc_multitask.network import SLICES
from myoscope.volume import Volume

STRUCTURES = (Structure.BACKGROUND, Structure.LV, Structure.MYOCARDIUM, Structure.RV)
STAND_INS = dict.fromkeys((Structure.INFARCT, Structure.NO_REFLOW, Structure.EDEMA), Structure.MYOCARDIUM)

FEATURES = (
    *(f"{name} {phase} (ml)" for phase in ("ED", "ES") for name in ("LV", "RV", "myocardium")),
    *(f"{name} ejected share" for name in ("LV", "RV", "myocardium")),
    *(f"{name} {phase}" for name in ("LV/RV", "myocardium/LV") for phase in ("ED", "ES")),
)
"""The thirteen that the triple task learns."""


@dataclass(frozen=True)
class Augmentation:
    """Mild changes in plane, of both phases alike; nothing by default, as published."""

    rotation_degrees: float = 0.0
    zoom: float = 0.0
    shift_mm: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Heart:
    """Where the heart lies: its centre (y, x) as shares of the slice, None where none was found; ED and ES frame."""

    centre: tuple[float, float] | None
    ed: int
    es: int


@dataclass(frozen=True)
class Inputs:
    """Training cases: for each a stack (2, Z, S, S) at ED and ES and labels of the same shape.

    `classes` (N,) are positions in `CLASSES`; `features` (N, 13).
    """

    stacks: list[Tensor]
    labels: list[Tensor]
    classes: Tensor
    features: Tensor


def find_heart(series: Series, labels: Volume) -> Heart:
    """The centre of the box around all labels of a cine (T, Z, Y, X) at ED and ES.

    Raises:
        InputError: the cine has one frame, or its phases cannot be told.
    """
    lv_ml = label_volume_ml(labels.frames, (Structure.LV,), labels.spacing_mm)
    phases = find_phases(lv_ml, series.ed_frame, series.es_frame)
    ed, es = phases.ed, phases.es
    if len(labels.frames) > 1 and not labels.voxels.any():
        return Heart(None, series.ed_frame or 0, series.es_frame or len(labels.frames) // 3)
    if isinstance(ed, str) or isinstance(es, str):
        reason = ed if isinstance(ed, str) else es
        raise InputError(f"{series.name}: expected a cine with end-diastole and end-systole, found {reason}")
    rows, columns = np.nonzero(labels.frames[[ed, es]].any((0, 1)))
    height, width = labels.voxels.shape[-2:]
    centre = (rows.min() + rows.max() + 1) / 2 / height, (columns.min() + columns.max() + 1) / 2 / width
    return Heart((float(centre[0]), float(centre[1])), ed, es)


def read_stack(image: Volume, heart: Heart, side: int, spacing_mm: float) -> Tensor:
    """ED and ES around the heart (2, Z, side, side): resampled, each slice to mean 0 and variance 1, 0 beyond it."""
    frames = torch.from_numpy(image.frames[[heart.ed, heart.es]].astype(np.float32))
    pixels = resample(frames.flatten(0, 1)[:, None], image, spacing_mm)[:, 0]
    spread = pixels.std((1, 2), keepdim=True).clamp(min=1e-6)
    pixels = (pixels - pixels.mean((1, 2), keepdim=True)) / spread
    return crop(pixels, heart, side).unflatten(0, (2, -1))


def read_labels(labels: Volume, heart: Heart, side: int, spacing_mm: float) -> Tensor:
    """Positions in STRUCTURES around the heart (2, Z, side, side), uint8: each is resampled, the largest wins."""
    codes = class_indices(labels.frames[[heart.ed, heart.es]], STRUCTURES, STAND_INS)
    shares = F.one_hot(torch.from_numpy(codes).long(), len(STRUCTURES)).flatten(0, 1).movedim(-1, 1).float()
    found = resample(shares, labels, spacing_mm).argmax(1).to(torch.uint8)
    return crop(found, heart, side).unflatten(0, (2, -1))


def resample(slices: Tensor, grid: Volume, spacing_mm: float) -> Tensor:
    """Slices (N, C, H, W) on a grid at another spacing, bicubic."""
    size = resampled_size(grid, spacing_mm)
    return F.interpolate(slices, size, mode="bicubic", antialias=True, align_corners=False)


def resampled_size(grid: Volume, spacing_mm: float) -> tuple[int, int]:
    """Rows and columns that a grid's slices have at another spacing."""
    (height, width), (y_mm, x_mm) = grid.voxels.shape[-2:], grid.spacing_mm[1:]
    return max(1, round(height * y_mm / spacing_mm)), max(1, round(width * x_mm / spacing_mm))


def window(height: int, width: int, heart: Heart, side: int) -> tuple[int, int, int, int]:
    """Padding (left, right, top, bottom; negative crops) that leaves a square around the heart."""
    y, x = heart.centre or (0.5, 0.5)
    top, left = round(y * height - side / 2), round(x * width - side / 2)
    return -left, left + side - width, -top, top + side - height


def crop(slices: Tensor, heart: Heart, side: int) -> Tensor:
    """The square around the heart of slices (..., H, W)."""
    return F.pad(slices, window(slices.shape[-2], slices.shape[-1], heart, side))


def cardiac_features(labels: Volume, heart: Heart) -> list[float]:
    """The values of FEATURES.

    Raises:
        InputError: a structure is absent at ED or ES.
    """
    wanted = (Structure.LV, Structure.RV, Structure.MYOCARDIUM)
    codes = np.array(STRUCTURES)[class_indices(labels.frames[[heart.ed, heart.es]], STRUCTURES, STAND_INS)]
    ml = np.array([[(frame == s).sum() * labels.voxel_ml for s in wanted] for frame in codes])
    if not ml.all():
        raise InputError("expected LV, RV and myocardium drawn at end-diastole and end-systole; leave the case out")
    lv, rv, wall = ml.T
    return [*ml.ravel(), *(1 - ml[1] / ml[0]), *(lv / rv), *(wall / lv)]


def collect(cases: Sequence[Case], side: int, spacing_mm: float) -> Inputs:
    """Everything that training needs, around the centre of the expert's labels.

    Raises:
        InputError: a case is of no ACDC class, or has no labelled cine with ED and ES, or fewer than six slices.
    """
    stacks, labels, classes, features = [], [], [], []
    for case in cases:
        series, drawn = case.study.get(Role.CINE), case.labels.get(Role.CINE)
        if case.group not in CLASSES or series is None or drawn is None:
            raise InputError(f"{case.id}: expected a labelled cine of class {', '.join(CLASSES)}; leave the case out")
        if (found := drawn.voxels.shape[-3]) < SLICES:
            raise InputError(f"{case.id}: expected {SLICES} slices or more, found {found}; leave the case out")
        heart = find_heart(series, drawn)
        stacks.append(read_stack(series.image, heart, side, spacing_mm))
        labels.append(read_labels(drawn, heart, side, spacing_mm))
        classes.append(CLASSES.index(case.group))
        features.append(cardiac_features(drawn, heart))
    return Inputs(stacks, labels, torch.tensor(classes), torch.tensor(features, dtype=torch.float32))


def channels(stacks: Tensor) -> Tensor:
    """What the network reads (B, 3, Z, H, W): ED, ED - ES, ES of stacks (B, 2, Z, H, W)."""
    ed, es = stacks.unbind(1)
    return torch.stack([ed, ed - es, es], 1)


def batch(
    inputs: Inputs, size: int, side: int, spacing_mm: float, changes: Augmentation, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of six consecutive slices of random cases; the same seed gives the same batch.

    Returns:
        Stacks (B, 2, 6, side, side), labels of the same shape (int64) and the positions (B,) of their cases.
    """
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(inputs.stacks), (size,), generator=rng)
    starts = [int(torch.randint(inputs.stacks[i].shape[1] - SLICES + 1, (1,), generator=rng)) for i in chosen]
    pairs = list(zip(chosen.tolist(), starts, strict=True))
    stacks = torch.stack([inputs.stacks[i][:, z : z + SLICES] for i, z in pairs])
    labels = torch.stack([inputs.labels[i][:, z : z + SLICES] for i, z in pairs])

    def spread(width: float, *shape: int) -> Tensor:
        return (torch.rand((size, *shape), generator=rng) * 2 - 1) * width

    full = stacks.shape[-1]
    angle, zoom = torch.deg2rad(spread(changes.rotation_degrees)), 1 + spread(changes.zoom)
    shift = spread(changes.shift_mm, 2) * 2 / (full * spacing_mm)
    cos, sin = torch.cos(angle) * side / full / zoom, torch.sin(angle) * side / full / zoom
    affine = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(affine, [size, 1, side, side], align_corners=False)
    pixels = F.grid_sample(stacks.flatten(1, 2), grid, align_corners=False).unflatten(1, (2, SLICES))
    codes = F.grid_sample(labels.flatten(1, 2).float(), grid, mode="nearest", align_corners=False)
    pixels = pixels * (1 + spread(changes.contrast, 1, 1, 1, 1)) + spread(changes.contrast, 1, 1, 1, 1)
    pixels = pixels + torch.randn(pixels.shape, generator=rng) * changes.noise
    return pixels, codes.long().unflatten(1, (2, SLICES)), chosen
