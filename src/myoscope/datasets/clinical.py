"""The twelve clinical values of EMIDEC as a validated type, from EMIDEC's text, from JSON or from CSV.

Lalande et al. 2020, doi:10.3390/data5040089. The data set gives no units for troponin and NT-proBNP (ng/ml and pg/ml
are likely) and no words for its tobacco codes; 1 current, 2 former, 3 never is inferred from who has them.
"""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.study import Patient, Study

UNKNOWN = {"", "-", "?", "na", "n/a", "nan", "nd", "none", "null", "unknown"}
"""What stands in a file for a value that nobody knows."""

UNIT_NOTE = (
    "troponin and NT-proBNP: EMIDEC, which the models were trained on, does not give their units (ng/ml and pg/ml are "
    "likely); values in other units mislead"
)


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in UNKNOWN else value


_SAME = {"YES": "Y", "NO": "N", "TRUE": "Y", "FALSE": "N", "1.0": "1", "2.0": "2", "3.0": "3"}


def _word(value: Any) -> Any:
    """A code as it is compared: text in upper case, as one letter; 1.0, as spreadsheets write it, is 1."""
    if _blank(value) is None:
        return None
    word = str(value).strip().upper()
    return _SAME.get(word, word)


Number = Annotated[float | None, BeforeValidator(_blank)]
YesNo = Annotated[Literal["Y", "N"] | None, BeforeValidator(_word)]


class ClinicalValues(BaseModel):
    """Twelve values that are known before the scan; None is unknown.

    Raises:
        ValidationError: a code that is not listed, or a value that no patient has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sex: Annotated[Literal["F", "M"] | None, BeforeValidator(_word)] = None
    age_years: Number = Field(None, ge=0, le=120)
    tobacco: Annotated[Literal["1", "2", "3"] | None, BeforeValidator(_word)] = None
    """1 current, 2 former, 3 never (inferred)."""
    overweight: YesNo = None
    """Body mass index above 25 kg/m2."""
    arterial_hypertension: YesNo = None
    diabetes: YesNo = None
    family_history_of_cad: YesNo = None
    """Coronary artery disease in the family."""
    st_elevation: YesNo = None
    """On the ECG (STEMI)."""
    troponin: Number = Field(None, ge=0, le=10_000)
    """Unit not given."""
    killip_max: Number = Field(None, ge=1, le=4, multiple_of=1)
    """Highest Killip class."""
    ejection_fraction_percent: Number = Field(None, ge=5, le=90)
    """Of the left ventricle, from echocardiography."""
    nt_probnp: Number = Field(None, ge=0, le=100_000)
    """Unit not given."""

    @property
    def missing(self) -> list[str]:
        """The fields that are unknown, in words."""
        return [WORDS[name] for name in type(self).model_fields if getattr(self, name) is None]


TITLES = {
    "sex": "Sex",
    "age_years": "Age",
    "tobacco": "Tobacco",
    "overweight": "Overweight",
    "arterial_hypertension": "Arterial hypertension",
    "diabetes": "Diabetes",
    "family_history_of_cad": "Familial history of coronary artery disease",
    "st_elevation": "ECG (ST +)",
    "troponin": "Troponin",
    "killip_max": "Killip Max",
    "ejection_fraction_percent": "FEVG",
    "nt_probnp": "NTProBNP",
}
"""EMIDEC's own words for the fields, which are read too."""

WORDS = TITLES | {
    "family_history_of_cad": "Coronary disease in the family",
    "st_elevation": "ST elevation on the ECG",
    "killip_max": "Highest Killip class",
    "ejection_fraction_percent": "LV ejection fraction by echo",
    "nt_probnp": "NT-proBNP",
}
"""The fields in a reader's words."""

CODED = [name for name in TITLES if "Literal" in str(ClinicalValues.model_fields[name].annotation)]
"""The fields that hold a code, not a number."""

MEANING = dict.fromkeys(CODED, " (0 no, 1 yes)") | {
    "sex": " (0 female, 1 male)",
    "age_years": " (years)",
    "tobacco": " (1 current, 2 former, 3 never)",
    "troponin": " (likely ng/ml)",
    "killip_max": " (1 I, 2 II, 3 III, 4 IV)",
    "ejection_fraction_percent": " (%)",
    "nt_probnp": " (likely pg/ml)",
}
"""What a number beside a field's words means."""

_SAID = {
    **{name: {"Y": "yes", "N": "no"} for name in CODED},
    "tobacco": {"1": "current", "2": "former", "3": "never"},
    "killip_max": {"1": "I", "2": "II", "3": "III", "4": "IV"},
}
"""Codes as a reader says them."""


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


