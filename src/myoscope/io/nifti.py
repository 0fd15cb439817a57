"""NIfTI in and out: any orientation and axis order in, the file's own voxel grid out."""

import gzip
import logging
import math
import warnings
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.openers import Opener

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.labels import Structure, to_structures
from myoscope.study import FileGrid
from myoscope.volume import OBLIQUE_DEGREES, Volume

SUFFIXES = (".nii", ".nii.gz")
THICK_SLICE_RATIO = 1.5
"""An axis whose spacing exceeds the next larger by this factor is the one across slices."""

SCREEN_RIGHT = np.array([-1.0, -1.0, 0.0]) / np.sqrt(2)
SCREEN_DOWN = np.array([0.0, -1.0, -1.0]) / np.sqrt(2)
"""Where right and down point in the standard short-axis view, in RAS+: left-posterior and inferior-posterior."""

SPACING_MM = (0.01, 100.0)
"""Outside of these a distance between voxels is a slip of the header or of its unit (the heart of a mouse fits in)."""

MAX_VOXELS = 2**30
MAX_SIGNAL = 1e15

_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
"""By the code in xyzt_units: metre, millimetre, micrometre; unknown is taken for mm."""
_MS_PER_UNIT = {8: 1000.0, 16: 1.0, 24: 0.001}

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # what nibabel would log, we raise


def shown(path: Path | str) -> str:
    """A path as it can stand in a one-line message: control characters replaced."""
    return "".join(c if c.isprintable() else "?" for c in str(path))


def is_nifti(path: Path) -> bool:
    """Whether a file's name says NIfTI."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path, directions: np.ndarray | None = None) -> tuple[Volume, FileGrid]:
    """Read an image into the standard short-axis view.

    Args:
        path: A .nii or .nii.gz file, 3-D or 4-D (time last), or 3-D with one slice.
        directions: Direction cosines (3, 3) to use where the header's are known to be wrong.

    Returns:
        The image, float32, and how to write results back onto the file's grid.

    Raises:
        InputError: the file is missing, not NIfTI, cut short, 2-D, empty of contrast, or has no usable spacing or
            values.
    """
    image, raw = _load(path)
    axes, flips, affine = standard_view(_affine_mm(image, raw, path), image.shape[:3], directions)
    voxels, filled = _voxels(image, path)
    volume = Volume(to_view(voxels, axes, flips), affine, _frame_time_ms(image))
    return volume, FileGrid(path, axes, flips, image.shape[:3], image.header, filled)


def read_labels(
    path: Path, image: Volume, grid: FileGrid, codes: dict[int, Structure], same_place: bool = False
) -> Volume:
    """Read a label file drawn on an image's voxels, as `Structure` codes, uint8.

    Args:
        path: The label file; one frame, or as many as the image.
        image: The image, as read.
        grid: Of the image.
        codes: What each number in the file stands for.
        same_place: Whether the file's header must place the voxels where the image's does; it is not trusted else.

    Raises:
        InputError: the file cannot be read, lies on another grid than the image, or holds unknown codes.
    """
    label_image, _ = _load(path)
    shape = (*grid.shape, *image.voxels.shape[:-3])
    if _shape(label_image) not in (grid.shape, shape):
        raise InputError(
            f"{shown(path)}: expected labels of shape {shape} like the image, found {_shape(label_image)}; give the "
            "label map that was drawn on this image"
        )
    if same_place and not _same_place(label_image.affine, grid):
        raise InputError(
            f"{shown(path)}: expected the affine of {shown(grid.path.name)}, found another: the labels may be turned "
            "or shifted; save them with the image's header"
        )
    codes_found = to_view(_voxels(label_image, path, labels=True)[0], grid.axes, grid.flips)
    return image.with_voxels(to_structures(codes_found, codes, shown(path)))


def _same_place(affine: np.ndarray, grid: FileGrid) -> bool:
    """Whether an affine places no corner of a grid further than a tenth of a voxel from where its file does."""
    own = grid.header.get_best_affine()
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)]) * [*(np.array(grid.shape) - 1), 1]
    with np.errstate(all="ignore"):
        shift = np.abs(corners @ (affine - own).T).max()
    return bool(shift <= 0.1 * np.linalg.norm(own[:3, :3], axis=0).min())


def write_labels(labels: np.ndarray, grid: FileGrid, path: Path) -> None:
    """Write a label map (Z, Y, X) or (T, Z, Y, X) onto the voxel grid of the file its image came from.

    The file (.nii or .nii.gz) is whole or not there.
    """
    voxels = from_view(labels.astype(np.uint8), grid.axes, grid.flips)
    header = grid.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = b"myoscope label map"
    data = type_of(header)(voxels, None, header).to_bytes()
    write_whole(path, gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)


def type_of(header: nib.Nifti1Header) -> type[nib.Nifti1Image]:
    """The image class that belongs to a header: NIfTI-1 or NIfTI-2."""
    return nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image


def _load(path: Path) -> tuple[Any, Any]:
    """The image, and its header as it stands in the file (nibabel repairs what it loads)."""
    if not path.exists():
        raise InputError(f"{shown(path)}: no such file; check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nibabel's, on headers that are judged here
            image: Any = nib.load(path)
            with Opener(str(path)) as file:
                raw = type(image.header).from_fileobj(file, check=False)
                if path.suffix.lower() == ".gz":  # the checksum stands at the end
                    while file.read(1 << 20):
                        pass
                    size = file.tell()
                else:
                    size = path.stat().st_size
    except Exception as error:  # whatever a parser of foreign bytes may raise
        raise InputError(
            f"{shown(path)}: expected a NIfTI image, cannot read it ({_reason(error, path)}); copy or export it again"
        ) from None
    if not isinstance(image, nib.Nifti1Image | nib.Nifti1Pair):
        raise InputError(f"{shown(path)}: expected a NIfTI image, found {type(image).__name__}; convert it to NIfTI")
    _check_size(image, size, path)
    if len(_shape(image)) not in (3, 4) or sorted(image.shape[:3])[1] < 2:
        raise InputError(_not_a_stack(image, path))
    return image, raw


def _shape(image: Any) -> tuple[int, ...]:
    """The image's shape without axes of one voxel after the fourth."""
    shape = tuple(map(int, image.shape))
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _check_size(image: Any, size: int, path: Path) -> None:
    """Refuse what has no voxels, fewer than its header promises, or more than any heart needs, before reading them."""
    shape = _shape(image)
    if not shape or min(shape) < 1:
        raise InputError(_not_a_stack(image, path))
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(f"{shown(path)}: expected at most {MAX_VOXELS} voxels, found shape {shape}; crop it")
    promised = int(image.dataobj.offset) + math.prod(shape) * image.dataobj.dtype.itemsize
    if promised > size:
        raise InputError(
            f"{shown(path)}: the image data cannot be read (the header promises {promised} bytes, the file holds "
            f"{size}); copy the file again"
        )


