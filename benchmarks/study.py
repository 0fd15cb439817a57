"""How long a study takes and how much memory it needs: `make bench` writes docs/results/benchmark.md.

Synthetic studies only. Cold is the whole command in a process of its own, from the shell's point of view; warm is the
same work again in a process that has its model loaded, stage by stage.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from myoscope import __version__
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.io.save import write_study
from myoscope.study import Case, Role

STAGES = ("read", "segment", "measure", "report")
LGE_SLICES = 8


@dataclass(frozen=True)
class Times:
    """Seconds of one run of a stage, or of a whole command with its peak memory."""

    seconds: list[float]
    peak_mb: float | None = None

    def __str__(self) -> str:
        middle = f"{statistics.median(self.seconds):.2f}"
        return middle if len(self.seconds) == 1 else f"{middle} ({min(self.seconds):.2f}-{max(self.seconds):.2f})"


def lge_case() -> Case:
    """A phantom with an infarct, eight slices from the base on."""
    parameters = sample(7, KEPT_ASIDE, "MINF")
    scan = parameters.scans[Role.LGE]
    order = sorted(range(len(scan.planes_mm)), key=lambda i: scan.planes_mm[i])[:LGE_SLICES]
    chosen = slice(min(order), max(order) + 1)
    parts = {name: getattr(scan, name)[chosen] for name in ("planes_mm", "shifts_mm", "gains")}
    return draw(replace(parameters, scans={Role.LGE: replace(scan, **parts)}), (Role.LGE,))


def cine_case(frames: int) -> Case:
    return draw(sample(7, KEPT_ASIDE), (Role.CINE,), frames=frames)


STUDIES = {
    "LGE": lge_case,
    "cine, ED and ES": partial(cine_case, 2),
    "cine, whole cycle": partial(cine_case, 30),
}


def cold(study: Path, repeats: int) -> Times:
    """`myoscope analyze` in processes of its own: wall clock, and the largest resident memory of any."""
    seconds, peak = [], 0.0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-m", "myoscope.cli", "analyze", str(study), "-o", out]
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            seconds.append(time.perf_counter() - start)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
            peak = max(peak, usage.ru_maxrss / 1024)
    return Times(seconds, peak)


def warm(study: Path, repeats: int) -> dict[str, Times]:
    """The stages of `analyze` in this process, after a first round that does not count."""
    from myoscope import analysis
    from myoscope.io.read import read_study

    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    for _ in range(repeats + 1):
        marks = [time.perf_counter()]
        found = read_study(study)
        marks.append(time.perf_counter())
        models = {s.role: analysis._model(analysis.SYSTEM_FOR[s.role]) for s in found.series}
        predictions = {s.role: models[s.role].segment(s) for s in found.series}
        marks.append(time.perf_counter())
        labels = {role: prediction.labels for role, prediction in predictions.items()}
        result = analysis.judge(found, labels, {}, predictions)
        marks.append(time.perf_counter())
        with tempfile.TemporaryDirectory() as out:
            result.save(out)
            marks.append(time.perf_counter())
        for name, start, end in zip(STAGES, marks, marks[1:], strict=False):
            stages[name].append(end - start)
    return {name: Times(seconds[1:]) for name, seconds in stages.items()}


def write(name: str, folder: Path) -> str:
    """Draw and write a study; says what is in it."""
    case = STUDIES[name]()
    write_study(case.study, folder)
    frames, slices, height, width = case.study.series[0].image.frames.shape
    return f"{slices} slices {width}x{height}" + (f", {frames} frames" if frames > 1 else "")


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def page(rows: list[tuple[str, str, Times, dict[str, Times]]], load: float) -> str:
    import torch

    cores = len(os.sched_getaffinity(0))
    lines = [
        "# How long a study takes",
        "",
        "Written by `make bench` on synthetic studies. Seconds: median (smallest to largest). Cold: the whole command",
        "`myoscope analyze` in a process of its own, from path to report, with its peak resident memory. Warm: the",
        "same again in a process that has the model loaded, by stage; `report` writes all files too.",
        "",
        f"{cores} cores ({processor()}), CPU only, {torch.get_num_threads()} threads. Load average {load:.1f} at the",
        "start: above 0.5, other work was running and the times are longer than they need be.",
        f"Python {platform.python_version()}, torch {torch.__version__}, myoscope {__version__}.",
        "",
        "| study | images | cold, s | peak, MB | " + " | ".join(f"{name}, s" for name in STAGES) + " |",
        "|---|---|---|---|" + "---|" * len(STAGES),
    ]
    for name, shape, first, stages in rows:
        times = " | ".join(str(stages[stage]) for stage in STAGES)
        lines.append(f"| {name} | {shape} | {first} | {first.peak_mb:.0f} | {times} |")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines += ["", f"Peak memory of the warm process over all studies: {own:.0f} MB.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="write the table here too")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        studies = {}
        # Drawn elsewhere: a process inherits the peak memory of the one that starts it.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
            for name in STUDIES:
                studies[name] = Path(folder) / name, elsewhere.submit(write, name, Path(folder) / name).result()
        firsts = {name: cold(path, options.repeats) for name, (path, _) in studies.items()}
        for name, (path, shape) in studies.items():
            rows.append((name, shape, firsts[name], warm(path, options.repeats)))
            print(name, shape, firsts[name], *map(str, rows[-1][3].values()), flush=True)
    text = page(rows, load)
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
