"""What the results page for scar and edema on MyoPS says: the paper's Table 1 beside ours, box plots, what was run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from myoscope.lab.pages import save_svg

TEMPLATE = Path(__file__).with_name("page.md.j2")
PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())
SCORES = ("scar dice", "scar + edema dice", "scar jaccard", "scar + edema jaccard")

ROWS = {
    "myops-ensemble.published-unet": "U-Net alone",
    "myops-ensemble.published-direct": "without linear encoder and decoder",
    "myops-ensemble.published": "whole",
    "myops-ensemble.small-unet": "U-Net alone",
    "myops-ensemble.small-direct": "without linear encoder and decoder",
    "myops-ensemble.small": "whole",
}
"""Rows of the paper's Table 1 by variant. Both sizes stand for the same row."""


def page_facts(
    system: str,
    roots: Sequence[str],
    summary: Sequence[Mapping[str, Any]],
    cards: Mapping[str, Sequence[Mapping[str, Any]]],
    absent: Sequence[str],
    late: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the page says, for its template.

    Args:
        system: The system that was evaluated.
        roots: Names of the data sets' folders.
        summary: From `summarise`.
        cards: Cards of the folds that were there, by system.
        absent: Systems of which there were none.
        late: A card of the fold models of compact-lge that said what is scar.
    """
    start = (late or {}).get("started_from") or {}
    return {
        "system": system,
        "roots": list(roots),
        "paper": PAPER if system == "myops-ensemble" else None,
        "scores": SCORES,
        "summary": [{**entry, "row": ROWS.get(entry["system"])} for entry in summary],
        "folds": _span([len(found) for found in cards.values()]),
        "run": [_run(name, found) for name, found in cards.items()],
        "absent": list(absent),
        "late": late
        and {"minutes": late["minutes"], "started_from": start.get("system")}
        | {"known": start.get("trained_on", {}).get("myops", 0)},
    }


def _run(name: str, cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Steps (least, most), learning rates, minutes and data of a system's folds."""
    networks = {
        network: {
            "steps": _span([card["networks"][network]["steps"] for card in cards]),
            "batch": first["batch"],
            "learning_rate": first["learning_rate"],
        }
        for network, first in (cards[0].get("networks") or {}).items()
    }
    first = {key: cards[0][key] for key in ("minutes", "device", "trained_on")}
    steps = None if networks else _span([card.get("steps") or 0 for card in cards])
    return first | {"name": name, "folds": len(cards), "networks": networks, "steps": steps}


def _span(values: Sequence[int]) -> list[int]:
    """The least and the most, once where they are the same."""
    return sorted({min(values), max(values)})


def write_boxes(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Box plots of Dice and Jaccard, a box for each system and subset of sequences; same rows, same file."""
    from matplotlib.figure import Figure

    shown = list(dict.fromkeys((row["system"], row["sequences"]) for row in rows))[::-1]
    titles = [f"{system.removeprefix('myops-ensemble.')}, {sequences}" for system, sequences in shown]
    figure = Figure(figsize=(11, 0.34 * len(shown) + 4.2), layout="constrained")
    for axes, key in zip(figure.subplots(2, 2, sharey=True, sharex=True).flat, SCORES, strict=True):
        boxes = [[100 * r[key] for r in rows if (r["system"], r["sequences"]) == which] for which in shown]
        axes.boxplot(boxes, orientation="horizontal", showmeans=True, flierprops={"markersize": 3})
        axes.set_yticks(range(1, len(shown) + 1), titles, fontsize=8)
        axes.set(title=f"{key} (%)", xlim=(0, 100))
        axes.grid(axis="x", alpha=0.3)
    save_svg(figure, path)