def _not_a_stack(image: Any, path: Path) -> str:
    return (
        f"{shown(path)}: expected a 3-D stack of slices or a 4-D cine, found a {image.ndim}-D image of shape "
        f"{_shape(image)}; give the whole stack"
    )


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return "compressed data is cut short or damaged"
    return shown((str(error).replace(str(path), path.name).splitlines() or [type(error).__name__])[0])[:120]


def _voxels(image: nib.Nifti1Image, path: Path, labels: bool = False) -> tuple[np.ndarray, int]:
    """Voxels as float32 in the file's axis order, and how many of them were NaN, or infinite in float32: now 0."""
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(f"{shown(path)}: expected real numbers, found {image.get_data_dtype()}; export one channel")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            voxels = np.asarray(image.dataobj, dtype=np.float32).reshape(_shape(image))
    except Exception as error:  # whatever a parser of foreign bytes may raise
        raise InputError(
            f"{shown(path)}: the image data cannot be read ({_reason(error, path)}); copy the file again"
        ) from None
    finite = np.isfinite(voxels)
    if not finite.any():
        raise InputError(f"{shown(path)}: expected an image, found only NaN; export it again")
    if not finite.all():
        voxels = np.where(finite, voxels, np.float32(0))
    if np.abs(voxels).max() > MAX_SIGNAL:
        found = np.abs(voxels).max()
        raise InputError(f"{shown(path)}: expected values up to {MAX_SIGNAL:g}, found {found:g}; repair its scaling")
    if not labels and voxels.min() == voxels.max():
        raise InputError(f"{shown(path)}: expected an image, every voxel is {voxels.flat[0]:g}; export it again")
    return voxels, int(finite.size - np.count_nonzero(finite))


