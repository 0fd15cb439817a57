"""The scar sheet: core and border zone by three definitions, thresholds as a second opinion, viability, territories.

Signal is looked at inside the LV wall that the labels show, in the slices in which they show infarct, for a threshold
finds "scar" in noise where there is none. Limits are taken slice by slice, since images may be scaled slice by slice.
Remote myocardium is a slice's darkest sector (`remote_mask`), no-reflow left out; its maximum is looked for where it
touches neither border of the wall, as in a region that an observer draws. No-reflow is dark: no threshold finds it, and
it counts as core.

A slice does not fit a definition where limits are the wrong way round, or border zone would begin at or below the mean
of remote myocardium: normal myocardium would be counted. Such slices are left out, and told, as long as the others hold
90 % of the infarct; else the definition gives nothing. Counting them as zero would make a small border zone of what
cannot be measured.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.anatomy import SEGMENTS, TERRITORIES, Anatomy
from myoscope.measure.function import DENSITY_G_ML
from myoscope.measure.results import BorderZone, ScarSheet
from myoscope.measure.segments import segment_share
from myoscope.measure.thresholds import n_sd, otsu, remote_mask, scar_above

FITTING_SHARE = 0.9
"""Slices that fit a definition must hold this share of the infarct."""

MIN_INNER = 5
"""So many voxels away from the wall's borders say what remote myocardium's maximum is; with fewer, all of it does."""


class Remote(NamedTuple):
    """Signal of remote myocardium in a slice, shape (n,): all of it, and what touches no border of the wall."""

    signal: np.ndarray
    inner: np.ndarray


Limits = Callable[[Remote, float], tuple[float, float]]
"""From remote myocardium and the infarct's maximum in a slice: where border and core begin."""


class Definition(NamedTuple):
    """How core and border zone are told apart, in words, and where that comes from."""

    limits: Limits
    words: str
    source: str


def above(remote: Remote, n: float) -> float:
    """Signal n standard deviations above the mean of remote myocardium."""
    return float(remote.signal.mean() + n * remote.signal.std())


DEFINITIONS = {
    "sd_2_5": Definition(
        lambda remote, _: (above(remote, 2), above(remote, 5)),
        "border: more than 2 and up to 5 SD above the mean of remote myocardium; core: more than 5 SD",
        "limits in SD above remote: Bondarenko et al. 2005, doi:10.1081/JCMR-200053623; other pairs are in use too",
    ),
    "fwhm": Definition(
        lambda remote, peak: (float(remote.inner.max()), peak / 2),
        "border: above the maximum of remote myocardium (borders of the wall aside), up to half of the infarct's "
        "maximum; core: above that half",
        "after Schmidt et al. 2007, doi:10.1161/CIRCULATIONAHA.106.653568 (not read here)",
    ),
    "percent_40_60": Definition(
        lambda _, peak: (0.4 * peak, 0.6 * peak),
        "border: more than 40 and up to 60 % of the infarct's maximum; core: more than 60 %",
        "described in doi:10.1016/j.hrthm.2022.05.021",
    ),
}

THRESHOLDS = {"sd_2": n_sd(2), "sd_3": n_sd(3), "sd_5": n_sd(5), "sd_6": n_sd(6), "otsu": otsu}

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
    slices = [Slice.of(image[z], tissue[z], wall[z], infarct[z]) for z in np.flatnonzero(infarct.any(axis=(1, 2)))]
    missing, zones = dict[str, str](), dict[str, BorderZone]()
    for name, definition in DEFINITIONS.items():
        zone = border_zone(slices, definition.limits)
        if isinstance(zone, str):
            missing[f"scar_sheet.{name}"] = zone
            continue
        core, border = zone.core + int(no_reflow.sum()), zone.border
        zones[name] = BorderZone(
            core_g=core * gram,
            border_g=border * gram,
            core_percent=100 * core / int(wall.sum()),
            border_percent=100 * border / int(wall.sum()),
            slices_left_out=zone.left_out,
            definition=definition.words,
            source=definition.source,
        )
    if heart.reason:
        missing |= {f"scar_sheet.{name}": heart.reason for name in BY_SEGMENT}
    found = {
        f"{name}_percent": 100 * int(scar_above(image, tissue, threshold).sum()) / int(wall.sum())
        for name, threshold in THRESHOLDS.items()
    }
    half = border_zone(slices, lambda _, peak: (peak / 2, peak), of_wall=True)
    if isinstance(half, str):
        missing["scar_sheet.fwhm_percent"] = half
    else:
        found["fwhm_percent"] = 100 * (half.core + half.border) / int(wall.sum())
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


class Slice(NamedTuple):
    """A slice with infarct: signal of its tissue (n,), whether each is labelled infarct, and remote myocardium."""

    signal: np.ndarray
    infarct: np.ndarray
    remote: Remote

    @classmethod
    def of(cls, image: np.ndarray, tissue: np.ndarray, wall: np.ndarray, infarct: np.ndarray) -> "Slice":
        """From a slice (Y, X) of the image, the wall without and with no-reflow, and the infarct."""
        remote = remote_mask(image, tissue)
        inner = remote & ndimage.binary_erosion(wall)
        inner = inner if inner.sum() >= MIN_INNER else remote
        return cls(image[tissue], infarct[tissue], Remote(image[remote], image[inner]))


class Zone(NamedTuple):
    """Voxels of core and border zone, and how many slices were left out."""

    core: int
    border: int
    left_out: int


def border_zone(slices: Sequence[Slice], limits: Limits, of_wall: bool = False) -> Zone | str:
    """Core and border zone in the slices that a definition fits, or why it fits too few.

    Args:
        slices: Those with infarct.
        limits: Of the definition.
        of_wall: Whether the maximum is the wall's rather than the infarct's.
    """
    core, border, unfit, lost = 0, 0, 0, 0
    for signal, infarct, remote in slices:
        low, high = limits(remote, float((signal if of_wall else signal[infarct]).max()))
        if not float(remote.signal.mean()) < low <= high:
            unfit, lost = unfit + 1, lost + int(infarct.sum())
            continue
        core += int((signal > high).sum())
        border += int(((signal > low) & (signal <= high)).sum())
    share = lost / sum(int(one.infarct.sum()) for one in slices)
    if share > 1 - FITTING_SHARE:
        return (
            f"normal myocardium is too bright for this definition in {unfit} of {len(slices)} slices, which hold "
            f"{100 * share:.0f} % of the infarct"
        )
    return Zone(core, border, unfit)
