"""The examination at the head of a report: what the file says, or nothing."""

from pathlib import Path

from myoscope.io.dicom.exam import exam_facts
from myoscope.io.read import read_study


def test_date_scanner_field_and_accession_number_are_those_of_the_header(classic: Path) -> None:
    assert exam_facts(read_study(classic)) == [
        ("Exam date", "2026-01-02"),
        ("Scanner", "SIEMENS Invented"),
        ("Field strength", "1.5 T"),
        ("Accession number", "A-4711"),
    ]


def test_of_files_that_have_gone_nothing_is_said(classic: Path) -> None:
    study = read_study(classic)
    for file in classic.rglob("*.dcm"):
        file.unlink()
    assert exam_facts(study) == []
