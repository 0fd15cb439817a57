"""A cine is looked at whole in a few frames, elsewhere where the heart is; a stand-in network sees what is bright."""

from dataclasses import replace

import numpy as np
import pytest

from myoscope.labels import Structure
from myoscope.segment.cine import MARGIN, SCOUTS, SliceModel
from myoscope.study import Role, Series
from myoscope.volume import Volume, plain_affine

FRAMES, SIDE, MULTIPLE = 9, 240, 16


class Bright:
    """Pixels above a value, a half if nothing is said, are blood of the LV."""

    card, sha256, roles, smallest_ml = {"system": "stand-in"}, "0", (Role.CINE,), {}
    classes = (Structure.BACKGROUND, Structure.LV)
    spacing_mm, multiple = 1.0, MULTIPLE

    def __init__(self, above: float = 0.5, first_member: "Bright | None" = None) -> None:
        self.asked: list[tuple[int, int]] = []
        self.above, self.first_member = above, first_member or self

    def look(self, stack: np.ndarray, margin: bool = True) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002
        self.asked.append(stack.shape[2:])
        return np.stack([self.above - stack[:, 1], stack[:, 1] - self.above], 1), np.zeros(len(stack))


def cine(corners: list[tuple[int, int] | None]) -> Series:
    """A bright square of 40 mm at a corner (y, x) in each frame, in noise; an empty frame where there is none."""
    voxels = np.random.default_rng(0).uniform(0, 0.1, (len(corners), 3, SIDE, SIDE)).astype(np.float32)
    for frame, corner in zip(voxels, corners, strict=True):
        if corner is None:
            frame[:] = 0
        else:
            frame[:, corner[0] : corner[0] + 40, corner[1] : corner[1] + 40] = 1
    return Series(Role.CINE, "cine", Volume(voxels, plain_affine((8.0, 1.0, 1.0))))


@pytest.mark.parametrize(
    ("corners", "whole"),
    [
        ([(100, 90)] * FRAMES, SCOUTS),
        ([(100, 90 + 3 * t) for t in range(FRAMES)], SCOUTS),  # it moves a little
        ([(100, 90)] * 4 + [(20, 180)] + [(100, 90)] * 4, SCOUTS + 1),  # once it is far from where the scouts saw it
        ([None if t % 3 == 0 else (100, 90) for t in range(FRAMES)], FRAMES),  # the scouts saw none
        ([(0, 0)] * FRAMES, SCOUTS),  # cut by the border of the image
        ([(100, 90)] * 2, 2),
    ],
)
def test_the_heart_is_found_wherever_it_is(corners: list[tuple[int, int] | None], whole: int) -> None:
    network, series = Bright(), cine(corners)
    found = SliceModel(network).segment(series).labels.voxels
    assert (found == np.where(series.image.voxels > 0.5, Structure.LV, 0)).all()
    assert network.asked.count((SIDE, SIDE)) == whole
    parts = set(network.asked) - {(SIDE, SIDE)}
    assert all(40 + MARGIN <= side < SIDE for part in parts for side in part)


@pytest.mark.parametrize(("pinned", "ends"), [((None, None), {4, 0}), ((2, 7), {2, 7})])
def test_all_members_draw_ed_and_es(pinned: tuple[int | None, int | None], ends: set[int]) -> None:
    series = replace(cine([(100, 90)] * FRAMES), ed_frame=pinned[0], es_frame=pinned[1])
    for t, frame in enumerate(series.image.voxels):  # a grey rim that the first member alone takes for blood
        frame[:, 90:100, 90 : 130 - 4 * abs(t - 4)] = 0.7
    found = SliceModel(Bright(0.8, Bright(0.5))).segment(series).labels.voxels
    with_rim = {t for t in range(FRAMES) if found[t, :, 95].any()}
    assert with_rim == set(range(FRAMES)) - ends
    assert (found[:, :, 100:140, 90:130] == Structure.LV).all()
