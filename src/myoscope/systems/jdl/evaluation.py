"""jdl's evaluation: four methods on the same folds with the same seed and budget, compared patient by patient.

On a CPU minutes are processor time (of all threads), so that what else runs does not favour a method.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from myoscope.errors import InputError
from myoscope.files import write_arrays, write_whole
from myoscope.io.nifti import shown
from myoscope.lab import crossval
from myoscope.lab.crossval import weights_path
from myoscope.lab.folds import FOLDS, deal, seen_before
from myoscope.lab.loop import Budget, progress_of
from myoscope.lab.metrics import LGE_REGIONS, dice, region_scores
from myoscope.lab.pages import write_page, write_table
from myoscope.labels import LV_WALL, SCAR
from myoscope.study import Case, Role
from myoscope.systems import full_name
from myoscope.systems.jdl.model import Model, labels_of, masks_of
from myoscope.systems.jdl.network import METHODS
from myoscope.systems.jdl.page import TEMPLATE, page_facts, write_boxes, write_patients, write_phantom
from myoscope.systems.jdl.recipe import LIMITS, PRINTED_ABOVE, RECIPES
from myoscope.weights import add_to_card, read_card

SHIPS = full_name("jdl", None)
LIMITS_KEY = "kept/limits"
"""Of the limits beside the masks of cases, whose names have no slash."""
REGIONS = {name: LGE_REGIONS[name] for name in ("myocardium", "infarction")}

Pair = tuple[np.ndarray | None, np.ndarray]
"""Wall (None: not looked for) and scar (Z, Y, X)."""
Masks = Mapping[str, Pair]
"""By case."""


def train_folds(
    name: str,
    roots: Sequence[Path],
    folds: Sequence[int | None],
    budget: Budget,
    runs: Path,
    segmentations: Path | None,
    device: str,
) -> list[Path]:
    """Train a variant for each fold as `crossval.train_fold` does, one after the other, and keep what it cost."""
    crossval.refuse_segmentations(name, segmentations)
    cases = _with_lge(crossval.read_cases(roots))
    return [_train_fold(name, cases, fold, budget, runs, device) for fold in folds]


def _with_lge(cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if Role.LGE in case.labels]


def _train_fold(name: str, cases: Sequence[Case], fold: int | None, budget: Budget, runs: Path, device: str) -> Path:
    path = weights_path(name, fold, runs)
    if path.exists() and crossval.had_as_much(path, budget):
        return path
    if device == "cpu":
        budget = replace(budget, clock=time.process_time)
    forget_peak(device)
    crossval.train_fold(name, cases, fold, budget, runs, device)
    steps, seconds = progress_of(path.parent)
    cost = {"steps": steps, "seconds": seconds, "threads": torch.get_num_threads(), "peak_mb": peak_mb(device)}
    write_whole(path.with_name("cost.json"), json.dumps(cost))
    return path


def forget_peak(device: str) -> None:
    """Let `peak_mb` count from here."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    elif (reset := Path("/proc/self/clear_refs")).exists():
        reset.write_text("5")


