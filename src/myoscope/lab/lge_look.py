"""How often images given as late enhancement are said not to look like it: `python -m myoscope.lab.lge_look --help`.

Every LGE stack of the data sets is given as what it is; end-diastole of the cines, bSSFP and T2 stacks are given as
LGE. The installed network of LGE draws the contours, as `analyze` has it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from myoscope.analysis import SYSTEM_FOR
from myoscope.datasets import case_folders, read_case
from myoscope.files import write_whole
from myoscope.lab.pages import render
from myoscope.measure import find_anatomy
from myoscope.measure.contrast import AS_CINE, AS_T2, Contrast, contrast, contrast_flags
from myoscope.segment.lge import CascadeModel
from myoscope.study import Case, Role, Series
from myoscope.weights import network_of

Found = dict[tuple[str, str], list[tuple[bool, Contrast | None]]]
"""By data set and role: whether a stack is flagged, and its contrast."""


def main(
    data: Annotated[list[Path], typer.Option(help="Roots of ACDC, EMIDEC or MyoPS.")],
    page: Annotated[Path, typer.Option(help="Where to write the results page.")],
) -> None:
    """Look at every stack of every case as if it were LGE, and count the flags."""
    model, found = CascadeModel.load(network_of(SYSTEM_FOR[Role.LGE])), Found()
    for case in (read_case(folder) for root in data for folder in case_folders(root)):
        for role, series in as_lge(case):
            labels = model.segment(series).labels.frames[0]
            heart, image = find_anatomy(labels, series.image.spacing_mm), series.image.frames[0]
            flagged = bool(contrast_flags(heart, image))
            found.setdefault((case.data_set, role), []).append((flagged, contrast(heart, image)))
    write_whole(page, text := results_page(found))
    typer.echo(text)


def as_lge(case: Case) -> Iterator[tuple[Role, Series]]:
    """Each stack of a case as a series of one frame that is given as LGE, with what it truly is."""
    for series in case.study.series:
        frame = series.image.frames[series.ed_frame or 0]
        yield series.role, replace(series, role=Role.LGE, image=series.image.with_voxels(frame), ed_frame=None)


def results_page(found: Found) -> str:
    """The page in Markdown: a row for each data set and kind of image."""
    rows = []
    for (data_set, role), stacks in sorted(found.items(), key=lambda item: (item[0][1] != Role.LGE, item[0])):
        known = np.array([seen for _, seen in stacks if seen is not None])
        means = np.sqrt((known[:, 1] * known[:, 2]).clip(0))
        rows.append(
            (
                data_set,
                role,
                len(stacks),
                sum(f for f, _ in stacks),
                *np.percentile(means, (0, 50, 100)),
                *np.percentile(known[:, 0], (0, 50, 100)),
            )
        )
    facts = {"rows": rows, "as_cine": AS_CINE, "as_t2": AS_T2}
    return render(Path(__file__).parent / "templates" / "lge_look.md.j2", facts)


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
