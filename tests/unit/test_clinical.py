"""Clinical values: what a file may say, and what a clinician is told where it says something impossible."""

import json
from pathlib import Path

import numpy as np
import pytest

from myoscope.datasets import emidec
from myoscope.datasets.clinical import TITLES, UNIT_NOTE, ClinicalValues, notes, of_patient, parse, read_table
from myoscope.errors import InputError
from myoscope.io.save import write_study
from myoscope.study import Patient, Role, Series, Study
from myoscope.volume import Volume, plain_affine

FACTS = {
    "Sex": "F",
    "Age": "61",
    "Tobacco": "3",
    "Overweight": "Y",
    "Arterial hypertension": "N",
    "Diabetes": "N",
    "Familial history of coronary artery disease": "N",
    "ECG (ST +)": "Y",
    "Troponin": "7.5",
    "Killip Max": "2",
    "FEVG": "45",
    "NTProBNP": "310",
}
VALUES = ClinicalValues(
    sex="F",
    age_years=61,
    tobacco="3",
    overweight="Y",
    arterial_hypertension="N",
    diabetes="N",
    family_history_of_cad="N",
    st_elevation="Y",
    troponin=7.5,
    killip_max=2,
    ejection_fraction_percent=45,
    nt_probnp=310,
)


def _case(root: Path, text: str) -> Path:
    """An EMIDEC case with this clinical text."""
    image = Volume(np.arange(128, dtype=np.float32).reshape(2, 8, 8), plain_affine((10, 1.4, 1.4)))
    study = Study("x", Patient(), (Series(Role.LGE, "x", image),))
    folder = root / "Case_007"
    write_study(study, folder / "Images")
    (folder / "Images" / "patient.json").unlink()
    (root / "Case 007.txt").write_bytes(text.encode("iso-8859-1"))
    return folder


def _text(**changes: str | None) -> str:
    facts = {**FACTS, **changes}
    lines = [f"{key}\xa0 : {value} " for key, value in facts.items() if value is not None]
    return "\r\n\r\n".join(["Case 007", "Gap between slices :13 mm", *lines]) + "\r\n"


def _values(root: Path, **changes: str | None) -> ClinicalValues:
    study = emidec.read_study(_case(root, _text(**changes)))
    return of_patient(study.patient, study.id)


def test_emidecs_text_gives_every_value(tmp_path: Path) -> None:
    assert _values(tmp_path) == VALUES
    assert VALUES.missing == []


def test_names_of_the_fields_and_json_types_are_read_too() -> None:
    assert parse(json.loads(VALUES.model_dump_json()), "x") == VALUES
    assert parse({"killip_max": 2.0, "overweight": True, "tobacco": 1, "diabetes": "no"}, "x") == ClinicalValues(
        killip_max=2, overweight="Y", tobacco="1", diabetes="N"
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("Sex", "X", "Sex: expected F or M, or nothing where it is unknown, found X"),
        ("Age", "610", "Age: expected a number from 0 to 120 years"),
        ("Age", "old", "Age: expected a number"),
        ("Tobacco", "4", "expected 1 .current., 2 .former. or 3 .never., or nothing where it is unknown, found 4"),
        ("Diabetes", "maybe", "Diabetes: expected Y or N, or nothing where it is unknown, found maybe"),
        ("Troponin", "-1", "Troponin: expected a number from 0 to 10000 .check the unit., or nothing, found -1"),
        ("Troponin", "<0.1", "Troponin: expected a number"),
        ("Troponin", "inf", "Troponin: expected a number"),
        ("Killip Max", "5", "Killip Max: expected a whole number from 1 to 4"),
        ("Killip Max", "1.5", "Killip Max: expected a whole number from 1 to 4"),
        ("FEVG", "0.45", "FEVG: expected a number from 5 to 90 % .check the unit., or nothing, found 0.45"),
        ("NTProBNP", "1e9", "NTProBNP: expected a number"),
    ],
)
def test_impossible_values_and_unknown_codes_are_named(field: str, value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        _values(tmp_path, **{field: value})
    assert str(error.value).startswith("Case_007: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("gone", [None, "", "NA", "?", "unknown"])
def test_a_missing_field_is_noted(gone: str | None, tmp_path: Path) -> None:
    found = _values(tmp_path, **{"Killip Max": gone, "Age": gone})
    assert found.missing == ["Age", "Highest Killip class"]
    assert "Age, Highest Killip class: not given, taken as average" in notes(found)


def test_missing_units_are_said() -> None:
    assert notes(VALUES) == [UNIT_NOTE]
    assert "troponin and NT-proBNP" in UNIT_NOTE
    assert UNIT_NOTE not in notes(ClinicalValues(sex="F"))


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="Troponin: expected one value, found two"):
        parse({"Troponin": "1", "troponin": "2"}, "x")


def test_giveaways_are_not_read(tmp_path: Path) -> None:
    patient = emidec.read_study(_case(tmp_path, _text())).patient
    assert not any("slices" in key.lower() or "case" in key.lower() for key in patient.clinical)
    assert set(patient.clinical) | {"Sex", "Age"} == set(TITLES.values())


def test_tables_name_their_patients(tmp_path: Path) -> None:
    rows = [{"case": "a", **FACTS}, {"case": "b", "Age": "50", "note": "anything"}]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(keys), *(",".join(row.get(key, "") for key in keys) for row in rows)]
    (tmp_path / "t.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    for name in ("t.json", "t.csv"):
        studies = read_table(tmp_path / name)
        assert [study.id for study in studies] == ["a", "b"]
        assert of_patient(studies[0].patient, "a") == VALUES
        assert of_patient(studies[1].patient, "b") == ClinicalValues(age_years=50)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "Age\n50\n", "expected a name of its own in `case`, found none"),
        ("t.csv", "case,Age\na,50\na,51\n", "entry 2: expected a name of its own in `case`, found a twice"),
        ("t.csv", "case,height\na,170\n", "expected clinical values, found none"),
        ("t.csv", "case,Age\n", "expected at least one patient"),
        ("t.json", "{", "expected clinical values as CSV or JSON"),
        ("t.json", "[1]", "expected a name of its own"),
    ],
)
def test_bad_tables_are_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_table(tmp_path / name)
    assert "\n" not in str(error.value)
