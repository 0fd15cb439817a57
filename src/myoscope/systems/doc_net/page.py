"""The results page of Clinic-NET and DOC-NET: shares of right answers over repeated splits, with their intervals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESAMPLES = 2000
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
AIM_PERCENT = {"Clinic-NET": 85, "DOC-NET": 95, "Clinic-NET+": 98, "DOC-NET+": 98}
PAPER = json.loads(Path(__file__).with_name("paper.json").read_text())

LABELS = {
    "": "none",
    "expert": "expert's",
    "doc-net-segmentation": "automatic, the paper's two steps",
    "cascade.small": "automatic, cascade.small",
}


def summarise(predictions: Sequence[Mapping[str, float]], known: Mapping[str, bool]) -> dict[str, Any]:
    """Accuracy, sensitivity (of pathological), specificity and calibration over repeated splits.

    Args:
        predictions: For each split the probability of pathological of each test case.
        known: Whether each case is pathological.

    Returns:
        Per cent; `accuracy_low` and `_high` are the 95 % interval of the mean, from resampling patients (whose answers
        in several splits belong together); `split_low` and `_high` hold 95 % of single splits.
    """
    rights = [np.mean([(p > 0.5) == known[case] for case, p in one.items()]) for one in predictions]
    pairs = [(case, p, known[case]) for one in predictions for case, p in one.items()]
    p, truth = (np.array(column, float) for column in list(zip(*pairs, strict=True))[1:])
    said = p > 0.5
    counts = {
        "tp": int((said & (truth == 1)).sum()),
        "fn": int((~said & (truth == 1)).sum()),
        "fp": int((said & (truth == 0)).sum()),
        "tn": int((~said & (truth == 0)).sum()),
    }
    low, high = _interval([case for case, _, _ in pairs], said == truth)
    chosen = np.clip(np.digitize(p, BINS) - 1, 0, len(BINS) - 2)
    bins = [(int((chosen == i).sum()), p[chosen == i], truth[chosen == i]) for i in range(len(BINS) - 1)]
    return {
        "splits": len(predictions),
        "test_cases": len(predictions[0]),
        "accuracy": 100 * float(np.mean(rights)),
        "accuracy_low": low,
        "accuracy_high": high,
        "split_low": 100 * float(np.percentile(rights, 2.5)),
        "split_high": 100 * float(np.percentile(rights, 97.5)),
        "split_best": 100 * float(max(rights)),
        "sensitivity": 100 * counts["tp"] / max(1, counts["tp"] + counts["fn"]),
        "specificity": 100 * counts["tn"] / max(1, counts["tn"] + counts["fp"]),
        **counts,
        "brier": float(((p - truth) ** 2).mean()),
        "calibration": [
            {"n": n, "said": float(mean_p.mean()), "was": float(mean_t.mean())} for n, mean_p, mean_t in bins if n
        ],
        "splits_accuracy": [100 * float(x) for x in rights],
    }


def _interval(ids: Sequence[str], right: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean accuracy in per cent, by bootstrap over patients."""
    patients = sorted(set(ids))
    place = {case: i for i, case in enumerate(patients)}
    where = np.array([place[case] for case in ids])
    total, count = np.bincount(where, right.astype(float)), np.bincount(where)
    drawn = np.random.default_rng(0).integers(len(patients), size=(RESAMPLES, len(patients)))
    low, high = np.percentile(100 * total[drawn].sum(1) / count[drawn].sum(1), (2.5, 97.5))
    return float(low), float(high)


