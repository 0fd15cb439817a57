"""What jdl's results page says: volumes, slices, paired tests and cost of four methods; its box plots and contours."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.lab.pages import save_svg
from myoscope.lab.statistics import holm, interval, paired, summary, wilcoxon_p
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.report.figures import crop, to_grey
from myoscope.study import Case, Role
from myoscope.systems import full_name
from myoscope.systems.jdl.network import METHODS
from myoscope.systems.jdl.recipe import PRINTED_ABOVE, RECIPES, SCAR_ABOVE, SMALLEST_ML, WALL_IN_SCAR_ABOVE

TEMPLATE = Path(__file__).with_name("page.md.j2")
PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())
SHIPS = full_name("jdl", None).partition(".")[2]
SCAR_DICE, WALL_DICE = "infarction dice", "myocardium dice"
COMPARED = (("direct", SCAR_DICE), ("two-step", SCAR_DICE), ("multitask", SCAR_DICE), ("two-step", WALL_DICE))
"""What joint is compared with, and by what: the family of tests."""

READINGS = ("paper's", "ours")
BOOTSTRAPS = 10_000
PHANTOM_SEED = 5
PATIENTS = 4

Rows = Sequence[Mapping[str, Any]]


def page_facts(
    rows: Rows, slices: Rows, costs: Mapping[str, Rows], roots: Sequence[str], published: bool
) -> dict[str, Any]:
    """What the page says, for its template.

    Args:
        rows: One a variant and case.
        slices: One a variant and slice of the heart.
        costs: For each variant what its folds cost.
        roots: Names of the data sets' folders.
        published: Whether the paper's own experiment was asked for, which lacks nothing of what ships.
    """
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    backbones = list(dict.fromkeys(name.partition("-")[0] for name in variants))
    steps = {cost.get("steps") for folds in costs.values() for cost in folds}
    return {
        "roots": list(roots),
        "published": published,
        "source": PAPER["source"],
        "ships": SHIPS,
        "backbones": backbones,
        "missing": _missing(rows, [*([] if published else [SHIPS.partition("-")[0]]), *backbones]),
        "limits": {
            "printed": PRINTED_ABOVE,
            "scar": SCAR_ABOVE,
            "wall_in_scar": WALL_IN_SCAR_ABOVE,
            "smallest_ml": SMALLEST_ML,
        },
        "volumes": [_volumes(rows, name) for name in variants],
        "aims": _aims(rows),
        "folds": sorted({row["fold"] for row in rows}),
        "by_fold": [found for name in variants for found in _by_fold(rows, name)],
        "tests": [_tests(rows, backbone) for backbone in backbones],
        "draws": BOOTSTRAPS,
        "slices": [
            _slices([s for s in slices if (s["variant"], s["reading"]) == (name, reading)], name, reading)
            for reading in READINGS
            for name in variants
        ],
        "paper_slices_seen": PAPER["epochs"] * PAPER["training_slices"],
        "paper_epochs": PAPER["epochs"],
        "costs": [_cost(name, folds) for name, folds in costs.items()],
        "equal_steps": next(iter(steps), None) if len(steps) == 1 else None,
    }


def _missing(rows: Rows, backbones: Sequence[str]) -> list[dict[str, Any]]:
    """What of the backbone that ships and of the others that were begun is not there."""
    missing = []
    for name in (f"{backbone}-{method}" for backbone in dict.fromkeys(backbones) for method in METHODS):
        folds = sorted({row["fold"] for row in rows if row["variant"] == name})
        if len(folds) < (of := RECIPES[f"jdl.{name}"].folds):
            missing.append({"variant": name, "folds": folds, "of": of})
    return missing


def _of(rows: Rows, variant: str, key: str, diseased: bool = False) -> np.ndarray:
    some = [row for row in rows if row["variant"] == variant and row[key] is not None]
    return np.array([row[key] for row in some if not diseased or row["infarction true ml"] > 0], float)


def _volumes(rows: Rows, name: str) -> dict[str, Any]:
    healthy = [r for r in rows if r["variant"] == name and r["infarction true ml"] == 0]
    error = np.abs(_of(rows, name, "infarction ml", True) - _of(rows, name, "infarction true ml", True))
    return {
        "variant": name,
        "scar": summary(_of(rows, name, SCAR_DICE, True)),
        "printed_scar": summary(_of(rows, name, "printed scar", True)),
        "printed_wall": summary(_of(rows, name, "printed wall")),
        "wall": summary(_of(rows, name, WALL_DICE)),
        "error_ml": summary(error)["mean"],
        "free_of_scar": sum(r["infarction ml"] == 0 for r in healthy),
        "healthy": len(healthy),
    }


def _aims(rows: Rows) -> list[dict[str, Any]]:
    joint = {"scar": _of(rows, SHIPS, SCAR_DICE, True), "myocardium": _of(rows, SHIPS, WALL_DICE)}
    return [
        {"name": name, "aim": PAPER["aims"][name], "short": float(PAPER["aims"][name] - values.mean())}
        for name, values in joint.items()
        if len(values)
    ]


def _by_fold(rows: Rows, name: str) -> list[dict[str, Any]]:
    """Means fold by fold, for scar and for the wall where that is looked for."""
    found = []
    for what, key, diseased in (("scar", SCAR_DICE, True), ("myocardium", WALL_DICE, False)):
        folds = sorted({row["fold"] for row in rows})
        means = [summary(_of([r for r in rows if r["fold"] == k], name, key, diseased))["mean"] for k in folds]
        if any(mean is not None for mean in means):
            found.append({"variant": name, "what": what, "means": means})
    return found


def _tests(rows: Rows, backbone: str) -> dict[str, Any]:
    """Joint against the others on the same patients, by Wilcoxon's test, Holm-corrected, and bootstrap intervals."""
    found = []
    for method, key in COMPARED:
        pairs = paired(_by_case(rows, f"{backbone}-joint", key), _by_case(rows, f"{backbone}-{method}", key))
        if len(pairs) > 1:
            found.append((method, key, pairs))
    raw = [wilcoxon_p(pairs) for *_, pairs in found]
    made = []
    for (method, key, pairs), p, held in zip(found, raw, holm(raw), strict=True):
        low, high = interval(pairs, draws=BOOTSTRAPS)
        test = {"method": method, "scar": key == SCAR_DICE, "n": len(pairs), "mean": float(pairs.mean())}
        made.append(test | {"low": low, "high": high, "p": p, "held": held})
    return {"backbone": backbone, "planned": len(COMPARED), "made": made}


