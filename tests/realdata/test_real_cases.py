"""The main job on real patients, where the data sets lie beside the repository."""

import json
import os
from pathlib import Path

import nibabel as nib
import pytest

from myoscope.analysis import analyze, judge
from myoscope.datasets import case_folders, read_case
from myoscope.io.read import read_study

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; set MYOSCOPE_DATA")

CASES = {
    "acdc/patient001": {"patient001_frame01": "patient001_frame01", "patient001_frame12": "patient001_frame12"},
    "emidec/Case_P002": {"Case_P002": "Images/Case_P002"},
    "myops/Case3001": {"Case3001_LGE": "Case3001_LGE"},
}


@pytest.mark.parametrize("name", CASES)
def test_analysis_lies_on_the_images_grid(name: str, tmp_path: Path) -> None:
    analyze(read_study(DATA / name)).save(tmp_path)
    measured = json.loads((tmp_path / "measurements.json").read_text())
    assert measured["lv"]["mass_g"] or measured["lge"]["myocardium_g"]
    written = {path.name for path in (tmp_path / "segmentations").iterdir()}
    assert written == {f"{stem}_seg.nii.gz" for stem in CASES[name]}
    for stem, image in CASES[name].items():
        labels = nib.load(tmp_path / "segmentations" / f"{stem}_seg.nii.gz")
        original = nib.load(DATA / name / f"{image}.nii.gz")
        assert labels.shape == original.shape
        assert (labels.affine == original.affine).all()


def test_expert_labels_give_the_published_volumes() -> None:
    measured = judge(*_expert("acdc/patient001"), {}).measurements
    assert measured.lv.ejection_fraction_percent == pytest.approx(23.7, abs=0.5)
    assert measured.diagnosis.prediction == "DCM"


def _expert(name: str):
    case = read_case(DATA / name)
    return case.study, case.labels


@pytest.mark.parametrize(("name", "count"), [("acdc", 75), ("emidec", 80), ("myops", 25)])
def test_every_case_is_found(name: str, count: int) -> None:
    assert len(case_folders(DATA / name)) == count
