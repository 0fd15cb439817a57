"""Cross-validation: train the folds that are missing, predict what each has not seen, score, and write the table."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.console import each
from myoscope.datasets import case_folders, own, read_case, refuse_twice
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.lab.cache import read_cache
from myoscope.lab.folds import FOLDS, deal, fold_of, seen_before
from myoscope.lab.installed import installed_members
from myoscope.lab.loop import Budget, progress_of
from myoscope.lab.metrics import CINE_REGIONS, LGE_REGIONS, region_scores
from myoscope.lab.pages import TEMPLATES, trainings, write_page, write_table
from myoscope.study import Case, Role
from myoscope.systems import system_module
from myoscope.weights import read_card, weights_of

TEMPLATE = TEMPLATES / "crossval.md.j2"
REGIONS = {Role.CINE: CINE_REGIONS, Role.BSSFP: CINE_REGIONS, Role.LGE: LGE_REGIONS}


def read_cases(roots: Sequence[Path]) -> list[Case]:
    """All labelled cases under the roots of one or more data sets, or in caches of them (`lab.cache`)."""
    found: list[Case] = []
    for root in roots:
        packed = root.suffix == ".npz"
        found += read_cache(root) if packed else map(read_case, each(case_folders(root), f"reading {shown(root.name)}"))
    refuse_twice([case.id for case in found])
    return [case for case in found if case.labels]


def check_folds(system: str, cases: Sequence[Case], folds: Sequence[int | None]) -> None:
    """Refuse a system or a split that leaves nothing to train on or nothing to test, before hours are spent.

    Raises:
        InputError: no case has labels for the system, or a fold holds none or all of those that have.
    """
    roles = getattr(system_module(system).RECIPES[system], "roles", tuple(Role))
    of = folds_of(system)
    held = [k for case, k in zip(cases, fold_of(cases, of), strict=True) if set(roles) & set(case.labels)]
    if not held:
        raise InputError(f"expected cases with labelled {' or '.join(roles)} for {system}, found none")
    bad = next((k for k in folds if k is not None and held.count(k) in (0, len(held))), None)
    if bad is not None:
        patients = len({case.scan for case in cases})
        raise InputError(
            f"expected cases to train on and to test in each of {of} folds, found {held.count(bad)} of {len(held)} "
            f"in fold {bad + 1}; {of} patients or more are needed, here are {patients}"
        )


def folds_of(system: str) -> int:
    """Into how many folds cases are dealt for a system: its recipe's `folds`, where its paper had other shares."""
    return getattr(system_module(system).RECIPES[system], "folds", FOLDS)


def first_folds(system: str, count: int) -> range:
    """The first so many of a system's folds, or all where it has fewer."""
    return range(min(count, folds_of(system)))


def split_of(system: str, fold: int | None) -> str:
    """What a model was trained on, as its card says."""
    return "all cases" if fold is None else f"all but fold {fold + 1} of {folds_of(system)}"


def refuse_other_deal(system: str, fold: int, weights: Path) -> None:
    """Refuse a fold model of another number of folds: it has seen some of what this fold would test it on.

    Raises:
        InputError: its card says another split.
    """
    found = read_card(weights).get("split")
    if found not in (None, split_of(system, fold)):
        raise InputError(
            f"{shown(weights)}: expected a model of {split_of(system, fold)}, found {found}; train it anew elsewhere"
        )


def weights_path(system: str, fold: int | None, runs: Path) -> Path:
    """Where a fold's weights lie: RUNS/fold-K/SYSTEM.safetensors (K from 1) or RUNS/all/SYSTEM.safetensors.

    Runs of a variant lie one level deeper: RUNS/VARIANT/fold-K/SYSTEM.VARIANT.safetensors.
    """
    return runs_of(system, runs) / ("all" if fold is None else f"fold-{fold + 1}") / f"{system}.safetensors"


def runs_of(system: str, runs: Path) -> Path:
    """Where a system's folds lie, and what was measured on them: RUNS, of a variant RUNS/VARIANT."""
    return runs / system.partition(".")[2]


