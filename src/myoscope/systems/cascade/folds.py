"""Train the stages of the cascade fold by fold: the second on what fold models of the first say of unseen cases."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from myoscope.errors import InputError
from myoscope.files import write_arrays, write_whole
from myoscope.lab import crossval
from myoscope.lab.folds import FOLDS, deal
from myoscope.lab.installed import installed_members
from myoscope.lab.loop import Budget
from myoscope.study import Case
from myoscope.systems import system_module
from myoscope.systems.cascade.recipe import RECIPES, Recipe
from myoscope.systems.cascade.training import prior_on_canvas, train
from myoscope.weights import members_of, network_of, read_card, write_card


def train_folds(
    name: str,
    roots: Sequence[Path],
    folds: Sequence[int | None],
    budget: Budget,
    runs: Path,
    segmentations: Path | None,
    device: str,
) -> list[Path]:
    """Train a variant for each fold, see `train_fold`."""
    cases = wanted(name, crossval.read_cases(roots))
    crossval.check_folds(name, cases, folds)
    return [train_fold(name, cases, fold, budget, runs, segmentations, device) for fold in folds]


def wanted(name: str, cases: Sequence[Case]) -> list[Case]:
    """The cases whose labels a variant learns from."""
    return [case for case in cases if set(RECIPES[name].roles) & set(case.labels)]


def train_fold(
    name: str,
    cases: Sequence[Case],
    fold: int | None,
    budget: Budget,
    runs: Path,
    segmentations: Path | None,
    device: str,
) -> Path:
    """Train a stage on all folds but one (on all cases where fold is None); nothing to do where that was finished.

    One that had a smaller budget goes on, and its first stage before it where that is the cascade's own.

    Args:
        name: A variant of the cascade.
        cases: All cases, with labels.
        fold: The fold that is left out.
        budget: Of each training.
        runs: Where runs lie. A first stage that is the cascade's own is trained there too, for every fold.
        segmentations: Runs of `evaluate` of a first stage that is not.
        device: "cpu" or "cuda".

    Raises:
        InputError: no runs of the first stage are given, or they do not fit these cases.
    """
    recipe, path = RECIPES[name], crossval.weights_path(name, fold, runs)
    if path.exists() and crossval.had_as_much(path, budget):
        return path
    first, priors = None, None
    if recipe.first:
        firsts = runs if recipe.first in RECIPES else check_firsts(recipe, cases, segmentations)
        if recipe.first in RECIPES:
            for k in {*range(FOLDS), fold}:
                train_fold(recipe.first, cases, k, budget, runs, segmentations, device)
        first = crossval.weights_path(recipe.first, fold, firsts)
        priors = out_of_fold(recipe, cases, firsts, runs)
    chosen, _ = deal(cases, fold)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    seen_before = read_card(first).get("started_from") if first else None
    write_whole(folder / "started_from.json", json.dumps(seen_before))
    model = train(recipe, chosen, budget, folder, device, first, priors)
    card = crossval.card(name, chosen, fold, budget, folder.parent, folder, device)
    inside = folder.parent / "chosen.json"  # by cross-validation: nothing that a fold model may be told
    if fold is None and inside.exists():
        card["chosen"] = json.loads(inside.read_text())
    model.save(path, card)
    return path


def unpack_members(name: str, cases: Sequence[Case], paths: dict[int, Path]) -> dict[int, Path]:
    """Put the installed members, with their first stages, where a training would have left each fold's network file.

    Args:
        name: A variant of the cascade.
        cases: All cases, with labels.
        paths: Where the network file of a fold, counted from 0, belongs.

    Raises:
        InputError: no members are installed, or they were dealt from other cases.
    """
    installed, members = network_of(name), installed_members(name, cases)
    card = read_card(installed)
    files = {part: members_of(installed, card, part) for part in ("", "first")}
    own = {key: value for key, value in card.items() if key not in ("members", "chosen")}
    for k, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        for part, of_part in files.items():
            write_whole(path.with_suffix(f".{part}.onnx" if part else ".onnx"), of_part[k].read_bytes())
        facts = {key: members[k].card[key] for key in ("minutes", "steps")}
        facts["trained_on"] = dict(Counter(case.data_set for case in deal(cases, k)[0]))
        write_card(path, own | facts | {"split": f"all but fold {k + 1} of {FOLDS}"})
    return paths


def check_firsts(recipe: Recipe, cases: Sequence[Case], firsts: Path | None) -> Path:
    """Refuse runs of the first stage that lack a fold, or were dealt otherwise.

    Raises:
        InputError: no runs are given, one is missing, or a model has seen what it is to be used on.
    """
    first = recipe.first or ""
    if firsts is None:
        raise InputError(f"{recipe.name}: expected --segmentations with runs of `evaluate {first}`, found none")
    crossval.fold_models(first, cases, firsts)
    return firsts


def out_of_fold(recipe: Recipe, cases: Sequence[Case], firsts: Path, runs: Path) -> Mapping[str, Tensor]:
    """By case what the fold model of the first stage that has not seen it says; kept in RUNS for the same models."""
    assert recipe.first
    models = [crossval.weights_path(recipe.first, k, firsts) for k in range(FOLDS)]
    path = runs / f"priors-{crossval.key_of(models, [str(recipe.spacing_mm), *(case.id for case in cases)])}.npz"
    if not path.exists():
        found: dict[str, np.ndarray] = {}
        for k, weights in enumerate(models):
            model = system_module(recipe.first).Model.load(weights)
            for case in deal(cases, k)[1]:
                series = [s for s in case.study.series if s.role in recipe.roles and s.role in case.labels]
                found[case.id] = torch.cat([prior_on_canvas(recipe, model, s) for s in series]).numpy()
        runs.mkdir(parents=True, exist_ok=True)
        write_arrays(path, found)
    with np.load(path) as kept:
        return {name: torch.from_numpy(kept[name]) for name in kept.files}
