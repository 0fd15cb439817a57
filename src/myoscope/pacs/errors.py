"""What can go wrong with one instance, study or peer; none of these messages quotes a patient's data."""

import traceback
from pathlib import Path


class PacsError(Exception):
    """Its message may be logged and shown."""


class UnreachableError(PacsError):
    """Nobody took the result, or answered, this time; try again later."""


class RefusedError(PacsError):
    """The result was looked at and will not be taken."""


class DiskFullError(PacsError):
    """Less would be left on the disk than the node keeps free."""


class NotDicomError(PacsError):
    """Bytes that are no DICOM instance with the UIDs it must have."""


def told(error: Exception) -> str:
    """An error as it may be logged: of one that is not ours only kind and place, for it may quote a header.

    >>> told(OSError(28, "No space left on device", "/spool/anna.dcm"))
    'No space left on device'
    """
    if isinstance(error, PacsError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:  # the system's words, without the file
        return error.strerror
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
