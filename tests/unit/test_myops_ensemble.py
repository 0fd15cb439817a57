"""The MyoPS ensemble: encoder and decoder, the torchvision shim, three networks, and their way from train to load."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from myoscope.datasets.myops import ROLES as MYOPS_ROLES
from myoscope.errors import InputError
from myoscope.lab import torchvision_shim
from myoscope.lab.loop import Budget
from myoscope.labels import Structure
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.systems import full_name, system_module
from myoscope.systems.myops_ensemble.blocks import PLAIN, decode, decode_plain, encode, masks_of, tidy
from myoscope.systems.myops_ensemble.model import Model, back, centred, percentile_normalise, prepare
from myoscope.systems.myops_ensemble.network import build
from myoscope.systems.myops_ensemble.recipe import RECIPES, members
from myoscope.systems.myops_ensemble.training import augmented, train
from myoscope.volume import Volume, plain_affine

CODES = (0, 1, 2, 3, 5, 6)
"""MyoPS draws no no-reflow apart."""


def _has_torchvision() -> bool:
    return importlib.util.find_spec("torchvision") is not None


labels_strategy = arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
                         elements=st.sampled_from(CODES))  # fmt: skip


@given(labels_strategy)
@settings(max_examples=60, deadline=None)
def test_decoding_undoes_encoding(labels: np.ndarray) -> None:
    assert (decode(encode(labels)) == labels).all()
    assert (decode_plain(masks_of(labels, PLAIN)) == labels).all()


def test_targets_are_nested() -> None:
    lvbp, _, epicardium, mems, scar = encode(np.array(CODES, np.uint8))
    assert not (scar & ~mems).any() and not (mems & ~epicardium).any() and not (lvbp & ~epicardium).any()


def test_the_decoder_keeps_scar_inside_the_wall() -> None:
    masks = np.zeros((5, 1, 4), bool)
    masks[0, 0, 0] = True  # cavity
    masks[2, 0, :3] = True  # epicardium
    masks[3] = masks[4] = True  # edema and scar everywhere
    assert decode(masks).tolist() == [[Structure.LV, Structure.INFARCT, Structure.INFARCT, Structure.BACKGROUND]]


def test_the_largest_piece_is_kept_and_filled() -> None:
    mask = np.zeros((1, 10, 10), bool)
    mask[0, 1:6, 1:6] = True
    mask[0, 3, 3] = False
    mask[0, 8, 8] = True
    expected = np.zeros((1, 10, 10), bool)
    expected[0, 1:6, 1:6] = True
    assert (tidy(mask) == expected).all()
    assert not tidy(np.zeros((2, 4, 4), bool)).any()


def test_percentiles_of_a_slice_become_0_and_1() -> None:
    slices = torch.from_numpy(np.random.default_rng(0).uniform(5, 90, (2, 40, 40)).astype(np.float32))
    scaled = percentile_normalise(slices)
    for image in scaled:
        assert torch.quantile(image, torch.tensor([0.05, 0.95])).tolist() == pytest.approx([0, 1], abs=1e-5)
    assert not percentile_normalise(torch.full((1, 5, 5), 3.0)).any()


def test_warped_labels_keep_their_codes_and_follow_the_image() -> None:
    codes = torch.zeros((6, 64, 64), dtype=torch.uint8)
    codes[:, 10:30, 20:50] = 5
    codes[:, 30:50, 20:50] = 3
    images = codes[:, None].float()
    recipe = dataclasses.replace(RECIPES["myops-ensemble.small"], warp_pixels=5.0, rotated=0.5)
    pixels, drawn = augmented(images, codes, recipe, torch.Generator().manual_seed(1))
    assert set(drawn.unique().tolist()) == {0, 3, 5}
    assert (pixels[:, 0].round() == drawn).float().mean() > 0.93
    assert (drawn != codes).any(2).any(1).all()
    whole = augmented(images, codes, dataclasses.replace(recipe, warp_pixels=0, rotated=0), torch.Generator())
    assert torch.equal(whole[1], codes)


@pytest.mark.parametrize(("variant", "after"), [("published", True), ("small", False)])
def test_published_normalises_after_it_has_warped(variant: str, after: bool) -> None:
    recipe = dataclasses.replace(RECIPES[f"myops-ensemble.{variant}"], warp_pixels=12.0, rotated=0.0)
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    images = percentile_normalise(torch.stack([y * x, y + x]))[None]
    pixels, _ = augmented(images, torch.zeros(1, 64, 64, dtype=torch.uint8), recipe, torch.Generator().manual_seed(1))
    found = torch.quantile(pixels.flatten(2), torch.tensor([0.05, 0.95]), dim=2)
    assert torch.allclose(found, torch.tensor([0.0, 1.0])[:, None, None], atol=1e-5) == after


@pytest.mark.parametrize("size", [(300, 200), (101, 256), (128, 128), (33, 401)])
def test_the_centre_crop_is_undone(size: tuple[int, int]) -> None:
    slices = torch.rand((2, *size))
    again = centred(centred(slices, (128, 128)), size)
    inside = again != 0
    assert torch.equal(again[inside], slices[inside])
    assert inside.sum() == 2 * min(size[0], 128) * min(size[1], 128)


def test_probabilities_return_to_where_the_image_was() -> None:
    image = np.zeros((1, 150, 170), np.float32)
    image[0, 60:80, 90:120] = 100
    grid = Volume(image, plain_affine((10, 1.0, 1.2)))
    recipe = RECIPES["myops-ensemble.small"]
    stack = prepare([image + np.random.default_rng(0).uniform(0, 1, image.shape).astype(np.float32)], grid, recipe)
    bright = (stack > stack.amax() / 2).float()
    found = back(bright, grid, recipe)[0, 0].numpy() > 0.5
    truth = image[0] > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


def reference_roi_align(image: np.ndarray, box: list[float], scale: float, bins: int, ratio: int, aligned: bool):
    """One box, sample by sample, after torchvision's C++ code."""
    height, width = image.shape
    offset = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (b * scale - offset for b in box)
    w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
    nx, ny = (ratio, ratio) if ratio > 0 else (int(np.ceil(w / bins)), int(np.ceil(h / bins)))
    result = np.zeros((bins, bins))
    for i in range(bins):
        for j in range(bins):
            for a in range(ny):
                for b in range(nx):
                    y, x = y1 + h / bins * (i + (a + 0.5) / ny), x1 + w / bins * (j + (b + 0.5) / nx)
                    if y < -1 or y > height or x < -1 or x > width:
                        continue
                    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                    yl, xl = min(int(y), height - 2), min(int(x), width - 2)
                    fy, fx = y - yl, x - xl
                    part = image[yl : yl + 2, xl : xl + 2]
                    result[i, j] += (np.array([1 - fy, fy]) @ part @ np.array([1 - fx, fx])) / (nx * ny)
    return result


