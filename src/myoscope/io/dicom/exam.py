"""What the head of a report says of the examination, from the header of a DICOM study's first image."""

import re
from datetime import datetime

from myoscope.errors import InputError
from myoscope.study import Study


def exam_facts(study: Study) -> list[tuple[str, str]]:
    """Exam date, scanner, field strength and accession number, those that the header has; none of a NIfTI study.

    Returns:
        Title and text of each. Text from the file as it is: to be escaped by whoever shows it.
    """
    source = next((series.source for series in study.series if series.source), None)
    if source is None:
        return []
    from myoscope.io.dicom.frames import number
    from myoscope.io.dicom.source import header_of

    try:
        header = header_of(source.images[0][0])
    except InputError:  # the report is made of what was read; a source that has gone since takes only its head along
        return []
    tesla = number(header, "MagneticFieldStrength")
    maker = " ".join(str(header.get(key) or "") for key in ("Manufacturer", "ManufacturerModelName")).strip()
    facts = [
        ("Exam date", _day(str(header.get("StudyDate") or ""))),
        ("Scanner", maker),
        ("Field strength", f"{tesla:g} T" if tesla and 0 < tesla < 20 else ""),
        ("Accession number", str(header.get("AccessionNumber") or "")),
    ]
    return [(title, text) for title, text in facts if text]


def _day(text: str) -> str:
    """A date of DICOM as people write it, or nothing.

    >>> _day("20250501"), _day("20251301"), _day("")
    ('2025-05-01', '', '')
    """
    if not re.fullmatch(r"[0-9]{8}", text):
        return ""
    try:
        return f"{datetime.strptime(text, '%Y%m%d'):%Y-%m-%d}"
    except ValueError:
        return ""
