"""What is fetched from a DICOMweb server and when, and what its refusals mean; test_pacs_orthanc.py has a real one."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from requests import ConnectionError as NoConnection

from myoscope.pacs import web
from myoscope.pacs.errors import RefusedError, UnreachableError
from myoscope.pacs.inbox import Inbox, name_of
from myoscope.pacs.settings import Watch
from pacs_world import STUDY, encoded, free_port, instance, result


class Server:
    """Answers as a client of a DICOMweb server does; pages hold two rows, and one study's images cannot be had."""

    def __init__(self) -> None:
        self.instances: list[Dataset] = []
        self.broken: str | None = None
        self.fetched = 0

    def _page(self, tags: dict[str, str], offset: int, wanted: Callable[[Dataset], bool]) -> list[dict[str, Any]]:
        rows = {str({tag: d[tag].value for tag in tags}): d for d in self.instances if wanted(d)}
        return [{tag: {"Value": [str(d[tag].value)]} for tag in tags} for d in rows.values()][offset : offset + 2]

    def search_for_studies(self, search_filters: dict[str, str], offset: int) -> list[dict[str, Any]]:
        assert search_filters["StudyDate"].endswith("-")
        return self._page({"0020000D": ""}, offset, lambda _: True)

    def search_for_series(self, study: str, offset: int) -> list[dict[str, Any]]:
        return self._page({"0020000E": "", "00080060": ""}, offset, lambda d: d.StudyInstanceUID == study)

    def search_for_instances(self, study: str, series: str, offset: int) -> list[dict[str, Any]]:
        here = (study, series)
        return self._page({"00080018": ""}, offset, lambda d: (d.StudyInstanceUID, d.SeriesInstanceUID) == here)

    def retrieve_instance(self, study: str, _: str, uid: str) -> Dataset:
        if study == self.broken:
            raise NoConnection
        self.fetched += 1
        return next(d for d in self.instances if uid == d.SOPInstanceUID)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(web, "connect", lambda _: made)
    return made


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path, 0)


def watcher(inbox: Inbox, quiet_seconds: float = 1e-9) -> web.Watcher:
    return web.Watcher(Watch(url="http://127.0.0.1/d"), quiet_seconds, inbox)


def test_a_study_is_fetched_whole_once_it_stopped_growing(server: Server, inbox: Inbox) -> None:
    watch, name = watcher(inbox), name_of(STUDY.format(1))
    server.instances = [instance(1, n) for n in range(1, 5)]
    watch.poll()
    server.instances.append(instance(1, 5))
    watch.poll()
    assert server.fetched == 0, "it grew"
    watch.poll()
    assert len(inbox.names("receiving", name)) == 5
    watch.poll()
    assert server.fetched == 5, "and not again"
    inbox.take(name)
    inbox.fail("working", name, "not a heart")
    server.instances.append(result())
    server.instances[-1].StudyInstanceUID = STUDY.format(1)
    for restarted in (watcher(inbox), watcher(inbox)):
        restarted.poll()
        restarted.poll()
    assert server.fetched == 5, "nor after it failed, nor for a result, nor after a restart"
    server.instances.append(instance(1, 6))
    watch.poll()
    watch.poll()
    assert len(inbox.names("receiving", name)) == 6
    assert inbox.take(name) is None


def test_a_study_that_cannot_be_fetched_does_not_keep_others(
    server: Server, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    server.instances = [instance(n) for n in (1, 2, 3)]
    server.broken = STUDY.format(1)
    watch = watcher(inbox)
    for _ in range(3):
        watch.poll()
    assert inbox.counts()["receiving"] == 2
    assert "cannot be fetched, tried again later: no connection" in caplog.text
    server.broken = None
    watch.poll()
    assert inbox.counts()["receiving"] == 3


def test_a_server_that_gives_something_else(server: Server, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    server.instances = [instance(1)]
    monkeypatch.setattr(server, "retrieve_instance", lambda *_: instance(2))
    watch = watcher(inbox)
    for _ in range(3):
        watch.poll()
    assert not list(inbox.root.rglob("*.dcm"))


def test_nobody_there_is_told(inbox: Inbox, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/d"
    with pytest.raises(UnreachableError, match=r"no answer from the DICOMweb server \(no connection\)"):
        web.Watcher(Watch(url=nowhere), 1, inbox).poll()
    (tmp_path / "sr.dcm").write_bytes(encoded(result()))
    with pytest.raises(UnreachableError, match="no answer from the DICOMweb server"):
        web.send(nowhere, [tmp_path / "sr.dcm"])


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """Start a server that answers every POST so; gives its address."""
    servers = []

    def start(code: int, body: bytes) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(code)
                self.send_header("Content-Type", "application/dicom+json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        servers.append(HTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[0].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[0].server_port}/d"

    yield start
    servers[0].shutdown()
    servers[0].server_close()


FAILED = b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}'


@pytest.mark.parametrize(
    ("code", "body", "error", "line"),
    [
        (503, b"", UnreachableError, "HTTP 503"),
        (401, b"", UnreachableError, "HTTP 401"),
        (409, FAILED, RefusedError, "HTTP 409"),
        (202, FAILED, RefusedError, r"refused 1 of 1 results \(0x0110\)"),
    ],
)
def test_what_a_refusal_means(
    code: int, body: bytes, error: type[Exception], line: str, answering: Callable[[int, bytes], str], tmp_path: Path
) -> None:
    (tmp_path / "sr.dcm").write_bytes(encoded(result()))
    with pytest.raises(error, match=line):
        web.send(answering(code, body), [tmp_path / "sr.dcm"])
