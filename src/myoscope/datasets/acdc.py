"""ACDC 2017: cine MR, labelled at end-diastole and end-systole, five classes.

Bernard et al. 2018, doi:10.1109/TMI.2018.2837502.

A case is `patientNNN/` with `Info.cfg`, `patientNNN_4d.nii.gz` (may be absent) and, for two frames,
`patientNNN_frameFF.nii.gz` with labels in `patientNNN_frameFF_gt.nii.gz`.
"""

import re
from pathlib import Path

import numpy as np

from myoscope.errors import InputError
from myoscope.io.nifti import read_labels, read_nifti, shown
from myoscope.labels import ACDC_CODES
from myoscope.study import Case, Patient, Role, Series, Study

CLASSES = ("NOR", "MINF", "DCM", "HCM", "RV")
SAME_SCAN = {"patient076": "patient074"}
"""Patients of the official release that are one scan, drawn twice."""

_FRAME = re.compile(r"_frame(\d+)\.nii(\.gz)?$", re.IGNORECASE)


def is_case(folder: Path) -> bool:
    """Whether a folder is laid out as an ACDC patient."""
    return bool(_frames(folder)) or any(folder.glob("patient*_4d.nii*"))


def read_study(folder: Path) -> Study:
    """Read a patient's cine: the whole of it where it is there, else the frames at ED and ES. Labels are not read."""
    info, _ = _info(folder)
    patient = Patient(height_cm=_number(info, "Height"), weight_kg=_number(info, "Weight"))
    whole = sorted(folder.glob("patient*_4d.nii*"))
    if whole:
        image, grid = read_nifti(whole[0])
        return Study(folder.name, patient, (Series(Role.CINE, grid.stem, image, (grid,)),))
    return Study(folder.name, patient, (read_frames(list(_frames(folder).values()), _phase_numbers(info, folder)),))


def read_case(folder: Path) -> Case:
    """Read a patient's labelled frames (ED first), with labels and class.

    Raises:
        InputError: a label file is missing or on another grid.
    """
    info, group = _info(folder)
    frames = _frames(folder)
    series = read_frames(list(frames.values()), _phase_numbers(info, folder))
    labels = []
    for grid in series.files:
        path = grid.path.with_name(grid.path.name.replace(".nii", "_gt.nii"))
        labels.append(read_labels(path, series.image, grid, ACDC_CODES).voxels)
    patient = Patient(height_cm=_number(info, "Height"), weight_kg=_number(info, "Weight"))
    study = Study(folder.name, patient, (series,))
    scan = SAME_SCAN.get(folder.name, folder.name)
    return Case(study, {Role.CINE: series.image.with_voxels(np.stack(labels))}, group, scan)


def read_frames(paths: list[Path], phases: tuple[int | None, int | None] = (None, None)) -> Series:
    """Stack frames that lie in files of their own into one cine series.

    Args:
        paths: One 3-D file a frame, in order of time.
        phases: Positions of the ED and ES frame in `paths`, where known.

    Raises:
        InputError: the frames do not share one grid.
    """
    read = [read_nifti(path) for path in paths]
    first, grid = read[0]
    for (image, own), path in zip(read, paths, strict=True):
        if len(image.frames) != 1 or not image.same_grid(first) or own.order != grid.order:
            t, *size = image.frames.shape
            raise InputError(
                f"{shown(path)}: expected one frame on the grid of {shown(paths[0].name)} "
                f"{first.frames.shape[1:]}, found {t} of {tuple(size)} (Z, Y, X); give one cine whose frames show the "
                "same slices, or each file alone"
            )
    image = first.with_voxels(np.concatenate([volume.frames for volume, _ in read]))
    name = _FRAME.sub("", paths[0].name)
    return Series(Role.CINE, name, image, tuple(grid for _, grid in read), *phases)


def _frames(folder: Path) -> dict[int, Path]:
    found = {int(m[1]): path for path in folder.glob("*_frame*.nii*") if (m := _FRAME.search(path.name))}
    return dict(sorted(found.items()))


def _info(folder: Path) -> tuple[dict[str, str], str | None]:
    """`Info.cfg` without the class, and the class (which no prediction may see)."""
    path = folder / "Info.cfg"
    if not path.is_file():
        return {}, None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    info = dict(re.split(r"\s*:\s*", line.strip(), maxsplit=1) for line in lines if ":" in line)
    return info, info.pop("Group", None)


def _phase_numbers(info: dict[str, str], folder: Path) -> tuple[int | None, int | None]:
    """Positions of ED and ES among the frame files."""
    numbers = list(_frames(folder))
    found = [int(info[key]) if info.get(key, "").isdigit() else None for key in ("ED", "ES")]
    if any(n not in numbers for n in found):
        return None, None
    return numbers.index(found[0]), numbers.index(found[1])  # type: ignore[arg-type]


def _number(info: dict[str, str], key: str) -> float | None:
    try:
        value = float(info[key])
    except (KeyError, ValueError):
        return None
    return value if 0 < value < 400 else None
