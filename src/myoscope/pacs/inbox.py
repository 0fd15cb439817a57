"""The queue on disk: a study is a folder, and the folder above it says how far it has come.

    SPOOL/fetching/STUDY/     being fetched from a DICOMweb server; thrown away and fetched again after a restart
          receiving/STUDY/    instances come in
          working/STUDY/      complete, waiting for its analysis or in it; analysed from the start after a restart
          sending/STUDY/      analysed; `out/` is whole, and is sent again after a restart until it was taken
          failed/STUDY/       kept for a person; `reason.txt` says why
          done/STUDY.json     sent, images deleted; the names of the instances that the result stands on
          tmp/, trash/        halves of files, and what is being deleted; emptied at every start

Every step is one rename(2) inside one file system, which happens or does not, whatever is killed; files and folders are
synced to the disk before the step that relies on them. Folders rather than a database: state and images are one thing,
there is nothing that could disagree with something else after a crash, and a person sees and mends it with ls and mv.

Names are hashes of UIDs, so nothing of what a sender writes ever becomes part of a path.
"""

import hashlib
import json
import math
import os
import shutil
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.tag import Tag

from myoscope.pacs.errors import DiskFullError, NotDicomError

STATES = ("fetching", "receiving", "working", "sending", "failed")

NOT_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "DOC", "RTSTRUCT", "REG", "AU"})
"""Modalities that are taken and dropped: results, our own among them, and documents are nothing to analyse."""

_STUDY, _INSTANCE, _MODALITY = Tag("StudyInstanceUID"), Tag("SOPInstanceUID"), Tag("Modality")


@dataclass(frozen=True)
class Identity:
    """Which instance of which study; both names are hashes."""

    study: str
    instance: str
    modality: str


def name_of(uid: str | bytes) -> str:
    """The name on disk of a UID: 32 hexadecimal digits.

    >>> name_of("1.2.3") == name_of(b"1.2.3 "), name_of("../../etc").isalnum()
    (True, True)
    """
    data = uid.encode() if isinstance(uid, str) else uid
    return hashlib.sha256(data.strip(b" \0")).hexdigest()[:32]


def identify(data: bytes) -> Identity:
    """Read the two UIDs and the modality of a DICOM file, and nothing else of it.

    Raises:
        NotDicomError: it is not DICOM, or a UID is missing.
    """
    try:
        header = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=[_STUDY, _INSTANCE, _MODALITY])
        study, instance, modality = (_raw(header.get_item(tag)) for tag in (_STUDY, _INSTANCE, _MODALITY))
    except Exception:  # a parser may stumble over odd bytes in any way
        raise NotDicomError("expected a DICOM instance, found what cannot be read") from None
    if not (study and instance):
        raise NotDicomError("expected StudyInstanceUID and SOPInstanceUID, found none")
    return Identity(name_of(study), name_of(instance), modality.decode("ascii", "replace"))


def _raw(element: object) -> bytes:
    value = getattr(element, "value", None)
    return (value if isinstance(value, bytes) else str(value or "").encode()).strip(b" \0")


