"""Cross-validation folds: by scan, so that no patient and no duplicate stands on both sides, and balanced by class."""

from collections.abc import Sequence

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
