"""A cohort as a BIDS data set of derivatives: label maps, tables of measurements, and what made them.

Names and keys are the specification's (1.11): `desc-` and `dseg`, lookup tables, `Sources`, `participants.tsv`,
`sessions.tsv`, `phenotype/`. Nobody's name gets in: subjects keep the labels that they have in BIDS, all others get one
made of a hash.
"""

import gzip
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel as nib

from myoscope.cohort.derived_tables import dictionary, lookup, participants, tsv, values
from myoscope.cohort.state import Out
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io import bids
from myoscope.io.nifti import shown
from myoscope.io.record import StudyRecord, handwork, read_record, sha256_of
from myoscope.io.tables import as_csv
from myoscope.measure.results import NOTICE
from myoscope.study import Role

VERSION = "1.11.1"
"""Of the specification."""

MANIFEST = ".myoscope.json"
"""SHA-256 of every file as it was written: what is not in it, or differs, is somebody else's and is never removed."""

_SHOWS = {
    Role.CINE: "short-axis cine",
    Role.LGE: "late gadolinium enhancement, short axis",
    Role.T2: "T2-weighted image, short axis",
    Role.BSSFP: "bSSFP image of one phase, short axis",
}


@dataclass(frozen=True)
class Derived:
    """A study as it stands in the data set; `session` is None where its subject has none."""

    study: str
    subject: str
    session: str | None
    measured: Mapping[str, Any]
    record: StudyRecord

    @property
    def place(self) -> bids.Place:
        """Its folder, seen from the root."""
        return bids.Place(Path(), self.subject, self.session)


