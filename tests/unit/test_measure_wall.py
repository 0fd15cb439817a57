import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myoscope.labels import Structure
from myoscope.measure.wall import fill_holes, find_ring, ring_thickness_mm, scar_depth, wall_thickness


def _ring(inner, outer, spacing=(1.0, 1.0), shape=(96, 96)):
    rows, columns = np.indices(shape)
    radius = np.hypot((rows - shape[0] / 2 + 0.3) * spacing[0], (columns - shape[1] / 2 + 0.1) * spacing[1])
    return np.select([radius < inner, radius < outer], [1, 2], 0).astype(np.uint8)


@settings(deadline=None, max_examples=30)
@given(st.floats(6, 22), st.floats(2.5, 15), st.sampled_from([(1.0, 1.0), (1.5, 1.5), (1.0, 1.4)]))
def test_thickness_of_circles(inner, wall, spacing):
    ring = find_ring(_ring(inner, inner + wall, spacing), spacing)
    assert ring.is_full
    _, thickness = wall_thickness(ring, spacing)
    assert thickness.mean() == pytest.approx(wall, abs=0.5 * max(spacing))
    found = ring_thickness_mm(ring, spacing)
    assert found.largest == pytest.approx(wall, abs=max(spacing))
    assert (found.mean, found.spread) == (thickness.mean(), thickness.std())


def test_thickness_by_angle_of_an_eccentric_cavity():
    labels = _ring(0, 30)
    rows, columns = np.indices(labels.shape)
    labels[np.hypot(rows - 47.7, columns - 51.9) < 18] = Structure.LV
    angles, thickness = wall_thickness(find_ring(labels, (1.0, 1.0)), (1.0, 1.0))
    right, left = (np.abs((angles - to + np.pi) % (2 * np.pi) - np.pi) < 0.2 for to in (0, np.pi))
    assert thickness[right].mean() == pytest.approx(8, abs=0.5)
    assert thickness[left].mean() == pytest.approx(16, abs=0.6)


def test_holes_and_crumbs_do_not_matter():
    clean = _ring(15, 25)
    spoilt = clean.copy()
    spoilt[47:50, 68:71] = 0
    spoilt[45:48, 40:43] = Structure.MYOCARDIUM
    spoilt[2:4, 2:4] = Structure.LV
    first, second = (find_ring(labels, (1.0, 1.0)) for labels in (clean, spoilt))
    assert (first.cavity == second.cavity).all()
    assert (first.disc == second.disc).all()


@pytest.mark.parametrize(("gap_degrees", "full"), [(0, True), (6, True), (40, False), (180, False)])
def test_open_rings(gap_degrees, full):
    labels = _ring(15, 25)
    rows, columns = np.indices(labels.shape)
    angle = np.degrees(np.arctan2(48 - rows, columns - 48)) % 360
    labels[(labels == 2) & (angle < gap_degrees)] = 0
    assert find_ring(labels, (1.0, 1.0)).is_full is full


def test_no_ring():
    assert find_ring(np.zeros((9, 9), np.uint8), (1.0, 1.0)) is None
    assert find_ring(np.full((9, 9), Structure.LV, np.uint8), (1.0, 1.0)) is None
    assert find_ring(np.full((9, 9), Structure.MYOCARDIUM, np.uint8), (1.0, 1.0)) is None


def test_heart_that_fills_the_image():
    labels = _ring(30, 60, shape=(64, 64))
    assert find_ring(labels, (1.0, 1.0)).is_full


def test_fill_holes_leaves_bays_open():
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]], bool)
    assert fill_holes(mask).sum() == mask.sum() + 1


@pytest.mark.parametrize("depth", [0.0, 0.25, 0.5, 1.0])
def test_scar_depth(depth):
    labels = _ring(15, 27)
    rows, columns = np.indices(labels.shape)
    radius = np.hypot(rows - 47.7, columns - 47.9)
    labels[(labels == 2) & (radius < 15 + 12 * depth)] = Structure.NO_REFLOW
    share = scar_depth(labels, find_ring(labels, (1.0, 1.0)), (1.0, 1.0))
    assert share.mean() == pytest.approx(depth, abs=0.04)
