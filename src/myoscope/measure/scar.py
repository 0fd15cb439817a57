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


def t2_extent(labels: np.ndarray, spacing_mm: Spacing, with_lge: bool) -> tuple[T2, dict[str, str]]:
    """Edema from labels (Z, Y, X), infarct included; returns as `lge_extent`.

    The salvage index is (area at risk - infarct) / area at risk (J Cardiovasc Magn Reson 12 Suppl 1 P226), edema with
    infarct taken for the area at risk. For research only: an expert panel does not recommend it (Ibanez et al. 2019),
    and the extent of T2 follows the infarct, not the area at risk (Kim HW et al. 2015, PMC4503326).

    Args:
        labels: `Structure` codes.
        spacing_mm: Of the labels.
        with_lge: Whether LGE shows the infarct; without it there is no salvage index.
    """
    whole, edema, infarct = (
        float(label_volume_ml(labels[None], structures, spacing_mm)[0]) for structures in (LV_WALL, EDEMA, SCAR)
    )
    if not whole:
        return no_t2("no LV myocardium in the labels")
    found = T2(
        edema_ml=edema,
        edema_g=edema * DENSITY_G_ML,
        edema_percent=100 * (edema / whole),
        salvage_index_percent=100 * (1 - infarct / edema) if edema and with_lge else None,
    )
    reason = "no edema" if with_lge else "infarct is measured on LGE, which was not segmented together with T2"
    return found, {} if edema and with_lge else {"salvage_index_percent": reason}


def no_lge(reason: str) -> tuple[Lge, dict[str, str]]:
    """Nothing measured on late enhancement, for one reason."""
    return Lge(), dict.fromkeys(Lge.model_fields, reason)


def no_t2(reason: str) -> tuple[T2, dict[str, str]]:
    """Nothing measured on T2, for one reason."""
    return T2(), dict.fromkeys(T2.model_fields, reason)
