"""Unpack a study that came as a zip, and no other kind of zip."""

import atexit
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from myoscope.errors import InputError
from myoscope.io.nifti import shown

MAX_BYTES, MAX_FILES, MAX_RATIO = 16 * 2**30, 200_000, 100
"""A zip that claims to hold more, or to be packed more tightly, is no study."""


def unzipped(path: Path) -> Path:
    """Unpack a zip into a temporary folder, which is removed when the process ends.

    Raises:
        InputError: a member would be written outside the folder, the zip is too large, locked or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            problem = _zip_problem(archive.infolist(), path.stat().st_size)
            if problem:
                raise InputError(f"{shown(path)}: {problem}")
            folder = Path(tempfile.mkdtemp(prefix="myoscope-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            archive.extractall(folder)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot unpack it ({error.strerror}); free space and try again") from None
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{shown(path)}: cannot unpack it ({shown(str(error))[:80]}); pack it again") from None
    return folder


def _zip_problem(members: Sequence[zipfile.ZipInfo], packed: int) -> str | None:
    size = sum(member.file_size for member in members)
    if size > MAX_BYTES or len(members) > MAX_FILES or size > MAX_RATIO * packed:
        return (
            f"expected a study of at most {MAX_BYTES >> 30} GB and {MAX_RATIO} times the zip, "
            f"found {len(members)} files of {size} bytes; unpack it by hand if you trust it"
        )
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
            return f"a file in it would be written outside its folder ({shown(name.as_posix())}); do not trust it"
    return None
