"""Late enhancement: infarct and no-reflow, whole and by segment.

Infarct includes no-reflow, which lies inside it. Per cent are of all LV myocardium labelled in the stack.

Source: Ibanez et al. 2019, JACC expert panel, doi:10.1016/j.jacc.2019.05.024.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.anatomy import NAMES, Anatomy
from myoscope.measure.function import DENSITY_G_ML, label_volume_ml
from myoscope.measure.results import Lge
from myoscope.measure.scar_sheet import scar_sheet
from myoscope.measure.segments import WallScar, segment_scar
from myoscope.volume import Spacing


@dataclass(frozen=True)
class LgeValues:
    """What late enhancement gives: extent, with the reasons for what it lacks, and scar by segment."""

    lge: tuple[Lge, dict[str, str]]
    scar: Mapping[int, WallScar]


def measure_lge(heart: Anatomy | str, image: np.ndarray | None) -> LgeValues:
    """Measure an LGE frame (Z, Y, X) by its labels and image, or give the one reason why there is none."""
    if isinstance(heart, str) or image is None:
        heart = heart if isinstance(heart, str) else "no LGE series"
        return LgeValues(no_lge(heart), dict.fromkeys(NAMES, WallScar.none(heart)))
    extent, missing = lge_extent(heart.labels, heart.spacing_mm)
    sheet, why = scar_sheet(heart, image)
    return LgeValues((extent.model_copy(update={"scar_sheet": sheet}), why | missing), segment_scar(heart))


def lge_extent(labels: np.ndarray, spacing_mm: Spacing) -> tuple[Lge, dict[str, str]]:
    """Myocardium, infarct and no-reflow from LGE labels (Z, Y, X).

    Returns:
        The measurements, and for every one that is None the reason, by field name.
    """
    whole, infarct, no_reflow = (
        float(label_volume_ml(labels[None], structures, spacing_mm)[0])
        for structures in (LV_WALL, SCAR, [Structure.NO_REFLOW])
    )
    if not whole:
        return no_lge("no LV myocardium in the labels")
    return (
        Lge(
            myocardium_ml=whole,
            myocardium_g=whole * DENSITY_G_ML,
            infarct_ml=infarct,
            infarct_g=infarct * DENSITY_G_ML,
            infarct_percent=100 * (infarct / whole),
            no_reflow_ml=no_reflow,
            no_reflow_g=no_reflow * DENSITY_G_ML,
            no_reflow_percent=100 * (no_reflow / whole),
        ),
        {},
    )


def no_lge(reason: str) -> tuple[Lge, dict[str, str]]:
    """Nothing measured on late enhancement, for one reason."""
    return Lge(), dict.fromkeys(Lge.model_fields, reason)
