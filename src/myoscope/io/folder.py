"""Read NIfTI images that belong to no known data set: one file, or a folder with the images of a study."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from myoscope.datasets import acdc
from myoscope.errors import InputError
from myoscope.io import bids
from myoscope.io.listing import files_below
from myoscope.io.names import TIME, Named, is_label_name, map_role, read_names, stem_of
from myoscope.io.nifti import is_nifti, read_nifti, shown
from myoscope.io.order import looks_like_time
from myoscope.labels import MYOPS_CODES
from myoscope.study import IMAGES, MAPS, FileGrid, Note, Role, Series
from myoscope.volume import Volume

LABEL_VALUES, LARGEST_LABEL = 12, 20
"""An image with at most so many values, whole numbers up to this, zero among them, is a label map."""

UNEVEN_MM, UNEVEN_SHARE = 0.5, 0.05
"""Distances between single slices differ at most by this, or by this share of them."""

UNEVEN_TIMES = 0.25
"""Steps between a cine's phases differ at most by this share of them, or by 2 ms, for they are rounded."""

_FRAME = re.compile(r"_frame(\d+)$", re.IGNORECASE)
_ROLES = "|".join(IMAGES)


MOST_SECONDS = 20.0
"""A T1 or T2 map whose values hardly exceed this is in seconds: no tissue has so short a time in ms, or one so long."""


class LabelMapError(InputError):
    """What was read as an image holds label codes."""


class UnitError(InputError):
    """A map is in a unit that nobody can tell."""


@dataclass(frozen=True)
class Found:
    """An image of a folder, by its name; `paths` are several where each frame has a file of its own, ED first."""

    paths: tuple[Path, ...]
    named: Named
    frames: tuple[str, ...] = ()


def read_file(path: Path, role: Role | None, directions: np.ndarray | None = None) -> Series:
    """Read one image; without a role, words in file and folder names say what it shows.

    Raises:
        InputError: it is no image that can be measured, or its name does not say what it shows.
    """
    if role is None:
        named = read_names(path)
        if why := _unfit(named):
            raise InputError(
                f"{shown(path)}: expected a short axis of {_ROLES}, its name says {why}; nothing is measured on it; "
                "if the name is wrong, give --role"
            )
        phase = (named.phase,) if named.phase else ()
        return _read(Found((path,), named, phase), named.role or (Role.CINE if phase else None), directions)
    return _read(Found((path,), Named(role, None, None, None, "")), role, directions)


def read_folder(
    folder: Path, role: Role | None, here: bids.Place | None = None
) -> tuple[tuple[Series, ...], tuple[Note, ...]]:
    """Read the images of a folder's study, and what was left out; `here` says that it is a BIDS one.

    Files named as labels and what computers leave beside are not looked at. Long axes, maps and the like are left out
    by their names, label maps by their values. Frames in files of their own (`_frame01`, or `_ED` and `_ES`) are one
    cine, single slices at one distance one stack.

    Raises:
        InputError: nothing that can be measured is there, or two images of one role.
    """
    files = [path for path in files_below(folder) if is_nifti(path)]
    empty = [path for path in files if not path.stat().st_size]
    images = [path for path in files if path not in empty and not is_label_name(path)]
    if not images:
        found = "only empty files" if empty else "only labels" if files else _others(folder)
        raise InputError(f"{shown(folder)}: expected NIfTI or DICOM images, found {found}; give a study's folder")
    if role is not None and len(images) > 1:
        raise InputError(f"{shown(folder)}: --role names what one image shows, found {len(images)}; give one file")
    left = [(path, "empty") for path in empty]
    fit = []
    for path in images:
        named = read_names(path) if role is None else Named(role, None, None, None, "")
        if why := (here and bids.stranger(path, here)) or _unfit(named):
            left.append((path, why))
        else:
            fit.append((path, named))
    series: list[Series] = []
    for one in _together(fit):
        try:
            series.append(_read(one, one.named.role or (Role.CINE if one.frames else None)))
        except LabelMapError:
            left += [(path, "a label map, by its values") for path in one.paths]
        except InputError:
            if len(one.paths) == 1 or not TIME.search(stem_of(one.paths[-1])):
                raise
            series += [_read(Found((path,), one.named), one.named.role) for path in one.paths]  # slices, not phases
    series = _whole_cine(_stacked(series, folder), left)
    if not series:
        reasons = "; ".join(f"{path.name}: {why}" for path, why in left[:4])
        raise InputError(
            f"{shown(folder)}: expected a short-axis image of {_ROLES}, found none ({shown(reasons)}); "
            "if a name is wrong, give that file with --role"
        )
    maps = _maps(left)
    for kind in Role:
        names = [s.name for s in series if s.role is kind]
        if len(names) > 1:
            raise InputError(
                f"{shown(folder)}: expected one {kind} image, found {shown(', '.join(names))}; keep one of them in the "
                "folder (the frames of one cine are named alike: NAME_ED, NAME_ES, or NAME_frame01, ..., or as "
                "dcm2niix has them, NAME_t40, NAME_t80, ..., at even times and of the same slices; else give the DICOM)"
            )
    return (*series, *maps), tuple(_left_out(left))


