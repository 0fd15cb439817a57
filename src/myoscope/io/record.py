"""`OUT/study.json`: what a result was made from, so that OUT never mixes two studies and nobody's handwork is lost.

It holds paths and identifiers of the study, and is readable by its owner alone.
"""

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nibabel as nib
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from myoscope import __version__
from myoscope.errors import InputError
from myoscope.io.nifti import SUFFIXES, shown
from myoscope.study import FACTS, Role, Series, Study

NAME = "study.json"
FOLDER = "segmentations"
AUTOMATIC = f"{FOLDER}/automatic"
"""Label maps, and those among them that a network drew and a person changed since."""

DICOM_FILES = (*(f"{role}_seg.dcm" for role in Role), "report_sr.dcm")
"""What `dicom/` may hold."""

FHIR = "fhir/observations.json"

TABLES = ("measurements.csv", "segments.csv", "slices.csv")

LABEL_TABLES = ("itk-snap.label", "slicer.ctbl")
"""What the codes of the label maps mean, for ITK-SNAP and 3D Slicer; among the maps themselves lie maps alone."""

IMAGES = tuple(f"{FOLDER}/images/{role}.nii.gz" for role in Role)
"""The images of a DICOM study as NIfTI, where they were asked for; kept as long as the images are the same."""

FILES = (
    *("report.html", "report.pdf", "measurements.json", *TABLES, *LABEL_TABLES, *IMAGES, FHIR),
    *(f"dicom/{name}" for name in DICOM_FILES),
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class InputRecord(_Part):
    """How the study was opened: its absolute path, and the options `--role` and `--series` (numbers by role).

    `told` are the facts of the patient that none of its files said: a table, an option or a program did.
    """

    path: str
    role: Role | None = None
    series: dict[Role, list[int]] = {}
    told: list[str] | None = None


class ImageRecord(_Part):
    """An image: its NIfTI files (absolute) or its DICOM series, and one SHA-256 over all its files, in order.

    `voxels_sha256` is that of its first frame as it was read: the same where files were packed or named anew.
    """

    role: Role
    files: list[str]
    series_instance_uid: str | None = None
    sha256: str
    voxels_sha256: str | None = None


class LabelRecord(_Part):
    """A label map as it was written: its place below OUT, SHA-256 of the file, and whether a person drew it."""

    role: Role
    file: str
    sha256: str
    by_hand: bool = False


class StudyRecord(_Part):
    """What `study.json` holds; `input` is None for a study that came from no file."""

    myoscope_version: str
    study_id: str
    input: InputRecord | None
    images: list[ImageRecord]
    labels: list[LabelRecord]


def read_record(out: Path) -> StudyRecord | None:
    """The record of the result that lies in a folder; None where there is none, or none that can be read."""
    try:
        return StudyRecord.model_validate_json((out / NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def record_of(study: Study, labels: list[LabelRecord]) -> StudyRecord:
    """The record of a study and the label maps that were written for it."""
    opened = study.opened
    return StudyRecord(
        myoscope_version=__version__,
        study_id=study.id,
        input=InputRecord(
            path=str(opened.path.absolute()),
            role=opened.role,
            series={role: list(numbers) for role, numbers in opened.series.items()},
            told=told_of(study),
        )
        if opened
        else None,
        images=[_image(series) for series in study.series],
        labels=labels,
    )


def told_of(study: Study) -> list[str] | None:
    """Facts of the patient that the study's files did not say when it was read; None where it came from no file."""
    if study.opened is None:
        return None
    said, known = study.opened.patient, study.patient
    return [name for name in FACTS if getattr(said, name) is None and getattr(known, name) is not None]


def write_record(record: StudyRecord, folder: Path) -> None:
    """Write `study.json` into a folder that has none, for its owner alone."""
    with os.fdopen(os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(record.model_dump_json(indent=1) + "\n")


def sha256_of(*paths: Path) -> str:
    """SHA-256 of the bytes of files, one after the other."""
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()


def handwork(out: Path) -> dict[str, str]:
    """Label maps below a folder that a person made or changed, by their place in it, and what happened to each."""
    known = {label.file: label for label in _labels(out)}
    found = {}
    for path in sorted((out / FOLDER).glob("*")):
        name = f"{FOLDER}/{path.name}"
        if not path.name.lower().endswith(SUFFIXES) or path.name.startswith("._") or not path.is_file():
            continue
        if name not in known:
            found[name] = "is not of the last run"
        elif sha256_of(path) != known[name].sha256:
            found[name] = "was changed since"
        elif known[name].by_hand:
            found[name] = "was drawn by hand"
    return found


def refuse_handwork(out: Path, new: Path | None = None, replaces: Collection[str] = ()) -> dict[str, bool]:
    """Refuse to write a result where it would replace label maps that a person made.

    Args:
        out: The folder to write into.
        new: The folder with the new result, once it is there: a map with the same voxels may take the old one's place.
        replaces: Places whose maps may be replaced by any.

    Returns:
        Places of handwork that may be replaced, and whether what replaces it is the same.

    Raises:
        InputError: handwork would be lost.
    """
    found = {}
    for name, why in handwork(out).items():
        found[name] = new is not None and _same_voxels(out / name, new / name)
        if not found[name] and name not in replaces:
            raise InputError(
                f"{shown(out / name)}: expected a label map as the last run wrote it, this one {why}; to measure it: "
                f"myoscope measure STUDY --labels {shown(out / FOLDER)} -o ANOTHER; to let it go, move or delete it"
            )
    return found


def _labels(out: Path) -> list[LabelRecord]:
    record = read_record(out)
    return record.labels if record else []


def _same_voxels(old: Path, new: Path) -> bool:
    try:
        a, b = (np.asarray(nib.load(path).dataobj) for path in (old, new))  # type: ignore[attr-defined]
    except Exception:  # whatever a parser of foreign bytes may raise: not a map that can be read
        return False
    return a.shape == b.shape and bool((a == b).all())


def remove_result(out: Path, kept: Collection[str] = ()) -> None:
    """Remove what an earlier run wrote into a folder, and nothing else; not the label maps that are `kept`."""
    written = [f"{FOLDER}/{Path(label.file).name}" for label in _labels(out)]
    automatic = [f"{AUTOMATIC}/{path.name}" for path in (out / AUTOMATIC).glob("*_seg.nii.gz")]
    for name in (*written, *automatic, *FILES, NAME):  # the record last: whoever is interrupted can go on
        if name not in kept:
            (out / name).unlink(missing_ok=True)
    for folder in (out / AUTOMATIC, (out / IMAGES[0]).parent, out / "dicom", (out / FHIR).parent):
        with suppress(OSError):  # it is not there, or not empty
            folder.rmdir()


@contextmanager
def alone(out: Path, otherwise: str | None = None) -> Iterator[None]:
    """Wait until no other process holds a folder; with `otherwise` do not wait (where the system has such locks).

    Raises:
        InputError: `otherwise`, as another process holds it.
    """
    try:
        import fcntl

        handle = os.open(out, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if otherwise else 0))
            except BlockingIOError:
                raise InputError(otherwise) from None
        yield
    finally:
        os.close(handle)


def _image(series: Series) -> ImageRecord:
    source = series.source
    if source:
        read = list(dict.fromkeys(image.path for frame in source.images for image in frame))
        named, uid = [], source.series_instance_uid
    else:
        read, uid = [path for grid in series.files for path in (grid.sources or (grid.path,))], None
        named = [str(path.absolute()) for path in read]
    if not read:
        digest = hashlib.sha256(series.image.voxels.tobytes()).hexdigest()
    else:
        try:
            digest = sha256_of(*read)
        except OSError as error:
            where = shown(error.filename)
            raise InputError(f"{where}: cannot be read again ({error.strerror}); keep it where it was") from None
    first = hashlib.sha256(series.image.frames[0].tobytes()).hexdigest()
    return ImageRecord(role=series.role, files=named, series_instance_uid=uid, sha256=digest, voxels_sha256=first)
