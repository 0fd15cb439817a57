"""What lies in a cohort's OUT, and so what is done: nothing else is remembered.

`studies/<id>/` is a whole analysis with its `run.json`, put there by one rename; `failed/<id>.json` says why there is
none. `.work/` holds what is being made, `inputs/<id>/` links to files of studies that lay mixed (the owner's).
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from myoscope import __version__, weights
from myoscope.cohort.find import LOCK
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.io.record import handwork
from myoscope.io.save import check_out


@dataclass(frozen=True)
class Made:
    """What a result was made of; where one of them is another now, it is made again."""

    input: str
    patient: str
    version: str
    weights: str


class Out:
    """The folder of a cohort."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.studies, self.failed = self.root / "studies", self.root / "failed"
        self.work, self.inputs = self.root / ".work", self.root / "inputs"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            InputError: they cannot be written.
        """
        check_out(self.root)
        for folder in (self.studies, self.failed, self.work):
            folder.mkdir(parents=True, exist_ok=True)

    def remove_unused(self) -> None:
        """Remove the folder, if no study was begun in it."""
        made = (self.work, self.failed, self.studies)
        if not any(path for folder in made for path in folder.iterdir()):
            for folder in made:
                folder.rmdir()
            for name in ("cohort.log", LOCK):
                (self.root / name).unlink(missing_ok=True)
            with suppress(OSError):  # somebody laid something there
                self.root.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second cohort out.

        Raises:
            InputError: one works there.
        """
        with (self.root / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{shown(self.root)}: another cohort works there; wait for it, or choose another folder with -o"
                ) from None
            yield

    def done(self, study: str) -> dict[str, Any] | None:
        """The `run.json` of a study that is done, or None."""
        return _read(self.studies / study / "run.json")

    def measurements(self, study: str) -> dict[str, Any]:
        """What `measurements.json` of a study that is done holds.

        Raises:
            InputError: it is gone, or was damaged.
        """
        path = self.studies / study / "measurements.json"
        if (found := _read(path)) is None:
            raise InputError(
                f"{shown(path)}: expected what analyze wrote, found none that can be read; delete that study's folder "
                "and repeat the cohort"
            )
        return found

    def failure(self, study: str) -> dict[str, Any] | None:
        """What is known of a study that failed, or None."""
        return _read(self.failed / f"{study}.json")

    def fail(self, study: str, made: Made, reason: str, seconds: float, host: str) -> dict[str, Any]:
        """Write down that a study failed; an earlier result is of other files or weights, and goes."""
        record = {"reason": reason, "made_of": asdict(made), "seconds": round(seconds, 3), "host": host}
        write_whole(self.failed / f"{study}.json", json.dumps(record, indent=1) + "\n")
        self._remove(study)
        return record

    def by_hand(self, study: str) -> bool:
        """Whether a person corrected this study's label maps: then it is never analysed again."""
        return bool(handwork(self.studies / study))

    def finish(self, study: str, part: Path) -> None:
        """Put a whole folder in a study's place, by one rename."""
        for path in part.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        self._remove(study)
        part.rename(self.studies / study)
        (self.failed / f"{study}.json").unlink(missing_ok=True)

    def _remove(self, study: str) -> None:
        place, old = self.studies / study, self.work / f"{study}.old"
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
            shutil.rmtree(old)


def made_of(record: Mapping[str, Any]) -> Made | None:
    """What a record says its result was made of."""
    try:
        return Made(**record["made_of"])
    except (KeyError, TypeError):
        return None


def made_now(fingerprint: str, patient: Mapping[str, Any]) -> Made:
    """What a result would be made of now, here."""
    return Made(fingerprint, sha256(json.dumps(patient, sort_keys=True).encode()).hexdigest(), __version__, _weights())


@cache
def _weights() -> str:
    """One SHA-256 for all weights that are installed, cards included."""
    digest = sha256()
    for path in sorted(weights.FOLDER.iterdir()):
        if path.is_file() and path.suffix != ".py":
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):  # of text that is no UTF-8 too
        return None
    return found if isinstance(found, dict) else None
