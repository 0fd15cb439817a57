"""The table of scar and edema: who is scored on whom, and what the page says."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from myoscope.errors import InputError
from myoscope.lab import unseen
from myoscope.lab.loop import Budget
from myoscope.labels import Structure
from myoscope.prediction import Prediction
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.systems import evaluation_of
from myoscope.systems.compact.myops import evaluation
from myoscope.systems.compact.myops.page import PAPER
from myoscope.volume import Volume, plain_affine


def case(name: str) -> Case:
    codes = np.zeros((2, 10, 10), np.uint8)
    codes[:, 2:8, 2:8], codes[:, 4:6, 4:6] = Structure.MYOCARDIUM, Structure.LV
    codes[:, 2:4, 2:6], codes[:, 2:4, 6:8] = Structure.INFARCT, Structure.EDEMA
    grid = plain_affine((10, 1.5, 1.5))
    roles = (Role.BSSFP, Role.LGE, Role.T2)
    images = {role: Volume(codes.astype(np.float32), grid) for role in roles}
    study = Study(name, Patient(), tuple(Series(role, str(role), image) for role, image in images.items()))
    return Case(study, {role: image.with_voxels(codes) for role, image in images.items()}, scan=name, data_set="myops")


class Half:
    """Finds half of the scar, and notes which sequences it was given."""

    asked: ClassVar[list[tuple[str, tuple[Role, ...]]]] = []

    @classmethod
    def load(cls, *_: object) -> "Half":
        return cls()

    def predict(self, study: Study) -> dict[Role, Volume]:
        roles = tuple(series.role for series in study.series)
        self.asked.append((study.id, roles))
        role = next(role for role in (Role.LGE, Role.T2, Role.BSSFP) if role in roles)
        codes = study.get(role).image.voxels.astype(np.uint8)
        codes[:, 2:4, 2:4] = Structure.MYOCARDIUM
        return {role: study.get(role).image.with_voxels(codes)}

    def segment_joint(self, study: Study, lge: "Lge") -> tuple[Series, Prediction]:
        """All of the scar, by a model of LGE that must be new to the case."""
        assert study.id in lge.left_out
        image = study.get(Role.LGE).image
        return study.get(Role.LGE), Prediction(image.with_voxels(image.voxels.astype(np.uint8)), {}, np.zeros((1, 2)))


class Lge:
    """A fold model of LGE, and the cases that it has not seen."""

    def __init__(self, path: Path) -> None:
        self.left_out = path.with_name("scores.json").read_text()
        self.card = json.loads(path.with_suffix(".json").read_text())
        self.sha256 = path.read_text()

    @classmethod
    def load(cls, path: Path) -> "Lge":
        return cls(path)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folds of compact-myops that left out a and b, and one of `small` that left out a."""
    Half.asked = []
    monkeypatch.setattr(evaluation, "system_module", lambda _: type("M", (), {"Model": Half, "RECIPES": VARIANTS}))
    monkeypatch.setattr(unseen, "system_module", lambda _: type("M", (), {"Model": Lge}))
    monkeypatch.setattr(evaluation.figures, "write_phantom", lambda *_: None)
    monkeypatch.setattr(evaluation, "read_cases", lambda _: [case(name) for name in "abc"])
    runs = tmp_path / "runs"
    fold(runs / "compact-myops" / "fold-1", "compact-myops", ["b", "c"], {"steps": 900})
    fold(runs / "compact-myops" / "fold-2", "compact-myops", ["a", "c"], {"steps": 1000})
    networks = {"unet-lvbp": {"steps": 50, "learning_rate": 0.003, "batch": 8}}
    fold(runs / "small" / "fold-1", "myops-ensemble.small", ["b", "c"], {"steps": None, "networks": networks})
    return runs


VARIANTS = {f"myops-ensemble.{variant}": None for variant in ("published", "small")}


def fold(folder: Path, name: str, seen: list[str], card: dict) -> None:
    folder.mkdir(parents=True)
    (folder / f"{name}.safetensors").write_bytes(b"")
    (folder / "cases.json").write_text(json.dumps(seen))
    card = {"minutes": 10.0, "device": "cpu, 2 cores", "trained_on": {"myops": 20}} | card
    (folder / f"{name}.json").write_text(json.dumps(card))