def key_of(models: Iterable[Path], words: Iterable[str] = ()) -> str:
    """Name of what is kept for as long as these models, by their weights, and these words are the same."""
    made_of = b"".join(sha256(path.read_bytes()).digest() for path in models) + "\n".join(words).encode()
    return sha256(made_of).hexdigest()[:16]


def fold_models(system: str, cases: Sequence[Case], runs: Path) -> dict[str, Path]:
    """By case the weights of the fold model that has not seen it.

    Whether it has not is seen in the scores beside it, where they are. Cases of a data set that no fold has scored,
    because its models started from that, are dealt with the others.

    Raises:
        InputError: a fold is missing, or the folds were dealt from other cases.
    """
    models = [weights_path(system, k, runs) for k in range(FOLDS)]
    held: dict[int, set[str]] = {}
    for k, path in enumerate(models):
        if not path.exists():
            raise InputError(f"{shown(path)}: expected {FOLDS} fold models of {system}, found none here; train it")
        if (scores := path.with_name("scores.json")).exists():
            held[k] = {row["case"] for row in json.loads(scores.read_text())}
    scored = {case.data_set for case in cases if any(case.id in some for some in held.values())}
    for case, k in zip(cases, fold_of(cases), strict=True):
        if k in held and case.id not in held[k] and (case.data_set in scored or not scored):
            raise InputError(
                f"{shown(models[k])}: expected {case.id} among the cases of this fold; give the data it was dealt with"
            )
    return {case.id: models[k] for case, k in zip(cases, fold_of(cases), strict=True)}


def train_fold(system: str, cases: Sequence[Case], fold: int | None, budget: Budget, runs: Path, device: str) -> Path:
    """Train on all folds but one (on all cases where fold is None); nothing to do where that was finished.

    One that had a smaller budget goes on.

    Returns:
        The weights, see `weights_path`.

    Raises:
        InputError: the folder holds another system's training.
    """
    module = system_module(system)
    path = weights_path(system, fold, runs)
    folder = path.parent
    if path.exists() and had_as_much(path, budget):
        return path
    check_folds(system, cases, [fold])
    chosen, _ = deal(cases, fold, folds_of(system))
    recipe, start, kept = module.RECIPES[system], folder / "started_from.json", folder / "recipe.json"
    if kept.exists() and (other := json.loads(kept.read_text()).get("name", system)) != system:
        raise InputError(
            f"{shown(folder)}: expected a folder for {system}, found a training of {other}; give another -o"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not start.exists():  # a resumed run keeps what it began with, whatever is installed by then
        write_whole(start, json.dumps(_started_from(getattr(recipe, "start_from", None))))
    model = module.train(recipe, chosen, budget, folder, device)
    model.save(path, card(system, chosen, fold, budget, runs, folder, device))
    return path


def had_as_much(weights: Path, budget: Budget) -> bool:
    """Whether weights were trained for a budget, or for more of its kind."""
    card = read_card(weights)
    return all((card.get(kind) or 0) >= (getattr(budget, kind) or 0) for kind in ("minutes", "steps", "epochs"))


def train_folds(
    system: str,
    roots: Sequence[Path],
    folds: Sequence[int | None],
    budget: Budget,
    runs: Path,
    segmentations: Path | None,
    device: str,
) -> list[Path]:
    """Train several folds (see `train_fold`): on CPUs one after the other, on GPUs each in a process of its own.

    One such network does not fill a GPU. Where there are several GPUs, folds are dealt out to them in turn.

    Raises:
        InputError: segmentations are given, which only some systems learn from.
    """
    refuse_segmentations(system, segmentations)
    if device != "cpu" and len(folds) > 1:
        return side_by_side(system, roots, folds, budget, runs, device)
    cases = read_cases(roots)
    return [train_fold(system, cases, fold, budget, runs, device) for fold in folds]


def side_by_side(
    system: str, roots: Sequence[Path], folds: Sequence[int | None], budget: Budget, runs: Path, device: str
) -> list[Path]:
    """Train each fold in a process of its own."""
    import torch

    gpus = torch.cuda.device_count() if device == "cuda" else 0
    devices = [f"cuda:{i % gpus}" if gpus else device for i in range(len(folds))]
    with ProcessPoolExecutor(len(folds), mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(_train_one, system, roots, budget, runs), folds, devices))


