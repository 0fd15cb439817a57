"""Scar on late enhancement and edema on T2: volume, mass, share of the LV myocardium.

Infarct includes no-reflow, which lies inside it. Per cent are of all LV myocardium labelled in the stack.

Source: Ibanez et al. 2019, JACC expert panel, doi:10.1016/j.jacc.2019.05.024.
"""

import numpy as np

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.function import DENSITY_G_ML, label_volume_ml
from myoscope.measure.results import T2, Lge
from myoscope.volume import Spacing

EDEMA = (Structure.EDEMA, *SCAR)
"""Edema as it is reported: on a joint map of several sequences an infarct lies inside its edema."""


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


def t2_extent(labels: np.ndarray, spacing_mm: Spacing) -> tuple[T2, dict[str, str]]:
    """Edema from T2 labels (Z, Y, X), infarct included; returns as `lge_extent`."""
    whole, edema = (float(label_volume_ml(labels[None], s, spacing_mm)[0]) for s in (LV_WALL, EDEMA))
    if not whole:
        return no_t2("no LV myocardium in the labels")
    return T2(edema_ml=edema, edema_g=edema * DENSITY_G_ML, edema_percent=100 * (edema / whole)), {}


def no_lge(reason: str) -> tuple[Lge, dict[str, str]]:
    """Nothing measured on late enhancement, for one reason."""
    return Lge(), dict.fromkeys(Lge.model_fields, reason)


def no_t2(reason: str) -> tuple[T2, dict[str, str]]:
    """Nothing measured on T2, for one reason."""
    return T2(), dict.fromkeys(T2.model_fields, reason)