def _affine_mm(image: nib.Nifti1Image, raw: nib.Nifti1Header, path: Path) -> np.ndarray:
    """The affine in mm; where it holds no spacing (EMIDEC's own files), the header's pixdim is taken."""
    pixdim = np.asarray(raw["pixdim"][1:4], float)
    mm_per_unit = _MM_PER_UNIT.get(int(image.header["xyzt_units"]) & 0b111, 1.0)
    with np.errstate(all="ignore"):
        affine = np.asarray(image.affine, float)
        norms = np.linalg.norm(affine[:3, :3], axis=0)
        if np.allclose(norms, 1, atol=1e-4) and not np.allclose(pixdim, 1, atol=1e-3):
            affine = affine @ np.diag([*pixdim, 1.0])
        affine = np.diag([mm_per_unit] * 3 + [1.0]) @ affine
        norms = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all() and np.isfinite(affine).all() and (norms > 1e-6).all()):
        found = ", ".join(f"{p:g}" for p in (pixdim if not (pixdim > 0).all() else norms))
        raise InputError(f"{shown(path)}: expected positive voxel spacing, found ({found}) mm; repair the header")
    if norms.min() < SPACING_MM[0] or norms.max() > SPACING_MM[1]:
        low, high = SPACING_MM
        found = ", ".join(f"{p:g}" for p in norms)
        raise InputError(
            f"{shown(path)}: expected voxel spacing of {low:g} to {high:g} mm, found ({found}) mm; repair the header "
            "(its unit, xyzt_units, for one)"
        )
    if abs(np.linalg.det(affine[:3, :3])) < 1e-3 * np.prod(norms):
        raise InputError(f"{shown(path)}: expected three independent axes, found a flat affine; repair the header")
    return affine


def _frame_time_ms(image: nib.Nifti1Image) -> float | None:
    ms_per_unit = _MS_PER_UNIT.get(int(image.header["xyzt_units"]) & 0b111000)
    if len(_shape(image)) < 4 or ms_per_unit is None:
        return None
    time_ms = float(image.header.get_zooms()[3]) * ms_per_unit
    return time_ms if 1 <= time_ms <= 500 else None


def _slice_axis(shape: tuple[int, ...], spacing: np.ndarray) -> int:
    """The file axis across slices: one voxel long, clearly thicker, or clearly shorter than the others."""
    if 1 in shape:
        return shape.index(1)
    order = np.argsort(spacing)
    if spacing[order[2]] >= THICK_SLICE_RATIO * spacing[order[1]]:
        return int(order[2])
    fewest = np.argsort(shape)
    return int(fewest[0]) if shape[fewest[0]] * 2 <= shape[fewest[1]] else 2


def standard_view(
    affine: np.ndarray, shape: tuple[int, ...], directions: np.ndarray | None = None, z: int | None = None
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool], np.ndarray]:
    """File axes that become (Z, Y, X), which of them to flip, and the affine (x, y, z) after both.

    `z` is the file axis across slices, where it is known.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if directions is not None:
        affine = affine.copy()
        affine[:3, :3] = directions * spacing
    cosines = affine[:3, :3] / spacing
    z = _slice_axis(shape, spacing) if z is None else z
    a, b = (axis for axis in range(3) if axis != z)
    right, down = SCREEN_RIGHT @ cosines, SCREEN_DOWN @ cosines
    x, y = (a, b) if abs(right[a]) + abs(down[b]) >= abs(right[b]) + abs(down[a]) - 1e-6 else (b, a)
    aligned = np.abs(cosines).max(axis=0).min() >= np.cos(np.radians(OBLIQUE_DEGREES))
    unset = aligned and not affine[:3, 3].any()  # no orientation was stored: show the slices as they lie
    flip_x, flip_y = (False, False) if unset else (bool(right[x] < -1e-6), bool(down[y] < -1e-6))
    step = np.eye(4)[:, [x, y, z, 3]]
    for column, (axis, flip) in enumerate(((x, flip_x), (y, flip_y))):
        if flip:
            step[axis, column] = -1
            step[axis, 3] = shape[axis] - 1
    return (z, y, x), (False, flip_y, flip_x), affine @ step


def to_view(voxels: np.ndarray, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> np.ndarray:
    """From the file's (i, j, k[, t]) to ([T,] Z, Y, X)."""
    order = (3, *axes) if voxels.ndim == 4 else axes
    view = voxels.transpose(order)
    return np.ascontiguousarray(np.flip(view, tuple(view.ndim - 3 + i for i, flip in enumerate(flips) if flip)))


def from_view(view: np.ndarray, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> np.ndarray:
    """Undo `to_view`."""
    voxels = np.flip(view, tuple(view.ndim - 3 + i for i, flip in enumerate(flips) if flip))
    order = (3, *axes) if voxels.ndim == 4 else axes
    return np.ascontiguousarray(voxels.transpose(np.argsort(order)))
