"""NIfTI in and out: whatever way a file stores its voxels, the same picture comes in and goes back to its voxels."""

from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from myoscope.datasets.phantom import draw, sample
from myoscope.errors import InputError
from myoscope.io.nifti import read_labels, read_nifti, write_labels
from myoscope.io.save import write_study
from myoscope.labels import OWN_CODES, Structure
from myoscope.measure.quality import voxel_flags
from myoscope.study import Role, Series
from myoscope.volume import plain_affine

SHAPE = (13, 11, 4)
SPACING = (1.25, 1.5, 8.0)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])

orders = st.sampled_from(list(permutations(range(3))))
signs = st.tuples(*[st.sampled_from([-1, 1])] * 3)


def oblique_affine(degrees: tuple[float, float, float] = (38.0, -27.0, 52.0)) -> np.ndarray:
    """A short-axis plane as scanners store it: no axis lies along the patient's."""
    x, y, z = np.radians(degrees)
    rotations = [
        np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]),
        np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]),
        np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]),
    ]
    affine = np.eye(4)
    affine[:3, :3] = rotations[2] @ rotations[1] @ rotations[0] @ np.diag(SPACING)
    affine[:3, 3] = 20.0, -35.0, 12.0
    return affine


def shifted_plain_affine() -> np.ndarray:
    affine = plain_affine(SPACING[::-1])
    affine[:3, 3] = 5.0, -3.0, 40.0
    return affine


AFFINES = {"oblique": oblique_affine(), "plain": shifted_plain_affine()}


def picture(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 1000, shape).astype(np.int16)


def restored(
    voxels: np.ndarray, affine: np.ndarray, order: tuple[int, ...], sign: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The same picture at the same places in space, its axes in another order and direction."""
    orientation = np.column_stack([order, sign])
    return apply_orientation(voxels, orientation), affine @ inv_ornt_aff(orientation, voxels.shape[:3])


def saved(path: Path, voxels: np.ndarray, affine: np.ndarray, units: tuple[str, str] = ("mm", "msec")) -> Path:
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units(*units)
    nib.save(image, path)
    return path


@QUICK
@given(order=orders, sign=signs, name=st.sampled_from(list(AFFINES)), frames=st.sampled_from([0, 3]))
def test_labels_lie_on_the_voxels_of_the_file(
    order: tuple[int, ...], sign: tuple[int, ...], name: str, frames: int
) -> None:
    """A label drawn in the file's own space, read and written, comes back at the same voxels, header and all."""
    shape = (*SHAPE, frames) if frames else SHAPE
    voxels, affine = restored(picture(shape), AFFINES[name], order, sign)
    drawn = np.random.default_rng(1).integers(0, len(Structure), voxels.shape).astype(np.uint8)
    with TemporaryDirectory() as folder:
        path = saved(Path(folder) / "image.nii.gz", voxels, affine)
        image, grid = read_nifti(path)
        labels = read_labels(saved(Path(folder) / "labels.nii", drawn, np.eye(4)), image, grid, OWN_CODES)
        write_labels(labels.voxels, grid, Path(folder) / "out.nii.gz")
        written, original = nib.load(Path(folder) / "out.nii.gz"), nib.load(path)
        assert written.shape == original.shape
        assert (written.affine == original.affine).all()
        assert written.header.get_zooms() == original.header.get_zooms()
        assert written.get_data_dtype() == np.uint8
        assert (np.asarray(written.dataobj) == drawn).all()


@QUICK
@given(order=orders, sign=signs)
def test_every_way_to_store_an_oblique_image_gives_one_view(order: tuple[int, ...], sign: tuple[int, ...]) -> None:
    voxels, affine = restored(picture(), AFFINES["oblique"], order, sign)
    slices_turned = sign[2] < 0
    with TemporaryDirectory() as folder:
        expected, _ = read_nifti(saved(Path(folder) / "a.nii", picture(), AFFINES["oblique"]))
        image, _ = read_nifti(saved(Path(folder) / "b.nii", voxels, affine))
    assert image.spacing_mm == pytest.approx(expected.spacing_mm, rel=1e-5)
    found = image.voxels[::-1] if slices_turned else image.voxels  # the order of slices is the file's
    assert (found == expected.voxels).all()


@QUICK
@given(order=orders, sign=signs, name=st.sampled_from(list(AFFINES)))
def test_the_affine_still_says_where_each_voxel_lies(order: tuple[int, ...], sign: tuple[int, ...], name: str) -> None:
    voxels, affine = restored(picture(), AFFINES[name], order, sign)
    with TemporaryDirectory() as folder:
        path = saved(Path(folder) / "b.nii", voxels, affine)
        image, _ = read_nifti(path)
        stored = nib.load(path).affine
    z, y, x = np.unravel_index(np.arange(image.voxels.size), image.voxels.shape)
    places = image.affine @ np.array([x, y, z, np.ones_like(x)])
    back = np.rint(np.linalg.inv(stored) @ places)[:3].astype(int)
    assert np.abs(stored @ np.vstack([back, np.ones_like(x)]) - places).max() < 1e-3
    assert (voxels[tuple(back)] == image.voxels.ravel()).all()


def test_a_phantom_comes_back_as_it_was_written(tmp_path: Path) -> None:
    study = draw(sample(3), (Role.CINE, Role.LGE), frames=2).study
    write_study(study, tmp_path)
    for series in study.series:
        image, _ = read_nifti(tmp_path / f"{series.role}.nii.gz")
        assert sorted(image.voxels.shape) == sorted(series.image.voxels.shape)
        assert image.spacing_mm[0] == pytest.approx(series.image.spacing_mm[0], rel=1e-4)
        assert image.voxel_ml == pytest.approx(series.image.voxel_ml, rel=1e-4)
        assert image.is_oblique
        assert (np.sort(image.voxels.ravel()) == np.sort(series.image.voxels.ravel())).all()


def test_emidecs_own_files_hold_their_spacing_in_pixdim_only(tmp_path: Path) -> None:
    path = tmp_path / "Case_P001.nii.gz"
    image = nib.Nifti1Image(picture(), None)
    image.set_sform(np.diag([-1.0, -1.0, 1.0, 1.0]), code="aligned")
    image.header["pixdim"][1:4] = 1.4, 1.4, 10.0
    image.to_filename(path)
    volume, grid = read_nifti(path)
    assert volume.spacing_mm == pytest.approx((10.0, 1.4, 1.4), rel=1e-5)
    assert (volume.voxels == picture().transpose(2, 1, 0)).all()
    write_labels(np.ones(volume.voxels.shape, np.uint8), grid, tmp_path / "out.nii.gz")
    written, original = nib.load(tmp_path / "out.nii.gz"), nib.load(path)
    assert (written.affine == original.affine).all()
    assert (written.header["pixdim"] == original.header["pixdim"]).all()


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("micron", 1000.0), ("meter", 0.001), ("unknown", 1.0)])
def test_lengths_are_in_mm_whatever_the_file_counts_in(unit: str, factor: float, tmp_path: Path) -> None:
    affine = oblique_affine() @ np.diag([factor, factor, factor, 1.0])
    image, _ = read_nifti(saved(tmp_path / "a.nii", picture(), affine, (unit, "unknown")))
    assert sorted(image.spacing_mm) == pytest.approx(sorted(SPACING), rel=1e-4)


