"""Fitting the classifiers of `diagnose`, and judging them by nested cross-validation.

Everything that is chosen (measurements, strength of the regularisation, whether to learn from the experts' labels too)
is chosen on inner folds, by log loss; the outer folds only judge. Folds are dealt by scan, so that two drawings of one
scan never stand on both sides.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from myoscope.diagnose import distance
from myoscope.lab.folds import FOLDS

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Inverse regularisation strengths to choose from."""

REPEATS = 5
"""Dealings of the outer folds."""

USUAL_SHARE = 0.95
"""Share of unseen training patients within the usual distance."""

LEAST = 1e-9
"""Probabilities are taken for at least this before their logarithm is."""


@dataclass(frozen=True)
class Table:
    """Measurements `x` (n, f) of patients as a classifier takes them, with their classes and scans.

    `sets` are the choices of columns of `x` (named by `keys`) to choose from. `experts` are the same patients measured
    in the experts' labels, which may join training. `without` counts patients who get no diagnosis.
    """

    ids: list[str]
    x: np.ndarray
    y: np.ndarray
    scans: np.ndarray
    keys: list[str]
    classes: Sequence[str]
    sets: Mapping[str, Sequence[int]]
    experts: "Table | None" = None
    without: int = 0

    def rows(self, chosen: np.ndarray, choice: "Choice") -> tuple[np.ndarray, np.ndarray]:
        """Measurements and classes to learn from: of the patients chosen (n,) bool, never of another one's scan."""
        x, y = self.x[chosen], self.y[chosen]
        if choice.experts and self.experts:
            more = ~np.isin(self.experts.scans, self.scans[~chosen])
            x, y = np.vstack([x, self.experts.x[more]]), np.append(y, self.experts.y[more])
        return x[:, self.sets[choice.measurements]], y


class Choice(NamedTuple):
    """A way of fitting: the set of measurements, the inverse strength, and whether the experts' labels join."""

    measurements: str
    strength: float
    experts: bool


@dataclass(frozen=True)
class Judged:
    """What nested cross-validation found: probabilities (repeats, n, classes), distances (repeats, n), the choices."""

    shares: np.ndarray
    distances: np.ndarray
    chosen: Counter = field(default_factory=Counter)

    def of_truth(self, y: np.ndarray) -> dict[str, np.ndarray]:
        """For each patient, the mean over repeats: share of right answers, Brier score, log loss; each (n,)."""
        rows = np.arange(len(y))
        truth = np.eye(self.shares.shape[2])[y]
        return {
            "right": (self.shares.argmax(2) == y).mean(0),
            "brier": ((self.shares - truth) ** 2).sum(2).mean(0),
            "log loss": -np.log(self.shares[:, rows, y].clip(LEAST)).mean(0),
        }


def deal(y: np.ndarray, scans: np.ndarray, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Fold (n,) of every patient: scans in random order, class by class, dealt out in turn.

    >>> deal(np.array([0, 0, 1, 1]), np.array(["a", "a", "b", "c"]), seed=0, folds=2).tolist()[:2]
    [0, 0]
    """
    rng = np.random.default_rng(seed)
    order = [scan for c in np.unique(y) for scan in rng.permutation(np.unique(scans[y == c]))]
    place = {scan: i % folds for i, scan in enumerate(dict.fromkeys(order))}
    return np.array([place[scan] for scan in scans])


def regression(x: np.ndarray, y: np.ndarray, strength: float) -> Any:
    """Standardise, then logistic regression with an L2 penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000)).fit(x, y)


def choose(table: Table, among: np.ndarray, seed: int) -> Choice:
    """The choice with the least log loss over folds of some patients, (n,) bool."""
    folds = np.full(len(among), -1)
    folds[among] = deal(table.y[among], table.scans[among], seed)
    losses = {}
    for choice in product(table.sets, STRENGTHS, (False, True) if table.experts else (False,)):
        losses[Choice(*choice)] = -sum(
            np.log(_shares(table, among & (folds != fold), folds == fold, Choice(*choice)).clip(LEAST)).sum()
            for fold in range(FOLDS)
        )
    return min(losses, key=lambda choice: losses[choice])


def _shares(table: Table, rest: np.ndarray, unseen: np.ndarray, choice: Choice) -> np.ndarray:
    """Probability of the true class of unseen patients."""
    shares = regression(*table.rows(rest, choice), choice.strength).predict_proba(
        table.x[unseen][:, table.sets[choice.measurements]]
    )
    return shares[np.arange(len(shares)), table.y[unseen]]


def judge_nested(table: Table, repeats: int | None = None) -> Judged:
    """Judge the whole way of fitting, choices and all, on patients that it has not seen; `REPEATS` times by default."""
    repeats = repeats or REPEATS
    shares = np.zeros((repeats, len(table.y), len(table.classes)))
    distances, chosen = np.zeros(shares.shape[:2]), Counter[Choice]()
    for repeat in range(repeats):
        folds = deal(table.y, table.scans, repeat)
        for fold in range(FOLDS):
            rest = folds != fold
            choice = choose(table, rest, repeat)
            chosen[choice] += 1
            x, y = table.rows(rest, choice)
            model = regression(x, y, choice.strength)
            unseen = table.x[~rest][:, table.sets[choice.measurements]]
            shares[repeat, ~rest] = model.predict_proba(unseen)
            around = familiar(model[0].transform(x), y)
            distances[repeat, ~rest] = [distance(row, *around) for row in model[0].transform(unseen)]
    return Judged(shares, distances, chosen)


def familiar(scaled: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the classes (k, f), and precision (f, f) of measurements around them, shrunk after Ledoit and Wolf."""
    from sklearn.covariance import LedoitWolf

    centres = np.array([scaled[y == c].mean(0) for c in np.unique(y)])
    return centres, LedoitWolf(assume_centered=True).fit(scaled - centres[y]).precision_


def final(table: Table, judged: Judged) -> dict[str, Any]:
    """The classifier fitted on all patients as plain numbers, one row of weights a class."""
    everyone = np.ones(len(table.y), bool)
    choice = choose(table, everyone, 0)
    x, y = table.rows(everyone, choice)
    model = regression(x, y, choice.strength)
    scaler, fitted = model[0], model[1]
    weights, intercepts = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # of two classes scikit-learn keeps the second only
        weights, intercepts = np.vstack([-weights, weights]) / 2, np.append(-intercepts, intercepts) / 2
    centres, precision = familiar(scaler.transform(x), y)
    return {
        "classes": list(table.classes),
        "features": [table.keys[i] for i in table.sets[choice.measurements]],
        "choice": choice._asdict(),
        "mean": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
        "weights": weights.tolist(),
        "intercepts": intercepts.tolist(),
        "centres": centres.tolist(),
        "precision": precision.tolist(),
        "usual_distance": usual_distance(judged),
        "prevalence": {c: float((y == i).mean()) for i, c in enumerate(table.classes)},
        "n": len(table.y),
    }


def usual_distance(judged: Judged) -> float:
    """The distance within which `USUAL_SHARE` of unseen patients lie."""
    return float(np.quantile(judged.distances, USUAL_SHARE))
