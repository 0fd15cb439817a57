"""Closed contours to masks, and nested contours to labels."""

from collections.abc import Mapping, Sequence

import numpy as np

from myoscope.labels import Structure

ENDO, EPI, RV, SCAR, NO_REFLOW, EDEMA = "endo", "epi", "rv", "scar", "no-reflow", "edema"
"""What a contour encloses: LV cavity, LV cavity with its wall, and so on."""

Outlines = Mapping[str, Sequence[np.ndarray]]
"""For each kind of contour its closed lines in one slice, (n, 2): column, row; whole numbers are voxel centres."""


def fill(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The voxels whose centres lie inside a closed line: bool, of `shape` (rows, columns).

    >>> fill(np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 1.5], [0.5, 1.5]]), (3, 4)).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros(shape, bool)
    x0, y0 = points.T
    x1, y1 = np.roll(points, -1, axis=0).T
    columns = np.arange(shape[1])
    for row in range(max(int(np.ceil(y0.min())), 0), min(int(np.floor(y0.max())) + 1, shape[0])):
        crosses = (y0 <= row) != (y1 <= row)
        at = x0[crosses] + (row - y0[crosses]) * (x1 - x0)[crosses] / (y1 - y0)[crosses]
        mask[row] = (at[:, None] > columns).sum(axis=0) % 2 == 1
    return mask


def labels_of(outlines: Outlines, shape: tuple[int, int]) -> np.ndarray:
    """`Structure` codes of one slice, uint8: the wall is what lies between endo and epi; scar and edema lie in it."""
    masks = {
        kind: np.any([fill(line, shape) for line in lines], axis=0) for kind, lines in outlines.items() if len(lines)
    }
    nothing = np.zeros(shape, bool)
    endo, epi = masks.get(ENDO, nothing), masks.get(EPI, nothing)
    wall = epi & ~endo
    labels = np.zeros(shape, np.uint8)
    labels[masks.get(RV, nothing)] = Structure.RV
    labels[wall] = Structure.MYOCARDIUM
    labels[endo] = Structure.LV
    for kind, structure in (
        (EDEMA, Structure.EDEMA),
        (SCAR, Structure.INFARCT),
        (NO_REFLOW, Structure.NO_REFLOW),
    ):
        labels[masks.get(kind, nothing) & wall] = structure
    return labels
