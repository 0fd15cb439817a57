"""How far measurements on kept-aside phantoms lie from what the generator drew.

python benchmarks/phantom.py docs/results/phantom.md
"""

import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from myoscope.analysis import analyze, judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.measure.results import Measurements
from myoscope.study import Role

STUDIES = 24
FIRST_SEED = 7000

VALUES = {
    "LV end-diastolic volume (ml)": lambda m: m.lv.edv_ml,
    "LV end-systolic volume (ml)": lambda m: m.lv.esv_ml,
    "LV ejection fraction (points)": lambda m: m.lv.ejection_fraction_percent,
    "LV mass (g)": lambda m: m.lv.mass_g,
    "RV end-diastolic volume (ml)": lambda m: m.rv.edv_ml,
    "RV end-systolic volume (ml)": lambda m: m.rv.esv_ml,
    "LGE myocardium (ml)": lambda m: m.lge.myocardium_ml,
    "LGE infarct (ml), where present": lambda m: m.lge.infarct_ml,
}


def pair(seed: int) -> tuple[Measurements, Measurements]:
    """Measurements of one phantom from predicted and from drawn labels."""
    case = draw(sample(seed, KEPT_ASIDE, "MINF" if seed % 2 else None), (Role.CINE, Role.LGE), frames=2)
    return analyze(case.study).measurements, judge(case.study, case.labels, {}).measurements


def page(pairs: list[tuple[Measurements, Measurements]]) -> str:
    """The table, in Markdown."""
    lines = [
        "# Kept-aside phantoms: predicted against drawn",
        "",
        f"Written by `python benchmarks/phantom.py`: {len(pairs)} studies with generator settings that training never",
        "saw (`KEPT_ASIDE`), ED and ES of the cine and an LGE stack each, segmented with the installed weights.",
        "",
        "| measurement | n | median absolute error | median signed error | 90th percentile |",
        "|---|---|---|---|---|",
    ]
    for name, value in VALUES.items():
        found = [(value(a), value(b)) for a, b in pairs if value(b)]
        errors = np.array([(np.nan if a is None else a) - b for a, b in found])
        if "points" not in name:
            errors = 100 * errors / np.array([b for _, b in found])
        unit = "" if "points" in name else " %"
        lines.append(
            f"| {name} | {len(found)} | {np.nanmedian(abs(errors)):.1f}{unit} | {np.nanmedian(errors):+.1f}{unit} "
            f"| {np.nanpercentile(abs(errors), 90):.1f}{unit} |"
        )
    wrong = sum((a.lge.infarct_ml or 0) > 0 for a, b in pairs if not b.lge.infarct_ml)
    without = sum(not b.lge.infarct_ml for _, b in pairs)
    lines += ["", f"Infarct found where none was drawn: {wrong} of {without}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    pairs = [pair(seed) for seed in track(range(FIRST_SEED, FIRST_SEED + STUDIES), "phantoms")]
    text = page(pairs)
    Path(sys.argv[1]).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
