"""What each choice of the compact recipes is worth, measured on an inner split: folds 3 to 5 train, fold 2 is scored.

python benchmarks/ablation.py RUNS --data ../shared/data/acdc --data ../shared/data/myops compact-cine base crop-96 ...
python benchmarks/ablation.py RUNS docs/results/ablation.md

Every variant gets the same processor time on one thread, and a finished one is not run again.
"""

import json
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from myoscope.evaluate.crossval import REGIONS, read_cases
from myoscope.evaluate.folds import fold_of
from myoscope.evaluate.metrics import region_scores
from myoscope.systems.compact import MILD, RECIPES, Recipe, train
from myoscope.training.augment import Strength
from myoscope.training.loop import Budget

MINUTES = 4.0
UNTOUCHED, SCORED = 0, 1

BASE: dict[str, dict] = {
    "compact-cine": {"crop": 128, "batch": 16, "phantoms": 60, "phantom_share": 0.15, "strength": Strength()},
    "compact-lge": {"crop": 96, "batch": 12, "phantoms": 60, "phantom_share": 0.15, "strength": Strength()},
}
"""What the recipes were before these choices."""

VARIANTS: dict[str, dict] = {
    "base": {},
    "2-D": {"strength": Strength(lone_slice=1.0)},
    "crop-96": {"crop": 96, "batch": 28},
    "crop-96, batch 14": {"crop": 96, "batch": 14},
    "scar 3": {"scar_weight": 3.0},
    "missed 0.7": {"missed": 0.7},
    "phantoms 0.3": {"phantom_share": 0.3},
    "phantoms 0.5 of 200": {"phantom_share": 0.5, "phantoms": 200},
    "mirror always": {"strength": Strength(mirror=1.0)},
    "mild": {"crop": 96, "batch": 12, "strength": MILD},
    "mild, half as wide": {"crop": 96, "batch": 12, "strength": MILD, "widths": (16, 32, 64, 128)},
    "mild, 1.5 times as wide": {"crop": 96, "batch": 12, "strength": MILD, "widths": (48, 96, 192, 384)},
    "mild, 2 mm": {"crop": 80, "batch": 17, "strength": MILD, "spacing_mm": 2.0},
    "mild, 1.2 mm": {"crop": 112, "batch": 9, "strength": MILD, "spacing_mm": 1.2},
    "mild, no phantoms": {"crop": 96, "batch": 12, "strength": MILD, "phantoms": 0},
}


def run(recipe: Recipe, variant: str, cases: list, folder: Path, minutes: float = MINUTES) -> None:
    """Train one variant and score it."""
    folds = fold_of(cases)
    budget = Budget(minutes=minutes, clock=time.process_time)
    model = train(
        recipe, [c for c, k in zip(cases, folds, strict=True) if k not in (UNTOUCHED, SCORED)], budget, folder
    )
    rows = []
    for case, k in zip(cases, folds, strict=True):
        if k == SCORED and case.data_set in ("acdc", "emidec"):
            for role, labels in model.predict(case.study).items():
                pairs = zip(labels.frames, case.labels[role].frames, strict=True)
                rows += [region_scores(a, b, REGIONS[role], labels.voxel_ml) for a, b in pairs]
    steps = int((folder / "curve.csv").read_text().splitlines()[-1].split(",")[0])
    (folder / "ablation.json").write_text(json.dumps({"variant": variant, "steps": steps, "rows": rows}))


def page(runs: Path) -> str:
    """The log, in Markdown."""
    lines = [
        "# What each choice is worth",
        "",
        "Written by `python benchmarks/ablation.py`, on an inner split: folds 3 to 5 train, fold 2 is scored.",
    ]
    lines += [f"Each variant had {MINUTES:g} minutes of processor time on one thread, from one seed.", ""]
    for system in RECIPES:
        found = [json.loads(path.read_text()) for path in sorted((runs / system).glob("*/ablation.json"))]
        if not found:
            continue
        regions = list(REGIONS[RECIPES[system].roles[0]])
        lines += [
            "",
            f"## {system}",
            "",
            f"| variant | steps | {' | '.join(regions)} | mean |",
            "|---" * (len(regions) + 3) + "|",
        ]
        for entry in sorted(found, key=lambda e: list(VARIANTS).index(e["variant"])):
            scores = [np.mean([row[f"{region} dice"] for row in entry["rows"]]) for region in regions]
            cells = " | ".join(f"{score:.3f}" for score in scores)
            lines.append(f"| {entry['variant']} | {entry['steps']} | {cells} | {np.mean(scores):.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    runs, *rest = sys.argv[1:]
    if len(rest) == 1:
        text = page(Path(runs))
        Path(rest[0]).write_text(text)
        print(text)
        return
    torch.set_num_threads(1)
    roots = [Path(b) for a, b in pairwise(rest) if a == "--data"]
    system, *variants = rest[2 * len(roots) :]
    cases = read_cases(roots)
    for variant in variants:
        folder = Path(runs) / system / variant.replace(", ", "-").replace(" ", "-")
        if not (folder / "ablation.json").exists():
            run(replace(RECIPES[system], **BASE[system] | VARIANTS[variant]), variant, cases, folder)


if __name__ == "__main__":
    main()