def results_page(
    rows: Sequence[Mapping[str, Any]], roots: Sequence[str], with_better: bool, to_come: Sequence[str] = ()
) -> str:
    """The page as Markdown; `to_come` names the rows that are still to be run."""
    command = "myoscope evaluate doc-net " + " ".join(f"--data {root}" for root in roots) + " -o RUNS"
    command += " --segmentations LGE_RUNS" if with_better else ""
    cases = rows[0]["test_cases"]
    lines = [
        "# doc-net: normal or pathological, repeated splits by patient",
        "",
        f"Written by `{command}`.",
        f"Each split: {cases} test cases, a fifth of each class; of the rest an eighth chooses the epoch (70/10/20).",
        "The interval of the mean comes from resampling patients; the range holds 95 % of single splits, and says what",
        "one split, as in the paper, shows by luck. Sensitivity is for pathological. Automatic maps come from models",
        "that have not seen the case; those behind the training cases' maps have seen some of the test cases.",
        f"The paper: {PAPER['source']}. Its sensitivities, specificities and confusion matrices: not available.",
        'Stacks are read at 2 mm, 64x64, where the paper has 128x128 pixels. "Retuned": learning rate 1e-3 with weight',
        "decay 1e-2 and batch 8, set beforehand; the others are at the paper's Adam 1e-5, 170 epochs, batch 1.",
        "The spacing and names are never an input, but what an image shows may tell of its spacing.",
    ]
    if to_come:
        lines += ["", f"**Not run yet: {', '.join(to_come)}.**"]
    titles = {1: "Table 1: clinical values, images, the expert's volumes", 2: "Table 2: automatic volumes"}
    for table, title in titles.items():
        lines += ["", f"## {title}", "", *_table([row for row in rows if row["table"] == table])]
    lines += ["", "The expert's volumes nearly contain the answer: no normal case has scar. They are no headline."]
    lines += ["", "## Plain baselines", "", *_table([row for row in rows if row["table"] == 0])]
    return "\n".join([*lines, "", *_aims(rows), "", *_calibration(rows)]) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| method | label maps | n splits | accuracy, mean (95 % interval) | single splits, 95 % | best | paper % "
        "| sensitivity | specificity | TP FN FP TN |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        paper = PAPER["accuracy_percent"].get(str(r["table"]), {}).get(_network(r), "-")
        lines.append(
            f"| {r['title']} | {LABELS[r['labels']]} | {r['splits']} "
            f"| {r['accuracy']:.1f} % ({r['accuracy_low']:.1f} to {r['accuracy_high']:.1f}) "
            f"| {r['split_low']:.0f} to {r['split_high']:.0f} % | {r['split_best']:.0f} % | {paper} "
            f"| {r['sensitivity']:.0f} % | {r['specificity']:.0f} % | {r['tp']} {r['fn']} {r['fp']} {r['tn']} |"
        )
    return lines


def _network(row: Mapping[str, Any]) -> str:
    return row["title"].removesuffix(", retuned")


def _aims(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The aims of mean accuracy, and what was measured."""
    lines = ["## Aims", "", "| aim | reached by | best of these |", "|---|---|---|"]
    for name, aim in AIM_PERCENT.items():
        some = [r for r in rows if _network(r) == name]
        for kind in dict.fromkeys(r["table"] for r in some):
            these = [r for r in some if r["table"] == kind]
            volumes = " with automatic volumes" if kind == 2 else " with the expert's" if name.endswith("+") else ""
            best = max(these, key=lambda r: r["accuracy"])
            reached = ", ".join(f"{r['title']} ({LABELS[r['labels']]})" for r in these if r["accuracy"] >= aim)
            missed = f"{best['accuracy']:.1f} % by {best['title']} ({LABELS[best['labels']]})"
            lines.append(f"| {name}{volumes}: {aim} % | {reached or 'none'} | {missed} |")
    return lines


def _calibration(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How far the probabilities of our own variant can be believed."""
    lines = [
        "## Calibration of linear+",
        "",
        "Over the test cases of all splits: mean probability said, and how often it was.",
    ]
    for row in rows:
        if row["title"] == "linear+ (ours)":
            lines += ["", f"Label maps: {LABELS[row['labels']]}; Brier score {row['brier']:.3f}.", ""]
            lines += ["| n | said pathological | was pathological |", "|---|---|---|"]
            lines += [f"| {b['n']} | {100 * b['said']:.0f} % | {100 * b['was']:.0f} % |" for b in row["calibration"]]
    return lines