def peak_mb(device: str) -> float | None:
    """Most memory (MB) that the process had resident since `forget_peak`, on a GPU allocated; None: not known here."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), None)


def evaluate(
    system: str,  # noqa: ARG001
    roots: Sequence[Path],
    runs: Path,
    budget: Budget | None,
    folds: int,
    segmentations: Path | None,
    device: str,
    progress: Callable[[str], None] = lambda _: None,
    published: bool = False,
) -> str:
    """Cross-validate every variant whose folds RUNS holds; arguments as for `crossval.evaluate`.

    Where a budget is given, missing folds of the four methods on the backbone that ships are trained first. Writes
    RUNS/scores.csv (volumes), slices.csv, results.json (for the card of what ships), jdl-boxes.svg, jdl-contours.svg
    (a phantom) and patients.png (not for the repository), and gives the page back.

    Raises:
        InputError: no fold is trained.
    """
    crossval.refuse_segmentations("jdl", segmentations)
    cases = _with_lge(crossval.read_cases(roots))
    names = [f"{'jdl.published-joint' if published else SHIPS}".replace("joint", method) for method in METHODS]
    if budget:
        dealt = crossval.first_folds(names[0], folds)
        crossval.check_folds(names[0], cases, dealt)
        for fold in dealt:
            for name in names:
                progress(f"{name}: training fold {fold + 1} if it is missing")
                _train_fold(name, cases, fold, budget, runs, device)
    rows: list[dict[str, Any]] = []
    slices: list[dict[str, Any]] = []
    costs: dict[str, list[dict[str, Any]]] = {}
    masks: dict[str, dict[str, Pair]] = {}
    for name in names if published else RECIPES:
        variant = name.partition(".")[2]
        for fold in crossval.first_folds(name, folds):
            weights = weights_path(name, fold, runs)
            if not weights.exists():
                continue
            progress(f"{name}: scoring fold {fold + 1}")
            for case, pair, printed in _unseen(cases, fold, weights, device):
                masks.setdefault(variant, {})[case.id] = pair
                facts = {"variant": variant, "case": case.id, "group": case.group, "fold": fold + 1}
                rows.append(facts | {"data": case.data_set} | score(pair, printed, case))
                slices += [facts | row for row in score_readings(pair, printed, case)]
            costs.setdefault(variant, []).append(_cost(weights))
    if not rows:
        raise InputError(
            f"{shown(runs)}: expected trained folds of {SHIPS}, found none; add --minutes, --steps or --epochs"
        )
    write_table(runs / "scores.csv", rows)
    write_table(runs / "slices.csv", slices)
    _keep_results(rows, runs)
    write_boxes(slices, runs / "jdl-boxes.svg")
    write_phantom(_fold_models(masks, runs, device), runs / "jdl-contours.svg")
    write_patients(masks, {case.id: case for case in cases}, rows, runs / "patients.png")
    facts = page_facts(rows, slices, costs, [root.name for root in roots], published)
    return write_page(TEMPLATE, facts, runs)


def _unseen(cases: Sequence[Case], fold: int, weights: Path, device: str) -> list[tuple[Case, Pair, Pair]]:
    """Cases that a fold's model has not seen, nor what it started from, and their masks; these are kept beside it.

    Masks as `predict` writes them, then as the paper reads the networks (`PRINTED_ABOVE`).
    """
    crossval.refuse_other_deal(weights.stem, fold, weights)
    before = seen_before(read_card(weights))
    _, unseen = deal(cases, fold, crossval.folds_of(weights.stem))
    chosen = [case for case in unseen if case.data_set not in before]
    path = weights.with_name("labels.npz")
    if not (crossval.made_from(weights, path) and _as_now(path)):
        model = Model.load(weights, device)
        found = {}
        for case in chosen:
            series = case.study.get(Role.LGE)
            assert series
            shares = model.probabilities(series.image.frames[0], series.image)
            wall, scar = masks_of(shares, series.image)
            printed = (shares > PRINTED_ABOVE).movedim(1, 0).numpy(force=True)
            found[case.id] = np.stack([*([] if wall is None else [wall]), scar, *printed])
        write_arrays(path, found | {LIMITS_KEY: np.array(LIMITS)})
    with np.load(path) as kept:
        masks = {name: kept[name] for name in kept.files if name != LIMITS_KEY}
    if missing := [case.id for case in chosen if case.id not in masks]:
        raise InputError(f"{shown(path)}: expected {missing[0]} among its cases; give the data that it was made with")
    halves = [np.split(masks[case.id], 2) for case in chosen]
    return [(case, _pair(ours), _pair(printed)) for case, (ours, printed) in zip(chosen, halves, strict=True)]


def _pair(found: np.ndarray) -> Pair:
    return (None, found[0]) if len(found) == 1 else (found[0], found[1])


def _as_now(path: Path) -> bool:
    """Whether masks were kept with the limits that the system has now."""
    with np.load(path) as kept:
        return LIMITS_KEY in kept.files and np.array_equal(kept[LIMITS_KEY], LIMITS)


def score(pair: Pair, printed: Pair, case: Case) -> dict[str, Any]:
    """Dice and volumes of a case as `predict` writes it; Dice of `printed scar` and `printed wall` as the paper reads.

    Where the wall is not looked for its scores are None.
    """
    grid, wall = case.labels[Role.LGE], printed[0]
    truth = grid.frames[0]
    of_paper: dict[str, Any] = {"printed scar": dice(printed[1], np.isin(truth, SCAR))}
    of_paper["printed wall"] = None if wall is None else dice(wall, np.isin(truth, LV_WALL))
    scores: dict[str, Any] = region_scores(labels_of(*pair), truth, REGIONS, grid.voxel_ml)
    if wall is None:
        scores |= {"myocardium dice": None, "myocardium ml": None}
    return scores | of_paper


def _as_written(pair: Pair) -> Pair:
    """Wall (None where it is not looked for) and scar of the labels that `predict` writes."""
    labels = labels_of(*pair)
    return None if pair[0] is None else np.isin(labels, LV_WALL), np.isin(labels, SCAR)


def score_readings(pair: Pair, printed: Pair, case: Case) -> list[dict[str, Any]]:
    """`score_slices` of a case as `predict` writes it ("ours"), then as the paper reads the networks."""
    readings = {"ours": _as_written(pair), "paper's": printed}
    return [{"reading": name} | row for name, read in readings.items() for row in score_slices(read, case)]


def score_slices(pair: Pair, case: Case) -> list[dict[str, Any]]:
    """Dice, precision and recall of scar, and Dice of the wall, in every slice where the expert drew heart.

    Dice of scar is None where neither has any, precision where none was found, recall where none is; Dice of the wall
    where it is not looked for.
    """
    rows = []
    wall, scar = pair
    for z, truth in enumerate(case.labels[Role.LGE].frames[0]):
        drawn = np.isin(truth, LV_WALL)
        if not drawn.any():
            continue
        a, b = scar[z], np.isin(truth, SCAR)
        both = int((a & b).sum())
        rows.append(
            {
                "slice": z,
                "scar pixels": int(b.sum()),
                "found pixels": int(a.sum()),
                "dice": dice(a, b) if a.any() or b.any() else None,
                "precision": both / int(a.sum()) if a.any() else None,
                "recall": both / int(b.sum()) if b.any() else None,
                "wall dice": None if wall is None else dice(wall[z], drawn),
            }
        )
    return rows


def _cost(weights: Path) -> dict[str, Any]:
    """What a fold cost, and on what."""
    card = read_card(weights)
    kept = weights.with_name("cost.json")
    cost = json.loads(kept.read_text()) if kept.exists() else {}
    cost["slices seen"] = cost.get("steps", 0) * RECIPES[weights.stem].batch or None
    return cost | {"device": card["device"], "minutes": card["minutes"], "mib": weights.stat().st_size / 2**20}


def _keep_results(rows: Sequence[dict[str, Any]], runs: Path) -> None:
    """RUNS/results.json for the card of what ships, and into it if that was refitted before this evaluation."""
    ours = [row | {"phase": ""} for row in rows if f"jdl.{row['variant']}" == SHIPS]
    if not ours:
        return
    found = {"folds": sorted({row["fold"] for row in ours}), "scores": crossval.summarise(ours)}
    write_whole(runs / "results.json", json.dumps(found, indent=1))
    refitted = weights_path(SHIPS, None, runs)
    if refitted.with_suffix(".json").exists():
        add_to_card(refitted, {"cross_validation": found})


def _fold_models(masks: Mapping[str, Masks], runs: Path, device: str) -> dict[str, Model]:
    """The first trained fold of every variant."""
    return {
        variant: Model.load(
            next(w for k in range(FOLDS) if (w := weights_path(f"jdl.{variant}", k, runs)).exists()), device
        )
        for variant in masks
    }
