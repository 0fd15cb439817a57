"""jdl: which loss reaches which network, what it makes of odd input, its folds and its page; on phantoms."""

import dataclasses
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.errors import InputError
from myoscope.lab import augment, crossval
from myoscope.lab.folds import fold_of
from myoscope.lab.loop import Budget
from myoscope.lab.slices import CANVAS
from myoscope.lab.torchvision_shim import torchvision_ready
from myoscope.lab.unet import UNet
from myoscope.labels import Structure
from myoscope.study import Case, Role
from myoscope.systems import full_name, jdl
from myoscope.systems.jdl import evaluation, transunet
from myoscope.systems.jdl.model import in_squares, labels_of
from myoscope.systems.jdl.network import METHODS, Method, WallAndScar
from myoscope.systems.jdl.recipe import RECIPES
from myoscope.systems.jdl.training import mask_loss
from myoscope.systems.jdl.transunet import SmallTransUNet
from myoscope.volume import Volume, plain_affine

TINY = {"widths": (4, 8), "crop": 32, "batch": 2, "start_from": None}
WIDTHS = (4, 8, 16)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Two phantoms, five times each under other names."""
    two = [_cropped(draw(sample(seed, TRAINING, group), (Role.LGE,))) for seed, group in enumerate(("MINF", "NOR"))]
    groups, found = ("pathological", "normal"), []
    for i in range(10):
        case = two[i % 2]
        study = dataclasses.replace(case.study, id=f"case-{i}")
        found.append(dataclasses.replace(case, study=study, scan=study.id, group=groups[i % 2], data_set="phantoms"))
    return found


def _cropped(case: Case) -> Case:
    """Three slices of a case around the heart, at half the resolution: little to compute."""
    series, labels = case.study.series[0], case.labels[Role.LGE]
    z, y, x = (int(c) for c in np.argwhere(labels.frames[0] > 0).mean(0))
    window = (slice(z - 1, z + 2), slice(max(0, y - 44), y + 44, 2), slice(max(0, x - 44), x + 44, 2))
    image, codes = (
        Volume(v.frames[0][window].copy(), v.affine @ np.diag([2.0, 2, 1, 1])) for v in (series.image, labels)
    )
    study = dataclasses.replace(case.study, series=(dataclasses.replace(series, image=image),))
    return dataclasses.replace(case, study=study, labels={Role.LGE: codes})


def _networks(method: Method) -> WallAndScar:
    torch.manual_seed(0)
    return WallAndScar(method, lambda: SmallTransUNet(3, 1, WIDTHS, 32, 0.0))


@pytest.mark.parametrize("method", ["joint", "two-step"])
def test_scar_loss_reaches_the_wall_network_in_joint_only(method: Method) -> None:
    networks = _networks(method)
    images, drawn = torch.rand(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float()
    wall, scar = networks(images, drawn)
    mask_loss(scar, drawn, 1.0).backward(retain_graph=True)
    reached = [p.grad is not None and bool(p.grad.any()) for p in networks.wall.parameters()]
    assert any(reached) if method == "joint" else not any(reached)
    assert networks.scar.head.weight.grad.any()
    networks.zero_grad()
    mask_loss(wall, drawn, 1.0).backward()
    assert networks.wall.head.weight.grad.any()
    assert all(p.grad is None or not p.grad.any() for p in networks.scar.parameters())


def test_two_step_sees_the_drawn_wall_in_training_and_the_found_one_afterwards() -> None:
    networks = _networks("two-step").eval()
    images, drawn = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    drawn[..., 8:20, 8:20] = 1
    wall, taught = networks(images, drawn)
    assert torch.equal(taught, networks.scar(images * drawn))
    assert torch.equal(networks(images)[1], networks.scar(images * (wall > 0)))


def test_multitask_shares_its_encoder() -> None:
    networks = _networks("multitask")
    assert not hasattr(networks.scar, "encoder")
    assert not hasattr(networks.scar, "attention")
    wall, scar = networks(torch.rand(1, 3, 32, 32))
    mask_loss(scar, torch.ones_like(scar), 1.0).backward()
    assert networks.wall.encoder[0][0].weight.grad.any()
    assert networks.wall.head.weight.grad is None
    assert wall.shape == scar.shape == (1, 1, 32, 32)


def test_loss_falls_as_dice_rises() -> None:
    truth = torch.zeros(1, 1, 8, 8)
    truth[..., :4] = 1
    right, wrong = (truth * 2 - 1) * 8, (1 - truth * 2) * 8
    dice_term = [float(mask_loss(x, truth, 1.0) - mask_loss(x, truth, 0.0)) for x in (right, wrong)]
    assert dice_term[0] == pytest.approx(0, abs=1e-3)
    assert dice_term[1] == pytest.approx(1, abs=1e-3)
    empty = mask_loss(torch.full((1, 1, 8, 8), -40.0), torch.zeros(1, 1, 8, 8), 1.0)
    assert empty == pytest.approx(0, abs=1e-3)


def test_an_untrained_transformer_leaves_the_unet_as_it_is() -> None:
    torch.manual_seed(0)
    plain, hybrid = UNet(3, 1, WIDTHS).eval(), SmallTransUNet(3, 1, WIDTHS, 32, 0.1).eval()
    missing = hybrid.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert all(name.startswith("attention.") for name in missing)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(plain(x), hybrid(x))


def test_the_published_decoder_is_transunets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One convolution on the transformer's features, two a level of 256, 128, 64, 16; norm and ReLU behind each."""
    encoder = SimpleNamespace(patch_embed=SimpleNamespace(backbone=None))
    monkeypatch.setattr(transunet, "_hybrid", lambda *_: encoder)
    network = transunet.TransUNet(1, 32, 0.39, pretrained=False)
    sizes = ((64, 16), (256, 8), (512, 4), (768, 2))
    assert network.decode([torch.rand(2, maps, side, side) for maps, side in sizes]).shape == (2, 1, 32, 32)
    layers = [m for m in network.modules() if not list(m.children()) and not isinstance(m, torch.nn.Identity)]
    convs = [m.out_channels for m in layers if isinstance(m, torch.nn.Conv2d)]
    assert convs == [512, 256, 256, 128, 128, 64, 64, 16, 16, 1]
    assert [type(m) for m in layers[:3]] == [torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU]
    assert sum(isinstance(m, torch.nn.ReLU) for m in layers) == len(convs) - 1


