"""The laboratory's commands and pages."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from myoscope import cli
from myoscope.lab import extra
from myoscope.lab.pages import write_page
from myoscope.lab.statistics import holm, interval, summary

COMMANDS = [
    ["predict", "compact-cine", "x", "-o", "y"],
    ["train", "compact-cine", "--data", "x", "-o", "y"],
    ["cache", "--data", "x", "-o", "y"],
    ["evaluate", "compact-cine", "--data", "x", "-o", "y"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_missing_package_is_named_before_anything_is_read(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extra, "EXTRA", ("torch", "no_such_package"))
    monkeypatch.setattr(sys, "argv", ["myoscope", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said == (
        f"myoscope: {words[0]}: expected the package no_such_package, found none; pip install 'myoscope[lab]'\n"
    )


def test_the_command_line_starts_without_what_trains() -> None:
    code = "import sys, myoscope.cli; print(*sorted({'torch', 'monai', 'sklearn', 'scipy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_a_page_says_only_what_the_run_wrote(tmp_path: Path) -> None:
    template = tmp_path / "page.md.j2"
    template.write_text('{% from "macros.j2" import command %}\n`{{ command(system, roots) }}`: {{ dice | fixed }}\n')
    facts = {"system": "x", "roots": ["a", "b"], "dice": 0.12345}
    text = write_page(template, facts, tmp_path)
    assert text == "`myoscope evaluate x --data a --data b -o RUNS`: 0.123\n" == (tmp_path / "results.md").read_text()
    with pytest.raises(UndefinedError):
        write_page(template, {"system": "x", "roots": []}, tmp_path)
    with pytest.raises(TypeError):
        write_page(template, facts | {"dice": np.float32(1)}, tmp_path)


def test_intervals_draw_patients_whole() -> None:
    """Ten answers of each of four patients say no more than four: the interval is as wide as from their means."""
    means, rng = np.array([0.0, 0.2, 0.6, 1.0]), np.random.default_rng(1)
    values = (means[:, None] + rng.normal(0, 1e-9, (4, 10))).ravel()
    patients = np.repeat(list("abcd"), 10)
    assert interval(values, patients) == pytest.approx(interval(means), abs=1e-6)
    alone = interval(values)
    assert alone[1] - alone[0] < 0.6 * (interval(means)[1] - interval(means)[0])
    assert interval([0.5]) == (0.5, 0.5)
    assert summary([0.0, 1.0])["sd"] == 0.5
    assert holm([0.5, 0.01, 0.04]) == pytest.approx([0.5, 0.03, 0.08])
