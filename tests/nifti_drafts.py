"""A phantom's study as NIfTI before it is written, for `nifti_faults` to spoil, and what became of it after reading."""

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from myoscope.analysis import judge
from myoscope.datasets.phantom import draw, sample
from myoscope.errors import InputError
from myoscope.io.label_maps import read_label_maps
from myoscope.io.read import read_study
from myoscope.labels import LV_WALL, Structure
from myoscope.measure import DENSITY_G_ML
from myoscope.study import Role

CLOSE = 0.01
"""A number is right within this share."""


@dataclass
class Draft:
    """A cine of two frames, ED first, as it will be written; arrays (x, y, z, t). `causes` are patterns of messages."""

    voxels: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    edv_ml: float
    esv_ml: float
    mass_g: float
    name: str = "cine.nii.gz"
    split: str = ""
    header: list[Callable[[Any], None]] = field(default_factory=list)
    stored: list[Callable[[nib.Nifti1Image], nib.Nifti1Image]] = field(default_factory=list)
    drawn: list[Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = field(default_factory=list)
    beside: list[Callable[[Path], None]] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@lru_cache(maxsize=8)
def _phantom(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels, labels and affine of a phantom's cine, cut to the heart and what lies around it."""
    case = draw(sample(seed), (Role.CINE,), frames=2)
    image, labels = case.study.series[0].image, case.labels[Role.CINE].frames
    seen = np.argwhere(labels.any(axis=(0, 1)))
    low, high = seen.min(axis=0) - 12, seen.max(axis=0) + 13
    low = np.maximum(low, 0)
    cut = (..., slice(low[0], high[0]), slice(low[1], high[1]))
    affine = image.affine.copy()
    affine[:3, 3] = (image.affine @ [low[1], low[0], 0, 1])[:3]
    return np.round(image.frames[cut].T * 100 + 3).astype(np.int16), labels[cut].T.copy(), affine


def drawn(seed: int) -> Draft:
    """A draft without fault, and what is to be measured on it."""
    voxels, labels, affine = (array.copy() for array in _phantom(seed))  # faults write into them
    ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    edv, esv = ((labels[..., t] == Structure.LV).sum() * ml for t in (0, 1))
    mass = np.isin(labels[..., 0], LV_WALL).sum() * ml * DENSITY_G_ML
    return Draft(voxels, labels, affine, float(edv), float(esv), float(mass))


def written(draft: Draft, folder: Path) -> Path:
    """Write a draft's images into `folder/study` and its label maps into `folder/labels`; gives the study."""
    study, labels = folder / "study", folder / "labels"
    for place in (study, labels):
        place.mkdir(parents=True)
    for name, index in _parts(draft):
        affine = draft.affine.copy()
        affine[:3, 3] = (draft.affine @ [*(part.start or 0 for part in index[:3]), 1])[:3]
        _save(draft, study / name, draft.voxels[index], affine)
        if draft.split == "phases":
            _save_labels(draft, labels / f"{_stem(name)}_seg.nii.gz", draft.labels[index])
    if draft.split != "phases":
        _save_labels(draft, labels / f"{_stem(draft.name)}_seg.nii.gz", draft.labels)
    for write in draft.beside:
        write(study)
    return study


def outcome(draft: Draft, folder: Path) -> str:
    """What reading and measuring a draft gives: "right", "refused", "warned", "null", or "WRONG" and why."""
    try:
        study = read_study(written(draft, folder))
        maps = [str(path) for path in sorted((folder / "labels").iterdir())]
        labels, _ = read_label_maps(study, [f"cine={maps[0]}"] if len(maps) == 1 else maps, "myoscope")
        found = judge(study, labels, {Role.CINE: {"labels_from": "phantom"}}).measurements
    except InputError as error:
        return "refused" if _named(draft, str(error)) else f"WRONG: refused with {error}"
    values = {"edv_ml": draft.edv_ml, "esv_ml": draft.esv_ml, "mass_g": draft.mass_g}
    lv = found.lv.model_dump()
    wrong = {k: (lv[k], v) for k, v in values.items() if lv[k] is None or abs(lv[k] / v - 1) > CLOSE}
    if not wrong:
        return "right"
    warnings = [flag.message for flag in found.quality.flags if flag.level != "info"]
    if any(_named(draft, message) for message in warnings):
        return "warned"
    if all(lv[k] is None for k in wrong):
        return "null"
    return f"WRONG: {wrong}"


def _stem(name: str) -> str:
    return re.sub(r"(\.nii)?(\.gz)?$", "", name, flags=re.IGNORECASE)


def _named(draft: Draft, message: str) -> bool:
    return any(re.search(cause, message) for cause in draft.causes)


def across(draft: Draft) -> int:
    """The file's axis across slices."""
    return int(np.linalg.norm(draft.affine[:3, :3], axis=0).argmax())


def _parts(draft: Draft) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Names of the image files, and what of the arrays each holds."""
    whole = (slice(None),) * 3
    if draft.split == "phases":
        for t, phase in enumerate(("ED", "ES")):
            yield draft.name.format(phase), (*whole, t)
    elif draft.split:
        axis = across(draft)
        for z in range(draft.voxels.shape[axis]):
            if draft.split == "slices" or z != 2:
                yield f"cine_{z + 3}.nii.gz", tuple(slice(z, z + 1) if a == axis else slice(None) for a in range(4))
    else:
        yield draft.name, whole


def _save(draft: Draft, path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "msec")
    for change in draft.stored:
        image = change(image)
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    data = image.to_bytes()
    if draft.header:
        header = type(image.header)(data[:348], endianness=image.header.endianness, check=False)
        for alter in draft.header:
            alter(header)
        data = header.binaryblock + data[348:]
    path.write_bytes(gzip.compress(data, 1) if path.suffix.lower() == ".gz" else data)


def _save_labels(draft: Draft, path: Path, labels: np.ndarray) -> None:
    affine = draft.affine
    for change in draft.drawn:
        labels, affine = change(labels, affine)
    image = nib.Nifti1Image(labels, affine)
    if draft.header and not draft.drawn:  # drawn on the image: its header, faults and all
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        data = image.to_bytes()
        header = nib.Nifti1Header(data[:348], check=False)
        for alter in draft.header:
            alter(header)
        path.write_bytes(gzip.compress(header.binaryblock + data[348:], 1))
        return
    nib.save(image, path)
