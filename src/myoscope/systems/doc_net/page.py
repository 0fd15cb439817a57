"""What the results page of Clinic-NET and DOC-NET says: shares of right answers over repeated splits."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.lab.metrics import LGE_REGIONS, region_scores
from myoscope.lab.statistics import interval, summary
from myoscope.study import Case, Role

BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
AIM_PERCENT = {"Clinic-NET": 85, "DOC-NET": 95, "Clinic-NET+": 98, "DOC-NET+": 98}
TEMPLATE = Path(__file__).with_name("page.md.j2")
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
    low, high = interval(100.0 * (said == truth), [case for case, _, _ in pairs])
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


def maps_facts(source: str, automatic: Sequence[Case], expert: Sequence[Case]) -> dict[str, Any]:
    """How good the label maps of a source are: Dice in per cent, scar (no-reflow in it) where the expert drew some."""
    scores = []
    for a, b in zip(automatic, expert, strict=True):
        found, truth = a.labels[Role.LGE], b.labels[Role.LGE]
        scores.append(region_scores(found.frames[0], truth.frames[0], LGE_REGIONS, truth.voxel_ml))
    ill = [s for s in scores if s["infarction true ml"] > 0]
    well = [s for s in scores if s["infarction true ml"] == 0]
    return {
        "maps": LABELS[source],
        "pool": summary([100 * s["LV dice"] for s in scores]),
        "wall": summary([100 * s["myocardium dice"] for s in scores]),
        "scar": summary([100 * s["infarction dice"] for s in ill]),
        "error_ml": summary([abs(s["infarction ml"] - s["infarction true ml"]) for s in ill]),
        "found": [sum(s["infarction ml"] > 0 for s in ill), len(ill)],
        "free": [sum(s["infarction ml"] == 0 for s in well), len(well)],
    }


def page_facts(
    rows: Sequence[Mapping[str, Any]],
    roots: Sequence[str],
    with_better: bool,
    to_come: Sequence[str] = (),
    maps: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What the page says, for its template; `to_come` names the rows still to be run, `maps` are `maps_facts`."""
    shown = [
        {**row, "maps": LABELS[row["labels"]], "paper": _paper(row), "network": row["title"].removesuffix(", retuned")}
        for row in rows
    ]
    return {
        "roots": list(roots),
        "with_better": with_better,
        "to_come": list(to_come),
        "maps": list(maps),
        "source": PAPER["source"],
        "test_cases": rows[0]["test_cases"],
        "rows": shown,
        "aims": _aims(shown),
    }


def _paper(row: Mapping[str, Any]) -> float | None:
    """The paper's accuracy in per cent of a row."""
    return PAPER["accuracy_percent"].get(str(row["table"]), {}).get(row["title"].removesuffix(", retuned"))


def _aims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The aims of mean accuracy, who reached them, and the best."""
    found = []
    for name, aim in AIM_PERCENT.items():
        some = [row for row in rows if row["network"] == name]
        for table in dict.fromkeys(row["table"] for row in some):
            these = [row for row in some if row["table"] == table]
            reached = [row for row in these if row["accuracy"] >= aim]
            best = max(these, key=lambda row: row["accuracy"])
            found.append({"name": name, "table": table, "aim": aim, "reached": reached, "best": best})
    return found
