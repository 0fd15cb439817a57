"""Label maps of a whole study in: those that a person corrected, and those that an earlier analysis left in OUT."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from myoscope.errors import InputError
from myoscope.io.codes import check_geometry, codes_of
from myoscope.io.names import frame_of, stem_of
from myoscope.io.nifti import is_nifti, read_labels, shown
from myoscope.labels import OWN_CODES, Structure
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume

ENDINGS = ("_seg", "_gt")
"""Behind an image's name in that of its label map: ours, and ACDC's."""

Place = tuple[Role, int | None]
"""A role, and which of its frames; None: all of them in one label map."""


def read_label_maps(
    study: Study, given: Sequence[str], codes: str | None = None, kept: Mapping[Role, Volume] | None = None
) -> tuple[dict[Role, Volume], dict[Role, list[str]]]:
    """Read corrected label maps, on the grids of a study's images.

    Args:
        study: The images.
        given: Folders with files named as `analyze` writes them (`STEM_seg.nii.gz`, or ACDC's `_gt`; DICOM
            segmentations under any name, `.dcm`), files, or `ROLE=FILE`. A file of one frame of a cine says in its name
            which: as the image's file does, by its number (`frame07`, from 1) or phase (ED, ES).
        codes: The convention that NIfTI maps were drawn with (a name in `io.codes.CONVENTIONS`). None: ours, and maps
            whose geometry contradicts that are refused; so it is after a translation.
        kept: Maps for those frames of a role that are not given. Without them a frame of one file is empty.

    Returns:
        `Structure` codes by role, and the names of the files they came from.

    Raises:
        InputError: a map belongs to no image or to one that has a map already, lies elsewhere than its image, or was
            drawn with other codes.
    """
    code_of = OWN_CODES if codes is None else codes_of(codes)
    read: dict[Place, Volume] = {}
    names: dict[Role, list[str]] = {}
    for role, path in _files(given, study):
        if is_nifti(path) or path.suffix.lower() != ".dcm":
            place, labels = _read_nifti(study, role, path, code_of)
        else:
            from myoscope.io.dicom.seg_in import read_seg

            found, labels = read_seg(path, study)
            if role not in (None, found):
                raise InputError(f"{shown(path)}: expected a segmentation of {role}, found one of {found}")
            place = found, None
        series = _series(study, place[0], path)
        if codes != "myoscope":
            check_geometry(labels.frames, series.image.spacing_mm, shown(path), code_of)
        if any(other[0] is place[0] and (None in (other[1], place[1]) or other == place) for other in read):
            raise InputError(f"{shown(path)}: expected one label map of {place[0]}, found another already; give one")
        read[place] = labels
        names.setdefault(place[0], []).append(path.name)
    return {role: _joined(_series(study, role), read, (kept or {}).get(role)) for role in names}, names


def stored_labels(folder: Path, series: Series) -> Volume | None:
    """The labels of a series as `analyze` wrote them into a folder; None where it holds none of it.

    Raises:
        InputError: they cannot be read, lie on another grid, or a frame is missing.
    """
    paths = [folder / f"{grid.stem}_seg.nii.gz" for grid in series.files]
    if not any(path.exists() for path in paths):
        return None
    read = [read_labels(p, series.image, grid, OWN_CODES, True) for p, grid in zip(paths, series.files, strict=True)]
    return read[0] if len(read) == 1 else series.image.with_voxels(np.stack([volume.voxels for volume in read]))


def _files(given: Sequence[str], study: Study) -> list[tuple[Role | None, Path]]:
    images = {grid.path.resolve() for series in study.series for grid in series.files}
    files: list[tuple[Role | None, Path]] = []
    for text in given:
        name, _, rest = text.partition("=")
        role = Role(name) if rest and name in list(Role) else None
        path = Path(rest if role else text)
        if path.is_dir() and role is None:
            there = sorted(p for p in path.iterdir() if _may_be_labels(p) and p.resolve() not in images)
            stems = {stem_of(p) for p in there}  # an image whose labels lie beside it is none of them
            found = [p for p in there if not any(stem_of(p) + ending in stems for ending in ENDINGS)]
            if not found:
                raise InputError(
                    f"{shown(path)}: expected label maps (.nii, .nii.gz, .dcm), found none; give OUT/segmentations"
                )
            files += [(None, p) for p in found]
        elif not path.is_file() and rest and name.isalpha():
            raise InputError(f"no role is called {name!r}; choose one of {', '.join(Role)}")
        elif not path.is_file():
            raise InputError(f"{shown(path)}: no such file; check the path")
        else:
            files.append((role, path))
    return files


def _may_be_labels(path: Path) -> bool:
    return not path.name.startswith(".") and (is_nifti(path) or path.suffix.lower() == ".dcm")


def _series(study: Study, role: Role, path: Path | None = None) -> Series:
    series = study.get(role)
    if series is None:
        roles = ", ".join(s.role for s in study.series)
        raise InputError(f"{shown(path or study.id)}: expected labels of {roles}, found {role}, which the study lacks")
    return series


def _read_nifti(study: Study, role: Role | None, path: Path, code_of: dict[int, Structure]) -> tuple[Place, Volume]:
    candidates = study.series if role is None else (_series(study, role, path),)
    places = [
        (s, i if len(s.files) > 1 else None)
        for s in candidates
        for i, grid in enumerate(s.files)
        if stem_of(path) in (f"{grid.stem}{ending}" for ending in ENDINGS)
    ]
    if not places and len(candidates) == 1 and (role or len(candidates[0].files) == 1):
        places = [(candidates[0], _frame(candidates[0], path))]
    if len(places) != 1:
        names = ", ".join(f"{grid.stem}_seg.nii.gz" for s in study.series for grid in s.files)
        raise InputError(
            f"{shown(path)}: expected the name of an image ({shown(names)}), found another; rename it or give ROLE=FILE"
        )
    series, index = places[0]
    grid = series.files[(index or 0) if len(series.files) > 1 else 0]
    labels = read_labels(path, series.image, grid, code_of, True)
    frames = len(series.image.frames)
    if len(labels.frames) == frames:
        return (series.role, None), labels
    if len(labels.frames) != 1 or index is None:
        raise InputError(
            f"{shown(path)}: expected labels of {frames} frames for {series.role}, found {len(labels.frames)}; give "
            "one map of all frames (0 where nothing is drawn), or one file a frame that says which in its name: "
            "NAME_frame01 and so on, or NAME_ED and NAME_ES where the images are named so"
        )
    return (series.role, index), labels


def _frame(series: Series, path: Path) -> int | None:
    """The frame of a series that a label file's name says it was drawn on; None where it says none of them."""
    said, frames = frame_of(path), len(series.image.frames)
    if said is None or frames == 1:
        return None
    if found := [i for i, grid in enumerate(series.files) if len(series.files) > 1 and frame_of(grid.path) == said]:
        return found[0] if len(found) == 1 else None
    if isinstance(said, str):
        return series.ed_frame if said == "ed" else series.es_frame
    return said - 1 if len(series.files) == 1 and 1 <= said <= frames else None


def _joined(series: Series, read: Mapping[Place, Volume], kept: Volume | None) -> Volume:
    """The map of a whole series, from one file or one a frame; frames of one file that nobody drew are empty."""
    if whole := read.get((series.role, None)):
        return series.image.with_voxels(whole.voxels.reshape(series.image.voxels.shape))
    frames = []
    for i, image in enumerate(series.image.frames):
        if frame := read.get((series.role, i)):
            frames.append(frame.frames[0])
        elif kept is not None:
            frames.append(kept.frames[i])
        elif len(series.files) == 1:
            frames.append(np.zeros(image.shape, np.uint8))
        else:
            raise InputError(
                f"{shown(series.files[i].stem)}_seg.nii.gz: expected a label map of each {series.role} frame, one is "
                "missing; add it, or give --from OUT"
            )
    return series.image.with_voxels(np.stack(frames))
