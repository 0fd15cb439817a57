"""The multitask network on drawn hearts: what is read, training and resuming, the page's numbers."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from myoscope import cli
from myoscope.datasets.acdc import CLASSES
from myoscope.errors import InputError
from myoscope.lab.folds import fold_of
from myoscope.lab.loop import Budget, Optimisation
from myoscope.labels import Structure
from myoscope.prediction import Classification
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.systems import evaluation_of, full_name
from myoscope.systems.acdc_multitask import evaluation as own
from myoscope.systems.acdc_multitask.inputs import (
    FEATURES,
    Augmentation,
    Heart,
    batch,
    cardiac_features,
    channels,
    collect,
    find_heart,
    read_labels,
    read_stack,
)
from myoscope.systems.acdc_multitask.model import Model, build
from myoscope.systems.acdc_multitask.recipe import RECIPES
from myoscope.systems.acdc_multitask.training import combined, dice_loss, train
from myoscope.volume import Volume, plain_affine

HALF = RECIPES["acdc-multitask.half-double"]
SMALL = {"crop": 32, "widths": (4, 1), "batch": 2}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _case(i: int, slices: int = 7) -> Case:
    """A ring of the class's size with an RV beside it, smaller at ES, away from the middle."""
    y, x = np.mgrid[:64, :70]
    frames = []
    for shrink in (0, 3):
        radius = np.hypot(y - 26, x - 40)
        inner = 7 + i % 5 - shrink
        labels = np.where(np.hypot(y - 26, x - 28) < 10 - shrink, Structure.RV, 0)
        labels = np.where(radius < inner + 4, Structure.MYOCARDIUM, labels)
        frames.append(np.stack([np.where(radius < inner, Structure.LV, labels)] * slices))
    labels = np.stack(frames).astype(np.uint8)
    rng = np.random.default_rng(i)
    image = np.choose(labels, [20.0, 90.0, 40.0, 0, 0, 0, 80.0]) + rng.normal(0, 5, labels.shape)
    grid = Volume(image.astype(np.float32), plain_affine((10, 2, 2)))
    study = Study(f"p{i:02}", Patient(), (Series(Role.CINE, f"p{i:02}", grid, (), 0, 1),))
    return Case(study, {Role.CINE: grid.with_voxels(labels)}, CLASSES[i % 5], f"p{i:02}", data_set="drawn")


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [_case(i) for i in range(10)]


def test_settings_of_the_papers_section_4() -> None:
    for name in ("diagnosis", "segmentation", "double", "triple"):
        recipe = RECIPES[f"acdc-multitask.{name}"]
        assert (recipe.dropout, recipe.dropout_input, recipe.alpha, recipe.beta) == (0.5, 0.2, 0.3, 0.6)
        assert recipe.optimisation.learning_rate == 5e-4
        assert recipe.batch == (15 if name == "diagnosis" else 4)
        assert recipe.augmentation == Augmentation()
    assert full_name("acdc-multitask", None) == HALF.name
    assert len(FEATURES) == 13


@pytest.mark.parametrize("wrong", [{"crop": 33}, {"batch": 0}, {"widths": (0, 12)}, {"dropout": 1.5}, {"alpha": -1.0}])
def test_recipes_are_validated(wrong: dict) -> None:
    with pytest.raises(InputError, match="half-double"):
        replace(HALF, **wrong)


def test_loss_by_hand() -> None:
    terms = {name: torch.tensor(v) for name, v in (("segmentation", 1.0), ("features", 10.0), ("diagnosis", 100.0))}
    assert float(combined(terms, 0.3, 0.6)) == pytest.approx(0.3 * 1 + 0.7 * (0.6 * 10 + 0.4 * 100))
    assert float(combined({"diagnosis": terms["diagnosis"]}, 0.3, 0.6)) == 100
    assert float(combined({"segmentation": terms["segmentation"]}, 0.3, 0.6)) == 1
    labels = torch.randint(4, (2, 6, 8, 8), generator=torch.Generator().manual_seed(0))
    sure = nn.functional.one_hot(labels, 4).movedim(-1, 1) * 100.0
    assert float(dice_loss(sure, labels)) == pytest.approx(0, abs=1e-4)
    background = torch.zeros_like(sure)
    background[:, 0] = 100
    assert float(dice_loss(background, torch.zeros_like(labels))) == pytest.approx(0, abs=1e-4)
    assert float(dice_loss(background, torch.ones_like(labels))) == pytest.approx(0.4, abs=0.01)


