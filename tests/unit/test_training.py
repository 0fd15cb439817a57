import dataclasses
import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import TverskyLoss

from myoscope.errors import InputError
from myoscope.lab.augment import Strength, batch, smooth
from myoscope.lab.loop import Budget, Optimisation, progress_of, train
from myoscope.lab.slices import CANVAS, collect, normalise, resample_labels
from myoscope.labels import Structure
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.systems.compact.training import _tversky
from myoscope.volume import Volume, plain_affine

CLASSES = (Structure.BACKGROUND, Structure.LV, Structure.MYOCARDIUM, Structure.RV)


@pytest.fixture
def case() -> Case:
    """Discs: the image's brightness is the label."""
    y, x = np.mgrid[:100, :90]
    radius = np.hypot(y - 40, x - 50)
    labels = np.where(radius < 12, Structure.LV, np.where(radius < 20, Structure.MYOCARDIUM, 0)).astype(np.uint8)
    labels = np.stack([labels] * 3)
    image = Volume(np.choose(labels, [0.0, 200.0, 100.0]).astype(np.float32), plain_affine((10, 1.5, 1.5)))
    image.voxels[:, 0, 0] = -1
    study = Study("discs", Patient(), (Series(Role.CINE, "discs", image),))
    return Case(study, {Role.CINE: image.with_voxels(labels)}, drawn_as={Structure.RV: Structure.BACKGROUND})


def test_image_and_labels_move_together(case: Case) -> None:
    slices = collect([(case, 1.0)], (Role.CINE,), CLASSES, {}, 1.5)
    still = Strength(gamma=0, contrast=0, noise=0, shading=0, elastic_mm=6)
    images, labels, _ = batch(slices, 32, 64, 1.5, still, seed=3)
    sharp = (images[:, 1] - images[:, 1].round(decimals=1)).abs() < 0.02
    bright = images[:, 1] > 0.9
    assert bright.sum() > 500
    assert ((labels == 1) & bright & sharp).sum() > 0.97 * (bright & sharp).sum()


def test_batches_repeat_with_their_seed(case: Case) -> None:
    slices = collect([(case, 1.0)], (Role.CINE,), CLASSES, {}, 1.5)
    first, again, other = (batch(slices, 4, 64, 1.5, Strength(), seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_neighbours_stay_within_a_stack(case: Case) -> None:
    slices = collect([(case, 1.0), (case, 2.0)], (Role.CINE,), CLASSES, {}, 1.5)
    assert slices.neighbours.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2], [3, 3, 4], [3, 4, 5], [4, 5, 5]]
    assert slices.weights.tolist() == [1, 1, 1, 2, 2, 2]


def test_undrawn_classes_are_merged(case: Case) -> None:
    merge = collect([(case, 1.0)], (Role.CINE,), CLASSES, {}, 1.5).merges[0]
    shares = merge @ torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert shares.tolist() == pytest.approx([0.5, 0.2, 0.3, 0.0])


def test_resampled_labels_keep_their_area() -> None:
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, 10:40, 20:50] = 2
    finer = resample_labels(labels, (1.0, 1.0), 0.5)
    assert finer.shape == (1, 128, 128)
    assert int((finer == 2).sum()) == 4 * 900


def test_normalise_ignores_padding() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.uniform(100, 200, (1, 40, 40)).astype(np.float32))
    padded = torch.zeros((1, 100, 100))
    padded[:, 30:70, 30:70] = image
    assert torch.allclose(normalise(padded)[:, 30:70, 30:70], normalise(image), atol=0.02)
    assert not normalise(torch.full((2, 8, 8), 5.0)).any()


def test_canvas_is_cropped_and_padded(case: Case) -> None:
    slices = collect([(case, 1.0)], (Role.CINE,), CLASSES, {}, 0.25)
    assert slices.images.shape == (3, CANVAS, CANVAS)


def _run(folder: Path, kill_at: int | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 1, 3))

    def loss_of(net: torch.nn.Module, step: int) -> torch.Tensor:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        x = torch.randn((2, 1, 8, 8), generator=torch.Generator().manual_seed(step))
        return (net(x) - 1).square().mean()

    optimisation = Optimisation(checkpoint_seconds=0)
    return train(network, loss_of, Budget(steps=120), folder, optimisation, "test").state_dict()


