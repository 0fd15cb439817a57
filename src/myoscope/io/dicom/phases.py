"""The phases of the cycle at each place: by what a header tells, never by file name, and the same in all slices."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from myoscope.errors import InputError
from myoscope.io.dicom.frames import Frame

TAKEN_AGAIN_S = 2.5
"""Images of one phase that were taken further apart than this are of a second try."""

SAME_TIME_SHARE = 0.3
"""Phases of two slices are the same when their times differ by no more than this share of a phase."""

LOST_PHASES_SHARE, LOST_IN_THE_MIDDLE_SHARE = 0.25, 0.5
"""So many phases may be left out of all slices for one that lacks them; more only where that slice is no end."""

MIN_SLICES = 3
"""A stack of fewer complete slices is not worth measuring."""

LATE_SHARE = 0.15
"""A slice whose phases begin this share of the cycle away from the others' shows the heart at other moments."""

WHOLE_CYCLE_SHARE = 0.85
"""Other phases that span this share of the cycle are its phases, at other times."""

_KEYS: tuple[tuple[str, Callable[[Frame], Any]], ...] = (
    ("trigger time", lambda f: f.trigger_ms),
    ("temporal position", lambda f: f.temporal),
    ("dimension index", lambda f: f.dimension or None),
    ("instance number", lambda f: f.instance or None),
    ("acquisition time", lambda f: f.acquired_s),
    ("content time", lambda f: f.content_s),
)

Notes = list[tuple[str, str]]


@dataclass(frozen=True)
class Phases:
    """Frames of one place by phase, each phase's in the order they were taken; `by` is what tells the order."""

    frames: list[list[Frame]]
    by: str | None

    @property
    def latest(self) -> list[Frame]:
        """Of each phase the frame that was taken last."""
        return [repeats[-1] for repeats in self.frames]


def phases_of(frames: Sequence[Frame]) -> Phases:
    """Frames of one place in order of the cycle; `by` is None where no header tells it."""
    ordered = sorted(frames, key=lambda f: (f.taken, f.instance))
    for name, key in _KEYS:
        values = [key(f) for f in ordered]
        if None in values or len(set(values)) < 2:
            continue
        by_value = [[f for f, v in zip(ordered, values, strict=True) if v == value] for value in sorted(set(values))]
        if name == "trigger time" and len(by_value) < len(ordered) and not _taken_again(by_value):
            return _told_apart(by_value)
        if name in ("trigger time", "temporal position", "dimension index") or len(by_value) == len(ordered):
            return Phases(by_value, name)
    return Phases([[f] for f in ordered], None if len(ordered) > 1 else "one image")