def test_features_by_hand(cases: list[Case]) -> None:
    labels = cases[0].labels[Role.CINE]
    found = dict(zip(FEATURES, cardiac_features(labels, Heart(None, 0, 1)), strict=True))
    lv = [(frame == Structure.LV).sum() * 0.04 for frame in labels.frames]
    wall, rv = ((labels.frames[1] == s).sum() * 0.04 for s in (Structure.MYOCARDIUM, Structure.RV))
    assert found["LV ED (ml)"] == pytest.approx(lv[0])
    assert found["LV ejected share"] == pytest.approx(1 - lv[1] / lv[0])
    assert found["LV/RV ES"] == pytest.approx(lv[1] / rv)
    assert found["myocardium/LV ES"] == pytest.approx(wall / lv[1])
    with pytest.raises(InputError, match="expected LV, RV"):
        cardiac_features(labels.with_voxels(np.zeros_like(labels.voxels)), Heart(None, 0, 1))


def test_stack_and_labels_lie_around_the_heart(cases: list[Case]) -> None:
    case = cases[3]
    series, labels = case.study.series[0], case.labels[Role.CINE]
    heart = find_heart(series, labels)
    rows, columns = np.nonzero((labels.voxels > 0).any((0, 1)))
    expected = (rows.min() + rows.max() + 1) / 2 / 64, (columns.min() + columns.max() + 1) / 2 / 70
    assert heart == Heart(pytest.approx(expected), 0, 1)
    stack, drawn = read_stack(series.image, heart, 48, 1.0), read_labels(labels, heart, 48, 1.0)
    assert stack.shape == drawn.shape == (2, 7, 48, 48)
    found = (drawn[0, 3] > 0).nonzero().float()
    assert ((found.amin(0) + found.amax(0) + 1) / 2 - 24).abs().max() <= 1
    assert (drawn == 1).sum(dtype=torch.float) == pytest.approx(4 * (labels.voxels == Structure.LV).sum(), rel=0.05)
    assert stack[0, 3][drawn[0, 3] == 1].mean() > 1 > stack[0, 3][drawn[0, 3] == 0].mean()
    whole = read_stack(series.image, Heart(None, 0, 1), 256, 1.0)
    inside = whole[0, 0, 64:192, 58:198]
    assert (float(inside.mean()), float(inside.std())) == pytest.approx((0, 1), abs=1e-3)
    ed, difference_, es = channels(stack[None])[0]
    assert torch.equal(ed - es, difference_)


def test_phases_that_nobody_named_are_found(cases: list[Case]) -> None:
    case = cases[0]
    series, labels = case.study.series[0], case.labels[Role.CINE]
    late = replace(series, ed_frame=None, es_frame=None)
    swapped = labels.with_voxels(labels.voxels[::-1])
    assert (find_heart(late, swapped).ed, find_heart(late, swapped).es) == (1, 0)
    empty = labels.with_voxels(np.zeros_like(labels.voxels))
    assert find_heart(series, empty) == Heart(None, 0, 1)


