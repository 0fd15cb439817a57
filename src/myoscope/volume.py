"""Volume: voxels that know where they lie.

Conventions, kept everywhere in myoscope:

- Arrays are (Z, Y, X) or (T, Z, Y, X). Z runs across slices, in the file's order (apex to base or base to apex:
  `measure` finds out which). Y and X lie in the slice, and are shown as rows downwards and columns to the right.
- `affine` maps (x, y, z, 1) voxel indices to RAS+ patient coordinates in mm (nibabel's convention).
- Slices are held in the standard short-axis view, as from the apex: right ventricle on the left, anterior wall up.
  `io.nifti` turns files into it and turns results back onto the file's own grid.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from myoscope.errors import InputError

Spacing = tuple[float, float, float]
"""Distance between voxel centres along (Z, Y, X), in mm; Z is slice thickness plus gap."""

OBLIQUE_DEGREES = 2.0
"""An affine whose axes lie within this angle of the patient's is taken for a default that nobody measured:
a short-axis plane is always oblique. In the three public data sets such affines are made up."""

GRID_TOLERANCE_MM = 0.01
"""Grids are the same when no corner differs by more than this."""


@dataclass(frozen=True)
class Volume:
    """Voxels (Z, Y, X) or (T, Z, Y, X), and the affine that says where they lie (mm, RAS+).

    Raises:
        InputError: wrong number of dimensions, or a spacing that is not positive and finite.
    """

    voxels: np.ndarray
    affine: np.ndarray
    frame_time_ms: float | None = None

    def __post_init__(self) -> None:
        if self.voxels.ndim not in (3, 4):
            raise InputError(f"expected voxels (Z, Y, X) or (T, Z, Y, X), found shape {self.voxels.shape}")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise InputError("expected a finite 4x4 affine; set the image's orientation and spacing")
        if not min(self.spacing_mm) > 1e-6:
            raise InputError(f"expected positive voxel spacing, found {self.spacing_mm} mm (Z, Y, X)")

    def __repr__(self) -> str:
        """One line: what there is, not the voxels.

        >>> Volume(np.zeros((30, 10, 256, 216), np.float32), plain_affine((10.0, 1.4, 1.4)))
        <Volume: 30 frames, 10 slices of 256 x 216, 1.4 x 1.4 mm, 10 mm apart, float32>
        """
        frames, slices, rows, columns = self.frames.shape
        apart, *pixel = (f"{length:.4g}" for length in self.spacing_mm)
        size = f"{_count(frames, 'frame')}, {_count(slices, 'slice')} of {rows} x {columns}"
        return f"<Volume: {size}, {' x '.join(pixel)} mm, {apart} mm apart, {self.voxels.dtype}>"

    @cached_property
    def spacing_mm(self) -> Spacing:
        """Distance between planes, between rows, and between voxels of a row, in mm; their product is a voxel's volume.

        Where the affine is sheared, that is less than the length of its columns.
        """
        columns, rows, slices = self.affine[:3, :3].T
        across = np.cross(columns, rows)
        area, x = np.linalg.norm(across), np.linalg.norm(columns)
        with np.errstate(all="ignore"):
            return float(np.abs(across @ slices) / area), float(area / x), float(x)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(np.prod(self.spacing_mm)) / 1000

    @property
    def frames(self) -> np.ndarray:
        """The voxels as (T, Z, Y, X), T = 1 where there is one frame."""
        return self.voxels if self.voxels.ndim == 4 else self.voxels[None]

    @property
    def is_oblique(self) -> bool:
        """Whether the affine looks measured: its axes do not lie along the patient's."""
        cosines = np.abs(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))
        return bool(cosines.max(axis=0).min() < np.cos(np.radians(OBLIQUE_DEGREES)))

    def with_voxels(self, voxels: np.ndarray) -> "Volume":
        """Other voxels on the same grid; (Z, Y, X) must agree."""
        if voxels.shape[-3:] != self.voxels.shape[-3:]:
            raise InputError(f"expected slices of shape {self.voxels.shape[-3:]}, found {voxels.shape[-3:]}")
        return replace(self, voxels=voxels)

    def same_grid(self, other: "Volume") -> bool:
        """Whether both have the same slices at the same places (frames may differ in number)."""
        if self.voxels.shape[-3:] != other.voxels.shape[-3:]:
            return False
        z, y, x = self.voxels.shape[-3:]
        corners = np.array([[i, j, k, 1] for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)], float)
        return bool(np.abs(corners @ (self.affine - other.affine).T).max() <= GRID_TOLERANCE_MM)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def onto_grid(image: Volume, grid: Volume, order: int = 1) -> np.ndarray:
    """An image's first frame on another's voxels, by their affines: float32 (Z, Y, X), 0 where the image has none.

    Slices are slabs: a voxel takes the value of the slice that it lies in; in plane linear, nearest with `order` 0
    (labels).
    """
    if image.same_grid(grid):
        return image.frames[0].astype(np.float32)
    z, y, x = np.indices(grid.voxels.shape[-3:], dtype=np.float32)
    to_image = np.linalg.inv(image.affine) @ grid.affine
    column, row, depth = (
        np.einsum("ij,jzyx->izyx", to_image[:3, :3], np.stack([x, y, z])) + to_image[:3, 3, None, None, None]
    )
    return ndimage.map_coordinates(
        image.frames[0].astype(np.float32), [np.rint(depth), row, column], order=order, mode="constant", cval=0.0
    )


def plain_affine(spacing_mm: Spacing) -> np.ndarray:
    """Affine of a volume whose orientation nobody measured: x to the patient's left, y to posterior.

    >>> plain_affine((10.0, 1.5, 1.25)).diagonal().tolist()
    [-1.25, -1.5, 10.0, 1.0]
    """
    z, y, x = spacing_mm
    return np.diag([-x, -y, z, 1.0])
