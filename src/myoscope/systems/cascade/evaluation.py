"""The cascade's evaluation: fold models on unseen cases, their rows and the classical thresholds', and what ships.

Whose probabilities decide, and the least volume that counts, are chosen for each fold on the other folds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.files import write_arrays, write_whole
from myoscope.lab import crossval
from myoscope.lab.folds import FOLDS, fold_of, seen_before
from myoscope.lab.loop import Budget
from myoscope.lab.metrics import LGE_REGIONS, border_hausdorff_mm, dice, region_scores
from myoscope.lab.pages import write_page, write_table
from myoscope.lab.panels import phantoms, with_most, write_panels
from myoscope.lab.statistics import summary
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.thresholds import Threshold, fwhm, n_sd, otsu, scar_above
from myoscope.segment.clean import drop_traces
from myoscope.segment.lge import MIRRORS, CascadeModel
from myoscope.study import Case, Role
from myoscope.systems.cascade.folds import train_folds, unpack_members, wanted
from myoscope.systems.cascade.page import REGIONS, TEMPLATE, page_facts, write_boxes, write_worst
from myoscope.systems.cascade.vote import votes_of
from myoscope.weights import add_to_card, read_card

__all__ = ["evaluate", "train_folds"]

VARIANTS = ("cascade.small", "cascade.published")
COARSE = "coarse"
"""The first stage's labels before anything is removed, as the paper's Table 1 has them."""
STAGES = ("first", "second", "mean", "mirrored")
"""Cheap before dear: mirrored copies take four times the second stage's time."""

WORTH = 0.01
"""What a dearer one must add to the sum of three Dice."""

THRESHOLDS: dict[str, Threshold] = {
    **{f"{n} SD above remote": n_sd(n) for n in (2, 3, 5, 6)},
    "FWHM": fwhm,
    "Otsu": otsu,
}
PHANTOMS, PHANTOM_SEED = 12, 7000
SAMPLES = 2
"""Of the figure, as many as the paper's."""

LEAST_ML = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
"""Volumes below which scar, and no-reflow, may be taken for a mistake."""

Labels = dict[tuple[str, str], np.ndarray]
"""Label maps (Z, Y, X) by row and case."""


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
    """Cross-validate the variants whose folds RUNS holds; arguments and files as for `crossval.evaluate`.

    Where a budget is given, missing folds of `cascade.small` (published: of both stages of
    `cascade.published`, and nothing else is scored) are trained. Where RUNS holds none, the installed members are
    put there, each as the fold that it is. Every variant has its `scores.csv`, `results.json` and `chosen.json` in
    its own folder of RUNS, where a refit on all cases, and `lab.members`, find them for their card. The card of a fold
    model gets what was chosen on the other folds, so that whoever runs it out of fold has that.

    Raises:
        InputError: no fold is trained or installed.
    """
    cases = wanted(VARIANTS[0], crossval.read_cases(roots))
    names = VARIANTS[1:] if published else VARIANTS
    if budget:
        train_folds(names[0], roots, range(folds), budget, runs, segmentations, device)
    paths = [{k: crossval.weights_path(name, k, runs).with_suffix(".onnx") for k in range(folds)} for name in names]
    models = [{k: path for k, path in of.items() if path.exists()} for of in paths]
    if not any(models):
        models[0] = unpack_members(names[0], cases, paths[0])
    parts = [_one_variant(name, cases, of, device, progress) for name, of in zip(names, models, strict=True) if of]
    write_boxes(parts[0], runs / "cascade-boxes.svg")
    facts = page_facts(parts, [root.name for root in roots])
    return write_page(TEMPLATE, facts | {"published": published}, runs)


