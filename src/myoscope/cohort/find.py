"""Find the studies below a few paths: data sets' cases, NIfTI folders and files, zips, DICOM whoever mixed it."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from myoscope.datasets import case_folders, layout_of, own
from myoscope.errors import InputError
from myoscope.io import bids
from myoscope.io.listing import is_bystander
from myoscope.io.names import TIME, Named, guess_role, is_label_name, read_names, stem_of
from myoscope.io.nifti import is_nifti, shown
from myoscope.study import Role

UNREADABLE = "cannot be read"

LOCK = "cohort.lock"
"""Lies in every cohort's OUT: such a folder is never searched for studies."""

_PART = re.compile(r"(anat|func|cmr|mri?|images?|nifti|heart|cardiac)$", re.IGNORECASE)
"""Folders that hold a part of the study above them (BIDS's words, and what people write); so do names of roles."""

_LABELS = re.compile(
    r"(^|[_\-. ])(gt|gd|seg|segmentations?|labels?|masks?|contours?|derivatives)([_\-. ]|$)", re.IGNORECASE
)
_FRAME = re.compile(r"_frame\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """One study that was found.

    `id` names its folder below OUT/studies. `path` is what `read_study` takes. `files` are those that make it up,
    where `path` holds other things too, or None for everything there; of a zip, the names of its members. `name` is
    what its owner calls it: a folder's or file's name, or the id. `kind` is "case", "nifti", "bids", "dicom" or "zip".
    """

    id: str
    kind: str
    path: str
    name: str
    files: tuple[str, ...] | None = None


def find_studies(
    paths: Sequence[Path], hashed: bool = False, say: Callable[[str], None] = lambda _: None
) -> tuple[list[Item], list[str]]:
    """The studies below some paths, sorted by id, and what was left out in whole sentences.

    Args:
        paths: Files and folders. Outputs of cohorts, hidden folders and label files are passed over.
        hashed: Name studies by a hash where they would be named after folders or files, which may be people's names.
        say: Called with a few words now and then.

    Raises:
        InputError: a path is not there, or nothing was found.
    """
    from myoscope.cohort.find_bids import bids_items, left_out

    found: list[Item] = []
    dicom: list[Path] = []
    of_bids: list[Path] = []
    left: list[tuple[Path, str]] = []
    for path in dict.fromkeys(paths):
        if own.is_case(path):
            found.append(_case(path, hashed))
            continue
        if not path.exists():
            raise InputError(f"{shown(path)}: no such file or folder; check the path")
        for kind, one in _walk(path, left):
            if kind == "file":
                dicom.append(one)
            elif kind == "bids":
                of_bids.append(one)
            else:
                found.append(_case(one, hashed) if kind == "case" else _named(one, kind, hashed))
        say(f"{len(found) + len(of_bids)} studies and {len(dicom)} other files found")
    found += bids_items(of_bids, hashed)
    notes = left_out(left, hashed)
    if dicom or any(item.kind == "zip" for item in found):
        from myoscope.cohort.find_dicom import dicom_studies, zipped_studies

        from_zips = [one for item in found if item.kind == "zip" for one in zipped_studies(item)]
        folders, more = dicom_studies(dicom, say)
        found, notes = [*(item for item in found if item.kind != "zip"), *from_zips, *folders], notes + more
    if not found:
        where = ", ".join(shown(path) for path in paths)
        raise InputError(
            f"{where}: expected studies (DICOM, NIfTI, BIDS, data sets' cases, zips), found none; check the path"
            + "".join(f". {note}" for note in notes).removesuffix(".")
        )
    return sorted(_told_apart(found), key=lambda item: item.id), notes


def short_hash(path: Path | str, digits: int = 8) -> str:
    """The first digits of the SHA-256 of a path, made absolute."""
    return hashlib.sha256(os.fsencode(Path(path).resolve())).hexdigest()[:digits]


def harmless(name: str) -> str:
    """A name as a folder's: letters, digits, dots and dashes, not hidden.

    >>> harmless("../Müller, Eva")
    'Müller_Eva'
    """
    return re.sub(r"[^\w.\-]+", "_", name).strip("._-")[:80] or "study"


def own_path(path: Path) -> Path:
    """Absolute, links in it kept: of ROOT/CASE the case is a line of a table, and nothing needs to lie there."""
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def _named(path: Path, kind: str, hashed: bool) -> Item:
    name = path.resolve().name
    stem = name.removesuffix(".gz").removesuffix(".nii").removesuffix(".zip")
    ident = f"study-{short_hash(path, 12)}" if hashed else f"{harmless(stem)}-{short_hash(path)}"
    return Item(ident, kind, str(own_path(path)), stem)


def _case(path: Path, hashed: bool) -> Item:
    ident = f"study-{short_hash(path, 12)}" if hashed else harmless(path.resolve().name)
    return Item(ident, "case", str(own_path(path)), path.resolve().name)


def _told_apart(items: list[Item]) -> Iterator[Item]:
    """Once each, however many links lead there.

    Two of one id, as cases of one name in two data sets, get a hash of their path too.
    So do ids that differ in capitals alone: there are disks on which they would be one folder.
    """
    items = list({(Path(item.path).resolve(), item.files): item for item in reversed(items)}.values())[::-1]
    many = Counter(item.id.lower() for item in items)
    for item in items:
        yield item if many[item.id.lower()] == 1 else replace(item, id=f"{item.id}-{short_hash(item.path)}")


def _walk(path: Path, left: list[tuple[Path, str]]) -> Iterator[tuple[str, Path]]:
    """("case" | "nifti" | "bids" | "zip", a study's path), and ("file", anything that may be DICOM).

    `left` gets folders that cannot be read, and what lies in a BIDS data set and is no study, and why.
    """
    from myoscope.cohort.find_bids import bids_studies

    if path.is_file():
        yield ("nifti" if is_nifti(path) else "zip" if path.suffix.lower() == ".zip" else "file"), path
        return
    try:
        next(path.iterdir(), None)
    except OSError:
        left.append((path, UNREADABLE))
        return
    if (path / LOCK).is_file():
        return
    if own.is_data_set(path) or layout_of(path):
        yield from (("case", case) for case in case_folders(path))
        return
    if (studies := bids_studies(path, left)) is not None:
        yield from (("bids", one) for one in studies)
        return
    entries = sorted(entry for entry in path.iterdir() if not is_bystander(entry.name))
    folders = [entry for entry in entries if entry.is_dir() and not _LABELS.search(entry.name)]
    below = {folder: list(_walk(folder, left)) for folder in folders}
    if any(kind == "bids" for folder in folders if folder.name.startswith("sub-") for kind, _ in below[folder]):
        folders = [folder for folder in folders if folder.name not in bids.APART]
    parts = [folder for folder in folders if _is_part(folder) and all(_is_here(one, folder) for one in below[folder])]
    images = [image for place in (path, *parts) for image in _images(place)]
    beside = any(
        kind in ("nifti", "case", "bids") for folder in folders if folder not in parts for kind, _ in below[folder]
    )
    if images and not beside and _one_study(images):
        yield "nifti", path
    else:
        yield from (("nifti", image) for image in images)
    for entry in entries:
        if entry.is_file() and not is_nifti(entry):
            yield ("zip" if entry.suffix.lower() == ".zip" else "file"), entry
    for folder in folders:
        yield from (one for one in below[folder] if one[0] != "nifti" or folder not in parts)


def _is_here(found: tuple[str, Path], folder: Path) -> bool:
    """Whether what was found is the folder itself or a file right in it, and no study in a folder of its own."""
    kind, path = found
    return kind == "file" or (kind == "nifti" and folder == (path.parent if path.is_file() else path))


def _images(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and is_nifti(path))
    return [path for path in files if not is_label_name(path)]


def _is_part(folder: Path) -> bool:
    words = re.split(r"[^a-z0-9]+", folder.name.lower())
    return bool(_PART.match(folder.name)) or (len(words) <= 2 and _role(folder) is not None)


def _role(path: Path) -> Role | None:
    """What the name itself says, whatever the folders above are called."""
    try:
        return guess_role(Path(path.name))
    except InputError:
        return None


def _one_study(images: Iterable[Path]) -> bool:
    """Whether images may be of one study: no role twice; the frames of a cine count once, long axes not at all."""
    kept: dict[tuple[str, Path], Role | None] = {}
    for path in images:
        named = _named_alone(path)
        if named is None or (named.view != "long" and named.other is None):
            key = TIME.sub("", _FRAME.sub("", named.key if named and named.phase else stem_of(path)))
            kept[key, path.parent] = (named and named.role) or _role(path.parent)
    roles = Counter(kept.values())
    return max(roles.values(), default=1) == 1 and not _patients_differ([key for key, _ in kept])


def _named_alone(path: Path) -> Named | None:
    """What a file's own name says, whatever the folders above are called."""
    try:
        return read_names(Path(path.name))
    except InputError:
        return None


def _patients_differ(names: Sequence[str]) -> bool:
    """Whether what stands before the role in files' names differs, as in anna_cine.nii and berta_lge.nii.

    >>> _patients_differ(["anna_cine", "berta_lge"]), _patients_differ(["x_cine", "x_lge"]), _patients_differ(["cine"])
    (True, False, False)
    """
    rests = []
    for name in names:
        words = re.split(r"[^A-Za-z0-9]+", name)
        rests.append([word for word in words if _role(Path(word)) is None and not _PART.match(word)])
    return any(a != b for a, b in pairwise(sorted(rests)) if a and b)
