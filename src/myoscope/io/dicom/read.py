"""A study as it leaves the scanner, to a Study: what each series shows, the best stack a role, pixels of those only."""

import re
import statistics
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from pydicom import dcmread
from pydicom.pixels import iter_pixels
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from myoscope.errors import InputError
from myoscope.io.dicom.decoders import undecoded
from myoscope.io.dicom.frames import NOT_GREY, Frame
from myoscope.io.dicom.headers import Scan, scan
from myoscope.io.dicom.prefer import preferred
from myoscope.io.dicom.roles import TI_PHASES, Verdict, judge, near_miss
from myoscope.io.dicom.stacks import WARNINGS, Group, Stack, assemble, group, one_slice
from myoscope.io.nifti import shown, standard_view, to_view
from myoscope.io.patient import PLAUSIBLE
from myoscope.study import MAPS, DicomSource, FileGrid, Note, Patient, Role, Series, SourceImage, Study
from myoscope.volume import Volume

CYCLE_SHARE = (0.6, 1.25)
"""A cine's phases last this share of a beat: less where late diastole is not recorded, more as the rate varies."""

Chosen = Mapping[Role, Sequence[int]]
"""Numbers of the series that the user says show a role."""


@dataclass(frozen=True)
class Row:
    """One group of frames as `inspect` prints it; `use` says what became of it."""

    group: Group
    verdict: Verdict
    use: str


@dataclass(frozen=True)
class Sorted:
    """A study sorted out, before any pixel is read."""

    scan: Scan
    rows: tuple[Row, ...]
    stacks: Mapping[Role, Stack]
    notes: tuple[Note, ...]


def sort_study(path: Path, chosen: Chosen | None = None) -> Sorted:
    """Read headers and decide what each series is and which is used.

    Raises:
        InputError: nothing of cardiac MR is there, a file is damaged, two patients or studies, or a chosen series is
            not there.
    """
    found = scan(path)
    groups = group(found.frames)
    verdicts = _overruled(path, groups, judge(groups), chosen or {})
    stacks: dict[Role, Stack] = {}
    uses: dict[int, str] = {}
    notes = _scan_notes(found)
    for role in Role:
        candidates = [g for g, v in zip(groups, verdicts, strict=True) if v.role is role]
        candidates, passed_over, said = preferred(role, candidates)
        uses |= passed_over
        notes += said
        if role in MAPS and role not in (chosen or {}):  # of another frame of reference: nobody knows where it lies
            places = {g.first.facts.reference_uid for r, s in stacks.items() if r not in MAPS for g in s.groups}
            apart = [g for g in candidates if g.first.facts.reference_uid not in places]
            uses |= {id(g): "no: another frame of reference than the images" for g in apart}
            candidates = [g for g in candidates if g not in apart]
        if not candidates:
            continue
        try:
            lone = one_slice(candidates) if role in MAPS else None
            stack = lone or assemble(candidates, cycle=role is Role.CINE)
        except InputError as error:
            uses |= {id(g): f"no: {error}" for g in candidates}
            names = " and ".join(g.name for g in candidates[:3])
            message = f"{names.capitalize()} looks like {role} and cannot be used: {error}. See: myoscope inspect."
            notes.append(Note("series_unusable", "info" if role in MAPS else "warning", message, role))
            continue
        stacks[role] = stack
        uses |= {id(g): f"yes, as {role}" if g in stack.groups else "no: another stack is better" for g in candidates}
        levels: dict[bool, Literal["info", "warning"]] = {True: "warning", False: "info"}
        notes += [Note(code, levels[code in WARNINGS], message, role) for code, message in stack.notes]
    for role, stack in stacks.items():
        notes += [*_missing_images(role, stack, found), *_references(role, stack, found)]
    notes += _near_misses(groups, verdicts, stacks)
    rows = tuple(Row(g, v, uses.get(id(g), "no")) for g, v in zip(groups, verdicts, strict=True))
    return Sorted(found, rows, stacks, tuple(notes))


def read_dicom(path: Path, chosen: Chosen | None = None) -> Study:
    """Read a study from a folder that holds DICOM anywhere below it, from a zip, or from one multi-frame file.

    Args:
        path: Folder, zip or file.
        chosen: Series numbers that overrule what headers and geometry say, for each role.

    Returns:
        The study; its id is the StudyInstanceUID, and nothing in it names the patient.

    Raises:
        InputError: see `sort_study`; or no stack can be used, or its pixels cannot be read.
    """
    found = sort_study(path, chosen)
    if not found.stacks or any(role not in found.stacks for role in chosen or ()):
        raise InputError(f"{shown(path)}: expected a short-axis stack, found none ({_why_none(found)}); see: inspect")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = tuple(_series(role, stack, found.scan.study_uid) for role, stack in found.stacks.items())
    patient, notes = _patient(found)
    notes += [note for one in series if one.role is Role.CINE for note in _cycle_notes(one.image, patient)]
    return Study(found.scan.study_uid, patient, series, (*found.notes, *notes))