class Inbox:
    """The studies of one node. Safe to use from several threads; `work.only_node` keeps other processes out."""

    def __init__(self, root: Path, keep_free_bytes: int) -> None:
        self.root = root
        self._keep_free_bytes = keep_free_bytes
        self._lock = threading.RLock()
        self._last_change: dict[str, float] = {}
        for name in ("tmp", "trash", "fetching"):
            shutil.rmtree(root / name, ignore_errors=True)
        for name in (*STATES, "done", "tmp", "trash"):
            (root / name).mkdir(parents=True, exist_ok=True)
        _sync(root)

    # --- what is there ---

    def folder(self, state: str, study: str) -> Path:
        """The folder of a study in a state, there or not."""
        return self.root / state / study

    def studies(self, state: str) -> list[str]:
        """The studies in a state, in the order of their names."""
        return sorted(p.name for p in (self.root / state).iterdir() if p.is_dir())

    def names(self, state: str, study: str) -> set[str]:
        """The names of the instances that a study has in a state."""
        return {path.stem for path in (self.folder(state, study) / "instances").glob("*.dcm")}

    def done(self, study: str) -> set[str]:
        """The names of the instances that results already sent stand on."""
        try:
            return set(json.loads((self.root / "done" / f"{study}.json").read_text())["instances"])
        except FileNotFoundError:
            return set()

    def known(self, study: str) -> set[str]:
        """The names of all instances of a study that were ever received and not yet forgotten."""
        with self._lock:
            return self.done(study).union(
                *(self.names(s, study) for s in ("receiving", "working", "sending", "failed"))
            )

    def counts(self) -> dict[str, int]:
        """How many studies are in each state, and done."""
        done = sum(1 for path in (self.root / "done").iterdir() if path.suffix == ".json")
        return {state: len(self.studies(state)) for state in STATES} | {"done": done}

    def free_bytes(self) -> int:
        """What is free on the disk."""
        return shutil.disk_usage(self.root).free

    def has_space(self, size: int = 0) -> bool:
        """Whether so many bytes can be kept; what the node keeps free is for analyses and their results."""
        return self.free_bytes() - size >= self._keep_free_bytes

    # --- in ---

    def add(self, data: bytes, state: str = "receiving", expected: tuple[str, str] | None = None) -> None:
        """Keep one instance; when this returns, it is on the disk. What is there already is written over.

        Args:
            data: A DICOM file.
            state: "receiving" or "fetching".
            expected: Names of the study and the instance that it must be.

        Raises:
            DiskFullError: too little would be left; OSError: the disk failed. Nothing is kept then.
            NotDicomError: not DICOM, without UIDs, or not what is expected.
        """
        if not self.has_space(len(data)):
            raise DiskFullError(f"{self.free_bytes() >> 20} MiB free, {self._keep_free_bytes >> 20} MiB are kept free")
        found = identify(data)
        if expected and (found.study, found.instance) != expected:
            raise NotDicomError("expected the instance that was asked for, found another")
        if found.modality in NOT_IMAGES:
            return
        part = self._part(data)
        with self._lock:
            folder = self.folder(state, found.study) / "instances"
            _make(folder, self.root)
            part.replace(folder / f"{found.instance}.dcm")
            _sync(folder)
            self._last_change[found.study] = time.monotonic()

    def fetched(self, study: str) -> None:
        """A study is whole in "fetching": it may be analysed at once, with what of it still waits in "receiving"."""
        with self._lock:
            self._write(self.folder("fetching", study) / "whole", b"")
            if self.folder("receiving", study).exists():
                self._absorb("receiving", study, "fetching")
            self._move("fetching", study, "receiving")
            self._last_change[study] = -math.inf

    def quiet(self, seconds: float) -> list[str]:
        """Studies in "receiving" that were not added to for so long; a start counts as an addition."""
        now = time.monotonic()
        with self._lock:
            studies = self.studies("receiving")
            return [study for study in studies if now - self._last_change.setdefault(study, now) >= seconds]

    # --- on ---

    def take(self, study: str) -> str | None:
        """Move a complete study from "receiving" to "working".

        Instances that came after the study was analysed and deleted are no study: a result stands on everything that
        came before and something new, or it is not made.

        Returns:
            Why it went to "failed" instead; None if it was taken, has nothing new, or waits for its earlier round.
        """
        with self._lock:
            if any(self.folder(state, study).exists() for state in ("working", "sending")):
                return None
            if self.folder("failed", study).exists():
                self._absorb("failed", study, "receiving")
            names, done = self.names("receiving", study), self.done(study)
            whole = (self.folder("receiving", study) / "whole").exists()
            self._last_change.pop(study, None)
            if names <= done:
                self._trash("receiving", study)
            elif done - names and not whole:
                reason = (
                    f"{len(names - done)} instances came after the study was analysed with {len(done)}; "
                    "send the whole study again"
                )
                self.fail("receiving", study, reason)
                return reason
            else:
                for name in ("whole", "starts", "reason.txt"):
                    (self.folder("receiving", study) / name).unlink(missing_ok=True)
                self._move("receiving", study, "working")
            return None

    def waiting(self) -> list[str]:
        """The studies in "working": those whose analysis was started least often first, then the oldest."""
        arrived = {study: self.folder("working", study).stat().st_mtime for study in self.studies("working")}
        return sorted(arrived, key=lambda study: (self.starts(study), arrived[study]))

    def count_start(self, study: str) -> int:
        """Note that an analysis is about to start; gives how many were started before."""
        path = self.folder("working", study) / "starts"
        before = self.starts(study)
        self._write(path, str(before + 1).encode())
        return before

    def starts(self, study: str) -> int:
        """How many analyses of a study were started and not finished."""
        path = self.folder("working", study) / "starts"
        return int(path.read_text()) if path.exists() else 0

    def analysed(self, study: str) -> None:
        """The result in `out/` is whole: move the study from "working" to "sending"."""
        out = self.folder("working", study) / "out"
        for path in [*out.rglob("*"), out, out.parent]:
            _sync(path)
        with self._lock:
            self._move("working", study, "sending")

    def finish(self, study: str) -> None:
        """The result was taken: remember the study, delete its files; keep them if more of the study came meanwhile."""
        with self._lock:
            names = sorted(self.done(study) | self.names("sending", study))
            self._write(self.root / "done" / f"{study}.json", json.dumps({"instances": names}).encode())
            if self.folder("receiving", study).exists():
                self._absorb("sending", study, "receiving")
            else:
                self._trash("sending", study)

    def fail(self, state: str, study: str, reason: str) -> None:
        """Put a study aside for a person, with its reason."""
        with self._lock:
            if self.folder("failed", study).exists():
                self._absorb("failed", study, state)
            with suppress(OSError):  # on a full disk a study is put aside without its reason
                self._write(self.folder(state, study) / "reason.txt", f"{reason}\n".encode())
            self._move(state, study, "failed")

    # --- steps on the disk ---

    def _part(self, data: bytes) -> Path:
        part = self.root / "tmp" / uuid.uuid4().hex
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return part

    def _write(self, path: Path, data: bytes) -> None:
        self._part(data).replace(path)
        _sync(path.parent)

    def _move(self, state: str, study: str, to: str) -> None:
        self.folder(state, study).rename(self.folder(to, study))
        _sync(self.root / state, self.root / to)

    def _absorb(self, state: str, study: str, into: str) -> None:
        """Add the instances of a study in one state to the same study in another, where newer ones win."""
        target = self.folder(into, study) / "instances"
        there = self.names(into, study)
        for path in (self.folder(state, study) / "instances").glob("*.dcm"):
            if path.stem not in there:
                path.rename(target / path.name)
        _sync(target)
        self._trash(state, study)

    def _trash(self, state: str, study: str) -> None:
        gone = self.root / "trash" / uuid.uuid4().hex
        self.folder(state, study).rename(gone)
        _sync(self.root / state)
        shutil.rmtree(gone, ignore_errors=True)


def _make(folder: Path, root: Path) -> None:
    """Make a folder below root, lastingly."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        _sync(*(p for p in folder.parents if p.is_relative_to(root)))


def _sync(*paths: Path) -> None:
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