@pytest.mark.parametrize("ratio", [2, -1])
@pytest.mark.parametrize("aligned", [False, True])
def test_roi_align_is_the_compiled_one(ratio: int, aligned: bool) -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(2, 1, 13, 17)))
    boxes = [[2.0, 3.0, 20.0, 19.0], [-9.0, -7.0, 12.0, 40.0], [5.0, 5.0, 5.2, 5.1], [30.0, 20.0, 60.0, 50.0]]
    rois = torch.tensor([[i % 2, *box] for i, box in enumerate(boxes)], dtype=torch.float64)
    images.requires_grad_()
    found = torchvision_shim.roi_align(images, rois, 0.5, 3, 3, ratio, aligned)
    for i, box in enumerate(boxes):
        expected = reference_roi_align(images[i % 2, 0].numpy(force=True), box, 0.5, 3, ratio, aligned)
        assert found[i, 0].numpy(force=True) == pytest.approx(expected, abs=1e-9)
    assert torch.autograd.gradcheck(
        lambda x: torchvision_shim.roi_align(x, rois[:2], 0.5, 2, 2, ratio, aligned), images, atol=1e-6
    )


def test_nms_keeps_the_best_of_what_overlaps() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 9.0]])
    scores = torch.tensor([0.8, 0.9, 0.3, 0.7])
    assert torchvision_shim.nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert torchvision_shim.nms(boxes, scores, 0.95).tolist() == [1, 0, 3, 2]
    assert torchvision_shim.nms(boxes[:0], scores[:0], 0.5).tolist() == []


def test_torchvision_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_shim.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"myoscope\[ensemble\]"):
        torchvision_shim.torchvision_ready.__wrapped__()


