"""The cascade: that it goes on from its first stage, trains, resumes and is evaluated; on phantoms and by hand."""

import csv
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from myoscope import weights
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.errors import InputError
from myoscope.lab import crossval, members
from myoscope.lab.loop import Budget
from myoscope.lab.slices import CANVAS
from myoscope.lab.stacks import Spoil, batch, spoilt, with_background
from myoscope.labels import Structure
from myoscope.segment.cine import SliceModel
from myoscope.segment.clean import one_wall
from myoscope.segment.lge import MIRRORS, CascadeModel, only_present, prior_of, spread
from myoscope.study import Case, Role
from myoscope.systems import cascade
from myoscope.systems.cascade import evaluation
from myoscope.systems.cascade import folds as cascade_train
from myoscope.systems.cascade.model import Trained
from myoscope.systems.cascade.recipe import RECIPES
from myoscope.systems.cascade.stack_unet import LEAST_PRIOR, StackUNet
from myoscope.volume import Volume
from myoscope.weights import weights_of

TINY = dataclasses.replace(RECIPES["cascade.small"], widths=(4, 8), crop=32, view=64, batch=2)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    found = [draw(sample(seed, TRAINING, ("MINF", "NOR")[seed % 2]), (Role.LGE,), frames=1) for seed in range(5)]
    return [dataclasses.replace(_cropped(c), group=("pathological", "normal")[i % 2]) for i, c in enumerate(found)]


def _cropped(case: Case) -> Case:
    """Five slices of a case, close around the heart: little to compute."""
    series, labels = case.study.series[0], case.labels[Role.LGE]
    y, x = (int(c) for c in np.argwhere(labels.frames[0] > 0).mean(0)[1:])
    window = (slice(2, 7), slice(max(0, y - 48), y + 48), slice(max(0, x - 48), x + 48))
    image, codes = (Volume(v.frames[0][window].copy(), v.affine) for v in (series.image, labels))
    study = dataclasses.replace(case.study, series=(dataclasses.replace(series, image=image),))
    return dataclasses.replace(case, study=study, labels={Role.LGE: codes})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first of compact-lge's members, as a fold leaves it."""
    installed = weights_of("compact-lge")
    path = tmp_path_factory.mktemp("first") / installed.name
    shutil.copy(installed, path)
    shutil.copy(installed.with_name("compact-lge.1.onnx"), path.with_suffix(".onnx"))
    card = json.loads(installed.with_suffix(".json").read_text()) | {"members": 1}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def saved(network: torch.nn.Module, first: Path, folder: Path, card: dict | None = None) -> CascadeModel:
    """What predicts, of a second stage."""
    Trained(TINY, network, first).save(folder / "w.safetensors", {"licence": "none"} | (card or {}))
    return CascadeModel.load(folder / "w.safetensors")


@pytest.fixture(scope="module")
def stacks(cases: list[Case], first: Path) -> cascade.training.StackSet:
    return cascade.training._stacks(TINY, cases[:2], first, None)


def test_an_untrained_second_stage_says_what_the_first_said() -> None:
    network = StackUNet(3, (4, 8)).eval()
    prior = torch.rand(5, 3, 16, 16).softmax(1)
    found = network(torch.cat([torch.rand(5, 1, 16, 16), prior], 1), torch.tensor([0, 0, 0, 1, 1]))[0]
    assert torch.allclose(found, prior.clamp(min=LEAST_PRIOR).log())


def test_stacks_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    network = StackUNet(3, (4, 8, 8)).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    x = torch.rand(5, 4, 16, 16)
    together = network(x, torch.tensor([0, 0, 0, 1, 1]))[0]
    alone = network(x[3:], torch.tensor([7, 7]))[0]
    assert torch.allclose(together[3:], alone, atol=1e-5)
    joined = network(x, torch.zeros(5, dtype=torch.long))[0]
    assert not torch.allclose(joined[3], alone[0], atol=1e-3)


@pytest.mark.parametrize("along_stack", [False, True])
def test_published_network_keeps_slices_in_place(along_stack: bool) -> None:
    from myoscope.systems.cascade.dyn_unet import SliceUNet

    torch.manual_seed(0)
    network = SliceUNet(2, 3, (4, 8, 8), along_stack)
    x, stacks = torch.rand(5, 2, 16, 16), torch.tensor([0, 0, 1, 1, 1])
    assert network.train()(x, stacks).shape == (2, 5, 3, 16, 16)
    found = network.eval()(x, stacks)
    assert found.shape == (1, 5, 3, 16, 16)
    if not along_stack:
        assert torch.allclose(found[:, 3], network(x[3:4], stacks[:1])[:, 0], atol=1e-4)
    x[:, 0] = 0.7 * x[:, 0] + 0.2  # each slice is brought to mean 0 and variance 1: contrast is undone
    assert torch.allclose(network(x, stacks), found, atol=1e-3)


