"""How much measurements change when the same hearts are shifted, turned, rescaled or cropped.

python benchmarks/invariance.py ../shared/data docs/results/invariance.md
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track
from scipy import ndimage

from myoscope.analysis import SYSTEM_FOR, _model
from myoscope.datasets import case_folders, layout_of
from myoscope.labels import LV_WALL, Structure
from myoscope.study import Role, Series
from myoscope.volume import Volume

CASES = {"acdc": 5, "emidec": 5}
"""So many cases of each set, evenly over it."""

REGIONS = {
    "LV cavity": (Structure.LV,),
    "myocardium": LV_WALL,
    "RV cavity": (Structure.RV,),
    "infarct": (Structure.INFARCT, Structure.NO_REFLOW),
}
LEAST_ML = 5.0
"""Smaller volumes are not compared."""

FACTOR = 1.15


def pad(image: Volume) -> Volume:
    """A larger field of view, the heart far from its middle."""
    by = [round(80 / mm) for mm in image.spacing_mm[1:]]
    return _resized(image, np.pad(image.frames, ((0, 0), (0, 0), (by[0], 0), (0, by[1]))))


def crop(image: Volume) -> Volume:
    """The middle of the image only, three quarters of each side."""
    y, x = (n // 8 for n in image.frames.shape[2:])
    return _resized(image, image.frames[:, :, y:-y, x:-x])


def turn(image: Volume) -> Volume:
    """Turned by 20 degrees in plane."""
    return _resized(image, ndimage.rotate(image.frames, 20, (3, 2), reshape=False, order=1, mode="nearest"))


def finer(image: Volume) -> Volume:
    """Interpolated onto smaller pixels."""
    return _rescaled(image, 1.4)


def coarser(image: Volume) -> Volume:
    """Interpolated onto larger pixels."""
    return _rescaled(image, 0.75)


def larger(image: Volume) -> Volume:
    """The same pixels called larger: a heart that is larger in plane."""
    affine = image.affine.copy()
    affine[:3, :2] *= FACTOR
    return replace(image, affine=affine)


def other_scale(image: Volume) -> Volume:
    """Other units of signal."""
    return image.with_voxels(image.voxels * 3.7 + 200)


def reverse(image: Volume) -> Volume:
    """Slices in the opposite order."""
    return image.with_voxels(image.voxels[..., ::-1, :, :].copy())


def _resized(image: Volume, frames: np.ndarray) -> Volume:
    return replace(image, voxels=frames if image.voxels.ndim == 4 else frames[0])


def _rescaled(image: Volume, factor: float) -> Volume:
    affine = image.affine.copy()
    affine[:3, :2] /= factor
    return replace(_resized(image, ndimage.zoom(image.frames, (1, 1, factor, factor), order=1)), affine=affine)


TRANSFORMS: dict[str, tuple[Callable[[Volume], Volume], float]] = {
    "80 mm added on two sides": (pad, 1.0),
    "middle three quarters": (crop, 1.0),
    "turned by 20 degrees": (turn, 1.0),
    "1.4 times as many pixels a side": (finer, 1.0),
    "0.75 times as many pixels a side": (coarser, 1.0),
    f"heart {FACTOR} times as large in plane": (larger, FACTOR**2),
    "signal times 3.7 plus 200": (other_scale, 1.0),
    "slices in opposite order": (reverse, 1.0),
}
"""What is done to an image, and by what factor volumes should change."""


def volumes_ml(series: Series, image: Volume) -> dict[str, float]:
    """Volume of every region of REGIONS in a series with another image, frames added up."""
    found = _model(SYSTEM_FOR[series.role]).segment(replace(series, image=image)).labels
    return {name: float(np.isin(found.frames, s).sum()) * found.voxel_ml for name, s in REGIONS.items()}


def changes_percent(series: Series) -> dict[tuple[str, str], float]:
    """Change of each region's volume under each transform, against what it should be."""
    plain = volumes_ml(series, series.image)
    result = {}
    for name, (transform, factor) in TRANSFORMS.items():
        found = volumes_ml(series, transform(series.image))
        for region, ml in plain.items():
            if ml >= LEAST_ML:
                result[name, region] = 100 * (found[region] / factor / ml - 1)
    return result


def main() -> None:
    root, page = Path(sys.argv[1]), Path(sys.argv[2])
    lines = ["# What shifts, turns, scales and crops change", "", "Written by `python benchmarks/invariance.py`"]
    lines[-1] += ": median absolute change of a volume, with the largest in brackets, against the image as it is."
    for data, count in CASES.items():
        folders = case_folders(root / data)
        chosen = folders[:: len(folders) // count][:count]
        series = [layout_of(folder).read_study(folder).series[0] for folder in chosen]
        found = [changes_percent(one) for one in track(series, data)]
        regions = [r for r in REGIONS if any(region == r for one in found for _, region in one)]
        role = Role(series[0].role)
        lines += ["", f"## {count} cases of {data} ({role})", "", f"| image | {' | '.join(regions)} |"]
        lines.append("|---" * (len(regions) + 1) + "|")
        for name in TRANSFORMS:
            cells = []
            for region in regions:
                values = np.abs([one[name, region] for one in found if (name, region) in one])
                cells.append(f"{np.median(values):.1f} % ({values.max():.0f})" if len(values) else "-")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    page.write_text("\n".join(lines) + "\n")
    print(page.read_text())


if __name__ == "__main__":
    main()
