"""Workers and clients killed with -9 in the middle: every study is done once, none half.

`make soak` kills twenty times over sixty studies (MYOSCOPE_SOAK=20/60); here it is fewer.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cohort_world import write_studies

KILLS, STUDIES = map(int, os.environ.get("MYOSCOPE_SOAK", "2/6").split("/"))


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def whole(out: Path) -> dict[str, int]:
    """Studies that are in their place, and the inode of their numbers: it stays while nobody does them again."""
    found = {}
    for folder in (out / "studies").glob("*"):
        files = {path.name for path in folder.iterdir()}
        assert {"report.html", "measurements.json", "measurements.csv", "run.json", "segmentations"} <= files
        assert json.loads((folder / "measurements.json").read_text())["patient"]["study_id"] == folder.name
        found[folder.name] = (folder / "measurements.json").stat().st_ino
    return found


def wait(process: subprocess.Popen[str], out: Path, count: int, seconds: float = 240) -> bool:
    """Until so many studies are done; False where the process ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            return False
        if len(list(out.glob("studies/*"))) >= count:
            return True
        time.sleep(0.05)
    raise AssertionError(f"{count} studies were not done in {seconds} s")


def test_the_client_is_killed_again_and_again(tmp_path: Path) -> None:
    studies, out = write_studies(tmp_path / "in", STUDIES), tmp_path / "out"
    rng, before, killed = random.Random(4), {}, 0
    while True:
        client = start("myoscope.cli", "cohort", studies, "-o", out, "--workers", 2)
        if killed == KILLS or not wait(client, out, len(before) + 1):
            break
        time.sleep(rng.uniform(0, 0.6))
        family = psutil.Process(client.pid).children(recursive=True) if client.poll() is None else []
        client.kill()
        client.communicate()
        killed += 1
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == [], "whoever analyses ends with the client"
        now = whole(out)
        assert before.items() <= now.items(), "what is done is not done again"
        before = now
    said, problems = client.communicate(timeout=600)
    assert client.returncode == 0, problems
    assert said.startswith(f"{STUDIES} studies done, 0 failed; {STUDIES - len(before)} of them in this run")
    assert before.items() <= whole(out).items() and len(whole(out)) == STUDIES
    assert killed == KILLS or len(before) == STUDIES


@contextlib.contextmanager
def dask(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A scheduler and two workers, processes of their own on loopback; the scheduler's address."""
    file, running = tmp_path / "scheduler.json", []
    quiet = ("--no-dashboard", "--scheduler-file", file)
    where = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        for name, options in (
            ("scheduler", ("--host", "127.0.0.1", "--port", "0")),
            ("worker", ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--name", "one")),
            ("worker", ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--name", "two")),
        ):
            words = [sys.executable, "-m", f"distributed.cli.dask_{name}", *map(str, (*options, *quiet))]
            running.append(subprocess.Popen(words, **where))  # type: ignore[call-overload]
            end = time.monotonic() + 60
            while not file.is_file():
                assert time.monotonic() < end and running[0].poll() is None, "the scheduler does not start"
                time.sleep(0.1)
        yield json.loads(file.read_text())["address"], running[1:]
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_a_worker_is_killed_and_the_other_does_its_studies(tmp_path: Path) -> None:
    studies, out = write_studies(tmp_path / "in", 8), tmp_path / "out"
    with dask(tmp_path) as (address, workers):
        client = start("myoscope.cli", "cohort", studies, "-o", out, "--scheduler", address)
        assert wait(client, out, 2)
        child = psutil.Process(workers[0].pid).children()
        os.kill(workers[0].pid, signal.SIGKILL)
        assert psutil.wait_procs(child, timeout=20)[1] == []
        said, problems = client.communicate(timeout=400)
    assert client.returncode == 0, problems
    assert said.startswith("8 studies done, 0 failed; 8 of them in this run"), (said, problems)
    assert len(whole(out)) == 8 and not list((out / "failed").iterdir())


def test_nobody_at_the_schedulers_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from myoscope.cohort import cluster
    from myoscope.errors import InputError

    monkeypatch.setattr(cluster, "WAIT_SECONDS", 1)
    with pytest.raises(InputError, match="nobody answers there"), cluster.client_of(scheduler="tcp://127.0.0.1:1"):
        pass
