"""How often each quality flag comes on experts' own labels: `python -m myoscope.lab.flags --help`.

An expert's contours are right, so a warning on them that is about the contours cries wolf.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from myoscope.analysis import judge
from myoscope.datasets import case_folders, read_case
from myoscope.files import write_whole
from myoscope.lab.pages import render
from myoscope.measure.results import Flag

OFTEN_PERCENT = 5.0
"""A warning that comes on more of the experts' labels than this should be information, or says why not."""

Counts = dict[tuple[str, str], Counter[str]]
"""Cases of each data set with a flag, by the flag's code and level."""


def main(
    data: Annotated[list[Path], typer.Option(help="Roots of ACDC, EMIDEC or MyoPS.")],
    page: Annotated[Path, typer.Option(help="Where to write the results page.")],
) -> None:
    """Measure every case from its experts' labels and count the flags."""
    cases, counts = Counter[str](), Counts()
    for folder in (folder for root in data for folder in case_folders(root)):
        case = read_case(folder)
        if case.labels:
            cases[case.data_set] += 1
            count(counts, case.data_set, judge(case.study, case.labels, {}).measurements.quality.flags)
    text = results_page(cases, counts)
    write_whole(page, text)
    typer.echo(text)


def count(counts: Counts, data_set: str, flags: Iterable[Flag]) -> None:
    """Count a case's flags, each code and level once."""
    for code, level in {(flag.code, flag.level) for flag in flags}:
        counts.setdefault((code, level), Counter())[data_set] += 1


def results_page(cases: Counter[str], counts: Counts) -> str:
    """The page in Markdown: flags by level and how often they come, the most frequent first."""
    total = cases.total()
    order = ("error", "warning", "info")
    ranked = sorted(counts.items(), key=lambda item: (order.index(item[0][1]), -item[1].total(), item[0]))
    rows = [(code, level, by_set, 100 * by_set.total() / total) for (code, level), by_set in ranked]
    often = [code for code, level, _, percent in rows if level != "info" and percent > OFTEN_PERCENT]
    facts = {"cases": cases, "total": total, "rows": rows, "often": often, "limit": OFTEN_PERCENT}
    return render(Path(__file__).parent / "templates" / "flags.md.j2", facts)


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
