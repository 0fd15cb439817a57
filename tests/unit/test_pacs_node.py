"""What a node answers to those who send, and what it makes of what those answer to whom it sends."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from myoscope.errors import InputError
from myoscope.pacs.errors import RefusedError, UnreachableError
from myoscope.pacs.inbox import Inbox
from myoscope.pacs.node import send, start_receiver
from myoscope.pacs.settings import Peer, Receive
from pacs_world import Archive, c_store, close_refused_sockets, encoded, free_port, instance, result


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "spool", 0)


@pytest.fixture
def port(inbox: Inbox) -> Iterator[int]:
    server = start_receiver(Receive(accept=("SCANNER", "ROUTER 2"), port=0), "MYOSCOPE", inbox)
    assert server.server_address[0] == "127.0.0.1"
    yield server.server_address[1]
    server.shutdown()


def test_who_is_named_may_send(port: int, inbox: Inbox) -> None:
    assert c_store([instance(1, 1), instance(1, 2)], port) == [0, 0]
    assert c_store([instance(2, 1)], port, sender="ROUTER 2") == [0]
    assert len(inbox.studies("receiving")) == 2
    assert sum(len(inbox.names("receiving", study)) for study in inbox.studies("receiving")) == 3


@pytest.mark.parametrize(("sender", "to"), [("STRANGER", "MYOSCOPE"), ("SCANNER2", "MYOSCOPE"), ("SCANNER", "OTHER")])
def test_who_is_not_named_is_rejected(
    sender: str, to: str, port: int, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    assert c_store([instance()], port, sender=sender, to=to) == []
    assert inbox.counts()["receiving"] == 0
    assert sender in caplog.text


def test_a_full_disk_is_refused_politely(tmp_path: Path) -> None:
    server = start_receiver(Receive(accept=("SCANNER",), port=0), "MYOSCOPE", Inbox(tmp_path, 1 << 62))
    assert c_store([instance(1, 1), instance(1, 2)], server.server_address[1]) == [0xA700, 0xA700]
    server.shutdown()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_has_no_study_is_refused_and_the_next_is_taken(port: int, inbox: Inbox) -> None:
    without = instance(1, 1)
    del without.StudyInstanceUID
    assert c_store([without, instance(1, 2)], port) == [0xC000, 0]
    assert inbox.counts()["receiving"] == 1


def test_our_own_results_are_taken_and_dropped(port: int, inbox: Inbox) -> None:
    assert c_store([result()], port) == [0]
    assert inbox.counts()["receiving"] == 0


def test_names_are_not_logged(port: int, inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert c_store([instance(name="<script>alert(1)</script>^Erika")], port) == [0]
    assert "Erika" not in caplog.text
    assert not [path for path in inbox.root.rglob("*") if "script" in path.name]


def test_a_port_in_use_is_one_line(port: int, inbox: Inbox) -> None:
    with pytest.raises(InputError, match=rf"127.0.0.1:{port}: cannot listen there \(.+\); choose another host or port"):
        start_receiver(Receive(accept=("SCANNER",), port=port), "MYOSCOPE", inbox)


# --- results out ---


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    path = tmp_path / "sr.dcm"
    path.write_bytes(encoded(result()))
    return [path]


def test_results_arrive(files: list[Path]) -> None:
    archive = Archive()
    with archive.open() as port:
        send(Peer("ARCHIVE", "127.0.0.1", port), "MYOSCOPE", files)
    assert [dict(taken) for taken in archive.taken.values()] == [{result().SOPInstanceUID: 1}]


def test_nobody_there_is_tried_again(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    close_refused_sockets(monkeypatch)
    with pytest.raises(UnreachableError, match="no association with ARCHIVE"):
        send(Peer("ARCHIVE", "127.0.0.1", free_port()), "MYOSCOPE", files)


@pytest.mark.parametrize(
    ("status", "error"), [(0xA700, UnreachableError), (0xA900, RefusedError), (0xC123, RefusedError)]
)
def test_a_peer_that_is_full_is_tried_again_one_that_will_not_is_not(
    status: int, error: type[Exception], files: list[Path]
) -> None:
    with Archive(lambda _: status).open() as port, pytest.raises(error, match=f"ARCHIVE.*0x{status:04X}"):
        send(Peer("ARCHIVE", "127.0.0.1", port), "MYOSCOPE", files)


def test_a_kind_that_the_peer_does_not_know(files: list[Path]) -> None:
    files[0].write_bytes(encoded(instance()))
    with Archive().open() as port, pytest.raises((RefusedError, UnreachableError)):
        send(Peer("ARCHIVE", "127.0.0.1", port), "MYOSCOPE", files)
