"""Intervals put right on a site's own cases: `myoscope agree` writes the file, `analyze --calibration` uses it.

How far a reader's value lies from ours, as a share of how far our interval reaches to that side, has a distribution at
the site; its conformal quantile is what the interval is stretched by (Romano et al. 2019, arXiv:1905.03222, in kind).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.measure.intervals import LEVEL_PERCENT, SCALED, STRETCHED, STRUCTURES
from myoscope.measure.results import Measurements

LEAST_CASES = 30
"""Fewer cases do not say where 95 of 100 lie."""

LEAST_SIDE = 0.05
"""A side of an interval is taken for this share of its width at least, so that it can be stretched at all."""

Seen = tuple[float, float, tuple[float, float]]
"""A reader's value, ours, and our interval."""


@dataclass(frozen=True)
class Calibration:
    """By what intervals are stretched, (below, above) our value, by a measurement's dotted name.

    `weights` has for each role the SHA-256 of the weights whose intervals these are.
    """

    factors: Mapping[str, tuple[float, float]]
    cases: Mapping[str, int]
    weights: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_whole(path, json.dumps({"level_percent": LEVEL_PERCENT} | asdict(self), indent=1) + "\n")


def read_calibration(path: Path) -> Calibration:
    """Read what `agree` wrote.

    Raises:
        InputError: it is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        factors = {name: (float(low), float(high)) for name, (low, high) in found["factors"].items()}
        return Calibration(factors, dict(found["cases"]), {str(k): str(v) for k, v in found["weights"].items()})
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); check the path") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{shown(path)}: expected a calibration as myoscope agree writes it (PAGE.calibration.json), found another "
            "file; run agree with 30 cases or more"
        ) from None


def sides(value: float, ends: tuple[float, float]) -> tuple[float, float]:
    """How far an interval reaches below and above a value."""
    least = LEAST_SIDE * (ends[1] - ends[0])
    return max(value - ends[0], least), max(ends[1] - value, least)


def fit_factors(seen: Sequence[Seen]) -> tuple[float, float] | None:
    """Factors for one measurement; None for too few cases, or intervals without any width."""
    rows = [(truth - ours, *sides(ours, ends)) for truth, ours, ends in seen if ends[1] > ends[0]]
    if len(rows) < LEAST_CASES:
        return None
    difference, below, above = np.array(rows).T
    n, tail = len(rows), (100 - LEVEL_PERCENT) / 200
    rank = min(int(np.ceil((n + 1) * (1 - tail))), n) - 1
    low, high = np.sort(-difference / below)[rank], np.sort(difference / above)[rank]
    return max(float(low), 0.0), max(float(high), 0.0)


def calibrated(m: Measurements, calibration: Calibration) -> Measurements:
    """Measurements with intervals stretched, and a line in `provenance.conventions` that says so.

    Raises:
        InputError: they are of other weights than those that were compared with the readers.
    """
    for origin in m.provenance.series:
        known = calibration.weights.get(origin.role)
        if known and origin.weights_sha256 and known != origin.weights_sha256:
            raise InputError(
                f"--calibration: expected one made with these weights of {origin.role} ({origin.weights_sha256[:12]}), "
                f"found {known[:12]}; run cohort and agree again"
            )
    changes = {}
    for part in ("lv", "rv", "lge", "t2"):
        values, found = getattr(m, part), dict[str, Any]()
        for name in (n for n in (*STRUCTURES, *SCALED) if n.startswith(f"{part}.")):
            field, factors = name.partition(".")[2], calibration.factors.get(SCALED.get(name, name))
            value, ends = getattr(values, field), getattr(values, f"{field}_interval")
            if ends and factors:
                below, above = sides(value, ends)
                top = 100.0 if name.endswith("_percent") else np.inf
                low, high = value - factors[0] * below, value + factors[1] * above
                found[f"{field}_interval"] = (max(low, 0.0), min(high, top))
        changes[part] = values.model_copy(update=found)
    cases = max(calibration.cases.values(), default=0)
    line = f"{STRETCHED}on up to {cases} cases of this site's readers."
    provenance = m.provenance.model_copy(update={"conventions": [*m.provenance.conventions, line]})
    return m.model_copy(update=changes | {"provenance": provenance})
