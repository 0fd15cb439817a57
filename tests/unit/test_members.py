"""Fold models become the members that ship."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.lab import crossval, installed, members
from myoscope.segment.cine import SliceModel
from myoscope.study import Role
from myoscope.weights import network_of


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Five folds of compact-lge: the first of the installed members, each with patients of its own."""
    installed = network_of("compact-lge")
    known = json.loads(installed.with_suffix(".json").read_text()) | {"members": 1}
    for k in range(1, 6):
        folder = tmp_path / "runs" / f"fold-{k}"
        folder.mkdir(parents=True)
        for end, name in ((".onnx", "compact-lge.1.onnx"), (".safetensors", "compact-lge.safetensors")):
            shutil.copy(installed.with_name(name), folder / f"compact-lge{end}")
        card = known | {"trained_on": {"emidec": 8, "phantom": 60}, "minutes": 20.0 + k, "steps": k}
        (folder / "compact-lge.json").write_text(json.dumps(card))
        seen = [{"case": f"{k}{i}", "data": "emidec"} for i in range(2)]
        (folder / "scores.json").write_text(json.dumps(seen))
    (tmp_path / "runs" / "results.json").write_text('{"folds": [1, 2, 3, 4, 5], "scores": []}')
    return tmp_path / "runs"


def test_folds_are_installed_as_members(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    members.main("compact-lge", runs, out)
    card = json.loads((out / "compact-lge.json").read_text())
    assert card["members"] == 5
    assert card["trained_on"] == {"emidec": 10, "phantom": 60}
    assert card["minutes"] == [21.0, 22.0, 23.0, 24.0, 25.0] and card["steps"] == [1, 2, 3, 4, 5]
    assert card["cross_validation"]["folds"] == [1, 2, 3, 4, 5] and card["confidence"] is None
    model = SliceModel.load(out / "compact-lge.onnx")
    assert len(model.network.files) == 5
    assert model.network.first_member.sha256 == SliceModel.load(network_of("compact-lge")).network.first_member.sha256


def test_a_missing_fold_is_named(runs: Path, tmp_path: Path) -> None:
    (runs / "fold-3" / "compact-lge.onnx").unlink()
    with pytest.raises(ValueError, match="expected 5 fold models of compact-lge, found none here"):
        members.main("compact-lge", runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_installed_members_are_tried_on_what_they_have_not_seen(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members.main("compact-lge", runs, tmp_path / "out")
    monkeypatch.setattr(installed, "network_of", lambda system: tmp_path / "out" / f"{system}.onnx")
    cases = [replace(draw(sample(i, TRAINING), [Role.LGE]), data_set="emidec", scan=f"{i}") for i in range(10)]
    found = crossval.installed_members("compact-lge", cases)
    assert [model.sha256 for model in found] == SliceModel.load(
        tmp_path / "out" / "compact-lge.onnx"
    ).network.members_sha256
    with pytest.raises(ValueError, match="dealt from, 10 cases of emidec, found 9 cases of emidec"):
        crossval.installed_members("compact-lge", cases[1:])
    monkeypatch.setattr(crossval, "read_cases", lambda _: cases)
    page = crossval.evaluate("compact-lge", [tmp_path / "emidec"], tmp_path / "new", None, 5, None, "cpu")
    assert "21 min (1 steps)" in page
    rows = json.loads((tmp_path / "new" / "results.json").read_text())
    assert rows["folds"] == [1, 2, 3, 4, 5]
    assert {score["n"] for score in rows["scores"]} == {10}


def test_a_system_without_members_asks_for_a_training() -> None:
    with pytest.raises(ValueError, match="expected trained folds of jdl, found none"):
        crossval.installed_members("jdl", [])