def check_target(target: Path, state: Out) -> None:
    """Make sure that a data set may be written, before long work.

    Raises:
        InputError: something else is there, or what was written there has been changed.
    """
    where = f"{shown(target)}: expected a new folder, or one that --bids wrote,"
    inner = [folder.resolve() for folder in (state.studies, state.failed, state.work, state.inputs)]
    at = target.resolve()
    if state.root.resolve().is_relative_to(at) or any(at.is_relative_to(folder) for folder in inner):
        raise InputError(f"{where} found one of this cohort's own; choose another")
    above = next(one for one in at.parents if one.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{where} found that {shown(above)} cannot be written; choose another")
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{where} found a file; choose another")
    try:
        known = json.loads((target / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    for path in sorted(path for path in target.rglob("*") if not path.is_dir()):
        name = path.relative_to(target).as_posix()
        if name != MANIFEST and (path.is_symlink() or known.get(name) != sha256_of(path)):
            what = "changed since" if name in known else "which it did not write"
            raise InputError(f"{where} found {shown(name)}, {what}; move it away, or choose another")


def write_derivatives(state: Out, target: Path, hashed: bool = False) -> list[str]:
    """Write what is done of a cohort into a folder, whole or not at all; what was written there before goes.

    OUT/bids.csv gets the label that each study has there. With `hashed` no image is named as a source.

    Returns:
        What was written, and what was left out and why, in whole sentences.

    Raises:
        InputError: the folder cannot be written, or see `check_target`.
    """
    check_target(target, state)
    studies, notes = _studies(state)
    if not studies:
        return [*notes, "No study is done, so no BIDS derivatives were written."]
    part = target.with_name(f".{target.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / "new").mkdir(parents=True)
        _write_all(state, studies, part / "new", None if hashed else _around(studies, target), target)
        if target.exists():
            target.rename(part / "old")
        (part / "new").rename(target)
        rows = [_label_row(one) for one in studies]
        write_whole(state.root / "bids.csv", as_csv(("study", "participant_id", "session_id"), rows))
    except OSError as error:
        raise InputError(f"{shown(target)}: cannot write there ({error.strerror}); choose another folder") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    subjects = len({one.subject for one in studies})
    return [*notes, f"Written as BIDS derivatives: studies {len(studies)}, subjects {subjects}."]


def labels_of(study: str) -> tuple[str, str | None]:
    """The labels of subject and session that a study's id gives; of an id that BIDS has not, a hash.

    >>> labels_of("sub-01_ses-2"), labels_of("sub-04"), labels_of("Muster_Eva-1a2b3c4d")
    (('01', '2'), ('04', None), ('61f5e3c718cb', None))
    """
    parts = bids.parts_of(f"{study}_x")
    if parts and list(parts[0]) in (["sub"], ["sub", "ses"]):
        return parts[0]["sub"], parts[0].get("ses")
    return sha256(study.encode()).hexdigest()[:12], None


def _studies(state: Out) -> tuple[list[Derived], list[str]]:
    """What is done, by label, and sentences on what is not taken."""
    found, notes = [], []
    for folder in sorted(path for path in state.studies.iterdir() if state.done(path.name)):
        record = read_record(folder)
        if state.failure(folder.name) or record is None:
            continue
        if any(why != "was drawn by hand" for why in handwork(folder).values()):
            notes.append(f"{folder.name}: not in BIDS: label maps were changed after they were measured; measure it.")
            continue
        measured = state.measurements(folder.name)
        found.append(Derived(folder.name, *labels_of(folder.name), measured, record))
    return sorted(found, key=lambda one: one.place.id), notes


def _around(studies: list[Derived], target: Path) -> Path | None:
    """The root of the data set that the images are from and that the target lies in."""
    paths = (Path(path) for one in studies for image in one.record.images for path in image.files)
    roots = {place.root for path in paths if (place := bids.place_of(path))}
    return next((root for root in roots if target.resolve().is_relative_to(root.resolve())), None)


def _write_all(state: Out, studies: list[Derived], root: Path, raw: Path | None, target: Path) -> None:
    link = os.path.relpath(raw.resolve(), target.resolve()) if raw else None
    _json(root / bids.DESCRIPTION, _description(studies, link))
    (root / "README").write_text(_readme(len(studies)), encoding="utf-8")
    (root / "dseg.tsv").write_text(lookup(), encoding="utf-8")
    names, table, columns = participants([(one.subject, one.measured["patient"]) for one in studies])
    (root / bids.PARTICIPANTS).write_text(tsv(names, table), encoding="utf-8")
    _json(root / "participants.json", columns)
    for one in studies:
        _write_labels(state.studies / one.study, one, root, raw)
    _write_measurements(studies, root)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    _json(root / MANIFEST, {"files": {path.relative_to(root).as_posix(): sha256_of(path) for path in files}})


def _write_labels(folder: Path, one: Derived, root: Path, raw: Path | None) -> None:
    by_role: dict[Role, list[Any]] = {}
    for label in one.record.labels:
        by_role.setdefault(label.role, []).append(label)
    to = root / one.place.folder / "anat"
    to.mkdir(parents=True, exist_ok=True)
    images = {image.role: image.files for image in one.record.images}
    for role, labels in by_role.items():
        for i, label in enumerate(labels):
            alone = len(labels) == 1
            stem = f"{one.place.id}_desc-{role.replace('_', '')}{'' if alone else f'Frame{i + 1}'}_dseg"
            _copy_labels(folder / label.file, to / f"{stem}.nii.gz")
            of = f"frame {i + 1} of {len(labels)} of the " if not alone else ""
            said: dict[str, Any] = {
                "Description": f"Label map on the voxels of the {of}{_SHOWS.get(role, role)}; dseg.tsv has its codes",
                "SpatialReference": "orig",
                "Manual": label.by_hand,
            }
            sources = images.get(role, []) if alone else images.get(role, [])[i : i + 1]
            if raw and sources and all(Path(path).is_relative_to(raw) for path in sources):
                said["Sources"] = [f"bids:raw:{Path(path).relative_to(raw).as_posix()}" for path in sources]
            _json(to / f"{stem}.json", said)


def _copy_labels(source: Path, target: Path) -> None:
    """A label map without what its header may have kept of the image's, compressed without a name or a time."""
    image: Any = nib.load(source)
    header = image.header
    for field in ("db_name", "aux_file", "intent_name"):
        if field in header:
            header[field] = b""
    header.extensions.clear()
    target.write_bytes(gzip.compress(image.to_bytes(), 6, mtime=0))


def _write_measurements(studies: list[Derived], root: Path) -> None:
    """Numbers of sessions beside their subject, those of subjects without sessions in `phenotype/`."""
    columns = dictionary()
    sessions: dict[str, list[dict[str, Any]]] = {}
    for one in studies:
        if one.session:
            row = {"session_id": f"ses-{one.session}"} | values(one.measured)
            sessions.setdefault(one.subject, []).append(row)
    if sessions:
        _json(root / "sessions.json", columns)
    for subject, rows in sessions.items():
        name = f"sub-{subject}"
        (root / name / f"{name}_sessions.tsv").write_text(tsv(["session_id", *columns], rows), encoding="utf-8")
    if rows := [{"participant_id": f"sub-{one.subject}"} | values(one.measured) for one in studies if not one.session]:
        (root / "phenotype").mkdir()
        (root / "phenotype" / "myoscope.tsv").write_text(tsv(["participant_id", *columns], rows), encoding="utf-8")
        _json(root / "phenotype" / "myoscope.json", columns)


def _description(studies: list[Derived], link: str | None) -> dict[str, Any]:
    """`dataset_description.json`: every version and network that made a part of it, and where the images are."""
    made = sorted({_made_by(one) for one in studies})
    by = [{"Name": "myoscope", "Version": version, "Description": how} for version, how in made]
    if any(label.by_hand for one in studies for label in one.record.labels):
        by.append({"Name": "Manual", "Description": "Label maps whose sidecar says Manual were corrected by a person"})
    said: dict[str, Any] = {
        "Name": "Cardiac MR: label maps and measurements by myoscope",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": by,
    }
    if link:
        said |= {"SourceDatasets": [{"URL": link}], "DatasetLinks": {"raw": link}}
    return said


def _made_by(one: Derived) -> tuple[str, str]:
    made = one.measured["provenance"]
    networks = []
    for series in sorted(made["series"], key=lambda series: series["role"]):
        weights = series["weights_members"] or [series["weights_sha256"]] * bool(series["weights_sha256"])
        hashes = f" (weights, SHA-256: {', '.join(weights)})" if weights else ""
        networks.append(f"{series['role']}: {series['labels_from']}{hashes}")
    return made["myoscope_version"], "; ".join(networks)


def _readme(count: int) -> str:
    return f"""Label maps and measurements of {count} cardiac MR studies, written by myoscope as BIDS derivatives.

sub-*/[ses-*/]anat/*_dseg.nii.gz: label maps on the voxels of the images; dseg.tsv names their codes, desc- the image.
sub-*/sub-*_sessions.tsv (subjects with sessions), phenotype/myoscope.tsv (without): every number, with its unit in its
name; the JSON file beside each says what a column is. n/a is what could not be measured.
participants.tsv: facts that are the same in all of a subject's studies.

{NOTICE} The weights of the networks are for research only: dataset_description.json names them.
"""


def _label_row(one: Derived) -> dict[str, str | None]:
    session = f"ses-{one.session}" if one.session else None
    return {"study": one.study, "participant_id": f"sub-{one.subject}", "session_id": session}


def _json(path: Path, said: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
