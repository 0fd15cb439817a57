"""How a measurement is distributed over the cohort, against its reference ranges, as inline SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from myoscope.report.reference import REFERENCES, SEX_WORDS, Range, Sex

BINS = 24
WIDTH, HEIGHT, FOOT = 240, 74, 16
_COLOURS = {"F": "#CC79A7", "M": "#0072B2"}
"""Okabe and Ito's purple and blue."""


def histogram(name: str, title: str, unit: str, rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Counts in bins of equal width; beneath it a line for each sex's range, where the measurement has one."""
    values = np.array([row[name] for row in rows if row.get(name) is not None], float)
    ranges = ranges_of(name)
    limits = [side for found in ranges.values() for side in (found.low, found.high) if side is not None]
    low, high = min([*values, *limits]), max([*values, *limits])
    high = high if high > low else low + 1
    counts, _ = np.histogram(values, BINS, (low, high))
    scale = WIDTH / (high - low)
    bars = "".join(
        f'<rect x="{i * WIDTH / BINS:.1f}" y="{HEIGHT * (1 - count / counts.max()):.1f}" '
        f'width="{WIDTH / BINS - 1:.1f}" height="{HEIGHT * count / counts.max():.1f}" fill="#7d8b93"/>'
        for i, count in enumerate(counts)
        if count
    )
    lines = "".join(_line(sex, found, low, high, scale, i) for i, (sex, found) in enumerate(sorted(ranges.items())))
    words = f"{title}, {unit}, of {len(values)} studies: {values.min():.1f} to {values.max():.1f}"
    notes = "".join(
        f'<span style="border-color:{_COLOURS[sex]}">{SEX_WORDS[sex]} {escape(str(found))}</span> '
        for sex, found in sorted(ranges.items())
    )
    return Markup(
        f"<figure><figcaption><b>{escape(title)}</b> {escape(unit)}, n = {len(values)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" role="img" aria-label="{escape(words)}">{bars}{lines}</svg>'
        f'<p><span class="ends">{low:.0f}</span> <span class="middle">median {np.median(values):.1f}</span> '
        f'<span class="ends">{high:.0f}</span></p><p class="ranges">{notes}</p></figure>'
    )


def ranges_of(name: str) -> dict[Sex, Range]:
    """A measurement's reference ranges, by sex; empty where there is none."""
    return {sex: found for sex, found in REFERENCES.get(name, {}).items() if found.text is None}


def _line(sex: Sex, found: Range, low: float, high: float, scale: float, row: int) -> str:
    start = ((low if found.low is None else found.low) - low) * scale
    end = ((high if found.high is None else found.high) - low) * scale
    y = HEIGHT + 5 + 6 * row
    return f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{y}" y2="{y}" stroke="{_COLOURS[sex]}" stroke-width="3"/>'