@pytest.mark.parametrize(("unit", "step", "expected"), [("msec", 35.0, 35.0), ("sec", 0.035, 35.0), ("sec", 1.0, None)])
def test_the_time_between_frames_is_in_ms_or_unknown(
    unit: str, step: float, expected: float | None, tmp_path: Path
) -> None:
    image = nib.Nifti1Image(picture((*SHAPE, 5)), oblique_affine())
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((*SPACING, step))
    nib.save(image, tmp_path / "cine.nii.gz")
    volume, _ = read_nifti(tmp_path / "cine.nii.gz")
    assert volume.voxels.shape[:2] == (5, 4)
    assert volume.frame_time_ms == (pytest.approx(expected) if expected else None)


def test_frames_of_a_cine_stay_apart(tmp_path: Path) -> None:
    voxels = picture((*SHAPE, 5))
    cine, _ = read_nifti(saved(tmp_path / "cine.nii", voxels, oblique_affine()))
    for t in range(5):
        frame, _ = read_nifti(saved(tmp_path / f"{t}.nii", voxels[..., t], oblique_affine()))
        assert (cine.voxels[t] == frame.voxels).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_a_stack_of_one(axis: int, tmp_path: Path) -> None:
    voxels = np.expand_dims(picture((13, 11)), axis)
    affine = np.diag([*np.insert([1.5, 1.5], axis, 8.0), 1.0])
    image, grid = read_nifti(saved(tmp_path / "lge.nii.gz", voxels, affine))
    assert image.voxels.shape[0] == 1
    assert image.spacing_mm[0] == pytest.approx(8.0)
    write_labels(np.ones(image.voxels.shape, np.uint8), grid, tmp_path / "out.nii.gz")
    assert nib.load(tmp_path / "out.nii.gz").shape == voxels.shape


def test_a_fifth_axis_of_one_is_no_axis(tmp_path: Path) -> None:
    image, _ = read_nifti(saved(tmp_path / "a.nii", picture((*SHAPE, 1, 1)), oblique_affine()))
    assert sorted(image.voxels.shape[-3:]) == sorted(SHAPE)


def test_scaled_integers_are_read_with_their_scale(tmp_path: Path) -> None:
    image = nib.Nifti1Image(picture(), oblique_affine())
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii")
    volume, grid = read_nifti(tmp_path / "a.nii")
    assert volume.voxels.max() == pytest.approx(float(nib.load(tmp_path / "a.nii").get_fdata().max()))
    write_labels(np.full(volume.voxels.shape, 2, np.uint8), grid, tmp_path / "out.nii")
    assert np.unique(nib.load(tmp_path / "out.nii").get_fdata()).tolist() == [2.0]


def test_nifti_2_stays_nifti_2(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(picture(), oblique_affine()), tmp_path / "a.nii")
    volume, grid = read_nifti(tmp_path / "a.nii")
    write_labels(np.zeros(volume.voxels.shape, np.uint8), grid, tmp_path / "out.nii")
    assert isinstance(nib.load(tmp_path / "out.nii"), nib.Nifti2Image)


def test_some_nan_is_background(tmp_path: Path) -> None:
    voxels = picture().astype(np.float32)
    voxels[:3] = np.nan
    voxels[3, 0, 0] = np.inf
    image, grid = read_nifti(saved(tmp_path / "a.nii", voxels, oblique_affine()))
    assert np.isfinite(image.voxels).all()
    assert (image.voxels == 0).sum() == np.isnan(voxels).sum() + 1
    (flag,) = voxel_flags(Series(Role.LGE, "image", image, (grid,)))
    assert f"{np.isnan(voxels).sum() + 1} voxels" in flag.message


def test_labels_of_another_shape_name_both_shapes(tmp_path: Path) -> None:
    image, grid = read_nifti(saved(tmp_path / "a.nii", picture(), oblique_affine()))
    other = saved(tmp_path / "labels.nii", np.zeros((12, 11, 4), np.uint8), oblique_affine())
    with pytest.raises(InputError, match=r"labels\.nii.*13, 11, 4.*12, 11, 4"):
        read_labels(other, image, grid, OWN_CODES)
