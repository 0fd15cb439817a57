"""What is seen of a DICOM study when it is read."""

from pathlib import Path

from myoscope.io.read import read_study
from myoscope.study import Role, Series


def cine(study: Path) -> Series:
    """The cine that is read of a study."""
    series = read_study(study).get(Role.CINE)
    assert series is not None
    return series


def codes(study: Path) -> dict[str, str]:
    """Messages of the notes on a study, by code."""
    return {note.code: note.message for note in read_study(study).notes}
