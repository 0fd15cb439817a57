"""Cross-validation folds: by scan, so that no patient and no duplicate stands on both sides, and balanced by class."""

from collections.abc import Mapping, Sequence
from typing import Any

from myoscope.study import Case

FOLDS = 5


def fold_of(cases: Sequence[Case], folds: int = FOLDS) -> list[int]:
    """Fold (0 to folds - 1) of every case; the same cases always give the same folds.

    Scans are dealt out in turn, class by class, in order of their names.
    """
    groups: dict[str, list[str]] = {}
    for case in sorted(cases, key=lambda c: (c.scan, c.id)):
        scans = groups.setdefault(f"{case.group}", [])
        if not any(case.scan in dealt for dealt in groups.values()):
            scans.append(case.scan)
    order = [scan for key in sorted(groups) for scan in groups[key]]
    position = {scan: i % folds for i, scan in enumerate(order)}
    return [position[case.scan] for case in cases]


def deal(cases: Sequence[Case], fold: int | None, folds: int = FOLDS) -> tuple[list[Case], list[Case]]:
    """The cases that a fold's model learns from, and those that it must not have seen; of None all, and none."""
    dealt = list(zip(cases, fold_of(cases, folds), strict=True))
    return [case for case, k in dealt if k != fold], [case for case, k in dealt if k == fold]


def seen_before(card: Mapping[str, Any]) -> set[str]:
    """The data sets that a model's starting weights had seen: they are no test for what came of these."""
    return set((card.get("started_from") or {}).get("trained_on", {}))