def _cycle_notes(image: Volume, patient: Patient) -> Iterator[Note]:
    """A warning where the phases of a cine and a beat last differently."""
    if patient.heart_rate_bpm is None or image.frame_time_ms is None:
        return
    beat_ms, phases_ms = 60000 / patient.heart_rate_bpm, len(image.frames) * image.frame_time_ms
    low, high = CYCLE_SHARE
    if not low <= phases_ms / beat_ms <= high:
        message = (
            f"The cine's {len(image.frames)} phases last {phases_ms:.0f} ms, a beat of the header's heart rate "
            f"({patient.heart_rate_bpm:.0f}/min) {beat_ms:.0f} ms: phases are missing, or of several beats, or the "
            "rate is wrong, and with it cardiac output."
        )
        yield Note("cycle_contradicted", "warning", message, Role.CINE)


def _overruled(path: Path, groups: Sequence[Group], verdicts: Sequence[Verdict], chosen: Chosen) -> list[Verdict]:
    """Verdicts with the user's choice in place."""
    result = list(verdicts)
    for role, numbers in chosen.items():
        there = {g.first.facts.series_number for g in groups}
        if unknown := set(numbers) - there:
            known = ", ".join(map(str, sorted(n for n in there if n is not None))) or "none with a number"
            raise InputError(f"{shown(path)}: there are no usable images in series {min(unknown)}; there are {known}")
        for i, g in enumerate(groups):
            if g.first.facts.series_number in numbers:
                if role is not Role.CINE and g.phases >= TI_PHASES:
                    raise InputError(f"{g.name}: expected one image a slice for {role}, found {g.phases} phases")
                result[i] = Verdict(result[i].what, f"chosen as {role}; by itself: {result[i].why}", role)
            elif result[i].role is role:
                result[i] = Verdict(result[i].what, result[i].why)
    return result


def _why_none(found: Sorted) -> str:
    """The first few reasons why no stack can be used, without any text from the files."""
    reasons = [note.message.removesuffix(".") for note in found.notes if note.code == "series_unusable"]
    reasons += [f"series {number}: {why}" for number, _, why in found.scan.unusable]
    reasons += [
        f"{row.group.name}: {row.verdict.what}, {row.verdict.why}" for row in found.rows if not row.verdict.role
    ]
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def _missing_images(role: Role, stack: Stack, found: Scan) -> Iterator[Note]:
    """A warning where a header, or the numbers of a series' images, promise more images than there are.

    What a header alone promises behind the last number may not have been made: information, of which measuring makes a
    warning where the heart reaches the stack's end (`quality.promised_flags`).
    """
    series = {g.first.facts for g in stack.groups}
    numbers = [f.instance for f in found.frames if f.facts in series]
    there, last, first = len(numbers), max(numbers), min(numbers)
    promised, why = max(facts.images or 0 for facts in series), "a header says that there are"
    gaps = last - first + 1 - there if len(series) == 1 and len(set(numbers)) == there else 0
    if promised <= there and gaps >= max(1, len(stack.frames) - 1):
        promised, why = there + gaps, f"they are numbered {first} to {last}, as if there were"
    if promised > there and first == 1 and last == there:
        message = f"Of {stack.name} {there} images were found, numbered without a gap; a header says {promised}."
        yield Note("images_promised", "info", message, role)
    elif promised > there:
        message = (
            f"Of {stack.name} {there} images were found, {why} {promised}: slices or phases may be missing, and "
            "volumes too small; send it again."
        )
        yield Note("images_missing", "warning", message, role)


def _references(role: Role, stack: Stack, found: Scan) -> Iterator[Note]:
    """A warning where images of one series name several frames of reference: their places may not be comparable."""
    if (count := max(found.references[g.first.facts] for g in stack.groups)) > 1:
        message = (
            f"Images of {stack.name} name {count} frames of reference, where a series has one: they were put together "
            "by their positions, which is wrong if the patient was moved in between."
        )
        yield Note("references_differ", "warning", message, role)


