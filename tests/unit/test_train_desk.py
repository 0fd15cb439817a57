"""`train` refuses what cannot work before it reads the data, says where it is, and draws its phantoms once."""

import sys
from pathlib import Path

import numpy as np
import pytest

from myoscope import cli
from myoscope.datasets import acdc
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.lab import checks, crossval, phantoms
from myoscope.lab.checks import check_training, little
from myoscope.lab.loop import Budget
from myoscope.lab.pages import TEMPLATES, trainings, write_page
from myoscope.study import Case, Role


def lge(seed: int) -> Case:
    return draw(sample(seed, TRAINING, "MINF"), [Role.LGE])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three cases, of which only the first can be read: LGE, labelled."""
    for name in "abc":
        (tmp_path / "data" / name).mkdir(parents=True)
    read: list[str] = []

    def read_case(folder: Path) -> Case:
        read.append(folder.name)
        assert read == ["a"], "more than the first case was read"
        return lge(0)

    monkeypatch.setattr(checks, "case_folders", lambda root: sorted(root.iterdir()))
    monkeypatch.setattr(checks, "layout_of", lambda _: acdc)
    monkeypatch.setattr(checks, "read_case", read_case)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("compact-cine", "labelled bssfp or cine for"),
        ("myops-ensemble.small-both", "labelled bssfp and lge and t2 for"),
    ],
)
def test_data_without_the_series_are_refused_after_one_case(name: str, words: str, root: Path) -> None:
    with pytest.raises(Exception, match=words):
        check_training(name, [root])


def test_data_with_the_series_are_taken(root: Path) -> None:
    check_training("compact-lge", [root])


def test_a_call_is_checked_before_the_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(crossval, "read_case", lambda _: pytest.fail("data were read"))
    words = ["train", "compact-cine", "--data", str(tmp_path / "nowhere"), "-o", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["myoscope", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    first, last = capsys.readouterr().err.splitlines()
    assert first == "compact-cine: loading PyTorch"
    assert "nowhere: expected a folder with cases" in last


def test_a_little_budget_is_said_so_with_what_is_usual() -> None:
    assert "the installed compact-cine had" in (little("compact-cine", Budget(minutes=1)) or "")
    assert "steps are little" in (little("compact-lge", Budget(steps=100)) or "")
    assert little("compact-cine", Budget(minutes=600)) is None
    assert little("compact-cine", Budget(epochs=1)) is None
    assert little("doc-net.linear+", Budget(steps=1)) is None  # it counts no steps


def test_steps_that_nobody_counted_are_no_words(tmp_path: Path) -> None:
    template = tmp_path / "page.md.j2"
    template.write_text('{% from "macros.j2" import trained %}{{ trained(trainings) }}\n')
    cards = [{"minutes": 3.0, "device": "cpu"}, {"minutes": 4.0, "steps": 70, "device": "cpu"}]
    assert write_page(template, {"trainings": trainings(cards)}, tmp_path) == "3 min on cpu; 4 min (70 steps) on cpu\n"
    assert (TEMPLATES / "macros.j2").is_file()
    assert not [path for path in checks.FOLDER.glob("*.json") if '"steps": null' in path.read_text()]


def test_phantoms_are_drawn_once_and_come_back_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    drawn: list[int] = []

    def one(seed: int) -> Case:
        drawn.append(seed)
        return lge(seed)

    first = phantoms.kept_phantoms("lge", 2, one)
    assert capsys.readouterr().err.startswith("phantoms, kept in ")
    again = phantoms.kept_phantoms("lge", 3, one)
    assert drawn == [0, 1, 2]
    for a, b in zip(first, again, strict=False):
        assert (a.id, a.group, a.scan, a.data_set, a.study.patient) == (
            b.id,
            b.group,
            b.scan,
            b.data_set,
            b.study.patient,
        )
        for x, y in ((a.study.series[0].image, b.study.series[0].image), (a.labels[Role.LGE], b.labels[Role.LGE])):
            assert x.voxels.dtype == y.voxels.dtype and np.array_equal(x.voxels, y.voxels)
            assert np.array_equal(x.affine, y.affine)
    (folder,) = (tmp_path / "myoscope").iterdir()
    (folder / "1.npz").write_bytes((folder / "1.npz").read_bytes()[:1000])  # damaged: drawn anew
    phantoms.kept_phantoms("lge", 2, one)
    phantoms.kept_phantoms("other words", 1, one)
    assert drawn == [0, 1, 2, 1, 0]
    assert not list(tmp_path.rglob("*.part"))


def test_phantoms_are_drawn_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "myoscope").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [case.id for case in phantoms.kept_phantoms("lge", 1, lge)] == ["phantom-0"]
