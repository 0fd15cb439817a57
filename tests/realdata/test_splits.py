"""What no split of the real data may do."""

import os
from pathlib import Path

import pytest

from myoscope.datasets import case_folders, read_case
from myoscope.datasets.acdc import CLASSES
from myoscope.lab.folds import FOLDS, fold_of

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; set MYOSCOPE_DATA")

TWINS = ("patient074", "patient076")


def test_one_scan_is_never_on_two_sides() -> None:
    acdc = [read_case(folder) for folder in case_folders(DATA / "acdc")]
    voxels = [next(case for case in acdc if case.id == name).study.series[0].image.voxels for name in TWINS]
    assert voxels[0].shape == voxels[1].shape
    assert (voxels[0] == voxels[1]).all()
    others = [read_case(folder) for name in ("emidec", "myops") for folder in case_folders(DATA / name)[:7]]
    for cases in (acdc, acdc[::-1], acdc + others):
        folds = dict(zip([case.id for case in cases], fold_of(cases), strict=True))
        assert folds[TWINS[0]] == folds[TWINS[1]]
    dealt = fold_of(acdc)
    for group in CLASSES:
        counts = [
            sum(c.group == group and k == fold for c, k in zip(acdc, dealt, strict=True)) for fold in range(FOLDS)
        ]
        assert max(counts) - min(counts) <= 1
