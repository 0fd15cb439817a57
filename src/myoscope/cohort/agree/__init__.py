"""How well a cohort agrees with a site's own readers: `myoscope agree`."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.cohort.agree.compare import Compared, compare_labels, intervals_of, numbers, weights_of
from myoscope.cohort.agree.coverage import calibration_of, coverage, why_no_calibration
from myoscope.cohort.agree.page import render
from myoscope.cohort.agree.reference import contours_below, labels_at, read_numbers
from myoscope.cohort.agree.statistics import Agreement, agreement
from myoscope.cohort.state import Out
from myoscope.cohort.twins import find_twins, in_words
from myoscope.correction import check_images
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.io.patient import with_former
from myoscope.io.read import read_study
from myoscope.io.record import StudyRecord, read_record
from myoscope.study import Study


@dataclass(frozen=True)
class Row:
    """Agreement in one measurement, over all patients (`group` "all") or a group of them (`by` class, ...)."""

    name: str
    by: str
    group: str
    result: Agreement


def agree(out: Path, reference: Path, page: Path, patients: Path | None = None) -> list[str]:
    """Compare a cohort with readers and write a page, and its numbers beside it as JSON; gives lines to print.

    With 30 cases or more of a measurement, PAGE.calibration.json says by what its interval is to be stretched.

    Args:
        out: The cohort's folder.
        reference: A CSV table of numbers, or a folder of contours.
        page: The page to write.
        patients: A CSV table with `study` and `class`; classes that the cohort knew need none.

    Raises:
        InputError: no cohort, no reference of any of its studies, one that fits two of them, or cannot be read.
    """
    state = Out(out)
    studies = sorted(path.name for path in state.studies.glob("*") if state.done(path.name))
    if not studies:
        raise InputError(f"{shown(out)}: expected a cohort's folder, found no study in it; run myoscope cohort first")
    if not reference.exists():
        raise InputError(f"{shown(reference)}: no such file or folder; check the path")
    classes = _classes(patients) if patients else {}
    compared, problems = [], []
    is_table = reference.is_file()
    references: Mapping[str, Any] = read_numbers(reference) if is_table else contours_below(reference)
    names = _names(references, state, studies)
    for study, name in names.items():
        group = classes.get(study) or classes.get(_name(study)) or (state.done(study) or {}).get("class")
        groups = {"class": str(group)} if group else {}
        try:
            compared.append(_compared(state, study, references[name], is_table, groups))
        except InputError as error:
            problems.append(str(error))
    if not compared:
        hint = f" ({problems[0]})" if problems else ""
        raise InputError(
            f"{shown(reference)}: expected a reference named after studies of {shown(out)}, found none{hint}"
        )
    left_out = list(problems)
    if is_table and (left := len(references) - len(names)):
        left_out.append(f"{left} of {len(references)} lines of the reference name no study here.")
    left_out += _twice(state, [one.study for one in compared])
    rows = agreements(compared)
    if not rows:
        raise InputError(f"{shown(reference)}: expected at least 3 studies with numbers of both, found fewer")
    held = coverage(compared)
    calibration = calibration_of(compared, held)
    words = "" if calibration else why_no_calibration(held)
    write_whole(page, render(compared, rows, left_out, held, words))
    found = {"intervals": [asdict(row) for row in held], "why_no_calibration": words or None}
    write_whole(page.with_suffix(".json"), json.dumps(found | _as_json(compared, rows, left_out), indent=1) + "\n")
    lines = _summary(compared, rows, len(problems), left_out)
    if calibration:
        path = page.with_suffix(".calibration.json")
        calibration.write(path)
        lines.append(f"calibration of {len(calibration.factors)} intervals: {path}")
    return lines


def _compared(state: Out, study: str, theirs: Any, is_table: bool, groups: Mapping[str, str]) -> Compared:
    """A study of the cohort beside its line of a table, or its contours.

    Raises:
        InputError: its result was damaged, the images are not to be had, or the contours do not fit them.
    """
    folder, measured = state.studies / study, state.measurements(study)
    if is_table:
        how_sure = intervals_of(measured), weights_of(measured)
        return Compared(folder.name, numbers(measured), theirs, groups, (), *how_sure)
    images = _images(folder, measured)
    return compare_labels(images, folder, labels_at(theirs, images), measured, {**groups, **_scanner(images)})


def _images(folder: Path, measured: Mapping[str, Any]) -> Study:
    """The images that a study of the cohort was analysed from.

    Raises:
        InputError: they are gone, or others by now.
    """
    record = read_record(folder)
    if record is None or record.input is None:
        raise InputError(f"{folder.name}: where its images lie is not known; analyze it again")
    images = read_study(Path(record.input.path), record.input.role, record.input.series)
    check_images(folder, images)
    return replace(images, patient=with_former(images.patient, measured["patient"], record.input.told))


def _twice(state: Out, studies: list[str]) -> list[str]:
    twins = find_twins(state, studies)
    return [f"{study}: {in_words(twins[study])}; the patient counts twice." for study in sorted(twins)]


def agreements(compared: list[Compared]) -> list[Row]:
    """Agreement in every measurement that three patients have by both; over all of them, then by group."""
    rows = []
    for name in dict.fromkeys(name for one in compared for name in one.theirs):
        both = [one for one in compared if name in one.ours and name in one.theirs]
        chosen = [("all", "all", both)]
        for by in dict.fromkeys(by for one in both for by in one.groups):
            values = sorted({one.groups[by] for one in both if by in one.groups})
            chosen += [(by, value, [one for one in both if one.groups.get(by) == value]) for value in values]
        for by, group, members in chosen:
            a, b = (
                np.array([side[name] for side in sides])
                for sides in ([one.ours for one in members], [one.theirs for one in members])
            )
            if result := agreement(a, b):
                rows.append(Row(name, by, group, result))
    return rows


def _names(references: Mapping[str, Any], state: Out, studies: list[str]) -> dict[str, str]:
    """By study the name of its reference; those without one are left out.

    Raises:
        InputError: one reference is named after two studies.
    """
    names = {study: _of(references, study, read_record(state.studies / study)) for study in studies}
    found: dict[str, str] = {}
    for study, name in names.items():
        if name is not None and name in found:
            raise InputError(
                f"{shown(name)}: expected the reference of one study, found {found[name]} and {study}; name it after a "
                f"study's id, or move what counts no more out of {shown(state.studies)}"
            )
        if name is not None:
            found[name] = study
    return {study: name for name, study in found.items()}


def _of(references: Mapping[str, Any], study: str, record: StudyRecord | None) -> str | None:
    """Name of a study's reference: its id, the id without its hash, or the name of the folder or file it came from."""
    place = Path(record.input.path) if record and record.input else Path(study)
    stem = place.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".zip")
    return next((name for name in (study, _name(study), place.name, stem) if name in references), None)


