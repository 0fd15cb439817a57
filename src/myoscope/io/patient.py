"""Patient facts beside NIfTI images, in `patient.json`.

Keys: sex (F or M), age_years, height_cm, weight_kg, heart_rate_bpm, clinical (further values as text).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.study import Patient

NAME = "patient.json"

PLAUSIBLE = {
    "age_years": (0, 120),
    "height_cm": (30, 250),
    "weight_kg": (1, 400),
    "heart_rate_bpm": (20, 300),
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


def write_patient(patient: Patient, folder: Path) -> None:
    """Write a patient's known facts for `read_patient`."""
    facts = {key: value for key, value in asdict(patient).items() if value}
    write_whole(folder / NAME, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