def test_batches_repeat_with_their_seed_and_start_anywhere(cases: list[Case]) -> None:
    inputs = collect(cases, 56, 2.0)
    still, moved = Augmentation(), HALF.augmentation
    (a, la, ia), (b, lb, _), (c, _, _) = (batch(inputs, 8, 32, 2.0, moved, seed) for seed in (1, 1, 2))
    assert a.shape == la.shape == (8, 2, 6, 32, 32)
    assert torch.equal(a, b)
    assert torch.equal(la, lb)
    assert not torch.equal(a, c)
    assert (a[la == 1].mean() - a[la == 0].mean()) > 1  # images and labels move together
    plain, labels, chosen = batch(inputs, 64, 32, 2.0, still, 3)
    middle = [[inputs.stacks[i][:, z : z + 6, 12:44, 12:44] for z in (0, 1)] for i in chosen]
    starts = [
        [torch.allclose(stack, part, atol=1e-4) for part in parts] for stack, parts in zip(plain, middle, strict=True)
    ]
    assert {tuple(s) for s in starts} == {(True, False), (False, True)}
    assert labels.max() == 3
    assert len(ia) == 8


def test_cases_that_cannot_be_learned_from_are_named(cases: list[Case]) -> None:
    with pytest.raises(InputError, match="p00: expected a labelled cine of class NOR"):
        collect([replace(cases[0], group="ill")], 32, 2.0)
    with pytest.raises(InputError, match="6 slices or more, found 5"):
        collect([_case(0, slices=5)], 32, 2.0)


