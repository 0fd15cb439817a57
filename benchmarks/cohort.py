"""How a cohort scales: `python -P benchmarks/cohort.py --data DIR... --page docs/results/cohort.md`.

Small phantoms once for each number of workers, then (with --data) real data sets three times over, mixed: rate,
overhead, memory of the workers over time, and how long the page takes to open with 2,000 rows. For a machine that does
nothing else.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from myoscope import __version__
from myoscope.cohort.page import render
from myoscope.cohort.run import Options, run
from myoscope.cohort.state import Out

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cohort_world import write_studies

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--allow-file-access-from-files", "--dump-dom", "--timeout=20000")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run: `minutes` from the first study done to the last; memory in MB by process, in the order of studies."""

    name: str
    workers: int
    done: int
    failed: int
    start_seconds: float
    minutes: float
    analysis_seconds: list[float]
    memory_mb: dict[int, list[float]]

    @property
    def rate(self) -> float:
        """Studies a minute, once the workers have started."""
        return (self.done - 1) / self.minutes

    @property
    def overhead_percent(self) -> float:
        """Time of the workers that was no analysis: waiting, Dask, locks. The first study of each is left out."""
        return 100 * (60 * self.minutes * self.workers / sum(self.analysis_seconds) - 1)


TIMES = 3
"""How often each real study is analysed: what memory the largest needs is known after the first time."""


def measure(name: str, paths: list[Path], out: Path, workers: int, mixed: bool = False) -> Run:
    """Studies in the order of their ids; `mixed`: of hashes of their paths, so that data sets do not follow in turn."""
    start = time.time()
    outcome = run(paths, out, Options(workers=workers, hashed=mixed))
    found = [(path.stat().st_mtime, json.loads(path.read_text())) for path in out.glob("studies/*/run.json")]
    records = sorted(found, key=lambda one: one[0])
    memory: dict[int, list[float]] = {}
    seconds: list[float] = []
    for _, record in records:
        if record["process"] in memory:  # the first of each process loads the networks
            seconds.append(record["seconds"])
        memory.setdefault(record["process"], []).append(record["memory_mb"])
    first, last = records[0][0], records[-1][0]
    return Run(name, workers, outcome.done, outcome.failed, first - start, (last - first) / 60, seconds, memory)


def memory_lines(one: Run) -> list[str]:
    lines = []
    for number, values in enumerate(one.memory_mb.values(), 1):
        marks = [values[round(share * (len(values) - 1))] for share in (0, 0.1, 1 / 3, 2 / 3, 1)]
        late = values[len(values) // 3 :]
        slope = 100 * np.polyfit(range(len(late)), late, 1)[0] if len(late) > 2 else 0.0
        cells = " | ".join(f"{value:.0f}" for value in marks)
        lines.append(f"| {one.name}, worker {number} of {one.workers} | {len(values)} | {cells} | {slope:+.1f} |")
    return lines


def page_seconds(folder: Path, count: int = 2000) -> tuple[float, float] | None:
    """Seconds until the page of so many rows is loaded in headless Chromium, its median of five, and its size in MB."""
    browser = shutil.which("chromium")
    if not browser:
        return None
    studies = list((folder / "studies").glob("*"))
    flags = [{"level": "warning", "message": "Cut off."}]
    row = {"status": "done", "reason": "", "quality": {"flags": flags}}
    rows = [{"study": studies[i % len(studies)].name, "lv.edv_ml": 100.0 + i, **row} for i in range(count)]
    text = render(Out(folder), rows)
    times = "'loaded '+performance.timing.loadEventEnd+' '+performance.timing.navigationStart"
    probe = f"<script>onload=()=>setTimeout(()=>{{document.title={times}}},0)</script>"
    page = folder / "large.html"
    page.write_text(re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", probe + "</body>"))
    seconds = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as profile:
            command = [browser, *FLAGS, f"--user-data-dir={profile}", page.as_uri()]
            said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        found = re.search(r"<title>loaded (\d+) (\d+)", said)
        assert found, said[:300]
        seconds.append((int(found[1]) - int(found[2])) / 1000)
    return statistics.median(seconds), len(text) / 1e6


def write(runs: list[Run], load: float, opened: tuple[float, float] | None) -> str:
    alone = next((one.rate for one in runs if one.workers == 1), None)
    lines = [
        "# A cohort: rate, overhead, memory",
        "",
        "Written by `python -P benchmarks/cohort.py`. Rate and overhead from the first study done to the last,",
        "without the start; overhead is workers' time without analysis. Phantoms: LGE, 3 slices of 96x96.",
        "",
        f"{len(os.sched_getaffinity(0))} cores. Load average {load:.1f} at the start: above 0.5, other work was",
        f"running and rates are lower than they need be. myoscope {__version__}.",
        "",
        "| studies | workers | done | failed | start, s | a minute | against one | s a study | overhead, % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in runs:
        times = f"{one.rate / alone:.2f}" if alone and one.name == runs[0].name else ""
        lines.append(
            f"| {one.name} | {one.workers} | {one.done} | {one.failed} | {one.start_seconds:.1f} | {one.rate:.1f} "
            f"| {times} | {statistics.median(one.analysis_seconds):.2f} | {one.overhead_percent:.1f} |"
        )
    lines += [
        "",
        "Memory of each worker's analysing process after a study, MB, at shares of its studies. Networks are loaded",
        "when the first study wants them, and what the largest study needed is kept for the next: so data sets are",
        f"analysed {TIMES} times over, all mixed, and the slope leaves out the first third.",
        "",
        "| worker | studies | first | 10 % | a third | two thirds | last | MB in 100 studies |",
        "|---|---|---|---|---|---|---|---|",
        *(line for one in runs for line in memory_lines(one)),
        "",
    ]
    if opened:
        lines += [
            f"The page with 2,000 rows and pictures, {opened[1]:.1f} MB, opens in {opened[0]:.2f} s (Chromium).",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=500, help="phantoms")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="data set roots to run too")
    parser.add_argument("--workers", type=int, nargs="*", default=None, help="default: 1 and all cores")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    runs = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        studies = write_studies(folder / "in", options.studies, distinct=20)
        for workers in options.workers or sorted({1, cores}):
            runs.append(measure(f"{options.studies} phantoms", [studies], folder / f"out{workers}", workers))
            print(runs[-1].workers, f"{runs[-1].rate:.1f} a minute", flush=True)
        if options.data:
            names = f"{TIMES} x ({' + '.join(path.name for path in options.data)})"
            copies = [shutil.copytree(path, folder / str(i) / path.name) for i in range(TIMES) for path in options.data]
            runs.append(measure(names, copies, folder / "real", cores, mixed=True))
        text = write(runs, load, page_seconds(folder / f"out{runs[0].workers}"))
    if options.page:
        options.page.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
