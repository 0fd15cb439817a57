"""Label maps drawn with other codes than ours are told by their geometry; the refusal names the likely convention."""

from contextlib import nullcontext

import numpy as np
import pytest
from scipy import ndimage

from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.errors import InputError
from myoscope.io.codes import check_geometry, codes_of
from myoscope.labels import Structure, to_structures
from myoscope.study import Role

SPACING = (8.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def maps() -> dict[Role, np.ndarray]:
    case = draw(sample(6, KEPT_ASIDE, "MINF"), frames=2)
    return {role: labels.frames for role, labels in case.labels.items()}


def recoded(labels: np.ndarray, code_of: dict[int, int]) -> np.ndarray:
    return np.array([code_of.get(code, 0) for code in range(7)], np.uint8)[labels]


def test_our_own_codes_are_taken(maps: dict[Role, np.ndarray]) -> None:
    for labels in maps.values():
        check_geometry(labels, SPACING, "x.nii")
    check_geometry(np.zeros((1, 3, 20, 20), np.uint8), SPACING, "x.nii")


@pytest.mark.parametrize(
    ("code_of", "said"),
    [
        ({6: 1, 2: 2, 1: 3}, "give --codes acdc"),
        ({1: 1, 2: 2, 6: 3}, "code 3 lies outside of the LV's wall; likely 1 LV, 2 myocardium, 3 RV"),
        ({1: 1, 2: 2, 6: 4}, "code 4 lies outside of the LV's wall; likely 1 LV, 2 myocardium, 4 RV, as UK Biobank's"),
        ({1: 1, 2: 2, 6: 5}, "code 5 lies outside of the LV's wall; likely 1 LV, 2 myocardium, 5 RV"),
        ({1: 1, 6: 2, 2: 3}, "code 2 lies outside of the LV's wall; likely 1 LV, 2 RV, 3 wall"),
        ({1: 2, 2: 1, 6: 6}, r"the LV's cavity \(1\) is a ring"),
        ({1: 6, 2: 2, 6: 1}, r"the RV \(6\) lies inside the LV's wall"),
        ({2: 2, 6: 6}, r"no LV cavity \(1\) inside the wall"),
    ],
)
def test_other_codes_are_refused(code_of: dict[int, int], said: str, maps: dict[Role, np.ndarray]) -> None:
    with pytest.raises(InputError, match=said):
        check_geometry(recoded(maps[Role.CINE], code_of), SPACING, "x.nii")


@pytest.mark.parametrize("convention", ["myoscope", "acdc"])
def test_interpolated_labels_are_refused(convention: str, maps: dict[Role, np.ndarray]) -> None:
    """Sources: TorchIO 220, spinalcordtoolbox 3229, Slicer 195: label maps that were resampled like images."""
    code_of = codes_of(convention)
    theirs = recoded(maps[Role.CINE], {structure: code for code, structure in code_of.items()})
    for shift, refused in ((0.0, False), (0.4, True)):
        moved = np.rint(ndimage.shift(theirs.astype(float), (0, 0, shift, shift), order=1)).astype(np.uint8)
        labels = to_structures(moved, code_of, "x.nii")
        with pytest.raises(InputError, match="labels were interpolated") if refused else nullcontext():
            check_geometry(labels, SPACING, "x.nii", code_of)


def test_subendocardial_scar_all_round_is_believed() -> None:
    y, x = np.indices((64, 64))
    radius = np.hypot(y - 32, x - 32)
    plane = np.select([radius < 12, radius < 16, radius < 22], [1, 3, 2], 0).astype(np.uint8)
    check_geometry(np.stack([plane] * 3)[None], SPACING, "x.nii")


def test_papillary_muscles_left_out_of_the_cavity_are_believed() -> None:
    y, x = np.indices((64, 64))
    radius = np.hypot(y - 32, x - 32)
    plane = np.select([radius < 14, radius < 20], [1, 2], 0).astype(np.uint8)
    plane[28:32, 26:30] = plane[34:38, 34:38] = 0
    check_geometry(plane[None, None], SPACING, "x.nii")


def test_a_convention_is_translated(maps: dict[Role, np.ndarray]) -> None:
    theirs = recoded(maps[Role.CINE], {6: 1, 2: 2, 1: 3})
    assert np.array_equal(to_structures(theirs, codes_of("acdc"), "x"), maps[Role.CINE])
    assert Structure.RV in codes_of("myops").values()
    with pytest.raises(InputError, match=r"expected --codes myoscope\|acdc\|emidec\|myops, found 'ours'"):
        codes_of("ours")
