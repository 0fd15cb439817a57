"""A bad study never stops the next; a peer that is away never loses a result."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from myoscope.errors import InputError
from myoscope.pacs.errors import RefusedError, UnreachableError
from myoscope.pacs.inbox import Inbox, name_of
from myoscope.pacs.settings import Peer, Receive, Settings
from myoscope.pacs.work import MAX_STARTS, Send, Worker, only_node, run_analysis
from pacs_world import STUDY, command, encoded, instance

Make = Callable[..., Worker]


def nowhere(_: Sequence[Path]) -> None:
    """An archive that takes everything."""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def worker(send: Send = nowhere, time_limit_minutes: float = 5, **change: tuple[str, ...]) -> Worker:
        settings = Settings(
            spool=tmp_path / "spool",
            send_to=Peer("ARCHIVE", "127.0.0.1", 104),
            receive=Receive(accept=("SCANNER",)),
            quiet_seconds=1e-9,
            time_limit_minutes=time_limit_minutes,
            **{"analysis_command": command(tmp_path)} | change,
        )
        return Worker(settings, Inbox(settings.spool, 0), send)

    return worker


def until_idle(worker: Worker) -> None:
    worker.step()
    while worker.step():
        pass


def reason(worker: Worker, study: int) -> str:
    return (worker.inbox.folder("failed", name_of(STUDY.format(study))) / "reason.txt").read_text().strip()


def test_bad_studies_then_a_good_one(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    worker = make(time_limit_minutes=0.02)
    for study, name in enumerate(["unreadable", "crash^Muster", "hang", "Good"]):
        worker.inbox.add(encoded(instance(study, name=name)))
    until_idle(worker)
    assert worker.inbox.counts() | {"failed": 3, "done": 1} == worker.inbox.counts()
    assert reason(worker, 0) == "expected a heart, found none; send one"
    assert reason(worker, 1) == "the analysis was killed (SIGABRT); see analysis.log beside"
    assert reason(worker, 2) == "the analysis took longer than 0.02 minutes"
    assert "Muster" in (worker.inbox.folder("failed", name_of(STUDY.format(1))) / "analysis.log").read_text()
    assert "Muster" not in caplog.text
    assert len(worker.inbox.names("failed", name_of(STUDY.format(1)))) == 1, "kept for a person"


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (("sh", "-c", "exit 3"), r"the analysis crashed \(exit code 3\)"),
        (("true",), r"the analysis wrote no DICOM result \(out/dicom/\*\.dcm\)"),
        (("/no/such/program",), r"the analysis cannot be started \(No such file or directory\); see analysis_command"),
    ],
)
def test_a_program_that_does_not_do_its_job(program: tuple[str, ...], why: str, make: Make) -> None:
    worker = make(analysis_command=program)
    worker.inbox.add(encoded(instance()))
    until_idle(worker)
    assert re.match(why, reason(worker, 1))


def test_a_study_that_kills_the_node_itself_waits_last_and_is_put_aside(make: Make) -> None:
    worker = make()
    for study in (1, 2):
        worker.inbox.add(encoded(instance(study)))
        worker.inbox.take(name_of(STUDY.format(study)))
    for _ in range(MAX_STARTS):
        worker.inbox.count_start(name_of(STUDY.format(1)))
    assert worker.inbox.waiting()[0] == name_of(STUDY.format(2))
    until_idle(worker)
    assert reason(worker, 1) == f"the node stopped {MAX_STARTS} times while it analysed this study"
    assert worker.inbox.counts()["done"] == 1


def test_the_same_files_are_sent_until_they_are_taken(make: Make) -> None:
    sent: list[list[bytes]] = []

    def away_at_first(paths: Sequence[Path]) -> None:
        sent.append([path.read_bytes() for path in paths])
        if len(sent) < 3:
            raise UnreachableError("no association with ARCHIVE")

    worker = make(away_at_first)
    worker.inbox.add(encoded(instance()))
    until_idle(worker)
    assert worker.inbox.counts()["sending"] == 1
    assert worker.problems == {"sending": "no association with ARCHIVE"}
    until_idle(worker)
    assert len(sent) == 1, "not tried again at once"
    for _ in range(2):
        worker = make(away_at_first)  # a restart tries at once
        until_idle(worker)
    assert worker.inbox.counts()["done"] == 1
    assert len(sent) == 3 and sent[0] == sent[1] == sent[2]
    assert worker.problems == {}


def test_a_result_that_the_peer_dies_of_does_not_keep_others(make: Make) -> None:
    taken: list[Path] = []

    def dies(paths: Sequence[Path]) -> None:
        if name_of(STUDY.format(1)) in str(paths[0]):
            raise UnreachableError("association lost")
        taken.extend(paths)

    worker = make(dies)
    for study in (1, 2, 3):
        worker.inbox.add(encoded(instance(study)))
    for _ in range(8):
        until_idle(worker)
        worker._next_send = 0.0
    assert len(taken) == 2
    assert worker.inbox.counts()["sending"] == 1


def test_a_refused_result_is_kept_with_its_reason(make: Make) -> None:
    def refuses(_: Sequence[Path]) -> None:
        raise RefusedError("ARCHIVE refused the result (0xA900)")

    worker = make(refuses)
    worker.inbox.add(encoded(instance()))
    until_idle(worker)
    assert reason(worker, 1) == "ARCHIVE refused the result (0xA900)"
    assert list(worker.inbox.root.glob("failed/*/out/dicom/*.dcm"))


def test_an_analysis_that_outlived_its_node_is_killed_before_the_next(tmp_path: Path) -> None:
    """The orphan still holds the lock and would still write; the node that comes after must not work beside it."""
    orphan_says = tmp_path / "orphan"
    lives_on = f"while true; do date >> {orphan_says}; sleep 0.02; done"
    program = (
        "import os, sys; from pathlib import Path; from myoscope.pacs.work import run_analysis\n"
        f"run_analysis(['sh', '-c', {lives_on!r}], Path({str(tmp_path)!r}), 60, Path({str(tmp_path / 'lock')!r}))"
    )
    node = subprocess.Popen([sys.executable, "-c", program])
    while not orphan_says.exists() or not (tmp_path / "lock").read_text():
        time.sleep(0.01)
    node.kill()
    node.wait()
    size = orphan_says.stat().st_size
    while orphan_says.stat().st_size == size:
        time.sleep(0.01)  # it does live on
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "half").touch()
    assert run_analysis(["sh", "-c", "test ! -e $0", "{out}"], tmp_path, 60, tmp_path / "lock") is None
    size = orphan_says.stat().st_size
    time.sleep(0.2)
    assert orphan_says.stat().st_size == size
    assert not (tmp_path / "out").exists()


def test_two_nodes_do_not_share_a_spool(tmp_path: Path) -> None:
    with only_node(tmp_path / "spool"):
        assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
        with pytest.raises(InputError, match="another node works there"), only_node(tmp_path / "spool"):
            pass
    with only_node(tmp_path / "spool"):
        pass
