"""Where a heart lies in the image, how large the image is and how it is sampled must not matter."""

import os
import runpy
from pathlib import Path

import pytest

from myoscope.io.read import read_study

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; set MYOSCOPE_DATA")
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "invariance.py"


@pytest.mark.parametrize(("name", "regions"), [("acdc/patient001", 3), ("emidec/Case_P002", 4)])
def test_measurements_hardly_change(name: str, regions: int) -> None:
    changes = runpy.run_path(str(BENCHMARK))["changes_percent"](read_study(DATA / name).series[0])
    assert len({region for _, region in changes}) >= regions - 1
    for (transform, region), percent in changes.items():
        limit = 30 if region == "infarct" else 12
        assert abs(percent) < limit, f"{region} of {name}, {transform}: {percent:+.1f} %"
