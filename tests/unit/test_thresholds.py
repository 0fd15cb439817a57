"""Signal thresholds on rings whose brightness is known."""

import numpy as np
import pytest

from myoscope.measure.thresholds import fwhm, n_sd, otsu, remote_signal, scar_above


@pytest.fixture
def ring() -> tuple[np.ndarray, np.ndarray]:
    """A slice whose wall is 100 with a little structure, and a quarter of it 300; and the wall."""
    y, x = np.indices((41, 41)) - 20
    radius = np.hypot(y, x)
    wall = (radius > 8) & (radius < 15)
    image = 100.0 + 10 * ((x + y) % 2)
    image[(x > 0) & (y > 0)] = 300
    return image[None], wall[None]


def test_every_threshold_finds_the_bright_quarter(ring: tuple[np.ndarray, np.ndarray]) -> None:
    image, wall = ring
    truth = wall & (image == 300)
    assert 0.2 < truth.sum() / wall.sum() < 0.3
    for threshold in (n_sd(2), n_sd(5), fwhm, otsu):
        assert (scar_above(image, wall, threshold) == truth).all()


def test_remote_is_the_darkest_sector(ring: tuple[np.ndarray, np.ndarray]) -> None:
    image, wall = ring
    remote = remote_signal(image[0], wall[0])
    assert set(remote) == {100.0, 110.0}
    assert len(remote) == pytest.approx(wall.sum() / 6, rel=0.15)


def test_values_by_hand() -> None:
    wall, remote = np.array([1.0, 2, 9, 10]), np.array([1.0, 3.0])
    assert n_sd(2)(wall, remote) == 4.0  # mean 2, SD 1
    assert n_sd(6)(wall, remote) == 8.0
    assert fwhm(wall, remote) == 5.0
    assert 2 <= otsu(wall, remote) <= 9
    assert otsu(np.full(5, 7.0), remote) == 7.0


def test_otsu_leaves_the_least_variance() -> None:
    signal = np.random.default_rng(0).gamma(2.0, 30.0, 500)
    limit = otsu(signal, signal)

    def within(t: float) -> float:
        return sum(part.var() * len(part) for part in (signal[signal <= t], signal[signal > t]))

    best = min(within(t) for t in np.sort(signal)[1:-1])
    assert within(limit) <= best * 1.001


def test_a_slice_without_wall_has_no_scar(ring: tuple[np.ndarray, np.ndarray]) -> None:
    image, wall = ring
    images, walls = np.concatenate([image, image]), np.concatenate([wall, np.zeros_like(wall)])
    found = scar_above(images, walls, n_sd(3))
    assert found[0].any()
    assert not found[1].any()