@pytest.mark.skipif(not _has_torchvision(), reason="torchvision is not installed: pip install 'myoscope[ensemble]'")
def test_mask_rcnn_learns_and_predicts_here() -> None:
    from myoscope.systems.myops_ensemble.network import build, instances, probabilities

    torch.manual_seed(0)
    network = build("maskrcnn", 2, 1, 64, small=True)
    images, masks = torch.zeros((2, 2, 64, 64)), torch.zeros((2, 1, 64, 64))
    masks[0, 0, 20:44, 12:40] = 1
    images[:, :1] = masks
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        loss = sum(network(list(images), [instances(m) for m in masks]).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    network.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        found = probabilities(network.eval(), images, 1)
    assert found.shape == (2, 1, 64, 64)
    assert 0 < found.max() <= 1


def test_connected_pieces_are_objects() -> None:
    from myoscope.systems.myops_ensemble.network import instances

    masks = torch.zeros((2, 20, 20))
    masks[0, 2:5, 3:9] = masks[0, 10:12, 10:12] = masks[1, 1:3, 1:3] = 1
    found = instances(masks)
    assert found["boxes"].tolist() == [[3, 2, 9, 5], [10, 10, 12, 12], [1, 1, 3, 3]]
    assert found["labels"].tolist() == [1, 1, 2]
    assert found["masks"].sum((1, 2)).tolist() == [18, 4, 4]
    assert instances(torch.zeros((1, 5, 5)))["boxes"].shape == (0, 4)


def myops_case() -> Case:
    rng = np.random.default_rng(0)
    codes = np.zeros((2, 100, 90), np.uint8)
    codes[:, 30:60, 30:60], codes[:, 38:52, 38:52], codes[:, 30:38, 40:50] = 2, 1, 3
    grid = plain_affine((10, 1.2, 1.2))
    series, labels = [], {}
    for role in dict.fromkeys(MYOPS_ROLES.values()):
        image = Volume((codes * 20 + rng.uniform(0, 5, codes.shape)).astype(np.float32), grid)
        series.append(Series(role, str(role), image))
        labels[role] = image.with_voxels(codes)
    return Case(Study("case", Patient(), tuple(series)), labels)


@pytest.mark.skipif(not _has_torchvision(), reason="torchvision is not installed: pip install 'myoscope[ensemble]'")
@pytest.mark.parametrize("variant", ["small", "small-direct"])
def test_trains_predicts_saves_and_loads(variant: str, tmp_path: Path) -> None:
    case = myops_case()
    recipe = RECIPES[full_name("myops-ensemble", variant)]
    model = train(recipe, [case], Budget(steps=1), tmp_path)
    assert [found["steps"] for found in model.trained.values()] == [1] * len(members(recipe))
    model.save(tmp_path / "w.safetensors", {"system": recipe.name, "licence": "none"})
    assert (tmp_path / "w.safetensors").stat().st_size < 16 * 2**20
    loaded = Model.load(tmp_path / "w.safetensors")
    first, again = model.predict(case.study), loaded.predict(case.study)
    assert list(first) == [Role.LGE]
    assert first[Role.LGE].same_grid(case.study.get(Role.LGE).image)
    assert first[Role.LGE].voxels.dtype == np.uint8
    assert (first[Role.LGE].voxels == again[Role.LGE].voxels).mean() > 0.99


def test_a_missing_sequence_is_named(tmp_path: Path) -> None:
    case = myops_case()
    study = dataclasses.replace(case.study, series=case.study.series[:1])
    with pytest.raises(InputError, match="no lge and no t2"):
        Model(RECIPES["myops-ensemble.small"], {}).predict(study)
    with pytest.raises(InputError, match="found none"):
        train(RECIPES["myops-ensemble.small"], [], Budget(steps=1), tmp_path)


def test_the_published_recipe_is_the_papers() -> None:
    recipe = RECIPES["myops-ensemble.published"]
    assert full_name("myops-ensemble", None) == "myops-ensemble.small-both"
    assert [(kind, block.name) for _, kind, block in members(recipe)] == [
        ("unet", "lvbp"), ("unet", "rvbp"), ("unet", "epicardium"),
        ("unet", "lvmems"), ("unetpp", "lvmems"), ("maskrcnn", "lvmems"),
        ("unet", "lvms"), ("unetpp", "lvms"), ("maskrcnn", "lvms"),
    ]  # fmt: skip
    inputs = {block.name: block.roles for block in recipe.blocks}
    assert inputs["lvmems"] == (Role.LGE,) and inputs["lvms"] == (Role.T2,)
    assert (recipe.side, recipe.batch["unet"], recipe.batch["maskrcnn"]) == (256, 8, 2)
    assert recipe.learning_rate == {"unet": 1e-5, "unetpp": 1e-5, "maskrcnn": 1e-3}
    assert {name.partition(".")[0] for name in RECIPES} == {"myops-ensemble"}
    assert system_module("myops-ensemble").RECIPES is RECIPES


def test_the_published_unet_is_figure_2() -> None:
    """Eight 3x3 convolutions and a 1x1, of these channels, and no other weights; levels down to an eighth."""
    network = build("unet", 1, 1, side=256, small=False)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16, 16, 32, 64, 128, 64, 32, 16, 1]
    assert [m.kernel_size for m in convolutions] == [(3, 3)] * 8 + [(1, 1)]
    inside = sum(p.numel() for m in convolutions for p in m.parameters())
    assert sum(p.numel() for p in network.parameters()) == inside
    sides: list[int] = []
    for m in convolutions:
        m.register_forward_hook(lambda _, __, found: sides.append(found.shape[-1]))
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 1, 64, 64)
    assert sides == [64, 64, 32, 16, 8, 16, 32, 64, 64]


def test_an_epoch_of_the_paper_is_forty_copies_of_every_slice() -> None:
    """Of 102 slices 4,080; in batches of eight 510 steps."""
    assert Budget(epochs=1).in_steps(102 * RECIPES["myops-ensemble.published"].copies, 8) == Budget(steps=510)
