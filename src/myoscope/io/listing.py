"""Which files of a study's folder are looked at: none of what computers and exports leave beside."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from myoscope.errors import InputError
from myoscope.io.nifti import shown

DICOM_SUFFIXES = (".dcm", ".ima")

_FIRST_ELEMENTS = (0x00, 0x01, 0x05, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18)
"""With which of group 0002 or 0008 a dataset may begin."""


def files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder in order, links followed, without hidden ones (`._*`, `.DS_Store`) and `__MACOSX`.

    Raises:
        InputError: a folder cannot be read: who knows what of the study lies there.
    """
    seen: set[str] = set()
    for at, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(at)
        folders[:] = [] if real in seen else sorted(name for name in folders if not is_bystander(name))
        names = [] if real in seen else sorted(name for name in names if not is_bystander(name))
        seen.add(real)
        yield from (path for name in names if (path := Path(at, name)).is_file())


@contextmanager
def may_read() -> Iterator[None]:
    """Refuse what nobody gave leave to read in a line that names it."""
    try:
        yield
    except PermissionError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    where = shown(error.filename)
    raise InputError(f"{where}: cannot read it ({error.strerror}); get leave to, or keep it elsewhere") from None


def is_bystander(name: str) -> bool:
    """Whether a file or folder of this name is left beside by a computer, and holds nothing of a study."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def looks_like_dicom(path: Path) -> bool:
    """Whether a file's suffix or its first bytes are those of DICOM.

    Raises:
        InputError: it cannot be read, and may be.
    """
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError as error:
        _refuse(error)
    return start[128:] == b"DICM" or is_bare(start)


def is_bare(start: bytes) -> bool:
    """Whether a file begins as DICOM that was written without a file's preamble."""
    return len(start) > 8 and start[:2] in (b"\x02\x00", b"\x08\x00") and start[3] == 0 and start[2] in _FIRST_ELEMENTS
