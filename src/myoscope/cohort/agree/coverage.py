"""How often our intervals hold a reader's value, and what would make them hold as often as they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myoscope.cohort.agree.compare import Compared
from myoscope.measure.calibration import LEAST_CASES, Calibration, Seen, fit_factors
from myoscope.measure.intervals import STRUCTURES


@dataclass(frozen=True)
class Coverage:
    """Of one measurement: patients with an interval, in how many per cent it holds the reader's value, its median
    width, and the factors that would put it right (None for fewer than 30)."""

    name: str
    n: int
    held_percent: float
    width: float
    factors: tuple[float, float] | None


def coverage(compared: Sequence[Compared]) -> list[Coverage]:
    """Of every measurement of which some patient has an interval and a reader's value."""
    found = []
    for name in STRUCTURES:
        seen: list[Seen] = [
            (one.theirs[name], one.ours[name], one.intervals[name])
            for one in compared
            if name in one.theirs and name in one.ours and name in one.intervals
        ]
        if seen:
            held = 100 * float(np.mean([low <= truth <= high for truth, _, (low, high) in seen]))
            width = float(np.median([high - low for _, _, (low, high) in seen]))
            found.append(Coverage(name, len(seen), held, width, fit_factors(seen)))
    return found


def calibration_of(compared: Sequence[Compared], rows: Sequence[Coverage]) -> Calibration | None:
    """What `analyze --calibration` takes; None where cases are too few, or were analysed with different weights."""
    enough = [row for row in rows if row.factors]
    weights: dict[str, set[str]] = {}
    for one in compared:
        for role, sha in one.weights.items():
            weights.setdefault(role, set()).add(sha)
    if not enough or any(len(some) > 1 for some in weights.values()):
        return None
    return Calibration(
        {row.name: row.factors for row in enough if row.factors},
        {row.name: row.n for row in enough},
        {role: next(iter(some)) for role, some in weights.items()},
    )


def why_no_calibration(rows: Sequence[Coverage]) -> str:
    """Why `calibration_of` gave none, or not for all."""
    if not rows:
        return "No study here has both an interval and a reader's value: nothing to check or to recalibrate."
    return f"A calibration needs {LEAST_CASES} cases of a measurement, all analysed with the same weights."
