"""Edema on T2, whole and by segment. Per cent are of all LV myocardium labelled in the stack."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.anatomy import NAMES, Anatomy
from myoscope.measure.function import DENSITY_G_ML, label_volume_ml
from myoscope.measure.results import T2
from myoscope.measure.segments import segment_share
from myoscope.measure.values import Value
from myoscope.volume import Spacing

EDEMA = (Structure.EDEMA, *SCAR)
"""Edema as it is reported: on a joint map of several sequences an infarct lies inside its edema."""


@dataclass(frozen=True)
class T2Values:
    """What T2 gives, alone or together with LGE: extent, with the reasons for what it lacks, and edema by segment."""

    t2: tuple[T2, dict[str, str]]
    edema: Mapping[int, Value]


def measure_t2(heart: Anatomy | str, with_lge: bool) -> T2Values:
    """Measure a frame in which edema is drawn, or give the one reason why there is none; arguments as `t2_extent`."""
    if isinstance(heart, str):
        return T2Values(no_t2(heart), dict.fromkeys(NAMES, heart))
    return T2Values(t2_extent(heart.labels, heart.spacing_mm, with_lge), segment_share(heart, EDEMA))


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


def no_t2(reason: str) -> tuple[T2, dict[str, str]]:
    """Nothing measured on T2, for one reason."""
    return T2(), dict.fromkeys(T2.model_fields, reason)
