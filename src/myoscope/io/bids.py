"""What BIDS says of a tree of images: subject and session, the names of files, participants, sidecars.

Only what the specification (1.11, https://bids-specification.readthedocs.io) has settled is read: folders `sub-LABEL`
and `ses-LABEL`, names `sub-LABEL[_KEY-LABEL...]_SUFFIX`, `participants.tsv`, sidecars and their inheritance, T1 and T2
maps in seconds. It has no folder and no suffix for the heart: those may be any.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from myoscope.errors import InputError
from myoscope.io.listing import files_below
from myoscope.io.nifti import is_nifti, shown

DESCRIPTION, PARTICIPANTS = "dataset_description.json", "participants.tsv"

APART = ("derivatives", "sourcedata", "code", "phenotype", "stimuli", "docs", "logs")
"""Folders of a data set that hold no raw images, by the specification."""

_LABEL = r"[0-9A-Za-z+]+"
_SUBJECT, _SESSION = re.compile(f"sub-({_LABEL})"), re.compile(f"ses-({_LABEL})")
_NAME = re.compile(rf"(?P<entities>sub-{_LABEL}(?:_[A-Za-z]+-{_LABEL})*)_(?P<suffix>[0-9A-Za-z]+)")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z]{2}|[A-Z][a-z])")
_PERSON = re.compile(rf"(?<![A-Za-z])(sub-{_LABEL}|ses-{_LABEL}|ce-none)(_|$)", re.IGNORECASE)
_ENDING = re.compile(r"(\.nii)?(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where something lies: the data set's root, and labels of subject and session (None: the subject has none)."""

    root: Path
    subject: str
    session: str | None

    @property
    def folder(self) -> Path:
        """The folder that holds all of this study and nothing of another."""
        subject = self.root / f"sub-{self.subject}"
        return subject / f"ses-{self.session}" if self.session else subject

    @property
    def id(self) -> str:
        """The study's name, as its files begin."""
        return f"sub-{self.subject}_ses-{self.session}" if self.session else f"sub-{self.subject}"


def parts_of(stem: str) -> tuple[dict[str, str], str] | None:
    """Entities and suffix of a file's name without its ending; None where it is not built as BIDS' are.

    >>> parts_of("sub-01_ses-2_acq-sax_cine")
    ({'sub': '01', 'ses': '2', 'acq': 'sax'}, 'cine')
    >>> parts_of("patient001_frame01"), parts_of("sub-01_T1 map")
    (None, None)
    """
    if not (found := _NAME.fullmatch(stem)):
        return None
    return dict(part.split("-") for part in found["entities"].split("_")), found["suffix"]


def spread(name: str) -> str:
    """A name as BIDS has it with the words of its labels apart, for labels hold letters and digits only.

    >>> spread("sub-01_acq-saxPSIR_LGE"), spread("CasePSIR")
    ('sub-01_acq-sax_PSIR_LGE', 'CasePSIR')
    """
    return _HUMP.sub("_", name) if parts_of(name) else name


def telling(name: str) -> str:
    """What a name says apart from whose it is: labels of subject and session are no words for a role.

    >>> telling("sub-ED_ses-post_acq-saxPSIR_LGE"), telling("ses-post"), telling("Case_LGE")
    ('acq-sax_PSIR_LGE', '', 'Case_LGE')
    """
    of_bids = parts_of(name) or _SUBJECT.fullmatch(name) or _SESSION.fullmatch(name)
    return _HUMP.sub("_", _PERSON.sub("", name)) if of_bids else name


def read_json(path: Path) -> dict[str, Any] | None:
    """What a JSON file says by key; None where it is not there, or is nothing of the kind."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def place_of(path: Path) -> Place | None:
    """The subject and session that a file or folder lies in, by the folders' names; None where it lies in none."""
    path = Path(path).absolute()
    for folder in (path, *path.parents):
        if found := _SUBJECT.fullmatch(folder.name):
            below = path.relative_to(folder).parts
            session = _SESSION.fullmatch(below[0]) if below else None
            return Place(folder.parent, found[1], session[1] if session else None)
    return None


def description(root: Path) -> Mapping[str, Any] | None:
    """What `dataset_description.json` says, where it makes a folder a BIDS data set."""
    found = read_json(root / DESCRIPTION)
    return found if found and "BIDSVersion" in found else None


