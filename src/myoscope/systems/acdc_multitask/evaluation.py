"""Cross-validate the multitask network: train the folds that are missing, judge what each has not seen, write the page.

Every patient is judged as `predict` does it, around a heart that was found by a model that has not seen the patient
where `segmentations` are given. Dice and Hausdorff distance as in the paper come from the middle six slices at the
network's resolution.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.datasets.acdc import CLASSES
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.io.save import write_predictions
from myoscope.lab import crossval
from myoscope.lab.diagnosis import out_of_fold
from myoscope.lab.folds import deal
from myoscope.lab.loop import Budget
from myoscope.lab.metrics import CINE_REGIONS, dice, hausdorff_mm
from myoscope.lab.pages import trainings, write_page
from myoscope.prediction import Classification
from myoscope.study import Case, Role
from myoscope.systems import system_module
from myoscope.systems.acdc_multitask import figures
from myoscope.systems.acdc_multitask.inputs import STRUCTURES, Heart, cardiac_features, find_heart, read_labels
from myoscope.systems.acdc_multitask.model import Model, Seen, build
from myoscope.systems.acdc_multitask.network import PHASES, SLICES
from myoscope.systems.acdc_multitask.page import (
    KEPT_ON_CARD,
    TEMPLATE,
    draw_confusions,
    draw_curves,
    page_facts,
    summarise,
)
from myoscope.systems.acdc_multitask.recipe import LOCATOR, RECIPES
from myoscope.weights import add_to_card, load_into, read_card, weights_of

TRAINED_HERE = [name for name in RECIPES if ".half-" in name]
"""Variants that `evaluate` trains; the others need a GPU, are trained by `--variant published`, and are scored where
RUNS holds folds of them."""

CURVE_EVERY = 4
"""Every so many training cases one is looked at for the training curve."""


def train_folds(
    name: str,
    roots: Sequence[Path],
    folds: Sequence[int | None],
    budget: Budget,
    runs: Path,
    segmentations: Path | None,
    device: str,
) -> list[Path]:
    """Train a variant for each fold, see `crossval.train_folds`; the card of a refit tells the cross-validation."""
    paths = crossval.train_folds(name, roots, folds, budget, runs, segmentations, device)
    for path, fold in zip(paths, folds, strict=True):
        results = runs / "results.json"
        if fold is None and results.exists() and (found := json.loads(results.read_text()).get(name)):
            kept = {"diagnosis": {key: found[key] for key in KEPT_ON_CARD if key in found}, "cross_validation": None}
            add_to_card(path, kept)
    return paths


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
    """Cross-validate all variants that RUNS holds, draw curves and confusion matrices, and give the page back.

    RUNS/results.json, results.md and the pictures are written after every variant, and say what is still to come; at
    the end slices of a phantom, and patients.png, which is not for the repository.

    Args:
        system: "acdc-multitask".
        roots: Data sets with ACDC's classes.
        runs: Folder of the runs; what it holds is used.
        budget: Of a fold of the half-resolution variants that is missing (published: of the others).
        folds: How many of the five folds to use, from the first.
        segmentations: Folder of `myoscope evaluate compact-cine`, to find each heart by a model that has not seen it;
            without it the installed model is used.
        device: "cpu" or "cuda".
        progress: Called with a few words before each step.
        published: Whether the thesis' own experiments are asked for, and nothing else.

    Raises:
        InputError: no fold was trained, or the segmentations do not fit.
    """
    cases = [case for case in crossval.read_cases(roots) if case.group in CLASSES and Role.CINE in case.labels]
    wanted = [name for name in RECIPES if name not in TRAINED_HERE] if published else list(RECIPES)
    trained_here = wanted if published else TRAINED_HERE
    crossval.check_folds(wanted[0], cases, crossval.first_folds(wanted[0], folds))
    progress("finding the hearts")
    hearts = find_hearts(cases, runs, segmentations)
    found: dict[str, dict[str, Any]] = {}
    text = ""
    for name in wanted:
        if budget and name in trained_here:
            train_folds(name, roots, crossval.first_folds(name, folds), budget, runs, None, device)
        scores = score_variant(name, cases, runs, folds, hearts, device, progress)
        if scores is None:
            continue
        found[name] = scores
        write_whole(runs / "results.json", json.dumps(found, indent=1))
        draw_curves(found, runs / f"{system}-curves.svg")
        draw_confusions(found, runs / f"{system}-confusion.svg")
        missing = [name for name in wanted if name not in found]
        facts = page_facts(found, [root.name for root in roots], bool(segmentations), missing)
        text = write_page(TEMPLATE, facts | {"published": published}, runs)
    if figures.compared(found):
        progress("drawing")
        figures.write_phantom(found, runs, runs / f"{system}-slices.svg", device)
        figures.write_patients(found, {c.id: c for c in cases}, hearts[1], runs, runs / "patients.png", device)
    if not found:
        raise InputError(f"{shown(runs)}: expected trained folds, found none; add --minutes, --steps or --epochs")
    return text


def score_variant(
    name: str,
    cases: Sequence[Case],
    runs: Path,
    folds: int,
    hearts: tuple[str, Mapping[str, Heart]],
    device: str,
    progress: Callable[[str], None],
) -> dict[str, Any] | None:
    """What the folds of a variant that RUNS holds make of unseen cases, for results.json; None where it holds none.

    Its probabilities are written as `predict` writes them.
    """
    dealt = crossval.first_folds(name, folds)
    paths = {k: p for k in dealt if (p := crossval.weights_path(name, k, runs)).exists()}
    if not paths:
        return None
    scored = []
    for fold, path in paths.items():
        progress(f"{name}: scoring fold {fold + 1}")
        scored.append(score_fold(cases, fold, path, hearts, device))
    rows = [row for kept in scored for row in kept["rows"]]
    if "probabilities" in rows[0]:
        said = {row["case"]: Classification(dict(zip(CLASSES, row["probabilities"], strict=True))) for row in rows}
        write_predictions(paths[min(paths)].parents[1], said)
    cards = [read_card(path) for path in paths.values()]
    return summarise(rows) | {
        "folds": [k + 1 for k in paths],
        "of": crossval.folds_of(name),
        "trained": trainings(cards),
        "training_cases": sorted({sum(card["trained_on"].values()) for card in cards}),
        "rows": rows,
        "curves": [kept["curve"] for kept in scored],
    }


def find_hearts(cases: Sequence[Case], runs: Path, segmentations: Path | None) -> tuple[str, dict[str, Heart]]:
    """Where compact-cine finds each heart, kept in RUNS for as long as its models and the cases stay the same.

    Args:
        cases: Labels are not looked at.
        runs: Folder of the runs.
        segmentations: Runs of `evaluate compact-cine`; None for the installed one, which has seen the cases.

    Returns:
        A key that changes with the models, and the hearts by case.

    Raises:
        InputError: see `crossval.fold_models`.
    """
    if segmentations:
        models = sorted(set(crossval.fold_models(LOCATOR, cases, segmentations).values()))
    else:
        models = [weights_of(LOCATOR)]
    key = sha256(b"".join(path.read_bytes() for path in models)).hexdigest()[:16]
    path = runs / f"hearts-{key}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    if set(kept) < {case.id for case in cases}:
        if segmentations:
            labels = out_of_fold(cases, segmentations, LOCATOR)
        else:
            model = system_module(LOCATOR).Model.load(models[0])
            labels = {case.id: model.predict(case.study) for case in cases}
        found = {case.id: find_heart(case.study.get(Role.CINE), labels[case.id][Role.CINE]) for case in cases}  # type: ignore[arg-type]
        kept = {name: asdict(heart) for name, heart in found.items()}
        runs.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(kept, indent=1))
    return key, {name: Heart(h["centre"] and tuple(h["centre"]), h["ed"], h["es"]) for name, h in kept.items()}


def score_fold(
    cases: Sequence[Case], fold: int, weights: Path, hearts: tuple[str, Mapping[str, Heart]], device: str
) -> dict[str, Any]:
    """`rows`, one a case that a fold's model has not seen, and the learning `curve`; kept beside the weights."""
    path = weights.with_name("scores.json")
    if crossval.made_from(weights, path):
        kept = json.loads(path.read_text())
        if kept["hearts"] == hearts[0]:
            return kept
    model = Model.load(weights, device)
    crossval.refuse_other_deal(model.recipe.name, fold, weights)
    known, unseen = deal(cases, fold, RECIPES[model.recipe.name].folds)
    rows = [score_case(model, case, hearts[1][case.id]) | {"fold": fold + 1} for case in unseen]
    groups = {"training": known[::CURVE_EVERY], "held out": unseen}
    curve = learning_curve(model, weights.parent / "snapshots", groups, hearts[1])
    kept = {"hearts": hearts[0], "rows": rows, "curve": curve}
    write_whole(path, json.dumps(kept, indent=1))
    return kept


