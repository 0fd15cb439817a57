"""The cascade's results page, its box plots, and contours of the worst cases (for RUNS, never for the repository)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.files import write_whole
from myoscope.lab.folds import FOLDS
from myoscope.study import Case, Role

PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())
REGIONS = ("myocardium", "infarction", "no-reflow")
TITLES = {
    "first": "first stage",
    "second": "second stage",
    "mean": "mean of both stages",
    "mirrored": "second stage with mirrored copies",
    "chosen": "chosen on the other folds",
}
_BOTH = {"dice_percent": "Dice %", "volume_error_mm3": "volume error mm3"}
_SCAR = _BOTH | {"ratio_error_percent": "ratio error %"}
METRICS = {"myocardium": _BOTH | {"hausdorff_mm": "Hausdorff mm"}, "infarction": _SCAR, "no-reflow": _SCAR}
LEAST_ML = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
SMALL_ML = 5.0
"""True infarcts up to this are called small."""

WORST = 3
Scores = Sequence[Mapping[str, Any]]


def results_page(parts: Sequence[Mapping[str, Any]], roots: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        parts: For each variant its `name`, `scores` (one a row and case), `choices` by fold, what `ships`, the fold
            models' `cards`, and `plain`, the scores before traces are dropped.
        roots: Names of the data sets' folders.
    """
    command = "myoscope evaluate cascade " + " ".join(f"--data {root}" for root in roots) + " -o RUNS"
    lines = ["# cascade: infarct and no-reflow on LGE, cross-validation by patient", "", f"Written by `{command}`."]
    lines += [
        "Dice is the EMIDEC challenge's: on whole volumes, myocardium with all scar in it, infarction with no-reflow",
        "in it, empty against empty is 1. Volume error is absolute; the ratio error is that over the true myocardium;",
        "the Hausdorff distance is between the borders of the myocardium. The paper's numbers are from other folds,",
        f"of more cases: {PAPER['source']}.",
    ]
    names = [part["name"] for part in parts]
    if "cascade.published" not in names:
        lines += ["", "`cascade.published`, the paper's own recipe, was not run: no numbers of it are here."]
    for part in parts:
        lines += _variant(part)
    return "\n".join(lines) + "\n"


def _variant(part: Mapping[str, Any]) -> list[str]:
    scores = part["scores"]
    folds = sorted({s["fold"] for s in scores})
    minutes = sorted({f"{c['minutes']} min ({c['steps']} steps) on {c['device']}" for c in part["cards"]})
    lines = ["", f"## {part['name']}", ""]
    lines += [f"Fold models of the second stage were trained for {'; '.join(minutes)}."]
    if len(folds) < FOLDS:
        lines += [f"**Folds {', '.join(map(str, folds))} of {FOLDS} only**: the others are not trained yet."]
    if len(folds) == 1:
        lines += ["With one fold there is no other to choose on: choices below were made on the test cases themselves."]
    lines += _paper_table("Table 1: first stage", "table_1", _rows(scores, "first"), folds)
    lines += _paper_table("Table 2: the cascade as chosen", "table_2", _rows(scores, "chosen"), folds)
    lines += _all_rows(scores) + _stricter(scores) + _aims(scores) + _trade_off(part) + _choices(part)
    if part["name"] == "cascade.small":
        lines += ["", "![Dice by region and row](cascade-boxes.svg)"]
    return lines


def _rows(scores: Scores, row: str) -> Scores:
    return [s for s in scores if s["row"] == row]


def values_of(scores: Scores, region: str, metric: str) -> np.ndarray:
    """A metric of METRICS for every case."""
    if metric == "dice_percent":
        return np.array([100 * s[f"{region} dice"] for s in scores])
    if metric == "volume_error_mm3":
        return np.array([1000 * abs(s[f"{region} ml"] - s[f"{region} true ml"]) for s in scores])
    return np.array([s[f"{region} {metric}"] for s in scores])


def _paper_table(title: str, key: str, scores: Scores, folds: Sequence[int]) -> list[str]:
    lines = ["", f"### {title}", ""]
    lines += ["| region | metric | whose | " + " | ".join(f"fold {k}" for k in folds) + " | mean ± SD of folds |"]
    lines += ["|---" * (4 + len(folds)) + "|"]
    for region in REGIONS:
        for metric, words in METRICS[region].items():
            ours = [float(np.nanmean(values_of([s for s in scores if s["fold"] == k], region, metric))) for k in folds]
            paper = PAPER[key][region][metric]
            shown = [paper[k - 1] for k in folds]
            for whose, found, every in (("paper", shown, paper), ("ours", ours, ours)):
                cells = " | ".join(f"{v:.2f}" for v in found)
                lines.append(f"| {region} | {words} | {whose} | {cells} | {np.mean(every):.2f} ± {np.std(every):.2f} |")
    return lines


