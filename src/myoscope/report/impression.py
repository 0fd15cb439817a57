"""An impression in plain sentences, made from the measurements by rule: no sentence without its numbers.

A number that a warning is about makes no sentence; its name is among what was left open.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from myoscope.diagnose.words import class_words, percent_words
from myoscope.measure.quality import STRUCTURE_WORDS
from myoscope.measure.results import Measurements, Segment
from myoscope.report.concerns import warnings_about
from myoscope.report.reference import MINUS, SEX_WORDS, mark, ranges_for
from myoscope.report.tables import describe, in_unit

MOSTLY_SCAR_PERCENT = 25.0
"""A segment is named as a place of the infarct from this share of scar on; below it, the one with most alone."""

NAMED_SEGMENTS = 4
"""So many places of an infarct are named at most."""

SECOND_CLASS = 0.05
"""Probability from which on the second class is named too."""


@dataclass(frozen=True)
class Impression:
    """Sentences in the order of a report, names of the numbers that warnings left open, and what to doubt first."""

    sentences: tuple[str, ...]
    left_open: tuple[str, ...]
    doubt: str | None


@dataclass
class _Sure:
    """Looks numbers up: those that are there and that no warning is about."""

    measurements: Measurements
    left_open: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> float | None:
        part, key = name.split(".")
        value: float | None = getattr(getattr(self.measurements, part), key)
        if value is not None and warnings_about(name, self.measurements):
            self.left_open.append(describe(name).title)
            return None
        return value

    def text(self, name: str) -> str | None:
        """A number with its unit as the tables print it."""
        value, unit = self(name), describe(name).unit
        return None if value is None else f"{in_unit(value, unit)} {unit}"


def impression(measurements: Measurements) -> Impression:
    """What the numbers say, in the order in which a report says it.

    Args:
        measurements: With flags and diagnosis.

    Returns:
        The sentences; none where nothing was measured, or all of it is doubted.

    Source:
        What a summary holds after the SCMR reporting recommendations 2022, doi:10.1186/s12968-021-00827-z.
    """
    sure = _Sure(measurements)
    found = [text for part in _PARTS for text in part(sure)]
    return Impression(tuple(found), tuple(dict.fromkeys(sure.left_open)), _doubt(measurements))


def _ventricle(sure: _Sure, part: str, words: str) -> Iterator[str]:
    """Size and function of a ventricle against the reference."""
    there = getattr(sure.measurements, part)
    size = f"{part}.edv_ml" if there.edv_index_ml_m2 is None else f"{part}.edv_index_ml_m2"
    volume, fraction = sure.text(size), sure.text(f"{part}.ejection_fraction_percent")
    clauses = []
    if volume:
        clauses.append(f"is {_size(sure, part, size)}")
    if fraction:
        against = _against(sure.measurements, f"{part}.ejection_fraction_percent", "reduced", "high", "normal")
        clauses.append(
            f"has a {against} ejection fraction ({fraction})"
            if "for" not in against
            else f"has an ejection fraction that is {against} ({fraction})"
        )
    if clauses:
        yield f"The {words} {' and '.join(clauses)}."


def _size(sure: _Sure, part: str, size: str) -> str:
    """How large a ventricle is, by its index where there is one; where the volume alone says otherwise, that too."""
    words = ("small", "enlarged", "of normal size")
    found, alone = _against(sure.measurements, size, *words), ""
    if (name := f"{part}.edv_ml") != size and (volume := sure.text(name)):
        whole = _against(sure.measurements, name, *words)
        alone = "" if whole == found else f"; by its {volume} alone {whole}"
    return f"{found} (end-diastolic volume {sure.text(size)}{alone})"


def _against(measurements: Measurements, name: str, low: str, high: str, within: str) -> str:
    """A number against its reference in a word; with sex unknown and the ranges at odds, for whom it holds."""
    part, key = name.split(".")
    value = getattr(getattr(measurements, part), key)
    printed = float(in_unit(value, describe(name).unit).replace(MINUS, "-"))
    ranges = ranges_for(name, measurements.patient.sex, measurements.provenance.papillary)
    if not ranges:
        return "not compared with a range"
    found = mark(printed, ranges)
    if found is None:
        return within
    side, words = found
    return words.replace(side, low if side == "low" else high, 1)


def _left(sure: _Sure) -> Iterator[str]:
    yield from _ventricle(sure, "lv", "left ventricle")


def _right(sure: _Sure) -> Iterator[str]:
    yield from _ventricle(sure, "rv", "right ventricle")


def _wall(sure: _Sure) -> Iterator[str]:
    """The thickest wall, where it is, and the mass."""
    lv = sure.measurements.lv
    if thickest := sure.text("lv.wall_thickness_max_mm"):
        rows = [row for row in _placed(sure) if row.wall_thickness_ed_mm is not None]
        place = max(rows, key=lambda row: row.wall_thickness_ed_mm or 0.0).name if rows else None
        where = f", thickest in the {place} segment" if place else ""
        healthy = ranges_for("lv.wall_thickness_max_mm", sure.measurements.patient.sex)
        usual = ", ".join(f"{SEX_WORDS[sex]} {str(r).removeprefix('mean ')} mm" for sex, r in healthy.items())
        yield f"The LV wall is up to {thickest} thick at end-diastole{where} (mean of healthy {usual})."
    if lv.mass_index_g_m2 is not None and lv.ed_frame is not None:
        if mass := sure.text("lv.mass_index_g_m2"):
            yield f"LV mass is {_against(sure.measurements, 'lv.mass_index_g_m2', 'low', 'high', 'normal')} ({mass})."
    elif mass := sure.text("lv.mass_g"):
        yield f"LV mass is {mass}{'' if lv.ed_frame is not None else ', in an unknown phase of the cycle'}."


def _placed(sure: _Sure) -> list[Segment]:
    """The segments, where no warning is about their place."""
    doubted = warnings_about("segments.", sure.measurements)
    return [] if doubted else sure.measurements.segments


def _infarct(sure: _Sure) -> Iterator[str]:
    percent = sure("lge.infarct_percent")
    if percent is None:
        return
    if percent <= 0:
        yield "No infarct is drawn on late enhancement."
        return
    yield f"Infarct takes {_amount(sure, 'lge.infarct')}{_where(_placed(sure))}."
    if sure.measurements.lge.no_reflow_percent == 0:
        yield "No-reflow is not drawn in it."
    elif sure("lge.no_reflow_percent") is not None:
        yield f"No-reflow takes {_amount(sure, 'lge.no_reflow')}."


def _amount(sure: _Sure, name: str) -> str:
    return f"{sure.text(f'{name}_percent')} of the LV wall ({sure.text(f'{name}_g')})"


def _where(segments: list[Segment]) -> str:
    """The segments that hold most scar, with their share."""
    scarred = sorted(((row.scar_percent or 0.0, row.name) for row in segments), key=lambda pair: -pair[0])
    named = [pair for pair in scarred if pair[0] >= MOSTLY_SCAR_PERCENT][:NAMED_SEGMENTS] or scarred[:1]
    if not named or not named[0][0]:
        return ""
    listed = ", ".join(f"{name} ({share:.0f} %)" for share, name in named)
    return f", its largest shares in the {'segments' if len(named) > 1 else 'segment'} {listed}"


def _edema(sure: _Sure) -> Iterator[str]:
    percent = sure("t2.edema_percent")
    if percent is not None:
        yield f"Edema, infarct included, takes {_amount(sure, 't2.edema')}." if percent > 0 else "No edema is drawn."


def _class(sure: _Sure) -> Iterator[str]:
    """The proposed class with its probability, and the second where it is not far."""
    found = sure.measurements.diagnosis
    if found.prediction is None:
        return
    words = _lower(class_words(found.prediction))
    if found.unlike_training:
        yield f"No class fits: the measurements are unlike those of every class; the nearest is {words}."
        return
    ranked = sorted(found.probabilities.items(), key=lambda pair: -pair[1])
    second = [f"; next, {_lower(class_words(c))} ({percent_words(p)})" for c, p in ranked[1:2] if p >= SECOND_CLASS]
    doubted = "; a warning is about it" * bool(warnings_about("diagnosis", sure.measurements))
    sure_of = percent_words(found.probabilities[found.prediction])
    yield f"Proposed diagnosis: {words} ({sure_of}){''.join(second)}{doubted}."
    for series, part in found.by_series.items():
        if part.prediction != found.prediction:
            name, probability = _lower(class_words(part.prediction)), part.probabilities[part.prediction]
            said = "no class fits" if part.unlike_training else f"{name} ({percent_words(probability)})"
            yield f"From the {_SERIES.get(series, series)} alone: {said}."


_SERIES = {"lge": "late enhancement"}


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


_PARTS: tuple[Callable[[_Sure], Iterator[str]], ...] = (_left, _right, _wall, _infarct, _edema, _class)


def _doubt(measurements: Measurements) -> str | None:
    """What to doubt first: the most serious flag; without one, the structure that the network is least sure of."""
    serious = [flag for level in ("error", "warning") for flag in measurements.quality.flags if flag.level == level]
    if serious:
        more = len({flag.message for flag in serious}) - 1
        return serious[0].message + (f" ({more} more below.)" if more else "")
    shares = [(share, name) for found in measurements.quality.confidence.values() for name, share in found.items()]
    if not shares:
        return None
    share, name = min(shares)
    words = STRUCTURE_WORDS.get(name, name)
    return f"The network is least sure of the {words}: about {100 * share:.0f} % of it is expected to be right."