def _near_misses(groups: Sequence[Group], verdicts: Sequence[Verdict], stacks: Mapping[Role, Stack]) -> list[Note]:
    """Notes on series that may show a role which nothing else in the study shows."""
    notes = []
    for g, v in zip(groups, verdicts, strict=True):
        role = near_miss(g, v)
        if role and role not in stacks:
            number = g.first.facts.series_number
            message = f"{g.name.capitalize()} may be {role} and was not used: {v.what}, {v.why}."
            message += "" if number is None else f" If it is {role} in short axis: --series {role}={number}."
            notes.append(Note("near_miss", "warning", message, role))
    return notes


def _scan_notes(found: Scan) -> list[Note]:
    notes = []
    used = {(f.facts.series_number, f.facts.description) for f in found.frames}
    for (number, description, why), count in found.unusable.items():
        name = "a series without number" if number is None else f"series {number}"
        level: Literal["info", "warning"] = "info" if why == NOT_GREY or count == 1 else "warning"
        message = f"{name.capitalize()} was left out: {why}."
        if (number, description) in used:
            message = f"{count} {'image' if count == 1 else 'images'} of {name} could not be used: {why}."
            level = "info" if why == NOT_GREY else "warning"
        notes.append(Note("series_without_place", level, message))
    if found.duplicates:
        message = f"{found.duplicates} DICOM instances were there more than once; one was used."
        notes.append(Note("duplicates", "info", message))
    if found.shared_uids:
        message = f"{found.shared_uids} different images share their SOPInstanceUID with another; all were used."
        notes.append(Note("uids_shared", "warning", message))
    if found.empty:
        message = f"{found.empty} image files are empty: a copy broke off, images may be missing; copy the study again."
        notes.append(Note("files_empty", "warning", message))
    return notes


def _series(role: Role, stack: Stack, study_uid: str) -> Series:
    """Pixels of a stack in the standard short-axis view."""
    first = stack.frames[0][0]
    voxels = _voxels(stack)
    affine = _affine(stack)
    shape = voxels.shape[:0:-1]
    axes, flips, view_affine = standard_view(affine, shape, z=2)
    time_ms = _frame_time_ms(stack)
    image = Volume(to_view((voxels if len(voxels) > 1 else voxels[0]).T, axes, flips), view_affine, time_ms)
    header = nib.Nifti1Header()
    header.set_data_shape((*shape, len(voxels)) if len(voxels) > 1 else shape)
    zooms = (*np.linalg.norm(affine[:3, :3], axis=0), time_ms or 0.0)
    header.set_zooms(zooms[: len(header.get_data_shape())])
    header.set_sform(affine, "scanner")
    header.set_qform(affine, "scanner")
    header.set_xyzt_units("mm", "msec")
    source = DicomSource(
        tuple(tuple(map(_source_image, frames, stack.offsets)) for frames in stack.frames),
        first.facts.series_number,
        first.facts.series_uid,
        study_uid,
        first.facts.reference_uid,
    )
    return Series(role, stack.name, image, (FileGrid(Path(role), axes, flips, shape, header),), source=source)


def _source_image(f: Frame, offset: tuple[int, int]) -> SourceImage:
    return SourceImage(f.path, f.sop_class_uid, f.sop_instance_uid, f.number, offset)


def _affine(stack: Stack) -> np.ndarray:
    """From (column, row, slice) to RAS+ in mm; DICOM's patient axes are LPS."""
    first = stack.frames[0][0]
    row, column = (v / np.linalg.norm(v) for v in np.reshape(first.orientation, (2, 3)))
    affine = np.eye(4)
    steps = row * first.spacing_mm[1], column * first.spacing_mm[0], np.cross(row, column) * stack.distance_mm
    affine[:3, :3] = np.column_stack(steps)
    affine[:3, 3] = first.position_mm - affine[:3, :2] @ stack.offsets[0][::-1]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _frame_time_ms(stack: Stack) -> float | None:
    """Time from phase to phase by the trigger times, the median of all slices; None where they do not say."""
    if len(stack.frames) < 3:
        return None
    ends = [(a.trigger_ms, b.trigger_ms) for a, b in zip(stack.frames[0], stack.frames[-1], strict=True)]
    spans = [b - a for a, b in ends if a is not None and b is not None]
    time_ms = statistics.median(spans) / (len(stack.frames) - 1) if spans else 0.0
    return time_ms if 1 <= time_ms <= 500 else None


