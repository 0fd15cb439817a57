"""What fold models say of patients that they have not seen."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from myoscope.analysis import JOINT_LGE_SYSTEM, JOINT_SYSTEM
from myoscope.lab.crossval import fold_models, refuse_segmentations, weights_path
from myoscope.lab.folds import FOLDS, fold_of
from myoscope.lab.installed import member_for
from myoscope.prediction import Prediction
from myoscope.study import Case, Role, Series
from myoscope.systems import system_module


def scar_models(system: str, cases: Sequence[Case], segmentations: Path | None) -> dict[str, Any]:
    """By case the fold model that says what of a joint map is scar, and has not seen it; none for other systems.

    Args:
        system: Name of the system.
        cases: All cases that its runs were trained on.
        segmentations: Runs of `evaluate` of `JOINT_LGE_SYSTEM`; None: its installed members.

    Raises:
        InputError: folds are missing, or were dealt from other cases; another system's segmentations are given.
    """
    if system != JOINT_SYSTEM:
        refuse_segmentations(system, segmentations)
        return {}
    if segmentations is None:
        return member_for(JOINT_LGE_SYSTEM, cases)
    paths = fold_models(JOINT_LGE_SYSTEM, cases, segmentations)
    models = {path: system_module(JOINT_LGE_SYSTEM).Model.load(path) for path in set(paths.values())}
    return {case: models[path] for case, path in paths.items()}


def by_fold(
    system: str, cases: Sequence[Case], runs: Path, late: Mapping[str, Any]
) -> Iterator[tuple[int, Any, list[Case]]]:
    """Each fold that RUNS holds, its model, and the cases that it, and what it started from, has not seen.

    Args:
        system: Name of the system.
        cases: What its runs were trained on.
        runs: Its runs.
        late: For a joint map: see `scar_models`. Only cases with T2 are given then.
    """
    for fold in range(FOLDS):
        path = weights_path(system, fold, runs)
        if not path.exists():
            continue
        model = system_module(system).Model.load(path)
        if late:
            seen = json.loads(path.with_name("cases.json").read_text())
            yield fold, model, [c for c in cases if Role.T2 in c.labels and c.id not in seen]
            continue
        seen = set((model.card.get("started_from") or {}).get("trained_on", {}))
        dealt = zip(cases, fold_of(cases), strict=True)
        yield fold, model, [c for c, k in dealt if k == fold and c.data_set not in seen]


def predictions(model: Any, case: Case, late: Mapping[str, Any]) -> list[tuple[Series, Prediction]]:
    """What a model says of the labelled series of a case; arguments as for `by_fold`."""
    if late:
        return [model.segment_joint(case.study, late[case.id])]
    wanted = [s for s in case.study.series if s.role in model.roles and s.role in case.labels]
    return [(series, model.segment(series)) for series in wanted]
