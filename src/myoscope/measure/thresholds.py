"""Scar by signal thresholds inside the LV wall, slice by slice, as clinics measure it today.

Thresholds differ from slice to slice, since images may be scaled slice by slice. None of them finds no-reflow, which is
dark. Which to use is a matter of debate: Flett et al. 2011, doi:10.1016/j.jcmg.2010.11.015.
"""

from collections.abc import Callable

import numpy as np

SECTORS = 6
"""The wall of a slice is cut into so many sectors around its centre; the darkest is taken for remote myocardium."""

BINS = 256

Threshold = Callable[[np.ndarray, np.ndarray], float]
"""From the signal (n,) of a slice's wall, and the part of it (m,) that is remote myocardium."""


def scar_above(image: np.ndarray, wall: np.ndarray, threshold: Threshold) -> np.ndarray:
    """What of the wall is brighter than each slice's threshold.

    Args:
        image: Late enhancement (Z, Y, X).
        wall: The LV myocardium, bool, same shape.
        threshold: `n_sd(n)`, `fwhm` or `otsu`.

    Returns:
        Scar, bool, same shape; nothing where a slice has no wall.
    """
    scar = np.zeros_like(wall)
    for z in np.flatnonzero(wall.any(axis=(1, 2))):
        limit = threshold(image[z][wall[z]], remote_signal(image[z], wall[z]))
        scar[z] = wall[z] & (image[z] > limit)
    return scar


def remote_signal(image: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Signal of the wall's darkest sector in a slice (Y, X), by its mean; without a look at any label of scar."""
    return image[remote_mask(image, wall)]


def remote_mask(image: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Where the wall's darkest sector lies in a slice, bool (Y, X); nothing where there is no wall."""
    y, x = np.nonzero(wall)
    mask = np.zeros_like(wall)
    if len(y):
        angle = np.arctan2(y - y.mean(), x - x.mean())
        sector = np.minimum(((angle + np.pi) / (2 * np.pi) * SECTORS).astype(int), SECTORS - 1)
        darkest = min(np.unique(sector), key=lambda i: image[y, x][sector == i].mean())
        mask[y[sector == darkest], x[sector == darkest]] = True
    return mask


def n_sd(n: float) -> Threshold:
    """Threshold n standard deviations above the mean of remote myocardium.

    Source: Bondarenko et al. 2005, doi:10.1081/JCMR-200053623.
    """

    def above_remote(_: np.ndarray, remote: np.ndarray) -> float:
        return float(remote.mean() + n * remote.std())

    return above_remote


def fwhm(wall: np.ndarray, _: np.ndarray) -> float:
    """Half of the wall's maximal signal (full width at half maximum).

    It supposes that there is scar: where there is none it marks normal myocardium.

    Source: Amado et al. 2004, doi:10.1016/j.jacc.2004.09.020.
    """
    return float(wall.max()) / 2


def otsu(wall: np.ndarray, _: np.ndarray) -> float:
    """Threshold that leaves the least variance within what lies above and below it; the signal itself if constant.

    Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    counts, edges = np.histogram(wall, BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = len(wall) - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(between)]) if wall.min() < wall.max() else float(wall.max())