def _voxels(stack: Stack) -> np.ndarray:
    """Rescaled values (T, Z, rows, columns), float32; each file is opened once."""
    voxels = np.empty((len(stack.frames), len(stack.frames[0]), *stack.shape), np.float32)
    files: dict[Path, dict[int | None, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for t, frames in enumerate(stack.frames):
        for z, frame in enumerate(frames):
            files[frame.path][frame.number].append((t, z))  # more than one where a phase stands for its neighbour
    for path, places in files.items():
        indices = [number - 1 for number in places if number is not None]
        try:
            for at, pixels in zip(places.values(), _pixels(path, indices), strict=True):
                for t, z in at:
                    frame, (row, column) = stack.frames[t][z], stack.offsets[z]
                    values = pixels * np.float32(frame.slope) + np.float32(frame.intercept)
                    if frame.mapped:
                        values[(pixels < frame.mapped[0]) | (pixels > frame.mapped[1])] = 0
                    if frame.shape != stack.shape:
                        voxels[t, z] = values.min()
                    voxels[t, z, row : row + frame.shape[0], column : column + frame.shape[1]] = values
        except Exception as error:  # pydicom and its decoders raise whatever they trip over
            why = undecoded(path) or f"its pixel data cannot be read ({_reason(error)}); send it again"
            raise InputError(f"{shown(path)}: {why}") from None
    if voxels.min() == voxels.max():
        raise InputError(f"{stack.name}: expected an image, every voxel is {voxels.flat[0]:g}; send it again")
    return voxels.max() - voxels if stack.frames[0][0].inverted else voxels


def _pixels(path: Path, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of a file; of one without a meta header, in the encoding that its elements show.

    Of a classic image that is frame 0: without a number pydicom 3.0 fails at signed pixels in JPEG-LS and JPEG 2000.
    """
    indices = indices or [0]
    with path.open("rb") as file:
        whole = file.read(132)[128:] == b"DICM"
    try:
        yield from iter_pixels(path, indices=indices)
        return
    except Exception:
        header = dcmread(path, force=True)
        if whole and header.file_meta.get("TransferSyntaxUID"):
            raise
    implicit, little = header.original_encoding
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    header.file_meta.TransferSyntaxUID = syntax
    yield from iter_pixels(header, indices=indices)


def _reason(error: Exception) -> str:
    if isinstance(error, AttributeError):
        return "there are none"
    lines = str(error).splitlines() or [type(error).__name__]  # the last has what the decoder said
    return shown(lines[-1].strip())[:120]


def _patient(found: Sorted) -> tuple[Patient, list[Note]]:
    """The patient's facts from the headers; values that no patient has are left out, with a note."""
    said, notes = found.scan.patient, []
    said_by = {role: [f.facts.heart_rate_bpm for f in stack.frames[0]] for role, stack in found.stacks.items()}
    by_cine = [rate for rate in said_by.pop(Role.CINE, []) if rate]
    rates = by_cine or [rate for others in said_by.values() for rate in others if rate]
    height_m = _number(said["PatientSize"])
    facts = {
        "age_years": _age_years(said),
        "height_cm": round(100 * height_m, 1) if height_m else None,
        "weight_kg": _number(said["PatientWeight"]),
        "heart_rate_bpm": float(statistics.median(rates)) if rates else None,
    }
    for key in facts:
        value, (low, high) = facts[key], PLAUSIBLE[key]
        if value is not None and not low <= value <= high:
            facts[key] = None
            message = f"The headers give {key} {value:g}, outside what is believable ({low} to {high}); it was ignored."
            notes.append(Note("patient_fact_ignored", "info", message))
    sexes: dict[str, Literal["F", "M"]] = {"F": "F", "M": "M"}
    sex = sexes.get(said["PatientSex"])
    return Patient(sex, facts["age_years"], facts["height_cm"], facts["weight_kg"], facts["heart_rate_bpm"]), notes


def _number(text: str) -> float | None:
    """A number above 0, which stands for unknown."""
    try:
        return float(text) or None
    except ValueError:
        return None


def _age_years(said: Mapping[str, str]) -> float | None:
    """From PatientAge ("045Y", "018M"; 0 is unknown), else from the dates of birth and study, in whole years."""
    if (match := re.fullmatch(r"(\d{1,3})([DWMY])", said["PatientAge"].strip())) and int(match[1]):
        return float(int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]])
    try:
        born, seen = (date.fromisoformat(said[key].strip()) for key in ("PatientBirthDate", "StudyDate"))
    except ValueError:
        return None
    return float(seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day)))