def test_every_case_is_scored_once_by_a_model_that_has_not_seen_it(runs: Path) -> None:
    page = evaluation.evaluate("myops-ensemble", [Path("myops")], runs, None, 5, None, "cpu")
    compact = [asked for asked in Half.asked if asked[0] == "b"]
    assert len(compact) == 7 and len(set(compact)) == 7
    assert len(Half.asked) == 7 + 7 + 1 + 1  # a and b by compact-myops, a by small, drawn too; nobody may score c
    assert "| compact-myops | bSSFP | 2 | 66.7 ± 0.0 | 80.0 ± 0.0 | 50.0 ± 0.0 | 66.7 ± 0.0 |" in page
    assert "| paper: whole | bSSFP + LGE + T2 | 20 | 46.8 ± 26.8 | 55.7 ± 18.3 | 34.2 ± 22.2 | 40.5 ± 16.3 |" in page
    assert "unet-lvbp 50 steps of 8 at 0.003" in page and "900 to 1000 steps" in page
    assert "Not run: myops-ensemble.published." in page
    svg = (runs / "myops-ensemble-boxes.svg").read_bytes()
    again = evaluation.evaluate("myops-ensemble", [Path("myops")], runs, None, 5, None, "cpu")
    assert (again, (runs / "myops-ensemble-boxes.svg").read_bytes()) == (page, svg)
    assert len(Half.asked) == 17  # scores are kept beside the weights, a is drawn again


def test_compact_myops_has_a_page_and_scores_for_its_card(runs: Path) -> None:
    said: list[str] = []
    page = evaluation_of("compact-myops").evaluate(
        "compact-myops", [Path("myops")], runs / "compact-myops", None, 5, None, "cpu", said.append
    )
    assert any("compact-lge: left out; expected what the installed" in line for line in said)
    assert "paper" not in page
    assert page.count("| compact-myops | ") == 14
    kept = json.loads((runs / "compact-myops" / "results.json").read_text())
    assert kept["folds"] == [1, 2]
    first = kept["scores"][0]
    assert (first["region"], first["n"]) == ("scar from bSSFP + LGE + T2", 2)
    assert first["dice"] == pytest.approx(2 / 3)


def lge_runs(folder: Path, held: list[str]) -> Path:
    """Five folds of compact-lge, by the case that each left out."""
    for k, name in enumerate(held):
        weights = folder / f"fold-{k + 1}" / "compact-lge.safetensors"
        weights.parent.mkdir(parents=True)
        weights.write_bytes(b"")
        weights.with_name("scores.json").write_text(json.dumps([{"case": name}]))
        started = {"system": "compact-cine", "trained_on": {"myops": 20}}
        card = {"minutes": 25.0, "started_from": started}
        weights.with_suffix(".json").write_text(json.dumps(card))
    return folder


def test_compact_lge_says_what_is_scar_where_it_has_not_seen_the_case(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "read_cases", lambda _: [case(name) for name in "abcde"])
    compact = runs / "compact-myops"
    for k, seen in enumerate(("bcde", "acde"), 1):
        (compact / f"fold-{k}" / "cases.json").write_text(json.dumps(list(seen)))
    late = lge_runs(tmp_path / "late", list("abcde"))
    page = evaluation.evaluate("compact-myops", [Path("myops")], compact, None, 5, late, "cpu")
    assert page.count("| compact-myops and compact-lge | ") == 2 * 4  # LGE with and without each of the others
    assert "| compact-myops and compact-lge | LGE | 2 | 100.0 ± 0.0 |" in page
    assert "the bSSFP of 20 MyoPS patients" in page
    asked = len(Half.asked)
    assert evaluation.evaluate("compact-myops", [Path("myops")], compact, None, 5, late, "cpu") == page
    assert len(Half.asked) == asked  # kept
    (late / "fold-2" / "compact-lge.safetensors").write_bytes(b"trained on")
    evaluation.evaluate("compact-myops", [Path("myops")], compact, None, 5, late, "cpu")
    assert len(Half.asked) == asked + 7  # only where that fold's model is asked
    with pytest.raises(InputError, match="give the data it was dealt with"):
        evaluation.evaluate(
            "compact-myops", [Path("myops")], compact, None, 5, lge_runs(tmp_path / "x", list("bacde")), "cpu"
        )
    with pytest.raises(InputError, match="expected 5 fold models"):
        evaluation.evaluate("compact-myops", [Path("myops")], compact, None, 5, lge_runs(tmp_path / "y", ["a"]), "cpu")
    models = evaluation.scar_models("compact-myops", evaluation.read_cases([]), late)
    monkeypatch.setattr(evaluation, "scar_models", lambda *_: models)  # as installed
    installed = evaluation.evaluate("compact-myops", [Path("myops")], compact, None, 5, None, "cpu")
    assert installed.count("| compact-myops and compact-lge | ") == 2 * 4


