"""How well two measurements of the same patients agree: Bland-Altman, intraclass and concordance correlation."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval; an end that cannot be estimated is NaN."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """Agreement of ours with a reader's, over `n` patients, in its unit; differences are ours - theirs."""

    n: int
    ours_mean: float
    theirs_mean: float
    bias: Estimate
    sd: float
    lower_limit: Estimate
    upper_limit: Estimate
    icc: Estimate
    concordance: Estimate


def agreement(ours: np.ndarray, theirs: np.ndarray) -> Agreement | None:
    """Agreement over patients, each of shape (n,); None for fewer than three."""
    if len(ours) < 3:
        return None
    d = ours - theirs
    n, sd = len(d), float(d.std(ddof=1))
    t = float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    mean, z = float(d.mean()), 1.96
    of_limit = t * sd * np.sqrt(1 / n + z**2 / (2 * (n - 1)))
    return Agreement(
        n,
        float(ours.mean()),
        float(theirs.mean()),
        Estimate(mean, mean - t * sd / np.sqrt(n), mean + t * sd / np.sqrt(n)),
        sd,
        Estimate(mean - z * sd, mean - z * sd - of_limit, mean - z * sd + of_limit),
        Estimate(mean + z * sd, mean + z * sd - of_limit, mean + z * sd + of_limit),
        icc(ours, theirs),
        concordance(ours, theirs),
    )


def icc(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Intraclass correlation of single measurements, two-way, absolute agreement: ICC(A,1), with its 95 % interval.

    NaN where nothing varies.

    >>> round(icc(np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 4, 5])).value, 4)
    0.7692

    Source:
        McGraw & Wong 1996, doi:10.1037/1082-989X.1.1.30, tables 4 and 7.
    """
    x = np.column_stack([a, b])
    n, k = x.shape
    rows = k * ((x.mean(1) - x.mean()) ** 2).sum() / (n - 1)
    columns = n * ((x.mean(0) - x.mean()) ** 2).sum() / (k - 1)
    rest = x - x.mean(1, keepdims=True) - x.mean(0, keepdims=True) + x.mean()
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    if below <= 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    value = (rows - error) / below
    if error <= 1e-12 * rows:  # no scatter: the interval's formula has no limit
        return Estimate(float(value), float("nan"), float("nan"))
    left, right = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    v = (left * columns + right * error) ** 2 / (
        (left * columns) ** 2 / (k - 1) + (right * error) ** 2 / ((n - 1) * (k - 1))
    )
    high_f, low_f = stats.f.ppf((1 + LEVEL) / 2, n - 1, v), stats.f.ppf((1 + LEVEL) / 2, v, n - 1)
    spread = k * columns + (k * n - k - n) * error
    low = n * (rows - high_f * error) / (high_f * spread + n * rows)
    high = n * (low_f * rows - error) / (spread + n * low_f * rows)
    return Estimate(float(value), float(low), float(high))


def concordance(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Lin's concordance correlation coefficient with its 95 % interval, by Fisher's transformation.

    NaN where nothing varies.

    >>> round(concordance(np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 4, 5])).value, 4)
    0.7143

    Source:
        Lin 1989, doi:10.2307/2532051, with moments over n; the variance as corrected in Lin 2000 (Biometrics 56:324).
    """
    n, va, vb, shift = len(a), float(a.var()), float(b.var()), float(a.mean() - b.mean())
    if va + vb + shift**2 <= 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    covariance = float(((a - a.mean()) * (b - b.mean())).mean())
    c = 2 * covariance / (va + vb + shift**2)
    r = covariance / np.sqrt(va * vb) if va > 0 and vb > 0 else 0.0
    if abs(c) >= 1 or r == 0 or abs(r) >= 1 - 1e-12:
        return Estimate(c, float("nan"), float("nan"))
    u2 = shift**2 / np.sqrt(va * vb)
    variance = (
        (1 - r**2) * c**2 / ((1 - c**2) * r**2)
        + 2 * c**3 * (1 - c) * u2 / (r * (1 - c**2) ** 2)
        - c**4 * u2**2 / (2 * r**2 * (1 - c**2) ** 2)
    ) / (n - 2)
    half = 1.96 * np.sqrt(max(float(variance), 0.0))
    return Estimate(c, float(np.tanh(np.arctanh(c) - half)), float(np.tanh(np.arctanh(c) + half)))
