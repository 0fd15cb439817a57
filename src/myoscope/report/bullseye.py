"""Bull's-eye plots of the 17 segments as SVG (Cerqueira et al. 2002, doi:10.1161/hc0402.102975).

Angles are mathematical: 0° to the right, 90° up, anticlockwise. Segment 1 is centred at the top; 2 lies to its left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, radians, sin

from markupsafe import Markup, escape

from myoscope.report.reference import EN_DASH

RING_RADII = (100.0, 72.0, 45.0, 20.0)
"""Outer radii of the basal, mid and apical ring and of the apex; the last is segment 17."""

CENTRE = 114.0
HATCH = "url(#hatch)"

SCALES: dict[str, tuple[str, ...]] = {
    "wall": ("#fde725", "#a0da39", "#4ac16d", "#1fa187", "#277f8e", "#365c8d", "#46327e", "#440154"),
    "scar": ("#f4f1ea", "#f6d08b", "#e08a4a", "#a8405a", "#4b1550"),
}
"""Colour scales, light to dark in steady steps (viridis; pale to plum, where 0 is neutral): they are told apart by
colour-blind readers and in grey print."""

GRADES: dict[str, str] = dict(zip(("0", "1-25", "26-50", "51-75", "76-100"), SCALES["scar"], strict=True))
"""Colours of the transmurality grades, per cent."""


@dataclass(frozen=True)
class Wedge:
    """Where a segment lies: between two radii and two angles in degrees."""

    inner: float
    outer: float
    start: float
    stop: float

    @property
    def middle(self) -> tuple[float, float]:
        """Point for the number, in the SVG's coordinates (x to the right, y down)."""
        if self.inner == 0:
            return CENTRE, CENTRE
        return _point((self.inner + self.outer) / 2, (self.start + self.stop) / 2)

    @property
    def path(self) -> str:
        """Outline as SVG path data."""
        if self.stop - self.start >= 360:
            r = self.outer
            return f"M{CENTRE - r:g} {CENTRE:g}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0Z"
        (x0, y0), (x1, y1) = _point(self.outer, self.start), _point(self.outer, self.stop)
        (x2, y2), (x3, y3) = _point(self.inner, self.stop), _point(self.inner, self.start)
        return (
            f"M{x0:.2f} {y0:.2f}A{self.outer:g} {self.outer:g} 0 0 0 {x1:.2f} {y1:.2f}"
            f"L{x2:.2f} {y2:.2f}A{self.inner:g} {self.inner:g} 0 0 1 {x3:.2f} {y3:.2f}Z"
        )


def wedge(segment: int) -> Wedge:
    """Where segment 1-17 lies in the plot.

    >>> wedge(2).start, wedge(14).start
    (120.0, 135.0)
    """
    basal, mid, apical, apex = RING_RADII
    if segment <= 6:
        start = 60.0 * segment
        return Wedge(mid, basal, start, start + 60)
    if segment <= 12:
        start = 60.0 * (segment - 6)
        return Wedge(apical, mid, start, start + 60)
    if segment <= 16:
        start = 45.0 + 90.0 * (segment - 13)
        return Wedge(apex, apical, start, start + 90)
    return Wedge(0, apex, 0, 360)


def plot(title: str, values: Mapping[int, tuple[str, str]], details: Mapping[int, str]) -> Markup:
    """A bull's-eye: 17 outlined segments with a value printed in each.

    Args:
        title: What the plot shows, for readers who do not see it.
        values: Fill colour and printed text of each segment that was measured; the others are hatched grey with "–".
        details: Hover text of each segment.
    """
    parts = []
    for segment in range(1, 18):
        place = wedge(segment)
        fill, text = values.get(segment, (HATCH, EN_DASH))
        x, y = place.middle
        size = (6.5 if segment <= 12 else 5.5) if EN_DASH in text[1:] else 10.5 if len(text) < 4 else 9.0
        parts.append(
            f'<g data-segment="{segment}"><title>{escape(details.get(segment, str(segment)))}</title>'
            f'<path d="{place.path}" fill="{fill}"/>'
            f'<text x="{x:.1f}" y="{y + size * 0.35:.1f}" font-size="{size}" fill="{ink_on(fill)}">'
            f"{escape(text)}</text></g>"
        )
    return Markup(
        f'<svg class="bullseye" viewBox="0 0 {2 * CENTRE:g} {2 * CENTRE:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{_walls()}{''.join(parts)}</svg>"
    )


def shade(scale: str, value: float, low: float, high: float) -> str:
    """Colour of a value on a scale from low (light) to high (dark), clipped.

    >>> shade("wall", 0, 0, 100), shade("wall", 100, 0, 100)
    ('#fde725', '#440154')
    """
    colours = SCALES[scale]
    place = min(max((value - low) / (high - low), 0), 1) * (len(colours) - 1)
    step = min(int(place), len(colours) - 2)
    return _blend(colours[step], colours[step + 1], place - step)


def definitions() -> Markup:
    """The hatching and the gradient that plots and scales refer to: once a page."""
    gradients = "".join(f'<linearGradient id="scale-{name}">{_stops(s)}</linearGradient>' for name, s in SCALES.items())
    return Markup(
        '<svg width="0" height="0" class="definitions" aria-hidden="true"><defs>'
        '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="5" height="5" fill="#eef0f1"/><path d="M0 0V5" stroke="#c3c9cd" stroke-width="2.4"/></pattern>'
        f"{gradients}</defs></svg>"
    )


def _stops(colours: Sequence[str]) -> str:
    last = len(colours) - 1
    return "".join(f'<stop offset="{i / last:.3f}" stop-color="{colour}"/>' for i, colour in enumerate(colours))


def colour_bar(scale: str, low: float, high: float, unit: str) -> Markup:
    """The scale of a sequential plot, with its ends printed."""
    return Markup(
        '<svg class="scale" viewBox="0 0 200 24" aria-hidden="true">'
        f'<rect x="0" y="0" width="200" height="8" rx="2" fill="url(#scale-{scale})"/>'
        f'<text x="0" y="21">{low:g}</text><text x="200" y="21" text-anchor="end">{high:g} {escape(unit)}</text></svg>'
    )


def grade_key() -> Sequence[tuple[str, str]]:
    """Colour and words of each transmurality grade."""
    return [(colour, f"{grade.replace('-', EN_DASH)} %") for grade, colour in GRADES.items()]


def ink_on(fill: str) -> str:
    """Black or white, whichever reads better on a fill.

    >>> ink_on("#440154"), ink_on("#fde725")
    ('#fff', '#111')
    """
    if not fill.startswith("#"):
        return "#111"
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 3294.6 for c in _rgb(fill)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#111" if luminance > 0.18 else "#fff"


def _walls() -> str:
    """Names of the walls around the plot."""
    places = (("anterior", 0), ("lateral", 90), ("inferior", 180), ("septal", 270))
    texts = []
    for name, turn in places:
        y = 8 if turn != 180 else 2 * CENTRE - 2
        spin = f' transform="rotate({turn} {CENTRE:g} {CENTRE:g})"' if turn in (90, 270) else ""
        texts.append(f'<text class="wall" x="{CENTRE:g}" y="{y:g}"{spin}>{name}</text>')
    return "".join(texts)


def _blend(a: str, b: str, share: float) -> str:
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(_rgb(a), _rgb(b), strict=True))


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _point(radius: float, degrees: float) -> tuple[float, float]:
    return CENTRE + radius * cos(radians(degrees)), CENTRE - radius * sin(radians(degrees))
