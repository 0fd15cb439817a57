"""Split what lies together as DICOM into studies by StudyInstanceUID, from headers alone, folders and zips alike."""

import io
import os
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import UID

from myoscope.cohort.find import Item, own_path, short_hash
from myoscope.errors import InputError
from myoscope.io.dicom.headers import MR_CLASSES
from myoscope.io.listing import files_below, looks_like_dicom
from myoscope.io.nifti import is_nifti

_UIDS = ["SOPClassUID", "StudyInstanceUID"]
_HEAD_BYTES = 64 * 1024
"""As much of a zip's member is unpacked to find its study: the UIDs stand at the beginning."""


def dicom_studies(files: Sequence[Path], say: Callable[[str], None]) -> tuple[list[Item], list[str]]:
    """Studies of DICOM files, wherever each file lies, and what was left out.

    A study whose folder holds nothing else is given as that folder, any other as a list of files.
    """
    studies: dict[str, list[Path]] = defaultdict(list)
    with_images: set[str] = set()
    nameless = 0
    for i, path in enumerate(files):
        if i % 5000 == 4999:
            say(f"{i + 1} of {len(files)} files looked at, {len(studies)} DICOM studies")
        uid, image = _study_of(path)
        nameless += uid == ""
        if uid:
            studies[uid].append(own_path(path))
            if image:
                with_images.add(uid)
    notes = []
    if nameless:
        notes.append(f"{nameless} files that cannot be read, or are DICOM of no study, were left out.")
    if others := len(studies.keys() - with_images):
        notes.append(f"{others} DICOM studies without MR images were left out.")
    owners = _owners(studies)
    return [_item(uid, studies[uid], owners) for uid in sorted(with_images)], notes


def zipped_studies(item: Item) -> list[Item]:
    """The studies of a zip: the zip itself where it holds one or cannot be read (which its analysis will say)."""
    members: dict[str, list[str]] = defaultdict(list)
    try:
        with zipfile.ZipFile(item.path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as file:
                        uid, image = _study_in(io.BytesIO(file.read(_HEAD_BYTES)))
                    if uid and image:
                        members[uid].append(member.filename)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError):
        return [item]
    if len(members) < 2:
        return [replace(item, id=_ident(uid)) for uid in members] or [item]
    return [
        Item(_ident(uid), "zip", item.path, item.name, tuple(sorted(names))) for uid, names in sorted(members.items())
    ]


def _ident(uid: str) -> str:
    """A StudyInstanceUID as a study's id; what is no UID is not trusted to be no name."""
    return uid if UID(uid).is_valid else f"study-{short_hash(uid, 12)}"


def _study_of(path: Path) -> tuple[str | None, bool]:
    try:
        if is_nifti(path) or not looks_like_dicom(path):
            return None, False
        return _study_in(path)
    except (OSError, InputError):
        return "", False


def _study_in(file: Path | Any) -> tuple[str | None, bool]:
    """StudyInstanceUID and whether it is an MR image; "" where it is damaged, None where it is no DICOM."""
    try:
        header = dcmread(file, stop_before_pixels=True, specific_tags=_UIDS, force=isinstance(file, Path))
    except EOFError:
        return "", False
    except Exception as error:  # pydicom raises whatever a damaged file makes it stumble over
        return ("" if type(error).__name__ != "InvalidDicomError" else None), False
    sop = str(header.get("SOPClassUID", ""))
    if sop == "1.2.840.10008.1.3.10":  # a DICOMDIR is of no study
        return None, False
    return str(header.get("StudyInstanceUID") or ""), sop in MR_CLASSES


def _owners(studies: dict[str, list[Path]]) -> dict[Path, set[str]]:
    """For every folder above a file, the studies that lie below it."""
    owners: dict[Path, set[str]] = defaultdict(set)
    for uid, paths in studies.items():
        for folder in {path.parent for path in paths}:
            for above in (folder, *folder.parents):
                if uid in owners[above]:
                    break
                owners[above].add(uid)
    return owners


def _item(uid: str, files: list[Path], owners: dict[Path, set[str]]) -> Item:
    folder = Path(os.path.commonpath([path.parent for path in files]))
    if owners[folder] == {uid} and not any(is_nifti(path) for path in files_below(folder)):
        return Item(_ident(uid), "dicom", str(folder), folder.name)
    return Item(_ident(uid), "dicom", str(folder), _ident(uid), tuple(sorted(map(str, files))))
