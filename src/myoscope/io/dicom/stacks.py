"""Put frames together by where they lie and by phase.

A `Group` is what one series holds of one orientation, size and component. A `Stack` is a regular grid (T, Z) made of
one group, or of several where slices came as series of their own or some were taken again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from myoscope.errors import InputError
from myoscope.io.dicom.frames import Frame
from myoscope.io.dicom.phases import by_phase, even, most_common, phases_of

PARALLEL_DEGREES = 0.5
"""Directions that differ by no more than this are the same."""

SAME_PLACE_MM, SAME_PLACE_SHARE = 0.3, 0.1
"""Frames nearer to each other across slices than this, or than this share of the distance, show the same slice."""

UNEVEN_SHARE, NOTED_SHARE = 0.1, 0.02
"""A slice may lie this share of the slice distance off the regular grid; from the second on it is worth a note."""

SHIFT_MM = 1.0
"""Slices shifted against each other in their plane by more than this are worth a note."""

TILT_DEGREES, NOTED_DEGREES = 3.0, 0.05
"""Slices tilted against each other by no more than this make one stack; from the second on it is said."""

COVERED_SHARE = 0.6
"""A slice further than this share of the slice distance from all of a stack is one that the stack lacks."""

WARNINGS = {
    *("slices_lost", "slices_missing", "slices_tilted", "slices_shifted", "uneven_slices"),
    *("phases_missing", "phases_at_other_times", "order_contradicted"),
}
"""Codes of notes that say what may change a number; the others are for information."""


@dataclass(frozen=True)
class Group:
    """Frames of one series that are parallel, of one size and one component, in any order."""

    frames: tuple[Frame, ...]

    @property
    def first(self) -> Frame:
        """Any of them, for what they share."""
        return self.frames[0]

    @cached_property
    def normal(self) -> np.ndarray:
        """Direction across slices (LPS; length 1, however the header was rounded): of a row, cross of a column."""
        across = np.cross(*np.reshape(self.first.orientation, (2, 3)))
        return np.asarray(across / np.linalg.norm(across))

    @cached_property
    def places(self) -> tuple[tuple[float, tuple[Frame, ...]], ...]:
        """Slices in order along the normal: where (mm), and the frames there."""
        return in_places(self.frames, np.array([f.position_mm for f in self.frames]) @ self.normal)

    @cached_property
    def phases(self) -> int:
        """Phases at most places."""
        return most_common(len(by_phase(frames)) for _, frames in self.places)

    @property
    def taken(self) -> tuple[str, int]:
        """When, to be compared; then the series number."""
        return max(f.taken for f in self.frames), self.first.facts.series_number or 0

    @property
    def name(self) -> str:
        """What it is called in messages."""
        number = self.first.facts.series_number
        return "a series without number" if number is None else f"series {number}"


@dataclass(frozen=True)
class Stack:
    """A regular grid of frames, `frames[t][z]`, slices in the order of their normal; lengths in mm.

    `notes` say (a code, a sentence) what a reader should know; `groups` are those that gave frames. `shape` is that of
    the grid's planes; `offsets[z]` (rows, columns) is where the first pixel of a slice's frames lies on it.
    """

    frames: tuple[tuple[Frame, ...], ...]
    distance_mm: float
    groups: tuple[Group, ...]
    notes: tuple[tuple[str, str], ...]
    shape: tuple[int, int] = (0, 0)
    offsets: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> str:
        """The series that it came from."""
        numbers = sorted({f.facts.series_number or 0 for f in self.frames[0]})
        return f"series {', '.join(map(str, numbers))}" if any(numbers) else "a series without number"


def in_places(frames: Sequence[Frame], along_mm: np.ndarray) -> tuple[tuple[float, tuple[Frame, ...]], ...]:
    """Frames by where they lie, in order; a slice that was taken again a little beside its place is the same slice."""
    gaps = np.diff(np.sort(along_mm))
    gaps = gaps[gaps > SAME_PLACE_MM]
    near_mm = max(SAME_PLACE_MM, SAME_PLACE_SHARE * float(np.percentile(gaps, 75))) if len(gaps) else SAME_PLACE_MM
    places: list[tuple[float, list[Frame]]] = []
    for i in np.argsort(along_mm, kind="stable"):
        if not places or along_mm[i] - places[-1][0] > near_mm:
            places.append((float(along_mm[i]), []))
        places[-1][1].append(frames[i])
    return tuple((mm, tuple(members)) for mm, members in places)


def group(frames: Iterable[Frame]) -> list[Group]:
    """Frames by series, component, size and orientation, in order of series number."""
    found: dict[tuple, list[list[Frame]]] = defaultdict(list)
    for frame in frames:
        alike = found[frame.facts, frame.component, frame.shape, np.round(frame.spacing_mm, 3).tobytes()]
        for members in alike:
            if parallel(members[0], frame):
                members.append(frame)
                break
        else:
            alike.append([frame])
    groups = [Group(tuple(members)) for alike in found.values() for members in alike]
    return sorted(groups, key=lambda g: (g.first.facts.series_number or 0, g.first.component, -len(g.frames)))


def parallel(a: Frame, b: Frame, degrees: float = PARALLEL_DEGREES) -> bool:
    """Whether rows and columns of two frames point the same way."""
    if a.orientation == b.orientation:
        return True
    cosines = (np.reshape(a.orientation, (2, 3)) * np.reshape(b.orientation, (2, 3))).sum(1)
    return bool(cosines.min() >= np.cos(np.radians(degrees)))


def assemble(groups: Sequence[Group], cycle: bool) -> Stack:
    """The best stack that groups of one kind of image give.

    Args:
        groups: What shows the same kind of image in nearly the same orientation.
        cycle: Whether frames of one place are phases of the cycle; otherwise the latest of them is taken.

    Raises:
        InputError: no regular grid can be made; says where it breaks (no path in the message).
    """
    families: list[list[Group]] = []
    for g in groups:
        family = next((f for f in families if _one_family(f[0], g)), None)
        if family is None:
            families.append(family := [])
        family.append(g)
    families.sort(key=lambda f: (len(_places(f)), max(g.taken for g in f)), reverse=True)
    problem: InputError | None = None
    for family in families:
        try:
            stack = _stack_of(family, cycle)
        except InputError as error:
            problem = problem or error
            continue
        why = "another geometry" if problem is None else str(problem)
        rest = [g for other in families if other is not family for g in other]
        return replace(stack, notes=(*stack.notes, *_left_out(rest, why, stack)))
    assert problem is not None
    raise problem


def one_slice(groups: Sequence[Group]) -> Stack | None:
    """The latest image of those that all show one slice, as a stack of it; None where there are more, or none is thick.

    Enough for a map, which is read where it lies, and too little for a volume.
    """
    frames = [(f, g) for g in groups for f in g.frames]
    latest, of = max(frames, key=lambda one: (one[0].taken, one[0].instance))
    along = np.array([f.position_mm for f, _ in frames]) @ of.normal
    if np.ptp(along) > SAME_PLACE_MM or not latest.thickness_mm:
        return None
    stack = Stack(((latest,),), latest.thickness_mm, (of,), (), latest.shape, ((0, 0),))
    return replace(stack, notes=tuple(_left_out([g for g in groups if g is not of], None, stack)))


def _one_family(a: Group, b: Group) -> bool:
    same = np.allclose(a.first.spacing_mm, b.first.spacing_mm, rtol=1e-3)
    together = a.first.facts.reference_uid == b.first.facts.reference_uid and a.first.component == b.first.component
    return bool(same) and together and parallel(a.first, b.first, TILT_DEGREES)


def _places(groups: Sequence[Group], centres: bool = True) -> tuple[tuple[float, tuple[Frame, ...]], ...]:
    """Slices of groups in order along the normal of the largest; tilted ones by where the middle of the image lies."""
    largest = max(groups, key=lambda g: len(g.frames))
    frames = tuple(f for g in (largest, *(g for g in groups if g is not largest)) for f in g.frames)
    if _tilt_degrees(groups) <= NOTED_DEGREES or not centres:
        return Group(frames).places
    along = np.array([_centre(f) for f in frames]) @ largest.normal
    return in_places(frames, along)


def _tilt_degrees(groups: Sequence[Group]) -> float:
    cosines = [abs(groups[0].normal @ g.normal) for g in groups]
    return float(np.degrees(np.arccos(min(1.0, *cosines, 1.0))))


def _centre(f: Frame) -> np.ndarray:
    row, column = np.reshape(f.orientation, (2, 3))
    (rows, columns), (rows_mm, columns_mm) = f.shape, f.spacing_mm
    return np.asarray(f.position_mm + row * columns_mm * (columns - 1) / 2 + column * rows_mm * (rows - 1) / 2)


def _stack_of(family: Sequence[Group], cycle: bool) -> Stack:
    """The latest group that has all slices, else all groups together where they make a regular grid, else the best."""
    latest_first = sorted(family, key=lambda g: g.taken, reverse=True)
    everywhere = len(_places(family))
    complete = [g for g in latest_first if len(g.places) == everywhere and _is_whole(g, cycle)]
    tries = [[g] for g in complete[:1]]
    if len(family) > 1:
        tries += [latest_first]
    tries += [[g] for g in sorted(latest_first, key=lambda g: len(g.places), reverse=True)[:1]]
    problem: InputError | None = None
    for members in tries:
        try:
            stack = _grid(members, cycle)
        except InputError as error:
            problem = problem or error
            continue
        unused = [g for g in family if g not in stack.groups]
        return replace(stack, notes=(*stack.notes, *_left_out(unused, None, stack)))
    assert problem is not None
    raise problem


def _is_whole(g: Group, cycle: bool) -> bool:
    return not cycle or all(len(by_phase(frames)) == g.phases for _, frames in g.places)


def _left_out(groups: Sequence[Group], why: str | None, used: Stack) -> list[tuple[str, str]]:
    """Notes on groups that gave nothing: slices that the stack lacks weigh, other tries of its slices do not."""
    notes, normal = [], max(used.groups, key=lambda g: len(g.frames)).normal
    there = np.array([_centre(f) @ normal for f in used.frames[0]])
    for g in groups:
        places = np.array([_centre(frames[0]) @ normal for _, frames in g.places])
        lacking = int((np.abs(places[:, None] - there).min(axis=1) > COVERED_SHARE * used.distance_mm).sum())
        reason = why or "slices or phases are not regular"
        if lacking and len(places) < len(there):
            part = f"{lacking} slices of {g.name}" if lacking > 1 else f"One slice of {g.name}"
            message = f"{part} could not be joined to {used.name} ({reason}): volumes and mass may be too small."
            notes.append(("slices_lost", message))
            continue
        if why is None and len(g.places) < len(used.frames[0]):
            reason = f"{len(g.places)} of {len(used.frames[0])} slices"
        elif why is None and g.taken < max(u.taken for u in used.groups):
            reason = "the same slices, taken earlier"
        reason = f"{reason}; {used.name} was used" if why is None else reason
        part = g.name.capitalize()
        if any(g.first.facts == u.first.facts for u in used.groups):  # of a series that was used otherwise
            part = f"A part of {g.name} ({len(g.frames)} images)"
        notes.append(("repeat_left_out", f"{part} was left out: {reason}."))
    return notes


def _grid(members: Sequence[Group], cycle: bool) -> Stack:
    """Join groups, the latest first: at each place the latest frames win; then check that the grid is regular."""
    tilted = len(members) > 1 and _tilt_degrees(members) > NOTED_DEGREES
    try:
        return _grid_of(members, cycle, _places(members))
    except InputError:
        if not tilted:
            raise
        return _grid_of(members, cycle, _places(members, centres=False))


def _grid_of(members: Sequence[Group], cycle: bool, places: Sequence[tuple[float, tuple[Frame, ...]]]) -> Stack:
    rank = {id(f): i for i, g in enumerate(members) for f in g.frames}
    chosen: list[tuple[Frame, ...]] = []
    for _, frames in places:
        best = min(rank[id(f)] for f in frames)
        chosen.append(tuple(f for f in frames if rank[id(f)] == best))
    groups = tuple(g for i, g in enumerate(members) if any(rank[id(fs[0])] == i for fs in chosen))
    distance_mm, notes = _distance_mm([mm for mm, _ in places], chosen)
    if cycle:
        phases = [phases_of(frames) for frames in chosen]
        by_place, phase_notes = even(phases)
        notes += phase_notes
    else:
        by_place = [[max(frames, key=lambda f: (f.taken, f.instance))] for frames in chosen]
    if repeated := sum(len(fs) for fs in chosen) - sum(len(by_phase(fs)) if cycle else 1 for fs in chosen):
        notes.append(
            ("images_repeated", f"{repeated} images were taken again within their series; the later were used.")
        )
    if (tilt := _tilt_degrees(groups)) > NOTED_DEGREES:
        message = f"Slices are tilted against each other by up to {tilt:.1f} degrees and were measured as parallel."
        notes.append(("slices_tilted", message))
    shape, offsets = _common_plane([frames[0] for frames in by_place])
    if any(f.shape != shape for frames in by_place for f in frames[:1]):
        sizes = " and ".join(sorted({f"{r} x {c}" for fs in by_place for r, c in [fs[0].shape]}))
        notes.append(("matrix_differs", f"Slices have {sizes} pixels; they were laid over each other by their place."))
    return Stack(tuple(zip(*by_place, strict=True)), distance_mm, groups, tuple(notes), shape, offsets)


def _common_plane(slices: Sequence[Frame]) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """The size of a plane that holds all slices, and where on it each begins; those of the usual size at one place.

    Raises:
        InputError: slices of other size lie elsewhere.
    """
    usual = Counter(f.shape for f in slices).most_common(1)[0][0]
    offsets = []
    for z, f in enumerate(slices):
        like = min((k for k, other in enumerate(slices) if other.shape == usual), key=lambda k: abs(k - z))
        away = np.subtract(f.position_mm, slices[like].position_mm)
        row, column = np.reshape(slices[like].orientation, (2, 3))
        offset = np.rint([away @ column / f.spacing_mm[0], away @ row / f.spacing_mm[1]]).astype(int)
        offsets.append(offset if f.shape != usual else np.zeros(2, int))
        if (np.abs(offsets[-1]) > np.array(usual) / 2).any():
            raise InputError("slices of another size lie elsewhere in their plane")
    first = np.min(offsets, axis=0)
    rows, columns = np.max([np.add(o, f.shape) for o, f in zip(offsets, slices, strict=True)], axis=0) - first
    return (int(rows), int(columns)), tuple((int(r), int(c)) for r, c in np.subtract(offsets, first))


def _distance_mm(along_mm: Sequence[float], chosen: Sequence[Sequence[Frame]]) -> tuple[float, list[tuple[str, str]]]:
    """Distance between slices, with notes on unevenness and shifts."""
    if len(along_mm) < 2:
        raise InputError("expected a stack of slices, found one slice")
    gaps = np.diff(along_mm)
    usual = float(np.median(gaps))
    for z, gap in enumerate(gaps):
        if abs(gap - usual) > UNEVEN_SHARE * usual:
            what = "a gap" if gap > usual else "slices too close"
            raise InputError(
                f"expected slices {usual:.1f} mm apart, found {what} of {gap:.1f} mm "
                f"between slices {z + 1} and {z + 2} of {len(along_mm)}"
            )
    notes = []
    distance_mm = float(along_mm[-1] - along_mm[0]) / (len(along_mm) - 1)
    if np.abs(gaps - distance_mm).max() > NOTED_SHARE * distance_mm:
        message = f"Slices lie {gaps.min():.1f} to {gaps.max():.1f} mm apart; {distance_mm:.2f} mm was taken."
        notes.append(("uneven_slices", message))
    first = chosen[0][0]
    usual_shape = Counter(frames[0].shape for frames in chosen).most_common(1)[0][0]  # others are laid by their place
    corners = np.array([frames[0].position_mm for frames in chosen if frames[0].shape == usual_shape])
    in_plane = (corners - corners[0]) @ np.reshape(first.orientation, (2, 3)).T
    if (shift := float(np.linalg.norm(in_plane, axis=1).max())) > SHIFT_MM:
        notes.append(
            (
                "slices_shifted",
                f"Slices are shifted against each other in their plane by up to {shift:.0f} mm, which was not undone: "
                "volumes do not depend on it; what is carried over to or from other series does.",
            )
        )
    return distance_mm, notes
