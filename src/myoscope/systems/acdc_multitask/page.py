"""What the results page of the multitask network says: the paper's Tables 4 and 5, Figures 7 and 8 beside ours."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from myoscope.datasets.acdc import CLASSES
from myoscope.lab.pages import save_svg
from myoscope.lab.statistics import interval, wilson
from myoscope.systems.acdc_multitask.inputs import FEATURES
from myoscope.systems.acdc_multitask.recipe import RECIPES
from myoscope.systems.acdc_multitask.training import combined

TEMPLATE = Path(__file__).with_name("page.md.j2")
PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())
AIM_PERCENT = 88
READ_AT, COLLAPSED_BY = 1100, 1500
"""Steps at which the thesis read its accuracies, and by which its networks said one class of everybody."""
LEAST = 1e-3
"""A probability below this counts as this in the log loss: one patient must not decide it."""

TITLES = {
    "diagnosis": "diagnosis alone",
    "segmentation": "segmentation alone",
    "double": "double task",
    "triple": "triple task",
}
KEPT_ON_CARD = ("n", "accuracy", "accuracy_low", "accuracy_high", "brier", "log_loss")
Found = Mapping[str, Mapping[str, Any]]


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over patients of what one variant's rows (see `score_case`) hold, with 95 % intervals.

    Returns:
        `n`; where there is a diagnosis `accuracy` and `middle` (from the middle six slices alone) in per cent with
        `_low` and `_high` (Wilson), `brier` and `log_loss` (bootstrap by scan) and the `confusion`, rows the truth;
        where there are label maps `dice`, `hausdorff_mm` and `whole` by region and phase, and in `empty` how often a
        Hausdorff distance was undefined; where there are features their `correlation` with the expert's.
    """
    result: dict[str, Any] = {"n": len(rows)}
    scans = np.array([row["scan"] for row in rows])
    if "probabilities" in rows[0]:
        truth = np.array([CLASSES.index(row["group"]) for row in rows])
        for name, key in (("accuracy", "probabilities"), ("middle", "middle")):
            right = correct(rows, key)
            low, high = wilson(float(right.mean()), len(right))
            result |= {name: 100 * float(right.mean()), f"{name}_low": low, f"{name}_high": high}
        shares = np.array([row["probabilities"] for row in rows])
        brier = ((shares - np.eye(len(CLASSES))[truth]) ** 2).sum(1)
        log_loss = -np.log(shares[np.arange(len(truth)), truth].clip(LEAST))
        for name, values in (("brier", brier), ("log_loss", log_loss)):
            low, high = interval(values, scans)
            result |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
        confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
        np.add.at(confusion, (truth, shares.argmax(1)), 1)
        result["confusion"] = confusion.tolist()
    for key in ("dice", "hausdorff_mm", "whole"):
        if key in rows[0]:
            values = {name: [row[key][name] for row in rows if row[key][name] is not None] for name in rows[0][key]}
            result[key] = {name: float(np.mean(some)) if some else None for name, some in values.items()}
            if key == "hausdorff_mm":
                result["empty"] = sum(len(rows) - len(some) for some in values.values())
    if "features" in rows[0]:
        pairs = zip(*(np.array([row[key] for row in rows]).T for key in ("features", "true features")), strict=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = [float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 else float("nan") for a, b in pairs]
        result["correlation"] = {n: None if np.isnan(r) else r for n, r in zip(FEATURES, found, strict=True)}
    return result


def correct(rows: Sequence[Mapping[str, Any]], key: str = "probabilities") -> np.ndarray:
    """Whether the most probable class is the true one, (n,) of 0.0 and 1.0."""
    return np.array([CLASSES[int(np.argmax(row[key]))] == row["group"] for row in rows], float)


def difference(more: Mapping[str, Any], less: Mapping[str, Any]) -> tuple[float, float, float, int]:
    """Accuracy of one variant minus another's in points on the same patients: mean, 95 % interval by bootstrap, n."""
    others = {row["case"]: row for row in less["rows"]}
    rows = [row for row in more["rows"] if row["case"] in others]
    gain = 100 * (correct(rows) - correct([others[row["case"]] for row in rows]))
    low, high = interval(gain, np.array([row["scan"] for row in rows]))
    return float(gain.mean()), low, high, len(rows)


def task(name: str) -> str:
    """The experiment of a variant: diagnosis, segmentation, double or triple."""
    return name.partition(".")[2].removeprefix("half-").removesuffix("-literal")


def title(name: str) -> str:
    """A variant's name on the page."""
    literal = ", the formula's weights" if name.endswith("-literal") else ""
    return TITLES[task(name)] + literal + (", half resolution" if ".half-" in name else "")


def weights(name: str) -> dict[str, float]:
    """What each task weighs in a variant's loss."""
    recipe = RECIPES[name]
    on = {"segmentation": recipe.segmentation, "features": recipe.features, "diagnosis": recipe.diagnosis}
    terms = {task: torch.tensor(1.0, requires_grad=True) for task, learned in on.items() if learned}
    combined(terms, recipe.alpha, recipe.beta, recipe.cedes).backward()
    return {task: float(term.grad) for task, term in terms.items() if term.grad is not None}


def steps_facts(found: Found) -> dict[str, Any]:
    """Whether all variants made the same steps, and what held-out cases said at the thesis' two steps."""
    reached = {name: [way["steps"] or 0 for way in f["trained"]] for name, f in found.items()}
    every = [steps for ways in reached.values() for steps in ways]
    points = []
    for name, f in found.items():
        at: dict[str, Any] = {"title": title(name), "steps": [min(reached[name]), max(reached[name])]}
        for step in (READ_AT, COLLAPSED_BY):
            for key in ("accuracy", "largest"):
                steps, means = mean_curve(f["curves"], "held out", key)
                at[f"{key} {step}"] = 100 * means[steps.index(step)] if step in steps else None
        points.append(at)
    return {"least": min(every), "most": max(every), "read_at": READ_AT, "collapsed_by": COLLAPSED_BY, "points": points}


def page_facts(found: Found, roots: Sequence[str], out_of_fold: bool, missing: Sequence[str]) -> dict[str, Any]:
    """What the page says, for its template; `missing` names the variants that were not run."""
    half = RECIPES["acdc-multitask.half-double"]
    return {
        "roots": list(roots),
        "out_of_fold": out_of_fold,
        "paper": PAPER | {"titles": {name: TITLES.get(name, name) for name in PAPER["dice"]}},
        "half": {"crop": half.crop, "spacing_mm": half.spacing_mm},
        "classes": list(CLASSES),
        "variants": [
            {key: value for key, value in f.items() if key not in ("rows", "curves")}
            | {
                "title": title(name),
                "task": task(name),
                "weights": weights(name),
                "published": PAPER["diagnosis"].get(task(name)),
            }
            for name, f in found.items()
        ],
        "steps": steps_facts(found),
        "missing": [title(name) for name in missing],
        "published_missing": any(".half-" not in name for name in missing),
        "aims": _aims(found),
    }


def _aims(found: Found) -> list[dict[str, Any]]:
    """The aims of the double task, and what was measured: accuracy, and its gain over diagnosis alone."""
    aims: list[dict[str, Any]] = []
    for name in [name for name in found if task(name) == "double"]:
        aims.append({"title": title(name), "aim": AIM_PERCENT, "accuracy": found[name]["accuracy"], "gain": None})
        if (alone := name.replace("double", "diagnosis")) in found:
            mean, low, high, n = difference(found[name], found[alone])
            aims[-1]["gain"] = {"over": title(alone), "mean": mean, "low": low, "high": high, "n": n}
    return aims


def draw_curves(found: Found, path: Path) -> None:
    """Figure 7: classification error and Dice of every variant over the steps; training dashed, held out solid."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = zip(figure.subplots(1, 2), ("accuracy", "dice"), strict=True)
    for axes, key in panels:
        for i, (name, f) in enumerate(found.items()):
            for group, style in (("training", "--"), ("held out", "-")):
                steps, means = mean_curve(f["curves"], group, key)
                if steps:
                    values = [100 * (1 - m) for m in means] if key == "accuracy" else means
                    axes.plot(steps, values, style, color=f"C{i}", label=f"{title(name)}, {group}")
        axes.set(xlabel="step", ylabel="classification error, %" if key == "accuracy" else "mean Dice")
        if axes.lines:
            axes.legend(fontsize="xx-small")
    save_svg(figure, path)


def mean_curve(curves: Sequence[Sequence[Mapping[str, Any]]], group: str, key: str) -> tuple[list[int], list[float]]:
    """Steps that every fold reached, and the mean over folds of `key` there; empty where no fold has it."""
    folds = [
        {point["step"]: point[group][key] for point in curve if point[group].get(key) is not None} for curve in curves
    ]
    steps = sorted(set.intersection(*map(set, folds))) if folds else []
    return steps, [float(np.mean([fold[step] for fold in folds])) for step in steps]


def draw_confusions(found: Found, path: Path) -> None:
    """Figure 8: one matrix for every variant that judges; rows are the truth."""
    from matplotlib.figure import Figure

    shown = {name: np.array(f["confusion"]) for name, f in found.items() if "confusion" in f}
    if not shown:
        return
    figure = Figure(figsize=(3.4 * len(shown), 3.4), layout="constrained")
    for axes, (name, matrix) in zip(np.ravel(figure.subplots(1, len(shown))), shown.items(), strict=True):
        axes.imshow(matrix / np.maximum(1, matrix.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
        for (y, x), count in np.ndenumerate(matrix):
            dark = count > 0.6 * matrix[y].sum()
            axes.text(x, y, count, ha="center", va="center", color="white" if dark else "black")
        ticks = range(len(CLASSES))
        axes.set_xticks(ticks, CLASSES, fontsize="small")
        axes.set_yticks(ticks, CLASSES, fontsize="small")
        axes.set(title=title(name), xlabel="said", ylabel="truth")
        axes.title.set_fontsize("small")
    save_svg(figure, path)