def test_without_runs_the_installed_members_are_tried_on_what_they_have_not_seen(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [case(name) for name in "abcde"]
    members = [Half() for _ in some]
    monkeypatch.setattr(Half, "card", {"minutes": 16.0, "steps": 7, "device": "cpu", "trained_on": {}}, raising=False)
    monkeypatch.setattr(evaluation, "read_cases", lambda _: some)
    monkeypatch.setattr(evaluation, "installed_members", lambda *_: members)
    asked: list[tuple[str, str]] = []

    class Left:
        card: ClassVar[dict] = {"minutes": 15.0}

        def __init__(self, name: str) -> None:
            self.left_out = name

    monkeypatch.setattr(evaluation, "scar_models", lambda *_: {name: Left(name) for name in "abcde"})
    for k, (member, own) in enumerate(zip(members, some, strict=True)):
        name = own.study.id
        member.predict = lambda study, k=k: asked.append((study.id, k)) or Half.predict(members[k], study)
        assert evaluation.fold_of(some)[k] == "abcde".index(name)
    page = evaluation.evaluate("compact-myops", [Path("myops")], runs / "none", None, 5, None, "cpu")
    assert set(asked) == {(name, k) for k, name in enumerate("abcde")}
    assert "| compact-myops and compact-lge | LGE | 5 | 100.0 ± 0.0 |" in page and "5 folds of 16 min" in page
    (runs / "compact-myops").rename(runs / "elsewhere")
    beside = evaluation.evaluate("myops-ensemble", [Path("myops")], runs, None, 5, None, "cpu")
    ours = {line for line in page.splitlines() if line.startswith("| compact-myops")}
    assert len(ours) == 2 * (7 + 4) and ours < set(beside.splitlines()) and "myops-ensemble.small (whole)" in beside


def test_the_ensembles_page_says_where_compact_myops_could_not_stand_beside_it(runs: Path) -> None:
    (runs / "compact-myops").rename(runs / "elsewhere")
    said: list[str] = []
    page = evaluation.evaluate("myops-ensemble", [Path("myops")], runs, None, 5, None, "cpu", said.append)
    assert any("compact-myops: left out; expected what the installed" in line for line in said)
    assert "| compact-myops |" not in page and "Not run: myops-ensemble.published, compact-myops." in page


def test_nothing_trained_and_nothing_to_score_are_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"installed compact-myops was dealt from.* found 3 cases of myops.*--minutes"):
        evaluation.evaluate("compact-myops", [Path("myops")], runs / "small", None, 5, None, "cpu")
    monkeypatch.setattr(evaluation, "read_cases", lambda _: [])
    with pytest.raises(InputError, match="add MyoPS"):
        evaluation.evaluate("compact-myops", [Path("myops")], runs, None, 5, None, "cpu")


def test_the_papers_numbers_are_whole() -> None:
    keys = {"scar dice", "scar + edema dice", "scar jaccard", "scar + edema jaccard"}
    assert all(set(row) == keys for row in PAPER["rows"].values())


def test_best_and_worst_are_drawn_with_all_five_structures(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"system": "x", "case": c, "scar dice": a, "scar + edema dice": b}
        for c, a, b in (("a", 0.5, 0.5), ("b", 0.9, 0.4), ("c", 0.1, 0.7))
    ]
    assert [row["case"] for row in evaluation.figures.best_and_worst(rows, "x")] == ["b", "c"]
    assert [row["case"] for row in evaluation.figures.best_and_worst(rows[:1], "x")] == ["a"]
    evaluation.evaluate("myops-ensemble", [Path("myops")], runs, None, 5, None, "cpu")
    assert (runs / "patients-best.png").stat().st_size > 2000 and not (runs / "patients-worst.png").exists()
    monkeypatch.undo()
    evaluation.figures.write_phantom(Half(), tmp_path / "contours.svg")
    drawn = (tmp_path / "contours.svg").read_text()
    assert all(f"<!-- {title} -->" in drawn for title in evaluation.figures.COLUMNS)


def test_the_published_rows_are_the_papers_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from myoscope.systems.compact.myops.page import ROWS
    from myoscope.systems.myops_ensemble import RECIPES

    names = [f"myops-ensemble.{variant}" for variant in evaluation.PUBLISHED]
    assert [ROWS[name] for name in names] == list(PAPER["rows"]) and set(names) <= set(RECIPES)
    trained: list[tuple[str, Budget]] = []
    monkeypatch.setattr(evaluation, "train_folds", lambda name, _, __, budget, *___: trained.append((name, budget)))
    monkeypatch.setattr(evaluation, "read_cases", lambda _: [])
    budget = Budget(epochs=500)
    with pytest.raises(InputError, match="expected cases with labelled bSSFP, LGE and T2"):
        evaluation.evaluate("myops-ensemble", [], tmp_path, budget, 5, None, "cpu", published=True)
    assert trained == [(name, budget) for name in names]
    with pytest.raises(InputError, match="no paper's"):
        evaluation.evaluate("compact-myops", [], Path(), None, 5, None, "cpu", published=True)
