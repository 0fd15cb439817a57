"""jdl's results page: volumes, slices, paired tests and cost of four methods; its box plots and contours."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.lab.folds import FOLDS
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.report.figures import crop, to_grey
from myoscope.study import Case, Role
from myoscope.systems import full_name
from myoscope.systems.jdl.network import METHODS
from myoscope.systems.jdl.recipe import SCAR_ABOVE, SMALLEST_ML, WALL_IN_SCAR_ABOVE

PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())
SHIPS = full_name("jdl", None).partition(".")[2]
SCAR_DICE, WALL_DICE = "infarction dice", "myocardium dice"
COMPARED = (("direct", SCAR_DICE), ("two-step", SCAR_DICE), ("multitask", SCAR_DICE), ("two-step", WALL_DICE))
"""What joint is compared with, and by what: the family of tests."""

BOOTSTRAPS = 10_000
PHANTOM_SEED = 5
PATIENTS = 4

Rows = Sequence[Mapping[str, Any]]


def results_page(rows: Rows, slices: Rows, costs: Mapping[str, Rows], roots: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        rows: One a variant and case.
        slices: One a variant and slice of the heart.
        costs: For each variant what its folds cost.
        roots: Names of the data sets' folders.
    """
    command = "myoscope evaluate jdl " + " ".join(f"--data {root}" for root in roots) + " -o RUNS"
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    lines = ["# jdl: scar with the help of a myocardium that is learned with it", "", f"Written by `{command}`."]
    lines += [
        "Cross-validation by patient; scar is infarct with no-reflow. All methods of a backbone had the same folds,",
        "seed, augmentation and minutes; these are processor time on a CPU, and a method with one network makes more",
        f"steps in them. The paper's data are others: {PAPER['source']}.",
    ]
    lines += _missing(rows, variants)
    lines += ["", "## Whole volumes", ""]
    lines += _volumes(rows, variants) + _aims(rows) + _by_fold(rows, variants)
    for backbone in dict.fromkeys(v.partition("-")[0] for v in variants):
        lines += _tests([row for row in rows if row["variant"].startswith(f"{backbone}-")], backbone)
    lines += _slices(slices, variants)
    lines += ["", "## Contours (Figure 3)", ""]
    lines += ["Each method's first fold model on a slice of a synthetic heart, which none was trained on."]
    lines += ["", "![Contours on a phantom](jdl-contours.svg)"]
    return "\n".join(lines + _costs(costs)) + "\n"


def _missing(rows: Rows, variants: Sequence[str]) -> list[str]:
    """By name, what of the backbone that ships and of the others that were begun is not there."""
    backbones = dict.fromkeys([SHIPS.partition("-")[0], *(v.partition("-")[0] for v in variants)])
    lines = []
    for name in (f"{backbone}-{method}" for backbone in backbones for method in METHODS):
        folds = sorted({row["fold"] for row in rows if row["variant"] == name})
        if len(folds) < FOLDS:
            which = f" ({', '.join(map(str, folds))})" if folds else ""
            lines.append(f"- **{name}: {len(folds)} of {FOLDS} folds{which}.**")
    if "published" not in backbones and "pretrained" not in backbones:
        lines.append("- TransUNet at the published size was not run: no numbers of it are here.")
    return ["", *lines] if lines else []


def _of(rows: Rows, variant: str, key: str, diseased: bool = False) -> np.ndarray:
    some = [row for row in rows if row["variant"] == variant and row[key] is not None]
    return np.array([row[key] for row in some if not diseased or row["infarction true ml"] > 0], float)


def _pm(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std():.3f} ({len(values)})" if len(values) else "-"


def _volumes(rows: Rows, variants: Sequence[str]) -> list[str]:
    lines = ["| variant | scar Dice, cases with scar (n) | scar network's word alone | myocardium Dice (n) "]
    lines[-1] += "| paper's myocardium | scar volume error | no scar given, of those without |"
    lines += ["|---" * 7 + "|"]
    for name in variants:
        paper = PAPER["myocardium_dice"].get(name.partition("-")[2])
        healthy = [r for r in rows if r["variant"] == name and r["infarction true ml"] == 0]
        error = np.abs(_of(rows, name, "infarction ml", True) - _of(rows, name, "infarction true ml", True))
        cells = [_pm(_of(rows, name, SCAR_DICE, True)), _pm(_of(rows, name, "scar_anywhere", True))]
        cells += [_pm(_of(rows, name, WALL_DICE)), f"{paper:.3f}" if paper else "not available"]
        cells += [f"{error.mean():.1f} ml" if len(error) else "-"]
        cells += [f"{sum(r['infarction ml'] == 0 for r in healthy)} of {len(healthy)}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        "Mean ± SD over patients. Scar counts where it lies inside the myocardium found, as `predict` writes it;",
        f"`direct` finds no myocardium. Scar needs a probability of {SCAR_ABOVE:g}, myocardium of 0.5, in scar of",
        f"{WALL_IN_SCAR_ABOVE:g}; less than {SMALLEST_ML:g} ml of scar in a heart is none. The paper takes the scar",
        "network's word alone; of its scar Dice there is a box plot only: not available.",
    ]


