"""Works through a list of trainings, two at a time, at the lowest priority and on one thread each.

python benchmarks/training_queue.py JOBS docs/results/training-log.csv

JOBS is a text file with one call a line, as in `train compact-cine --fold 1/5 --data ACDC --minutes 60 -o RUNS`; it is
read again whenever a worker is free, so lines may be added, moved or taken out at any time. What is done stands in
JOBS.done, what was said in JOBS.log. Kill the queue with its trainings at any time and repeat the command: trainings go
on from their checkpoints. While there is a file JOBS.pause (`touch` it, `rm` it), all trainings stand still; their
minutes do not run on. Every training that ended adds a row to the log: minutes, steps and what they took on the wall.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

WORKERS = 2
LOWEST = 'echo 19 > /proc/self/autogroup 2>/dev/null; exec nice -n 19 "$@"'
"""In a session of its own (only then is the group not that of the caller), where the kernel knows such groups."""

COLUMNS = ("ended", "system", "split", "minutes", "steps", "wall_minutes", "commit")


@dataclass
class Job:
    """One call of myoscope that is running; `wall_s` leaves pauses out."""

    call: str
    process: subprocess.Popen[str]
    begun: float = field(default_factory=time.monotonic)
    wall_s: float = 0.0


def start(call: str, log: Path) -> Job:
    """Start a call in a session of its own, at the lowest priority, on one thread."""
    program = [sys.executable, "-m", "myoscope.cli", *call.split()]
    single = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log.open("a") as said:
        process = subprocess.Popen(
            ["sh", "-c", LOWEST, "sh", *program],
            stdout=subprocess.PIPE, stderr=said, text=True, env=single, start_new_session=True,
        )  # fmt: skip
    return Job(call, process)


def next_call(jobs: Path, done: Path, running: list[Job]) -> str | None:
    """The first call of the list that neither ended nor runs."""
    taken = {job.call for job in running}
    if done.exists():
        taken |= {line.split(" ", 2)[2] for line in done.read_text().splitlines()}
    calls = (line.strip() for line in jobs.read_text().splitlines())
    return next((call for call in calls if call and not call.startswith("#") and call not in taken), None)


def write_rows(log: Path, weights: list[Path], wall_minutes: float) -> None:
    """One row for each network that a call trained, from the card beside its weights."""
    new = not log.exists()
    with log.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        if new:
            writer.writeheader()
        for path in weights:
            card = json.loads(path.with_suffix(".json").read_text())
            ended = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
            writer.writerow(card | {"ended": ended, "wall_minutes": f"{wall_minutes / len(weights):.1f}"})


def work(jobs: Path, log: Path, poll_s: float = 2.0) -> None:
    """Work until no call is left and none runs."""
    done, pause = (jobs.with_name(jobs.name + end) for end in (".done", ".pause"))
    running: list[Job] = []
    while running or next_call(jobs, done, running):
        still = pause.exists()
        while not still and len(running) < WORKERS and (call := next_call(jobs, done, running)):
            running.append(start(call, jobs.with_name(jobs.name + ".log")))
        for job in running:
            os.killpg(job.process.pid, signal.SIGSTOP if still else signal.SIGCONT)
            job.wall_s += 0 if still else time.monotonic() - job.begun
            job.begun = time.monotonic()
        for job in [job for job in running if job.process.poll() is not None]:
            said = job.process.communicate()[0]
            running.remove(job)
            with done.open("a") as file:
                file.write(f"{datetime.now(UTC):%H:%M} {job.process.returncode} {job.call}\n")
            weights = [Path(line[9:]) for line in said.splitlines() if line.startswith("weights: ")]
            if job.process.returncode == 0 and weights:
                write_rows(log, weights, job.wall_s / 60)
        time.sleep(poll_s)


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]))