def _by_case(rows: Rows, variant: str, key: str) -> dict[str, float]:
    """A score of every case of a variant; of scar only where there is scar."""
    some = [row for row in rows if row["variant"] == variant and row[key] is not None]
    return {row["case"]: row[key] for row in some if key != SCAR_DICE or row["infarction true ml"] > 0}


def _slices(slices: Rows, name: str, reading: str) -> dict[str, Any]:
    clean = [s for s in slices if not s["scar pixels"]]
    values = {key: summary(some) for key, some in slice_values(slices).items()}
    return values | {
        "variant": name,
        "reading": reading,
        "wall": summary([s["wall dice"] for s in slices if s["wall dice"] is not None]),
        "paper_wall": PAPER["myocardium_dice"].get(name.partition("-")[2]) if reading == "paper's" else None,
        "clean": len(clean),
        "wrong": sum(s["found pixels"] > 0 for s in clean),
    }


def slice_values(slices: Rows) -> dict[str, list[float]]:
    """Dice, precision and recall of the slices where the expert drew scar."""
    shown = [s for s in slices if s["scar pixels"]]
    return {key: [s[key] for s in shown if s[key] is not None] for key in ("dice", "precision", "recall")}


def _cost(name: str, folds: Rows) -> dict[str, Any]:
    """What the folds of a variant cost; `steps`, `used` and `seconds_a_step` are None where that was not kept."""
    known = [cost for cost in folds if "steps" in cost]
    steps, seconds = sum(cost["steps"] for cost in known), sum(cost["seconds"] for cost in known)
    memory = [cost["peak_mb"] for cost in known if cost["peak_mb"]]
    return {
        "variant": name,
        "folds": len(folds),
        "devices": sorted({cost["device"] for cost in folds}),
        "minutes": sorted({cost["minutes"] for cost in folds if cost["minutes"]}, key=lambda m: f"{m:g}"),
        "used_minutes": seconds / 60 / len(known) if known else None,
        "steps": steps / len(known) if known else None,
        "seconds_a_step": seconds / steps if known else None,
        "slices_seen": sum(cost["slices seen"] for cost in known) / len(known) if known else None,
        "peak_mb": max(memory) if memory else None,
        "mib": folds[0]["mib"],
    }


def write_boxes(slices: Rows, path: Path) -> None:
    """Box plots of Dice, precision and recall of scar by slice, as the paper reads the networks and as we do."""
    from matplotlib.figure import Figure

    variants = list(dict.fromkeys(s["variant"] for s in slices))
    shown = [(reading, name) for reading in READINGS for name in variants]
    values = [slice_values([s for s in slices if (s["reading"], s["variant"]) == one]) for one in shown]
    figure = Figure(figsize=(10, 0.4 * len(shown) + 1.4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 3, sharey=True), ("dice", "precision", "recall"), strict=True):
        boxes = [found[key] or [np.nan] for found in values]
        axes.boxplot(boxes, orientation="horizontal", showmeans=True, flierprops={"markersize": 2})
        axes.set_yticks(range(1, len(shown) + 1), [f"{name}, {reading}" for reading, name in shown])
        axes.set(title=f"{key.replace('dice', 'Dice')} of scar, slice by slice", xlim=(0, 1))
        axes.invert_yaxis()
    save_svg(figure, path)


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
    save_svg(figure, path)
