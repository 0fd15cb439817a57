"""A slice a line: the image, the labels drawn in it and those found, side by side, as the papers show their samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from myoscope.lab.pages import save_svg
from myoscope.labels import LV_WALL, Structure
from myoscope.report.figures import crop, to_grey
from myoscope.study import Case, Role

OUTLINED = (Structure.LV, Structure.MYOCARDIUM, Structure.INFARCT, Structure.NO_REFLOW)

Line = tuple[Case, int, Mapping[str, np.ndarray]]
"""A case, a slice of it, and label maps (Z, Y, X) by what found them."""


def phantoms(count: int, first_seed: int) -> list[Case]:
    """Synthetic hearts with infarct, LGE, of the settings that no training sees: safe to publish."""
    from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample

    return [draw(sample(first_seed + i, KEPT_ASIDE, "MINF"), [Role.LGE], frames=1) for i in range(count)]


def with_most(case: Case, structures: Sequence[Structure], count: int = 1) -> list[int]:
    """The slices with most of some structures in a case's labels of LGE, in order of the stack."""
    areas = np.isin(case.labels[Role.LGE].frames[0], structures).sum((1, 2))
    return sorted(np.argsort(-areas, kind="stable")[:count].tolist())


def write_panels(lines: Sequence[Line], path: Path) -> None:
    """Write the slices as SVG or PNG, close around the heart. Of a patient's case it is not for the repository."""
    from matplotlib.figure import Figure

    columns = 2 + len(lines[0][2])
    figure = Figure(figsize=(2.1 * columns, 2.3 * len(lines)), layout="constrained", dpi=100)
    for axes_of, (case, z, found) in zip(figure.subplots(len(lines), columns, squeeze=False), lines, strict=True):
        grid, truth = case.study.get(Role.LGE).image, case.labels[Role.LGE].frames[0]  # type: ignore[union-attr]
        window = crop(np.isin(truth, LV_WALL)[None, z : z + 1], truth.shape[1:], grid.spacing_mm[1:])
        grey = to_grey(grid.frames[0][z])[window]
        panels = {"image": None, "expert" if case.data_set else "true": truth, **found}
        for axes, (title, labels) in zip(axes_of, panels.items(), strict=True):
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            axes.set_title(title, fontsize=9)
            for structure in OUTLINED:
                mask = None if labels is None else labels[z][window] == structure
                if mask is not None and mask.any() and not mask.all():
                    axes.contour(mask, [0.5], colors=structure.colour, linewidths=1)
    save_svg(figure, path)
