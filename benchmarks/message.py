"""Does jdl's message help the cascade's second stage? Wall first, then scar from image x probability of wall, in one.

python benchmarks/message.py RUNS PAGE.md --data ../shared/data/emidec --firsts JDL_RUNS --minutes 4

Both ways refine what the same fold models of jdl say of cases that they have not seen, for each of five folds, from one
seed, with the same processor time on one thread:

- plain: the cascade's own second stage, which sees the image and the first stage's probabilities.
- message: two of its networks one after the other, trained together. The second sees image x the first's probability
  of wall, and what the first says; its loss reaches the first through both. The first has the same loss at half weight.

Kill it at any time and repeat the command: it goes on.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from myoscope.files import write_arrays, write_whole
from myoscope.lab.crossval import key_of, read_cases, weights_path
from myoscope.lab.export import OneStack, clinic_facts, write_network
from myoscope.lab.folds import FOLDS, deal
from myoscope.lab.loop import Budget, progress_of, train
from myoscope.lab.metrics import LGE_REGIONS, region_scores
from myoscope.lab.statistics import interval, wilcoxon_p
from myoscope.labels import Structure
from myoscope.segment.engine import Network
from myoscope.study import Case, Role
from myoscope.systems import cascade, jdl
from myoscope.systems.cascade.recipe import RECIPES, build
from myoscope.systems.cascade.stack_unet import StackUNet
from myoscope.systems.cascade.training import prior_on_canvas
from myoscope.volume import Volume

SYSTEM = "jdl.unet-joint"
RECIPE = replace(
    RECIPES["cascade.small"],
    classes=(Structure.BACKGROUND, Structure.MYOCARDIUM, Structure.INFARCT),
    stand_ins=jdl.RECIPES[SYSTEM].stand_ins,
    smallest_ml={},
)
WAYS = ("plain", "message")
REGIONS = {name: LGE_REGIONS[name] for name in ("myocardium", "infarction")}


class Message(nn.Module):
    """Two networks for stacks; logits (2, N, classes, H, W), the second network's first."""

    def __init__(self, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.wall, self.scar = (StackUNet(classes, widths) for _ in range(2))

    def forward(self, x: Tensor, stacks: Tensor) -> Tensor:
        """Input as `StackUNet`."""
        drawn = self.wall(x, stacks)
        shares = drawn[0].softmax(1)
        seen = torch.cat([x[:, :1] * shares[:, 1:].sum(1, keepdim=True), shares], 1)
        return torch.cat([self.scar(seen, stacks), drawn])


class First(jdl.Model):
    """A fold model of jdl, asked as the cascade asks its first stage."""

    classes = RECIPE.classes

    def shares(self, frame: np.ndarray, grid: Volume) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (Z, 3, Y, X) of the recipe's classes, and no distances."""
        wall, scar = self.probabilities(frame, grid).unbind(1)
        shares = torch.stack([1 - wall, wall * (1 - scar), wall * scar], 1)
        return shares.numpy(force=True), np.full(len(wall), np.nan)


def scores(model: Any, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Dice and volumes of both stages on cases."""
    rows = []
    for case in cases:
        image, truth = case.study.get(Role.LGE).image, case.labels[Role.LGE]  # type: ignore[union-attr]
        first, second, _ = model.stages(image.frames[0], image)
        for stage, shares in (("first", first), ("second", second)):
            found = model.draw(shares, image.voxel_ml)
            facts = {"case": case.id, "stage": stage}
            rows.append(facts | region_scores(found, truth.frames[0], REGIONS, truth.voxel_ml))
    return rows


def run_fold(way: str, fold: int, roots: Sequence[Path], firsts: Path, runs: Path, minutes: float) -> None:
    """Train a way without a fold, if that is not done, and score the fold: RUNS/WAY/fold-K/scores.json."""
    folder = runs / way / f"fold-{fold + 1}"
    path = folder / "scores.json"
    if path.exists():
        return
    torch.set_num_threads(1)
    torch.manual_seed(RECIPE.seed)
    network = build(RECIPE, RECIPE.widths) if way == "plain" else Message(len(RECIPE.classes), RECIPE.widths)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    cases = [case for case in read_cases(roots) if Role.LGE in case.labels]
    training, unseen = deal(cases, fold)
    with np.load(runs / "priors.npz") as kept:
        priors = {name: torch.from_numpy(kept[name]) for name in kept.files}
    stacks = cascade.training._stacks(RECIPE, training, None, priors)
    budget = Budget(minutes=minutes, clock=time.process_time)
    average = train(network, cascade.training._loss(RECIPE, stacks), budget, folder, RECIPE.optimisation, way)
    model = cascade.Model(network_of(average, folder), First.load(weights_path(SYSTEM, fold, firsts)))
    facts = {"way": way, "minutes": minutes, "steps": progress_of(folder)[0]}
    rows = scores(model, unseen)
    write_whole(path, json.dumps([row | facts for row in rows], indent=1))


def network_of(average: nn.Module, folder: Path) -> Network:
    """What was trained, as a network file."""
    path = folder / "network.onnx"
    write_network(path, OneStack(average), torch.zeros(3, 1 + len(RECIPE.classes), RECIPE.view, RECIPE.view))
    card = clinic_facts(RECIPE, 1) | {"system": RECIPE.name, "view": RECIPE.view}
    return Network((path.read_bytes(),), card)


def keep_priors(roots: Sequence[Path], firsts: Path, runs: Path) -> None:
    """What the fold model that has not seen a case says of it, for all cases: RUNS/priors.npz."""
    cases = [case for case in read_cases(roots) if Role.LGE in case.labels]
    found = {}
    for k in range(FOLDS):
        model = First.load(weights_path(SYSTEM, k, firsts))
        for case in deal(cases, k)[1]:
            found[case.id] = prior_on_canvas(RECIPE, model, case.study.get(Role.LGE)).numpy()  # type: ignore[arg-type]
    write_arrays(runs / "priors.npz", found)


def page(runs: Path) -> str:
    """The results as Markdown."""
    kept = [json.loads(path.read_text()) for way in WAYS for path in sorted((runs / way).glob("fold-*/scores.json"))]
    rows = [row for fold in kept for row in fold]
    found = {"first stage": [row for row in rows if (row["way"], row["stage"]) == ("plain", "first")]}
    found |= {way: [row for row in rows if (row["way"], row["stage"]) == (way, "second")] for way in WAYS}
    minutes = ", ".join(sorted({f"{row['minutes']:g}" for row in rows}))
    lines = [
        "# Does jdl's message help the cascade's second stage?",
        "",
        "Written by `python benchmarks/message.py`. Both second stages go on from the same fold models of",
        f"`{SYSTEM}` and had {minutes} minutes of processor time a fold on one thread, from one seed. Dice on whole",
        "volumes of EMIDEC: of the myocardium, and of scar (infarct with no-reflow) where the expert drew some.",
        "",
        "| | steps a fold | myocardium (n) | scar (n) | scar volume error | no scar given, of those without |",
        "|---" * 6 + "|",
    ]
    for name, some in found.items():
        wall, scar = values(some, "myocardium"), values(some, "infarction")
        healthy = [row for row in some if not row["infarction true ml"]]
        error = np.mean([abs(r["infarction ml"] - r["infarction true ml"]) for r in some if r["infarction true ml"]])
        steps = f"{np.mean([row['steps'] for row in some]):.0f}" if name in WAYS else "-"
        lines.append(
            f"| {name} | {steps} | {mean(wall)} | {mean(scar)} | {error:.1f} ml "
            f"| {sum(not row['infarction ml'] for row in healthy)} of {len(healthy)} |"
        )
    lines += ["", "| message minus plain | n | mean (95 % interval over patients) | p (Wilcoxon) |", "|---" * 4 + "|"]
    for region in REGIONS:
        plain, message = (values(found[way], region) for way in WAYS)
        pairs = np.array([message[case] - plain[case] for case in plain])
        low, high = interval(pairs, draws=10_000)
        cells = f"{pairs.mean():+.3f} ({low:+.3f} to {high:+.3f}) | {wilcoxon_p(pairs):.3g}"
        lines.append(f"| {region.replace('infarction', 'scar')} | {len(pairs)} | {cells} |")
    return "\n".join(lines) + "\n"


def values(rows: Sequence[Mapping[str, Any]], region: str) -> dict[str, float]:
    """By case the Dice of a region, where the expert drew it."""
    return {row["case"]: row[f"{region} dice"] for row in rows if row[f"{region} true ml"]}


def mean(found: Mapping[str, float]) -> str:
    some = np.array(list(found.values()))
    return f"{some.mean():.3f} ± {some.std():.3f} ({len(some)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--firsts", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    chosen = parser.parse_args()
    models = [weights_path(SYSTEM, k, chosen.firsts) for k in range(FOLDS)]
    runs = chosen.runs / key_of(models, [f"{chosen.minutes:g}"])
    runs.mkdir(parents=True, exist_ok=True)
    if not (runs / "priors.npz").exists():
        keep_priors(chosen.data, chosen.firsts, runs)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        rest = (chosen.data, chosen.firsts, runs, chosen.minutes)
        for done in [pool.submit(run_fold, way, fold, *rest) for fold in range(FOLDS) for way in WAYS]:
            done.result()
    chosen.page.write_text(page(runs))


if __name__ == "__main__":
    main()
