"""The results page of the multitask network: the paper's Tables 4 and 5, Figures 7 and 8 beside ours."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.datasets.acdc import CLASSES
from myoscope.lab.diagnosis_fit import interval, wilson
from myoscope.systems.acdc_multitask.inputs import FEATURES
from myoscope.systems.acdc_multitask.recipe import RECIPES

PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())
AIM_PERCENT = 88
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
    return name.partition(".")[2].removeprefix("half-")


def title(name: str) -> str:
    """A variant's name on the page."""
    return TITLES[task(name)] + (", half resolution" if ".half-" in name else "")


def results_page(found: Found, roots: Sequence[str], out_of_fold: bool, missing: Sequence[str]) -> str:
    """The page as Markdown; `missing` names the variants that were not run."""
    command = "myoscope evaluate acdc-multitask " + " ".join(f"--data {root}" for root in roots) + " -o RUNS"
    command += " --segmentations CINE_RUNS" if out_of_fold else ""
    half = RECIPES["acdc-multitask.half-double"]
    located = "has not seen the patient" if out_of_fold else "has seen the patient (the installed one)"
    lines = [
        "# acdc-multitask: five classes from the images, cross-validation by patient",
        "",
        f"Written by `{command}`.",
        "Folds are balanced by class; patients 074 and 076, one scan, stay together. Nothing is chosen on the held-out",
        "cases: the last weights are scored. The crop is centred on the heart as found by a model that",
        f"{located}; the paper centres it on the expert's labels.",
        f"The paper: {PAPER['source']}.",
        f"Half resolution: {half.crop}x{half.crop} at {half.spacing_mm:g} mm instead of 192x192 at 1 mm, half the",
        "growth, less dropout, mild augmentation (the paper has none). All variants: AdamW with a cosine schedule and",
        "averaged weights for plain Adam.",
        "",
        "| variant | folds run | training of a fold |",
        "|---|---|---|",
    ]
    lines += [
        f"| {title(n)} | {', '.join(map(str, f['folds']))} | {'; '.join(f['trained'])} |" for n, f in found.items()
    ]
    if missing:
        lines += ["", f"**Not run: {', '.join(title(name) for name in missing)}.**"]
        if any(".half-" not in name for name in missing):
            lines += ["The published size needs a GPU."]
    lines += ["", *_accuracy(found), "", *_aims(found), "", *_segmentation(found), "", *_features(found)]
    lines += _figures(found)
    return "\n".join(lines) + "\n"


