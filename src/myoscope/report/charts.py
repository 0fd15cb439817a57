"""A value on its range, and the volumes over the cardiac cycle, as SVG."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from markupsafe import Markup, escape

Curve = tuple[str, str, Sequence[float]]
"""Name, class in the style sheet ("lv" or "rv"), a value for each frame."""

LEFT, TOP, WIDTH, HEIGHT = 42, 22, 400, 190
"""Where the axes of the volume-time curve lie."""


def range_strip(value: float, low: float | None, high: float | None) -> Markup:
    """A value as a tick on its range; the band is the range, the strip as long as twice the range."""
    if low is None or high is None:
        return Markup("")
    x = min(max(25 + 50 * (value - low) / (high - low), 2), 98)
    return Markup(
        '<svg class="strip" viewBox="0 0 100 12" aria-hidden="true"><path class="axis" d="M0 6H100"/>'
        '<rect class="band" x="25" y="3" width="50" height="6" rx="1"/>'
        f'<rect class="tick" x="{x - 1.5:.1f}" y="0" width="3" height="12" rx="1"/></svg>'
    )


def volume_curve(curves: Sequence[Curve], ed: int | None, es: int | None, frame_time_ms: float | None) -> Markup:
    """Volumes over the cycle, ED and ES marked.

    Args:
        curves: The ventricles; all have the same number of frames, at least 2.
        ed: Frame of end-diastole, from 0.
        es: Frame of end-systole.
        frame_time_ms: Time between frames; where it is None the axis counts frames from 1.
    """
    return cycle_curve(curves, ed, es, frame_time_ms, "ml", "Volume over the cardiac cycle")


def cycle_curve(
    curves: Sequence[Curve], ed: int | None, es: int | None, frame_time_ms: float | None, unit: str, title: str
) -> Markup:
    """Values over the cycle, ED and ES marked, as `volume_curve`; the axis holds 0 and has a unit."""
    frames = len(curves[0][2])
    low = min(0.0, *(min(values) for _, _, values in curves))
    high = max(1.0, *(max(values) for _, _, values in curves))
    step = _nice((high - low) / 4)
    floor, ceiling = step * float(np.floor(low / step)), step * (int(high / step) + 1)

    def x(frame: float) -> float:
        return LEFT + WIDTH * frame / (frames - 1)

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - (value - floor) / (ceiling - floor))

    parts = [*_value_axis(np.arange(floor, ceiling + step / 2, step), unit, y), *_time_axis(frames, frame_time_ms, x)]
    parts += [_phase(name, x(t)) for name, t in (("ED", ed), ("ES", es)) if t is not None and 0 <= t < frames]
    for name, kind, values in curves:
        points = [(x(i), y(value)) for i, value in enumerate(values)]
        line = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        dots = "".join(_dot(kind, px, py) for px, py in points)
        parts.append(f'<g class="curve {kind}"><title>{escape(name)}</title><path d="M{line}"/>{dots}</g>')
    title = f"{title}: " + ", ".join(name for name, _, _ in curves)
    box = f"0 0 {LEFT + WIDTH + 14} {TOP + HEIGHT + 42}"
    return Markup(f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>')


def curve_key(kind: str) -> Markup:
    """Line and marker of a curve, for the legend."""
    return Markup(
        f'<svg class="key chart" viewBox="0 0 36 12" aria-hidden="true"><g class="curve {kind}">'
        f'<path d="M1 6H35"/>{_dot(kind, 18, 6)}</g></svg>'
    )


def _value_axis(ticks: np.ndarray, unit: str, y: Callable[[float], float]) -> Iterator[str]:
    for value in ticks:
        yield f'<path class="grid" d="M{LEFT} {y(value):.1f}h{WIDTH}"/>'
        label = f"{value:g}".replace("-", "\u2212")
        yield f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{label}</text>'
    yield f'<text x="{LEFT - 6}" y="{TOP - 8}" text-anchor="end">{unit}</text>'


def _time_axis(frames: int, frame_time_ms: float | None, x: Callable[[float], float]) -> Iterator[str]:
    if frame_time_ms:
        step = _nice((frames - 1) * frame_time_ms / 6)
        ticks = [(ms / frame_time_ms, ms) for ms in np.arange(0, (frames - 1) * frame_time_ms + 1e-6, step)]
    else:
        every = max(round(_nice((frames - 1) / 8)), 1)
        numbers = sorted({1, *range(every, frames + 1, every)})
        ticks = [(number - 1, number) for number in numbers]
    for frame, label in ticks:
        yield f'<text x="{x(frame):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{label:g}</text>'
    words = "time after the first frame (ms)" if frame_time_ms else "frame"
    yield f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 35}" text-anchor="middle">{words}</text>'


def _phase(name: str, x: float) -> str:
    anchor = "start" if x < LEFT + 12 else "middle"
    return (
        f'<path class="phase" d="M{x:.1f} {TOP}v{HEIGHT}"/>'
        f'<text class="phase" x="{x:.1f}" y="{TOP - 8}" text-anchor="{anchor}">{name}</text>'
    )


def _dot(kind: str, x: float, y: float) -> str:
    if kind == "lv":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
    return f'<rect x="{x - 2.4:.1f}" y="{y - 2.4:.1f}" width="4.8" height="4.8"/>'


def _nice(step: float) -> float:
    """The next round number (1, 2, 5 times a power of ten) that is not below.

    >>> _nice(37.0)
    50.0
    """
    power = 10.0 ** np.floor(np.log10(max(step, 1e-9)))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9)))
