"""What fold models say of patients that they have not seen, and the options of the commands that ask them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from myoscope.analysis import JOINT_LGE_SYSTEM, JOINT_SYSTEM
from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.lab.crossval import fold_models, refuse_segmentations, weights_path
from myoscope.lab.folds import FOLDS, deal, seen_before
from myoscope.lab.installed import by_member
from myoscope.prediction import Prediction
from myoscope.study import Case, Role, Series
from myoscope.systems import system_module

System = Annotated[str, typer.Argument(help="compact-cine, cascade.small, compact-lge or compact-myops.")]
Data = Annotated[list[Path], typer.Option(help="Roots of what the runs were trained on.")]
Runs = Annotated[Path, typer.Option(help="Folder of `myoscope evaluate`; without fold models: those installed.")]
ScarRuns = Annotated[
    Path | None,
    typer.Option(help="For compact-myops: runs of compact-lge, for the scar; default: as installed."),
]


def none_found(system: str, runs: Path) -> InputError:
    """What is raised where a folder has no fold models of a system."""
    return InputError(f"{shown(runs)}: expected runs of `evaluate {system}`, found none; give its -o folder")


def scar_models(system: str, cases: Sequence[Case], segmentations: Path | None) -> dict[str, Any]:
    """By case the fold model that has a say in the scar of a joint map, and has not seen it; none for other systems.

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
        return {case.id: model for model, unseen in by_member(JOINT_LGE_SYSTEM, cases) for case in unseen}
    paths = fold_models(JOINT_LGE_SYSTEM, cases, segmentations)
    models = {path: system_module(JOINT_LGE_SYSTEM).Model.load(path) for path in set(paths.values())}
    return {case: models[path] for case, path in paths.items()}


def by_fold(
    system: str, cases: Sequence[Case], runs: Path, late: Mapping[str, Any]
) -> Iterator[tuple[int, Any, list[Case]]]:
    """Each fold that RUNS holds, its model, and the cases that it, and what it started from, has not seen.

    Where RUNS holds none, the installed members are the fold models.

    Args:
        system: Name of the system.
        cases: What its runs were trained on.
        runs: Its runs.
        late: For a joint map: see `scar_models`. Only cases with T2 are given then.
    """
    for fold, (model, unseen) in _models(system, cases, runs, late).items():
        wanted = (c for c in unseen if c.data_set not in seen_before(model.card))
        yield fold, model, [c for c in wanted if not late or Role.T2 in c.labels]


def _models(
    system: str, cases: Sequence[Case], runs: Path, late: Mapping[str, Any]
) -> dict[int, tuple[Any, list[Case]]]:
    """By fold its model and its own cases. A joint map's runs say themselves what they have seen."""
    paths = {k: weights_path(system, k, runs) for k in range(FOLDS)}
    there = {k: path for k, path in paths.items() if path.exists()}
    if not there:
        return dict(enumerate(by_member(system, cases)))
    found = {}
    for fold, path in there.items():
        seen = json.loads(path.with_name("cases.json").read_text()) if late else ()
        own = cases if late else deal(cases, fold)[1]
        found[fold] = system_module(system).Model.load(path), [c for c in own if c.id not in seen]
    return found


def predictions(model: Any, case: Case, late: Mapping[str, Any]) -> list[tuple[Series, Prediction]]:
    """What a model says of the labelled series of a case; arguments as for `by_fold`."""
    if late:
        return [model.segment_joint(case.study, late[case.id])]
    wanted = [s for s in case.study.series if s.role in model.roles and s.role in case.labels]
    return [(series, model.segment(series)) for series in wanted]