def study_folders(subject: Path) -> tuple[list[Path], list[Path]]:
    """Folders of a subject's studies, one a session (or its own), and what lies in none; nothing if it is not BIDS.

    It is BIDS where an image below is named as BIDS has it. What lies in none: images beside the sessions, and sessions
    with files but no such image.
    """
    if not _SUBJECT.fullmatch(subject.name) or not subject.is_dir():
        return [], []
    sessions = sorted(one for one in subject.iterdir() if one.is_dir() and _SESSION.fullmatch(one.name))
    holding = [one for one in sessions if any(_named(one))]
    outside = [path for path in _images(subject) if _named_so(path) and not place_of(path).session]  # type: ignore[union-attr]
    if holding:
        return holding, outside + [one for one in sessions if one not in holding and any(files_below(one))]
    return ([subject], []) if outside else ([], [])


def study_at(path: Path) -> Place | None:
    """The place of the one study that a folder holds; None where it is no folder of a BIDS study.

    Raises:
        InputError: it is a data set, or a subject with several sessions.
    """
    if description(path) or any(study_folders(one)[0] for one in _subjects(path)):
        raise InputError(
            f"{shown(path)}: expected one study, found a BIDS data set; give a subject's or session's folder, or use "
            "myoscope cohort"
        )
    place = place_of(path)
    if place is None or not place.folder.is_dir():
        return None
    if path.absolute() == place.root / f"sub-{place.subject}":
        folders, outside = study_folders(path)
        if len(folders) + len(outside) > 1:
            found = shown(", ".join(one.name for one in [*folders, *outside]))
            raise InputError(f"{shown(path)}: expected one session, found {found}; give one of these folders")
        return place_of(folders[0]) if folders else None
    return place if any(_named(place.folder)) else None


def stranger(path: Path, here: Place) -> str | None:
    """Why an image in a study's folder is left out (misplaced, misnamed, no heart); None if it is not.

    Raises:
        InputError: it is named after another subject or session.
    """
    parts, inside = parts_of(_ENDING.sub("", path.name)), path.absolute().is_relative_to(here.folder)
    depth = len(path.absolute().relative_to(here.folder).parts) if inside else 0
    if parts is None or not 1 <= depth <= 2 or (depth == 2 and path.parent.name in APART):
        return f"named or placed otherwise than BIDS has it (expected {here.id}/FOLDER/{here.id}_..._SUFFIX)"
    entities, _ = parts
    if entities["sub"] != here.subject or entities.get("ses", here.session) != here.session:
        raise InputError(
            f"{shown(path)}: expected images of {here.id} in its folder, this one is named after another subject or "
            "session; put it where it belongs"
        )
    part = str(sidecar(path).get("BodyPart", ""))
    return f"of the {part.lower()}, by its sidecar" if part.upper() in ("BRAIN", "HEAD") else None


def sidecar(path: Path) -> dict[str, Any]:
    """What JSON files say of an image: beside it, and above it up to the data set's root; the nearest counts."""
    parts, place = parts_of(_ENDING.sub("", path.name)), place_of(path)
    if parts is None or place is None:
        return {}
    entities, suffix = parts
    said: dict[str, Any] = {}
    folders = [one for one in path.absolute().parents if one.is_relative_to(place.root)]
    for folder in reversed(folders):
        for file in sorted(folder.glob(f"*{suffix}.json"), key=lambda one: len(one.name)):
            theirs = re.fullmatch(rf"((?:[A-Za-z]+-{_LABEL}_)*){suffix}", file.name.removesuffix(".json"))
            if theirs and all(entities.get(k) == v for k, v in re.findall(rf"([A-Za-z]+)-({_LABEL})_", theirs[1])):
                said |= read_json(file) or {}
    return said


def beside(place: Place) -> list[Path]:
    """JSON files above a study's folder, on which what is read of it depends."""
    above = {place.root, place.root / f"sub-{place.subject}"} - {place.folder}
    return sorted(file for folder in above for file in folder.glob("*.json") if file.name != DESCRIPTION)


def _subjects(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (one for one in sorted(folder.iterdir()) if _SUBJECT.fullmatch(one.name) and one.is_dir())


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in files_below(folder) if is_nifti(path))


def _named(folder: Path) -> Iterator[Path]:
    return (path for path in _images(folder) if _named_so(path))


def _named_so(path: Path) -> bool:
    return parts_of(_ENDING.sub("", path.name)) is not None
