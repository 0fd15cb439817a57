"""Whether an image given as late enhancement looks like one: how bright wall and surroundings are beside the blood.

In a bSSFP cine blood outshines the wall and most of what surrounds the heart; in late enhancement it does not. In
T2-weighted images with dark blood the wall outshines the blood. Limits of our own, docs/results/lge-look.md.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import Anatomy
from myoscope.measure.results import Flag
from myoscope.study import Role

AS_CINE = 0.52
"""Below this the geometric mean of `bright` and `around` is a cine's: none of 105 LGE stacks has less than 0.54."""

AS_T2 = 1.1
"""Above this `wall` is that of an image with dark blood: none of 105 LGE stacks has more than 1.03."""

AROUND_MM = (2.0, 12.0)
"""Surroundings of the heart: so far from the epicardium."""

LEAST_VOXELS = 60
"""A slice with less cavity or wall says nothing."""


class Contrast(NamedTuple):
    """Signals in shares of the blood's, medians over slices; 0 is the darkest 2 % of the image.

    `wall` is the median of the LV's wall, `bright` its 95th percentile, `around` the median around the heart.
    """

    wall: float
    bright: float
    around: float

    @property
    def as_cine(self) -> bool:
        """Whether blood outshines wall and surroundings as in a cine."""
        return float(np.sqrt(max(self.bright, 0.0) * max(self.around, 0.0))) < AS_CINE


def contrast(heart: Anatomy, image: np.ndarray) -> Contrast | None:
    """Signals of the wall and around the heart beside the blood's; None where no slice shows enough of them.

    Args:
        heart: The heart in the labels.
        image: The frame (Z, Y, X) that they were drawn on.
    """
    found = list(_slices(heart, image))
    return Contrast(*np.median(found, axis=0).tolist()) if found else None


def _slices(heart: Anatomy, image: np.ndarray) -> Iterator[tuple[float, float, float]]:
    row_mm, column_mm = heart.spacing_mm[1:]
    for labels, signal in zip(heart.labels, image, strict=True):
        wall, blood = np.isin(labels, LV_WALL), labels == Structure.LV
        body = signal[signal > signal.min()]
        if min(wall.sum(), blood.sum()) < LEAST_VOXELS:
            continue
        away_mm = ndimage.distance_transform_edt(~(wall | blood), sampling=(row_mm, column_mm))
        ring = (away_mm > AROUND_MM[0]) & (away_mm <= AROUND_MM[1])
        dark, bloods = np.percentile(body, 2), np.median(signal[blood])
        if bloods > dark and ring.any():
            signals = np.median(signal[wall]), np.percentile(signal[wall], 95), np.median(signal[ring])
            yield tuple((float(one) - dark) / (bloods - dark) for one in signals)


def contrast_flags(heart: Anatomy | None, image: np.ndarray | None) -> list[Flag]:
    """A warning on late enhancement that looks like something else."""
    found = contrast(heart, image) if heart is not None and image is not None else None
    if found is None or not (found.as_cine or found.wall > AS_T2):
        return []
    like = (
        f"wall and surroundings are dark beside the blood (brightest wall {100 * found.bright:.0f} %, around the heart "
        f"{100 * found.around:.0f} % of it), as in a cine. A heart without scar can look so too"
        if found.as_cine
        else f"the blood is darker than the wall ({100 * found.wall:.0f} % of it), as in a T2-weighted image"
    )
    message = f"This may be no late enhancement: {like}. If it is none, no number and no class from it means anything."
    return [Flag(code="not_like_lge", level="warning", series=Role.LGE, message=message)]