def _maps(left: list[tuple[Path, str]]) -> list[Series]:
    """T1, T2 and ECV maps among what was left out, by name, one of each; they are taken out of it."""
    found: list[Series] = []
    by_role: dict[Role, list[Path]] = {}
    for path, why in left:
        if why == "a map" and (role := map_role(path)) and read_names(path).view != "long":
            by_role.setdefault(role, []).append(path)
    for role, paths in by_role.items():
        if len(paths) == 1:
            with suppress(InputError):  # of several frames, or damaged: it stays left out
                try:
                    found.append(_read(Found((paths[0],), Named(role, None, None, None, "")), role))
                except UnitError as error:
                    left.append((paths[0], str(error)))
                left.remove((paths[0], "a map"))
    return found


def is_label_map(voxels: np.ndarray) -> bool:
    """Whether an image holds label codes: few whole numbers, or zero and one more.

    >>> is_label_map(np.array([[0, 1, 2], [0, 0, 3]])), is_label_map(np.arange(99))
    (True, False)
    """
    flat = voxels.ravel()
    if len(np.unique(flat[:: max(1, flat.size // 4096)])) > LABEL_VALUES:
        return False
    values = np.unique(flat)
    if len(values) > LABEL_VALUES or values[0] != 0 or (values != np.round(values)).any():
        return False
    return bool(len(values) == 2 or values[-1] <= LARGEST_LABEL or set(values.tolist()) <= set(MYOPS_CODES))


def _read(found: Found, role: Role | None, directions: np.ndarray | None = None) -> Series:
    """The series of an image.

    Raises:
        LabelMapError: it is a label map.
        InputError: see `read_file`.
    """
    path = found.paths[0]
    if len(found.paths) > 1:
        phases = {phase: i for i, phase in enumerate(found.frames) if phase in ("ed", "es")}
        series = acdc.read_frames(list(found.paths), (phases.get("ed"), phases.get("es")))
        series = replace(series, name=found.named.key or series.name)
        if TIME.search(stem_of(found.paths[-1])):
            times = [int(frame) for frame in found.frames]
            step_ms = (times[-1] - times[0]) / (len(times) - 1)
            series = replace(series, image=replace(series.image, frame_time_ms=step_ms))
    else:
        image, grid = read_nifti(path, directions)
        series = Series(role or Role.CINE, grid.stem, image, (grid,))
        if found.frames and series.role is Role.CINE and len(image.frames) == 1:
            phase = found.frames[0]
            series = replace(series, ed_frame=0 if phase == "ed" else None, es_frame=0 if phase == "es" else None)
    if is_label_map(series.image.voxels):
        raise LabelMapError(f"{shown(path)}: expected an image, found a label map by its values; give the image")
    frames = len(series.image.frames)
    if role not in MAPS and frames == 1 and looks_like_time(series.image.frames[0]):
        raise InputError(
            f"{shown(path)}: expected slices on the third axis, found planes as alike as frames of one slice; store a "
            "cine as (x, y, z, t), a single slice as (x, y, 1, t)"
        )
    if role is None and frames == 1:
        raise InputError(f"{shown(path)}: its name does not say what it shows; give --role {_ROLES}")
    if frames > 1 and role not in (None, Role.CINE, Role.BSSFP):
        raise InputError(f"{shown(path)}: expected one frame for {role}, found {frames}; give the frame to measure")
    if role in MAPS and role is not Role.MAP_ECV:
        series = _in_ms(series, path)
    return replace(series, role=Role.CINE) if frames > 1 else series


def _unfit(named: Named) -> str | None:
    """Why an image of this name is not measured."""
    return named.other or ("a long axis" if named.view == "long" else None)


def _in_ms(series: Series, path: Path) -> Series:
    """A T1 or T2 map that BIDS names, in ms: there it is in seconds, unless its sidecar's `Units` say otherwise.

    Raises:
        InputError: the sidecar and the values do not go together.
    """
    if not bids.parts_of(stem_of(path)):
        return series
    unit = bids.sidecar(path).get("Units")
    seconds = float(np.percentile(series.image.voxels, 99)) <= MOST_SECONDS
    if unit not in (None, "s", "ms") or (unit and (unit == "s") != seconds):
        high = float(series.image.voxels.max())
        raise UnitError(f"a map in an unknown unit (Units {shown(str(unit))} in its sidecar, values up to {high:.4g})")
    return replace(series, image=series.image.with_voxels(series.image.voxels * 1000)) if seconds else series


def _together(fit: Sequence[tuple[Path, Named]]) -> list[Found]:
    """Images, those that are frames of one cine put together."""
    groups: dict[tuple[str, str], list[tuple[str, Path, Named]]] = {}
    times = _times(path for path, named in fit if named.role is Role.CINE and not named.phase)
    for path, named in fit:
        number = _FRAME.search(stem_of(path))
        if number:
            key, frame = _FRAME.sub("", stem_of(path)).lower(), f"{int(number[1]):09}"
        elif path in times:
            key, frame = TIME.sub("", stem_of(path)).lower(), f"{times[path]:09}"
        elif named.phase and named.role in (None, Role.CINE):
            key, frame = named.key, named.phase
        else:
            key, frame = str(path), ""
        groups.setdefault((str(path.parent), key), []).append((frame, path, named))
    found = []
    for (_, key), members in groups.items():
        members.sort(key=lambda member: member[0])
        frames = tuple(frame for frame, _, _ in members)
        if len(set(frames)) < len(frames):  # two files of one phase: each stands for itself
            found += [Found((path,), named, (frame,)) for frame, path, named in members]
        else:
            named = replace(members[0][2], key=key) if len(members) > 1 else members[0][2]
            found.append(Found(tuple(path for _, path, _ in members), named, frames if frames[0] else ()))
    return found


def _times(paths: Iterable[Path]) -> dict[Path, int]:
    """Trigger times in ms of files that dcm2niix made of one cine, one a phase, where there are three at even times."""
    groups: dict[tuple[Path, str], dict[Path, int]] = {}
    for path in paths:
        time = TIME.search(stem_of(path))
        groups.setdefault((path.parent, TIME.sub("", stem_of(path)).lower()), {})[path] = int(time[1]) if time else 0
    found: dict[Path, int] = {}
    for group in groups.values():
        steps = np.diff(sorted(group.values()))
        if len(steps) > 1 and steps.min() > 0 and np.ptp(steps) <= max(2.0, UNEVEN_TIMES * float(np.median(steps))):
            found |= group
    return found


def _whole_cine(series: list[Series], left: list[tuple[Path, str]]) -> list[Series]:
    """The series, without frames of a cine of which the whole is there."""
    whole = [s for s in series if s.role is Role.CINE and len(s.files) == 1 and len(s.image.frames) > 1]
    if len(whole) != 1:
        return series
    parts = [
        s
        for s in series
        if s.role is Role.CINE and s is not whole[0] and (s.ed_frame is not None or s.es_frame is not None)
    ]
    left += [
        (grid.path, f"a phase of {whole[0].name}, of which every frame is there") for s in parts for grid in s.files
    ]
    return [s for s in series if not any(s is part for part in parts)]


def _left_out(left: Iterable[tuple[Path, str]]) -> list[Note]:
    """A note for each reason."""
    reasons: dict[str, list[str]] = {}
    for path, why in left:
        reasons.setdefault(why, []).append(path.name)
    notes = []
    for why, names in reasons.items():
        shown_names = shown(", ".join(names[:4])) + " ..." * (len(names) > 4)
        is_or_are = "was left out: it is" if len(names) == 1 else "were left out: each is"
        notes.append(
            Note("image_left_out", "warning" if why == "empty" else "info", f"{shown_names} {is_or_are} {why}.")
        )
    return notes


def _others(folder: Path) -> str:
    return "neither" if any(files_below(folder)) else "none"


def _stacked(series: list[Series], folder: Path) -> list[Series]:
    """The series, single slices of one role put together as one stack."""
    result = [s for s in series if len(s.files) != 1 or s.image.voxels.shape[-3] > 1]
    for role in Role:
        slices = [s for s in series if s.role is role and len(s.files) == 1 and s.image.voxels.shape[-3] == 1]
        result += [_stack(slices, folder)] if len(slices) > 1 else slices
    return result


def _stack(slices: list[Series], folder: Path) -> Series:
    """One stack of images of one slice each, in the order in which they lie.

    Raises:
        InputError: they are not parallel planes of one grid at one distance.
    """
    names = [s.name for s in slices]
    prefix = re.sub(r"[^a-zA-Z]*$", "", _common(names)) or folder.name or "stack"
    first = slices[0].image
    normal = np.cross(first.affine[:3, 0], first.affine[:3, 1])
    normal /= np.linalg.norm(normal)
    for s in slices[1:]:
        same = s.image.voxels.shape == first.voxels.shape and s.files[0].axes == slices[0].files[0].axes
        turned = np.linalg.norm(s.image.affine[:3, :2] - first.affine[:3, :2], axis=0)
        if not same or (turned > 0.02 * np.linalg.norm(first.affine[:3, :2], axis=0)).any():
            raise InputError(
                f"{shown(folder)}: expected single slices of one size, direction and number of frames, {shown(s.name)} "
                f"is unlike {shown(names[0])}; keep the slices of one stack"
            )
    slices = sorted(slices, key=lambda s: float(s.image.affine[:3, 3] @ normal))
    places = np.array([s.image.affine[:3, 3] for s in slices])
    steps = np.diff(places, axis=0)
    apart = steps @ normal
    if apart.min() < 0.1 or np.ptp(apart) > max(UNEVEN_MM, UNEVEN_SHARE * float(np.median(apart))):
        found = ", ".join(f"{mm:.3g}" for mm in apart)
        raise InputError(
            f"{shown(folder)}: expected single slices at one distance, found {found} mm; a slice is missing or there "
            "twice: add it, or keep one stack"
        )
    step = (places[-1] - places[0]) / (len(slices) - 1)
    if np.abs(places - places[0] - np.outer(np.arange(len(slices)), step)).max() > np.linalg.norm(first.affine[:3, 0]):
        raise InputError(f"{shown(folder)}: expected single slices in one line, they are shifted in their planes")
    affine = first.affine.copy()
    affine[:3, 2], affine[:3, 3] = step, places[0]
    times = [s.image.frame_time_ms for s in slices if s.image.frame_time_ms]
    even = len(times) == len(slices) and np.ptp(times) <= UNEVEN_SHARE * min(times)
    voxels = np.concatenate([s.image.voxels for s in slices], axis=-3)
    image = Volume(voxels, affine, float(np.median(times)) if even else None)
    grids = [s.files[0] for s in slices]
    header = nib.Nifti1Image(np.zeros(voxels.T.shape, np.uint8), affine).header
    header.set_xyzt_units("mm", "msec")
    if image.frame_time_ms:
        header["pixdim"][4] = image.frame_time_ms
    grid = FileGrid(
        folder / f"{prefix}.nii.gz",
        (2, 1, 0),
        (False, False, False),
        voxels.T.shape[:3],
        header,
        sum(g.filled for g in grids),
        tuple(dict.fromkeys(one for g in grids for one in g.warned)),
        tuple(g.path for g in grids),
    )
    return Series(slices[0].role, prefix, image, (grid,))


def _common(names: Sequence[str]) -> str:
    """What all names begin with."""
    shortest = min(names, key=len)
    same = next((i for i, letter in enumerate(shortest) if any(name[i] != letter for name in names)), len(shortest))
    return shortest[:same]
