"""What is written: the output folder of an analysis, whole or not at all; label files; a study as NIfTI."""

import shutil
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.label_tables import itk_snap_table, slicer_table
from myoscope.io.nifti import shown, write_image, write_labels
from myoscope.io.patient import write_patient
from myoscope.io.record import (
    AUTOMATIC,
    FHIR,
    FOLDER,
    IMAGES,
    LABEL_TABLES,
    NAME,
    LabelRecord,
    alone,
    read_record,
    record_of,
    refuse_handwork,
    remove_result,
    sha256_of,
    write_record,
)
from myoscope.io.tables import as_csv, tables_of
from myoscope.measure.results import Measurements
from myoscope.prediction import Classification
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume

_PART = ".myoscope-"
"""How the folder begins in which a result is put together, inside OUT."""


def check_out(out: Path, study: Path | None = None) -> None:
    """Make sure that a folder can be written, before long work; it is not left there, for the call may be refused yet.

    Raises:
        InputError: it is a file, or cannot be made or written, or is the study's own.
    """
    if study and out.resolve() == study.resolve():
        raise InputError(f"{shown(out)}: expected another folder than the study's, found that; give one with -o")
    new: list[Path] = []
    try:
        new += [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"{shown(out)}: cannot write there ({error.strerror}); choose another folder with -o"
        ) from None
    finally:
        for folder in new:
            with suppress(OSError):
                folder.rmdir()


def save_outputs(
    out: Path,
    study: Study,
    labels: Mapping[Role, Volume],
    measurements: Measurements,
    report: str,
    automatic: Mapping[Role, Volume] | None = None,
    replaces: Collection[Role] = (),
    dicom: Mapping[str, bytes] | None = None,
    fhir: str | None = None,
    nifti: bool = False,
) -> Path:
    """Write report, measurements, `segmentations/` and `study.json` (`io.record`); gives the report's path.

    Where the study came from DICOM, `dicom/` holds the result for an archive; only there does the patient's name stand;
    `fhir` is its Bundle (`io.fhir`); with `nifti` its images are written too. `segmentations/automatic/` keeps the
    `automatic` maps, of roles that a person changed. Everything is written beside its place first and renamed when
    whole. An earlier result in the folder goes.

    Raises:
        InputError: the folder cannot be written, or holds label maps that a person made and that would be lost.
    """
    check_out(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with alone(out):
            for left in out.glob(f"{_PART}*"):  # by a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=_PART, dir=out))
            try:
                (part / "report.html").write_text(report, encoding="utf-8")
                (part / "measurements.json").write_text(measurements.model_dump_json(indent=2) + "\n", encoding="utf-8")
                for name, table in tables_of(measurements).items():
                    (part / name).write_text(table, encoding="utf-8")
                if nifti:
                    _write_images(study, part)
                kept = _write_labels(part, out, study, labels, automatic or {}, replaces)
                for name, content in (dicom or {}).items():
                    (part / "dicom").mkdir(exist_ok=True)
                    (part / "dicom" / name).write_bytes(content)
                if fhir:
                    (part / FHIR).parent.mkdir()
                    (part / FHIR).write_text(fhir, encoding="utf-8")
                _move(part, out, kept)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{shown(out)}: cannot write there ({error.strerror}); free space or choose another") from None
    return out / "report.html"


def _write_images(study: Study, part: Path) -> None:
    (part / IMAGES[0]).parent.mkdir(parents=True)
    for series, name in ((s, f"{FOLDER}/images/{s.role}.nii.gz") for s in study.series if s.source):
        write_image(series.image.voxels, series.files[0], part / name)


def _write_labels(
    part: Path,
    out: Path,
    study: Study,
    labels: Mapping[Role, Volume],
    automatic: Mapping[Role, Volume],
    replaces: Collection[Role],
) -> set[str]:
    """Write label maps and `study.json` into `part`, unless handwork in `out` would be lost; gives what replaces it."""
    (part / AUTOMATIC).mkdir(parents=True, exist_ok=True)
    for name, table in zip(LABEL_TABLES, (itk_snap_table(), slicer_table()), strict=True):
        (part / name).write_text(table, encoding="ascii")
    roles: dict[str, Role] = {}
    for series in study.series:
        if series.role in labels:
            written = write_series(series, labels[series.role], part / FOLDER)
            roles |= dict.fromkeys((f"{FOLDER}/{path.name}" for path in written), series.role)
        if series.role in automatic:
            write_series(series, automatic[series.role], part / AUTOMATIC)
    kept = refuse_handwork(out, part, [name for name, role in roles.items() if role in replaces])
    records = [
        LabelRecord(
            role=role, file=name, sha256=sha256_of(part / name), by_hand=role in automatic or kept.get(name, False)
        )
        for name, role in roles.items()
    ]
    write_record(record_of(study, records), part)
    return set(kept)


def _move(part: Path, out: Path, kept: Collection[str]) -> None:
    """Put a result in the place of an earlier one; whenever this is stopped, no handwork (`kept`) is lost.

    An earlier result of the same study is replaced file by file, so that there is one at any time; of another, it goes
    first.
    """
    new = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
    new.sort(key=lambda name: (not name.startswith(AUTOMATIC), name != NAME))
    records = read_record(out), read_record(part)
    same = records[0] is not None and records[1] is not None and records[0].study_id == records[1].study_id
    hashes = [[(image.role, image.sha256) for image in record.images] for record in records if record]
    images = IMAGES if same and hashes[0] == hashes[1] else ()
    remove_result(out, [*kept, *images, *(name for name in new if same or name.startswith(AUTOMATIC))])
    for name in new:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).replace(out / name)


def write_series(series: Series, labels: Volume, folder: Path, stem: str | None = None) -> list[Path]:
    """Write one label file for every image file of a series, named `STEM_seg.nii.gz` after it (or after `stem`)."""
    whole = len(series.files) == 1
    written = []
    for i, grid in enumerate(series.files):
        voxels = labels.voxels if whole else labels.frames[i]
        path = folder / f"{(whole and stem) or grid.stem}_seg.nii.gz"
        write_labels(voxels, grid, path)
        written.append(path)
    return written


def write_predictions(out: Path, found: Mapping[str, Classification]) -> Path:
    """Write `predictions.csv`: case, prediction, and the probability of each class in a column of its own."""
    classes = list(next(iter(found.values())).probabilities)
    rows = [
        {"case": case, "prediction": one.prediction} | {name: f"{p:.6f}" for name, p in one.probabilities.items()}
        for case, one in found.items()
    ]
    write_whole(out / "predictions.csv", as_csv(["case", "prediction", *classes], rows))
    return out / "predictions.csv"


def write_study(study: Study, folder: Path) -> Path:
    """Write a study as `read_study` reads it: one NIfTI file a role, and the patient's facts.

    Returns:
        The folder. Files hold (x, y, z[, t]) with the volume's affine, in mm and ms.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for series in study.series:
        write_volume(series.image, folder / f"{series.role}.nii.gz")
    write_patient(study.patient, folder)
    return folder


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume as NIfTI: (x, y, z[, t]) with its affine, in mm and ms."""
    image = nib.Nifti1Image(np.ascontiguousarray(volume.voxels.T), volume.affine)
    image.header.set_xyzt_units("mm", "msec")
    if volume.frame_time_ms:
        image.header.set_zooms((*image.header.get_zooms()[:3], volume.frame_time_ms))
    nib.save(image, path)