def _train_one(system: str, roots: Sequence[Path], budget: Budget, runs: Path, fold: int | None, device: str) -> Path:
    return train_fold(system, read_cases(roots), fold, budget, runs, device)


def card(
    system: str, cases: Sequence[Case], fold: int | None, budget: Budget, runs: Path, folder: Path, device: str
) -> dict[str, Any]:
    """What a user of the weights must know: data, split, minutes, device, and how good in cross-validation."""
    sets: dict[str, int] = {}
    for case in cases:
        sets[case.data_set] = sets.get(case.data_set, 0) + 1
    recipe = json.loads((folder / "recipe.json").read_text())
    return {
        "system": system,
        "widths": recipe.get("widths"),
        "trained_on": sets | ({"phantom": recipe["phantoms"]} if recipe.get("phantoms") else {}),
        "started_from": json.loads((folder / "started_from.json").read_text()),
        "split": split_of(system, fold),
        "minutes": budget.minutes,
        **_steps_of(folder, budget),
        "epochs": budget.epochs,
        "device": device if device != "cpu" else f"cpu, {len(os.sched_getaffinity(0))} cores",
        "commit": _commit(),
        "licence": _licence(set(sets), recipe.get("start_from")),
        **measured_in(runs),
    }


def _steps_of(folder: Path, budget: Budget) -> dict[str, int]:
    """The steps that a training made, all networks of a system together; nothing where none were counted."""
    own = folder if (folder / "state.safetensors").exists() else None
    states = [own] if own else [path.parent for path in folder.glob("*/state.safetensors")]
    steps = sum(progress_of(state)[0] for state in states) or budget.steps
    return {"steps": steps} if steps else {}


def measured_in(runs: Path) -> dict[str, Any]:
    """What a folder of runs has measured out of fold, by its name in a card; None where it has not."""
    names = {"cross_validation": "results", "confidence": "confidence", "intervals": "intervals"}
    files = {key: runs / f"{name}.json" for key, name in names.items()}
    return {key: json.loads(file.read_text()) if file.exists() else None for key, file in files.items()}


def _started_from(system: str | None) -> dict[str, Any] | None:
    """The installed weights that training started from: their patients are no test for what came of it."""
    if system is None:
        return None
    path = weights_of(system)
    card = read_card(path)
    return {"system": system, "sha256": sha256(path.read_bytes()).hexdigest(), "trained_on": card["trained_on"]}


def _licence(sets: set[str], start_from: str | None) -> str:
    if start_from or sets & set(own.PUBLIC):
        return "CC BY-NC-SA 4.0 (LICENSE-WEIGHTS.md): research use only, not commercial"
    return f"what the owners of {', '.join(sorted(sets))} allow"


def _commit() -> str | None:
    import subprocess

    folder = Path(__file__).parent
    found = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def made_from(weights: Path, kept: Path) -> bool:
    """Whether what is kept beside weights is there, and was made from these, not from older ones."""
    return kept.exists() and kept.stat().st_mtime >= weights.stat().st_mtime


def score_fold(system: str, cases: Sequence[Case], fold: int, weights: Path, device: str) -> list[dict[str, Any]]:
    """Scores of the cases that a fold's model has not seen, see `score_unseen`; kept beside the weights."""
    path = weights.with_name("scores.json")
    if made_from(weights, path):
        return json.loads(path.read_text())
    rows = score_unseen(system, cases, fold, system_module(system).Model.load(weights, device))
    write_whole(path, json.dumps(rows, indent=1))
    return rows


