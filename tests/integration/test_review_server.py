"""`myoscope review` as a process on loopback: who is refused, and what a kill leaves."""

import http.client
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cohort_world import small_case
from dicom_results import measured, phantom
from myoscope import analysis, cli
from myoscope.analysis import judge
from myoscope.datasets.own import write_dataset
from myoscope.io.label_maps import read_label_maps
from myoscope.io.read import read_study
from myoscope.io.save import write_study
from myoscope.review.opened import open_study
from myoscope.study import Role
from review_world import Server, analysed, labels_on_disk, serving

pytest.importorskip("starlette", reason="pip install 'myoscope[review]'")
pytest.importorskip("uvicorn", reason="pip install 'myoscope[review]'")

STROKE = {"role": "cine", "patches": [{"t": 0, "z": 3, "runs": [[2000, 40, 1]]}]}
READ = ("/api/study", "/api/image/cine/0", "/api/labels/cine/0", "/api/events")
CHANGE = ("/api/begin", "/api/end", "/api/do", "/api/undo", "/api/redo", "/api/save")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analysed(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(out: Path) -> Iterator[Server]:
    with serving(out) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: Server) -> dict[str, str]:
    return server.enter()


def test_it_listens_on_loopback_only(server: Server) -> None:
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {
        row[1].split(":")[0] for row in table if row[3] == "0A" and int(row[1].split(":")[1], 16) == server.port
    }
    assert listening == {"0100007F"}


def test_the_token_is_good_once(tmp_path: Path) -> None:
    with serving(analysed(tmp_path)) as server:
        assert server.ask("POST", "/api/enter", {"token": "guess"})[0] == 403
        assert server.ask("POST", "/api/enter", {"token": ""})[0] == 403
        assert server.ask("POST", "/api/enter", {"token": server.token + "x"})[0] == 403
        server.enter()
        status, said, _ = server.ask("POST", "/api/enter", {"token": server.token})
        assert (status, "key" in said) == (403, False)
        assert server.process.stdout is not None
        told = server.process.stdout.readline()
        assert told.startswith("that address was used already; a new one: http://127.0.0.1:")
        assert Server(server.process, told.split()[-1]).enter()["X-Myoscope-Key"]


@pytest.mark.parametrize("path", READ)
def test_nothing_is_read_without_the_key(path: str, server: Server, key: dict[str, str]) -> None:
    assert server.ask("GET", path)[0] == 403
    assert server.ask("GET", path, headers={"X-Myoscope-Key": key["X-Myoscope-Key"][:-1]})[0] == 403


@pytest.mark.parametrize("path", CHANGE)
def test_nothing_is_changed_without_the_key(path: str, server: Server) -> None:
    assert server.ask("POST", path, STROKE)[0] == 403


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/study", "/api/enter"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_a_foreign_host_is_refused(path: str, host: str, server: Server, key: dict[str, str]) -> None:
    headers = {**key, "Host": host.format(port=server.port)}
    assert server.ask("GET", path, headers=headers)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(origin: str, server: Server, key: dict[str, str]) -> None:
    headers = {**key, "Origin": origin.format(port=server.port)}
    assert server.ask("GET", "/api/study", headers=headers)[0] == 403
    assert server.ask("POST", "/api/begin", {}, headers)[0] == 403


def test_a_change_names_its_origin(server: Server, key: dict[str, str]) -> None:
    assert server.ask("POST", "/api/begin", {}, {**key, "Origin": None})[0] == 403  # type: ignore[dict-item]
    assert server.ask("GET", "/api/study", headers={**key, "Sec-Fetch-Site": "cross-site"})[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/static/../session.py",
        "/static/..%2fsession.py",
        "/static/%2e%2e/session.py",
        "/static//etc/passwd",
        "/static/..",
        "/static/",
        "/measurements.json",
        "/api/image/../0",
        "/api/image/liver/0",
        "/api/image/cine/99",
        "/api/image/cine/-1",
        "/docs",
    ],
)
def test_a_path_leads_nowhere_else(path: str, server: Server, key: dict[str, str]) -> None:
    status, said, _ = server.ask("GET", path, headers=key)
    assert status == 404
    assert b"root:" not in json.dumps(said).encode() if isinstance(said, dict) else b"root:" not in said


