"""Where a heart lies in the image, how large the image is and how it is sampled must not matter."""

import os
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from myoscope.io.read import read_study

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; set MYOSCOPE_DATA")
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "invariance.py"


LIMITS = {
    "acdc/patient001": {"LV cavity": 12, "myocardium": 12, "RV cavity": 12},
    "emidec/Case_P002": {"LV cavity": 12, "myocardium": 15, "infarct": 30},  # at 2 mm; EMIDEC draws no RV
}
"""Largest change in per cent."""


@pytest.mark.parametrize("name", LIMITS)
def test_measurements_hardly_change(name: str) -> None:
    series = read_study(DATA / name).series[0]
    one = series.image.with_voxels(series.image.frames[0])  # of a cine end-diastole: the other phase says the same
    changes = runpy.run_path(str(BENCHMARK))["changes_percent"](replace(series, image=one))
    for region, limit in LIMITS[name].items():
        found = {transform: percent for (transform, r), percent in changes.items() if r == region}
        assert len(found) == 8
        assert max(map(abs, found.values())) < limit, found
