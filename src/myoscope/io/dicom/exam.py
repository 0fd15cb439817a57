"""What the head of a report says of the examination, from the headers of a DICOM study's images."""

import re
from datetime import datetime
from typing import Any

from myoscope.errors import InputError
from myoscope.study import Study

TECHNIQUES = {"SE": "spin echo", "IR": "inversion recovery", "GR": "gradient echo", "EP": "echo planar"}
"""Words for the codes of Scanning Sequence (0018,0020)."""


def short_name(study: Study) -> str:
    """A name for people: of a DICOM study its description and date, without a date the end of its UID; else its id."""
    header = _header(study)
    if not header:
        return study.id
    what = _said(header, "StudyDescription") or "Cardiac MR"
    which = _day(str(header.get("StudyDate") or "")) or f"study ...{study.id[-8:]}"
    return f"{what}, {which}"


def _said(header: Any, key: str) -> str:
    """A text of the header for people; nothing where a part of the patient's name is in it."""
    text = " ".join(str(header.get(key) or "").replace("^", " ").split())
    names = [part for part in re.split(r"[\^=\s]+", str(header.get("PatientName") or "").lower()) if len(part) > 2]
    return "" if any(part in text.lower() for part in names) else text


def page_name(study: Study) -> str:
    """What stands on every printed page: the short name, and the accession number of a DICOM study that has one."""
    number = str(_header(study).get("AccessionNumber") or "").strip()
    return short_name(study) + (f", accession number {number}" if number else "")


def sequences(study: Study) -> str:
    """Each series' description and technique in a DICOM study; nothing of a NIfTI study."""
    found = []
    for series in study.series:
        header = _header(study, series.role)
        codes = header.get("ScanningSequence") or []
        codes = [codes] if isinstance(codes, str) else codes
        words = [TECHNIQUES[code] for code in codes if code in TECHNIQUES]
        name = _said(header, "SeriesDescription") or _said(header, "ProtocolName")
        said = f"{name} ({', '.join(words)})" if name and words else name or ", ".join(words)
        if said:
            found.append(said)
    return "; ".join(dict.fromkeys(found))


def _header(study: Study, role: str | None = None) -> Any:
    """The header of the first image, of a role or of any; an empty one where there is no DICOM, or it has gone."""
    source = next((one.source for one in study.series if one.source and role in (None, one.role)), None)
    if source is None:
        return {}
    from myoscope.io.dicom.source import header_of

    try:
        return header_of(source.images[0][0])
    except InputError:  # the report is made of what was read; a source that has gone since takes only its head along
        return {}


def exam_facts(study: Study) -> list[tuple[str, str]]:
    """Exam date, scanner, field strength, sequences and accession number, as far as a DICOM study has them.

    Never the patient's name or id: a report may be passed on.

    Returns:
        Title and text of each. Text from the file as it is: to be escaped by whoever shows it.
    """
    header = _header(study)
    if not header:
        return []
    from myoscope.io.dicom.elements import number

    tesla = number(header, "MagneticFieldStrength")
    maker = " ".join(str(header.get(key) or "") for key in ("Manufacturer", "ManufacturerModelName")).strip()
    facts = [
        ("Exam date", _day(str(header.get("StudyDate") or ""))),
        ("Scanner", maker),
        ("Field strength", f"{tesla:g} T" if tesla and 0 < tesla < 20 else ""),
        ("Sequences", sequences(study)),
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