def _all_rows(scores: Scores) -> list[str]:
    lines = ["", "### Every row, official definitions (mean ± SD over cases)", ""]
    lines += ["| row | myocardium Dice | Hausdorff mm | (axes as released) | infarction Dice | mm3 | ratio % "]
    lines[-1] += "| no-reflow Dice | mm3 | ratio % |"
    lines += ["|---" * 10 + "|"]
    for row in dict.fromkeys(s["row"] for s in scores):
        some = _rows(scores, row)
        cells = [_pm(values_of(some, "myocardium", "dice_percent"))]
        cells += [_pm(values_of(some, "myocardium", "hausdorff_mm"))]
        cells += [_pm(values_of(some, "myocardium", "hausdorff_mm, axes as released"))]
        for region in REGIONS[1:]:
            cells += [_pm(values_of(some, region, metric)) for metric in METRICS[region]]
        lines.append(f"| {TITLES.get(row, row)} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "The challenge's released code hands the spacing over as (x, y, z) to arrays of (z, y, x): a pixel in x",
    ]
    lines += ["then counts as a slice distance. Published Hausdorff distances may be either. Thresholds are applied to"]
    lines += ["the second stage's myocardium; remote is the darkest of six sectors of each slice's wall, found without"]
    lines += ["labels; what is dark inside scar they do not find, so no-reflow is always empty there."]
    return lines


def _pm(values: np.ndarray) -> str:
    if not np.isfinite(values).any():
        return "-"
    return f"{np.nanmean(values):.1f} ± {np.nanstd(values):.1f}"


def _present(scores: Scores, region: str) -> list[float]:
    return [100 * s[f"{region} dice"] for s in scores if s[f"{region} true ml"] > 0]


def _presence(scores: Scores, region: str) -> float:
    return 100 * float(np.mean([(s[f"{region} ml"] > 0) == (s[f"{region} true ml"] > 0) for s in scores]))


def free_of_infarct(scores: Scores) -> tuple[int, int]:
    """How many of the cases without infarct are given none, and how many such cases there are."""
    normal = [s for s in scores if s["infarction true ml"] == 0]
    return sum(s["infarction ml"] == 0 for s in normal), len(normal)


def _stricter(scores: Scores) -> list[str]:
    lines = ["", "### The stricter reading", ""]
    lines += ["| row | infarction where present (n) | no-reflow where present (n) | label 3 alone, where present (n) "]
    lines[-1] += "| label 3 alone, all | presence right: infarct | no-reflow | no infarct given, of those without |"
    lines += ["|---" * 8 + "|"]
    for row in dict.fromkeys(s["row"] for s in scores):
        some = _rows(scores, row)
        cells = []
        for region in ("infarction", "no-reflow", "infarct alone"):
            found = _present(some, region)
            cells.append(f"{np.mean(found):.1f} ({len(found)})" if found else "-")
        cells.append(_pm(np.array([100 * s["infarct alone dice"] for s in some])))
        cells += [f"{_presence(some, region):.0f} %" for region in REGIONS[1:]]
        free, normal = free_of_infarct(some)
        cells.append(f"{free} of {normal}")
        lines.append(f"| {TITLES.get(row, row)} | " + " | ".join(cells) + " |")
    return lines


def _aims(scores: Scores) -> list[str]:
    chosen = _rows(scores, "chosen")
    free, normal = free_of_infarct(chosen)
    ours = {region: float(values_of(chosen, region, "dice_percent").mean()) for region in REGIONS}
    for region in REGIONS[1:]:
        found = _present(chosen, region)
        ours[f"{region} where present"] = float(np.mean(found)) if found else np.nan
    ours["presence of infarct right"] = _presence(chosen, "infarction")
    ours["normal hearts kept free of infarct"] = 100 * free / normal if normal else np.nan
    lines = ["", "### How far from the aims", "", "| aim | wanted | ours, as chosen | short by |", "|---|---|---|---|"]
    for name, aim in PAPER["aims"].items():
        short = "reached" if ours[name] >= aim else f"{aim - ours[name]:.1f}" if np.isfinite(ours[name]) else "-"
        lines.append(f"| {name} | {aim} % | {ours[name]:.1f} % | {short} |")
    return lines