def score_unseen(system: str, cases: Sequence[Case], fold: int, model: Any) -> list[dict[str, Any]]:
    """Scores of the cases of a fold, one row a frame; data sets that its starting weights had seen are left out."""
    _, unseen = deal(cases, fold, folds_of(system))
    rows = []
    for case in (case for case in unseen if case.data_set not in seen_before(model.card)):
        found = model.predict(case.study)
        for series in (series for series in case.study.series if series.role in found):
            predicted, truth = found[series.role], case.labels[series.role]
            regions = {name: s for name, s in REGIONS[series.role].items() if not set(s) <= set(case.drawn_as)}
            for frame, (a, b) in enumerate(zip(predicted.frames, truth.frames, strict=True)):
                row = {"data": case.data_set, "case": case.id, "group": case.group, "fold": fold + 1}
                phase = {series.ed_frame: "ED", series.es_frame: "ES"}.get(frame, "")
                rows.append(row | {"phase": phase} | region_scores(a, b, regions, predicted.voxel_ml))
    return rows


def refuse_segmentations(system: str, segmentations: Path | None) -> None:
    """Refuse label maps for a system that makes its own.

    Raises:
        InputError: segmentations are given.
    """
    if segmentations is not None:
        raise InputError(f"expected no --segmentations for {system}, which makes its own; leave it out")


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
    """Cross-validate, write RUNS/scores.csv, results.json and results.md, and give the page back.

    Args:
        system: Name of a system.
        roots: Data sets.
        runs: Folder of the folds; what it holds is used, what is missing is trained where there is a budget. Without
            any, the installed members are tried, each on the cases that it has not seen.
        budget: Of a missing fold; None: nothing is trained.
        folds: How many of the five folds to use, from the first.
        segmentations: None; systems that learn from another's label maps have evaluations of their own.
        device: "cpu" or "cuda".
        progress: Called with a few words before each fold is scored.
        published: Whether a paper's own experiment is asked for.

    Raises:
        InputError: no fold is trained or installed, or there is no paper.
    """
    refuse_segmentations(system, segmentations)
    if published:
        raise InputError(f"expected no --variant for {system}, which is no paper's; leave it out")
    cases = read_cases(roots)
    if budget:
        check_folds(system, cases, range(folds))
        train_folds(system, roots, range(folds), budget, runs, None, device)
    used = [k for k in range(folds) if weights_path(system, k, runs).exists()]
    members = [] if used else installed_members(system, cases)
    rows: list[dict[str, Any]] = []
    for fold in used or range(min(folds, len(members))):
        progress(f"{system}: scoring fold {fold + 1}")
        if members:
            rows += score_unseen(system, cases, fold, members[fold])
        else:
            rows += score_fold(system, cases, fold, weights_path(system, fold, runs), device)
    runs.mkdir(parents=True, exist_ok=True)
    write_table(runs / "scores.csv", rows)
    summary = summarise(rows)
    numbers = [k + 1 for k in used or range(min(folds, len(members)))]
    cards = [read_card(weights_path(system, k, runs)) for k in used]
    cards += [model.card for model in members]
    write_whole(runs / "results.json", json.dumps({"folds": numbers, "scores": summary}, indent=1))
    facts = {"system": system, "roots": [root.name for root in roots], "folds": numbers, "of_folds": FOLDS}
    return write_page(TEMPLATE, facts | {"trainings": trainings(cards), "scores": summary}, runs)


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean, standard deviation and n of every region, by data set and phase; presence of scar beside."""
    result = []
    for data, phase in sorted({(row["data"], row["phase"]) for row in rows}):
        these = [row for row in rows if (row["data"], row["phase"]) == (data, phase)]
        keys = dict.fromkeys(key for row in these for key in row if key.endswith(" dice"))
        for region in [key.removesuffix(" dice") for key in keys]:
            some = [row for row in these if f"{region} dice" in row]
            scores = np.array([row[f"{region} dice"] for row in some])
            volume, truth = (np.array([row[f"{region} {kind}"] for row in some]) for kind in ("ml", "true ml"))
            present = truth > 0
            result.append(
                {
                    "data": data,
                    "phase": phase,
                    "region": region,
                    "n": len(scores),
                    "dice": float(scores.mean()),
                    "dice_sd": float(scores.std()),
                    "present_n": int(present.sum()),
                    "present_dice": float(scores[present].mean()) if present.any() else None,
                    "presence_right_percent": 100 * float(((volume > 0) == present).mean()),
                    "volume_error_ml": float(np.abs(volume - truth).mean()),
                }
            )
    return result
