"""Faults of NIfTI studies, to be combined: each changes a `Draft` of a phantom's study and says what outcome is right.

    draft = spoil(drawn(seed), rng); print(outcome(draft, folder))

The property: what is measured from the phantom's own labels, carried through reading, is right within 1 %, or there is
a refusal, a null or a warning that names one of `draft.causes`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff

from myoscope.labels import Structure
from nifti_drafts import Draft, across, drawn, outcome

__all__ = ["GROUPS", "Fault", "drawn", "outcome", "spoil"]

Fault = Callable[[Draft, np.random.Generator], None]


# --- the faults ---


def sheared(draft: Draft, rng: np.random.Generator) -> None:
    """Each slice lies shifted in its plane against the last."""
    along = draft.affine[:3, 0] / np.linalg.norm(draft.affine[:3, 0])
    draft.affine[:3, 2] += along * np.linalg.norm(draft.affine[:3, 2]) * np.tan(np.radians(rng.uniform(5, 35)))


def pixdim_differs(draft: Draft, rng: np.random.Generator) -> None:
    """Another size of voxels in pixdim than in the sform."""
    axis, factor = int(rng.integers(1, 4)), rng.choice([0.5, 0.6, 0.9, 1.2, 1.5])

    def change(header: Any) -> None:
        header["pixdim"][axis] *= factor

    draft.header.append(change)
    draft.causes.append("header contradicts itself")


def sform_differs(draft: Draft, rng: np.random.Generator) -> None:
    """The sform has another distance between slices than pixdim, which is right."""
    factor = rng.choice([0.6, 0.8, 1.33])

    def change(header: Any) -> None:
        for row in ("srow_x", "srow_y", "srow_z"):
            header[row] = header[row] * [1, 1, factor, 1]

    draft.header.append(change)
    draft.causes += ["header contradicts itself", "found another place"]  # labels with their own header


def sform_empty(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """The sform is set, to zeros."""

    def change(header: Any) -> None:
        for row in ("srow_x", "srow_y", "srow_z"):
            header[row] = 0

    draft.header.append(change)
    draft.causes.append("sform cannot be used")


def in_metres(draft: Draft, rng: np.random.Generator) -> None:
    """Lengths in metres or micrometres, said in the header."""
    unit, factor = (("meter", 0.001), ("micron", 1000.0))[rng.integers(2)]

    def change(image: nib.Nifti1Image) -> nib.Nifti1Image:
        affine = np.diag([factor, factor, factor, 1]) @ image.affine
        other = nib.Nifti1Image(image.dataobj, affine)
        other.header.set_xyzt_units(unit, "msec")
        return other

    draft.stored.append(change)


def other_encoding(draft: Draft, rng: np.random.Generator) -> None:
    """float64, or big-endian, or scaled integers."""
    kind = rng.integers(3)

    def change(image: nib.Nifti1Image) -> nib.Nifti1Image:
        voxels = np.asarray(image.dataobj)
        if kind == 0:
            return nib.Nifti1Image(voxels.astype(np.float64), None, image.header, dtype=np.float64)
        header = nib.Nifti1Header(endianness=">") if kind == 1 else image.header.copy()
        if kind == 1:
            header.set_data_dtype(voxels.dtype)
            header.set_xyzt_units(*image.header.get_xyzt_units())
        else:
            header.set_slope_inter(0.5, 10)
        return nib.Nifti1Image(voxels, image.affine, header)

    draft.stored.append(change)


def time_on_axis_5(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """(x, y, z, 1, t)."""
    draft.stored.append(lambda image: nib.Nifti1Image(np.asarray(image.dataobj)[:, :, :, None], None, image.header))


def turned(draft: Draft, rng: np.random.Generator) -> None:
    """Axes in another order and direction, with the affine that belongs to it."""
    orientation = np.column_stack([rng.permutation(3), rng.choice([-1, 1], 3)])
    affine = draft.affine @ inv_ornt_aff(orientation, draft.voxels.shape[:3])
    draft.voxels, draft.labels = (apply_orientation(a, orientation) for a in (draft.voxels, draft.labels))
    draft.affine = affine


def interleaved(draft: Draft, rng: np.random.Generator) -> None:
    """Slices in the order of acquisition: 1, 3, 5, ... 2, 4, ..."""
    axis, first = across(draft), int(rng.integers(2))
    count = draft.voxels.shape[axis]
    _reorder(draft, axis, [*range(first, count, 2), *range(1 - first, count, 2)])
    draft.causes.append("slices of the file are unlike")


def shuffled(draft: Draft, rng: np.random.Generator) -> None:
    """Slices in any order."""
    axis = across(draft)
    _reorder(draft, axis, rng.permutation(draft.voxels.shape[axis]).tolist())
    draft.causes.append("slices of the file are unlike")


def single_slices(draft: Draft, rng: np.random.Generator) -> None:
    """A file for each slice, as dcm2niix writes some cines."""
    draft.split = "slices" if rng.random() < 0.7 else "slices, one missing"
    draft.causes.append("single slices at one distance")


def two_phases(draft: Draft, rng: np.random.Generator) -> None:
    """A file for each phase, named ED and ES."""
    draft.split = "phases"
    draft.name = str(rng.choice(["P07_{}.nii.gz", "001_SA_{}.nii.gz", "{}.nii.gz", "x-cine-{}.nii"]))


def named_otherwise(draft: Draft, rng: np.random.Generator) -> None:
    """A name of a public layout."""
    draft.name = str(
        rng.choice(["sa.nii.gz", "A0S9V9_sa.nii.gz", "cine_sax.nii.gz", "CASE_0000.nii.gz", "CINE.NII.GZ"])
    )


def named_long(draft: Draft, rng: np.random.Generator) -> None:
    """A name that says long axis, or a map."""
    draft.name = str(rng.choice(["la_2ch.nii.gz", "cine_lax.nii", "4ch.nii.gz", "T1map.nii.gz", "sax_flow.nii.gz"]))
    draft.causes += ["a long axis", "a map", "flow"]


def long_axes_beside(draft: Draft, rng: np.random.Generator) -> None:
    """Long axes and a map lie in the same folder."""
    names = rng.choice(["la_2ch", "la_4ch", "cine_lax", "T2_map"], 2, replace=False)

    def write(folder: Path) -> None:
        for name in names:
            nib.save(
                nib.Nifti1Image(np.arange(512, dtype=np.int16).reshape(8, 8, 8), np.eye(4)), folder / f"{name}.nii"
            )

    draft.beside.append(write)


def bystanders(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """What computers and people leave beside."""

    def write(folder: Path) -> None:
        for name in ("._cine.nii.gz", ".DS_Store", "__MACOSX/._x.nii", "letter.pdf", ".ipynb_checkpoints/cine.nii.gz"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"\0\5\26\7 nothing")

    draft.beside.append(write)


def labels_beside(draft: Draft, rng: np.random.Generator) -> None:
    """A label map lies beside, named as one or not."""
    name = rng.choice(["cine_seg", "cine_manual", "truth", "Segmentation_2"])
    codes = (draft.labels[..., 0] > 0).astype(np.uint8)
    draft.beside.append(lambda folder: nib.save(nib.Nifti1Image(codes, draft.affine), folder / f"{name}.nii.gz"))


def empty_beside(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """A file without a byte."""
    draft.beside.append(lambda folder: (folder / "lge.nii.gz").touch())


def labels_turned(draft: Draft, rng: np.random.Generator) -> None:
    """The label map's axes in another order and direction, with its affine, as an editor writes it."""
    orientation = np.column_stack([rng.permutation(3), rng.choice([-1, 1], 3)])

    def change(labels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return apply_orientation(labels, orientation), affine @ inv_ornt_aff(orientation, labels.shape[:3])

    draft.drawn.append(change)


def labels_shifted(draft: Draft, rng: np.random.Generator) -> None:
    """The label map's affine puts it elsewhere."""
    shift = np.zeros(4)
    shift[: int(rng.integers(1, 4))] = rng.uniform(2, 20)

    def change(labels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = affine.copy()
        moved[:, 3] += shift
        return labels, moved

    draft.drawn.append(change)
    draft.causes.append("found another place")


def labels_with_nan(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """Voxels of the label map hold no number."""

    def change(labels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(labels == Structure.LV, np.nan, labels).astype(np.float32), affine

    draft.drawn.append(change)
    draft.causes.append("hold no number")


GROUPS: tuple[tuple[Fault, ...], ...] = (
    (sheared,),
    (pixdim_differs, sform_differs, sform_empty, in_metres),
    (other_encoding, time_on_axis_5),
    (turned,),
    (interleaved, shuffled, single_slices, two_phases),
    (named_otherwise, named_long),
    (bystanders, labels_beside, long_axes_beside, empty_beside),
    (labels_turned, labels_shifted, labels_with_nan),
)
"""Faults of one group exclude each other; they are done in this order."""


def spoil(draft: Draft, rng: np.random.Generator, most: int = 3) -> Draft:
    """Put 1 to `most` faults of different groups into a draft."""
    chosen = sorted(rng.choice(len(GROUPS), int(rng.integers(1, most + 1)), replace=False))
    for group in chosen:
        fault = GROUPS[group][rng.integers(len(GROUPS[group]))]
        if fault in (sform_empty,) and sheared.__name__ in draft.faults:
            continue  # a qform cannot hold a shear
        if draft.split and fault in (named_otherwise, named_long):
            continue
        fault(draft, rng)
        draft.faults.append(fault.__name__)
    return draft


# --- what becomes of it ---


def _reorder(draft: Draft, axis: int, order: list[int]) -> None:
    draft.voxels, draft.labels = (np.take(a, order, axis=axis) for a in (draft.voxels, draft.labels))
