"""Where a NIfTI header says that its voxels lie, in mm; what it says twice, and differently."""

from typing import Any

import numpy as np

from myoscope.errors import InputError

Warned = tuple[str, str]
"""A flag's code, and its message in a whole sentence."""

SPACING_MM = (0.01, 100.0)
"""Outside of these a distance between voxels is a slip of the header or of its unit (the heart of a mouse fits in)."""

DIFFERENT_SIZE = 0.01
"""Two sizes of a voxel contradict each other when they differ by more than this share..."""

DIFFERENT_DEGREES = 2.0
"""... and two directions, by more than this; so do rows and columns that are not perpendicular."""

DIFFERENT_VOXELS = 0.5
"""Two places of the first voxel contradict each other when they are further apart than so many voxels."""

FRAME_TIME_MS = (1.0, 500.0)
"""A time between frames lies between these; the lower one is what a header holds that nobody filled in."""

_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
"""By the code in xyzt_units: metre, millimetre, micrometre; unknown is taken for mm."""
_MS_PER_UNIT = {8: 1000.0, 16: 1.0, 24: 0.001}


def affine_mm(header: Any, pixdim: np.ndarray, where: str) -> tuple[np.ndarray, list[Warned]]:
    """The affine of a header in mm, and what in the header contradicts it.

    The sform counts, else the qform. Where the affine holds no spacing (EMIDEC's own files), pixdim is taken.

    Args:
        header: nibabel's.
        pixdim: Size of a voxel along (i, j, k) as it stands in the file; nibabel repairs what it loads.
        where: File named in the error.

    Raises:
        InputError: no usable spacing, or a flat affine.
    """
    pixdim = np.asarray(pixdim, float)
    with np.errstate(all="ignore"):
        affine, warned = _chosen(header)
        norms = np.linalg.norm(affine[:3, :3], axis=0)
        if np.allclose(norms, 1, atol=1e-4) and not np.allclose(pixdim, 1, atol=1e-3):
            if np.abs(affine[:3, :3]).max(axis=0).min() < 0.999:
                warned.append(_sizes(norms, pixdim, "pixdim"))
            affine = affine @ np.diag([*pixdim, 1.0])
        elif not np.all(_alike(pixdim, norms) | _alike(pixdim, _apart(affine))):
            warned.append(_sizes(norms, pixdim, "affine"))
        affine = np.diag([*[_MM_PER_UNIT.get(int(header["xyzt_units"]) & 0b111, 1.0)] * 3, 1.0]) @ affine
        norms = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all() and np.isfinite(affine).all() and (norms > 1e-6).all()):
        found = ", ".join(f"{p:g}" for p in (pixdim if not (pixdim > 0).all() else norms))
        raise InputError(f"{where}: expected positive voxel spacing, found ({found}) mm; repair the header")
    if norms.min() < SPACING_MM[0] or norms.max() > SPACING_MM[1]:
        low, high = SPACING_MM
        found = ", ".join(f"{p:g}" for p in norms)
        raise InputError(
            f"{where}: expected voxel spacing of {low:g} to {high:g} mm, found ({found}) mm; repair the header "
            "(its unit, xyzt_units, for one)"
        )
    if abs(np.linalg.det(affine[:3, :3])) < 1e-3 * np.prod(norms):
        raise InputError(f"{where}: expected three independent axes, found a flat affine; repair the header")
    return affine, warned


def frame_time_ms(header: Any) -> float | None:
    """Time between the frames of a 4-D image (or 5-D: x, y, z, 1, t), None where the header does not say it."""
    ms_per_unit = _MS_PER_UNIT.get(int(header["xyzt_units"]) & 0b111000)
    if len(header.get_data_shape()) < 4 or ms_per_unit is None:
        return None
    along = max(range(3, len(header.get_data_shape())), key=lambda axis: header.get_data_shape()[axis])
    time_ms = float(header.get_zooms()[along]) * ms_per_unit
    return time_ms if FRAME_TIME_MS[0] < time_ms <= FRAME_TIME_MS[1] else None


