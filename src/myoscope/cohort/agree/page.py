"""The page of an agreement: tables, Bland-Altman plots, overlaps, and the worst cases with pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from myoscope import __version__
from myoscope.cohort.agree.compare import Compared
from myoscope.cohort.agree.coverage import Coverage
from myoscope.cohort.agree.statistics import Agreement, Estimate
from myoscope.measure.intervals import LEVEL_PERCENT
from myoscope.measure.results import NOTICE
from myoscope.report.page import pages_of

if TYPE_CHECKING:
    from myoscope.cohort.agree import Row

TEMPLATES = Path(__file__).parents[1] / "templates"
PLOTTED = (
    "lv.ejection_fraction_percent", "lv.edv_ml", "lv.esv_ml", "lv.mass_g", "rv.ejection_fraction_percent", "rv.edv_ml",
    "lge.infarct_ml", "lge.infarct_percent", "t2.edema_ml",
)  # fmt: skip
WORST = 12
WIDTH, HEIGHT = 300, 170


def render(
    compared: Sequence[Compared],
    rows: Sequence["Row"],
    problems: Sequence[str],
    held: Sequence[Coverage],
    why_no_calibration: str,
) -> str:
    """The page, self-contained and without scripts."""
    template = pages_of(TEMPLATES).get_template("agree.html.j2")
    return template.render(
        n=len(compared),
        overall=[_cells(row) for row in rows if row.by == "all"],
        grouped=[_cells(row) for row in rows if row.by != "all"],
        plots=[_plot(row, compared) for row in rows if row.by == "all" and row.name in PLOTTED],
        overlaps=_overlaps(compared),
        worst=_worst(compared, rows),
        problems=list(problems),
        held=held,
        level=LEVEL_PERCENT,
        why_no_calibration=why_no_calibration,
        notice=NOTICE,
        version=__version__,
    )


def _cells(row: "Row") -> dict[str, Any]:
    r = row.result
    digits = 3 if "ratio" in row.name else 1
    return {
        "name": row.name,
        "group": row.group,
        "by": row.by,
        "n": r.n,
        "theirs": f"{r.theirs_mean:.{digits}f}",
        "ours": f"{r.ours_mean:.{digits}f}",
        "bias": _text(r.bias, digits),
        "limits": f"{r.lower_limit.value:.{digits}f} to {r.upper_limit.value:.{digits}f}",
        "icc": _text(r.icc, 3),
        "concordance": _text(r.concordance, 3),
    }


def _text(e: Estimate, digits: int) -> str:
    if not np.isfinite(e.value):
        return "nothing varies"
    interval = f" ({e.low:.{digits}f} to {e.high:.{digits}f})" if np.isfinite([e.low, e.high]).all() else ""
    return f"{e.value:.{digits}f}{interval}"


def _overlaps(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """Mean and spread of Dice and Hausdorff distance, for each series and region."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in compared:
        for o in one.overlaps:
            found.setdefault((o.role, o.region), []).append((o.dice, o.hausdorff_mm))
    lines = []
    for (role, region), values in found.items():
        scores, far = np.array(values).T
        far = far[np.isfinite(far)]
        lines.append(
            {
                "role": role,
                "region": region,
                "n": len(scores),
                "dice": f"{scores.mean():.3f} ± {scores.std():.3f}",
                "lowest": f"{scores.min():.3f}",
                "hausdorff": f"{far.mean():.1f} ± {far.std():.1f}" if len(far) else "none",
                "missed": len(scores) - len(far),
            }
        )
    return lines


def _worst(compared: Sequence[Compared], rows: Sequence["Row"]) -> list[dict[str, Any]]:
    """Studies that differ most first, in standard deviations of the cohort's differences, or in Dice."""
    spread = {row.name: row.result for row in rows if row.by == "all"}

    def badness(one: Compared) -> tuple[float, str]:
        found = [
            (
                abs(one.ours[n] - one.theirs[n] - r.bias.value) / r.sd,
                f"{n}: ours {one.ours[n]:.1f}, reader {one.theirs[n]:.1f}",
            )
            for n, r in spread.items()
            if n in one.ours and n in one.theirs and r.sd > 0
        ]
        return max(found, default=(0.0, ""))

    ranked = sorted(compared, key=lambda one: (-badness(one)[0], one.study))[:WORST]
    return [
        {
            "study": one.study,
            "far": f"{badness(one)[0]:.1f}",
            "what": badness(one)[1],
            "dice": ", ".join(f"{o.region} {o.dice:.2f}" for o in one.overlaps),
            "pictures": one.pictures,
        }
        for one in ranked
    ]


def _plot(row: "Row", compared: Sequence[Compared]) -> Markup:
    """Bland and Altman's plot: differences against means, with bias and limits."""
    both = [
        (one.ours[row.name], one.theirs[row.name])
        for one in compared
        if row.name in one.ours and row.name in one.theirs
    ]
    ours, theirs = np.array(both).T
    mean, difference = (ours + theirs) / 2, ours - theirs
    r: Agreement = row.result
    x, y = _scale(mean, WIDTH), _scale(np.array([*difference, r.lower_limit.value, r.upper_limit.value, 0.0]), HEIGHT)
    dots = "".join(
        f'<circle cx="{x(a):.1f}" cy="{HEIGHT - y(d):.1f}" r="2.5"/>' for a, d in zip(mean, difference, strict=True)
    )
    lines = "".join(
        f'<line x1="0" x2="{WIDTH}" y1="{HEIGHT - y(v):.1f}" y2="{HEIGHT - y(v):.1f}"{style}/>'
        for v, style in (
            (0.0, ' class="zero"'),
            (r.bias.value, ""),
            (r.lower_limit.value, ' stroke-dasharray="5 4"'),
            (r.upper_limit.value, ' stroke-dasharray="5 4"'),
        )
    )
    words = f"ours - reader against their mean, {mean.min():.0f} to {mean.max():.0f}"
    return Markup(
        f'<figure><figcaption><b>{escape(row.name)}</b></figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(words)}">{lines}{dots}</svg><p>{escape(words)}; bias {r.bias.value:.1f}, '
        f"limits {r.lower_limit.value:.1f} to {r.upper_limit.value:.1f}</p></figure>"
    )


def _scale(values: np.ndarray, size: int) -> Any:
    low, high = float(values.min()), float(values.max())
    return lambda value: 6 + (value - low) / ((high - low) or 1.0) * (size - 12)