def test_a_body_of_1_gb_is_refused_unread(server: Server, key: dict[str, str]) -> None:
    for path in ("/api/enter", "/api/do"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
            head = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Content-Length: {2**30}"]
            head += [f"Origin: http://127.0.0.1:{server.port}", *(f"{name}: {value}" for name, value in key.items())]
            line.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + b"x" * 1000)
            assert line.recv(200).startswith(b"HTTP/1.1 413")


def test_a_body_without_length_is_cut_off(server: Server, key: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {**key, "Origin": f"http://127.0.0.1:{server.port}", "Transfer-Encoding": "chunked"}
    block = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    connection.putrequest("POST", "/api/do")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    sent = 0
    try:
        for _ in range(1024):  # up to 1 GB
            connection.send(block)
            sent += 1
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        connection.close()
    assert sent < 64
    assert server.ask("GET", "/api/study", headers=key)[0] == 200


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes, server: Server, key: dict[str, str]) -> None:
    assert server.ask("POST", "/api/begin", body, key)[0] == 400


def test_nobody_edits_before_asking(server: Server, key: dict[str, str], out: Path) -> None:
    before = labels_on_disk(out)
    for path in ("/api/do", "/api/undo", "/api/save"):
        assert server.ask("POST", path, STROKE, key)[0] == 409
    assert np.array_equal(labels_on_disk(out), before)


def test_a_second_tab_is_told(server: Server, key: dict[str, str]) -> None:
    other = {**key, "X-Myoscope-Tab": "two"}
    assert server.ask("POST", "/api/begin", {}, key)[0] == 200
    status, said, _ = server.ask("POST", "/api/begin", {}, other)
    assert (status, said["error"]) == (409, "another tab edits this study")
    assert server.ask("GET", "/api/study", headers=other)[1]["other_tab"] is True
    assert server.ask("POST", "/api/do", STROKE, other)[0] == 409
    assert server.ask("POST", "/api/begin", {"take_over": True}, other)[0] == 200
    assert server.ask("POST", "/api/do", STROKE, key)[0] == 409
    assert server.ask("POST", "/api/end", {}, other)[0] == 200


def test_what_is_no_change_is_said(server: Server, key: dict[str, str]) -> None:
    server.ask("POST", "/api/begin", {}, key)
    wrong = {"role": "cine", "patches": [{"t": 0, "z": 3, "runs": [[10**9, 40, 1]]}]}
    assert server.ask("POST", "/api/do", wrong, key)[:2] == (400, {"error": "expected voxels inside of the labels"})
    server.ask("POST", "/api/end", {}, key)


def test_headers_keep_the_page_to_itself(server: Server) -> None:
    status, page, headers = server.ask("GET", "/")
    assert status == 200
    assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert b"<script" in page and b"http://" not in page


def test_no_name_reaches_the_page(tmp_path: Path) -> None:
    out = analysed(tmp_path, dicom=True)
    uid = json.loads((out / "study.json").read_text())["study_id"]
    with serving(out) as server:
        key = server.enter()
        said = json.dumps(server.ask("GET", "/api/study", headers=key)[1])
    for name in (uid, str(tmp_path), "PHANTOM", "Phantom", "study_id", ".dcm", ".nii"):
        assert name not in said


def test_images_and_labels_come_as_numbers(server: Server, key: dict[str, str], out: Path) -> None:
    study = server.ask("GET", "/api/study", headers=key)[1]
    _, z, y, x = next(series["shape"] for series in study["series"] if series["role"] == "lge")
    image = np.frombuffer(server.ask("GET", "/api/image/lge/0", headers=key)[1], "<u2").reshape(z, y, x)
    labels = np.frombuffer(server.ask("GET", "/api/labels/lge/0", headers=key)[1], np.uint8).reshape(z, y, x)
    assert image.min() == 0 and image.max() == 65535
    assert np.array_equal(
        np.bincount(labels.ravel(), minlength=7), np.bincount(labels_on_disk(out, "lge").ravel(), minlength=7)
    )


