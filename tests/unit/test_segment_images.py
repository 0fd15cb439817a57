"""The clinic's numpy against torch, with which the networks were trained."""

import numpy as np
import pytest

from myoscope.segment.images import normalise, resample_slices, resize, softmax

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
SIZES = [(256, 216), (208, 208), (144, 161), (97, 300), (33, 20), (5, 7), (1, 40)]


def interpolated(slices: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    found = torch.nn.functional.interpolate(
        torch.from_numpy(slices)[:, None], size, mode="bilinear", antialias=antialias, align_corners=False
    )
    return found[:, 0].numpy()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("before", SIZES)
@pytest.mark.parametrize("after", SIZES)
def test_resizing_is_torchs(before: tuple[int, int], after: tuple[int, int], antialias: bool) -> None:
    slices = RNG.random((3, *before), np.float32)
    ours, theirs = resize(slices, after, antialias), interpolated(slices, after, antialias)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)  # of white noise: torch rounds its positions to float32
    assert np.abs(ours - theirs).mean() < 1e-6


@pytest.mark.parametrize("spacing_mm", [(0.7, 0.7), (1.25, 1.25), (1.37, 1.37), (2.1, 1.9), (1.5625, 1.5625)])
def test_the_size_follows_from_the_spacing(spacing_mm: tuple[float, float]) -> None:
    slices = RNG.random((2, 120, 131), np.float32)
    size = tuple(round(n * mm / 1.4) for n, mm in zip((120, 131), spacing_mm, strict=True))
    assert resample_slices(slices, spacing_mm, 1.4).shape[1:] == size
    np.testing.assert_allclose(resample_slices(slices, spacing_mm, 1.4), interpolated(slices, size, True), atol=1e-5)


def test_normalising_leaves_padding_out_and_a_constant_slice_is_nothing() -> None:
    image = RNG.normal(500, 100, (2, 80, 90)).astype(np.int16)
    image[:, :, :30] = -7
    image[1] = 3
    inside = image[0][:, 30:]
    low, high = np.percentile(inside.astype(np.float32), (0.5, 99.5))
    found = normalise(image)
    np.testing.assert_allclose(found[0][:, 30:], ((inside - low) / (high - low)).clip(0, 1), atol=1e-5)
    assert not found[0][:, :30].any()
    assert not found[1].any()
    assert found.dtype == np.float32


def test_softmax_is_torchs() -> None:
    logits = RNG.normal(0, 20, (2, 5, 9, 8)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), torch.from_numpy(logits).softmax(1).numpy(), atol=1e-6)
