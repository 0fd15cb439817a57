"""Scar and edema on MyoPS: the ensemble's variants and compact-myops with every subset of the sequences, per case.

Of `myops-ensemble` RUNS holds VARIANT/fold-K, of `compact-myops` fold-K; the ensemble's page has both, compact-myops's
from RUNS/compact-myops or, where that is not there, from the folder of this name beside RUNS. With runs of compact-lge
(`segmentations`; else with its installed members) there are rows for both together too, as `analyze` uses them. Where
there are no runs of compact-myops, its rows are of the installed members, each on the cases that it has not seen.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.analysis import JOINT_LGE_SYSTEM
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.lab.crossval import key_of, read_cases, train_folds, weights_path
from myoscope.lab.folds import FOLDS, fold_of
from myoscope.lab.installed import installed_members
from myoscope.lab.loop import Budget
from myoscope.lab.metrics import dice
from myoscope.lab.pages import write_page, write_table
from myoscope.lab.unseen import scar_models
from myoscope.labels import SCAR, Structure
from myoscope.measure.t2 import EDEMA
from myoscope.study import Case, Role
from myoscope.systems import full_name, system_module
from myoscope.systems.compact.myops import figures
from myoscope.systems.compact.myops.page import TEMPLATE, page_facts, write_boxes
from myoscope.volume import Volume
from myoscope.weights import read_card

__all__ = ["evaluate", "train_folds"]

COMPACT = "compact-myops"
TOGETHER = f"{COMPACT} and {JOINT_LGE_SYSTEM}"
SEQUENCES = (Role.BSSFP, Role.LGE, Role.T2)
REGIONS: dict[str, tuple[Structure, ...]] = {"scar": SCAR, "scar + edema": EDEMA}
"""What the MyoPS challenge scores."""

TRAINED_HERE = ("small-unet", "small-direct", "small", "small-swapped", "small-both")
"""Variants that `evaluate` trains where they are missing; of others only what RUNS holds."""
PUBLISHED = ("published-unet", "published-direct", "published")
"""The paper's three rows, which `--variant published` trains and scores."""


def evaluate(
    system: str,
    roots: Sequence[Path],
    runs: Path,
    budget: Budget | None,
    folds: int,
    segmentations: Path | None,
    device: str,
    progress: Callable[[str], None] = lambda _: None,
    published: bool = False,
) -> str:
    """Cross-validate by patient; arguments as for `crossval.evaluate`; a budget is for a fold of a variant.

    Writes RUNS/scores.csv, results.json and SYSTEM-boxes.svg, of the ensemble its contours too (patients-*.png are not
    for the repository), and gives the page back.
    """
    if published and system == COMPACT:
        raise InputError(f"expected no --variant for {system}, which is no paper's; leave it out")
    variants = PUBLISHED if published else TRAINED_HERE
    names = [COMPACT] if system == COMPACT else [f"{system}.{variant}" for variant in variants]
    if budget:
        for name in names:
            progress(f"{name}: training what is missing")
            train_folds(name, roots, range(folds), budget, runs, None, device)
    known = read_cases(roots)
    cases = [case for case in known if set(SEQUENCES) <= set(case.labels)]
    if not cases:
        raise InputError(f"expected cases with labelled bSSFP, LGE and T2 for {system}, found none; add MyoPS")
    late = scar_models(COMPACT, known, segmentations) if segmentations else installed_scar_models(known, progress)
    places = [(name, runs) for name in names] if published or system == COMPACT else places_of(system, names, runs)
    scored = [score(name, cases, folder, folds, device, late, progress) for name, folder in places]
    if places[-1][0] == COMPACT and not scored[-1][1] and (members := members_of(system, known, progress)):
        scored[-1] = score_members(members[:folds], known, cases, late, progress)
    rows = [row for found, _ in scored for row in found]
    if not rows:
        raise InputError(f"{shown(runs)}: expected trained folds, found none; add --minutes, --steps or --epochs")
    runs.mkdir(parents=True, exist_ok=True)
    cards = {name: found for (name, _), (_, found) in zip(places, scored, strict=True) if found}
    write_table(runs / "scores.csv", rows)
    summary = summarise(rows)
    used = sorted({row["fold"] for row in rows})
    write_whole(runs / "results.json", json.dumps({"folds": used, "scores": for_card(system, summary)}, indent=1))
    write_boxes(rows, runs / f"{system}-boxes.svg")
    absent = [name for name, _ in places if name not in cards]
    there = {row["system"] for row in rows} - {COMPACT}
    drawn = next((name for name in names[::-1] if name in there), None)
    if drawn:
        progress(f"{drawn}: drawing")
        write_figures(drawn, rows, {case.id: case for case in cases}, runs, device)
    facts = page_facts(system, [root.name for root in roots], summary, cards, absent, card_of(late))
    facts |= {"drawn": drawn, "published": published, "from_runs": segmentations is not None}
    return write_page(TEMPLATE, facts, runs)


