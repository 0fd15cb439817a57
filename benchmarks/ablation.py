"""What each choice of the compact recipes is worth, measured on an inner split: folds 3 to 5 train, fold 2 is scored.

python benchmarks/ablation.py RUNS --data ../shared/data/acdc --data ../shared/data/myops compact-cine base crop-96 ...
python benchmarks/ablation.py RUNS docs/results/ablation.md

Every variant gets the same processor time on one thread, and a finished one is not run again. One that is `as` another
is its trained network, asked about mirrored copies of each slice too.
"""

import json
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from myoscope.lab.augment import Strength
from myoscope.lab.crossval import REGIONS, read_cases
from myoscope.lab.folds import fold_of
from myoscope.lab.loop import Budget, Optimisation
from myoscope.lab.metrics import region_scores
from myoscope.segment.cine import SliceModel
from myoscope.segment.engine import Network
from myoscope.segment.lge import MIRRORS
from myoscope.systems.compact.recipe import MILD, RECIPES
from myoscope.systems.compact.training import train

MINUTES = 4.0
UNTOUCHED, SCORED = 0, 1

WIDE, HALF = (32, 64, 128, 256), (16, 32, 64, 128)
_BEFORE = {"phantoms": 60, "phantom_share": 0.15, "strength": Strength(), "widths": WIDE}

BASE: dict[str, dict] = {
    "compact-cine": {"crop": 128, "batch": 16, "spacing_mm": 1.5} | _BEFORE,
    "compact-lge": {"crop": 96, "batch": 12} | _BEFORE,
}
"""What the recipes were before these choices."""

_MILD = {"crop": 96, "batch": 12, "strength": MILD}
_HALF = _MILD | {"widths": HALF, "phantoms": 100, "phantom_share": 0.2}
_FINE = {"spacing_mm": 1.25, "crop": 112}

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
    "mild": _MILD,
    "mild, half as wide": _MILD | {"widths": HALF},
    "mild, 1.5 times as wide": _MILD | {"widths": (48, 96, 192, 384)},
    "half as wide, learning rate doubled": _HALF | {"optimisation": Optimisation(learning_rate=4e-3)},
    "half as wide, learning rate halved": _HALF | {"optimisation": Optimisation(learning_rate=1e-3)},
    "half as wide, batch 6": _HALF | {"batch": 6},
    "half as wide, 1.25 mm": _HALF | _FINE,
    "mild, 16 minutes": _HALF | {"widths": WIDE, "minutes": 16.0},
    "half as wide, 16 minutes": _HALF | {"minutes": 16.0},
    "half as wide, 1.25 mm, batch 6, 16 minutes": _HALF | _FINE | {"batch": 6, "minutes": 16.0},
    "half as wide, 6 minutes": _HALF | {"phantom_share": 0.15, "minutes": 6.0},
    "half as wide, batch 6, 6 minutes": _HALF | {"phantom_share": 0.15, "batch": 6, "minutes": 6.0},
}
"""Changes to the base; with `minutes`, where a variant had more than `MINUTES`."""

for _name in ("half as wide, 1.25 mm, batch 6, 16 minutes", "half as wide, 6 minutes"):
    for _word, _mirrors in {"left to right": ((), (3,)), "both ways": MIRRORS}.items():
        VARIANTS[f"{_name}, mirrored {_word}"] = VARIANTS[_name] | {"as": _name, "mirrors": _mirrors}


class Mirrored(Network):
    """Mean logits over mirrored copies of each slice, one for each of `mirrors` (axes of the batch)."""

    mirrors: ClassVar[tuple[tuple[int, ...], ...]] = ((),)

    def look(self, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean logits, and the distances of the slices as they are."""
        seen = [super(Mirrored, self).look(np.ascontiguousarray(np.flip(stack, axes))) for axes in self.mirrors]
        turned = [np.flip(logits, axes) for (logits, _), axes in zip(seen, self.mirrors, strict=True)]
        return np.mean(turned, 0), seen[0][1]


def run(runs: Path, system: str, variant: str, cases: list) -> None:
    """Train one variant, if the one that it is as has not been, and score it."""
    changes = BASE[system] | VARIANTS[variant]
    budget = Budget(minutes=changes.pop("minutes", MINUTES), clock=time.process_time)
    folder, mirrors = folder_of(runs, system, changes.pop("as", variant)), changes.pop("mirrors", ((),))
    folds = fold_of(cases)
    training = [c for c, k in zip(cases, folds, strict=True) if k not in (UNTOUCHED, SCORED)]
    trained = train(replace(RECIPES[system], **changes), training, budget, folder)
    trained.save(folder / "trained.safetensors", {"system": system})
    Mirrored.mirrors = mirrors
    model = SliceModel(Mirrored.load(folder / "trained.safetensors"))
    rows = []
    for case, k in zip(cases, folds, strict=True):
        if k == SCORED and case.data_set in ("acdc", "emidec"):
            for role, labels in model.predict(case.study).items():
                pairs = zip(labels.frames, case.labels[role].frames, strict=True)
                rows += [region_scores(a, b, REGIONS[role], labels.voxel_ml) for a, b in pairs]
    steps = int((folder / "curve.csv").read_text().splitlines()[-1].split(",")[0])
    result = folder_of(runs, system, variant) / "ablation.json"
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps({"variant": variant, "steps": steps, "rows": rows}))


def folder_of(runs: Path, system: str, variant: str) -> Path:
    """Where a variant's run and result lie."""
    return runs / system / variant.replace(", ", "-").replace(" ", "-")


def page(runs: Path) -> str:
    """The log, in Markdown."""
    lines = [
        "# What each choice is worth",
        "",
        "Written by `python benchmarks/ablation.py`, on an inner split: folds 3 to 5 train, fold 2 is scored.",
    ]
    lines += [
        f"A variant had {MINUTES:g} minutes of processor time on one thread, or as many as it names, from one seed.",
        "Names that begin with `half` or end with minutes had 100 phantoms at a share of 0.2 (LGE: 0.15),",
        "`mild` 60 at 0.15.",
        "compact-cine was scored before `keep_heart` kept one RV only, but for the last three rows.",
        "",
    ]
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
        if not (folder_of(Path(runs), system, variant) / "ablation.json").exists():
            run(Path(runs), system, variant, cases)


if __name__ == "__main__":
    main()