def by_phase(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames of one place by phase, each phase's in the order they were taken."""
    return phases_of(frames).frames


def _taken_again(by_time: Sequence[Sequence[Frame]]) -> bool:
    """Whether frames of one trigger time are tries of one phase, not phases whose time was rounded."""
    for alike in by_time:
        if len(alike) > 1 and len({f.instance for f in alike}) < len(alike):
            return True
        times = [f.acquired_s for f in alike if f.acquired_s is not None]
        if len(times) > 1 and max(times) - min(times) > TAKEN_AGAIN_S:
            return True
    times_in_order = [f.trigger_ms or 0.0 for f in sorted((f for a in by_time for f in a), key=lambda f: f.instance)]
    tries = 1 + int((np.diff(times_in_order) < 0).sum())
    return 1 < tries <= max(map(len, by_time))


def _told_apart(by_time: Sequence[list[Frame]]) -> Phases:
    """Phases of which some have one trigger time: among those the number of the instance tells, or the time."""
    phases: list[list[Frame]] = []
    by: str | None = "trigger time"
    for alike in by_time:
        inner = phases_of([replace(f, trigger_ms=None) for f in alike]) if len(alike) > 1 else None
        by = None if inner and inner.by is None else by
        place = {f.sop_instance_uid + str(f.number): f for f in alike}
        order = [f.sop_instance_uid + str(f.number) for repeats in inner.frames for f in repeats] if inner else [*place]
        phases += [[place[uid]] for uid in order] if len(place) == len(alike) else [[f] for f in alike]
    return Phases(phases, by)


def even(places: Sequence[Phases]) -> tuple[list[list[Frame]], Notes]:
    """The same phases at every place.

    Returns:
        Frames by place and phase, of all places or of a run of them, and notes (code, sentence) on what was left out.

    Raises:
        InputError: no header tells the order, or too few slices have the same phases.
    """
    if any(p.by is None for p in places):
        raise InputError(
            "nothing tells the order of its phases (trigger time, temporal position, instance number, time); "
            "export it with these"
        )
    notes = _contradictions(places) + _begin_elsewhere(places)
    latest = [p.latest for p in places]
    count = most_common(map(len, latest))
    if all(len(frames) == count for frames in latest):
        return latest, notes
    found = [_matched(frames, latest, count) for frames in latest]
    lacking = {z for z, number in enumerate(found) if number is None or _lost(number, count) > LOST_PHASES_SHARE}
    odd = {z for z, frames in enumerate(latest) if len(frames) != count}
    rest = [number for z, number in enumerate(found) if number is not None and z not in lacking]
    if _lost(_common(rest), count) > LOST_PHASES_SHARE:
        lacking = odd
    run = _longest_run([z not in lacking for z in range(len(latest))])
    everywhere = [number for number in found if number is not None]
    in_the_middle = len(run) < len(latest) - len(lacking) and len(everywhere) == len(latest)
    if in_the_middle and _lost(_common(everywhere), count) <= LOST_IN_THE_MIDDLE_SHARE:
        run = range(len(latest))
    if len(run) < min(MIN_SLICES, len(latest)):
        raise InputError(
            f"expected {count} phases in every slice, found another number in {_which(odd, latest)} of {len(latest)}"
        )
    common = sorted(_common([found[z] or {} for z in run]))
    kept = [[(found[z] or {})[k] for k in common] for z in run]
    return kept, notes + _what_was_lost(latest, odd, run, common, count, found)


def _what_was_lost(
    latest: Sequence[Sequence[Frame]],
    odd: set[int],
    run: range,
    common: Sequence[int],
    count: int,
    found: Sequence[dict[int, Frame] | None],
) -> Notes:
    notes, total = [], len(latest)
    if out := [z for z in range(total) if z not in run]:
        slices = ", ".join(str(z + 1) for z in out)
        why = f"{_which(odd, latest)} of {total} has another number of phases than {count}"
        message = f"Slice {slices} of {total} was left out ({why}): volumes and mass are too small."
        notes.append(("slices_missing", message))
    inside = {z for z in odd if z in run}
    if lost := count - len(common):
        message = (
            f"{_which(inside, latest).capitalize()} of {total} lacks phases; {lost} of {count} phases were left out of "
            "all slices: where end-diastole or end-systole is among them, volumes and ejection fraction are wrong."
        )
        notes.append(("phases_missing", message))
    if other := {
        z for z in inside if len(latest[z]) > count or len(set(map(id, (found[z] or {}).values()))) < len(common)
    }:
        where = f"{_which(other, latest).capitalize()} of {total}"
        message = f"{where} has its phases at other times; the nearest in time were used."
        notes.append(("phases_at_other_times", message))
    return notes


def _contradictions(places: Sequence[Phases]) -> Notes:
    """A note where numbers alone tell the order of phases, and times tell another."""
    against = 0
    for p in places:
        times = [f.acquired_s for f in p.latest], [f.content_s for f in p.latest]
        for found in times:
            if p.by == "instance number" and None not in found and len(set(found)) == len(found):
                rising = np.diff([t for t in found if t is not None]) > 0
                against += bool(rising.any() and not rising.all())
    if not against:
        return []
    return [("order_contradicted", f"In {against} slices, instance numbers and times order the phases differently.")]


def _begin_elsewhere(places: Sequence[Phases]) -> Notes:
    """A warning on slices whose first phase lies at another time of the cycle than that of most."""
    clocks = [_clock(p.latest) if p.by == "trigger time" else None for p in places]
    found = [clock for clock in clocks if clock is not None]
    if len(found) < len(clocks) or not found:
        return []
    usual, cycle = (float(np.median(values)) for values in ([c[0] for c in found], [np.ptp(c) for c in found]))
    late = [z for z, clock in enumerate(found) if abs(clock[0] - usual) > LATE_SHARE * cycle]
    if not late:
        return []
    slices, apart = ", ".join(str(z + 1) for z in late), max((found[z][0] - usual for z in late), key=abs)
    message = (
        f"The phases of slice {slices} of {len(places)} begin {apart:+.0f} ms from those of the others, in a cycle of "
        f"{cycle:.0f} ms: one frame shows several moments, and volumes and ejection fraction are of none."
    )
    return [("phases_at_other_times", message)]


def _matched(frames: Sequence[Frame], latest: Sequence[Sequence[Frame]], count: int) -> dict[int, Frame] | None:
    """Which of the phases that most slices have a slice's frames are, by time; None where that cannot be told."""
    if len(frames) == count:
        return dict(enumerate(frames))
    clocks = [_clock(full) for full in latest if len(full) == count]
    own = _clock(frames)
    usual = [clock for clock in clocks if clock is not None]
    if own is None or len(usual) < len(clocks):
        return None
    times = np.median(usual, axis=0)
    step = float(np.median(np.diff(times)))
    if step <= 0 or np.ptp([clock[0] for clock in usual]) > step / 2:
        return None
    away = np.abs(own[:, None] - times)
    nearest = away.argmin(axis=1)
    if away.min(axis=1).max() <= SAME_TIME_SHARE * step and len(set(nearest)) == len(nearest):
        return {int(k): f for k, f in zip(nearest, frames, strict=True)}
    own_step = float(np.median(np.diff(own))) if len(own) > 1 else 0.0
    if own[-1] - own[0] + own_step >= WHOLE_CYCLE_SHARE * count * step and len(own) >= count / 2:
        return {k: frames[int(away[:, k].argmin())] for k in range(count)}
    return None


def _clock(frames: Sequence[Frame]) -> np.ndarray | None:
    """Times of phases in any unit; None where frames have none."""
    for key in (_KEYS[0][1], _KEYS[1][1]):
        values = [key(f) for f in frames]
        if None not in values and len(set(values)) == len(values):
            return np.array(values, float)
    return None


def _common(numbers: Iterable[dict[int, Frame]]) -> set[int]:
    found = [set(number) for number in numbers]
    return set.intersection(*found) if found else set()


def _lost(number: Iterable[int], count: int) -> float:
    return 1 - len(set(number)) / count


def _longest_run(good: Sequence[bool]) -> range:
    best, start = range(0), 0
    for z, fine in enumerate([*good, False]):
        if not fine:
            best = max(best, range(start, z), key=len)
            start = z + 1
    return best


def _which(slices: Iterable[int], latest: Sequence[Sequence[Frame]]) -> str:
    return "slice " + ", ".join(f"{z + 1} ({len(latest[z])})" for z in sorted(slices))


def most_common(counts: Iterable[int]) -> int:
    """The most common number, the larger where two are equally common."""
    return max(Counter(counts).items(), key=lambda item: item[::-1])[0]