def places_of(system: str, first: Sequence[str], runs: Path) -> list[tuple[str, Path]]:
    """The variants to score, some of them first and compact-myops last, and where the folds of each lie."""
    beside = runs / COMPACT if (runs / COMPACT).is_dir() else runs.parent / COMPACT
    recipes = sorted(system_module(system).RECIPES, key=lambda name: (*first, name).index(name))
    return [*((name, runs) for name in recipes), (COMPACT, beside)]


def members_of(system: str, known: Sequence[Case], progress: Callable[[str], None]) -> list[Any]:
    """The installed members of compact-myops; none, and why, where the ensemble is asked for without their data sets.

    Raises:
        InputError: see `installed_members`; of compact-myops itself.
    """
    try:
        return installed_members(COMPACT, known)
    except InputError as why:
        if system == COMPACT:
            raise
        progress(f"{COMPACT}: left out; {why}")
        return []


def installed_scar_models(known: Sequence[Case], progress: Callable[[str], None]) -> Mapping[str, Any]:
    """By case the installed member of compact-lge that has not seen it; none, and why, where that cannot be said."""
    try:
        return scar_models(COMPACT, known, None)
    except InputError as why:
        progress(f"{JOINT_LGE_SYSTEM}: left out; {why}")
        return {}


def write_figures(
    name: str, rows: Sequence[Mapping[str, Any]], cases: Mapping[str, Case], runs: Path, device: str
) -> None:
    """A variant on a phantom (SYSTEM-contours.svg), and on its best and worst case (PNG, not for the repository)."""
    system = name.partition(".")[0]
    for row, words in zip(figures.best_and_worst(rows, name), ("best", "worst"), strict=False):
        model = system_module(name).Model.load(weights_path(name, row["fold"] - 1, runs), device)
        case = cases[row["case"]]
        figures.write_contours(case, next(iter(model.predict(case.study).values())), runs / f"patients-{words}.png")
    figures.write_phantom(model, runs / f"{system}-contours.svg")


