"""Patient facts beside NIfTI images, in `patient.json`.

Keys: sex (F or M), age_years, height_cm, weight_kg, heart_rate_bpm, hematocrit (0.42 for 42 %), clinical (further
values as text).
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.study import FACTS, Note, Patient, Study

NAME = "patient.json"

PLAUSIBLE = {
    "age_years": (0, 120),
    "height_cm": (30, 250),
    "weight_kg": (1, 400),
    "heart_rate_bpm": (20, 300),
    "hematocrit": (0.2, 0.65),
}
"""Outside of these a value is taken for a slip of the pen or of the unit."""

_FACTS = TypeAdapter(with_config(ConfigDict(extra="forbid"))(Patient))


def read_patient(folder: Path) -> Patient:
    """The facts in a folder's `patient.json`; an unknown patient where there is none.

    Raises:
        InputError: the file is no JSON, has an unknown key, or a value that no patient has.
    """
    path = folder / NAME
    return patient_from(path.read_bytes(), shown(path)) if path.is_file() else Patient()


def with_facts_beside(study: Study, path: Path) -> Study:
    """A study with the facts of the `patient.json` that lies in its folder or beside one of its images.

    They win over what the images' files say, with a warning where the two differ.

    Raises:
        InputError: such a file cannot be used, or two of them differ.
    """
    beside = [path if path.is_dir() else path.parent]
    for series in study.series:
        beside += [file.parent for grid in series.files for file in (grid.sources or (grid.path,)) if not series.source]
        beside += [image.path.parent for frame in (series.source.images if series.source else ()) for image in frame]
    there = {place: found for place in dict.fromkeys(beside) if (found := read_patient(place)) != Patient()}
    if not there:
        return study
    (first, facts), *others = there.items()
    if different := next((place for place, found in others if found != facts), None):
        raise InputError(f"{shown(first / NAME)}: expected the facts of one patient, {shown(different / NAME)} differs")
    known = {key: value for key, value in asdict(facts).items() if value not in (None, {})}
    known["clinical"] = {**study.patient.clinical, **facts.clinical}
    notes = study.notes
    said = {key: getattr(study.patient, key) for key in known if key != "clinical"}
    if differ := [f"{key} {value} and {known[key]}" for key, value in said.items() if value not in (None, known[key])]:
        message = f"The images' files and {NAME} differ on the patient: {', '.join(differ)}; {NAME} counts."
        notes = (*notes, Note("patient_facts_differ", "warning", message))
    return replace(study, patient=replace(study.patient, **known), notes=notes)


def patient_from(facts: bytes | Mapping[str, Any], where: str) -> Patient:
    """A patient from JSON, or from values (or their text) by name; `where` is named in the error.

    Raises:
        InputError: no JSON, an unknown key, or a value that no patient has.
    """
    try:
        patient = _FACTS.validate_json(facts) if isinstance(facts, bytes) else _FACTS.validate_python(facts)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{where}: {shown(key)}: {first['msg']}; see docs/concepts.md for the keys") from None
    for key, (low, high) in PLAUSIBLE.items():
        value = getattr(patient, key)
        if value is not None and not low <= value <= high:
            raise InputError(f"{where}: expected {key} between {low} and {high}, found {value:g}; check the unit")
    return patient


def with_table(study: Study, given: Patient, table: str) -> Study:
    """A study with what its files do not say from a table; where they differ, the files', and a warning.

    `table` names it in the warning.
    """
    changes, contradicted = {}, []
    for name in FACTS:
        theirs, ours = getattr(given, name), getattr(study.patient, name)
        if theirs is not None and ours is None:
            changes[name] = theirs
        elif (
            theirs is not None
            and theirs != ours
            and not (isinstance(ours, float) and abs(theirs - ours) <= 0.01 * ours)
        ):
            contradicted.append(f"{name} {ours} in the images' files, {theirs} in {table}")
    notes = study.notes
    if contradicted:
        message = f"{table} contradicts the files, which were believed: {'; '.join(contradicted)}."
        notes = (*notes, Note("patient_contradicted", "warning", message[0].upper() + message[1:]))
    return replace(study, patient=replace(study.patient, **changes), notes=notes)


def with_former(patient: Patient, former: Mapping[str, Any], told: Collection[str] | None) -> Patient:
    """A patient with what files do not say from the facts of an earlier result, which a table or an option gave it.

    `told` names these; what files said then and do not now, somebody took out. None: nobody knows, all are kept.
    """
    lacking = [name for name in FACTS if getattr(patient, name) is None and (told is None or name in told)]
    return replace(patient, **{name: former[name] for name in lacking if former.get(name) is not None})


def write_patient(patient: Patient, folder: Path) -> None:
    """Write a patient's known facts for `read_patient`."""
    facts = {key: value for key, value in asdict(patient).items() if value}
    write_whole(folder / NAME, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
