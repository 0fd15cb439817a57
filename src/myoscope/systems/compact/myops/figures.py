"""Contours of a joint map beside the expert's, as the MyoPS paper's Figures 4 and 5 have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.lab.pages import save_svg
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.report.figures import crop, to_grey
from myoscope.segment.joint import joint_channels
from myoscope.study import Case, Role
from myoscope.volume import Volume

COLUMNS: dict[str, tuple[tuple[Structure, ...], Role]] = {
    "LV blood pool": ((Structure.LV,), Role.BSSFP),
    "RV blood pool": ((Structure.RV,), Role.BSSFP),
    "normal myocardium": ((Structure.MYOCARDIUM,), Role.BSSFP),
    "edema": ((Structure.EDEMA,), Role.T2),
    "scar": (SCAR, Role.LGE),
}
"""What each column outlines, and on which sequence: the paper's."""

SLICES = 3
TRUE, FOUND = "#ffd54a", "#38d1ff"
PHANTOM_SEED = 5


def best_and_worst(rows: Sequence[Mapping[str, Any]], system: str) -> list[Mapping[str, Any]]:
    """The rows of a system's cases with the best and the worst mean of both Dice; one where there is no other."""
    mine = sorted(
        (row for row in rows if row["system"] == system), key=lambda row: row["scar dice"] + row["scar + edema dice"]
    )
    return [mine[-1], *mine[:1]] if len(mine) > 1 else mine


def write_phantom(model: Any, path: Path) -> None:
    """A model on a synthetic heart that no training sees: safe to publish."""
    from myoscope.datasets.phantom import KEPT_ASIDE, sample
    from myoscope.systems.compact.myops.training import joint_phantom

    case = joint_phantom(sample(PHANTOM_SEED, KEPT_ASIDE, "MINF"), bssfp=True)
    write_contours(case, next(iter(model.predict(case.study).values())), path)


def write_contours(case: Case, found: Volume, path: Path) -> None:
    """Expert's and found contours of five structures on three slices with heart, on the sequence that shows each.

    Args:
        case: With all three sequences, and labels on the grid of the joint map.
        found: The joint map.
        path: SVG or PNG. Of a patient's case it is not for the repository.
    """
    from matplotlib.figure import Figure

    first, images = joint_channels(case.study)
    truth, labels = case.labels[first.role].frames[0], found.frames[0]
    heart = np.isin(truth, (Structure.LV, *LV_WALL))
    shown = np.flatnonzero(heart.any((1, 2)))
    shown = shown[np.unique(np.linspace(0, len(shown) - 1, SLICES + 2).round().astype(int)[1:-1])]
    drawn = heart | (truth == Structure.RV)
    window = crop(drawn[None], heart.shape[1:], found.spacing_mm[1:])
    figure = Figure(figsize=(2.1 * len(COLUMNS), 2.1 * len(shown) + 0.3), layout="constrained", dpi=100)
    for z, line in zip(shown, figure.subplots(len(shown), len(COLUMNS), squeeze=False), strict=True):
        for (title, (structures, role)), axes in zip(COLUMNS.items(), line, strict=True):
            axes.imshow(to_grey(images[role][z][window], heart[z][window]), cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            axes.set_title(title, fontsize=9)
            for codes, colour, dash in ((truth, TRUE, "solid"), (labels, FOUND, "dashed")):
                mask = np.isin(codes[z][window], structures)
                if mask.any() and not mask.all():
                    axes.contour(mask, [0.5], colors=colour, linestyles=dash, linewidths=1)
    figure.suptitle("yellow: drawn; blue, dashed: found", fontsize=8)
    save_svg(figure, path)