def score_case(model: Model, case: Case, heart: Heart) -> dict[str, Any]:
    """What a model makes of a case, and how good that is.

    `whole` has Dice on all slices and the image's own grid, as `predict` writes them; `dice` and `hausdorff_mm` are the
    paper's, on the middle six. `middle` has the probabilities from the middle six slices alone.
    """
    series, truth = case.study.get(Role.CINE), case.labels[Role.CINE]
    assert series is not None
    seen = model.look(series, heart)
    result = model.conclude(series, seen)
    row: dict[str, Any] = {"case": case.id, "scan": case.scan, "group": case.group}
    labels = result.labels if isinstance(result, Classification) else result
    if isinstance(result, Classification):
        assert seen.diagnosis is not None
        row |= {"probabilities": list(result.probabilities.values()), "middle": seen.diagnosis[seen.middle].tolist()}
    if seen.features is not None:
        row |= {"features": seen.features.mean(0).tolist(), "true features": cardiac_features(truth, heart)}
    if seen.shares is not None:
        row |= middle_scores(model, seen, case)
        row["whole"] = {}
        for phase, frame in zip(PHASES, (heart.ed, heart.es), strict=True):
            a, b = labels[Role.CINE].frames[frame], truth.frames[frame]
            for region, parts in CINE_REGIONS.items():
                row["whole"][f"{region} {phase}"] = dice(np.isin(a, parts), np.isin(b, parts))
    return row


