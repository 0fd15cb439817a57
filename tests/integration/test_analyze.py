"""The whole way on a synthetic study, with the installed weights."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from jsonschema import validate

import myoscope
from myoscope.analysis import analyze, judge
from myoscope.datasets.phantom import KEPT_ASIDE, phantom_case, sample
from myoscope.datasets.phantom_motion import true_strain
from myoscope.io.read import read_study
from myoscope.io.save import write_study
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.results import Measurements
from myoscope.study import Case, Role


@pytest.fixture(scope="module")
def case() -> Case:
    return phantom_case(1001, KEPT_ASIDE, frames=10)


def test_the_contract_is_written(case: Case, tmp_path: Path) -> None:
    folder = write_study(case.study, tmp_path / "study")
    out = tmp_path / "out"
    report = analyze(read_study(folder)).save(out)
    assert report == out / "report.html"
    measured = json.loads((out / "measurements.json").read_text())
    validate(measured, Measurements.model_json_schema())
    assert 20 < measured["lv"]["ejection_fraction_percent"] < 85
    assert len(measured["segments"]) == 17
    header, row = csv.reader((out / "measurements.csv").read_text().splitlines())
    assert float(row[header.index("lv.edv_ml")]) == pytest.approx(measured["lv"]["edv_ml"])
    for role in ("cine", "lge"):
        image = nib.load(folder / f"{role}.nii.gz")
        labels = nib.load(out / "segmentations" / f"{role}_seg.nii.gz")
        assert labels.shape == image.shape
        assert np.allclose(labels.affine, image.affine, atol=1e-4)
        assert set(np.unique(labels.dataobj)) <= set(map(int, Structure))
    assert not list(out.glob(".myoscope-*"))


def test_labels_of_the_generator_are_measured_voxel_for_voxel(case: Case) -> None:
    measured = judge(case.study, case.labels, {}).measurements
    labels = case.labels[Role.CINE]
    lv, rv = ((labels.voxels == s).sum((1, 2, 3)) * labels.voxel_ml for s in (Structure.LV, Structure.RV))
    assert measured.lv.edv_ml == pytest.approx(lv.max())
    assert measured.lv.esv_ml == pytest.approx(lv.min())
    assert measured.rv.edv_ml == pytest.approx(rv[measured.lv.ed_frame])
    lge = case.labels[Role.LGE]
    assert measured.lge.myocardium_ml == pytest.approx(np.isin(lge.voxels, LV_WALL).sum() * lge.voxel_ml)
    assert measured.lge.infarct_ml == pytest.approx(np.isin(lge.voxels, SCAR).sum() * lge.voxel_ml)


def test_strain_of_a_whole_cycle_is_in_measurements_and_report(case: Case, tmp_path: Path) -> None:
    cine = [series for series in case.study.series if series.role is Role.CINE]
    result = judge(replace(case.study, series=tuple(cine)), {Role.CINE: case.labels[Role.CINE]}, {})
    lv, truth = result.measurements.lv, true_strain(sample(1001, KEPT_ASIDE).heart, np.arange(10) / 10)
    assert lv.global_circumferential_strain_percent == pytest.approx(truth.circumferential_percent.min(), abs=1.5)
    assert len(lv.circumferential_strain_curve_percent) == 10 and lv.global_radial_strain_rate_per_s > 0
    assert "Global strain over the cardiac cycle" in result.save(tmp_path / "out").read_text()


def test_every_missing_value_has_a_reason(case: Case) -> None:
    measured = judge(case.study, {Role.LGE: case.labels[Role.LGE]}, {}).measurements
    missing = measured.quality.missing
    for part in ("lv", "rv", "lge", "t2"):
        for name, value in getattr(measured, part).model_dump().items():
            assert value is not None or f"{part}.{name}" in missing


def test_the_public_surface_is_there() -> None:
    for name in myoscope.__all__:
        assert getattr(myoscope, name) is not None
