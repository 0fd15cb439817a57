"""torchvision beside a torch that its compiled operators were not built for (a CPU-only one): the two it needs here.

The registry's torchvision is built against CUDA. Beside a CPU-only torch `import torchvision` dies with "operator
torchvision::nms does not exist". Where its operators load, nothing is done here. Where they do not, `nms` is
registered in plain PyTorch, and `roi_align` (whose own Python form is slow, and wrong for boxes that reach out of the
image) is replaced by one that samples with `grid_sample`. Written for torchvision 0.28; everything that needs it (the
U-Net++ of segmentation-models-pytorch too) goes through `torchvision_ready`.
"""

import importlib.util
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.errors import InputError


@cache
def torchvision_ready() -> None:
    """Make `import torchvision` work, and Mask R-CNN with it.

    Raises:
        InputError: torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("expected the package torchvision, found none; pip install 'myoscope[ensemble]'")
    if _operators_load(Path(spec.submodule_search_locations[0])):
        return
    operators = torch.library.Library("torchvision", "DEF")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.impl("nms", nms, "CompositeExplicitAutograd")
    _KEPT.append(operators)
    from torchvision.ops import boxes
    from torchvision.ops import roi_align as module  # the function stands for its module of the same name

    boxes._assert_has_ops = lambda: None
    vars(importlib.import_module(module.__module__))["_roi_align"] = roi_align


_KEPT: list[torch.library.Library] = []
"""A library's operators live as long as it does."""


def _operators_load(folder: Path) -> bool:
    try:
        torch.ops.load_library(str(next(folder.glob("_C*.so"), folder / "_C.pyd")))
    except OSError:
        return False
    return True


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: indices of the boxes (N, 4) that are kept, the highest score first."""
    order = scores.argsort(descending=True, stable=True)
    x1, y1, x2, y2 = boxes[order].unbind(1)
    area = (x2 - x1) * (y2 - y1)
    width = (torch.minimum(x2[:, None], x2) - torch.maximum(x1[:, None], x1)).clamp(min=0)
    height = (torch.minimum(y2[:, None], y2) - torch.maximum(y1[:, None], y1)).clamp(min=0)
    both = width * height
    over = both / (area[:, None] + area - both) > iou_threshold
    kept = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    for i in range(len(order)):
        if kept[i]:
            kept[i + 1 :] &= ~over[i, i + 1 :]
    return order[kept]


def roi_align(
    images: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average of bilinear samples in the bins of boxes, as torchvision's compiled operator has it.

    Args:
        images: (N, C, H, W).
        rois: (K, 5): index of the image, x1, y1, x2, y2.
        spatial_scale: From box coordinates to pixels of `images`.
        pooled_height: Bins down a box.
        pooled_width: Bins across a box.
        sampling_ratio: Samples along each side of a bin; below 1, one for each pixel of the bin, rounded up.
        aligned: Whether pixel centres lie at half coordinates.

    Returns:
        (K, C, pooled_height, pooled_width).

    Source:
        He et al. 2017, doi:10.1109/ICCV.2017.322.
    """
    offset = 0.5 if aligned else 0.0
    corners = rois[:, 1:] * spatial_scale - offset
    sides = corners[:, 2:] - corners[:, :2]
    if not aligned:
        sides = sides.clamp(min=1)
    bins = torch.tensor([pooled_width, pooled_height], device=rois.device)
    ratios = torch.full_like(sides, sampling_ratio) if sampling_ratio > 0 else (sides / bins).ceil().clamp(min=1)
    result = images.new_zeros((len(rois), images.shape[1], pooled_height, pooled_width))
    if not len(rois):
        return result
    alike = torch.cat([rois[:, :1], ratios], 1)
    for group in alike.unique(dim=0):
        image, nx, ny = group.long().tolist()
        chosen = (alike == group).all(1).nonzero()[:, 0]
        start, side = corners[chosen], sides[chosen]
        x = _samples(start[:, 0], side[:, 0], pooled_width * nx)
        y = _samples(start[:, 1], side[:, 1], pooled_height * ny)
        values = F.avg_pool2d(_sample(images[image : image + 1], y, x), (ny, nx))
        result = result.index_copy(0, chosen, values)
    return result


def _samples(start: Tensor, side: Tensor, count: int) -> Tensor:
    """Sample coordinates (K, count) along one side of K boxes."""
    return start[:, None] + side[:, None] * (torch.arange(count, device=start.device) + 0.5) / count


def _sample(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values (K, C, Y, X) of an image (1, C, H, W) at pixel coordinates y (K, Y) and x (K, X).

    Up to a pixel outside the image its border goes on; beyond, there is nothing: 0.
    """
    height, width = image.shape[2:]
    inside = ((y >= -1) & (y <= height))[:, :, None] & ((x >= -1) & (x <= width))[:, None]
    grid = torch.stack(
        [
            (x / max(width - 1, 1) * 2 - 1)[:, None].expand(-1, y.shape[1], -1),
            (y / max(height - 1, 1) * 2 - 1)[:, :, None].expand(-1, -1, x.shape[1]),
        ],
        -1,
    )
    values = F.grid_sample(image, grid.flatten(0, 1)[None].to(image), padding_mode="border", align_corners=True)[0]
    return values.unflatten(1, (len(y), -1)).transpose(0, 1) * inside[:, None]