def middle_scores(model: Model, seen: Seen, case: Case) -> dict[str, dict[str, float | None]]:
    """Dice and Hausdorff distance on the middle six slices at the network's resolution; None where one is empty."""
    assert seen.shares is not None
    recipe, truth = model.recipe, case.labels[Role.CINE]
    spacing_mm = (truth.spacing_mm[0], recipe.spacing_mm, recipe.spacing_mm)
    first = max(0, seen.slices - SLICES) // 2
    drawn = read_labels(truth, seen.heart, recipe.crop, recipe.spacing_mm)[:, first : first + SLICES].numpy()
    found = seen.shares[seen.middle].argmax(1).numpy()
    scores: dict[str, dict[str, float | None]] = {"dice": {}, "hausdorff_mm": {}}
    for phase, a, b in zip(PHASES, found, drawn, strict=True):
        for region, parts in CINE_REGIONS.items():
            codes = [i for i, structure in enumerate(STRUCTURES) if structure in parts]
            one, other = np.isin(a, codes), np.isin(b, codes)
            far = hausdorff_mm(one, other, spacing_mm)
            scores["dice"][f"{region} {phase}"] = dice(one, other)
            scores["hausdorff_mm"][f"{region} {phase}"] = None if np.isnan(far) else far
    return scores


def learning_curve(
    model: Model, snapshots: Path, groups: Mapping[str, Sequence[Case]], hearts: Mapping[str, Heart]
) -> list[dict[str, Any]]:
    """Accuracy and mean Dice of the middle six slices at every snapshot of a training, for drawing only."""
    points = []
    for path in sorted(snapshots.glob("*.safetensors")):
        from safetensors.torch import load_file

        network = build(model.recipe)
        load_into(network, {name: tensor.float() for name, tensor in load_file(path).items()})
        then = Model(model.recipe, network.to(next(model.network.parameters()).device))
        point: dict[str, Any] = {"step": int(path.stem)}
        for group, some in groups.items():
            said: list[int] = []
            right: list[bool] = []
            dices: list[float | None] = []
            for case in some:
                seen = then.look(case.study.get(Role.CINE), hearts[case.id], only_middle=True)  # type: ignore[arg-type]
                if seen.diagnosis is not None:
                    said.append(int(seen.diagnosis[0].argmax()))
                    right.append(CLASSES[said[-1]] == case.group)
                if seen.shares is not None:
                    dices += middle_scores(then, seen, case)["dice"].values()
            point[group] = {"accuracy": float(np.mean(right)) if right else None}
            point[group]["largest"] = float(np.bincount(said).max() / len(said)) if said else None
            point[group]["dice"] = float(np.mean([d for d in dices if d is not None])) if dices else None
        points.append(point)
    return points
