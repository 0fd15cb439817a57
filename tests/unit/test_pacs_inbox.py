"""The queue on disk: what is kept, what moves where, and what a kill before any single step on the disk leaves."""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from myoscope.pacs.errors import DiskFullError, NotDicomError
from myoscope.pacs.inbox import Inbox, identify, name_of
from myoscope.pacs.settings import Peer, Receive, Settings
from myoscope.pacs.work import Send, Worker
from pacs_world import STUDY, encoded, instance, result

NAME = name_of(STUDY.format(1))


def add(inbox: Inbox, *numbers: int, **change: Any) -> None:
    for number in numbers:
        inbox.add(encoded(instance(1, number, **change)))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "spool", 0)


def send(inbox: Inbox, *numbers: int) -> None:
    """A whole round: receive, take, analyse (nothing), send."""
    add(inbox, *numbers)
    assert inbox.take(NAME) is None
    if inbox.studies("working"):
        (inbox.folder("working", NAME) / "out" / "dicom").mkdir(parents=True)
        inbox.analysed(NAME)
        inbox.finish(NAME)


def test_an_instance_is_kept_as_it_came_under_names_of_our_own(inbox: Inbox) -> None:
    add(inbox, 1, 1, 2)
    kept = files(inbox.root)
    assert {path.parent for path in kept} == {inbox.root / "receiving" / NAME / "instances"}
    assert sorted(path.read_bytes() for path in kept) == sorted(encoded(instance(1, n)) for n in (1, 2))


@pytest.mark.parametrize("uid", ["../../../../tmp/evil", "/etc/passwd", "a\0b/..", "<b>x</b>", "1" * 5000, "\r\n", ""])
def test_no_path_is_made_of_what_a_sender_writes(uid: str, inbox: Inbox) -> None:
    data = encoded(instance(1, 1))
    for old in (instance(1, 1).StudyInstanceUID, instance(1, 1).SOPInstanceUID):
        data = data.replace(_element(old), _element(uid))
    if not uid:
        with pytest.raises(NotDicomError):
            inbox.add(data)
    else:
        inbox.add(data)
        (kept,) = files(inbox.root)
        assert kept.relative_to(inbox.root / "receiving").parts == (name_of(uid), "instances", f"{name_of(uid)}.dcm")


def _element(uid: str) -> bytes:
    raw = uid.encode() + b"\0" * (len(uid) % 2)
    return b"UI" + len(raw).to_bytes(2, "little") + raw


@pytest.mark.parametrize("data", [b"", b"DICM", bytes(500), b"\0" * 128 + b"DICM" + b"\xff" * 99, b"<html>"])
def test_what_is_no_dicom_is_not_kept(data: bytes, inbox: Inbox) -> None:
    with pytest.raises(NotDicomError):
        inbox.add(data)
    assert files(inbox.root) == []


def test_results_and_documents_are_not_analysed(inbox: Inbox) -> None:
    for modality in ("SEG", "SR", "KO"):
        inbox.add(encoded(instance(modality=modality)))
    inbox.add(encoded(result()))
    assert inbox.counts()["receiving"] == 0
    assert identify(encoded(result())).modality == "SR"


def test_a_full_disk_keeps_nothing(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, 1 << 62)
    with pytest.raises(DiskFullError):
        add(inbox, 1)
    assert files(tmp_path) == []


