"""The scar sheet: core and border zone by three definitions, thresholds as a second opinion, viability, territories.

Signal is looked at inside the LV wall that the labels show, in the slices in which they show infarct, for a threshold
finds "scar" in noise where there is none. Limits are taken slice by slice, since images may be scaled slice by slice.
Remote myocardium is a slice's darkest sector (`remote_signal`), no-reflow left out. No-reflow is dark: no threshold
finds it, and it counts as core.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.anatomy import SEGMENTS, TERRITORIES, Anatomy
from myoscope.measure.function import DENSITY_G_ML
from myoscope.measure.results import BorderZone, ScarSheet
from myoscope.measure.segments import segment_share
from myoscope.measure.thresholds import fwhm, n_sd, otsu, remote_signal, scar_above

Limits = Callable[[np.ndarray, float], tuple[float, float]]
"""From remote myocardium's signal (n,) and the infarct's maximum in a slice: where border and core begin."""


class Definition(NamedTuple):
    """How core and border zone are told apart, in words, and where that comes from."""

    limits: Limits
    words: str
    source: str


DEFINITIONS = {
    "sd_2_5": Definition(
        lambda remote, _: (float(remote.mean() + 2 * remote.std()), float(remote.mean() + 5 * remote.std())),
        "border: more than 2 and up to 5 SD above the mean of remote myocardium; core: more than 5 SD",
        "limits in SD above remote: Bondarenko et al. 2005, doi:10.1081/JCMR-200053623; other pairs are in use too",
    ),
    "fwhm": Definition(
        lambda remote, peak: (float(remote.max()), peak / 2),
        "border: above the maximum of remote myocardium, up to half of the infarct's maximum; core: above that half",
        "after Schmidt et al. 2007, doi:10.1161/CIRCULATIONAHA.106.653568 (not read here)",
    ),
    "percent_40_60": Definition(
        lambda _, peak: (0.4 * peak, 0.6 * peak),
        "border: more than 40 and up to 60 % of the infarct's maximum; core: more than 60 %",
        "described in doi:10.1016/j.hrthm.2022.05.021",
    ),
}

THRESHOLDS = {"sd_2": n_sd(2), "sd_3": n_sd(3), "sd_5": n_sd(5), "sd_6": n_sd(6), "fwhm": fwhm, "otsu": otsu}

CHRONIC_VIABLE_PERCENT, ACUTE_VIABLE_PERCENT = 50, 75
"""A segment is viable up to this share of scar, in a chronic and in an acute infarct.

Source: Bulluck et al. 2017, doi:10.1038/s41598-017-15353-1.
"""


def scar_sheet(heart: Anatomy, image: np.ndarray) -> tuple[ScarSheet | None, dict[str, str]]:
    """The scar sheet of late enhancement.

    Args:
        heart: The heart in the LGE labels (Z, Y, X).
        image: Late enhancement, same shape.

    Returns:
        The sheet, None where the labels show no infarct; and reasons by the name under `lge`.
    """
    wall, infarct = np.isin(heart.labels, LV_WALL), heart.labels == Structure.INFARCT
    no_reflow = heart.labels == Structure.NO_REFLOW
    if not infarct.any():
        return None, {
            "scar_sheet": "no enhanced infarct in the labels" if wall.any() else "no LV myocardium in the labels"
        }
    if not np.isfinite(image[wall]).all():
        return None, {"scar_sheet": "voxels of the LV myocardium have no number"}
    gram = float(np.prod(heart.spacing_mm)) / 1000 * DENSITY_G_ML
    tissue = wall & ~no_reflow & infarct.any(axis=(1, 2))[:, None, None]
    missing, zones = dict[str, str](), dict[str, BorderZone]()
    for name, definition in DEFINITIONS.items():
        zone = border_zone(image, tissue, infarct, definition.limits)
        if isinstance(zone, str):
            missing[f"scar_sheet.{name}"] = zone
            continue
        core, border = int((zone[0] | no_reflow).sum()), int(zone[1].sum())
        zones[name] = BorderZone(
            core_g=core * gram,
            border_g=border * gram,
            core_percent=100 * core / int(wall.sum()),
            border_percent=100 * border / int(wall.sum()),
            definition=definition.words,
            source=definition.source,
        )
    if heart.reason:
        missing |= {f"scar_sheet.{name}": heart.reason for name in BY_SEGMENT}
    found = {
        f"{name}_percent": 100 * int(scar_above(image, tissue, threshold).sum()) / int(wall.sum())
        for name, threshold in THRESHOLDS.items()
    }
    half = border_zone(image, tissue, tissue, lambda _, peak: (peak / 2, peak))  # `fwhm` takes the wall's maximum
    if isinstance(half, str):
        del found["fwhm_percent"]
        missing["scar_sheet.fwhm_percent"] = half
    share = 100 * int(no_reflow.sum()) / int((infarct | no_reflow).sum())
    by_segment = {} if heart.reason else _by_segment(heart, gram)
    return ScarSheet.model_validate({**zones, **found, **by_segment, "no_reflow_of_infarct_percent": share}), missing


def _by_segment(heart: Anatomy, gram: float) -> dict[str, Any]:
    """Infarct by territory and viability of the segments; `gram` is the mass of a voxel."""
    grams = np.bincount(heart.codes[np.isin(heart.labels, SCAR)], minlength=SEGMENTS + 1) * gram
    shares = {n: share for n, share in segment_share(heart, SCAR).items() if not isinstance(share, str)}
    likely = [n for n, share in shares.items() if share <= CHRONIC_VIABLE_PERCENT]
    unlikely = [n for n, share in shares.items() if share > ACUTE_VIABLE_PERCENT]
    between = [n for n in shares if n not in likely and n not in unlikely]
    territories = {
        f"infarct_{territory.lower()}_g": float(sum(grams[n] for n, t in TERRITORIES.items() if t == territory))
        for territory in ("LAD", "RCA", "LCX")
    }
    return territories | {
        "infarct_outside_segments_g": float(grams[0]),
        "segments_over_50_percent": len(between) + len(unlikely),
        "viability_likely_segments": likely,
        "viability_intermediate_segments": between,
        "viability_unlikely_segments": unlikely,
    }


BY_SEGMENT: Sequence[str] = (
    *("infarct_lad_g", "infarct_rca_g", "infarct_lcx_g", "infarct_outside_segments_g", "segments_over_50_percent"),
    *(f"viability_{word}_segments" for word in ("likely", "intermediate", "unlikely")),
)


def border_zone(
    image: np.ndarray, tissue: np.ndarray, infarct: np.ndarray, limits: Limits
) -> tuple[np.ndarray, np.ndarray] | str:
    """Core and border zone, bool (Z, Y, X), or why a definition does not fit the image.

    It does not fit where its limits are the wrong way round in a slice, or where border zone would begin at or below
    the mean of remote myocardium: normal myocardium would be counted.
    """
    core, border = np.zeros_like(tissue), np.zeros_like(tissue)
    unfit = 0
    slices = np.flatnonzero(infarct.any(axis=(1, 2)))
    for z in slices:
        remote = remote_signal(image[z], tissue[z])
        low, high = limits(remote, float(image[z][infarct[z]].max()))
        unfit += not float(remote.mean()) < low <= high
        core[z] = tissue[z] & (image[z] > high)
        border[z] = tissue[z] & (image[z] > low) & (image[z] <= high)
    if unfit:
        return (
            f"infarct not bright enough over remote myocardium for this definition in {unfit} of {len(slices)} slices"
        )
    return core, border
