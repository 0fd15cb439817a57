"""The task that Dask runs, one a study: hand it to this worker's analysing process, and watch time and memory."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from myoscope.cohort.state import Made, Out, made_of

LOOK_SECONDS = 0.1
"""How often memory is looked at."""

_here = threading.local()
_children: set[subprocess.Popen[str]] = set()


class WorkerGoneError(RuntimeError):
    """The analysing process was killed by somebody; Dask tries the study again."""


def run_one(task: dict[str, Any]) -> dict[str, Any]:
    """Analyse one study, unless another worker has just done it.

    Args:
        task: `item` (an `Item` as a dict), `out`, `made_of`, `patient` (facts of the table), `hashed`,
            `limit_seconds`, `limit_bytes` (None: none).

    Returns:
        `status` "done", "failed" or "full" (the disk), with what `run.json` or `failed/<id>.json` holds.

    Raises:
        WorkerGoneError: the analysing process was killed from outside.
    """
    out, study, made = Out(task["out"]), task["item"]["id"], Made(**task["made_of"])
    start = time.monotonic()
    try:
        with (out.work / f"{study}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of a client that was killed, the worker may still be at it
            found = out.done(study)
            if found and made_of(found) == made:
                return {"status": "done", "study": study, **found}
            answer = _ask(task)
            for left in (out.work / study, out.work / f"{study}.tmp"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            if answer["status"] == "failed":
                seconds = time.monotonic() - start
                answer |= out.fail(study, made, answer["reason"], seconds, socket.gethostname())
            return {"study": study, **answer}
    except OSError as error:
        return {"status": "full", "study": study, "reason": error.strerror or "it failed"}


def _ask(task: dict[str, Any]) -> dict[str, Any]:
    child = _child()
    asked, answers = child.stdin, child.stdout
    assert asked and answers
    end = time.monotonic() + task["limit_seconds"]
    with suppress(BrokenPipeError):
        asked.write(json.dumps(task) + "\n")
        asked.flush()
    while not select.select([answers], [], [], LOOK_SECONDS)[0]:
        if time.monotonic() > end:
            return _killed(child, f"it took longer than {task['limit_seconds'] / 60:g} minutes")
        if task["limit_bytes"] and _memory(child) > task["limit_bytes"]:
            return _killed(child, f"it needed more than {task['limit_bytes'] / 2**30:.3g} GB of memory")
    line = answers.readline()
    if line:
        return dict(json.loads(line))
    code = child.wait()
    _forget(child)
    if code == -signal.SIGKILL:
        raise WorkerGoneError("the analysing process was killed (SIGKILL): by somebody, or for want of memory")
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return {"status": "failed", "reason": f"the analysis crashed ({how})"}


def _child() -> subprocess.Popen[str]:
    """This worker's analysing process; threads of its libraries would only take cores from other workers."""
    child: subprocess.Popen[str] | None = getattr(_here, "child", None)
    if child is None or child.poll() is not None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        child = subprocess.Popen(
            [sys.executable, "-m", "myoscope.cohort.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | threads,
        )
        with suppress(OSError):  # Linux: where memory runs out, this process goes first
            Path(f"/proc/{child.pid}/oom_score_adj").write_text("1000")
        _here.child = child
        _children.add(child)
    return child


def _memory(child: subprocess.Popen[str]) -> int:
    with suppress(psutil.Error):
        return int(psutil.Process(child.pid).memory_info().rss)
    return 0


def _killed(child: subprocess.Popen[str], reason: str) -> dict[str, Any]:
    child.kill()
    child.wait()
    _forget(child)
    return {"status": "failed", "reason": reason}


def _forget(child: subprocess.Popen[str]) -> None:
    _children.discard(child)
    for pipe in (child.stdin, child.stdout):
        with suppress(OSError):
            pipe.close()  # type: ignore[union-attr]


def kill_children() -> None:
    """End every analysing process that this process started: the run is over."""
    for child in list(_children):
        child.kill()
        child.wait()
        _forget(child)
