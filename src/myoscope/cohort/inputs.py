"""What a study is made of: its files, what tells that they changed, a place where they lie alone, names left out."""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from myoscope.cohort.find import Item
from myoscope.datasets import own
from myoscope.errors import InputError
from myoscope.io import bids
from myoscope.io.dicom.unzip import MAX_BYTES, MAX_RATIO
from myoscope.io.listing import files_below
from myoscope.io.nifti import shown
from myoscope.io.participants import read_participant
from myoscope.io.patient import NAME


def files_of(item: Item) -> list[Path]:
    """Every file that the study's analysis may read, sorted."""
    path = Path(item.path)
    if item.kind == "case" and own.is_case(path):
        row = own.read_table(path.parent)[path.name]
        return sorted([path.parent / own.TABLE, *row.images.values()])
    if item.kind == "zip" or path.is_file():
        return sorted(one for one in (path, path.parent / NAME) if one.is_file())
    if item.files is not None:
        return [Path(file) for file in item.files]
    beside = path.parent.glob(f"{path.name.replace('_', ' ')}.txt")  # EMIDEC's clinical values
    return sorted([*beside, *files_below(path)])


def fingerprint(item: Item) -> str:
    """Changes when a file of the study comes, goes, or has another size or time of change; names are not kept.

    In a BIDS data set so do sidecars above it, and what `participants.tsv` says of its subject.
    """
    digest, place = hashlib.sha256(), bids.place_of(Path(item.path))
    for file in (*files_of(item), *(bids.beside(place) if place else ())):
        facts = file.stat()
        digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode(errors="surrogateescape"))
    if place:
        digest.update(repr(read_participant(place)).encode())
    return digest.hexdigest()


def alone(item: Item, folder: Path) -> Path:
    """A path that holds this study and no other: its own, or a folder of links to its files (a zip's are unpacked).

    Raises:
        InputError: the zip is not to be trusted.
    """
    if item.files is None:
        return Path(item.path)
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    if item.kind == "zip":
        _unpack(Path(item.path), item.files, folder)
    else:
        for i, file in enumerate(item.files):
            (folder / f"{i:06d}.dcm").symlink_to(file)
    return folder


def _unpack(path: Path, members: Iterable[str], folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        chosen = [archive.getinfo(member) for member in members]
        if sum(member.file_size for member in chosen) > min(MAX_BYTES, MAX_RATIO * path.stat().st_size):
            raise InputError(
                f"{shown(path)}: expected a study, found a zip that is packed too tightly; unpack it by hand"
            )
        for i, member in enumerate(chosen):
            with archive.open(member) as source, (folder / f"{i:06d}.dcm").open("wb") as target:
                shutil.copyfileobj(source, target)


def without_names(text: str, item: Item, hashed: bool) -> str:
    """One line of what went wrong, without the names of folders, and without those of files where they are secret."""
    for path in {item.path, os.path.realpath(item.path)}:
        for spelling in (shown(path), shown(path).strip("'\""), path):
            text = text.replace(spelling, item.id)
    text = re.sub(r"(?<![\w.\-])(/[^/\s:;,'\"]+)*/(?=[^/\s:;,'\"]+)", "", text)  # folders in front of what is left
    if hashed:
        names = {
            part for file in files_of(item)[:5000] for part in (file.name, file.name.split(".")[0], file.parent.name)
        }
        for name in sorted({*names, item.name, Path(item.path).name}, key=len, reverse=True):
            if len(name) > 2:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "...", text)
    return " ".join(text.split())[:500]