def test_killed_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole")
    child = subprocess.run(
        [sys.executable, "-c", _KILLED.format(file=__file__, folder=str(tmp_path / "killed"))], check=False
    )
    assert child.returncode == -signal.SIGKILL
    resumed = _run(tmp_path / "killed")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    curves = [(tmp_path / name / "curve.csv").read_text().splitlines() for name in ("whole", "killed")]
    assert [row.split(",")[0] for row in curves[1]] == [row.split(",")[0] for row in curves[0]]
    assert (tmp_path / "killed" / "curve.png").stat().st_size > 1000


_KILLED = """
import runpy, pathlib
runpy.run_path({file!r})["_run"](pathlib.Path({folder!r}), kill_at=77)
"""


def test_longer_budget_goes_on_from_where_the_rate_was_held(tmp_path: Path) -> None:
    def loss_of(network: torch.nn.Module, step: int) -> torch.Tensor:
        return (network(torch.full((1, 3), step / 100)) - 1).square().mean()

    for steps in (100, 200):
        train(torch.nn.Linear(3, 1), loss_of, Budget(steps=steps), tmp_path, Optimisation(hold=0.6), "held")
        assert progress_of(tmp_path, "held.safetensors")[0] == 0.6 * steps
    rows = [row.split(",") for row in (tmp_path / "curve.csv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["50", "100", "150", "200"]
    assert [float(row[3]) for row in rows[:2]] == [0.002, 0.002]  # step 100 was made anew, at the full rate
    assert float(rows[3][3]) < 1e-5


def test_control_points_are_interpolated_as_pytorch_does() -> None:
    points = torch.randn((2, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(points, (40, 40), mode="bicubic", align_corners=True)
    assert torch.allclose(smooth(points, 40), expected, atol=1e-5)


def test_tversky_is_monais() -> None:
    rng = torch.Generator().manual_seed(0)
    shares = torch.randn((2, 4, 9, 9), generator=rng).softmax(1)
    labels = torch.randint(4, (2, 9, 9), generator=rng)
    truth = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)
    for missed in (0.5, 0.7):
        monais = TverskyLoss(include_background=False, batch=True, alpha=1 - missed, beta=missed)(shares, truth)
        assert torch.allclose(_tversky(shares, labels, missed), monais, atol=1e-6)


def test_a_run_that_is_spoiled_stops(tmp_path: Path) -> None:
    def loss_of(network: torch.nn.Module, step: int) -> torch.Tensor:
        return network(torch.ones(1, 1)).square().mean() / (step < 3)

    with pytest.raises(InputError, match=r"finite loss, found inf at step 3"):
        train(torch.nn.Linear(1, 1), loss_of, Budget(steps=9), tmp_path, Optimisation(), "spoiled")


def test_budget_is_one_of_three() -> None:
    for bad in ({}, {"minutes": 1, "steps": 1}, {"minutes": -1}, {"steps": 0}, {"steps": 1, "epochs": 1}):
        with pytest.raises(InputError):
            Budget(**bad)
    assert Budget(minutes=2).spent(5, 60) == 0.5
    assert dataclasses.replace(Budget(steps=10), steps=20).spent(5, 60) == 0.25


def test_epochs_are_steps_once_the_data_are_known() -> None:
    assert Budget(epochs=2.5).in_steps(items=10, batch=4) == Budget(steps=8)
    assert Budget(minutes=3).in_steps(items=10, batch=4) == Budget(minutes=3)
    with pytest.raises(InputError, match="expected minutes or steps"):
        Budget(epochs=1).spent(1, 1.0)


@pytest.mark.parametrize("fall", [0.0, 0.9])
def test_plain_is_adam_to_the_letter(fall: float, tmp_path: Path) -> None:
    """Against a loop of six lines: L2 decay, the rate, steep gradients unclipped, the last weights."""
    data = torch.arange(6.0).reshape(3, 2) * 100

    def loss_of(network: torch.nn.Module, step: int) -> torch.Tensor:
        return network(data[step % 3]).square().sum()

    torch.manual_seed(0)
    by_hand = torch.nn.Linear(2, 1)
    ours = deepcopy(by_hand)
    optimiser = torch.optim.Adam(by_hand.parameters(), 0.1, weight_decay=0.5)
    for step in range(7):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 7) ** fall
        optimiser.zero_grad()
        loss_of(by_hand, step).backward()
        optimiser.step()
    settings = Optimisation(0.1, weight_decay=0.5, plain=True, fall=fall)
    found = train(ours, loss_of, Budget(steps=7), tmp_path, settings, "plain")
    assert torch.allclose(found.weight, by_hand.weight, atol=1e-6)
    assert torch.allclose(found.bias, by_hand.bias, atol=1e-6)