def card_of(late: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The card of one of these fold models, which stands for all; None where there are none."""
    return late[min(late)].card if late else None


def score(
    name: str,
    cases: Sequence[Case],
    runs: Path,
    folds: int,
    device: str,
    late: Mapping[str, Any],
    progress: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Scores of the cases by models that have not seen them, and the cards of the folds that were there.

    What a fold was trained on is read from its `cases.json`, however the folds were dealt.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    cards = []
    for fold in range(folds):
        weights = weights_path(name, fold, runs)
        if not weights.exists():
            continue
        seen = set(json.loads((weights.parent / "cases.json").read_text()))
        progress(f"{name}: scoring fold {fold + 1} of {FOLDS}")
        unseen = [case for case in cases if case.id not in seen]
        for row in _kept_scores(name, unseen, fold, weights, device, late if name == COMPACT else {}):
            rows.setdefault((row["system"], row["sequences"], row["case"]), row)
        cards.append(read_card(weights))
    return list(rows.values()), cards


def score_members(
    members: Sequence[Any],
    known: Sequence[Case],
    cases: Sequence[Case],
    late: Mapping[str, Any],
    progress: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """As `score`, by the installed members of compact-myops; `known` are all cases that they were dealt from."""
    fold = dict(zip((case.id for case in known), fold_of(known), strict=True))
    rows, cards = [], []
    for k, model in enumerate(members):
        progress(f"{COMPACT}: scoring member {k + 1} of {FOLDS}")
        rows += _scores(COMPACT, [case for case in cases if fold[case.id] == k], k, model, late)
        own = Counter(case.data_set for case in known if fold[case.id] != k)
        cards.append({**model.card, "trained_on": {**model.card["trained_on"], **own}})
    return rows, cards


def _kept_scores(
    name: str, cases: Sequence[Case], fold: int, weights: Path, device: str, late: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """See `_scores`; kept beside the weights, for these models and cases."""
    words = [word for case in cases for word in (case.id, *([late[case.id].sha256] if case.id in late else []))]
    path = weights.with_name(f"scores-{key_of((weights,), words)}.json")
    if path.exists():
        return json.loads(path.read_text())
    rows = _scores(name, cases, fold, system_module(name).Model.load(weights, device), late)
    write_whole(path, json.dumps(rows, indent=1))
    return rows


def _scores(name: str, cases: Sequence[Case], fold: int, model: Any, late: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a case and subset of sequences, two where compact-lge has a say in what is scar."""
    rows = []
    for case in cases:
        for roles in subsets() if name == COMPACT else [SEQUENCES]:
            study = replace(case.study, series=tuple(series for series in case.study.series if series.role in roles))
            rows.append(_score_case(name, case, roles, model.predict(study)) | {"fold": fold + 1})
            if case.id in late and Role.LGE in roles:
                series, found = model.segment_joint(study, late[case.id])
                rows.append(_score_case(TOGETHER, case, roles, {series.role: found.labels}) | {"fold": fold + 1})
    return rows


def _score_case(name: str, case: Case, roles: tuple[Role, ...], maps: Mapping[Role, Volume]) -> dict[str, Any]:
    ((role, found),) = maps.items()
    truth = case.labels[role]
    row: dict[str, Any] = {"system": name, "sequences": names_of(roles), "data": case.data_set, "case": case.id}
    for region, structures in REGIONS.items():
        a, b = np.isin(found.voxels, structures), np.isin(truth.voxels, structures)
        share = dice(a, b)
        row |= {f"{region} dice": share, f"{region} jaccard": share / (2 - share)}
        row |= {f"{region} ml": float(a.sum()) * found.voxel_ml, f"{region} true ml": float(b.sum()) * truth.voxel_ml}
    return row


def subsets() -> list[tuple[Role, ...]]:
    """All non-empty subsets of the three sequences, the whole first."""
    return [roles for n in (3, 2, 1) for roles in combinations(SEQUENCES, n)]


def names_of(roles: Sequence[Role]) -> str:
    """Sequences as they are written.

    >>> names_of([Role.BSSFP, Role.T2])
    'bSSFP + T2'
    """
    return " + ".join({"bssfp": "bSSFP"}.get(role, role.upper()) for role in roles)


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the cases, of every system and subset of sequences."""
    result = []
    for system, sequences in dict.fromkeys((row["system"], row["sequences"]) for row in rows):
        these = [row for row in rows if (row["system"], row["sequences"]) == (system, sequences)]
        entry: dict[str, Any] = {"system": system, "sequences": sequences, "n": len(these)}
        for region in REGIONS:
            for score_name in ("dice", "jaccard"):
                values = np.array([row[f"{region} {score_name}"] for row in these])
                entry[f"{region} {score_name}"] = [float(values.mean()), float(values.std())]
            errors = [abs(row[f"{region} ml"] - row[f"{region} true ml"]) for row in these]
            entry[f"{region} error ml"] = float(np.mean(errors))
        result.append(entry)
    return result


def for_card(system: str, summary: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the summary says of what a system ships, as `crossval` writes it, for the card of its weights."""
    ships = full_name(system, None)
    return [
        {
            "data": "myops",
            "phase": "",
            "region": f"{region} from {entry['sequences']}{entry['system'].removeprefix(ships)}",
            "n": entry["n"],
            "dice": entry[f"{region} dice"][0],
            "dice_sd": entry[f"{region} dice"][1],
            "volume_error_ml": entry[f"{region} error ml"],
        }
        for entry in summary
        if entry["system"] == ships or (system, entry["system"]) == (COMPACT, TOGETHER)
        for region in REGIONS
    ]
