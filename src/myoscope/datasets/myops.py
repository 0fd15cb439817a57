"""MyoPS 2020: aligned bSSFP (C0), LGE and T2 with scar and edema (Zhuang, doi:10.1109/TPAMI.2018.2869576).

A case is a folder with `NAME_C0.nii.gz`, `NAME_LGE.nii.gz` (or `_DE`), `NAME_T2.nii.gz` and labels in `NAME_gd.nii.gz`,
where NAME is `Case30NN` or `myops_training_1NN`.
"""

import re
from pathlib import Path

import numpy as np

from myoscope.io.nifti import read_labels, read_nifti
from myoscope.labels import MYOPS_CODES, Structure
from myoscope.study import Case, Patient, Role, Series, Study

ROLES = {"C0": Role.BSSFP, "LGE": Role.LGE, "DE": Role.LGE, "T2": Role.T2}

DIRECTIONS = np.diag([-1.0, 1.0, 1.0])
"""How the arrays lie, whatever their headers say: x to the patient's left, y upwards."""

_IMAGE = re.compile(r"^(case\d+|myops_\w+?_\d+)_(C0|LGE|DE|T2)\.nii(\.gz)?$", re.IGNORECASE)


def is_case(folder: Path) -> bool:
    """Whether a folder is laid out as a MyoPS case."""
    return bool(_images(folder))


def read_study(folder: Path) -> Study:
    """Read a case's sequences. Labels are not read."""
    series = []
    for role, path in _images(folder).items():
        image, grid = read_nifti(path, DIRECTIONS)
        series.append(Series(role, grid.stem, image, (grid,)))
    return Study(folder.name, Patient(), tuple(series))


def read_case(folder: Path) -> Case:
    """Read a case with its labels: one map, on the grid that all its sequences share."""
    study = read_study(folder)
    labels = {}
    for series in study.series:
        grid = series.files[0]
        path = grid.path.with_name(re.sub(r"_(C0|LGE|DE|T2)\.nii", "_gd.nii", grid.path.name, flags=re.IGNORECASE))
        labels[series.role] = read_labels(path, series.image, grid, MYOPS_CODES)
    return Case(study, labels, None, folder.name, {Structure.NO_REFLOW: Structure.INFARCT})


def _images(folder: Path) -> dict[Role, Path]:
    found = {ROLES[m[2].upper()]: p for p in sorted(folder.iterdir()) if p.is_file() and (m := _IMAGE.match(p.name))}
    return {role: found[role] for role in sorted(found)}