def _accuracy(found: Found) -> list[str]:
    lines = [
        "## Table 5: accuracy",
        "",
        "Accuracy with 95 % Wilson interval, as `predict` does it (mean over all windows of six slices), and from the",
        "middle six slices alone, as in the paper; Brier score (0 to 2) and log loss with bootstrap intervals.",
        "Chance is 20 %; a uniform guess has Brier 0.80 and log loss 1.61.",
        "",
        "| method | n | accuracy | middle six slices | Brier score | log loss | paper, n 25 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, f in found.items():
        if "accuracy" in f:
            cells = [_with_interval(f, key, form) for key, form in _FORMS]
            paper = PAPER["diagnosis"][task(name)]["accuracy_percent"]
            lines.append(f"| {title(name)} | {f['n']} | {' | '.join(cells)} | {paper} % |")
    published = ", ".join(f"{name} {percent} %" for name, percent in PAPER["challenge_percent"].items())
    return [*lines, "", f"The challenge's entries, from features of a segmentation, on its test set: {published}."]


_FORMS = (("accuracy", "{:.0f} %"), ("middle", "{:.0f} %"), ("brier", "{:.2f}"), ("log_loss", "{:.2f}"))


def _with_interval(found: Mapping[str, Any], key: str, form: str) -> str:
    return f"{form} ({form} to {form})".format(found[key], found[f"{key}_low"], found[f"{key}_high"])


def _aims(found: Found) -> list[str]:
    """The aims of the double task, and what was measured."""
    lines = ["| aim | measured | reached |", "|---|---|---|"]
    for name in [name for name in found if task(name) == "double"]:
        accuracy = found[name]["accuracy"]
        lines.append(
            f"| {title(name)}: at least {AIM_PERCENT} % | {accuracy:.1f} % | {_yes(accuracy >= AIM_PERCENT)} |"
        )
        if (alone := name.replace("double", "diagnosis")) in found:
            mean, low, high, n = difference(found[name], found[alone])
            measured = f"{mean:+.1f} points ({low:+.1f} to {high:+.1f}; paired, n {n})"
            lines.append(f"| above {title(alone)}, interval without 0 | {measured} | {_yes(low > 0)} |")
    return lines if len(lines) > 2 else []


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def _segmentation(found: Found) -> list[str]:
    order = PAPER["order"]
    head = [f"| method | {' | '.join(order)} |", "|---" * (len(order) + 1) + "|"]
    lines = [
        "## Table 4: segmentation",
        "",
        "As in the paper: the middle six slices, resampled, against resampled labels, in the crop. Easier than whole",
        "volumes: base and apex are left out in most patients. No label map of this system is ever measured.",
    ]
    paper_names = {name: f"paper, {TITLES.get(name, name)}" for name in PAPER["dice"]}
    for key, what, form in (("dice", "Dice", "{:.2f}"), ("hausdorff_mm", "Hausdorff distance in mm", "{:.1f}")):
        lines += ["", f"{what}:", "", *head]
        lines += [f"| {paper_names[n]} | {' | '.join(form.format(v) for v in row)} |" for n, row in PAPER[key].items()]
        lines += _rows(found, key, form)
    empty = "; ".join(f"{title(name)} {f['empty']} of {6 * f['n']}" for name, f in found.items() if "empty" in f)
    lines += ["", f"Left out of the distances because one mask is empty: {empty or 'none'}."]
    lines += ["", "Dice on all slices and the image's own grid, as `predict` writes the label maps:", "", *head]
    return [*lines, *_rows(found, "whole", "{:.2f}")]


def _rows(found: Found, key: str, form: str) -> list[str]:
    lines = []
    for name, f in found.items():
        if key in f:
            cells = ["-" if (v := f[key][region]) is None else form.format(v) for region in PAPER["order"]]
            lines.append(f"| {title(name)} | {' | '.join(cells)} |")
    return lines


def _features(found: Found) -> list[str]:
    lines = []
    for name, f in found.items():
        if "correlation" in f:
            cells = [f"{n} {'-' if r is None else format(r, '.2f')}" for n, r in f["correlation"].items()]
            lines += [f"## The thirteen features, {title(name)}", ""]
            lines += [f"Correlation with the expert's, n {f['n']}: {', '.join(cells)}.", ""]
    return lines


def _figures(found: Found) -> list[str]:
    lines = ["## Figure 7: learning curves", ""]
    lines += [
        "Mean over folds of the network as it stood at that step (not the averaged weights that are scored), on the"
    ]
    lines += [f"middle six slices; the held-out curve is for drawing only. The paper's: {PAPER['figure_7']}.", ""]
    lines += ["![learning curves](acdc-multitask-curves.svg)"]
    if any("confusion" in f for f in found.values()):
        lines += ["", "## Figure 8: confusion matrices", "", f"The paper's: {PAPER['figure_8']}.", ""]
        lines += ["![confusion matrices](acdc-multitask-confusion.svg)"]
    for name, f in found.items():
        if "confusion" in f and task(name) == "double":
            lines += ["", f"{title(name).capitalize()} (rows: truth):", "", f"| |{'|'.join(CLASSES)}|"]
            lines += ["|---" * (len(CLASSES) + 1) + "|"]
            lines += [f"|{c}|{'|'.join(map(str, row))}|" for c, row in zip(CLASSES, f["confusion"], strict=True)]
    return lines


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
    _write(figure, path)


def mean_curve(curves: Sequence[Sequence[Mapping[str, Any]]], group: str, key: str) -> tuple[list[int], list[float]]:
    """Steps that every fold reached, and the mean over folds of `key` there; empty where no fold has it."""
    folds = [{point["step"]: point[group][key] for point in curve if point[group][key] is not None} for curve in curves]
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
    _write(figure, path)


def _write(figure: Any, path: Path) -> None:
    """An svg that is the same bytes whenever it shows the same."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "myoscope"}):
        figure.savefig(path, metadata={"Date": None})
