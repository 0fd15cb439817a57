"""EMIDEC: late gadolinium enhancement with infarct and no-reflow, 12 clinical values.

Lalande et al. 2020, doi:10.3390/data5040089.

A case is `Case_X/` with `Images/Case_X.nii.gz`, labels in `Contours/`, and `Case X.txt` beside the folder.
"""

import re
from pathlib import Path
from typing import Literal

from myoscope.io.nifti import is_nifti, read_labels, read_nifti
from myoscope.labels import EMIDEC_CODES, Structure
from myoscope.study import Case, Patient, Role, Series, Study

CLASSES = ("normal", "pathological")


def is_case(folder: Path) -> bool:
    """Whether a folder is laid out as an EMIDEC case."""
    images = folder / "Images"
    return images.is_dir() and any(is_nifti(path) for path in images.iterdir())


def read_study(folder: Path) -> Study:
    """Read a case's LGE stack and clinical text. Labels are not read."""
    path = sorted(p for p in (folder / "Images").iterdir() if is_nifti(p))[0]
    image, grid = read_nifti(path)
    return Study(folder.name, _patient(folder), (Series(Role.LGE, grid.stem, image, (grid,)),))


def read_case(folder: Path) -> Case:
    """Read a case with its labels and, from the letter in its name, its class."""
    study = read_study(folder)
    series = study.series[0]
    grid = series.files[0]
    labels = read_labels(folder / "Contours" / grid.path.name, series.image, grid, EMIDEC_CODES)
    letter = re.match(r"Case_([NP])", folder.name)
    group = {"N": CLASSES[0], "P": CLASSES[1]}[letter[1]] if letter else None
    return Case(study, {Role.LGE: labels}, group, folder.name, {Structure.RV: Structure.BACKGROUND})


def read_clinical(text: str) -> dict[str, str]:
    r"""The `key : value` lines of a case's text, without the case's name.

    >>> read_clinical("Case P002\r\n\r\nSex\xa0: M\r\nFamilial history of coronary artery disease: N\r\n")
    {'Sex': 'M', 'Familial history of coronary artery disease': 'N'}
    """
    pairs = (line.replace("\xa0", " ").split(":", 1) for line in text.splitlines() if ":" in line)
    return {" ".join(key.split()): value.strip() for key, value in pairs if value.strip()}


def _patient(folder: Path) -> Patient:
    name = folder.name.replace("_", " ") + ".txt"
    places = (folder.parent / name, folder / name, folder.parent / f"{folder.name}.txt", folder / f"{folder.name}.txt")
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        return Patient()
    facts = read_clinical(path.read_text(encoding="iso-8859-1"))
    facts.pop("Gap between slices", None)  # not clinical, and it gives the class away
    sex: Literal["F", "M"] | None = None
    if facts.get("Sex", "").upper() in ("F", "M"):
        sex = "F" if facts.pop("Sex").upper() == "F" else "M"
    age = facts.pop("Age") if re.fullmatch(r"\d{1,2}(\.\d+)?|1[01]\d", facts.get("Age", "")) else None
    return Patient(sex=sex, age_years=float(age) if age else None, clinical=facts)
