"""Analyse what is complete, send what is analysed: one step after the other, each of which may be killed."""

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from myoscope.errors import InputError
from myoscope.pacs.errors import RefusedError, UnreachableError, told
from myoscope.pacs.inbox import Inbox
from myoscope.pacs.settings import Settings

log = logging.getLogger(__name__)

MAX_STARTS = 8
"""A study during whose analysis the node itself died so often is put aside: it may be what kills it."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 300.0
"""Between attempts to send to a peer that does not answer; doubled each time."""

Send = Callable[[Sequence[Path]], None]


@dataclass
class Worker:
    """Brings studies from "receiving" to done or "failed"."""

    settings: Settings
    inbox: Inbox
    send: Send
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong now; shown on the health page."""
    _next_send: float = 0.0
    _wait_seconds: float = FIRST_WAIT_SECONDS
    _send_failures: Counter[str] = field(default_factory=Counter)

    def step(self) -> bool:
        """Do what can be done now, at most one analysis; whether anything was done.

        What goes wrong with a study concerns that study only.
        """
        for study in self.inbox.quiet(self.settings.quiet_seconds):
            self._guarded("receiving", study, self._take)
        to_send = sorted(self.inbox.studies("sending"), key=lambda study: self._send_failures[study])
        sent = [study for study in to_send if self._send(study)]
        waiting = self.inbox.waiting()
        if waiting:
            self._guarded("working", waiting[0], self._analyse)
        return bool(sent or waiting)

    def _guarded(self, state: str, study: str, step: Callable[[str], None]) -> None:
        try:
            step(study)
        except Exception as error:
            self._fail(state, study, f"the node's own step failed: {told(error)}")

    def _fail(self, state: str, study: str, reason: str) -> None:
        log.error("study %s failed: %s", study, reason)
        try:
            self.inbox.fail(state, study, reason)
        except OSError as error:
            log.error("study %s cannot be put aside: %s", study, told(error))

    def _take(self, study: str) -> None:
        reason = self.inbox.take(study)
        if reason:
            log.error("study %s failed: %s", study, reason)

    def _analyse(self, study: str) -> None:
        folder = self.inbox.folder("working", study)
        if self.inbox.count_start(study) >= MAX_STARTS:
            self._fail("working", study, f"the node stopped {MAX_STARTS} times while it analysed this study")
            return
        log.info("study %s: analysing %d instances", study, len(self.inbox.names("working", study)))
        reason = run_analysis(
            self.settings.analysis_command,
            folder,
            60 * self.settings.time_limit_minutes,
            self.inbox.root / "analysis.lock",
        )
        if reason:
            self._fail("working", study, reason)
        elif not _results(folder):
            self._fail("working", study, "the analysis wrote no DICOM result (out/dicom/*.dcm)")
        else:
            self.inbox.analysed(study)
            self._send(study)

    def _send(self, study: str) -> bool:
        if time.monotonic() < self._next_send:
            return False
        files = _results(self.inbox.folder("sending", study))
        try:
            if not files:
                raise RefusedError("there is no result in out/dicom")
            self.send(files)
            self.inbox.finish(study)
        except (UnreachableError, OSError) as error:
            log.warning("study %s: result not sent, tried again in %.0f s: %s", study, self._wait_seconds, told(error))
            self.problems["sending"] = told(error)
            self._send_failures[study] += 1  # the next goes first then: this one may be what the peer dies of
            self._next_send = time.monotonic() + self._wait_seconds
            self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
            return False
        except RefusedError as error:
            self._fail("sending", study, str(error))
        except Exception as error:
            self._fail("sending", study, f"the result cannot be sent: {told(error)}")
        else:
            log.info("study %s: %d results sent", study, len(files))
        self._wait_seconds = FIRST_WAIT_SECONDS
        self.problems.pop("sending", None)
        return True


def _results(folder: Path) -> list[Path]:
    return sorted((folder / "out" / "dicom").rglob("*.dcm"))


def run_analysis(command: Sequence[str], folder: Path, limit_seconds: float, lock: Path) -> str | None:
    """Run the analysis of a study in a process group of its own, killed with all its children when time is up.

    Args:
        command: Program and arguments; `{python}`, `{study}` and `{out}` stand for this Python, the folder of the
            instances and the folder to write into, whose `dicom/*.dcm` are the result.
        folder: Holds `instances/`; gets `out/` and `analysis.log`.
        limit_seconds: When it is killed.
        lock: See `_only_analysis`.

    Returns:
        None if it succeeded, else one line. Only a program that ends with code 2, as `myoscope` does for input that
        cannot be used, is quoted; what it said besides stays in `analysis.log`.
    """
    words = {"{python}": sys.executable, "{study}": str(folder / "instances"), "{out}": str(folder / "out")}
    arguments = [words.get(word, word) for word in command]
    with _only_analysis(lock) as held, (folder / "analysis.log").open("wb") as said:
        if (folder / "out").exists():  # of a start that was killed; only now can nobody write there any more
            shutil.rmtree(folder / "out")
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                pass_fds=(held.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            return f"the analysis cannot be started ({error.strerror}); see analysis_command in the settings"
        try:
            held.write(str(process.pid))
            held.flush()
            with suppress(OSError):  # Linux: where memory runs out, this process goes first
                Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
            code = process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            return f"the analysis took longer than {limit_seconds / 60:g} minutes"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code == 2:
        lines = (folder / "analysis.log").read_text("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "no reason given")
        return "".join(c for c in last.removeprefix("myoscope: ") if c.isprintable())[:500]
    if code < 0:
        return f"the analysis was killed ({signal.Signals(-code).name}); see analysis.log beside"
    return f"the analysis crashed (exit code {code}); see analysis.log beside" if code else None


@contextmanager
def _only_analysis(path: Path) -> Iterator[IO[str]]:
    """No two analyses at once, though the node was killed and the analysis it had started lives on.

    The analysis inherits the open file, and with it the lock, which is free when the last process that has it is gone.
    The file names the analysis's process group: where somebody still holds the lock, that group exists and is killed.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            group = file.read()
            if group:
                with suppress(ProcessLookupError):
                    os.killpg(int(group), signal.SIGKILL)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        yield file


@contextmanager
def only_node(spool: Path) -> Iterator[None]:
    """Keep a second node from the same folder.

    Raises:
        InputError: there is one, or the folder cannot be written.
    """
    try:
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (spool / "node.lock").open("w")
    except OSError as error:
        raise InputError(f"{str(spool)!r}: cannot write there ({error.strerror}); choose another spool") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{str(spool)!r}: another node works there; stop it or choose another spool") from None
        yield