def test_a_batch_fits_together(stacks: cascade.training.StackSet) -> None:
    assert stacks.priors is not None
    assert len(stacks.starts) == 3
    assert stacks.priors.shape == (len(stacks.slices.images), 4, CANVAS, CANVAS)
    inputs, labels, merges, number = batch(stacks, 3, 4, 64, 1.4, TINY.strength, 1.0, Spoil(0, 0, 0, 0), 5)
    assert torch.bincount(number).tolist() == [4, 4, 4]
    assert inputs.shape == (12, 6, 64, 64)
    assert merges.shape == (12, 5, 5)
    assert torch.allclose(inputs[:, 1:].sum(1), torch.ones(12, 64, 64), atol=0.02)
    wall, said = labels == Structure.MYOCARDIUM, inputs[:, 1:].argmax(1) == Structure.MYOCARDIUM
    assert 2 * (wall & said).sum() / (wall.sum() + said.sum()) > 0.6  # image, prior and labels were moved alike
    again = batch(stacks, 3, 4, 64, 1.4, TINY.strength, 1.0, Spoil(0, 0, 0, 0), 5)
    assert torch.equal(inputs, again[0])


def test_spoilt_priors_are_probabilities() -> None:
    priors = with_background(torch.rand(6, 2, 9, 9) / 2)
    number, rng = torch.tensor([0, 0, 1, 1, 1, 2]), torch.Generator().manual_seed(0)
    for spoil in (Spoil(), Spoil(1, 0, 0, 0), Spoil(0, 0, 1, 0), Spoil(0, 0, 0, 1)):
        assert torch.allclose(spoilt(priors, number, spoil, rng).sum(1), torch.ones(6, 9, 9), atol=1e-5)
    assert torch.allclose(spoilt(priors, number, Spoil(1, 0, 0, 0), rng), torch.tensor(1 / 3))
    assert torch.equal(spoilt(priors, number, Spoil(0, 0, 0, 0), rng), priors)


def test_rv_is_left_to_the_first_stage() -> None:
    known = (Structure.BACKGROUND, Structure.LV, Structure.RV)
    first = np.array([0.2, 0.5, 0.3]).reshape(1, 3, 1, 1)
    assert prior_of(first, known, known[:2]).flatten().tolist() == pytest.approx([0.5, 0.5])
    second = np.array([0.8, 0.2]).reshape(1, 2, 1, 1)
    assert spread(second, first, known, known[:2]).flatten().tolist() == pytest.approx([0.32, 0.2, 0.48])


def test_the_first_stage_says_whether_there_is_any_scar_and_no_reflow() -> None:
    classes = tuple(Structure)[:5]
    shares = np.random.default_rng(0).dirichlet(np.ones(5), (2, 3, 3)).transpose(0, 3, 1, 2)
    found = np.full((2, 3, 3), Structure.MYOCARDIUM, np.uint8)
    wall = only_present(shares, found, classes)
    scar = [classes.index(s) for s in (Structure.INFARCT, Structure.NO_REFLOW)]
    assert not wall[:, scar].any() and np.allclose(wall.sum(1), 1)
    assert np.allclose(wall[:, classes.index(Structure.LV)], shares[:, classes.index(Structure.LV)])
    found[0, 0, 0] = Structure.INFARCT
    light = only_present(shares, found, classes)
    assert np.allclose(light[:, scar[0]], shares[:, scar].sum(1)) and not light[:, scar[1]].any()
    found[1, 1, 1] = Structure.NO_REFLOW
    assert (only_present(shares, found, classes) == shares).all()


def test_scar_away_from_the_wall_is_ruled_out() -> None:
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, 1:4, 1:4] = Structure.MYOCARDIUM
    labels[0, 2, 2] = Structure.LV
    labels[0, 6, 6] = Structure.INFARCT
    labels[0, 6, 1] = Structure.RV
    found = one_wall(labels)
    assert found[0, 6, 6] == Structure.BACKGROUND
    assert (found != labels).sum() == 1


def test_untrained_cascade_draws_as_its_first_stage(first: Path, cases: list[Case], tmp_path: Path) -> None:
    model = saved(cascade.recipe.build(TINY, TINY.widths), first, tmp_path)
    image = cases[0].study.series[0].image
    one, two, _ = model.stages(image.frames[0], image)
    assert np.allclose(two.sum(1), 1, atol=1e-3)
    assert (one.argmax(1) == two.argmax(1)).mean() > 0.99
    mirrored = model.stages(image.frames[0], image, MIRRORS)[1]
    assert np.allclose(mirrored, two, atol=1e-3)


