"""Kill the node at a random point, twenty times over fifty studies: none lost, none twice.

A study is one instance here, so that the outcome does not hang on how fast the machine is: a scanner that was cut off
between two instances and comes back after the quiet time has sent two studies, by the node's own rule. What a kill does
to a study of several instances is tried step by step in tests/unit/test_pacs_inbox.py.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from myoscope.pacs.inbox import name_of
from myoscope.pacs.work import MAX_STARTS
from pacs_world import STUDY, Archive, c_store, close_refused_sockets, command, free_port, instance

STUDIES, KILLS = 50, 20
ASIDE = f"the node stopped {MAX_STARTS} times while it analysed this study"
"""No loss: where a node lives hardly as long as a program takes to start, the kills may hit one study so often."""

LONGEST_LIFE_SECONDS = 1.0


def _settings(folder: Path, port: int, archive: int) -> Path:
    """A node whose analysis is a fast stand-in: a real program, run, killed and judged as `myoscope analyze` is.

    `analysis_command` is a setting for everybody (docs/pacs.md), and all that differs here from a hospital.
    """
    path = folder / "node.toml"
    path.write_text(
        f'spool = "{folder / "spool"}"\nsend_to = "ARCHIVE@127.0.0.1:{archive}"\nquiet_seconds = 0.1\n'
        f"keep_free_gb = 0.001\nhealth_port = 0\nanalysis_command = {json.dumps(command(folder))}\n"
        f'[receive]\naccept = ["SCANNER"]\nport = {port}\n'
    )
    return path


class _Scanner(threading.Thread):
    """Sends as archives do: one study after the other, each until it was acknowledged."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port, self.allowed, self.sent = port, 0, 0

    def run(self) -> None:
        while self.sent < STUDIES:
            if self.sent < self.allowed and c_store([instance(self.sent)], self._port) == [0]:
                self.sent += 1
            else:
                time.sleep(0.01)


def test_none_lost_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close_refused_sockets(monkeypatch)
    rng = random.Random(20261121)
    port = free_port()
    archive, scanner = Archive(), _Scanner(port)
    log, spool = tmp_path / "node.log", tmp_path / "spool"
    log.touch()
    with archive.open() as archive_port:
        call = [sys.executable, "-m", "myoscope.cli", "pacs", str(_settings(tmp_path, port, archive_port))]
        scanner.start()
        busy_deaths = 0
        for kill in range(KILLS):
            with _node(call, log):
                scanner.allowed = STUDIES * (kill + 1) // KILLS
                time.sleep(rng.uniform(0, LONGEST_LIFE_SECONDS))
            busy_deaths += _busy(spool)
        with _node(call, log) as node:
            _wait_until(lambda: scanner.sent == STUDIES and not _busy(spool))
            node.terminate()
            assert node.wait(60) == 0
    results = {study: list(taken) for study, taken in archive.taken.items()}
    unsent = {STUDY.format(n) for n in range(STUDIES)} - set(results)
    assert {study: _why_aside(spool, study) for study in unsent} == dict.fromkeys(unsent, ASIDE), "lost"
    assert len(unsent) <= KILLS // MAX_STARTS
    assert {study: len(uids) for study, uids in results.items() if len(uids) != 1} == {}, "twice"
    assert len(list((spool / "done").iterdir())) == STUDIES - len(unsent)
    assert "Muster" not in log.read_text()
    assert busy_deaths >= KILLS // 2, "the kills hit nothing"


def _why_aside(spool: Path, study: str) -> str:
    """What the node says of a study that it kept for a person; empty where it has no such study."""
    reason = spool / "failed" / name_of(study) / "reason.txt"
    return reason.read_text().strip() if reason.exists() else ""


def _busy(spool: Path) -> bool:
    """Whether there is a study; looked for in the direction in which studies move, so that none slips by."""
    return any(any((spool / state).iterdir()) for state in ("receiving", "working", "sending", "trash"))


@contextmanager
def _node(call: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A node that listens when this is entered, and is killed (kill -9) when it is left."""
    before = log.read_text().count("listens on")
    with log.open("a") as file:
        node = subprocess.Popen(call, stderr=file)
    try:
        _wait_until(lambda: log.read_text().count("listens on") > before or node.poll() is not None)
        assert node.poll() is None, log.read_text()
        yield node
    finally:
        node.kill()
        node.wait()


def _wait_until(done: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