def test_features_of_the_installed_network_are_a_start() -> None:
    from myoscope.systems import compact
    from myoscope.weights import weights_of

    start = compact.Trained.load(weights_of("compact-cine")).network.state_dict()
    for name in ("jdl.small-multitask", "jdl.unet-direct"):
        networks = jdl.model.build(RECIPES[name])
        own = (networks.wall or networks.scar).state_dict()
        assert all(torch.equal(own[key], start[key]) for key in start if not key.startswith("head."))


def test_the_wall_network_begins_with_the_myocardium_of_the_installed_one() -> None:
    from myoscope.systems import compact
    from myoscope.weights import weights_of

    start = compact.Trained.load(weights_of("compact-cine"))
    at = start.recipe.classes.index(Structure.MYOCARDIUM)
    x = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        logits = start.network(x)
        rest = torch.cat([logits[:, :at], logits[:, at + 1 :]], 1).mean(1)
        for method in ("joint", "multitask"):
            wall = jdl.model.build(RECIPES[f"jdl.unet-{method}"]).eval().wall(x)[:, 0]
            assert torch.allclose(wall, logits[:, at] - rest, atol=1e-3)


def test_squares_give_back_what_a_network_says_of_every_pixel() -> None:
    stack = torch.rand(2, 3, 50, 71)
    for shape in ((50, 71), (20, 33), (32, 32)):
        part = stack[..., : shape[0], : shape[1]]
        found = in_squares(lambda x: x[:, :1] * 2, part, 32)
        assert torch.allclose(found, part[:, :1] * 2, atol=1e-5)