_FIELDS = {_plain(word): name for name, title in TITLES.items() for word in (name, title)}
_CODES = {"tobacco": "1 (current), 2 (former) or 3 (never)", "sex": "F or M"}


def parse(facts: Mapping[str, Any], where: str) -> ClinicalValues:
    """Values from keys in EMIDEC's words or the fields' names; other keys are left alone.

    Args:
        facts: What a file says, as text or as numbers.
        where: Named in the message of an error.

    Raises:
        InputError: a value is impossible, a code unknown, or a field given twice.
    """
    found: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, value in facts.items():
        name = _FIELDS.get(_plain(key))
        if name and name in found:
            raise InputError(f"{where}: {shown(keys[name])}: expected one value, found two; delete one")
        if name:
            found[name], keys[name] = value, key
    try:
        return ClinicalValues.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise InputError(f"{where}: {shown(keys[name])}: {_expected(name)}, found {shown(str(found[name]))}") from None


def _expected(name: str) -> str:
    """What a field must hold, in a clinician's words."""
    limits: dict[str, Any] = {}
    for item in ClinicalValues.model_fields[name].metadata:
        limits |= {key: getattr(item, key) for key in ("ge", "le", "multiple_of") if hasattr(item, key)}
    if not limits:
        return f"expected {_CODES.get(name, 'Y or N')}, or nothing where it is unknown"
    kind = "a whole number" if "multiple_of" in limits else "a number"
    unit = {"age_years": " years", "ejection_fraction_percent": " %"}.get(name, "")
    return f"expected {kind} from {limits['ge']} to {limits['le']}{unit} (check the unit), or nothing"


def of_patient(patient: Patient, where: str) -> ClinicalValues:
    """The values of a patient, wherever they were read from; raises as `parse`."""
    known = {"sex": patient.sex, "age_years": patient.age_years}
    return parse({**{k: v for k, v in known.items() if v is not None}, **patient.clinical}, where)


def readable(facts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Values as a report shows them, in words where they are one of the twelve; others as they are.

    >>> readable({"FEVG": "60", "Killip Max": "2", "blood group": "A"})
    [('LV ejection fraction by echo', '60 %'), ('Highest Killip class', 'II'), ('blood group', 'A')]
    """
    found = []
    for key, text in facts.items():
        name = _FIELDS.get(_plain(key), "")
        said = _SAID.get(name, {}).get(str(_word(text)), text)
        if name == "ejection_fraction_percent" and _blank(text) is not None:
            said = f"{text} %"
        found.append((WORDS.get(name, key), said))
    return found


def notes(values: ClinicalValues) -> list[str]:
    """What a reader must know of the values before believing what is built on them."""
    missing = values.missing
    found = [f"{', '.join(missing)}: not given, taken as average"] if missing else []
    if values.troponin is not None or values.nt_probnp is not None:
        found.append(UNIT_NOTE)
    return found


def is_table(path: Path) -> bool:
    """Whether a path is a file that `read_table` takes, by its name."""
    return path.is_file() and path.suffix.lower() in (".csv", ".json")


def read_table(path: Path) -> list[Study]:
    """Patients without images, from CSV (one row a patient) or JSON (one object, or a list of them).

    The column or key `case` names the patient; the others are the fields of `ClinicalValues`, or EMIDEC's words.

    Raises:
        InputError: the file cannot be read, or a patient has no name or the name of another.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        read = json.loads(text) if path.suffix.lower() == ".json" else list(csv.DictReader(text.splitlines()))
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); check the path") from None
    except (ValueError, csv.Error):
        raise InputError(f"{shown(path)}: expected clinical values as CSV or JSON in UTF-8, found other text") from None
    rows = read if isinstance(read, list) else [read]
    studies: dict[str, Study] = {}
    for i, row in enumerate(rows):
        name = str(row.get("case") or "") if isinstance(row, dict) else ""
        if not name or name in studies:
            problem = f"{shown(name)} twice" if name else "none"
            raise InputError(f"{shown(path)}: entry {i + 1}: expected a name of its own in `case`, found {problem}")
        facts = {key: value for key, value in row.items() if key and key != "case" and value is not None}
        if not any(_plain(key) in _FIELDS for key in facts):
            raise InputError(
                f"{shown(path)}: {shown(name)}: expected clinical values, found none; see docs/concepts.md"
            )
        studies[name] = Study(name, Patient(clinical={k: str(v) for k, v in facts.items()}), ())
    if not studies:
        raise InputError(f"{shown(path)}: expected at least one patient, found none")
    return list(studies.values())