def _name(study: str) -> str:
    return re.sub(r"-[0-9a-f]{8}$", "", study)


def _classes(path: Path) -> dict[str, str]:
    from myoscope.cohort.patients import lines_of

    return {cells["study"]: cells["class"] for _, cells in lines_of(path) if cells.get("class")}


def _scanner(study: Study) -> dict[str, str]:
    """Manufacturer with model, and field strength, from the header of a DICOM study's first image."""
    source = next((series.source for series in study.series if series.source), None)
    if source is None:
        return {}
    from pydicom import dcmread

    header = dcmread(source.images[0][0].path, stop_before_pixels=True, force=True)
    maker = " ".join(str(header.get(key, "")) for key in ("Manufacturer", "ManufacturerModelName")).strip()
    field = header.get("MagneticFieldStrength")
    return ({"scanner": maker} if maker else {}) | ({"field strength": f"{float(field):g} T"} if field else {})


def _as_json(compared: list[Compared], rows: list[Row], problems: list[str]) -> dict[str, Any]:
    studies = [
        {
            "study": one.study,
            "groups": dict(one.groups),
            "ours": dict(one.ours),
            "theirs": dict(one.theirs),
            "overlaps": [asdict(overlap) for overlap in one.overlaps],
        }
        for one in compared
    ]
    found = {"agreement": [asdict(row) for row in rows], "studies": studies, "problems": problems}
    return _finite(found)


def _finite(value: Any) -> Any:
    """NaN has no JSON."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _summary(compared: list[Compared], rows: list[Row], failed: int, left_out: list[str]) -> list[str]:
    lines = [f"{len(compared)} studies compared" + (f", {failed} could not be" if failed else "")]
    for row in rows:
        if row.by == "all":
            r = row.result
            limits = f"limits {r.lower_limit.value:.1f} to {r.upper_limit.value:.1f}"
            lines.append(f"{row.name}: n {r.n}, bias {r.bias.value:.1f}, {limits}, ICC {r.icc.value:.3f}")
    return [*lines, *left_out[-10:]]
