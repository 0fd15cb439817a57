from pathlib import Path

import pytest

from myoscope.errors import InputError
from myoscope.io.patient import read_patient, write_patient
from myoscope.study import Patient


def test_facts_come_back(tmp_path: Path) -> None:
    patient = Patient("F", 61.0, 165.0, 70.5, 72.0, {"Troponin": "1.1"})
    write_patient(patient, tmp_path)
    assert read_patient(tmp_path) == patient
    assert read_patient(tmp_path / "nowhere") == Patient()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "Invalid JSON"),
        ('{"height_m": 1.7}', "height_m"),
        ('{"sex": "x"}', "sex"),
        ('{"height_cm": 1.7}', "between 30 and 250, found 1.7"),
        ('{"age_years": "old"}', "age_years"),
        ('{"weight_kg": NaN}', "weight_kg"),
    ],
)
def test_bad_facts_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "patient.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_patient(tmp_path)
    assert "\n" not in str(error.value)
