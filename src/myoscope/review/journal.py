"""Every stroke on disk before it is confirmed: a killed server or browser loses at most the last one.

One JSON object a line. The first says what the label maps were (`base`: SHA-256 of each role's codes);
then `do` and `undo` as they came, and `saving` before a save, with what the maps become.
A line cut short at the end was never confirmed, and is dropped.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.files import write_whole
from myoscope.study import Role

NAME = ".review-journal.jsonl"

Hashes = dict[str, str]


def hashes_of(labels: Mapping[Role, np.ndarray]) -> Hashes:
    """SHA-256 of each role's codes."""
    return {str(role): hashlib.sha256(codes.tobytes()).hexdigest() for role, codes in labels.items()}


@dataclass
class Found:
    """What a journal holds: steps that count and steps that were undone, as said, and whether it is of these maps."""

    done: list[Any] = field(default_factory=list)
    undone: list[Any] = field(default_factory=list)
    fits: bool = True


class Journal:
    """The journal of one OUT folder."""

    def __init__(self, out: Path) -> None:
        self.path = out / NAME

    def read(self, now: Hashes) -> Found:
        """What an earlier session left, if the label maps are still the ones it began with, or were about to become.

        A save that was interrupted may have replaced some maps: steps set voxels to codes, so those that count give
        the same when they are done again.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return Found()
        found, known = Found(), []
        for line in lines[:-1]:  # what follows the last line end was cut short
            try:
                said = json.loads(line)
            except ValueError:
                break
            if "base" in said:
                known = [said["base"]]
            elif "saving" in said:
                known.append(said["saving"])
            elif "do" in said:
                found.done.append(said["do"])
                found.undone.clear()
            elif "undo" in said and found.done:
                found.undone.append(found.done.pop())
        fits = all(any(maps.get(role) == value for maps in known) for role, value in now.items())
        return Found(found.done, found.undone, fits)

    def begin(self, base: Hashes, done: list[Any], undone: list[Any]) -> None:
        """Start again from these maps, with the steps that are not saved."""
        lines: list[dict[str, Any]] = [{"base": base}]
        lines += [{"do": step} for step in [*done, *reversed(undone)]] + [{"undo": True}] * len(undone)
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        self.path.chmod(0o600)

    def add(self, **line: Any) -> None:
        """Append a line; it is on the disk when this returns."""
        with self.path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def put_aside(self) -> Path:
        """Keep a journal that does not fit under another name; gives it."""
        aside = self.path.with_name(f".review-journal-{datetime.now(UTC):%Y%m%dT%H%M%S}.jsonl")
        return self.path.replace(aside)
