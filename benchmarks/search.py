"""The jdl paper's search: learning rate, dropout, lambda and weight decay by Bayesian optimisation, on an inner split.

python benchmarks/search.py jdl RUNS --data ../shared/data/emidec --trials 30 --minutes 5

Needs `pip install 'myoscope[search]'`. SYSTEM may be a variant, as in jdl.unet-joint. Folds 3 to 5 train, fold 2 is
scored by the mean scar Dice of its patients with scar; fold 1 is not touched: only there is what was found a fair
result. The first two trials are the recipe's own values and the paper's, then a Gaussian process proposes (Optuna).
Minutes are processor time on one thread. RUNS/search.db keeps the trials; kill it at any time and repeat the command:
it goes on until there are as many as asked for. The table is printed and kept in RUNS/search.md.
"""

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import optuna
import torch

from myoscope.lab.crossval import read_cases
from myoscope.lab.folds import fold_of
from myoscope.lab.loop import Budget
from myoscope.lab.metrics import dice
from myoscope.labels import SCAR
from myoscope.study import Case, Role
from myoscope.systems import full_name
from myoscope.systems.jdl.recipe import RECIPES, Recipe
from myoscope.systems.jdl.training import train

UNTOUCHED, SCORED = 0, 1
RANGES = {
    "learning_rate": (1e-4, 1e-2, True),
    "dropout": (0.0, 0.6, False),
    "wall_weight": (0.2, 5.0, True),
    "weight_decay": (1e-6, 1e-1, True),
}
"""Lowest, highest, and whether on a logarithmic scale."""

PAPER = {"learning_rate": 4.73e-4, "dropout": 0.39, "wall_weight": 1.02, "weight_decay": 5.58e-6}


def search(recipe: Recipe, cases: Sequence[Case], runs: Path, trials: int, budget: Budget) -> optuna.Study:
    """Run trials until there are as many as asked for, those of earlier calls counted."""
    runs.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{runs.resolve() / 'search.db'}"
    study = optuna.create_study(storage=storage, study_name=recipe.name, direction="maximize", load_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.GPSampler(seed=len(study.trials))
    if not study.trials:
        study.enqueue_trial(values_of(recipe))
        study.enqueue_trial(PAPER)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # its process was killed
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    while len(finished(study)) < trials:
        trial = study.ask()
        chosen = {name: trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in RANGES.items()}
        study.tell(trial, run(with_values(recipe, chosen), cases, runs, budget))
    return study


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that have a value."""
    return study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))


def values_of(recipe: Recipe) -> dict[str, float]:
    """A recipe's own values of what is searched."""
    found = recipe.optimisation
    return {
        "learning_rate": found.learning_rate,
        "dropout": recipe.dropout,
        "wall_weight": recipe.wall_weight,
        "weight_decay": found.weight_decay,
    }


def with_values(recipe: Recipe, values: dict[str, float]) -> Recipe:
    """A recipe with other values of what is searched."""
    rate, decay = values["learning_rate"], values["weight_decay"]
    optimisation = replace(recipe.optimisation, learning_rate=rate, weight_decay=decay)
    return replace(recipe, optimisation=optimisation, dropout=values["dropout"], wall_weight=values["wall_weight"])


def run(recipe: Recipe, cases: Sequence[Case], runs: Path, budget: Budget) -> float:
    """Train one trial on the inner split and score it; its folder bears its values, so that a killed one goes on."""
    mark = sha256(json.dumps([recipe.name, values_of(recipe), budget.minutes]).encode()).hexdigest()[:12]
    folds = fold_of(cases)
    inner = [case for case, k in zip(cases, folds, strict=True) if k not in (UNTOUCHED, SCORED)]
    model = train(recipe, inner, budget, runs / f"trial-{mark}")
    scores = []
    for case, k in zip(cases, folds, strict=True):
        truth = np.isin(case.labels[Role.LGE].voxels, SCAR)
        if k == SCORED and truth.any():
            scores.append(dice(np.isin(model.predict(case.study)[Role.LGE].voxels, SCAR), truth))
    return float(np.mean(scores))


def table(study: optuna.Study, budget: Budget) -> str:
    """All finished trials in Markdown, the best first."""
    lines = [
        f"# Search for {study.study_name}",
        "",
        f"Folds 3 to 5 train for {budget.minutes:g} minutes of processor time on one thread, fold 2 is scored:",
        "mean scar Dice of its patients with scar. Trial 0 has the recipe's own values, trial 1 the paper's.",
        "",
        "| trial | scar Dice | " + " | ".join(RANGES) + " |",
        "|---" * (2 + len(RANGES)) + "|",
    ]
    for trial in sorted(finished(study), key=lambda t: -t.value):
        cells = " | ".join(f"{trial.params[name]:.3g}" for name in RANGES)
        lines.append(f"| {trial.number} | {trial.value:.3f} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    name, _, variant = chosen.system.partition(".")
    cases = [case for case in read_cases(chosen.data) if Role.LGE in case.labels]
    budget = Budget(minutes=chosen.minutes, clock=time.process_time)
    study = search(RECIPES[full_name(name, variant or None)], cases, chosen.runs, chosen.trials, budget)
    text = table(study, budget)
    (chosen.runs / "search.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
