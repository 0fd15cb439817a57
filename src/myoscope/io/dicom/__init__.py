"""DICOM in and out: a scanner's study to a `Study`, and results back onto the frames they came from.

`headers` finds the instances and reads their headers, `stacks` puts frames together by geometry and phase, `roles`
says what each stack shows, `read` makes the `Study`. None of these is imported where the input is NIfTI.
"""

import numpy as np

from myoscope.io.nifti import from_view
from myoscope.study import FileGrid

__all__ = ["on_source_frames"]


def on_source_frames(labels: np.ndarray, grid: FileGrid) -> np.ndarray:
    """A label map of a DICOM series as its source frames hold their pixels.

    The grid's file axes are (column, row, slice), as in a NIfTI file made from DICOM; a Volume in the standard
    short-axis view may have rows and columns exchanged or reversed against them. Frames and slices keep their order.

    Args:
        labels: (Z, Y, X) or (T, Z, Y, X) on the grid of the series' Volume.
        grid: `series.files[0]`.

    Returns:
        (slices, rows, columns) or (T, slices, rows, columns); [t, z] lies on the pixels of `source.images[t][z]`.
    """
    return from_view(labels, grid.axes, grid.flips).T
