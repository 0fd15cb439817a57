"""The report as PDF, by a browser that is there, is not there, or fails."""

import os
import stat
from pathlib import Path

import pytest

from myoscope import cli
from myoscope.errors import InputError
from myoscope.report.pdf import find_browser, write_pdf

GOOD = 'for a in "$@"; do case "$a" in --print-to-pdf=*) printf "%%PDF $last" > "${a#*=}";; esac; done'


def _browser(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin")
    if script:
        (folder / "chromium").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "chromium").chmod(stat.S_IRWXU)


def test_a_report_is_printed_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _browser(tmp_path / "bin", GOOD, monkeypatch)
    (tmp_path / "report.html").write_text("<p>x</p>")
    write_pdf(tmp_path / "report.html", find_browser())
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("script", ["exit 1", "true"])
def test_a_browser_that_fails_is_one_line(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _browser(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(InputError, match=r"expected a PDF from chromium, found none; report\.html is"):
        write_pdf(tmp_path / "report.html", find_browser())
    assert not (tmp_path / "report.pdf").exists()


def test_without_a_browser_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _browser(tmp_path / "none", "", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="--pdf: expected Chromium or Chrome on the path, found none; install one"):
        cli.analyze(tmp_path / "no such study", tmp_path / "out", pdf=True)
    assert not (tmp_path / "out").exists()