def test_a_kill_between_strokes_loses_none(tmp_path: Path) -> None:
    out = analysed(tmp_path)
    first = labels_on_disk(out).copy()
    with serving(out) as server:
        key = server.enter()
        server.ask("POST", "/api/begin", {}, key)
        for z in (2, 3):
            stroke = {"role": "cine", "patches": [{"t": 1, "z": z, "runs": [[0, 25, 6]]}]}
            assert server.ask("POST", "/api/do", stroke, key)[1]["undo"] == z - 1
        server.process.kill()
        server.process.wait()
    assert np.array_equal(labels_on_disk(out), first)
    with serving(out) as server:
        key = server.enter()
        study = server.ask("GET", "/api/study", headers=key)[1]
        assert study["notice"].endswith("taken up again: 2.")
        assert (study["state"]["undo"], study["state"]["dirty"]) == (2, True)
        labels = np.frombuffer(server.ask("GET", "/api/labels/cine/1", headers=key)[1], np.uint8)
        planes = labels.reshape(study["series"][0]["shape"][1], -1)
        assert (planes[2:4, :25] == 6).all()
        server.ask("POST", "/api/begin", {}, key)
        assert server.ask("POST", "/api/undo", {}, key)[1]["undo"] == 1


def test_what_another_program_wrote_since_is_not_replaced(tmp_path: Path) -> None:
    """A refused save keeps both: theirs in their place, ours in a folder that `measure` takes."""
    out = analysed(tmp_path)
    path = out / "segmentations" / "cine_seg.nii.gz"
    with serving(out) as server:
        key = server.enter()
        server.ask("POST", "/api/begin", {}, key)
        assert server.ask("POST", "/api/do", STROKE, key)[0] == 200
        image = nib.load(path)
        theirs = np.where(labels_on_disk(out) == 6, 0, labels_on_disk(out))
        nib.save(nib.Nifti1Image(theirs, None, image.header), path)
        status, said, _ = server.ask("POST", "/api/save", {}, key)
        assert status == 400 and "another program or review wrote" in said["error"], said
        assert np.array_equal(labels_on_disk(out), theirs)
        (aside,) = out.glob("review-*")
        assert aside.name in said["error"] and server.ask("POST", "/api/save", {}, key)[0] == 400
        ours = server.ask("GET", "/api/labels/cine/0", headers=key)[1]
        study = read_study(tmp_path / "study")
        kept = read_label_maps(study, [str(aside)])[0][Role.CINE]
        assert kept.frames[0].tobytes() == ours and len(list(out.glob("review-*"))) == 1


# --- before it serves ---


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["myoscope", "review", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr()
    assert (stopped.value.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    return said.err


def test_a_second_review_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: Server, out: Path
) -> None:
    assert server.process.poll() is None
    assert "another review of it is open" in refused(monkeypatch, capsys, out)


def test_other_images_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "expected what analyze wrote" in refused(monkeypatch, capsys, tmp_path)
    out = analysed(tmp_path)
    (tmp_path / "study").rename(tmp_path / "moved")
    assert "found nothing; give --study PATH" in refused(monkeypatch, capsys, out)
    path = tmp_path / "moved" / "lge.nii.gz"
    kept = path.read_bytes()
    path.write_bytes(kept[:4] + b"\1" * 4 + kept[8:])  # another time stamp of gzip: another file
    said = refused(monkeypatch, capsys, out, "--study", tmp_path / "moved")
    assert "expected the lge images that it was made from, found others" in said
    path.write_bytes(kept)
    with serving(out, "--study", str(tmp_path / "moved")) as server:
        assert server.ask("GET", "/api/study", headers=server.enter())[0] == 200
    path.with_name("cine.nii.gz").unlink()
    said = refused(monkeypatch, capsys, out, "--study", tmp_path / "moved")
    assert "expected the cine images that it was made from, found none" in said


def test_a_case_of_a_table_is_opened_though_no_folder_is_called_so(tmp_path: Path) -> None:
    case = small_case(7)
    root = write_dataset([case], tmp_path / "hearts")
    (root / case.id).rename(root / "images")
    (root / "cases.csv").write_text((root / "cases.csv").read_text().replace(f"{case.id}/", "images/"))
    study = read_study(root / case.id)
    judge(study, case.labels, {}).save(tmp_path / "out")
    assert open_study(tmp_path / "out").id == case.id


@pytest.mark.parametrize("terminal", [True, False])
def test_analyze_says_how_to_correct(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The last line, on a terminal only: nothing that a program reads changes."""
    case = phantom()
    study = write_study(case.study, tmp_path / "a study")
    monkeypatch.setattr(analysis, "analyze", lambda study, **_: measured(study, case))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    cli.analyze(study, tmp_path / "out")
    last = capsys.readouterr().out.splitlines()[-1]
    expected = f"look and correct: myoscope review {tmp_path / 'out'}"
    assert last == (expected if terminal else f"report: {tmp_path / 'out' / 'report.html'}")
