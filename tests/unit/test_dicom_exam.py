"""The examination at the head of a report: what the file says, or nothing."""

from pathlib import Path

import pydicom
import pytest

from myoscope.io.dicom.exam import exam_facts, page_name, sequences, short_name
from myoscope.io.read import read_study
from myoscope.study import Patient, Study

SEQUENCES = (
    "cine_retro_sax (gradient echo); de_high-res_psir_sax_PSIR (gradient echo, inversion recovery); "
    "t2_tirm_sax_dark-blood (spin echo, inversion recovery)"
)


def test_date_scanner_field_and_accession_number_are_those_of_the_header(classic: Path) -> None:
    assert exam_facts(read_study(classic)) == [
        ("Exam date", "2026-01-02"),
        ("Scanner", "SIEMENS Invented"),
        ("Field strength", "1.5 T"),
        ("Sequences", SEQUENCES),
        ("Accession number", "A-4711"),
    ]


def test_a_study_has_a_name_for_people_and_its_pages_the_accession_number(classic: Path) -> None:
    study = read_study(classic)
    assert short_name(study) == "Herz MRT, 2026-01-02"
    assert page_name(study) == "Herz MRT, 2026-01-02, accession number A-4711"
    nifti = Study("patient007", Patient(), ())
    assert (short_name(nifti), page_name(nifti), sequences(nifti)) == ("patient007", "patient007", "")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"StudyDescription": "Cardiac^Adult"}, "Cardiac Adult, 2026-01-02"),
        ({"StudyDescription": ""}, "Cardiac MR, 2026-01-02"),
        ({"StudyDescription": "", "StudyDate": ""}, "Cardiac MR, study ...{end}"),
        ({"StudyDescription": "heart of ERIKA"}, "Cardiac MR, 2026-01-02"),
    ],
)
def test_a_study_without_a_description_has_a_short_name_too(said: dict, shown: str, classic: Path) -> None:
    for file in classic.rglob("*.dcm"):
        header = pydicom.dcmread(file)
        for key, text in said.items():
            setattr(header, key, text)
        header.PatientName = "Muster^Erika"
        header.save_as(file)
    study = read_study(classic)
    assert short_name(study) == shown.format(end=study.id[-8:])


def test_of_files_that_have_gone_nothing_is_said(classic: Path) -> None:
    study = read_study(classic)
    for file in classic.rglob("*.dcm"):
        file.unlink()
    assert exam_facts(study) == []
    assert short_name(study) == study.id
