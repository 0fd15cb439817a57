"""What `participants.tsv` of a BIDS data set says of a subject, as far as its meaning is certain.

Age is in years where `participants.json` names no other unit, sex one of the words that the specification lists. Height
and weight are in no specification: they are taken where `participants.json` gives their unit.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from myoscope.errors import InputError
from myoscope.io.bids import PARTICIPANTS, Place, place_of, read_json
from myoscope.io.nifti import shown
from myoscope.io.patient import patient_from, with_table
from myoscope.study import Note, Patient, Study

_SEX = {"male": "M", "m": "M", "female": "F", "f": "F"}
_FACTS = {
    "age": ("age_years", {"year": 1.0, "years": 1.0, "month": 1 / 12, "week": 7 / 365.25, "day": 1 / 365.25}, "year"),
    "height": ("height_cm", {"cm": 1.0, "m": 100.0, "mm": 0.1}, None),
    "weight": ("weight_kg", {"kg": 1.0, "g": 0.001}, None),
}
"""Columns, the fact that each gives, its units as shares of ours, and the unit where none is named."""

_UNKNOWN = ("", "n/a", "N/A")


def with_participant(study: Study, path: Path) -> Study:
    """A study with the facts of its line in `participants.tsv`, where it lies in a BIDS data set that has one.

    What the line says otherwise than the images' files or `patient.json` is not taken, with a warning; nor is what is
    not understood.
    """
    place = place_of(path)
    if place is None:
        return study
    patient, problems = read_participant(place)
    if problems:
        message = f"Of {PARTICIPANTS} not everything was taken: {'; '.join(problems)}."
        study = replace(study, notes=(*study.notes, Note("participant_not_taken", "warning", message)))
    return with_table(study, patient, PARTICIPANTS)


def read_participant(place: Place) -> tuple[Patient, list[str]]:
    """The facts of a subject, and what was not taken, in words; an unknown patient where there is no such table."""
    path, name = place.root / PARTICIPANTS, f"sub-{place.subject}"
    if not path.is_file():
        return Patient(), []
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    except OSError as error:
        return Patient(), [f"it cannot be read ({error.strerror})"]
    except (UnicodeDecodeError, csv.Error):
        return Patient(), ["it cannot be read (no table in UTF-8)"]
    lines = [row for row in rows if row.get("participant_id") == name]
    if len(lines) != 1:
        return Patient(), [f"it has {len(lines)} lines of this subject, expected one"]
    cells = {key: (value or "").strip() for key, value in lines[0].items() if isinstance(key, str)}
    facts, problems = _facts(cells, _units(path.with_suffix(".json")))
    known: dict[str, Any] = {}
    for key, value in facts.items():
        try:
            patient_from({key: value}, PARTICIPANTS)
        except InputError as error:
            problems.append(str(error).removeprefix(f"{PARTICIPANTS}: "))
        else:
            known[key] = value
    return Patient(**known), problems


def _facts(cells: Mapping[str, str], units: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    facts: dict[str, Any] = {}
    problems = []
    if (sex := cells.get("sex", "")) not in _UNKNOWN:
        if sex.lower() in _SEX:
            facts["sex"] = _SEX[sex.lower()]
        elif sex.lower() not in ("o", "other"):
            problems.append(f"sex {shown(sex)}")
    for column, (fact, factors, usual) in _FACTS.items():
        value, unit = cells.get(column, ""), units.get(column, usual)
        if value in _UNKNOWN:
            continue
        if unit not in factors:
            problems.append(
                f"{column} in {shown(unit)}" if unit else f"{column}, of which participants.json has no unit"
            )
            continue
        try:
            facts[fact] = float(value) * factors[unit]
        except ValueError:
            problems.append(f"{column} {shown(value)}")
    return facts, problems


def _units(path: Path) -> dict[str, str]:
    columns = (read_json(path) or {}).items()
    return {name: str(one["Units"]) for name, one in columns if isinstance(one, dict) and "Units" in one}