def _trade_off(part: Mapping[str, Any]) -> list[str]:
    """Normal hearts kept free against small infarcts missed, for the row that ships."""
    cases = list(part["plain"][part["ships"]["shares"]].values())
    normal = [s for s in cases if s["infarction true ml"] == 0]
    small = [s for s in cases if 0 < s["infarction true ml"] <= SMALL_ML]
    larger = [s for s in cases if s["infarction true ml"] > SMALL_ML]
    lines = ["", f"### Least volume of infarct that counts ({TITLES[part['ships']['shares']]})", ""]
    lines += [
        f"| least ml | free of infarct, of {len(normal)} without | missed, of {len(small)} up to {SMALL_ML:g} ml "
    ]
    lines[-1] += f"| missed, of {len(larger)} larger |"
    lines += ["|---|---|---|---|"]
    for least in LEAST_ML:
        given = [[s["infarction ml"] >= max(least, 1e-9) for s in some] for some in (normal, small, larger)]
        kept, missed, lost = len(normal) - sum(given[0]), len(small) - sum(given[1]), len(larger) - sum(given[2])
        lines.append(f"| {least:g} | {kept} | {missed} | {lost} |")
    return lines


def _choices(part: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        "### What was chosen",
        "",
        "| for fold | on the other folds: whose probabilities | least ml of infarct ",
    ]
    lines[-1] += "| of no-reflow |"
    lines += ["|---|---|---|---|"]
    for fold, found in part["choices"].items():
        least = found[found["best"]]
        lines.append(f"| {fold} | {TITLES[found['best']]} | {least['infarct']:g} | {least['no_reflow']:g} |")
    least = part["ships"]["smallest_ml"]
    lines.append(
        f"| ships (on all) | {TITLES[part['ships']['shares']]} | {least['infarct']:g} | {least['no_reflow']:g} |"
    )
    return lines


def write_boxes(part: Mapping[str, Any], path: Path) -> None:
    """Box plots of Dice by region, where present, a box for each row."""
    from matplotlib.figure import Figure

    scores = part["scores"]
    rows = list(dict.fromkeys(s["row"] for s in scores))
    figure = Figure(figsize=(10, 0.35 * len(rows) + 1.2), layout="constrained")
    for axes, region in zip(figure.subplots(1, len(REGIONS), sharey=True), REGIONS, strict=True):
        boxes = [_present(_rows(scores, row), region) or [np.nan] for row in rows]
        axes.boxplot(boxes, orientation="horizontal", showmeans=True, flierprops={"markersize": 3})
        axes.set_yticks(range(1, len(rows) + 1), [TITLES.get(row, row) for row in rows])
        axes.set(title=f"{region}, where present", xlabel="Dice %", xlim=(0, 100))
        axes.invert_yaxis()
    figure.savefig(path, metadata={"Date": None})


def write_worst(scores: Scores, cases: Mapping[str, Case], labels: Mapping[str, np.ndarray], runs: Path) -> None:
    """RUNS/cascade-worst.html: every slice of the worst cases with our contours, and the expert's below."""
    from myoscope.report.figures import series_figure

    worst = sorted(scores, key=lambda s: sum(s[f"{region} dice"] for region in REGIONS))[:WORST]
    parts = [
        "<!doctype html><meta charset=utf-8><title>cascade: worst cases</title>",
        "<style>svg.slice{width:220px;margin:2px}.contours path{fill:none;stroke-width:2}",
        ".contours .under{stroke:#000;stroke-opacity:.5;stroke-width:3}</style>",
    ]
    for s in worst:
        case = cases[s["case"]]
        series = case.study.get(Role.LGE)
        assert series
        dices = ", ".join(f"{region} {s[f'{region} dice']:.2f}" for region in REGIONS)
        parts.append(f"<h2>{case.id} (fold {s['fold']}): Dice {dices}</h2>")
        for whose, found in (("ours", series.image.with_voxels(labels[case.id])), ("expert", case.labels[Role.LGE])):
            figure = series_figure(series, found, None, None)
            parts.append(f"<h3>{whose}</h3>" + "".join(panel.svg for row in figure.rows for panel in row.panels))
    write_whole(runs / "cascade-worst.html", "\n".join(parts))