def not_square(affine: np.ndarray) -> list[Warned]:
    """A warning where the first two axes of an affine, a slice's columns and rows, are not perpendicular."""
    x, y = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (0, 1))
    degrees = float(np.degrees(np.arccos(np.clip(x @ y, -1, 1))))
    if abs(degrees - 90) <= DIFFERENT_DEGREES:
        return []
    message = (
        f"The header's rows and columns meet at {degrees:.0f} degrees instead of 90: areas and volumes count it, "
        "wall thickness does not; check the header."
    )
    return [("sheared_slices", message)]


def _chosen(header: Any) -> tuple[np.ndarray, list[Warned]]:
    """The sform, else the qform, else what pixdim gives; a warning where both are set and differ."""
    sform, qform = header.get_sform(), _qform(header)
    has_sform = int(header["sform_code"]) > 0
    if not has_sform or qform is None:
        return np.asarray(header.get_best_affine(), float), []
    sform = np.asarray(sform, float)
    if not _usable(sform):
        if not _usable(qform):
            return sform, []
        message = "The header's sform cannot be used (it gives the voxels no size); its qform was taken instead."
        return qform, [("header_contradicts_itself", message)]
    turned = _degrees(sform, qform)
    voxels = float(np.linalg.norm(sform[:3, 3] - qform[:3, 3]) / np.linalg.norm(sform[:3, :3], axis=0).min())
    if turned <= DIFFERENT_DEGREES and voxels > DIFFERENT_VOXELS:
        message = (
            f"The header's sform and qform place the image {voxels:.2g} voxels apart; the sform was taken. "
            "Against other images of the study it may be displaced; check the header."
        )
        return sform, [("header_contradicts_itself", message)]
    if turned <= DIFFERENT_DEGREES:
        return sform, []
    message = (
        f"The header's sform and qform turn the image differently, by {turned:.0f} degrees; the sform was taken. "
        "Where anterior is, and so the segments, may be wrong; check the header."
    )
    return sform, [("header_contradicts_itself", message)]


def _qform(header: Any) -> np.ndarray | None:
    if int(header["qform_code"]) <= 0:
        return None
    try:
        return np.asarray(header.get_qform(), float)
    except Exception:  # quaternions that are none
        return None


def _usable(affine: np.ndarray) -> bool:
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.isfinite(affine).all() and (norms > 1e-6).all() and abs(np.linalg.det(affine[:3, :3])) > 0)


def _degrees(sform: np.ndarray, qform: np.ndarray) -> float:
    """The largest angle between two affines' axes; of a sheared sform those of the nearest rotation, as a qform has."""
    left, _, right = np.linalg.svd(sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0))
    axes = qform[:3, :3] / np.linalg.norm(qform[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip((left @ right * axes).sum(axis=0), -1, 1))).max())


def _apart(affine: np.ndarray) -> np.ndarray:
    """For each axis the distance between the planes of the other two; with a shear less than the axis' own length."""
    x, y, z = affine[:3, :3].T
    areas = np.linalg.norm([np.cross(y, z), np.cross(z, x), np.cross(x, y)], axis=1)
    return np.abs(np.linalg.det(affine[:3, :3])) / areas


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a / b - 1) <= DIFFERENT_SIZE


def _sizes(affine: np.ndarray, pixdim: np.ndarray, taken: str) -> Warned:
    """The warning on two sizes of a voxel."""
    other = "pixdim" if taken == "affine" else "affine"
    one, two = (" x ".join(f"{mm:.3g}" for mm in sizes) for sizes in (affine, pixdim))
    factor = np.prod(pixdim) / np.prod(affine)
    factor = factor if taken == "affine" else 1 / factor
    then = f"volumes are {factor:.3g} times as large" if abs(factor - 1) > DIFFERENT_SIZE else "slices lie another way"
    message = (
        f"The header contradicts itself: voxels of {one} mm by its affine, of {two} mm by its pixdim. The {taken} was "
        f"taken; if the {other} is right, {then}."
    )
    return "header_contradicts_itself", message
