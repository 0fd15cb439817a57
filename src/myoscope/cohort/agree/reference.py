"""What readers say of the studies of a cohort: a table of numbers, or contours in the formats they come in."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from myoscope.cohort.agree.cvi42 import read_cvi42
from myoscope.cohort.agree.rtstruct import RTSTRUCT_CLASS, read_rtstruct
from myoscope.cohort.patients import read_csv
from myoscope.datasets import layout_of, own, read_case
from myoscope.errors import InputError
from myoscope.io.label_maps import read_label_maps
from myoscope.io.listing import files_below, looks_like_dicom
from myoscope.io.nifti import is_nifti, shown
from myoscope.io.tables import columns as measured_columns
from myoscope.study import Role, Study
from myoscope.volume import Volume

SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"


def read_numbers(path: Path) -> dict[str, dict[str, float]]:
    """A reader's numbers by study and dotted name (`lv.edv_ml`), from a CSV table with a column `study`.

    Raises:
        InputError: no such table, a study twice, a line of other length, a cell that is no number, or a column that is
            none of ours.
    """
    columns, lines = read_csv(path)
    names = [name for name in columns if re.fullmatch(r"(lv|rv|lge|t2)\.\w+", name)]
    if "study" not in columns or not names:
        raise InputError(
            f"{shown(path)}: expected a column study and some of measurements.csv (lv.edv_ml, lge.infarct_ml, ...)"
        )
    if unknown := next((name for name in names if name not in measured_columns()), None):
        raise InputError(f"{shown(path)}: expected columns of measurements.csv, found {unknown}; rename it")
    found: dict[str, dict[str, float]] = {}
    for number, row in lines:
        where = f"{shown(path)}, line {number}"
        if row["study"] in found:
            raise InputError(f"{where}: expected every study once, found one again; keep one reader's line")
        try:
            numbers = {name: float(row[name]) for name in names if row[name]}
        except ValueError:
            numbers = None
        if numbers is None or not all(map(math.isfinite, numbers.values())):
            raise InputError(f"{where}: expected numbers with a decimal point, found another; leave gaps empty")
        found[row["study"]] = numbers
    return found


def contours_below(folder: Path) -> dict[str, list[Path]]:
    """Where contours may lie, by the name or StudyInstanceUID of the study they are of.

    Cases of data sets; folders and files named after studies; DICOM segmentations and structure sets by their headers.
    """
    places: dict[str, list[Path]] = defaultdict(list)
    roots = [folder] if layout_of(folder) or own.is_data_set(folder) else [folder, *sorted(folder.iterdir())]
    for root in roots:
        if own.is_data_set(root):
            for name in own.read_table(root):
                places[name].append(root / name)
        elif root.is_dir() and (root is not folder or layout_of(root)):
            places[root.name].append(root)
    for file in files_below(folder):
        if file.suffix.lower() in (".xml", ".cvi42wsx"):
            places[file.stem].append(file)
        elif is_nifti(file) and file.parent == folder:
            stem = file.name.removesuffix(".gz").removesuffix(".nii")
            places[re.sub(r"_(seg|gt|label|mask)$", "", stem)].append(file)
        elif not is_nifti(file) and looks_like_dicom(file) and (uid := _drawn_study(file)):
            places[uid].append(file)
    return places


def labels_at(places: list[Path], study: Study) -> dict[Role, Volume]:
    """A reader's labels of a study, from all the places that hold some.

    Raises:
        InputError: a place cannot be read, is of other images, or two draw the same ones.
    """
    labels: dict[Role, Volume] = {}
    for found in (one for place in places for one in _read(place, study)):
        for role, volume in found.items():
            series = study.get(role)
            if series is None:
                continue
            if role in labels:
                raise InputError(f"{study.id}: expected one reader's {role} labels, found two; keep one")
            if volume.voxels.shape != series.image.voxels.shape:
                raise InputError(
                    f"{study.id}: expected {role} labels of shape {series.image.voxels.shape}, "
                    f"found {volume.voxels.shape}; are they drawn on these images?"
                )
            labels[role] = volume
    return labels


def _read(place: Path, study: Study) -> Iterator[Mapping[Role, Volume]]:
    if own.is_case(place) or (place.is_dir() and layout_of(place)):
        yield _of_case(place, study)
    elif place.is_dir():
        if any(is_nifti(file) for file in place.iterdir()):
            yield read_label_maps(study, [str(place)])[0]
    elif is_nifti(place):
        yield read_label_maps(study, [str(place)])[0]
    elif place.suffix.lower() in (".xml", ".cvi42wsx"):
        yield read_cvi42(place, study)
    else:
        is_set = _header(place, "SOPClassUID") == RTSTRUCT_CLASS
        yield read_rtstruct(place, study) if is_set else read_label_maps(study, [str(place)])[0]


def _of_case(place: Path, study: Study) -> Mapping[Role, Volume]:
    """The labels of a data set's case, if its images are the study's."""
    case = read_case(place)
    for role in case.labels:
        ours, theirs = (one.get(role) for one in (study, case.study))
        if ours is None or theirs is None or ours.image.voxels.shape != theirs.image.voxels.shape:
            continue
        same = np.array_equal(ours.image.voxels, theirs.image.voxels)
        if not (same and theirs.image.same_grid(ours.image)):
            raise InputError(
                f"{study.id}: expected {role} labels of the images that were analysed, found "
                f"{'another place or spacing' if same else 'other images'} in {shown(place)}; give the labels of these"
            )
    return case.labels


def _drawn_study(file: Path) -> str | None:
    """The study that a DICOM segmentation or structure set is of; None for any other file."""
    return _header(file, "StudyInstanceUID") if _header(file, "SOPClassUID") in (RTSTRUCT_CLASS, SEG_CLASS) else None


def _header(file: Path, keyword: str) -> str:
    from pydicom import dcmread

    try:
        return str(dcmread(file, stop_before_pixels=True, specific_tags=[keyword], force=True).get(keyword, ""))
    except Exception:  # pydicom raises whatever a damaged file makes it stumble over
        return ""


def frames_drawn(labels: Volume) -> np.ndarray:
    """The frames in which a reader drew anything."""
    return np.flatnonzero(labels.frames.any(axis=(1, 2, 3)))
