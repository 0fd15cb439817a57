"""A node's settings are checked whole before it starts; the health page shows what is wrong, and no markup."""

import json
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from myoscope.errors import InputError
from myoscope.pacs.health import LastTrouble, health, start_health
from myoscope.pacs.inbox import Inbox
from myoscope.pacs.service import serve
from myoscope.pacs.settings import Peer, read_settings

GOOD = 'spool = "s"\nsend_to = "ARCHIVE@10.0.0.5:104"\n[receive]\naccept = ["SCANNER"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text)
    return path


def test_what_is_not_said_is_safe(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, GOOD))
    assert settings.receive and settings.receive.host == "127.0.0.1"
    assert settings.send_to == Peer("ARCHIVE", "10.0.0.5", 104)
    assert settings.analysis_command == ("{python}", "-m", "myoscope.cli", "analyze", "{study}", "-o", "{out}")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("ARCHIVE@10.0.0.5:104", "archive", "send_to: .*expected AETITLE@HOST:PORT or .*, found 'archive'"),
        ("ARCHIVE@10.0.0.5:104", "A@h:99999", "send_to: .*expected AETITLE@HOST:PORT"),
        ("ARCHIVE@10.0.0.5:104", "http://me:secret@h/", "send_to: .*without a user and password"),
        ("SCANNER", "A NAME TOO LONG FOR IT", "receive.accept.0: .*expected an AE title of 1 to 16"),
        ('["SCANNER"]', "[]", "receive.accept: .*at least 1"),
        (
            "[receive]",
            '[watch]\nurl = "http://h/d"\n[receive]',
            "found both",
        ),
        ('[receive]\naccept = ["SCANNER"]', "", "found neither"),
        ("spool", "spol", "spool: expected a value, found none"),
        ("[receive]", "quiet_seconds = 0\n[receive]", "quiet_seconds: .*greater than 0"),
        ("[receive]", "colour = 1\n[receive]", "colour: there is no such setting"),
        ('"s"', "s", "expected TOML"),
    ],
)
def test_what_cannot_be_is_one_line(old: str, new: str, line: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=rf"node\.toml'?: .*{line}") as error:
        read_settings(written(tmp_path, GOOD.replace(old, new)))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("package", ["pynetdicom", "dicomweb_client"])
def test_a_missing_extra_is_named(package: str, tmp_path: Path) -> None:
    web = GOOD.replace('[receive]\naccept = ["SCANNER"]', '[watch]\nurl = "http://127.0.0.1:9/"')
    path = written(tmp_path, (GOOD if package == "pynetdicom" else web).replace('"s"', f'"{tmp_path}/s"'))
    code = (
        f"import sys; sys.modules['{package}'] = None; sys.argv = ['myoscope', 'pacs', {str(path)!r}]\n"
        "import myoscope.cli; myoscope.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"myoscope: pacs: expected the package {package}, found none; pip install 'myoscope[pacs]'"
    )


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ('["no-such-program", "{study}", "{out}"]', "expected a program, found none called 'no-such-program'"),
        ('["{python}", "{study}", "--out={out}"]', "expected {out} as an item of its own, found none"),
    ],
)
def test_a_command_that_could_analyse_nothing_is_refused_at_once(command: str, line: str, tmp_path: Path) -> None:
    text = GOOD.replace('"s"', f'"{tmp_path}/s"').replace("[receive]", f"analysis_command = {command}\n[receive]")
    with pytest.raises(InputError, match=re.escape(line)):
        serve(read_settings(written(tmp_path, text)))
    assert not (tmp_path / "s").exists()


def test_the_health_page(tmp_path: Path) -> None:
    inbox, trouble, problems = Inbox(tmp_path, 0), LastTrouble(), {}
    (tmp_path / "failed" / "abc").mkdir()
    (tmp_path / "failed" / "abc" / "reason.txt").write_text("<script>alert(1)</script>: not a heart\n")
    trouble.handle(logging.makeLogRecord({"msg": "<img src=x>", "levelno": logging.ERROR}))
    server = start_health(0, lambda: health(inbox, trouble, problems))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        assert server.server_address[0] == "127.0.0.1"
        with urlopen(f"{address}/") as answer:
            text = answer.read().decode()
        assert "<script" not in text and "&lt;script&gt;alert(1)" in text
        assert "<img" not in text and "&lt;img src=x&gt;" in text
        with urlopen(f"{address}/health.json") as answer:
            state = json.load(answer)
        assert state["ok"] and state["studies"]["failed"] == 1
        problems["sending"] = "no association with ARCHIVE"
        for path, code in (("/health.json", 503), ("/", 503), ("/failed/abc", 404)):
            with pytest.raises(HTTPError) as error, urlopen(address + path):
                pass
            error.value.close()
            assert error.value.code == code
    finally:
        server.shutdown()
        server.server_close()


def test_a_full_disk_is_a_problem(tmp_path: Path) -> None:
    state = health(Inbox(tmp_path, 1 << 62), LastTrouble(), {})
    assert not state["ok"]
    assert "full" in state["problems"]["disk"]
