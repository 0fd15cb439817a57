"""Put frames together by where they lie and by phase: never by file name, and by order only where nothing else tells.

A `Group` is what one series holds of one orientation, size and component. A `Stack` is a regular grid (T, Z) made of
one group, or of several where slices came as series of their own or some were taken again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from myoscope.errors import InputError
from myoscope.io.dicom.frames import Frame

PARALLEL_DEGREES = 0.5
"""Directions that differ by no more than this are the same."""

SAME_PLACE_MM = 0.3
"""Frames nearer to each other than this, across slices, show the same slice."""

UNEVEN_SHARE, NOTED_SHARE = 0.1, 0.02
"""A slice may lie this share of the slice distance off the regular grid; from the second on it is worth a note."""

SHIFT_MM = 1.0
"""Slices shifted against each other in their plane by more than this are worth a note."""

LOST_PHASES_SHARE = 0.2
"""Phases that some slices lack are left out of all, up to this share of the cycle."""


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
        """Direction across slices (LPS): of a row, cross of a column."""
        row, column = np.reshape(self.first.orientation, (2, 3))
        return np.cross(row, column)

    @cached_property
    def places(self) -> tuple[tuple[float, tuple[Frame, ...]], ...]:
        """Slices in order along the normal: where (mm), and the frames there."""
        along = np.array([f.position_mm for f in self.frames]) @ self.normal
        places: list[tuple[float, list[Frame]]] = []
        for i in np.argsort(along, kind="stable"):
            if not places or along[i] - places[-1][0] > SAME_PLACE_MM:
                places.append((float(along[i]), []))
            places[-1][1].append(self.frames[i])
        return tuple((mm, tuple(frames)) for mm, frames in places)

    @cached_property
    def phases(self) -> int:
        """Phases at most places."""
        return _most_common(len(by_phase(frames)) for _, frames in self.places)

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

    `notes` say (a code, a sentence) what a reader should know; `groups` are those that gave frames.
    """

    frames: tuple[tuple[Frame, ...], ...]
    distance_mm: float
    groups: tuple[Group, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The series that it came from."""
        numbers = sorted({f.facts.series_number or 0 for f in self.frames[0]})
        return f"series {', '.join(map(str, numbers))}" if any(numbers) else "a series without number"


def group(frames: Iterable[Frame]) -> list[Group]:
    """Frames by series, component, size and orientation, in order of series number."""
    found: dict[tuple, list[list[Frame]]] = defaultdict(list)
    for frame in frames:
        alike = found[frame.facts.series_uid, frame.component, frame.shape, np.round(frame.spacing_mm, 3).tobytes()]
        for members in alike:
            if parallel(members[0], frame):
                members.append(frame)
                break
        else:
            alike.append([frame])
    groups = [Group(tuple(members)) for alike in found.values() for members in alike]
    return sorted(groups, key=lambda g: (g.first.facts.series_number or 0, g.first.component, -len(g.frames)))


def parallel(a: Frame, b: Frame) -> bool:
    """Whether rows and columns of two frames point the same way."""
    if a.orientation == b.orientation:
        return True
    cosines = (np.reshape(a.orientation, (2, 3)) * np.reshape(b.orientation, (2, 3))).sum(1)
    return bool(cosines.min() >= np.cos(np.radians(PARALLEL_DEGREES)))


def by_phase(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames of one place by phase, each phase's in the order they were taken.

    The trigger time says which phase, else the temporal position, else the order of instance numbers.
    """
    ordered = sorted(frames, key=lambda f: (f.taken, f.instance))
    for times in ([f.trigger_ms for f in ordered], [f.temporal for f in ordered]):
        known = {time for time in times if time is not None}
        if len(known) > 1 and None not in times:
            return [[f for f, t in zip(ordered, times, strict=True) if t == time] for time in sorted(known)]
    return [[f] for f in sorted(frames, key=lambda f: (f.instance, f.taken))]


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
    stack = _stack_of(families[0], cycle)
    rest = [g for family in families[1:] for g in family]
    return Stack(stack.frames, stack.distance_mm, stack.groups, (*stack.notes, *_left_out(rest, "another geometry")))


def _one_family(a: Group, b: Group) -> bool:
    same = a.first.shape == b.first.shape and np.allclose(a.first.spacing_mm, b.first.spacing_mm, rtol=1e-3)
    together = a.first.facts.reference_uid == b.first.facts.reference_uid and a.first.component == b.first.component
    return same and together and parallel(a.first, b.first)


def _places(groups: Sequence[Group]) -> tuple[tuple[float, tuple[Frame, ...]], ...]:
    return Group(tuple(f for g in groups for f in g.frames)).places


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
        return Stack(stack.frames, stack.distance_mm, stack.groups, (*stack.notes, *_left_out(unused, None, stack)))
    assert problem is not None
    raise problem


def _is_whole(g: Group, cycle: bool) -> bool:
    return not cycle or all(len(by_phase(frames)) == g.phases for _, frames in g.places)


def _left_out(groups: Sequence[Group], why: str | None, used: Stack | None = None) -> list[tuple[str, str]]:
    notes = []
    for g in groups:
        reason = why
        if used is not None:
            reason = "slices or phases are not regular"
            if len(g.places) < len(used.frames[0]):
                reason = f"{len(g.places)} of {len(used.frames[0])} slices"
            elif g.taken < max(u.taken for u in used.groups):
                reason = "the same slices, taken earlier"
            reason = f"{reason}; {used.name} was used"
        notes.append(("repeat_left_out", f"{g.name.capitalize()} was left out: {reason}."))
    return notes


def _grid(members: Sequence[Group], cycle: bool) -> Stack:
    """Join groups, the latest first: at each place the latest frames win; then check that the grid is regular."""
    rank = {f: i for i, g in enumerate(members) for f in g.frames}
    places = _places(members)
    chosen: list[tuple[Frame, ...]] = []
    for _, frames in places:
        best = min(rank[f] for f in frames)
        chosen.append(tuple(f for f in frames if rank[f] == best))
    groups = tuple(g for i, g in enumerate(members) if any(rank[fs[0]] == i for fs in chosen))
    distance_mm, notes = _distance_mm([mm for mm, _ in places], chosen)
    if cycle:
        by_place, phase_notes = _phases([by_phase(frames) for frames in chosen])
        notes += phase_notes
    else:
        by_place = [[max(frames, key=lambda f: (f.taken, f.instance))] for frames in chosen]
    if repeated := sum(len(fs) for fs in chosen) - sum(len(by_phase(fs)) if cycle else 1 for fs in chosen):
        notes.append(
            ("images_repeated", f"{repeated} images were taken again within their series; the later were used.")
        )
    return Stack(tuple(zip(*by_place, strict=True)), distance_mm, groups, tuple(notes))


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
    corners = np.array([frames[0].position_mm for frames in chosen])
    in_plane = (corners - corners[0]) @ np.reshape(first.orientation, (2, 3)).T
    if (shift := float(np.linalg.norm(in_plane, axis=1).max())) > SHIFT_MM:
        notes.append(
            ("slices_shifted", f"Slices are shifted against each other in their plane by up to {shift:.0f} mm.")
        )
    return distance_mm, notes


def _phases(places: list[list[list[Frame]]]) -> tuple[list[list[Frame]], list[tuple[str, str]]]:
    """Of each place the latest frame of each phase, as many everywhere; places that lack a phase cost it everywhere."""
    latest = [[repeats[-1] for repeats in phases] for phases in places]
    count = _most_common(map(len, latest))
    odd = [z for z, frames in enumerate(latest) if len(frames) != count]
    if not odd:
        return latest, []
    where = ", ".join(f"{z + 1} ({len(latest[z])})" for z in odd)
    problem = f"expected {count} phases in every slice, found another number in slice {where} of {len(latest)}"
    if any(len(latest[z]) > count for z in odd) or any(f.trigger_ms is None for frames in latest for f in frames):
        raise InputError(problem)
    number = [range(count)] * len(latest)
    for z in odd:
        times = np.array([f.trigger_ms for f in latest[z]])
        step = np.median(np.diff(times)) if len(times) > 1 else np.inf
        start = min(f.trigger_ms or 0.0 for frames in latest for f in frames[:1])
        number[z] = np.rint((times - start) / step).astype(int).tolist()
    common = set(range(count)).intersection(*number)
    if len(common) < (1 - LOST_PHASES_SHARE) * count or any(len(set(n)) < len(n) for n in number):
        raise InputError(problem)
    kept = [
        [f for f, n in zip(frames, numbers, strict=True) if n in common]
        for frames, numbers in zip(latest, number, strict=True)
    ]
    lost = f"{count - len(common)} of {count} phases were left out of all slices"
    message = f"Slice {where} of {len(latest)} lacks phases; {lost}."
    return kept, [("phases_missing", message)]


def _most_common(counts: Iterable[int]) -> int:
    """The most common number, the larger where two are equally common."""
    return max(Counter(counts).items(), key=lambda item: item[::-1])[0]
