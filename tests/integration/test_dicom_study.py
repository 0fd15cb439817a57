"""A synthetic study as DICOM, in every shape that hospitals send, gives what its NIfTI gives."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_writer import BIRTH_DATE, NAME, SHAPES, write_dicom
from measured import assert_same
from myoscope.analysis import analyze, judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.io.read import read_study
from myoscope.io.record import TABLES
from myoscope.io.save import write_study
from myoscope.measure.results import Measurements
from myoscope.study import Case, Role


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(1001, KEPT_ASIDE, "MINF"), frames=4)


def assert_as_nifti(found: Measurements, expected: Measurements) -> None:
    assert_same(found, expected)
    assert found.patient.model_copy(update={"study_id": ""}) == expected.patient.model_copy(update={"study_id": ""})
    told = {flag.code for flag in found.quality.flags} - {"duplicates", "repeat_left_out", "psir_preferred"}
    assert told == {flag.code for flag in expected.quality.flags}


@pytest.mark.parametrize("shape", SHAPES)
def test_expert_labels_measure_the_same(shape: str, case: Case, tmp_path: Path) -> None:
    """The labels travel as the pixels, so that they come out on the grid that is read."""
    drawn = [replace(s, image=case.labels[s.role]) for s in case.study.series]
    as_labels = replace(case.study, series=tuple(drawn))  # the scar sheet reads the pixels: the same on both sides
    write_dicom(as_labels, tmp_path, shape)
    study = read_study(tmp_path)
    labels = {s.role: s.image.with_voxels(s.image.voxels.astype(np.uint8)) for s in study.series}
    assert_as_nifti(judge(study, labels, {}).measurements, judge(as_labels, case.labels, {}).measurements)


@pytest.fixture(scope="module")
def from_nifti(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    return analyze(read_study(write_study(case.study, tmp_path_factory.mktemp("nifti")))).measurements


@pytest.mark.parametrize("shape", ["interleaved", "enhanced"])
def test_the_networks_measure_the_same(shape: str, case: Case, from_nifti: Measurements, tmp_path: Path) -> None:
    write_dicom(case.study, tmp_path / "study", shape)
    result = analyze(read_study(tmp_path / "study"))
    assert_as_nifti(result.measurements, from_nifti)
    assert from_nifti.lv.edv_ml
    result.save(tmp_path / "out")
    for name in ("report.html", "measurements.json", *TABLES):
        text = (tmp_path / "out" / name).read_text()
        assert not any(word in text for word in ("Muster", "Erika", NAME, BIRTH_DATE, "PID-0815"))
        assert not re.search(r"(?<!\d)1953(?!\d)", text)  # the year of birth; a long number may hold its digits
    files = {p.name for p in (tmp_path / "out" / "segmentations").iterdir()}
    assert files == {"cine_seg.nii.gz", "lge_seg.nii.gz"}
    provenance = json.loads((tmp_path / "out" / "measurements.json").read_text())["provenance"]
    assert {s["role"]: s["files"] for s in provenance["series"]}[Role.CINE] == ["series 5"]
