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
from myoscope.io.header import Warned, affine_mm, frame_time_ms, not_square
from myoscope.io.order import axes_exchanged, likely_order
from myoscope.labels import Structure, to_structures
from myoscope.study import FileGrid
from myoscope.volume import OBLIQUE_DEGREES, Volume

SUFFIXES = (".nii", ".nii.gz")
THICK_SLICE_RATIO = 1.5
"""An axis whose spacing exceeds the next larger by this factor is the one across slices."""

SCREEN_RIGHT = np.array([-1.0, -1.0, 0.0]) / np.sqrt(2)
SCREEN_DOWN = np.array([0.0, -1.0, -1.0]) / np.sqrt(2)
"""Where right and down point in the standard short-axis view, in RAS+: left-posterior and inferior-posterior."""

MAX_VOXELS = 2**30
MAX_SIGNAL = 1e15

SAME_PLACE = 0.1
"""Labels lie where an image lies when no corner is further away than this share of a voxel."""

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
    lies, warned = affine_mm(image.header, raw["pixdim"][1:4], shown(path))
    axes, flips, affine = standard_view(lies, image.shape[:3], directions)
    voxels, filled = _voxels(image, path)
    view = to_view(voxels, axes, flips)
    if view.ndim == 4 and axes_exchanged(view):
        raise InputError(
            f"{shown(path)}: expected slices on axis 3 and frames on axis 4, found frames less alike than slices; "
            "exchange the two axes"
        )
    order = likely_order(view if view.ndim == 3 else view[0])
    if order:
        view = view[..., order, :, :]
        warned.append(_reordered(order))
    warned += not_square(affine)
    grid = FileGrid(path, axes, flips, image.shape[:3], _header(image), filled, tuple(warned), order=order)
    return Volume(view, affine, frame_time_ms(image.header)), grid


def _reordered(order: tuple[int, ...]) -> Warned:
    message = (
        "Neighbouring slices of the file are unlike, as if they were stored in the order of acquisition. They were put "
        f"in the order in which neighbours are alike ({', '.join(str(z + 1) for z in order)} of the file); look at it. "
        "Volumes do not depend on it; segments do, and what lies between base and apex."
    )
    return "slices_reordered", message


def read_labels(
    path: Path, image: Volume, grid: FileGrid, codes: dict[int, Structure], same_place: bool = False
) -> Volume:
    """Read a label file drawn on an image's voxels, as `Structure` codes, uint8.

    Args:
        path: The label file; one frame, or as many as the image.
        image: The image, as read.
        grid: Of the image.
        codes: What each number in the file stands for.
        same_place: Whether the file's header says where its voxels lie, whatever their order: there where the image
            lies. It is not trusted else.

    Raises:
        InputError: the file cannot be read, lies on another grid than the image, or holds unknown codes.
    """
    label_image, raw = _load(path)
    shape = (*grid.shape, *image.voxels.shape[:-3])
    found = _shape(label_image)
    turned = found[:3] != grid.shape and same_place and sorted(found[:3]) == sorted(grid.shape)
    if not (turned or found[:3] == grid.shape) or found[3:] not in ((), (1,), shape[3:]):
        raise InputError(
            f"{shown(path)}: expected labels of shape {shape} like the image, found {found}; give the "
            "label map that was drawn on this image"
        )
    codes_found = _voxels(label_image, path, labels=True)[0]
    codes_found = codes_found[..., 0] if found[3:] == (1,) else codes_found
    if same_place:
        lies, _ = affine_mm(label_image.header, raw["pixdim"][1:4], shown(path))
        codes_found = _turned(codes_found, lies, grid, path)
    view = to_view(codes_found, grid.axes, grid.flips)
    view = view[..., grid.order, :, :] if grid.order else view
    return image.with_voxels(to_structures(view, codes, shown(path)))


def _turned(voxels: np.ndarray, affine: np.ndarray, grid: FileGrid, path: Path) -> np.ndarray:
    """Voxels in the order of an image's file, from those of a file that lies at the same place in space.

    Axes may be exchanged or reversed: what lies where in the patient decides, and nothing is mirrored.
    """
    own, _ = affine_mm(grid.header, grid.header["pixdim"][1:4], shown(grid.path))
    step = np.linalg.inv(affine) @ own  # from the image's indices to the labels'
    axes = np.abs(step[:3, :3]).argmax(axis=0)
    signs = np.sign(step[axes, range(3)])
    last = np.array(grid.shape) - 1
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)]) * [*last, 1]
    exact = np.zeros((4, 4))
    exact[axes, range(3)], exact[3, 3] = signs, 1
    exact[axes, 3] = np.where(signs < 0, last, 0)
    fits = sorted(axes) == [0, 1, 2] and tuple(np.array(voxels.shape)[axes]) == tuple(grid.shape)
    if not fits or np.abs(corners @ (step - exact).T).max() > SAME_PLACE:
        raise InputError(
            f"{shown(path)}: expected labels that lie where {shown(grid.path.name)} lies, found another place (its "
            "affine); write them with the program that drew them on this image, or resample them onto it; a header "
            "copied onto turned voxels would mirror them"
        )
    voxels = voxels.transpose(*axes, *range(3, voxels.ndim))
    return np.flip(voxels, tuple(int(axis) for axis in np.flatnonzero(signs < 0)))


def write_labels(labels: np.ndarray, grid: FileGrid, path: Path) -> None:
    """Write a label map (Z, Y, X) or (T, Z, Y, X) onto the voxel grid of the file its image came from.

    The file (.nii or .nii.gz) is whole or not there.
    """
    _write(labels.astype(np.uint8), grid, path, b"myoscope label map")


def write_image(image: np.ndarray, grid: FileGrid, path: Path) -> None:
    """Write an image (Z, Y, X) or (T, Z, Y, X) as float32 onto the voxel grid that its label map is written onto."""
    _write(image.astype(np.float32), grid, path, b"")


def _write(voxels: np.ndarray, grid: FileGrid, path: Path, what: bytes) -> None:
    voxels = voxels[..., np.argsort(grid.order), :, :] if grid.order else voxels
    voxels = from_view(voxels, grid.axes, grid.flips)
    header = grid.header.copy()
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = what
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
    """The image's shape, (x, y, z, 1, t) and the like without the axes of one voxel after the third."""
    shape = tuple(map(int, image.shape))
    if len(shape) <= 4:
        return shape
    return shape[:3] + (tuple(n for n in shape[3:] if n != 1) or (1,))


def _header(image: Any) -> Any:
    """The header, its axes those of `_shape`."""
    shape = _shape(image)
    if len(shape) == len(image.shape):
        return image.header
    header = image.header.copy()
    times = [step for n, step in zip(image.shape[3:], header["pixdim"][4:], strict=False) if n != 1]
    header.set_data_shape(shape)
    header["pixdim"][4] = times[0] if times else header["pixdim"][4]
    return header


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
    if labels and not finite.all():
        raise InputError(
            f"{shown(path)}: expected a label code in every voxel, found {np.count_nonzero(~finite)} that hold no "
            "number (NaN); write background as 0"
        )
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
