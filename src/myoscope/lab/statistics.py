"""Statistics that several results pages give: summaries, intervals, paired tests; on scipy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DRAWS = 2000
"""Bootstrap draws behind an interval."""


def summary(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation (of these values, not of a population) and number of what is finite; JSON.

    >>> summary([1.0, 3.0, float("nan")])
    {'mean': 2.0, 'sd': 1.0, 'n': 2}
    >>> summary([])
    {'mean': None, 'sd': None, 'n': 0}
    """
    found = np.asarray(values, float)
    found = found[np.isfinite(found)]
    if not len(found):
        return {"mean": None, "sd": None, "n": 0}
    return {"mean": float(found.mean()), "sd": float(found.std()), "n": len(found)}


def interval(
    values: Sequence[float] | np.ndarray, groups: Sequence[str] | np.ndarray | None = None, draws: int = DRAWS
) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles) of the mean; the same values, the same interval.

    Args:
        values: (n,).
        groups: (n,), what is drawn together: a patient's scans, or answers in several splits; default: each alone.
        draws: Resamples.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, float)
    member = np.arange(len(values)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, counts = np.bincount(member, values), np.bincount(member).astype(float)
    if len(sums) < 2:  # nothing to draw from
        return float(values.mean()), float(values.mean())

    def mean(some: np.ndarray, of: np.ndarray, axis: int = -1) -> np.ndarray:
        return some.sum(axis) / of.sum(axis)

    rng = np.random.default_rng(0)
    found = bootstrap((sums, counts), mean, paired=True, n_resamples=draws, method="percentile", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share of n patients, in per cent (doi:10.1080/01621459.1927.10502953).

    The share may be a mean over several dealings; scipy's takes whole numbers of patients only.
    """
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(100 * (middle - half)), float(100 * (middle + half))


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> np.ndarray:
    """First minus second for every case that both have, in order of the cases' names."""
    return np.array([first[case] - second[case] for case in sorted(set(first) & set(second))], float)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where there is no difference at all."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    result, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        result[i] = least
    return result
