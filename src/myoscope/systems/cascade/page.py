"""What the cascade's page says, its box plots, and contours of the worst cases (for RUNS, never for the repository)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.files import write_whole
from myoscope.lab.folds import FOLDS, seen_before
from myoscope.lab.pages import save_svg, trainings
from myoscope.lab.statistics import summary
from myoscope.study import Case, Role

TEMPLATE = Path(__file__).with_name("page.md.j2")
PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())
REGIONS = ("myocardium", "infarction", "no-reflow")
TITLES = {
    "coarse": "first stage as it comes",
    "first": "first stage",
    "second": "second stage",
    "mean": "mean of both stages",
    "mirrored": "second stage with mirrored copies",
    "chosen": "chosen on the other folds",
}
_BOTH = {"dice_percent": "Dice %", "volume_error_mm3": "volume error mm3"}
_SCAR = _BOTH | {"ratio_error_percent": "ratio error %"}
_RELEASED = "hausdorff_mm, axes as released"
METRICS = {"myocardium": _BOTH | {_RELEASED: "Hausdorff mm, as released"}, "infarction": _SCAR, "no-reflow": _SCAR}
"""Of the paper's tables, which are by the challenge's released code."""

LEAST_ML = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
SMALL_ML = 5.0
"""True infarcts up to this are called small."""

WORST = 3
Scores = Sequence[Mapping[str, Any]]


def page_facts(parts: Sequence[Mapping[str, Any]], roots: Sequence[str]) -> dict[str, Any]:
    """What the page says, for its template.

    Args:
        parts: For each variant its `name`, `scores` (one a row and case), `choices` by fold, what `ships`, the fold
            models' `cards`, and `plain`, the scores before traces are dropped.
        roots: Names of the data sets' folders.
    """
    return {
        "roots": list(roots),
        "source": PAPER["source"],
        "of_folds": FOLDS,
        "variants": [_variant(part) for part in parts],
        "least": {"small_ml": SMALL_ML},
        "metrics": METRICS,
    }


def _variant(part: Mapping[str, Any]) -> dict[str, Any]:
    scores = part["scores"]
    folds = sorted({s["fold"] for s in scores})
    rows = {row: _rows(scores, row) for row in dict.fromkeys(s["row"] for s in scores)}
    return {
        "name": part["name"],
        "trainings": trainings(part["cards"]),
        "learned_from": part["cards"][0].get("trained_on", {}),
        "not_scored": sorted(seen_before(part["cards"][0]) & {*part["cards"][0].get("trained_on", {})}),
        "folds": folds,
        "first": _beside_paper("table_1", {"ours": rows["coarse"], "ours, cleaned": rows["first"]}, folds),
        "second": _beside_paper("table_2", {"ours": rows["second"], "ours, as chosen": rows["chosen"]}, folds),
        "hidden": _hidden(rows["second"]),
        "by_slice": [100 * float(np.mean([s[f"{r} dice by slice"] for s in rows["second"]])) for r in REGIONS],
        "empty_by_slice": _empty_by_slice(scores),
        "paper_no_reflow": [
            float(np.mean(PAPER[table]["no-reflow"]["dice_percent"])) for table in ("table_1", "table_2")
        ],
        "first_stage": _first_stage(part["cards"]),
        "together": part.get("together", []),
        "official": [{"title": TITLES.get(row, row)} | _official(some) for row, some in rows.items()],
        "stricter": [{"title": TITLES.get(row, row)} | _stricter(some) for row, some in rows.items()],
        "aims": _aims(rows["chosen"]),
        "trade_off": _trade_off(part),
        "choices": _choices(part),
    }


def _rows(scores: Scores, row: str) -> Scores:
    return [s for s in scores if s["row"] == row]


def values_of(scores: Scores, region: str, metric: str) -> np.ndarray:
    """A metric of METRICS for every case."""
    if metric == "dice_percent":
        return np.array([100 * s[f"{region} dice"] for s in scores])
    if metric == "volume_error_mm3":
        return np.array([1000 * abs(s[f"{region} ml"] - s[f"{region} true ml"]) for s in scores])
    return np.array([s[f"{region} {metric}"] for s in scores])


def _beside_paper(key: str, ours: Mapping[str, Scores], folds: Sequence[int]) -> list[dict[str, Any]]:
    """Each metric's mean fold by fold, the paper's and ours, with mean and SD of all folds that there are."""
    table = []
    for region in REGIONS:
        for metric, words in METRICS[region].items():
            paper = PAPER[key][region][metric]
            row = {"region": region, "metric": words}
            table.append(row | {"whose": "paper", "folds": [paper[k - 1] for k in folds], "all": summary(paper)})
            for whose, scores in ours.items():
                of_folds = [values_of([s for s in scores if s["fold"] == k], region, metric) for k in folds]
                means = [summary(values)["mean"] for values in of_folds]
                known = [mean for mean in means if mean is not None]
                table.append(row | {"whose": whose, "folds": means, "all": summary(known)})
    return table


def _hidden(second: Scores) -> list[dict[str, Any]]:
    """The paper's Table 3, its hidden test set, and the mean over our cases out of fold."""
    return [
        {
            "region": region,
            "metric": words,
            "paper": PAPER["hidden_test"][region][metric],
            "ours": summary(values_of(second, region, metric)),
        }
        for region in REGIONS
        for metric, words in METRICS[region].items()
    ]