@pytest.mark.parametrize("variant", ["half-double", "half-diagnosis", "half-segmentation", "half-triple"])
def test_every_variant_trains_predicts_saves_and_loads(variant: str, cases: list[Case], tmp_path: Path) -> None:
    recipe = replace(RECIPES[f"acdc-multitask.{variant}"], **SMALL)
    model = train(recipe, cases[:5], Budget(steps=2), tmp_path / "run")
    model.save(tmp_path / "w.safetensors", {"system": recipe.name, "widths": recipe.widths})
    loaded = Model.load(tmp_path / "w.safetensors")
    case = cases[6]
    heart = find_heart(case.study.series[0], case.labels[Role.CINE])
    ours, again = model.predict(case.study, heart), loaded.predict(case.study, heart)
    labels = ours
    if recipe.diagnosis:
        assert isinstance(ours, Classification)
        assert isinstance(again, Classification)
        assert tuple(ours.probabilities) == CLASSES
        assert sum(ours.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert list(again.probabilities.values()) == pytest.approx(list(ours.probabilities.values()), abs=0.02)
        labels = ours.labels
    assert set(labels) == ({Role.CINE} if recipe.segmentation else set())
    for volume in labels.values():
        assert volume.voxels.dtype == np.uint8
        assert volume.voxels.shape == case.study.series[0].image.voxels.shape
        assert set(np.unique(volume.voxels)) <= {0, Structure.LV, Structure.MYOCARDIUM, Structure.RV}
    if recipe.features:
        seen = model.look(case.study.series[0], heart)
        assert seen.features.shape == (2, 13)
        assert model.network.features_mean[0] == pytest.approx(collect(cases[:5], 32, 2.0).features[:, 0].mean())


def test_windows_cover_every_slice_and_labels_come_back_to_their_place() -> None:
    """A network that gives the truth back must leave it where it was, on every slice."""
    case = _case(2, slices=9)
    series, labels = case.study.series[0], case.labels[Role.CINE]
    recipe = replace(RECIPES["acdc-multitask.segmentation"], crop=96, spacing_mm=1.0)
    heart = find_heart(series, labels)
    drawn = read_labels(labels, heart, recipe.crop, recipe.spacing_mm)

    class Truth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Parameter(torch.zeros(()))
            self.start = 0

        def forward(self, _: torch.Tensor) -> dict[str, torch.Tensor]:
            part = nn.functional.one_hot(drawn[:, self.start : self.start + 6].long(), 4).movedim(-1, 1) * 20.0
            self.start += 1
            return {"ED": part[:1], "ES": part[1:]}

    model = Model(recipe, Truth())
    found = model.predict(case.study, heart)[Role.CINE]
    for structure in (Structure.LV, Structure.MYOCARDIUM, Structure.RV):
        for a, b in zip(found.frames, labels.frames, strict=True):
            for z in range(9):
                assert own.dice(a[z] == structure, b[z] == structure) > 0.95


def test_few_slices_and_no_heart_are_said(cases: list[Case]) -> None:
    model = Model(replace(HALF, **SMALL), build(replace(HALF, **SMALL)))
    found = model.predict(_case(0, slices=3).study, Heart(None, 0, 1))
    assert found.labels[Role.CINE].voxels.shape == (2, 3, 64, 70)
    assert any("fewer than 6 slices" in note for note in found.notes)
    assert any("no heart" in note for note in found.notes)
    series = cases[0].study.series[0]
    still = replace(series, image=series.image.with_voxels(series.image.voxels[0]))
    for study in (replace(cases[0].study, series=()), replace(cases[0].study, series=(still,))):
        with pytest.raises(InputError, match="expected a cine"):
            model.predict(study)


def _run(folder: Path, kill_at: int | None = None) -> Model:
    import myoscope.systems.acdc_multitask.training as module

    torch.set_num_threads(1)
    optimisation = Optimisation(checkpoint_seconds=0)
    recipe = RECIPES["acdc-multitask.half-segmentation"]
    recipe = replace(recipe, **SMALL, snapshot_steps=1, optimisation=optimisation)
    original = module.batch

    def killing(*arguments: object) -> object:
        if arguments[-1] == kill_at:  # with seed 0 the seed of a batch is its step
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    module.batch = killing
    try:
        return train(recipe, [_case(i) for i in range(3)], Budget(steps=3), folder)
    finally:
        module.batch = original


def test_killed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole").network.state_dict()
    script = f"import runpy, pathlib; runpy.run_path({__file__!r})['_run'](pathlib.Path({str(tmp_path)!r}) / 'k', 2)"
    child = subprocess.run([sys.executable, "-c", script], check=False)
    assert child.returncode == -signal.SIGKILL
    resumed = _run(tmp_path / "k").network.state_dict()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    kept = sorted(path.name for path in (tmp_path / "k" / "snapshots").iterdir())
    assert kept == ["000001.safetensors", "000002.safetensors", "000003.safetensors"]


def test_evaluation_end_to_end(cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variants, two folds of drawn hearts: trained, scored, drawn, and used again without training."""
    small = {n: replace(RECIPES[n], **SMALL, snapshot_steps=1) for n in list(RECIPES)[:2] + list(RECIPES)[5:6]}
    monkeypatch.setattr("myoscope.systems.acdc_multitask.RECIPES", small)
    monkeypatch.setattr("myoscope.systems.acdc_multitask.model.RECIPES", small)
    monkeypatch.setattr(own, "RECIPES", small)
    monkeypatch.setattr(own, "TRAINED_HERE", list(small)[:2])
    monkeypatch.setattr("myoscope.lab.crossval.read_cases", lambda _: cases)
    hearts = {case.id: find_heart(case.study.series[0], case.labels[Role.CINE]) for case in cases}
    monkeypatch.setattr(own, "find_hearts", lambda *_: ("key", hearts))
    assert evaluation_of("acdc-multitask") is own
    system, roots = "acdc-multitask", [Path("drawn")]
    with pytest.raises(InputError, match="expected trained folds"):
        own.evaluate(system, roots, tmp_path, None, 2, None, "cpu")
    page = own.evaluate(system, roots, tmp_path, Budget(steps=2), 2, None, "cpu")
    assert "Not run: double task.**" in page
    assert "| double task, half resolution | 1, 2 of 5 | 8 | segmentation 0.30, diagnosis 0.70 | - min" in page
    assert "paired, n 4)" in page
    assert "Isensee's row is of the challenge's 50" in page and "at 2 mm in a crop of 144 mm" in page
    assert "All variants here made 2 steps." in page and "**Not all reached 1100.**" in page
    found = json.loads((tmp_path / "results.json").read_text())
    double = found["acdc-multitask.half-double"]
    unseen = {case.id for case, fold in zip(cases, fold_of(cases), strict=True) if fold < 2}
    assert {row["case"] for row in double["rows"]} == unseen
    assert set(double["rows"][0]["dice"]) == set(double["rows"][0]["whole"])
    assert [point["step"] for point in double["curves"][0]] == [1, 2]
    with (tmp_path / "half-double" / "predictions.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert set(rows) == unseen
    assert (tmp_path / "patients.png").stat().st_size > 2000
    for picture in ("curves", "confusion", "slices"):
        assert "<svg" in (tmp_path / f"acdc-multitask-{picture}.svg").read_text()
    assert own.evaluate(system, roots, tmp_path, None, 2, None, "cpu") == page
    with pytest.raises(InputError, match="expected trained folds"):  # nothing of the half size is the thesis' own
        own.evaluate(system, roots, tmp_path, None, 2, None, "cpu", published=True)
    printed = own.evaluate(system, roots, tmp_path / "printed", Budget(steps=1), 1, None, "cpu", published=True)
    assert "`myoscope evaluate acdc-multitask --variant published --data drawn -o RUNS`" in printed
    assert "\n| double task | 1 of 4 | " in printed and "| double task, half resolution |" not in printed
    (path,) = own.train_folds(next(iter(small)), roots, [None], Budget(steps=2), tmp_path, None, "cpu")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["diagnosis"]["accuracy"] == double["accuracy"]


def test_hearts_are_found_once_by_models_that_have_not_seen_them(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, found = tmp_path / "cine", {case.id: case.labels for case in cases}
    with pytest.raises(InputError, match=r"compact-cine\.safetensors: expected 5 fold models"):
        own.find_hearts(cases, tmp_path, runs)
    for fold in range(5):
        (runs / f"fold-{fold + 1}").mkdir(parents=True)
        (runs / f"fold-{fold + 1}" / "compact-cine.safetensors").write_bytes(b"%d" % fold)
        names = [c.id for c, k in zip(cases, fold_of(cases), strict=True) if k == fold]
        (runs / f"fold-{fold + 1}" / "scores.json").write_text(json.dumps([{"case": name} for name in names]))
    monkeypatch.setattr(own, "out_of_fold", lambda *_: found)
    key, hearts = own.find_hearts(cases, tmp_path, runs)
    assert hearts == {case.id: find_heart(case.study.series[0], case.labels[Role.CINE]) for case in cases}
    found.clear()
    assert own.find_hearts(cases, tmp_path, runs) == (key, hearts)
    (runs / "fold-2" / "scores.json").write_text("[]")
    with pytest.raises(InputError, match="give the data it was dealt with"):
        own.find_hearts(cases, tmp_path, runs)


def test_prediction_writes_both(cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from myoscope.io.save import write_study

    study = cases[1].study
    write_study(study, tmp_path / "data" / "patient001")
    (tmp_path / "data" / "patient001" / "cine.nii.gz").rename(tmp_path / "data" / "patient001" / "patient001_4d.nii.gz")
    recipe = replace(HALF, **SMALL)
    weights = tmp_path / "w.safetensors"
    Model(recipe, build(recipe)).save(weights, {"system": HALF.name, "widths": recipe.widths})

    class Locator:
        def predict(self, study: Study) -> dict[Role, Volume]:
            return {Role.CINE: study.series[0].image.with_voxels(cases[1].labels[Role.CINE].voxels)}

    monkeypatch.setattr("myoscope.systems.acdc_multitask.model._locator", lambda: Locator())
    out = tmp_path / "out"
    arguments = ["predict", "acdc-multitask", str(tmp_path / "data"), "-o", str(out), "--weights", str(weights)]
    monkeypatch.setattr(sys, "argv", ["myoscope", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert sorted(path.name for path in out.iterdir()) == ["patient001_seg.nii.gz", "predictions.csv"]
    assert (out / "predictions.csv").read_text().splitlines()[0] == "case,prediction,NOR,MINF,DCM,HCM,RV"
