"""Real pixels wrapped as DICOM, with headers that were made up: the same measurements as from NIfTI."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_writer import write_dicom
from measured import assert_same
from myoscope.analysis import analyze, judge
from myoscope.datasets import read_case
from myoscope.errors import InputError
from myoscope.io.read import read_study, sort_dicom
from myoscope.study import Role, Study

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; set MYOSCOPE_DATA")

CASES = ("acdc/patient001", "emidec/Case_P002")


def _without_clinical(study: Study) -> Study:
    """Without the values that no DICOM header has."""
    return replace(study, patient=replace(study.patient, clinical={}))


@pytest.mark.parametrize("name", CASES)
def test_the_networks_measure_the_same(name: str, tmp_path: Path) -> None:
    study = _without_clinical(read_study(DATA / name))
    expected = analyze(study).measurements
    assert expected.lv.edv_ml or expected.lge.myocardium_g
    for shape in ("interleaved", "enhanced"):
        write_dicom(study, tmp_path / shape, shape)
        assert_same(analyze(read_study(tmp_path / shape)).measurements, expected)


@pytest.mark.parametrize("name", CASES)
def test_expert_labels_measure_the_same(name: str, tmp_path: Path) -> None:
    """The labels travel as the pixels, so that they come out on the grid that is read."""
    case = read_case(DATA / name)
    case = replace(case, study=_without_clinical(case.study))
    drawn = [replace(s, image=case.labels[s.role]) for s in case.study.series]
    as_labels = replace(case.study, series=tuple(drawn))  # the scar sheet reads the pixels: the same on both sides
    write_dicom(as_labels, tmp_path)
    study = read_study(tmp_path)
    labels = {s.role: s.image.with_voxels(s.image.voxels.astype(np.uint8)) for s in study.series}
    assert_same(judge(study, labels, {}).measurements, judge(as_labels, case.labels, {}).measurements)


def test_a_scanners_maps_are_maps_and_no_images(tmp_path: Path) -> None:
    """Siemens: 42 is LGE, 48 the raw images of 49, a T1 map whose name says "Post-GAD"; 64 lies elsewhere."""
    folder = DATA / "scanner" / "siemens-lge"
    found = {s.role: s.source and s.source.series_number for s in read_study(folder).series}
    assert found == {Role.LGE: 42, Role.MAP_T1_POST: 49}
    used = {row.group.first.facts.series_number: row.use for row in sort_dicom(folder).rows}
    assert used[48] == "no" and "another frame of reference" in used[64]
    for path in folder.glob("s*.dcm"):
        if not path.name.startswith("s42"):
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(InputError, match="expected a short-axis stack, found none"):
        read_study(tmp_path)