def _aims(rows: Rows) -> list[str]:
    joint = {"scar": _of(rows, SHIPS, SCAR_DICE, True), "myocardium": _of(rows, SHIPS, WALL_DICE)}
    parts = []
    for name, values in joint.items():
        if len(values):
            short = PAPER["aims"][name] - values.mean()
            parts.append(f"{name} {PAPER['aims'][name]}: " + ("reached" if short <= 0 else f"short by {short:.3f}"))
    return ["", f"Aims for {SHIPS}: {'; '.join(parts)}."] if parts else []


def _by_fold(rows: Rows, variants: Sequence[str]) -> list[str]:
    folds = sorted({row["fold"] for row in rows})
    lines = ["", "### Fold by fold", "", "| variant | | " + " | ".join(f"fold {k}" for k in folds) + " |"]
    lines += ["|---" * (2 + len(folds)) + "|"]
    for name in variants:
        for title, key, diseased in (("scar", SCAR_DICE, True), ("myocardium", WALL_DICE, False)):
            found = [_of([r for r in rows if r["fold"] == k], name, key, diseased) for k in folds]
            if any(map(len, found)):
                cells = " | ".join(f"{values.mean():.3f}" if len(values) else "-" for values in found)
                lines.append(f"| {name} | {title} | {cells} |")
    return lines


def _tests(rows: Rows, backbone: str) -> list[str]:
    """Joint against the others on the same patients, by Wilcoxon's test, Holm-corrected, and bootstrap intervals."""
    found = []
    for method, key in COMPARED:
        pairs = paired(rows, f"{backbone}-joint", f"{backbone}-{method}", key)
        if len(pairs) > 1:
            found.append((method, key, pairs))
    if not found:
        return ["", f"## Paired tests: {backbone}", "", "Joint and a rival on the same patients are not there yet."]
    raw = [wilcoxon_p(pairs) for *_, pairs in found]
    lines = ["", f"## Paired tests: {backbone}", ""]
    lines += ["| joint minus | of | n | mean difference (95 % interval) | p | p after Holm | joint is |"]
    lines += ["|---" * 7 + "|"]
    for (method, key, pairs), p, held in zip(found, raw, holm(raw), strict=True):
        low, high = bootstrap(pairs)
        verdict = "no different" if held >= 0.05 else "better" if pairs.mean() > 0 else "worse"
        cells = f"{len(pairs)} | {pairs.mean():+.3f} ({low:+.3f} to {high:+.3f}) | {p:.3g} | {held:.3g} | {verdict}"
        title = "scar Dice" if key == SCAR_DICE else "myocardium Dice"
        lines.append(f"| {method} | {title} | {cells} |")
    return [
        *lines,
        "",
        f"Of {len(COMPARED)} comparisons planned {len(found)} are made, hence Holm's correction; each on the patients",
        f"held out from both (for scar: those with scar). Wilcoxon's signed-rank test; {BOOTSTRAPS:,} resamples of",
        'patients, not of slices. "No different" means that these patients do not show a difference at 0.05. How much',
        "training runs with other seeds would differ is in neither.",
    ]


def paired(rows: Rows, first: str, second: str, key: str) -> np.ndarray:
    """First minus second, one value a patient that both variants have (with scar, where scar is compared)."""
    values: dict[str, dict[str, float]] = {first: {}, second: {}}
    for row in rows:
        counts = row[key] is not None and (key != SCAR_DICE or row["infarction true ml"] > 0)
        if row["variant"] in values and counts:
            values[row["variant"]][row["case"]] = row[key]
    both = sorted(set(values[first]) & set(values[second]))
    return np.array([values[first][case] - values[second][case] for case in both])


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where there is no difference at all."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def bootstrap(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of one value a patient, by resampling patients; the same values, the same interval."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (BOOTSTRAPS, len(differences))).mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    result, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        result[i] = least
    return result


def _slices(slices: Rows, variants: Sequence[str]) -> list[str]:
    lines = ["", "## Slices (Figures 2 and 4)", ""]
    lines += ["| variant | Dice, slices with scar (n) | precision (n) | recall (n) | false scar in slices without |"]
    lines += ["|---" * 5 + "|"]
    for name in variants:
        some = [s for s in slices if s["variant"] == name]
        clean = [s for s in some if not s["scar pixels"]]
        wrong = sum(s["found pixels"] > 0 for s in clean)
        cells = " | ".join(_pm(np.array(values)) for values in slice_values(some).values())
        lines.append(f"| {name} | {cells} | {wrong} of {len(clean)} |")
    return [
        *lines,
        "",
        "Slices where the expert drew scar; precision where some was found too. Of the paper's box plots no number is",
        "available. (Its words on what precision and recall mean are swapped, its formulas are right.)",
        "",
        "![Dice, precision and recall of scar by slice](jdl-boxes.svg)",
    ]


def slice_values(slices: Rows) -> dict[str, list[float]]:
    """Dice, precision and recall of the slices where the expert drew scar."""
    shown = [s for s in slices if s["scar pixels"]]
    return {key: [s[key] for s in shown if s[key] is not None] for key in ("dice", "precision", "recall")}