def test_predict_and_analyze_take_one_path(
    first: Path, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from myoscope import analysis

    network = cascade.recipe.build(TINY, TINY.widths)
    torch.nn.init.normal_(network.head.weight, std=0.2)
    model = saved(network, first, tmp_path)
    monkeypatch.setitem(analysis.SYSTEM_FOR, Role.LGE, "cascade.small")
    monkeypatch.setattr(analysis, "_model", lambda *_: model)
    found = analysis.analyze(cases[0].study)
    assert (found.labels[Role.LGE].voxels == model.predict(cases[0].study)[Role.LGE].voxels).all()
    assert found.measurements.lge.myocardium_ml


def test_chosen_shares_come_with_the_card(first: Path, tmp_path: Path) -> None:
    chosen = {"shares": "mean", "smallest_ml": {"infarct": 2.5, "no_reflow": 0.75}}
    loaded = saved(cascade.recipe.build(TINY, TINY.widths), first, tmp_path, {"chosen": chosen})
    assert loaded.decides == "mean"
    assert loaded.smallest_ml == {Structure.INFARCT: 2.5, Structure.NO_REFLOW: 0.75}
    assert loaded.first.smallest_ml == SliceModel.load(first.with_suffix(".onnx")).smallest_ml
    assert loaded.card["first"]["sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert loaded.first.sha256 == hashlib.sha256(first.with_suffix(".onnx").read_bytes()).hexdigest()


class _KilledError(Exception):
    pass


def test_a_killed_run_goes_on_where_it_was(
    first: Path, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(TINY, optimisation=dataclasses.replace(TINY.optimisation, checkpoint_seconds=0.0))
    whole = cascade.train(recipe, cases[:2], Budget(steps=4), tmp_path / "whole", first=first)
    plain, steps = cascade.training._loss, []

    def dying(*args: object) -> object:
        loss_of = plain(*args)

        def die(network: torch.nn.Module, step: int) -> torch.Tensor:
            if step == 2 and len(steps) == 2:
                raise _KilledError
            steps.append(step)
            return loss_of(network, step)

        return die

    monkeypatch.setattr(cascade.training, "_loss", dying)
    with pytest.raises(_KilledError):
        cascade.train(recipe, cases[:2], Budget(steps=4), tmp_path / "killed", first=first)
    steps.append(-1)
    resumed = cascade.train(recipe, cases[:2], Budget(steps=4), tmp_path / "killed", first=first)
    assert steps == [0, 1, -1, 2, 3]
    for a, b in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.fixture
def firsts(first: Path, cases: list[Case], tmp_path: Path) -> Path:
    """Runs of compact-lge: the installed model in every fold, as if trained on these cases."""
    for k in (*range(5), None):
        path = crossval.weights_path("compact-lge", k, tmp_path / "firsts")
        path.parent.mkdir(parents=True)
        for end in (".safetensors", ".json", ".onnx"):
            shutil.copy(first.with_suffix(end), path.with_suffix(end))
        held = [{"case": case.id} for case, fold in zip(cases, crossval.fold_of(cases), strict=True) if fold == k]
        path.with_name("scores.json").write_text(json.dumps(held))
    return tmp_path / "firsts"


def test_folds_train_and_are_evaluated(
    cases: list[Case], firsts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "cascade.small", TINY)
    monkeypatch.setattr(crossval, "read_cases", lambda _: cases)
    runs, budget = tmp_path / "runs", Budget(steps=1)
    with pytest.raises(InputError, match="--segmentations"):
        evaluation.train_folds("cascade.small", [], [0], budget, runs, None, "cpu")
    with pytest.raises(InputError, match="add --minutes"):
        evaluation.evaluate("cascade", [], runs, None, 5, None, "cpu")
    evaluation.train_folds("cascade.small", [], [0, None], budget, runs, firsts, "cpu")
    assert len(list(runs.glob("priors-*.npz"))) == 1
    text = evaluation.evaluate("cascade", [Path("emidec")], runs, None, 5, None, "cpu")
    assert "Folds 1 of 5 only" in text
    assert "`cascade.published`, the paper's own recipe, was not run" in text
    assert "5 SD above remote" in text
    assert (runs / "cascade-boxes.svg").exists()
    assert "expert" in (runs / "cascade-worst.html").read_text()
    card = json.loads((runs / "small" / "all" / "cascade.small.json").read_text())
    assert card["chosen"] == json.loads((runs / "small" / "chosen.json").read_text())
    assert card["cross_validation"]["folds"] == [1]
    assert card["trained_on"] == {cases[0].data_set: 5}


def test_installed_members_are_tried_each_on_what_it_has_not_seen(
    cases: list[Case], firsts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [dataclasses.replace(case, data_set="emidec") for case in cases]
    monkeypatch.setitem(RECIPES, "cascade.small", TINY)
    monkeypatch.setattr(crossval, "read_cases", lambda _: cases)
    monkeypatch.setattr(evaluation, "phantoms", lambda count, _: cases[: min(count, 2)])
    runs, installed = tmp_path / "runs", tmp_path / "installed"
    evaluation.train_folds("cascade.small", [], range(5), Budget(steps=1), runs, firsts, "cpu")
    page = evaluation.evaluate("cascade", [Path("emidec")], runs, None, 5, None, "cpu")
    members.main("cascade.small", runs, installed)
    assert len(list(installed.glob("cascade.small.first.*.onnx"))) == 5
    card = json.loads((installed / "cascade.small.json").read_text())
    assert card["chosen"] == json.loads((runs / "small" / "chosen.json").read_text())
    with (runs / "small" / "scores.csv").open() as file:
        shipped = [row for row in csv.DictReader(file) if row["row"] == card["chosen"]["shares"]]
    (wall,) = (of["dice"] for of in card["cross_validation"]["scores"] if of["region"] == "myocardium")
    assert wall == pytest.approx(np.mean([float(row["myocardium dice"]) for row in shipped]), abs=1e-3)
    monkeypatch.setattr(weights, "FOLDER", installed)
    assert evaluation.evaluate("cascade", [Path("emidec")], tmp_path / "new", None, 5, None, "cpu") == page
    for k in range(1, 6):
        one = json.loads((tmp_path / "new" / "small" / f"fold-{k}" / "cascade.small.json").read_text())
        assert (one["steps"], one["split"], one["trained_on"]) == (1, f"all but fold {k} of 5", {"emidec": 4})
        assert one["chosen"]["shares"] in evaluation.STAGES[1:]


def test_a_fold_is_told_what_was_chosen_on_the_others_and_what_its_first_stage_saw_is_not_scored(
    cases: list[Case], firsts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [dataclasses.replace(case, data_set="myops" if i < 2 else "emidec") for i, case in enumerate(cases)]
    monkeypatch.setitem(RECIPES, "cascade.small", TINY)
    monkeypatch.setattr(crossval, "read_cases", lambda _: cases)
    told = lambda _, some: {"shares": "mean", "smallest_ml": {"infarct": 1.0, "no_reflow": 1.0}, "of": sorted(some)}  # noqa: E731
    monkeypatch.setattr(evaluation, "shipping", told)
    monkeypatch.setattr(evaluation, "phantoms", lambda count, _: cases[: min(count, 2)])
    runs = tmp_path / "runs"
    paths = evaluation.train_folds("cascade.small", [], range(5), Budget(steps=1), runs, firsts, "cpu")
    page = evaluation.evaluate("cascade", [Path("emidec"), Path("myops")], runs, None, 5, None, "cpu")
    assert "myops is not scored: what the first stage began with had seen it." in page
    scored = {case.id: k for case, k in zip(cases, crossval.fold_of(cases), strict=True) if case.data_set == "emidec"}
    for k, path in enumerate(paths):
        card = json.loads(path.with_suffix(".json").read_text())
        assert card["chosen"]["of"] == sorted(i for i, fold in scored.items() if fold != k)


def test_a_larger_budget_goes_on(
    cases: list[Case], firsts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "cascade.small", TINY)

    def trained(steps: int) -> tuple[int, int]:
        path = cascade_train.train_fold("cascade.small", cases, 0, Budget(steps=steps), tmp_path, firsts, "cpu")
        return json.loads(path.with_suffix(".json").read_text())["steps"], path.stat().st_mtime_ns

    one = trained(1)
    assert trained(1) == one  # finished
    two = trained(2)
    assert two[0] == 2
    assert trained(1) == two  # it had more


def test_published_is_the_papers_adam() -> None:
    """The paper has "an initial learning rate of 0.01": it falls, as nnU-Net's does."""
    for name in ("cascade.published", "cascade.published-2d"):
        found = RECIPES[name].optimisation
        assert (found.plain, found.learning_rate, found.fall) == (True, 1e-2, 0.9)


def test_published_changes_images_in_no_way_that_nnunet_does_not() -> None:
    for name in ("cascade.published", "cascade.published-2d"):
        strength = RECIPES[name].strength
        assert (strength.elastic_mm, strength.shading, strength.spike, RECIPES[name].slip_mm) == (0, 0, 0, 0)
        assert (strength.rotation_degrees, strength.scale) == (180, (0.7, 1.4))


def test_fold_models_vote_and_are_compared_with_their_mean(
    first: Path, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="expected one cascade in each of fold-1 to fold-5, found other in fold-1"):
        cascade.Model.load(tmp_path)
    for k in range(5):
        network = cascade.recipe.build(TINY, TINY.widths)
        torch.manual_seed(k)
        torch.nn.init.normal_(network.head.weight, std=0.3)
        path = tmp_path / f"fold-{k + 1}" / "cascade.small.safetensors"
        path.parent.mkdir()
        Trained(TINY, network, first).save(path, {"licence": "none"})
    voting = cascade.Model.load(tmp_path)
    found = voting.predict(cases[0].study)[Role.LGE].voxels
    image = cases[0].study.series[0].image
    alone = [model.predict(cases[0].study)[Role.LGE].voxels for model in voting.models]
    codes = np.array(voting.classes)[:, None, None, None, None]
    votes = (np.stack(alone)[None] == codes).sum(1)
    clear = np.sort(votes, 0)[-1] > np.sort(votes, 0)[-2]
    winner = voting.draw(np.moveaxis(votes / 5, 0, 1), image.voxel_ml)
    assert (found == winner)[clear].mean() > 0.999
    assert any((found != one).any() for one in alone)
    monkeypatch.setattr(evaluation, "phantoms", lambda count, _: cases[: min(count, 2)])
    rows = evaluation.together(voting.models, tmp_path / "samples.svg")
    assert [row["how"] for row in rows] == ["one by one", "mean of probabilities", "majority vote"]
    assert [row["myocardium"]["n"] for row in rows] == [10, 2, 2]
    assert "true" in (tmp_path / "samples.svg").read_text() or (tmp_path / "samples.svg").stat().st_size > 1000


def test_published_trains_its_own_first_stage(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cascade.published", "cascade.published-2d"):
        small = dataclasses.replace(RECIPES[name], widths=(4, 8, 8), crop=32, view=64, batch=2)
        monkeypatch.setitem(RECIPES, name, small)
    path = cascade_train.train_fold("cascade.published", cases, 0, Budget(steps=1), tmp_path, None, "cpu")
    assert len(list(tmp_path.glob("published-2d/fold-*/cascade.published-2d.safetensors"))) == 5
    model = CascadeModel.load(path)
    assert model.first.name == "cascade.published-2d"
    monkeypatch.setattr(crossval, "read_cases", lambda _: cases)
    page = evaluation.evaluate("cascade", [Path("emidec")], tmp_path, Budget(steps=1), 1, None, "cpu", published=True)
    assert "`myoscope evaluate cascade --variant published --data emidec -o RUNS`" in page
    assert "## cascade.published" in page and "## cascade.small" not in page
    assert "a canvas of 256 pixels of 1.4 mm" in page and "Adam's rate falls from 1e-2" in page
    found = model.predict(cases[0].study)[Role.LGE]
    assert found.voxels.shape == cases[0].study.series[0].image.voxels.shape


def test_out_of_fold_priors_are_by_models_that_have_not_seen_the_case(
    cases: list[Case], firsts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(_recipe: object, model: Path, series: object) -> torch.Tensor:
        fold = int(model.parent.name.removeprefix("fold-")) - 1
        asked.append((fold, next(case.id for case in cases if series is case.study.series[0])))
        return torch.zeros(1, 4, 2, 2, dtype=torch.uint8)

    monkeypatch.setattr(SliceModel, "load", lambda path: path)
    monkeypatch.setattr(cascade_train, "prior_on_canvas", note)
    cascade_train.out_of_fold(TINY, cases, firsts, tmp_path)
    folds = dict(zip([case.id for case in cases], crossval.fold_of(cases), strict=True))
    assert sorted(asked) == sorted((folds[case.id], case.id) for case in cases)


def test_first_stage_of_other_folds_is_refused(cases: list[Case], firsts: Path) -> None:
    (firsts / "fold-2" / "scores.json").write_text('[{"case": "someone else"}]')
    with pytest.raises(InputError, match="among the cases of this fold"):
        cascade_train.check_firsts(TINY, cases, firsts)
    (firsts / "fold-3" / "compact-lge.safetensors").unlink()
    with pytest.raises(InputError, match=r"fold-3.*expected 5 fold models"):
        cascade_train.check_firsts(TINY, cases, firsts)
