"""The results page for scar and edema on MyoPS: the paper's Table 1 beside ours, box plots, what was run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


def results_page(
    system: str,
    roots: Sequence[str],
    summary: Sequence[Mapping[str, Any]],
    cards: Mapping[str, Sequence[Mapping[str, Any]]],
    absent: Sequence[str],
    late: Mapping[str, Any] | None = None,
) -> str:
    """The page as Markdown.

    Args:
        system: The system that was evaluated.
        roots: Names of the data sets' folders.
        summary: From `summarise`.
        cards: Cards of the folds that were there, by system.
        absent: Systems of which there were none.
        late: A card of the fold models of compact-lge that said what is scar.
    """
    ensemble = system == "myops-ensemble"
    held_out = f"{_span([len(found) for found in cards.values()])} of 5 folds"
    command = " ".join([f"myoscope evaluate {system}", *(f"--data {root}" for root in roots), "-o RUNS"])
    command += " --segmentations LGE_RUNS" if late else ""
    lines = [
        f"# {system}: scar and edema on MyoPS 2020",
        "",
        f"Written by `{command}`.",
        f"Cross-validation by patient ({held_out}); Dice and Jaccard on whole volumes, per case as the challenge",
        "scores them, mean ± standard deviation over the cases, in per cent. Each case is scored by a model that had",
        "not seen it." + (" The paper's numbers are of 20 other cases, the challenge's test set." if ensemble else ""),
        "",
        "| system | sequences | n | scar Dice | scar + edema Dice | scar Jaccard | scar + edema Jaccard |",
        "|---|---|---|---|---|---|---|",
    ]
    if ensemble:
        for title, found in PAPER["rows"].items():
            cells = " | ".join(f"{found[key][0]:.1f} ± {found[key][1]:.1f}" for key in SCORES)
            lines.append(f"| paper: {title} | bSSFP + LGE + T2 | {PAPER['test_cases']} | {cells} |")
    for entry in summary:
        title = entry["system"] + (f" ({ROWS[entry['system']]})" if entry["system"] in ROWS else "")
        cells = " | ".join(f"{100 * entry[key][0]:.1f} ± {100 * entry[key][1]:.1f}" for key in SCORES)
        lines.append(f"| {title} | {entry['sequences']} | {entry['n']} | {cells} |")
    lines += ["", f"Paper: {PAPER['source']}.", ""] if ensemble else [""]
    lines += [f"![Dice by system and sequences]({system}-boxes.svg)", "", "## Volumes", ""]
    lines += ["| system | sequences | scar, mean absolute error | scar + edema |", "|---|---|---|---|"]
    for e in summary:
        lines.append(
            f"| {e['system']} | {e['sequences']} | {e['scar error ml']:.1f} ml | {e['scar + edema error ml']:.1f} ml |"
        )
    lines += ["", "## What was run", "", *(_run(name, found) for name, found in cards.items())]
    if late:
        lines.append(f"- compact-lge: folds of {late['minutes']:g} min, new to the case's LGE. {_began(late)}")
    if absent:
        lines += ["", f"Not run: {', '.join(absent)}."]
    if ensemble:
        lines += [
            "",
            "The paper trains for 500 epochs of 3,264 images (204,000 steps of a U-Net, 816,000 of Mask R-CNN); here",
            "each network has the steps above. Learning rates of `published` are the paper's, those of `small` were",
            "raised for so few steps. `small` sees 96x96 pixels of 2 mm. `swapped` gives LGE to scar and T2 to",
            "edema, which the paper feeds the other way round; `both` gives both to both.",
        ]
    return "\n".join(lines) + "\n"


def _run(name: str, cards: Sequence[Mapping[str, Any]]) -> str:
    """Steps, learning rates, minutes and data of a system's folds, in one line."""
    sets = ", ".join(f"{count} {data}" for data, count in cards[0]["trained_on"].items())
    text = f"- {name}: {len(cards)} folds of {cards[0]['minutes']:g} min on {cards[0]['device']}, trained on {sets}"
    if networks := cards[0].get("networks"):
        parts = []
        for network, first in networks.items():
            steps = [card["networks"][network]["steps"] for card in cards]
            parts.append(f"{network} {_span(steps)} steps of {first['batch']} at {first['learning_rate']:g}")
        return f"{text}: {'; '.join(parts)}"
    return f"{text}: {_span([card['steps'] or 0 for card in cards])} steps"


def _began(late: Mapping[str, Any]) -> str:
    """Whether the starting weights of compact-lge had seen MyoPS patients."""
    start = late["started_from"] or {}
    known = start.get("trained_on", {}).get("myops", 0)
    if not known:
        return "They began from weights that had seen no MyoPS patient."
    return (
        f"They began from a {start['system']} that had been shown the heart's outlines, not the scar, on the bSSFP of "
        f"{known} MyoPS patients; where the wall is, compact-lge is not asked."
    )


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def write_boxes(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Box plots of Dice and Jaccard, a box for each system and subset of sequences; same rows, same file."""
    from matplotlib import rc_context
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
    with rc_context({"svg.hashsalt": "myoscope"}):
        figure.savefig(path, metadata={"Date": None})
