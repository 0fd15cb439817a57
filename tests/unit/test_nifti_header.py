"""Headers that contradict themselves, sheared grids, slices out of order, and labels that lie where the image lies."""

import gzip
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from myoscope.errors import InputError
from myoscope.io.nifti import read_labels, read_nifti, write_labels
from myoscope.io.read import read_study
from myoscope.labels import OWN_CODES, Structure
from myoscope.study import FileGrid
from myoscope.volume import Volume

SHAPE = (30, 28, 8)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def oblique(spacing: tuple[float, float, float] = (1.5, 1.4, 10.0)) -> np.ndarray:
    turn = np.array([[0.78, 0.0, 0.626], [0.0, 1.0, 0.0], [-0.626, 0.0, 0.78]])
    affine = np.eye(4)
    affine[:3, :3] = turn / np.linalg.norm(turn, axis=0) * spacing
    affine[:3, 3] = 5.0, -20.0, 30.0
    return affine


def smooth(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A cone with a bright spot on one side: neighbouring slices are alike, no two the same."""
    x, y, z = np.indices(shape[:3])
    radius = np.hypot(x - 14 - 0.4 * z, y - 13)
    image = 100 + 400 * (radius < 11 - z) + 150 * (np.hypot(x - 22, y - 8 - z) < 4)
    if len(shape) == 4:
        image = image[..., None] * (1 + 0.02 * np.arange(shape[3]))
    return image.astype(np.float32)


def heart(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    x, y, z = np.indices(shape[:3])
    radius = np.hypot(x - 14 - 0.4 * z, y - 13)
    labels = np.where(radius < 9 - z / 2, Structure.MYOCARDIUM, 0)
    labels[radius < 6 - z / 2] = Structure.LV
    labels[np.hypot(x - 25, y - 12) < 3] = Structure.RV
    return labels.astype(np.uint8)


def saved(path: Path, voxels: np.ndarray, affine: np.ndarray, change: Callable[[Any], None] | None = None) -> Path:
    """Write a file; `change` is done to its raw header, which nibabel would repair."""
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    image.header["qform_code"] = 1
    image.header.set_xyzt_units("mm", "msec")
    nib.save(image, path)
    if change:
        raw = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        header = nib.Nifti1Header(bytes(raw[:348]), check=False)
        change(header)
        raw[:348] = header.binaryblock
        path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return path


def said(path: Path) -> list[str]:
    return [message for _, message in read_nifti(path)[1].warned]


def scaled(factor: float) -> Callable[[Any], None]:
    def change(header: Any) -> None:
        header["pixdim"][3] *= factor

    return change


def test_a_header_without_contradiction_says_nothing(tmp_path: Path) -> None:
    assert said(saved(tmp_path / "a.nii", smooth(), oblique())) == []
    assert said(saved(tmp_path / "b.nii", smooth(), oblique(), scaled(1.005))) == []


def test_pixdim_against_sform_names_both_sizes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", smooth(), oblique(), scaled(0.6))
    (message,) = said(path)
    assert "1.5 x 1.4 x 10 mm by its affine" in message
    assert "1.5 x 1.4 x 6 mm by its pixdim" in message
    assert "0.6 times" in message
    assert read_nifti(path)[0].spacing_mm[0] == pytest.approx(10, rel=1e-5)


def test_a_qform_that_turns_the_image_is_said(tmp_path: Path) -> None:
    def turned(header: Any) -> None:
        header["quatern_b"], header["quatern_c"], header["quatern_d"] = 0.0, 0.0, 0.0

    (message,) = said(saved(tmp_path / "a.nii", smooth(), oblique(), turned))
    assert "sform and qform turn the image differently, by 39 degrees" in message


def test_a_qform_that_moves_the_image_is_said(tmp_path: Path) -> None:
    def moved(header: Any) -> None:
        header["qoffset_x"] += 14

    (message,) = said(saved(tmp_path / "a.nii", smooth(), oblique(), moved))
    assert "place the image 10 voxels apart" in message


def test_an_sform_of_zeros_gives_way_to_the_qform(tmp_path: Path) -> None:
    def zero(header: Any) -> None:
        for row in ("srow_x", "srow_y", "srow_z"):
            header[row] = 0

    path = saved(tmp_path / "a.nii", smooth(), oblique(), zero)
    image, grid = read_nifti(path)
    assert image.voxel_ml == pytest.approx(0.021, rel=1e-4)
    assert "qform was taken" in grid.warned[0][1]


@pytest.mark.parametrize("degrees", [0, 10, 30])
def test_a_sheared_voxel_has_the_volume_of_its_determinant(degrees: float, tmp_path: Path) -> None:
    affine = oblique()
    affine[:3, 2] += affine[:3, 0] / 1.5 * 10 * np.tan(np.radians(degrees))
    image, grid = read_nifti(saved(tmp_path / "a.nii", smooth(), affine))
    assert image.voxel_ml == pytest.approx(1.5 * 1.4 * 10 / 1000, rel=1e-5)
    assert sorted(image.spacing_mm) == pytest.approx([1.4, 1.5, 10.0], rel=1e-5)
    assert grid.warned == ()


def test_rows_and_columns_that_are_not_perpendicular_are_said(tmp_path: Path) -> None:
    affine = oblique()
    affine[:3, 1] += 0.3 * affine[:3, 0]
    image, grid = read_nifti(saved(tmp_path / "a.nii", smooth(), affine))
    assert image.voxel_ml == pytest.approx(1.5 * 1.4 * 10 / 1000, rel=1e-5)
    assert [code for code, _ in grid.warned] == ["sheared_slices"]


def test_a_frame_time_of_one_millisecond_is_a_default(tmp_path: Path) -> None:
    def step(ms: float) -> Callable[[Any], None]:
        def change(header: Any) -> None:
            header["pixdim"][4] = ms

        return change

    voxels = smooth((*SHAPE, 5))
    assert read_nifti(saved(tmp_path / "a.nii", voxels, oblique(), step(1)))[0].frame_time_ms is None
    assert read_nifti(saved(tmp_path / "b.nii", voxels, oblique(), step(35)))[0].frame_time_ms == 35


def test_time_on_the_fifth_axis(tmp_path: Path) -> None:
    def step(header: Any) -> None:
        header["pixdim"][4:6] = 1, 40

    path = saved(tmp_path / "a.nii", smooth((*SHAPE, 5))[:, :, :, None], oblique(), step)
    image, grid = read_nifti(path)
    expected, _ = read_nifti(saved(tmp_path / "b.nii", smooth((*SHAPE, 5)), oblique()))
    assert (image.voxels == expected.voxels).all()
    assert image.frame_time_ms == 40
    write_labels(np.zeros(image.voxels.shape, np.uint8), grid, tmp_path / "out.nii")
    written = nib.load(tmp_path / "out.nii")
    assert written.shape == (*SHAPE, 5)
    assert written.header["pixdim"][4] == 40
    drawn = saved(tmp_path / "drawn.nii", np.stack([heart()] * 5, -1)[:, :, :, None], oblique())
    assert read_labels(drawn, image, grid, OWN_CODES, True).voxels.shape == image.voxels.shape


# --- the order of slices ---


@pytest.mark.parametrize("first", [0, 1])
def test_interleaved_slices_are_put_in_order(first: int, tmp_path: Path) -> None:
    order = [*range(first, 8, 2), *range(1 - first, 8, 2)]
    expected, _ = read_nifti(saved(tmp_path / "a.nii", smooth(), oblique()))
    image, grid = read_nifti(saved(tmp_path / "b.nii", smooth()[:, :, order], oblique()))
    assert (image.voxels == expected.voxels).all()
    assert [code for code, _ in grid.warned] == ["slices_reordered"]
    drawn = saved(tmp_path / "labels.nii", heart()[:, :, order], oblique())
    labels = read_labels(drawn, image, grid, OWN_CODES, True)
    assert (labels.voxels == read_labels(drawn, expected, grid, OWN_CODES, True).voxels).all()
    write_labels(labels.voxels, grid, tmp_path / "out.nii")
    assert (np.asarray(nib.load(tmp_path / "out.nii").dataobj) == heart()[:, :, order]).all()


def test_slices_in_any_other_order_are_noticed(tmp_path: Path) -> None:
    order = [4, 0, 6, 2, 7, 1, 5, 3]
    image, grid = read_nifti(saved(tmp_path / "a.nii", smooth()[:, :, order], oblique()))
    expected, _ = read_nifti(saved(tmp_path / "b.nii", smooth(), oblique()))
    assert [code for code, _ in grid.warned] == ["slices_reordered"]
    assert any((image.voxels[::step] == expected.voxels).all() for step in (1, -1))


def test_time_and_slices_exchanged_are_refused(tmp_path: Path) -> None:
    voxels = smooth((*SHAPE, 6)).transpose(0, 1, 3, 2)
    with pytest.raises(InputError, match="exchange the two axes"):
        read_nifti(saved(tmp_path / "cine.nii", voxels, oblique()))


def test_frames_of_one_slice_stored_as_slices_are_refused(tmp_path: Path) -> None:
    x, y = np.indices((64, 60))
    chest = np.random.default_rng(0).uniform(100, 900, x.shape)
    frames = [np.where(np.hypot(x - 32, y - 30) < 6 - 2 * np.sin(np.pi * t / 20), 700, chest) for t in range(20)]
    path = saved(tmp_path / "cine_sax.nii", np.stack(frames, -1).astype(np.float32), oblique())
    for role in (None, "cine", "bssfp", "lge"):  # whatever it is called: 20 frames are no stack
        with pytest.raises(InputError, match="as alike as frames of one slice"):
            read_study(path, role)


# --- labels ---


@pytest.fixture
def image(tmp_path: Path) -> tuple[Volume, FileGrid]:
    return read_nifti(saved(tmp_path / "lge.nii.gz", smooth(), oblique()))


@QUICK
@given(order=st.sampled_from(list(permutations(range(3)))), sign=st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_labels_are_turned_to_where_they_lie(
    order: tuple[int, ...], sign: tuple[int, ...], image: tuple[Volume, FileGrid], tmp_path: Path
) -> None:
    """Axes exchanged and reversed, with the affine that belongs to it: the same voxels are labelled."""
    expected = read_labels(saved(tmp_path / "plain.nii", heart(), oblique()), *image, OWN_CODES, True).voxels
    orientation = np.column_stack([order, sign])
    affine = oblique() @ inv_ornt_aff(orientation, SHAPE)
    path = saved(tmp_path / "turned.nii", apply_orientation(heart(), orientation), affine)
    assert (read_labels(path, *image, OWN_CODES, True).voxels == expected).all()


def test_labels_with_the_spacing_in_the_affine_fit_an_image_with_ones(tmp_path: Path) -> None:
    """EMIDEC's own files have an affine of ones; ITK writes the spacing into it."""
    ones = np.diag([-1.0, -1.0, 1.0, 1.0])

    def sizes(header: Any) -> None:
        header["pixdim"][1:4] = 1.5, 1.4, 10

    found = read_nifti(saved(tmp_path / "lge.nii.gz", smooth(), ones, sizes))
    assert found[1].warned == ()
    itk = saved(tmp_path / "itk.nii.gz", heart(), ones @ np.diag([1.5, 1.4, 10, 1]))
    same = saved(tmp_path / "same.nii.gz", heart(), ones, sizes)
    first, second = (read_labels(path, *found, OWN_CODES, True).voxels for path in (itk, same))
    assert (first == second).all()
    assert first.any()


@pytest.mark.parametrize("move", ["identity", "half a voxel", "turned without saying so"])
def test_labels_that_lie_elsewhere_are_refused(move: str, image: tuple[Volume, FileGrid], tmp_path: Path) -> None:
    affine = {
        "identity": np.eye(4),
        "half a voxel": oblique() + 0.8 * np.eye(4)[:, [3, 1, 2, 0]] * (np.indices((4, 4))[1] == 3),
        "turned without saying so": oblique() @ np.diag([-1, 1, 1, 1]),
    }[move]
    with pytest.raises(InputError, match="lies, found another place"):
        read_labels(saved(tmp_path / "mine.nii", heart(), affine), *image, OWN_CODES, True)


def test_labels_without_a_number_are_refused(image: tuple[Volume, FileGrid], tmp_path: Path) -> None:
    labels = heart().astype(np.float32)
    labels[labels == Structure.LV] = np.nan
    with pytest.raises(InputError, match=r"hold no number \(NaN\); write background as 0"):
        read_labels(saved(tmp_path / "mine.nii", labels, oblique()), *image, OWN_CODES, True)
