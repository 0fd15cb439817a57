"""Before and now: every measurement of two exams of one patient, with its change.

A change is judged by the intervals of both values, where both have one (`lv.edv_ml_interval` beside `lv.edv_ml`):
where they do not overlap the value has changed, else the change is within the error. That two intervals of 90 % lie
apart is a test at about 2 %, were errors normal and independent: a small true change may pass for error. Without
intervals of both nothing is judged.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from myoscope.measure.part import Part, Segment

if TYPE_CHECKING:
    from myoscope.measure.results import Measurements, SeriesProvenance

PARTS = ("lv", "rv", "lge", "t2")
NO_MEASUREMENTS = ("lv.ed_frame", "lv.es_frame", "lv.frame_time_ms")
INTERVAL = "_interval"
OTHER_SPACING = 0.1
"""Slices that lie further apart or closer by more than this share sum discs of another kind."""

_NAMES = {"cine": "the cine", "lge": "LGE", "t2": "T2", "bssfp": "bSSFP", "map_t1": "T1 map", "map_t2": "T2 map"}

_BY_HAND = "A person changed contours of this exam: "
"""How the note on an exam begins that was corrected after it was compared."""

_UNIT: dict[str, Any] = {"unit": "that of the measurement"}

Verdict = Literal["changed", "within error"]


class Change(Part):
    """One measurement then and now; its unit stands in its name. Null is "not measured then", or now."""

    measurement: str = Field(description="Dotted name of the measurement")
    before: float | None = Field(None, description="Value of the earlier exam", json_schema_extra=_UNIT)
    now: float | None = Field(None, description="Value of this exam", json_schema_extra=_UNIT)
    change: float | None = Field(None, description="Now less before", json_schema_extra=_UNIT)
    change_percent: float | None = Field(None, description="Change in per cent of the earlier value")
    before_interval: tuple[float, float] | None = Field(
        None, description="Interval of the earlier value, low and high", json_schema_extra=_UNIT
    )
    now_interval: tuple[float, float] | None = Field(
        None, description="Interval of this value, low and high", json_schema_extra=_UNIT
    )
    verdict: Verdict | None = Field(
        None, description="Whether the intervals are apart; null where one of them is not known"
    )


class Previous(Part):
    """An earlier exam of the patient, or an earlier measurement of this one, and what has changed since."""

    same_exam: bool = Field(
        False, description="Whether it is of this exam's images: contours or program have changed, not the heart"
    )
    study_id: str = Field(description="The earlier study's id")
    created_utc: str = Field(description="When the earlier exam was measured, ISO 8601, UTC; not when it was taken")
    myoscope_version: str = Field(description="Version of the program that measured it")
    changes: list[Change] = Field(description="Every measurement of either exam")
    segments: list[Segment] = Field(description="The 17 segments of the AHA in the earlier exam")
    missing: dict[str, str] = Field({}, description="Why values of the earlier exam's segments are missing")
    notes: list[str] = Field([], description="What is not like with like, in whole sentences")


class Valued(NamedTuple):
    """A value and its interval, as far as they are known."""

    value: float | None
    interval: tuple[float, float] | None


def compare(now: "Measurements", before: "Measurements", same_exam: bool = False) -> Previous:
    """Compare two exams of one patient, or two measurements of one exam: then no change is judged."""
    return Previous(
        same_exam=same_exam,
        study_id=before.patient.study_id,
        created_utc=before.provenance.created_utc,
        myoscope_version=before.provenance.myoscope_version,
        changes=list(_changes(values_of(before), values_of(now), not same_exam)),
        segments=before.segments,
        missing={name: why for name, why in before.quality.missing.items() if name.startswith("segments")},
        notes=[*_unlike(before, now), *_warned(before, now)],
    )


def compare_again(now: "Measurements", previous: Previous) -> Previous:
    """The same comparison after this exam was measured anew; the earlier values are those that were kept."""
    before = {row.measurement: Valued(row.before, row.before_interval) for row in previous.changes}
    by_hand = [_NAMES.get(series.role, series.role) for series in now.provenance.series if series.changed_voxels]
    notes = [note for note in previous.notes if not note.startswith(_BY_HAND)]
    notes += [f"{_BY_HAND}{', '.join(by_hand)}."] * bool(by_hand)
    changes = list(_changes(before, values_of(now), not previous.same_exam))
    return previous.model_copy(update={"changes": changes, "notes": notes})


def values_of(measurements: "Measurements") -> dict[str, Valued]:
    """Every single number of ventricles and tissue by its dotted name, with its interval where it has one."""
    found = {}
    for part in PARTS:
        measured = getattr(measurements, part)
        for key, value in measured:
            name = f"{part}.{key}"
            if isinstance(value, int | float) and name not in NO_MEASUREMENTS:
                interval = getattr(measured, key + INTERVAL, None)
                found[name] = Valued(float(value), (interval[0], interval[1]) if interval else None)
    return found


def _changes(before: Mapping[str, Valued], now: Mapping[str, Valued], judge: bool) -> Iterator[Change]:
    nothing = Valued(None, None)
    for name in {**now, **before}:
        (was, was_in), (is_, is_in) = before.get(name, nothing), now.get(name, nothing)
        if was is None and is_ is None:
            continue
        change = None if was is None or is_ is None else is_ - was
        yield Change(
            measurement=name,
            before=was,
            now=is_,
            change=change,
            change_percent=100 * change / was if change is not None and was else None,
            before_interval=was_in,
            now_interval=is_in,
            verdict=judged(was_in, is_in) if judge and change is not None else None,
        )


def judged(before: tuple[float, float] | None, now: tuple[float, float] | None) -> Verdict | None:
    """Whether two intervals are apart; None where one of them is not known.

    >>> judged((140, 160), (161, 180)), judged((140, 160), (160, 180)), judged(None, (1, 2))
    ('changed', 'within error', None)
    """
    if before is None or now is None:
        return None
    return "changed" if before[1] < now[0] or now[1] < before[0] else "within error"


def _unlike(before: "Measurements", now: "Measurements") -> Iterator[str]:
    """Whole sentences on what differs between two exams besides the heart; series that share one stand together."""
    old, new = ({series.role: series for series in m.provenance.series} for m in (before, now))
    found: dict[tuple[str, str], list[str]] = {}
    versions = before.provenance.myoscope_version, now.provenance.myoscope_version
    if versions[0] != versions[1]:
        yield f"Measured by myoscope {versions[0]} then, and by {versions[1]} now."
    counted = before.provenance.papillary, now.provenance.papillary
    if counted[0] != counted[1]:
        yield (
            f"Papillary muscles of the LV counted as {counted[0]} then, as {counted[1]} now: its volumes and mass are "
            "not to be compared."
        )
    for role in {**old, **new}:
        for sentence in _unlike_series(old.get(role), new.get(role)):
            found.setdefault(sentence, []).append(_NAMES.get(role, role))
    yield from (f"{start} {', '.join(roles)} {end}" for (start, end), roles in found.items())


def _warned(before: "Measurements", now: "Measurements") -> Iterator[str]:
    """What the earlier exam was warned of and this one is not: its numbers stand here without their flags."""
    here = {flag.message for flag in now.quality.flags}
    then = dict.fromkeys(flag.message for flag in before.quality.flags if flag.level != "info")
    yield from (f"Warned of in the earlier exam: {message}" for message in then if message not in here)


def _unlike_series(old: "SeriesProvenance | None", new: "SeriesProvenance | None") -> Iterator[tuple[str, str]]:
    """Sentences on one series, each in two halves with a hole for its name."""
    if old is None or new is None:
        yield "Series of", f"are there in the {'earlier' if old else 'present'} exam only."
        return
    if old.labels_from != new.labels_from:
        yield "Labels of", f"came from {old.labels_from} then, and from {new.labels_from} now."
    elif old.weights_sha256 != new.weights_sha256:
        yield "Labels of", f"came from other weights of {old.labels_from} then."
    mm, mm_now = old.spacing_mm[0], new.spacing_mm[0]
    if abs(mm_now - mm) > OTHER_SPACING * mm:
        yield "Slices of", f"lay {mm:.1f} mm apart then, and {mm_now:.1f} mm now."
