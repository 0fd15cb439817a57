"""`myoscope agree` on real cases against their experts, by an independent few lines.

MYOSCOPE_COHORT=OUT takes a cohort that was run over the data sets; else a few cases are analysed here.
"""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from myoscope.cohort.agree import agree
from myoscope.cohort.run import Options, run

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data"))
FEW = {"acdc": ("patient001", "patient022", "patient045"), "emidec": ("Case_N006", "Case_P002", "Case_P003")}
pytestmark = pytest.mark.skipif(not (DATA / "acdc").is_dir(), reason=f"no real data at {DATA}")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := os.environ.get("MYOSCOPE_COHORT"):
        return Path(given)
    folder = tmp_path_factory.mktemp("cohort")
    run([DATA / name / case for name, cases in FEW.items() for case in cases], folder, Options(workers=2))
    return folder


def voxels(path: Path) -> tuple[np.ndarray, float]:
    """Codes, and the volume of a voxel in ml."""
    image = nib.load(path)
    return np.asarray(image.dataobj), float(np.prod(image.header.get_zooms()[:3])) / 1000


def compared(out: Path, name: str, tmp_path: Path) -> dict:  # type: ignore[type-arg]
    agree(out, DATA / name, tmp_path / f"{name}.html")
    return json.loads((tmp_path / f"{name}.json").read_text())  # type: ignore[no-any-return]


def overlap(found: dict, study: str, region: str, frame: int) -> float:  # type: ignore[type-arg]
    (one,) = (one for one in found["studies"] if one["study"] == study)
    values = [o["dice"] for o in one["overlaps"] if (o["region"], o["frame"]) == (region, frame)]
    assert len(values) == 1
    return float(values[0])


def test_acdc_against_its_experts(out: Path, tmp_path: Path) -> None:
    """LV volumes and Dice of LV and RV at ED and ES from the files alone."""
    found = compared(out, "acdc", tmp_path)
    ours, theirs = [], []
    for study in sorted(path.name for path in out.glob("studies/patient*")):
        expert, automatic = sorted((DATA / "acdc" / study).glob("*_gt.nii.gz")), []
        for i, path in enumerate(expert):
            drawn, ml = voxels(path)
            stem = path.name.replace("_gt.nii.gz", "")
            seen, _ = voxels(out / "studies" / study / "segmentations" / f"{stem}_seg.nii.gz")
            automatic.append((seen == 1).sum() * ml)
            for region, code, their_code in (("LV", 1, 3), ("RV", 6, 1)):
                a, b = seen == code, drawn == their_code
                dice = 2 * (a & b).sum() / (a.sum() + b.sum())
                assert overlap(found, study, region, i) == pytest.approx(dice, abs=1e-9)
        ours.append(max(automatic))
        theirs.append(max((voxels(path)[0] == 3).sum() * voxels(path)[1] for path in expert))
    difference = np.array(ours) - theirs
    (row,) = (r["result"] for r in found["agreement"] if (r["name"], r["by"]) == ("lv.edv_ml", "all"))
    assert row["n"] == len(ours)
    assert row["bias"]["value"] == pytest.approx(difference.mean(), abs=1e-3)
    assert row["upper_limit"]["value"] == pytest.approx(difference.mean() + 1.96 * difference.std(ddof=1), abs=1e-3)
    spread = np.var(ours) + np.var(theirs) + difference.mean() ** 2
    assert row["concordance"]["value"] == pytest.approx(2 * np.cov(ours, theirs, ddof=0)[0, 1] / spread, abs=1e-5)


def test_emidec_against_its_experts(out: Path, tmp_path: Path) -> None:
    found = compared(out, "emidec", tmp_path)
    ours, theirs = [], []
    for study in sorted(path.name for path in out.glob("studies/Case_[NP]*")):
        drawn, ml = voxels(DATA / "emidec" / study / "Contours" / f"{study}.nii.gz")
        seen, _ = voxels(out / "studies" / study / "segmentations" / f"{study}_seg.nii.gz")
        a, b = np.isin(seen, (3, 4)), np.isin(drawn, (3, 4))
        ours.append(a.sum() * ml)
        theirs.append(b.sum() * ml)
        if b.any():
            assert overlap(found, study, "infarct", 0) == pytest.approx(
                2 * (a & b).sum() / (a.sum() + b.sum()), abs=1e-9
            )
    difference = np.array(ours) - theirs
    (row,) = (r["result"] for r in found["agreement"] if (r["name"], r["by"]) == ("lge.infarct_ml", "all"))
    assert row["n"] == len(ours)
    assert row["bias"]["value"] == pytest.approx(difference.mean(), abs=1e-3)
    assert row["sd"] == pytest.approx(difference.std(ddof=1), abs=1e-3)
