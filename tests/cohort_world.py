"""Small phantoms to run cohorts on: three slices of 96 x 96, with an infarct."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.io.save import write_study
from myoscope.study import Case, Role, Study


@cache
def small_case(seed: int, role: Role = Role.LGE) -> Case:
    case = draw(sample(seed, KEPT_ASIDE, "MINF"), (role,), frames=2)
    series, labels = case.study.series[0], case.labels[role]
    z, y, x = (int(np.mean(axis)) for axis in np.nonzero(labels.frames[0] == 1))
    start = [max(x - 48, 0), max(y - 48, 0), max(z - 1, 0)]
    cut = np.s_[..., start[2] : start[2] + 3, start[1] : start[1] + 96, start[0] : start[0] + 96]
    affine = series.image.affine.copy()
    affine[:3, 3] = affine[:3] @ [*start, 1]
    image, drawn = (
        replace(v, voxels=np.ascontiguousarray(v.voxels[cut]), affine=affine) for v in (series.image, labels)
    )
    return replace(case, study=replace(case.study, series=(replace(series, image=image),)), labels={role: drawn})


def small_study(seed: int, role: Role = Role.LGE) -> Study:
    return small_case(seed, role).study


def write_studies(root: Path, count: int, distinct: int = 3) -> Path:
    """Folders of one NIfTI study each, `distinct` different hearts in turn."""
    for i in range(count):
        write_study(small_study(7 + i % distinct), root / f"p{i:03d}")
    return root