def test_scar_outside_the_wall_does_not_count() -> None:
    wall, scar = np.array([True, True, False]), np.array([True, False, True])
    assert labels_of(wall, scar).tolist() == [Structure.INFARCT, Structure.MYOCARDIUM, Structure.BACKGROUND]
    assert labels_of(None, scar).tolist() == [Structure.INFARCT, Structure.BACKGROUND, Structure.INFARCT]


@pytest.mark.parametrize(("thickness_mm", "enough"), [(500.0, True), (499.0, False)])
def test_less_is_asked_of_the_wall_where_there_is_scar(
    thickness_mm: float, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = torch.tensor([0.9, 0.4, 0.4, 0.1, 0.6])
    scar = torch.tensor([0.4, 0.4, 0.2, 0.9, 0.4])
    model = jdl.Model(RECIPES["jdl.unet-direct"], torch.nn.Identity())  # type: ignore[arg-type]
    monkeypatch.setattr(jdl.Model, "probabilities", lambda *_: torch.stack([wall, scar])[None, :, None])
    grid = Volume(np.zeros((1, 1, 5), np.float32), plain_affine((thickness_mm, 1.0, 1.0)))
    found, diseased = model.masks(grid.voxels, grid)
    assert found is not None
    assert found[0, 0].tolist() == [True, True, False, False, False]  # the last one touches no other
    assert diseased[0, 0].tolist() == [enough and x for x in (True, True, False, True, True)]


@pytest.mark.parametrize("shape", [(1, 7, 9), (2, 3, 40, 33), (3, 90, 21)])
@pytest.mark.parametrize("method", METHODS)
def test_odd_images_are_segmented_on_their_grid(method: Method, shape: tuple[int, ...], cases: list[Case]) -> None:
    recipe = dataclasses.replace(RECIPES[f"jdl.small-{method}"], **TINY)
    model = jdl.Model(recipe, jdl.model.build(recipe))
    for voxels in (np.zeros(shape, np.float32), np.random.default_rng(0).normal(0, 9, shape).astype(np.float32)):
        image = Volume(voxels, plain_affine((9.0, 1.2, 0.9)))
        study = dataclasses.replace(
            cases[0].study, series=(dataclasses.replace(cases[0].study.series[0], image=image),)
        )
        labels = model.predict(study)[Role.LGE]
        assert labels.voxels.shape == shape
        assert labels.voxels.dtype == np.uint8


def test_published_changes_images_by_affine_maps_alone() -> None:
    """Scale, rotation, translation and shear, as the paper has it; our own variants have no shear."""
    images, labels = torch.rand(64, 3, CANVAS, CANVAS), torch.zeros(64, CANVAS, CANVAS, dtype=torch.uint8)
    for name, sheared in (("jdl.published-joint", True), ("jdl.unet-joint", False)):
        strength = RECIPES[name].strength
        parameters = augment.draw(torch.full((64, 2), 128.0), strength, 32, 1.5, torch.Generator().manual_seed(0))
        across = (parameters.affine[:, :, 0] * parameters.affine[:, :, 1]).sum(1).abs().max()
        assert bool(across > 1e-4) == sheared
        pixels, _ = augment.apply(parameters, images, labels, 32, torch.Generator())
        grid = torch.nn.functional.affine_grid(parameters.affine, [64, 1, 32, 32], align_corners=False)
        moved = torch.nn.functional.grid_sample(images, grid, align_corners=False)
        assert torch.allclose(pixels, moved, atol=1e-6) == sheared


def test_recipes_are_checked_and_named() -> None:
    assert full_name("jdl", None) == "jdl.unet-joint"
    assert {name.partition("-")[2] for name in RECIPES} == set(METHODS)
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    published = RECIPES["jdl.published-joint"]
    assert (published.optimisation.learning_rate, published.dropout, published.wall_weight) == (4.73e-4, 0.39, 1.02)
    assert (published.optimisation.weight_decay, published.batch, published.crop) == (5.58e-6, 40, 224)
    with pytest.raises(InputError, match="dropout"):
        dataclasses.replace(published, dropout=1.0)


def test_what_the_hub_does_not_give_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        torchvision_ready()
    except InputError as error:
        pytest.skip(str(error))
    timm = pytest.importorskip("timm", reason="needs myoscope[ensemble]")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("we could not connect\nto the hub")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(InputError, match=r"out of reach \(we could not connect\); choose"):
        jdl.model.build(RECIPES["jdl.pretrained-direct"])


def test_folds_page_and_figures(cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in METHODS:
        name = f"jdl.unet-{method}"
        monkeypatch.setitem(RECIPES, name, dataclasses.replace(RECIPES[name], **TINY | {"crop": 64}))
    monkeypatch.setattr(crossval, "read_cases", lambda _: list(cases))
    drawn: list[str] = []
    with pytest.raises(InputError, match="add --minutes"):
        evaluation.evaluate("jdl", [Path("d")], tmp_path, None, 5, None, "cpu")
    monkeypatch.setattr(evaluation, "write_phantom", lambda models, _: drawn.extend(models))
    arguments = ("jdl", [Path("data")], tmp_path, Budget(minutes=0.002), 1, None, "cpu")
    page = evaluation.evaluate(*arguments)
    assert "unet-joint: 1 of 5 folds (1)" in page
    assert "published size was not run" in page
    assert "In the paper joint is the best of the four" in page
    for method in METHODS:
        assert f"| unet-{method} | " in page
        cost = json.loads((tmp_path / f"unet-{method}" / "fold-1" / "cost.json").read_text())
        assert cost["steps"] >= 1
        assert cost["peak_mb"] is None or cost["peak_mb"] > 50
    assert "| two-step | myocardium Dice | 2 |" in page
    assert "Of 4 comparisons planned 1 are made" in page  # one patient with scar is no comparison
    assert drawn == [f"unet-{method}" for method in METHODS]
    assert {path.name for path in tmp_path.glob("jdl*")} == {"jdl-boxes.svg"}  # what the command line publishes
    assert (tmp_path / "patients.png").stat().st_size > 2000
    results = json.loads((tmp_path / "results.json").read_text())
    assert {score["region"] for score in results["scores"]} == {"myocardium", "infarction"}
    before = (tmp_path / "unet-joint" / "fold-1" / "labels.npz").stat().st_mtime_ns
    assert evaluation.evaluate(*arguments) == page  # nothing is trained or predicted again
    assert (tmp_path / "unet-joint" / "fold-1" / "labels.npz").stat().st_mtime_ns == before
    monkeypatch.setattr(evaluation, "LIMITS", (0.9, 0.9, 9.0, 0.5))
    evaluation.evaluate(*arguments)
    assert (tmp_path / "unet-joint" / "fold-1" / "labels.npz").stat().st_mtime_ns > before  # masks of other limits


def test_a_training_budget_is_processor_time(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    seen: list[Budget] = []

    def train_fold(name: str, _: object, fold: int, budget: Budget, runs: Path, device: str) -> None:  # noqa: ARG001
        seen.append(budget)
        folder = runs / "unet-joint" / "fold-1"
        folder.mkdir(parents=True)

    monkeypatch.setattr(crossval, "train_fold", train_fold)
    monkeypatch.setattr(evaluation, "progress_of", lambda _: (3, 1.5))
    evaluation._train_fold("jdl.unet-joint", cases, 0, Budget(minutes=2), tmp_path, "cpu")
    assert seen[0].clock is time.process_time


def test_a_killed_search_goes_on_with_the_trial_it_was_at(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna", reason="needs myoscope[search]")
    path = Path(__file__).parents[2] / "benchmarks" / "search.py"
    if not path.exists():
        pytest.skip("the benchmarks are not here")
    search = SimpleNamespace(**runpy.run_path(str(path)))
    recipe, seen = dataclasses.replace(RECIPES["jdl.small-joint"], **TINY), []

    def train(tried: jdl.Recipe, some: list[Case], budget: Budget, folder: Path) -> jdl.Model:
        seen.append((folder, {case.id for case in some}))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return jdl.train(tried, some, budget, folder)

    monkeypatch.setitem(search.run.__globals__, "train", train)
    with pytest.raises(KeyboardInterrupt):
        search.search(recipe, cases, tmp_path, 3, Budget(steps=1))
    study = search.search(recipe, cases, tmp_path, 3, Budget(steps=1))
    found = search.finished(study)
    assert len(found) == 3
    assert found[0].params == search.values_of(recipe)
    assert found[1].params == search.PAPER
    assert [folder for folder, _ in seen].count(seen[1][0]) == 2
    held = {case.id for case, k in zip(cases, fold_of(cases), strict=True) if k in (0, 1)}
    assert all(not held & trained for _, trained in seen)
    assert len(search.search(recipe, cases, tmp_path, 3, Budget(steps=1)).trials) == len(study.trials)
    assert search.table(study, Budget(minutes=1)).count("\n| ") == 4


def test_the_papers_reading_drops_nothing(cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 0.5 wherever it lies: a pixel of scar outside the wall counts, and one of 0.4 inside does not."""
    grid = cases[0].labels[Role.LGE]
    shares = torch.zeros(grid.frames[0].shape[0], 2, *grid.frames[0].shape[1:])
    shares[0, 0, 5:9, 5:9], shares[0, 1, 6, 6] = 0.9, 0.4
    shares[0, 0, 20, 20], shares[0, 1, 30, 30] = 0.6, 0.6
    model = SimpleNamespace(probabilities=lambda *_: shares)
    monkeypatch.setattr(evaluation, "Model", SimpleNamespace(load=lambda *_: model))
    monkeypatch.setattr(evaluation, "deal", lambda some, *_: ([], some))
    weights = tmp_path / "jdl.unet-joint.safetensors"
    weights.write_bytes(b"")
    weights.with_suffix(".json").write_text("{}")
    ((_, ours, printed),) = evaluation._unseen(cases[:1], 0, weights, "cpu")
    assert not ours[1].any()  # less than SMALLEST_ML
    assert [list(map(int, place)) for place in np.argwhere(printed[1])] == [[0, 30, 30]]
    assert printed[0] is not None and printed[0].sum() == 17 and ours[0] is not None and ours[0].sum() == 16


def test_the_papers_experiment_by_one_command(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four methods for the same epochs on the paper's share of patients, and nothing of ours on the page."""
    for method in METHODS:
        name = f"jdl.published-{method}"
        tiny = dataclasses.replace(RECIPES[name], backbone="unet", **TINY | {"crop": 64, "batch": 4})
        monkeypatch.setitem(RECIPES, name, tiny)
    monkeypatch.setattr(crossval, "read_cases", lambda _: list(cases))
    monkeypatch.setattr(evaluation, "write_phantom", lambda *_: None)
    page = evaluation.evaluate("jdl", [Path("d")], tmp_path, Budget(epochs=1), 1, None, "cpu", published=True)
    assert "`myoscope evaluate jdl --variant published --data d -o RUNS`" in page
    assert "published-joint: 1 of 6 folds (1)" in page and "unet-" not in page
    steps = {json.loads(path.read_text())["steps"] for path in tmp_path.glob("published-*/fold-1/cost.json")}
    assert len(steps) == 1 and f"seed, augmentation and {min(steps)} steps;" in page
    card = json.loads((tmp_path / "published-joint" / "fold-1" / "jdl.published-joint.json").read_text())
    assert (card["epochs"], card["minutes"], card["split"]) == (1, None, "all but fold 1 of 6")
    assert card["steps"] == steps.pop()
    for reading, beside in (("paper's", "0.891"), ("ours", "-")):
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {reading} | published-joint | ")]
        assert line.endswith(f" | {beside} |")  # the paper's myocardium, beside the mean over slices
    path = tmp_path / "published-joint" / "fold-1" / "jdl.published-joint.json"
    path.write_text(json.dumps(card | {"split": "all but fold 1 of 5"}))  # it has seen some of a sixth's patients
    with pytest.raises(InputError, match="expected a model of all but fold 1 of 6, found all but fold 1 of 5"):
        evaluation.evaluate("jdl", [Path("d")], tmp_path, None, 1, None, "cpu", published=True)
