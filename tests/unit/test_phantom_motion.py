"""The phantom's wall as material: it moves as the map says, its strain is known, studies without it stay the same."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from myoscope.datasets.phantom import KEPT_ASIDE, MOVING, TRAINING, draw, sample
from myoscope.datasets.phantom_heart import Heart
from myoscope.datasets.phantom_motion import _piece, place_at_rest, true_strain
from myoscope.labels import Structure
from myoscope.study import Role


def round_heart(**changes: float) -> Heart:
    """A heart with few irregularities: ED volume 120 ml, wall 8 mm."""
    return replace(sample(1, TRAINING, "NOR").heart, **{"ef": 0.6, "edv_ml": 120.0, **changes})


# A voxel of the image's sum in 10,000 may round otherwise on another processor; labels are the same.
@pytest.mark.parametrize(
    ("seed", "settings", "total", "lv", "wall"),
    [(5, TRAINING, 199670874, [4786, 1744], [4584, 4388]), (7000, KEPT_ASIDE, 563793995, [12525, 3816], [8557, 8362])],
)
def test_studies_without_texture_are_those_that_networks_were_trained_on(
    seed: int, settings: object, total: int, lv: list[int], wall: list[int]
) -> None:
    case = draw(sample(seed, settings), roles=(Role.CINE,), frames=2)
    image, labels = case.study.get(Role.CINE).image.voxels, case.labels[Role.CINE].voxels
    assert image.sum(dtype=float) == pytest.approx(total, rel=1e-6)
    assert [(frame == Structure.LV).sum() for frame in labels] == lv
    assert [(frame == Structure.MYOCARDIUM).sum() for frame in labels] == wall


def test_twist_and_texture_change_nothing_else_that_is_drawn() -> None:
    still, moving = sample(3, KEPT_ASIDE), sample(3, MOVING)
    assert replace(moving.heart, twist=0.0, texture=0.0) == still.heart and moving.scans == still.scans
    assert 6 <= moving.heart.twist <= 18 and 0.05 <= moving.heart.texture <= 0.2


def test_a_piece_of_the_wall_is_found_again_where_it_was_at_rest() -> None:
    heart = round_heart(twist=15.0)
    beat, rest = heart.anatomy.at(heart.es_phase), heart.anatomy.at(0)
    q = 0.6
    x, y = _piece(beat, q, 0.4)
    found = place_at_rest(beat, beat.base + q * beat.length, np.arctan2(y, x), np.hypot(x, y))
    expected = _piece(rest, q, 0.4)
    assert found[0] == pytest.approx(q * rest.length)
    assert found[2] == pytest.approx(expected[0], abs=0.02) and found[1] == pytest.approx(expected[1], abs=0.02)
    turned = np.degrees(np.arctan2(y, x) - np.arctan2(expected[1], expected[0]))[10]
    assert turned == pytest.approx(-15 * (q - 0.3), abs=0.01)  # y points down: anticlockwise on screen


def test_true_strain_is_that_of_a_ring_by_hand() -> None:
    heart = round_heart(flattening=0.0, septal_ratio=1.0)
    anatomy = heart.anatomy
    rest, beat = anatomy.at(0), anatomy.at(heart.es_phase)
    found = true_strain(heart, [0.0, heart.es_phase], levels=[0.4])
    inner, outer = (np.sqrt((t[32] ** 2).mean()) for t in (rest.endo, rest.epi))  # table row 32 is level 0.4
    inner_es = np.sqrt((beat.endo[32] ** 2).mean())
    middle = (inner + outer) / 2
    area = (outer**2 - inner**2) * rest.length / beat.length
    share = (middle**2 - inner**2) / (outer**2 - inner**2)
    circumferential = 100 * (np.sqrt(inner_es**2 + share * area) / middle - 1)
    radial = 100 * ((np.sqrt(inner_es**2 + area) - inner_es) / (outer - inner) - 1)
    assert found.circumferential_percent == pytest.approx([0, circumferential], abs=0.5)
    assert found.radial_percent == pytest.approx([0, radial], abs=1.5)
    assert found.local_percent.shape == (2, 1, 360)


def test_the_base_moves_through_slices_and_twist_leaves_global_strain() -> None:
    still, turning = round_heart(), round_heart(twist=20.0)
    beat = turning.anatomy.at(turning.es_phase)
    assert beat.base > 8 and beat.level(40.0) < still.anatomy.at(0).level(40.0)
    phases = [turning.es_phase]
    one, other = true_strain(still, phases), true_strain(turning, phases)
    assert other.circumferential_percent == pytest.approx(one.circumferential_percent, abs=0.3)
    assert other.radial_percent == pytest.approx(one.radial_percent, abs=1.0)


def test_the_pattern_is_in_the_wall_alone_and_as_strong_as_said() -> None:
    plain = sample(2, replace(TRAINING, shift_mm=(0.0, 0.0)), "NOR")
    textured = replace(plain, heart=replace(plain.heart, texture=0.3))
    images = [draw(p, (Role.CINE,), 1) for p in (plain, textured)]
    change = np.subtract(*(case.study.get(Role.CINE).image.voxels for case in images[::-1]))[0]
    wall = images[0].labels[Role.CINE].voxels[0] == Structure.MYOCARDIUM
    signal = images[0].study.get(Role.CINE).image.voxels[0][wall].mean()
    assert 0.1 < change[wall].std() / signal < 0.3  # averaged over the slice's thickness
    far = ~ndimage.binary_dilation(wall, np.ones((3, 9, 9)))
    assert np.abs(change[far]).max() <= 1
