"""One page of numbers with rivals beside ours: python benchmarks/beside_rivals.py docs/results/README.md

From what the installed weights' cards and the kept folds (`folds/`) say, all out of fold; the rivals' from
`rivals.json`, each with where it was read. Nothing is computed here but means over cases, and intervals from the tables
of single measurements beside the page.
"""

import json
import sys
from pathlib import Path
from statistics import fmean, median
from typing import Any

from jinja2 import Environment, StrictUndefined

from myoscope.lab.intervals import cross_fit, read_rows
from myoscope.measure.intervals import STRUCTURES
from myoscope.weights import FOLDER

HERE = Path(__file__).parent
FOLDS = HERE.parent / "folds"
PAGES = HERE.parent / "docs" / "results"


def scores_of(system: str) -> list[dict[str, Any]]:
    """One row a frame of every patient, by the fold model that has not seen him; empty where no folds are kept."""
    files = sorted((FOLDS / system).glob("fold-*/scores.json"))
    return [row for file in files for row in json.loads(file.read_text())]


def mean(rows: list[dict[str, Any]], region: str, phase: str | None = None, present: bool = False) -> float | None:
    """Mean Dice of a region; `present` counts only cases that have it."""
    chosen = [r for r in rows if f"{region} dice" in r and phase in (None, r["phase"])]
    values = [r[f"{region} dice"] for r in chosen if r[f"{region} true ml"] > 0 or not present]
    return fmean(values) if values else None


def row(what: str, n: int, ours: float | None, aim: float, rival: str | None = None) -> dict[str, Any]:
    """A line of the table; None of ours: not measured on what ships."""
    return {"what": what, "n": n, "ours": ours, "aim": aim, "rival": rival}


def cine(rivals: dict[str, Any]) -> list[dict[str, Any]]:
    """compact-cine on ACDC."""
    rows = [r for r in scores_of("compact-cine") if r["data"] == "acdc"]
    n = len({r["case"] for r in rows})
    parts = [(region, mean(rows, region)) for region in ("LV", "myocardium", "RV")]
    aims = {"LV": 0.945, "myocardium": 0.895, "RV": 0.905}
    found = [row(f"cine, {region}, ED and ES", n, value, aims[region]) for region, value in parts]
    found.append(row("cine, RV at ES", n, mean(rows, "RV", "ES"), 0.870))
    three = fmean(value for _, value in parts if value is not None)
    return [*found, row("cine, mean of the three", n, three, 0.915, rivals["nnU-Net"]["acdc mean of three"])]


def late(rivals: dict[str, Any]) -> list[dict[str, Any]]:
    """cascade.small on EMIDEC, and on the cases for which a rival's scores are published."""
    rows = [r for r in scores_of("cascade.small") if r["data"] == "emidec"]
    theirs = rivals["myopari"]
    shared = [r for r in rows if r["case"].removeprefix("Case_") in theirs["cases"]]
    lines = []
    for words, some, key in (
        ("LGE", rows, "emidec"),
        (f"LGE, {len(shared)} cases that myopari has not seen", shared, "shared"),
    ):
        n = len({r["case"] for r in some})
        for region, present, aim in (
            ("myocardium", False, 0.865),
            ("infarction", False, 0.72),
            ("infarction", True, 0.62),
            ("no-reflow", False, 0.70),
            ("no-reflow", True, 0.40),
        ):
            name = f"{region}{', where present' if present else ''}"
            lines.append(row(f"{words}, {name}", n, mean(some, region, present=present), aim, theirs[key].get(name)))
    return lines


def others() -> list[dict[str, Any]]:
    """What other cards say of themselves."""
    lines = []
    for system, region, words, aim in (
        ("compact-myops", "scar from bSSFP + LGE + T2 and compact-lge", "MyoPS, scar", 0.64),
        ("compact-myops", "scar + edema from bSSFP + LGE + T2 and compact-lge", "MyoPS, scar and edema", 0.69),
        ("jdl.unet-joint", "scar", "jdl, scar", 0.62),
    ):
        found = (json.loads((FOLDER / f"{system}.json").read_text()).get("cross_validation") or {}).get("scores", [])
        lines += [row(words, score["n"], score["dice"], aim) for score in found if score["region"] == region]
    return lines


def beyond_dice() -> list[tuple[str, int, str, str]]:
    """What else was aimed at and stands in these files, as (what, patients, ours, aim)."""
    healthy = [r for r in scores_of("cascade.small") if r["infarction true ml"] == 0]
    free = sum(r["infarction ml"] == 0 for r in healthy)
    lines = [("LGE, healthy hearts free of infarct", len(healthy), f"{free} of {len(healthy)}", "96 %")]
    tables = {
        path.stem.removeprefix("out-of-fold-"): read_rows(path) for path in sorted(PAGES.glob("out-of-fold-*.csv"))
    }
    for system, rows in tables.items():
        names = sorted({row.measurement for row in rows} & {*STRUCTURES})
        held = {name: cross_fit([row for row in rows if row.measurement == name]) for name in names}
        right = [low <= row.truth <= high for found in held.values() for row, low, high in found]
        words = f"intervals of {system} that hold, all measurements"
        lines.append((words, len({row.case for row in rows}), f"{100 * fmean(right):.1f} %", "88 to 93 %"))
        if found := held.get("lv.ejection_fraction_percent"):
            width = median(high - low for _, low, high in found)
            lines.append(("LVEF, median width of its interval", len(found), f"{width:.1f} points", "below 12"))
    return lines


def main() -> None:
    rivals = json.loads((HERE / "rivals.json").read_text())
    lines = [*cine(rivals), *late(rivals), *others()]
    template = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(
        Path(__file__).with_suffix(".md.j2").read_text()
    )
    facts = {"lines": lines, "others": beyond_dice(), "sources": [r["source"] for r in rivals.values()]}
    Path(sys.argv[1]).write_text(template.render(facts) + "\n")


if __name__ == "__main__":
    main()