def _costs(costs: Mapping[str, Rows]) -> list[str]:
    lines = ["", "## Cost of a fold", ""]
    lines += ["| variant | folds | device | minutes given | used | steps | seconds a step | peak memory | weights |"]
    lines += ["|---" * 9 + "|"]
    for name, folds in costs.items():
        known = [cost for cost in folds if "steps" in cost]
        minutes = ", ".join(sorted({f"{cost['minutes']:g}" for cost in folds if cost["minutes"]})) or "-"
        cells = [str(len(folds)), ", ".join(sorted({cost["device"] for cost in folds})), minutes]
        if known:
            steps = sum(cost["steps"] for cost in known)
            seconds = sum(cost["seconds"] for cost in known)
            memory = [cost["peak_mb"] for cost in known if cost["peak_mb"]]
            cells += [f"{seconds / 60 / len(known):.1f}", f"{steps / len(known):.0f}", f"{seconds / steps:.2f}"]
            cells += [f"{max(memory):.0f} MB" if memory else "-"]
        else:
            cells += ["-"] * 4
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {folds[0]['mib']:.1f} MiB |")
    return [
        *lines,
        "",
        "Minutes and seconds are processor time on a CPU, wall clock on a GPU. Memory is all that the process held at",
        "once on a CPU (after other trainings in one process: with what they left), PyTorch's on a GPU.",
    ]


def write_boxes(slices: Rows, path: Path) -> None:
    """Box plots of Dice, precision and recall of scar by slice; same rows, same file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    variants = list(dict.fromkeys(s["variant"] for s in slices))
    values = [slice_values([s for s in slices if s["variant"] == name]) for name in variants]
    figure = Figure(figsize=(10, 0.4 * len(variants) + 1.4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 3, sharey=True), ("dice", "precision", "recall"), strict=True):
        boxes = [found[key] or [np.nan] for found in values]
        axes.boxplot(boxes, orientation="horizontal", showmeans=True, flierprops={"markersize": 2})
        axes.set_yticks(range(1, len(variants) + 1), variants)
        axes.set(title=f"{key.replace('dice', 'Dice')} of scar, slice by slice", xlim=(0, 1))
        axes.invert_yaxis()
    with rc_context({"svg.hashsalt": "myoscope"}):
        figure.savefig(path, metadata={"Date": None})


def write_phantom(models: Mapping[str, Any], path: Path) -> None:
    """Contours of models by variant on the slice of a synthetic heart with most scar: safe to publish."""
    from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
    from myoscope.systems.jdl.model import labels_of

    case = draw(sample(PHANTOM_SEED, KEPT_ASIDE, "MINF"), [Role.LGE])
    grid = case.study.series[0].image
    found = {name: labels_of(*model.masks(grid.frames[0], grid)) for name, model in models.items()}
    _write_contours([(case, found)], path)


def write_patients(masks: Mapping[str, Mapping[str, Any]], cases: Mapping[str, Case], rows: Rows, path: Path) -> None:
    """The same on held-out patients that all variants have, from the worst to the best. Not for the repository."""
    from myoscope.systems.jdl.model import labels_of

    common = set.intersection(*(set(found) for found in masks.values()))
    dices = {r["case"]: r[SCAR_DICE] for r in rows[::-1] if r["case"] in common and r["infarction true ml"] > 0}
    order = sorted(dices, key=lambda case: dices[case])
    if order:
        places = np.unique(np.linspace(0, len(order) - 1, PATIENTS).round().astype(int))
        chosen = [order[place] for place in places]
        _write_contours([(cases[i], {name: labels_of(*of[i]) for name, of in masks.items()}) for i in chosen], path)


def _write_contours(shown: Sequence[tuple[Case, Mapping[str, np.ndarray]]], path: Path) -> None:
    """For each case the slice with most scar: image, expert's contours, then each variant's."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = 2 + len(shown[0][1])
    figure = Figure(figsize=(1.9 * columns, 2.1 * len(shown)), layout="constrained", dpi=100)
    for row, (case, found) in zip(figure.subplots(len(shown), columns, squeeze=False), shown, strict=True):
        grid, truth = case.study.get(Role.LGE).image, case.labels[Role.LGE].frames[0]  # type: ignore[union-attr]
        z = int(np.isin(truth, SCAR).sum((1, 2)).argmax())
        window = crop(np.isin(truth, LV_WALL)[None, z : z + 1], truth.shape[1:], grid.spacing_mm[1:])
        grey = to_grey(grid.frames[0][z])[window]
        panels: dict[str, Any] = {"image": None, "expert" if case.data_set else "true": truth, **found}
        for axes, (title, labels) in zip(row, panels.items(), strict=True):
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            axes.set_title(title, fontsize=9)
            for structures, colour in ((LV_WALL, Structure.MYOCARDIUM.colour), (SCAR, Structure.INFARCT.colour)):
                mask = None if labels is None else np.isin(labels[z][window], structures)
                if mask is not None and mask.any() and not mask.all():
                    axes.contour(mask, [0.5], colors=colour, linewidths=1)
    with rc_context({"svg.hashsalt": "myoscope"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
