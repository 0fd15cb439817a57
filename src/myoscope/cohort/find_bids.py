"""Studies of BIDS data sets: one a subject and session, under the names that they have there."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from myoscope.cohort.find import UNREADABLE, Item, own_path, short_hash
from myoscope.io import bids
from myoscope.io.listing import is_bystander
from myoscope.io.nifti import shown

Left = list[tuple[Path, str]]
"""What was left out, and why."""

_SHOWN = 4
"""So many names of what was left out are given for each reason."""


def bids_studies(path: Path, left: Left) -> list[Path] | None:
    """Folders of the studies in a BIDS data set, a subject or a session; None where the folder is none of these.

    Of a data set only subjects' folders are looked at; `left` gets what lies elsewhere than the specification has it.
    """
    said = bids.description(path)
    if said is None:
        folders, outside = bids.study_folders(path)
        left += [
            (one, "an image beside sessions, or a session without an image named as BIDS has it") for one in outside
        ]
        place = bids.place_of(path)
        session = place and place.session and path.absolute() == place.folder and bids.study_at(path)
        return folders or ([path] if session else None)
    if said.get("DatasetType", "raw") != "raw":
        left.append((path, "a data set of derivatives or studies; give one of raw images"))
        return []
    studies = []
    for folder in sorted(one for one in path.iterdir() if one.is_dir() and not is_bystander(one.name)):
        folders = bids_studies(folder, left) or [] if folder.name.startswith("sub-") else []
        studies += folders
        if not folders and folder.name.startswith("sub-"):
            left.append((folder, "a subject without an image named as BIDS has it"))
        elif not folders and folder.name not in bids.APART:
            left.append((folder, "no subject's folder (sub-LABEL, of letters and digits)"))
    return studies


def bids_items(folders: Sequence[Path], hashed: bool) -> list[Item]:
    """Studies of these folders, named `sub-X_ses-Y`; with a hash of the path where two subjects share a label.

    With `hashed` a subject's label is a hash alone, so that its sessions stay together.
    """
    places = {path: place for path in map(own_path, folders) if (place := bids.place_of(path))}
    subjects = Counter(label.lower() for _, label in {(place.root, place.subject) for place in places.values()})
    items = []
    for path, place in places.items():
        label, owner = place.subject, place.root / f"sub-{place.subject}"
        if hashed:
            label = short_hash(owner, 12)
        elif subjects[label.lower()] > 1:
            label = f"{label}x{short_hash(owner)}"
        items.append(Item(replace(place, subject=label).id, "bids", str(path), place.id))
    return items


def left_out(left: Left, hashed: bool) -> list[str]:
    """A sentence for each reason, with the first few names; without any where they are secret."""
    reasons = defaultdict(list)
    for path, why in left:
        reasons[why].append(f"{path.absolute().parent.name}/{path.name}")
    notes = []
    for why, names in reasons.items():
        named = "" if hashed else f" ({shown(', '.join(names[:_SHOWN]))}{', ...' * (len(names) > _SHOWN)})"
        what = "folders" if why == UNREADABLE else "left out of a BIDS data set"
        notes.append(f"{len(names)} {what}{named}: {why}.")
    return notes
