"""Dice against training time: a compact system from scratch under several budgets, on the ablation's inner split.

python benchmarks/minutes.py RUNS docs/results/minutes.md compact-cine --data ../shared/data/acdc --data ...

Each budget is processor time on one thread; the schedule is fitted to it. A finished one is not run again.
"""

import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from ablation import run
from myoscope.lab.crossval import REGIONS, read_cases
from myoscope.systems.compact.recipe import RECIPES

MINUTES = (1.0, 2.0, 4.0, 8.0, 16.0)


def draw(minutes: list[float], scores: dict[str, list[float]], path: Path) -> None:
    """Dice of every region over the minutes, as SVG."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for region, values in scores.items():
        axes.plot(minutes, values, marker="o", label=region)
    axes.set(xscale="log", xlabel="minutes on one core", ylabel="mean Dice, held-out patients", xticks=minutes)
    axes.set_xticklabels([f"{m:g}" for m in minutes])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path)


def main() -> None:
    torch.set_num_threads(1)
    runs, page, system, *rest = sys.argv[1:]
    cases = read_cases([Path(b) for a, b in pairwise(rest) if a == "--data"])
    recipe = RECIPES[system]
    regions = list(REGIONS[recipe.roles[0]])
    lines = [
        "# Dice against training time",
        "",
        f"Written by `python benchmarks/minutes.py`: {system} from scratch, one run for each budget, on one thread of",
        f"a CPU: widths {recipe.widths}, {recipe.spacing_mm:g} mm, batches of {recipe.batch}.",
        "Folds 3 to 5 train, fold 2 is scored (ED and ES together).",
        "",
        "![Dice over minutes](minutes.svg)",
        "",
        f"| minutes | steps | {' | '.join(regions)} | mean |",
        "|---" * (len(regions) + 3) + "|",
    ]
    scores: dict[str, list[float]] = {region: [] for region in regions}
    for minutes in MINUTES:
        folder = Path(runs) / system / f"{minutes:g}"
        if not (folder / "ablation.json").exists():
            run(replace(recipe, start_from=None), f"{minutes:g} minutes", cases, folder, minutes)
        found = json.loads((folder / "ablation.json").read_text())
        for region in regions:
            scores[region].append(float(np.mean([row[f"{region} dice"] for row in found["rows"]])))
        cells = [scores[region][-1] for region in regions]
        numbers = " | ".join(f"{x:.3f}" for x in (*cells, np.mean(cells)))
        lines.append(f"| {minutes:g} | {found['steps']} | {numbers} |")
    draw(list(MINUTES), scores, Path(page).with_name("minutes.svg"))
    Path(page).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