def _one_variant(
    name: str, cases: Sequence[Case], models: Mapping[int, Path], device: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Score a variant's folds, but for data sets that its first stage began with, and write what a card takes up."""
    before = {name for path in models.values() for name in seen_before(read_card(path))}
    dealt = zip(cases, fold_of(cases), strict=True)
    held = {case.id: k for case, k in dealt if k in models and case.data_set not in before}
    unseen = [case for case in cases if case.id in held]
    labels: Labels = {}
    for k, path in models.items():
        progress(f"{name}: fold {k + 1}")
        labels |= predicted(path, [case for case in unseen if held[case.id] == k], device)
    progress(f"{name}: scoring")
    rows = [row for row, _ in labels]
    plain = {row: {c.id: score(labels[row, c.id], c) for c in unseen} for row in dict.fromkeys(rows)}
    choices = {k: choose(plain, [i for i, f in held.items() if f != k] or list(held)) for k in models}
    scores = [
        {"row": row, "case": case.id, "fold": held[case.id] + 1, "group": case.group}
        | score(_without_traces(labels[row, case.id], case, {} if row == COARSE else choices[held[case.id]][row]), case)
        for row in plain
        for case in unseen
    ]
    chosen = [s | {"row": "chosen"} for s in scores if s["row"] == choices[held[str(s["case"])]]["best"]]
    scores += chosen
    folder = next(iter(models.values())).parent.parent
    write_table(folder / "scores.csv", scores)
    ships = shipping(plain, list(held))
    write_whole(folder / "chosen.json", json.dumps(ships, indent=1))
    for k, path in models.items():
        if others := [i for i, f in held.items() if f != k]:
            add_to_card(path, {"chosen": shipping(plain, others)})
    sets = {case.id: case.data_set for case in unseen}
    shipped = [{"data": sets[str(s["case"])], "phase": "", **s} for s in scores if s["row"] == ships["shares"]]
    for k, path in models.items():
        write_whole(path.with_name("scores.json"), json.dumps([s for s in shipped if s["fold"] == k + 1], indent=1))
    summary = crossval.summarise(shipped)
    write_whole(folder / "results.json", json.dumps({"folds": [k + 1 for k in models], "scores": summary}, indent=1))
    _refresh_card(folder, name)
    shown_of = {}
    for case in unseen:
        found = choices[held[case.id]]
        shown_of[case.id] = _without_traces(labels[found["best"], case.id], case, found[found["best"]])
    write_worst(chosen, {case.id: case for case in unseen}, shown_of, folder.parent)
    cards = [read_card(path) for path in models.values()]
    part = {"name": name, "scores": scores, "ships": ships, "cards": cards, "plain": plain}
    if len(models) == FOLDS:
        progress(f"{name}: the vote, on phantoms")
        sample = folder.parent / f"{name}-samples.svg"
        part["together"] = together([CascadeModel.load(path, device) for path in models.values()], sample)
    return part | {"choices": {k + 1: found for k, found in choices.items()}}


def together(models: Sequence[CascadeModel], path: Path) -> list[dict[str, Any]]:
    """Fold models one by one, the mean of their probabilities and their vote, on hearts that none has seen.

    Args:
        models: Of all folds.
        path: SVG: two of the hearts with the labels drawn and those voted for, as the paper's Figure 2.
    """
    scores: dict[str, list[dict[str, float]]] = {"one by one": [], "mean of probabilities": [], "majority vote": []}
    lines = []
    for case in phantoms(PHANTOMS, PHANTOM_SEED):
        grid = case.study.series[0].image
        shares = [model.shares(grid.frames[0], grid)[0] for model in models]
        alone = [model.draw(found, grid.voxel_ml) for model, found in zip(models, shares, strict=True)]
        average = np.mean(shares, axis=0)
        mean = models[0].draw(average, grid.voxel_ml)
        vote = models[0].draw(votes_of(alone, average, models[0].classes), grid.voxel_ml)
        for how, maps in zip(scores, (alone, [mean], [vote]), strict=True):
            scores[how] += [score(labels, case) for labels in maps]
        lines += [(case, z, {"vote": vote}) for z in with_most(case, SCAR)]
    write_panels(lines[:SAMPLES], path)
    return [{"how": how, "n": PHANTOMS} | _of_phantoms(some) for how, some in scores.items()]


def _of_phantoms(scores: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {r: [100 * s[f"{r} dice"] for s in scores if s[f"{r} true ml"] > 0] for r in REGIONS}
    found["error_ml"] = [abs(s["infarction ml"] - s["infarction true ml"]) for s in scores]
    return {name: summary(values) for name, values in found.items()}


def predicted(weights: Path, cases: Sequence[Case], device: str) -> Labels:
    """Label maps of unseen cases, before traces are dropped, of every row; kept beside the weights."""
    path = weights.with_name("rows.npz")
    if not crossval.made_from(weights, path):
        model = CascadeModel.load(weights, device)
        found = {f"{row}/{case.id}": labels for case in cases for row, labels in _rows(model, case).items()}
        write_arrays(path, found)
    with np.load(path) as kept:
        return {(name.rsplit("/", 1)[0], name.rsplit("/", 1)[1]): kept[name] for name in kept.files}


def _rows(model: CascadeModel, case: Case) -> dict[str, np.ndarray]:
    """Label maps of a case (its first frame) by row: stages, and thresholds on the second stage's wall."""
    series = case.study.get(Role.LGE)
    assert series
    frame = series.image.frames[0]
    first, second, _ = model.stages(frame, series.image)
    mirrored = model.stages(frame, series.image, MIRRORS)[1]
    shares = {"first": first, "second": second, "mean": (first + second) / 2}
    rows = {COARSE: np.array(model.classes, np.uint8)[first.argmax(1)]}
    rows |= {row: model.whole(found) for row, found in (shares | {"mirrored": mirrored}).items()}
    wall = np.isin(rows["second"], LV_WALL)
    for row, threshold in THRESHOLDS.items():
        scar = scar_above(frame, wall, threshold)
        plain = np.where(wall, Structure.MYOCARDIUM, rows["second"])
        rows[row] = np.where(scar, Structure.INFARCT, plain).astype(np.uint8)
    return rows


def _without_traces(labels: np.ndarray, case: Case, smallest_ml: Mapping[str, float]) -> np.ndarray:
    limits = {Structure[name.upper()]: ml for name, ml in smallest_ml.items()}
    return drop_traces(labels, limits, case.labels[Role.LGE].voxel_ml)


def score(labels: np.ndarray, case: Case) -> dict[str, float]:
    """The challenge's metrics and the stricter reading's of one case.

    Beside `region_scores`: `myocardium hausdorff_mm` (and as the released code computes it), `infarct alone` (label 3
    without no-reflow), the ratio errors (volume error / true myocardium, in per cent), and `dice by slice`, the mean
    over slices, as the challenge's README has it.
    """
    grid = case.labels[Role.LGE]
    truth = grid.frames[0]
    scores = region_scores(labels, truth, LGE_REGIONS, grid.voxel_ml)
    for region in REGIONS:
        planes = (np.isin(codes, LGE_REGIONS[region]) for codes in (labels, truth))
        scores[f"{region} dice by slice"] = float(np.mean([dice(x, y) for x, y in zip(*planes, strict=True)]))
    a, b = np.isin(labels, LV_WALL), np.isin(truth, LV_WALL)
    scores["myocardium hausdorff_mm"] = border_hausdorff_mm(a, b, grid.spacing_mm)
    scores["myocardium hausdorff_mm, axes as released"] = border_hausdorff_mm(a, b, grid.spacing_mm[::-1])
    scores["infarct alone dice"] = dice(labels == Structure.INFARCT, truth == Structure.INFARCT)
    scores["infarct alone ml"] = float((labels == Structure.INFARCT).sum()) * grid.voxel_ml
    scores["infarct alone true ml"] = float((truth == Structure.INFARCT).sum()) * grid.voxel_ml
    for region in ("infarction", "no-reflow"):
        error = abs(scores[f"{region} ml"] - scores[f"{region} true ml"])
        scores[f"{region} ratio_error_percent"] = 100 * error / max(scores["myocardium true ml"], 1e-9)
    return scores


def choose(
    plain: Mapping[str, Mapping[str, Mapping[str, float]]], cases: Sequence[str], stages: Sequence[str] = STAGES
) -> dict[str, Any]:
    """For each row the least volumes with the best official Dice on some cases; `best`: the stage with
    the best sum, or a cheaper one that is hardly worse.

    Args:
        plain: Scores of each row and case before traces are dropped.
        cases: The cases to choose on.
        stages: Whose probabilities may decide, the cheapest first.
    """
    found: dict[str, Any] = {}
    sums = {}
    for row, of in plain.items():
        some = [of[i] for i in cases]
        infarct = max(LEAST_ML, key=lambda ml: _dice_above(some, "infarction", ml))
        some = [s if s["infarction ml"] >= infarct else {**s, "no-reflow ml": 0.0} for s in some]
        reflow = max(LEAST_ML, key=lambda ml: _dice_above(some, "no-reflow", ml))
        found[row] = {"infarct": infarct, "no_reflow": reflow}
        sums[row] = _dice_above(some, "infarction", infarct) + _dice_above(some, "no-reflow", reflow)
        sums[row] += float(np.mean([s["myocardium dice"] for s in some]))
    best = stages[0]
    for row in stages[1:]:
        best = row if sums[row] > sums[best] + WORTH else best
    return found | {"best": best}


def shipping(plain: Mapping[str, Mapping[str, Mapping[str, float]]], cases: Sequence[str]) -> dict[str, Any]:
    """What a card says was chosen on some cases; the first stage alone is a system of its own."""
    found = choose(plain, cases, STAGES[1:])
    return {"shares": found["best"], "smallest_ml": found[found["best"]]}


def _dice_above(scores: Sequence[Mapping[str, float]], region: str, least_ml: float) -> float:
    """Mean official Dice where less than a volume counts as nothing."""
    values = []
    for s in scores:
        kept = s[f"{region} ml"] >= least_ml and s[f"{region} ml"] > 0
        values.append(s[f"{region} dice"] if kept else float(s[f"{region} true ml"] == 0))
    return float(np.mean(values))


def _refresh_card(folder: Path, name: str) -> None:
    """The card of weights that were refitted on all cases before this evaluation gets its results."""
    path = folder / "all" / f"{name}.json"
    if path.exists():
        names = {"cross_validation": "results", "chosen": "chosen", "confidence": "confidence"}
        files = {key: folder / f"{file}.json" for key, file in names.items()}
        add_to_card(path, {key: json.loads(file.read_text()) for key, file in files.items() if file.exists()})
