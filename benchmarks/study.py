"""How long a study takes and how much memory it needs: `make bench OLD=CLONE` writes docs/results/benchmark.md.

Each clone runs in its own .venv, as `make demo` leaves it. Synthetic studies only. Cold is the whole command in a
process of its own, from the shell's point of view; warm is the same work again in a process that has its model loaded,
stage by stage.
"""

import argparse
import inspect
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.io.save import write_study
from myoscope.study import Case, Role

PAGE = Path(__file__).with_suffix(".md.j2")
STAGES = ("read", "segment", "measure", "report")
LGE_SLICES = 8


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


def run(command: list[str]) -> tuple[float, float, str]:
    """A process's seconds on the wall, its largest resident memory in MB, and what it printed."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=alone)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, said


def measured(python: Path, study: Path, repeats: int) -> tuple[list[tuple[float, float]], dict[str, list[float]]]:
    """(seconds, MB) of `myoscope analyze` in processes of its own; seconds of the stages in one that goes on."""
    firsts = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as out:
            firsts.append(run([str(python), "-m", "myoscope.cli", "analyze", str(study), "-o", out])[:2])
    said = run([str(python), "-P", str(Path(__file__).resolve()), "--stages", str(study), "--repeats", str(repeats)])[2]
    return firsts, json.loads(said)


def stages_of(study: Path, repeats: int) -> dict[str, list[float]]:
    """The stages of `analyze` in this process, after a first round that does not count."""
    from myoscope import analysis
    from myoscope.io.read import read_study

    on_cpu = ["cpu"] if "device" in inspect.signature(analysis._model).parameters else []  # before ONNX Runtime
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    for _ in range(repeats + 1):
        marks = [time.perf_counter()]
        found = read_study(study)
        marks.append(time.perf_counter())
        models = {s.role: analysis._model(analysis.SYSTEM_FOR[s.role], *on_cpu) for s in found.series}
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
    return {name: seconds[1:] for name, seconds in stages.items()}


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


def clone_facts(clone: Path) -> dict[str, Any]:
    """Commit of a clone, and how large its .venv is."""
    size = sum(file.lstat().st_size for file in (clone / ".venv").rglob("*") if file.is_file())
    commit = subprocess.run(["git", "-C", clone, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {"commit": commit.stdout.strip(), "mb": size / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, help="a clone of an earlier commit, after `make demo`, measured in turn")
    parser.add_argument("--page", type=Path, help="write the table here too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stages", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stages:
        print(json.dumps(stages_of(options.stages, options.repeats)))
        return
    load = os.getloadavg()[0]
    clones = {"old": options.old, "new": Path(__file__).parents[1]} if options.old else {"": Path(__file__).parents[1]}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in STUDIES:
            path = Path(folder) / name
            # Drawn elsewhere: a process inherits the peak memory of the one that starts it.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
                shape = elsewhere.submit(write, name, path).result()
            found = {
                which: measured(clone / ".venv/bin/python", path, options.repeats) for which, clone in clones.items()
            }
            for which, (firsts, stages) in found.items():
                seconds, peaks = zip(*firsts, strict=True)
                times = {"cold": list(seconds), **stages}
                before = found["old"][0] if which == "new" else None
                rows.append(
                    {
                        "study": f"{name} ({shape})",
                        "which": which,
                        "peak_mb": max(peaks),
                        "times": {stage: shown(values) for stage, values in times.items()},
                        "faster": before and statistics.median(s for s, _ in before) / statistics.median(seconds),
                    }
                )
                print(rows[-1], flush=True)
    facts = {
        "rows": rows,
        "stages": STAGES,
        "clones": {which: clone_facts(clone) for which, clone in clones.items()},
        "machine": f"{len(os.sched_getaffinity(0))} cores ({processor()}), Python {platform.python_version()}",
        "load": load,
    }
    text = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(PAGE.read_text()).render(facts)
    if options.page:
        options.page.write_text(text)
    print(text)


def shown(seconds: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


if __name__ == "__main__":
    main()