def _empty_by_slice(scores: Scores) -> float | None:
    """Mean over slices of no-reflow's Dice, in per cent, of the thresholds' rows, which never draw any."""
    values = [s["no-reflow dice by slice"] for s in scores if s["row"] not in TITLES]
    return 100 * float(np.mean(values)) if values else None


def _first_stage(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the first stage is and has learned from, as the cards of the second say; None where they do not."""
    first = cards[0].get("first") or {}
    if "trained_on" not in first:
        return None
    start = first.get("started_from") or {}
    return {"name": first["system"], "trained_on": first["trained_on"], "start": start}


def _official(scores: Scores) -> dict[str, Any]:
    """Summaries over the cases by the challenge's definitions; Hausdorff also with the axes put right."""
    found = {region: {m: summary(values_of(scores, region, m)) for m in METRICS[region]} for region in REGIONS}
    return found | {"hausdorff": summary(values_of(scores, "myocardium", "hausdorff_mm"))}


def _present(scores: Scores, region: str) -> list[float]:
    return [100 * s[f"{region} dice"] for s in scores if s[f"{region} true ml"] > 0]


def _presence(scores: Scores, region: str) -> float:
    return 100 * float(np.mean([(s[f"{region} ml"] > 0) == (s[f"{region} true ml"] > 0) for s in scores]))


def free_of_infarct(scores: Scores) -> tuple[int, int]:
    """How many of the cases without infarct are given none, and how many such cases there are."""
    normal = [s for s in scores if s["infarction true ml"] == 0]
    return sum(s["infarction ml"] == 0 for s in normal), len(normal)


def _stricter(scores: Scores) -> dict[str, Any]:
    return {
        "present": [summary(_present(scores, region)) for region in ("infarction", "no-reflow", "infarct alone")],
        "alone": summary([100 * s["infarct alone dice"] for s in scores]),
        "presence": [_presence(scores, region) for region in REGIONS[1:]],
        "free": free_of_infarct(scores),
    }


def _aims(chosen: Scores) -> list[dict[str, Any]]:
    free, normal = free_of_infarct(chosen)
    ours = {region: float(values_of(chosen, region, "dice_percent").mean()) for region in REGIONS}
    for region in REGIONS[1:]:
        ours[f"{region} where present"] = summary(_present(chosen, region))["mean"]
    ours["presence of infarct right"] = _presence(chosen, "infarction")
    ours["normal hearts kept free of infarct"] = 100 * free / normal if normal else None  # type: ignore[assignment]
    return [{"name": name, "aim": aim, "ours": ours[name]} for name, aim in PAPER["aims"].items()]


def _trade_off(part: Mapping[str, Any]) -> dict[str, Any]:
    """Normal hearts kept free against small infarcts missed, for the row that ships."""
    cases = list(part["plain"][part["ships"]["shares"]].values())
    normal = [s for s in cases if s["infarction true ml"] == 0]
    small = [s for s in cases if 0 < s["infarction true ml"] <= SMALL_ML]
    larger = [s for s in cases if s["infarction true ml"] > SMALL_ML]
    rows = []
    for least in LEAST_ML:
        below = [sum(s["infarction ml"] < max(least, 1e-9) for s in some) for some in (normal, small, larger)]
        rows.append({"least_ml": least, "free": below[0], "missed": below[1], "lost": below[2]})
    groups = {"normal": len(normal), "small": len(small), "larger": len(larger)}
    return groups | {"title": TITLES[part["ships"]["shares"]], "rows": rows}


def _choices(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was chosen on the other folds for each, and what ships (`fold` None)."""
    found = [{"fold": fold, "title": TITLES[c["best"]], **c[c["best"]]} for fold, c in part["choices"].items()]
    ships = part["ships"]
    return [*found, {"fold": None, "title": TITLES[ships["shares"]], **ships["smallest_ml"]}]


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
    save_svg(figure, path)


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
