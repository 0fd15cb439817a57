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

Pair = tuple[Measurements, Measurements]

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
VALUES_WITH_T2 = {
    "with T2: LGE myocardium (ml)": lambda m: m.lge.myocardium_ml,
    "with T2: LGE infarct (ml), where present": lambda m: m.lge.infarct_ml,
    "with T2: edema (ml), where present": lambda m: m.t2.edema_ml,
}


def pair(seed: int, roles: tuple[Role, ...]) -> Pair:
    """Measurements of one phantom from predicted and from drawn labels."""
    case = draw(sample(seed, KEPT_ASIDE, "MINF" if seed % 2 else None), roles, frames=2)
    return analyze(case.study).measurements, judge(case.study, case.labels, {}).measurements


def page(pairs: list[Pair], with_t2: list[Pair]) -> str:
    """The table, in Markdown."""
    lines = [
        "# Kept-aside phantoms: predicted against drawn",
        "",
        f"Written by `python benchmarks/phantom.py`: {len(pairs)} studies with generator settings that training never",
        "saw (`KEPT_ASIDE`), ED and ES of the cine and an LGE stack each, segmented with the installed weights;",
        "the last rows: the same LGE with a T2 stack, segmented together.",
        "",
        "| measurement | n | median absolute error | median signed error | 90th percentile |",
        "|---|---|---|---|---|",
    ]
    for name, value in (VALUES | VALUES_WITH_T2).items():
        found = [(value(a), value(b)) for a, b in (with_t2 if name in VALUES_WITH_T2 else pairs) if value(b)]
        errors = np.array([(np.nan if a is None else a) - b for a, b in found])
        if "points" not in name:
            errors = 100 * errors / np.array([b for _, b in found])
        unit = "" if "points" in name else " %"
        lines.append(
            f"| {name} | {len(found)} | {np.nanmedian(abs(errors)):.1f}{unit} | {np.nanmedian(errors):+.1f}{unit} "
            f"| {np.nanpercentile(abs(errors), 90):.1f}{unit} |"
        )
    for what, of, value in (
        ("Infarct", pairs, lambda m: m.lge.infarct_ml),
        ("With T2, infarct", with_t2, lambda m: m.lge.infarct_ml),
        ("With T2, edema", with_t2, lambda m: m.t2.edema_ml),
    ):
        without = [a for a, b in of if not value(b)]
        wrong = sum((value(a) or 0) > 0 for a in without)
        lines += ["", f"{what} found where none was drawn: {wrong} of {len(without)}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    seeds = range(FIRST_SEED, FIRST_SEED + STUDIES)
    pairs = [pair(seed, (Role.CINE, Role.LGE)) for seed in track(seeds, "phantoms")]
    text = page(pairs, [pair(seed, (Role.LGE, Role.T2)) for seed in track(seeds, "phantoms with T2")])
    Path(sys.argv[1]).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
