"""How sure a segmentation is, from the network to the report."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from myoscope.lab.confidence import cross_fit, fit
from myoscope.labels import Structure
from myoscope.measure.quality import confidence_flags
from myoscope.prediction import Prediction
from myoscope.segment.confidence import calibrate
from myoscope.systems.compact.confidence import Familiar, heart_features
from myoscope.volume import Volume, plain_affine


def test_far_features_are_far() -> None:
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn((6, 6), generator=rng)
    usual = torch.randn((500, 6), generator=rng) @ mixing + 3
    familiar = Familiar.fit(usual)
    assert float(familiar.distance(usual).mean()) == pytest.approx(1, abs=0.1)
    assert (familiar.distance(usual + 10 * mixing[0]) > familiar.distance(usual).max()).float().mean() > 0.9


def test_heart_features_leave_out_what_is_no_heart() -> None:
    deep = torch.zeros((2, 3, 2, 2))
    deep[0, :, 0, 0], deep[0, :, 1, 1] = 5, 100
    heart = torch.zeros((2, 8, 8), dtype=torch.bool)
    heart[0, :4, :4] = True
    found = heart_features(deep, heart)
    assert found[0].tolist() == [5, 5, 5]
    assert found[1].isnan().all()


def test_calibration_finds_the_line() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.5, 0.99, 200)
    rows = np.column_stack([np.arange(200) % 5, raw, [calibrate(p, (-0.5, 0.6)) for p in raw]])
    assert fit(rows) == pytest.approx((-0.5, 0.6), abs=0.1)
    assert np.abs(cross_fit(rows) - rows[:, 2]).max() < 0.03


def _prediction(far: list[float], right: dict[Structure, float]) -> Prediction:
    labels = np.zeros((4, 8, 8), np.uint8)
    for z in range(4):
        labels[z, : z + 2, :3] = Structure.MYOCARDIUM  # the base is the last slice
    volume = Volume(labels, plain_affine((10, 1, 1)))
    return Prediction(volume, right, np.array([far]), right, unusual_distance=2.0)


def test_flags_say_what_is_unsure_and_unlike_training() -> None:
    assert confidence_flags("lge", _prediction([1, 1, 1, np.nan], {Structure.LV: 0.95})) == []
    (unsure,) = confidence_flags("lge", _prediction([1, 1, 1, 1], {Structure.INFARCT: 0.31}))
    assert (unsure.code, unsure.level) == ("unsure_infarct", "warning")
    assert "31 %" in unsure.message
    (some,) = confidence_flags("lge", _prediction([1, 1, 1, 3], {}))
    assert (some.code, some.level) == ("unusual_slices", "info")
    assert "slice 1, counted from the base" in some.message
    (most,) = confidence_flags("lge", _prediction([3, np.nan, np.nan, 1], {}))
    assert (most.code, most.level) == ("unusual_series", "warning")


def test_fitting_without_data_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "myoscope.lab.confidence", "compact-lge", "--data", str(tmp_path / "none")]
    command += ["--runs", str(tmp_path), "--page", str(tmp_path / "page.md")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "expected a folder with cases" in found.stderr
    assert not (tmp_path / "page.md").exists()