def test_a_disk_that_fills_while_writing_keeps_nothing(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        add(inbox, 1)
    assert files(inbox.root) == []


def test_only_a_quiet_study_is_complete(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("myoscope.pacs.inbox.time.monotonic", lambda: now[0])
    add(inbox, 1)
    now[0] += 8
    add(inbox, 2)
    now[0] += 8
    assert inbox.quiet(10) == []
    now[0] += 3
    assert inbox.quiet(10) == [NAME]
    again = Inbox(inbox.root, 0)  # after a restart the wait begins anew: its sender may still have something
    assert again.quiet(10) == []


# --- more of a study, later ---


def test_sent_again_with_nothing_new_is_not_analysed_again(inbox: Inbox) -> None:
    send(inbox, 1, 2)
    add(inbox, 2, 1)
    assert inbox.take(NAME) is None
    assert inbox.counts() == {"fetching": 0, "receiving": 0, "working": 0, "sending": 0, "failed": 0, "done": 1}
    assert not list(inbox.root.rglob("*.dcm"))


def test_late_instances_alone_are_no_study(inbox: Inbox) -> None:
    send(inbox, 1, 2)
    add(inbox, 3)
    assert inbox.take(NAME) == "1 instances came after the study was analysed with 2; send the whole study again"
    assert inbox.counts()["failed"] == 1
    add(inbox, 1, 2)  # with the one kept in "failed" this is the whole
    assert inbox.take(NAME) is None
    assert len(inbox.names("working", NAME)) == 3
    assert inbox.counts()["failed"] == 0


def test_more_that_comes_during_the_analysis_makes_a_round_with_all(inbox: Inbox) -> None:
    add(inbox, 1, 2)
    inbox.take(NAME)
    add(inbox, 3)
    assert inbox.take(NAME) is None
    assert inbox.counts()["receiving"] == 1, "waits"
    inbox.folder("working", NAME).joinpath("out").mkdir()
    inbox.analysed(NAME)
    inbox.finish(NAME)
    assert inbox.take(NAME) is None
    assert len(inbox.names("working", NAME)) == 3


def test_a_study_fetched_whole_may_have_lost_something(inbox: Inbox) -> None:
    send(inbox, 1, 2)
    inbox.add(encoded(instance(1, 3)), "fetching")
    assert inbox.quiet(1) == []
    inbox.fetched(NAME)
    assert inbox.quiet(1e6) == [NAME]
    assert inbox.take(NAME) is None
    assert len(inbox.names("working", NAME)) == 1


def test_half_fetched_is_forgotten_at_a_start(inbox: Inbox) -> None:
    inbox.add(encoded(instance(1, 3)), "fetching")
    assert Inbox(inbox.root, 0).counts()["fetching"] == 0


# --- killed before any single step on the disk ---


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


def _until_killed(steps: Iterator[int], last: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **keywords: Any) -> Any:
            if next(steps) >= last:
                raise Killed
            return real(*args, **keywords)

        return step

    return wrap


def _life(settings: Settings, take: Send, root: Path, to_send: list[int]) -> None:
    """One life of a node: the scanner sends what was not acknowledged, the node works until nothing is left."""
    inbox = Inbox(root, 0)
    while to_send:
        add(inbox, to_send[0])
        to_send.pop(0)
    worker = Worker(settings, inbox, take)
    while inbox.counts()["receiving"] or worker.step():
        worker.step()


def test_killed_before_every_step_once(tmp_path: Path) -> None:
    """Every rename, sync, removal and new folder in turn is the one before which the node dies, then it lives again.

    The analysis writes its process number, so that two analyses give two results.
    """
    settings = Settings(
        spool=tmp_path,
        send_to=Peer("ARCHIVE", "127.0.0.1", 104),
        receive=Receive(accept=("SCANNER",)),
        quiet_seconds=1e-9,
        analysis_command=("sh", "-c", 'mkdir -p "$0/dicom" && echo $$ >"$0/dicom/result.dcm"', "{out}"),
    )
    for last in count():
        root, to_send = tmp_path / f"spool{last}", [1, 2]
        taken: list[bytes] = []

        def take(paths: Sequence[Path], taken: list[bytes] = taken) -> None:
            taken.extend(path.read_bytes() for path in paths)

        killed = False
        with pytest.MonkeyPatch.context() as patch:
            wrap = _until_killed(count(), last)
            for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
                patch.setattr(os, name, wrap(getattr(os, name)))
            try:
                _life(settings, take, root, to_send)
            except Killed:
                killed = True
        _life(settings, take, root, to_send)
        assert len(set(taken)) == 1, f"killed before step {last}: {taken}"
        counts = Inbox(root, 0).counts()
        assert counts == dict.fromkeys(counts, 0) | {"done": 1}, f"killed before step {last}"
        assert not list(root.rglob("*.dcm"))
        if not killed:
            break
    assert last > 30, "no step was counted"
