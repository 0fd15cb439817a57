"""What the papers' own experiments need: seconds a step and memory of each published recipe, so hours of a fold.

python benchmarks/papers.py RUNS docs/results/papers.md [DEVICE]

Twenty steps on synthetic hearts, or as many as LIMIT_SECONDS allow, each recipe in a process of its own: the time of a
step depends on sizes only. A recipe that RUNS holds is not run again.
"""

import json
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from myoscope.console import check_device
from myoscope.datasets.acdc import CLASSES
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.lab.loop import Budget
from myoscope.lab.pages import fixed
from myoscope.study import Case, Role
from myoscope.systems import system_module
from myoscope.systems.compact.myops.training import joint_phantom
from myoscope.systems.jdl.evaluation import forget_peak, peak_mb

STEPS, LIMIT_SECONDS = 20, 25.0
CASES = 4
CLOCK = {"cpu": time.thread_time, "cuda": time.monotonic}
"""On a CPU a thread's own time: what else runs does not count."""


class Enough(Exception):  # noqa: N818 - no error
    """Measured: steps and seconds. Nothing is kept of such a training."""


@dataclass(frozen=True)
class Within(Budget):
    """A budget in steps that ends on the clock too, with `Enough`."""

    def spent(self, step: int, seconds: float) -> float:
        """Share of the steps.

        Raises:
            Enough: there were as many, or the clock's limit is reached.
        """
        if step and (step >= (self.steps or 0) or seconds > LIMIT_SECONDS):
            raise Enough(step, seconds)
        return super().spent(step, seconds)


@dataclass(frozen=True)
class Experiment:
    """A network of a paper: its recipe, the paper's steps for one fold, how many of the paper's are alike."""

    recipe: str
    steps: int
    words: str
    """Where these steps come from."""
    kind: str = ""
    """Of myops-ensemble's networks, which."""
    alike: int = 1
    small_batch: int = 0
    """On a CPU so many of the paper's batch are measured, whose own wants more memory; 0: all."""


JDL, ENSEMBLE, ACDC = "500 epochs of 510 slices by 40", "500 epochs of 3,264 images by ", "1,100 iterations"
NNUNET = "the paper is silent: nnU-Net's 1,000 epochs of 250 steps"
EXPERIMENTS = (
    Experiment("doc-net.doc-net", 170 * 70, "170 epochs of 70 cases, batch 1 (ours)"),
    Experiment("doc-net.published", 170 * 70, "170 epochs of 70 cases, batch 1 (ours)"),
    Experiment("jdl.published-joint", 6500, JDL, small_batch=4),
    Experiment("myops-ensemble.published", 204_000, ENSEMBLE + "8", "unet", 5),
    Experiment("myops-ensemble.published", 204_000, ENSEMBLE + "8", "unetpp", 2),
    Experiment("myops-ensemble.published", 816_000, ENSEMBLE + "2", "maskrcnn", 2),
    Experiment("cascade.published-2d", 250_000, NNUNET),
    Experiment("cascade.published", 250_000, NNUNET),
    Experiment("acdc-multitask.double", 1100, ACDC),
    *(Experiment(f"acdc-multitask.{m}", 1100, ACDC) for m in ("diagnosis", "segmentation", "triple")),
    *(Experiment(f"jdl.published-{m}", 6500, JDL, small_batch=4) for m in ("direct", "two-step", "multitask")),
)


def hearts(recipe: str) -> list[Case]:
    """Synthetic cases that a recipe can learn from."""
    if recipe.startswith("myops"):
        return [joint_phantom(sample(i, TRAINING, "MINF"), bssfp=True) for i in range(CASES)]
    role = Role.CINE if recipe.startswith("acdc") else Role.LGE
    drawn = [draw(sample(i, TRAINING, "MINF"), [role], frames=2) for i in range(CASES)]
    return [replace(case, group=CLASSES[1]) for case in drawn]


def measure(experiment: Experiment, folder: Path, device: str) -> None:
    """Train for a few steps, and keep what that took in FOLDER/took.json."""
    forget_peak(device)
    module, name = system_module(experiment.recipe), experiment.recipe
    recipe = module.RECIPES[name]
    if (small := experiment.small_batch) and device == "cpu":
        recipe = replace(recipe, batch=small)
    try:
        if name.startswith("doc-net"):
            _doc_net(recipe, device)
        elif name == "cascade.published":
            _second_stage(recipe, folder, device)
        else:
            if experiment.kind:
                blocks = recipe.blocks[-1:] if experiment.kind != "unet" else recipe.blocks[:1]
                recipe = replace(recipe, blocks=blocks, kinds=(experiment.kind,))
            module.train(recipe, hearts(name), Within(steps=STEPS, clock=CLOCK[device]), folder / "training", device)
    except Enough as enough:
        steps, seconds = enough.args
        took = {"steps": steps, "seconds": seconds, "peak_mb": peak_mb(device)}
        (folder / "took.json").write_text(json.dumps(took))


