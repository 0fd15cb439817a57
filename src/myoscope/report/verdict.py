"""The proposed diagnosis as the page shows it: classes in words, probabilities, what weighs for and against."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from myoscope.diagnose.words import class_words, percent_words
from myoscope.measure.results import START, Diagnosis, Evidence, Measurements, SeriesDiagnosis
from myoscope.report.tables import describe, in_unit

MAX_EVIDENCE = 7
"""Measurements shown as evidence: those that weigh most."""

FULL_BAR = 5.0
"""Weight in log-odds of a full bar of evidence, in every report: odds of 150 to 1."""


def series_title(series: str | None) -> str:
    """A series' role in words; None is the whole study."""
    if series is None:
        return "Study"
    return {"cine": "Cine", "lge": "LGE", "t2": "T2", "bssfp": "bSSFP"}.get(series, series)


@dataclass(frozen=True)
class ShownEvidence:
    """A line of evidence: its words, its value as text, its weight in log-odds; `is_sum` for all of them together."""

    title: str
    text: str
    weight: float
    is_sum: bool = False

    @property
    def width(self) -> float:
        """Length of its bar in per cent of the place for it: a half to each side."""
        return min(50 * abs(self.weight) / FULL_BAR, 50.0)


@dataclass(frozen=True)
class ShownDiagnosis:
    """A proposed class with the probabilities of all and what weighed for and against it.

    `rival` is the class that the evidence is weighed against, `frequency` what the probabilities assume.
    """

    title: str
    prediction: str
    uncertain: bool
    rival: str | None
    frequency: str | None
    probabilities: tuple[tuple[str, float, str], ...]
    evidence: tuple[ShownEvidence, ...]


def diagnoses(measurements: Measurements) -> list[ShownDiagnosis]:
    """The overall proposal, then those of the series that say something else."""
    overall = measurements.diagnosis
    shown = []
    if overall.prediction is not None:
        shown.append(_shown("Proposed diagnosis", overall, overall.prediction))
    for series, part in overall.by_series.items():
        if (part.prediction, part.probabilities) != (overall.prediction, overall.probabilities):
            title = f"From {series_title(series).replace('Cine', 'cine')} alone"
            shown.append(_shown(title, part, part.prediction))
    return shown


def _shown(title: str, found: Diagnosis | SeriesDiagnosis, code: str) -> ShownDiagnosis:
    ranked = sorted(found.probabilities.items(), key=lambda pair: -pair[1])
    named = tuple((class_words(c), p, percent_words(p)) for c, p in ranked)
    return ShownDiagnosis(
        title,
        class_words(code),
        found.unlike_training,
        class_words(found.runner_up) if found.runner_up else None,
        _frequency(found),
        named,
        tuple(_evidence(found.evidence)),
    )


def _frequency(found: Diagnosis | SeriesDiagnosis) -> str | None:
    """How frequent each class is where the probabilities hold."""
    shares = found.prevalence
    if len(set(shares.values())) == 1:
        return f"all equal, {100 * next(iter(shares.values())):.0f} % each"
    words = {name: class_words(name) for name in shares}
    listed = [f"{words[name][:1].lower()}{words[name][1:]} {100 * share:.0f} %" for name, share in shares.items()]
    return ", ".join(listed) or None


def _evidence(evidence: Sequence[Evidence]) -> Iterator[ShownEvidence]:
    """The starting point, what weighs most, the rest in one line, and the sum."""
    if not evidence:
        return
    start = [item for item in evidence if item.measurement == START]
    weighed = sorted((item for item in evidence if item.measurement != START), key=lambda item: -abs(item.weight))
    for item in [*start, *weighed[:MAX_EVIDENCE]]:
        name = describe(item.measurement)
        text = ""
        if item.value is not None:
            text = _coded(item.value, name.unit) or f"{in_unit(item.value, name.unit)} {name.unit}".strip()
        yield ShownEvidence(name.title, text, item.weight)
    if rest := weighed[MAX_EVIDENCE:]:
        yield ShownEvidence(f"{len(rest)} more, which weigh less", "", sum(item.weight for item in rest))
    if start:
        yield ShownEvidence("All together", "", sum(item.weight for item in evidence), is_sum=True)


def _coded(value: float, unit: str) -> str | None:
    """The word of a coded value, where its unit lists the codes.

    >>> _coded(1.0, "0 no, 1 yes"), _coded(46.0, "ml")
    ('yes', None)
    """
    words = dict(part.split(" ", 1) for part in unit.split(", ") if part[:1].isdigit() and " " in part)
    return words.get(f"{value:g}")