def _doc_net(recipe: Any, device: str) -> None:
    """One epoch of random stacks, as there are no synthetic clinical values; an eighth is validated on."""
    from myoscope.systems.doc_net.inputs import Inputs
    from myoscope.systems.doc_net.training import fit

    n, side = STEPS + 2, recipe.crop + 2 * recipe.margin
    inputs = Inputs(torch.rand(n, 12), torch.rand(n, recipe.slices, side, side), torch.arange(n) % 2)
    begun = CLOCK[device]()
    fit(replace(recipe, epochs=1), inputs, Budget(steps=10**6), None, device)
    raise Enough(n - 2, CLOCK[device]() - begun)


def _second_stage(recipe: Any, folder: Path, device: str) -> None:
    """With a first stage that says nothing: what it costs is in its own row."""
    from myoscope.lab.slices import CANVAS
    from myoscope.systems.cascade.training import train

    cases = hearts(recipe.name)
    depth = [len(case.study.series[0].image.frames[0]) for case in cases]
    none = {
        case.id: torch.zeros(n, len(recipe.classes) - 1, CANVAS, CANVAS, dtype=torch.uint8)
        for case, n in zip(cases, depth, strict=True)
    }
    train(
        recipe,
        cases,
        Within(steps=STEPS, clock=CLOCK[device]),
        folder / "training",
        device,
        SimpleNamespace(card={}),
        none,
    )


def page(experiments: list[tuple[Experiment, dict[str, float] | None]], device: str) -> str:
    """The table."""
    where = torch.cuda.get_device_name() if device != "cpu" else "one thread of a CPU"
    lines = [
        "# What the papers' own experiments need",
        "",
        f"Written by `python benchmarks/papers.py` on {where}: {STEPS} steps of each published recipe on",
        f"synthetic hearts, or as many as {LIMIT_SECONDS:g} s allowed (at least one). On a CPU seconds are one",
        "thread's processor time, so that other work does not count, and memory is all that the process held; on a GPU",
        f"they are the clock's, and memory is PyTorch's{' (not measured)' if device == 'cpu' else ''}. Hours are the",
        "paper's steps at that pace, for one fold or split. Where a batch was smaller than the paper's, hours are the",
        "paper's slices at that pace, and memory is the small batch's.",
        "",
        "| recipe | network | steps measured | s a step | memory | steps of the paper | hours of a fold | where from |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for e, took in experiments:
        if took is None:
            lines.append(f"| {e.recipe} | {e.kind or 'all'} | none: stopped | | | {e.steps:,} | | {e.words} |")
            continue
        pace = took["seconds"] / took["steps"]
        whole = system_module(e.recipe).RECIPES[e.recipe].batch
        part = e.small_batch if device == "cpu" and e.small_batch else whole
        smaller = f" of {part}, not {whole}" if part != whole else ""
        hours = e.alike * e.steps * pace * (whole / part if part != whole else 1) / 3600
        times = f"{e.alike} x " if e.alike > 1 else ""
        memory = f"{took['peak_mb'] / 1000:.1f} GB" if took["peak_mb"] else "-"
        lines.append(
            f"| {e.recipe} | {e.kind or 'all'} | {took['steps']}{smaller} | {fixed(pace, '.2f')} | {memory} "
            f"| {times}{e.steps:,} | {hours:,.1f} | {e.words} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    runs, out, *rest = sys.argv[1:]
    device = check_device(rest[0] if rest else "cpu")
    found = []
    for experiment in EXPERIMENTS:
        folder = Path(runs) / f"{experiment.recipe}{experiment.kind}"
        if not (folder / "took.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            process = get_context("spawn").Process(target=measure, args=(experiment, folder, device))
            process.start()
            process.join()
        took = folder / "took.json"
        found.append((experiment, json.loads(took.read_text()) if took.exists() else None))
        Path(out).write_text(page(found, device))


if __name__ == "__main__":
    main()
