"""What Python offers: paths where studies are taken, one line for each object, a table of numbers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import myoscope
from myoscope.analysis import Result, judge
from myoscope.datasets.phantom import draw, sample
from myoscope.errors import InputError
from myoscope.io.save import write_study, write_volume
from myoscope.labels import Structure
from myoscope.prediction import Prediction
from myoscope.study import Case, Role


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(3), [Role.LGE])


@pytest.fixture(scope="module")
def result(case: Case) -> Result:
    return judge(case.study, case.labels, {})


@pytest.fixture(scope="module")
def folder(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(case.study, tmp_path_factory.mktemp("python") / "study")


def test_what_is_public_is_there_and_imports_no_torch() -> None:
    code = (
        "import sys, myoscope; print(*[m for m in ('numpy', 'torch') if m in sys.modules]);"
        "[getattr(myoscope, name) for name in myoscope.__all__];"
        "print(*[m for m in ('torch', 'monai', 'sklearn') if m in sys.modules]);"
        "print(all(callable(getattr(myoscope, name)) for name in ('read_study', 'analyze', 'measure', 'predict')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["", "", "True"]


def test_every_object_is_one_line(case: Case, result: Result) -> None:
    series, labels = case.study.series[0], case.labels[Role.LGE]
    prediction = Prediction(labels, {}, np.zeros(0), {Structure.LV: 0.961})
    for one in (case.study, series, series.image, labels, result, prediction):
        assert repr(one).startswith(f"<{type(one).__name__}") and "\n" not in repr(one) and len(repr(one)) < 250
    slices, rows, columns = labels.voxels.shape
    assert f"1 frame, {slices} slices of {rows} x {columns}" in repr(series)
    assert f"lge (1 x {slices} slices)" in repr(case.study)
    assert "(96 % sure)" in repr(prediction)
    assert f"infarct {result.measurements.lge.infarct_percent:.1f} %" in repr(result)


def test_the_table_has_the_same_rows_for_every_study(case: Case, result: Result) -> None:
    rows = {row.name: row for row in result.table()}
    nothing = judge(case.study, {}, {}).table()
    assert [row[::2] for row in nothing] == [row[::2] for row in result.table()]
    assert rows["lge.infarct_ml"].value == result.measurements.lge.infarct_ml and rows["lge.infarct_ml"].unit == "ml"
    assert rows["lv.edv_to_rv_ratio"][1:] == (None, "1")
    assert not any("segments." in name or "curve" in name for name in rows)
    assert all(row.value is None or isinstance(row.value, int | float) for row in rows.values())


def test_a_path_is_taken_where_a_study_is(folder: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        myoscope.analyze(folder / "nowhere")
    found = myoscope.predict("compact-lge", str(folder))
    assert found[Role.LGE].voxels.shape == myoscope.read_study(folder).get(Role.LGE).image.voxels.shape


def test_measure_takes_files_and_volumes(case: Case, result: Result, folder: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    write_volume(case.labels[Role.LGE], maps / "lge_seg.nii.gz")
    ways = [
        myoscope.measure(folder, maps),
        myoscope.measure(str(folder), {"lge": maps / "lge_seg.nii.gz"}),
        myoscope.measure(case.study, case.labels),
    ]
    expected = result.measurements.lge.infarct_ml
    assert [one.measurements.lge.infarct_ml for one in ways] == pytest.approx([expected] * 3, rel=1e-5)
    said = [one.measurements.provenance.series[0].labels_from for one in ways]
    assert said == ["file lge_seg.nii.gz"] * 2 + ["given in memory"]


def test_measure_counts_what_was_changed_since(case: Case, result: Result) -> None:
    codes = case.labels[Role.LGE].voxels.copy()
    codes[codes == Structure.NO_REFLOW] = Structure.INFARCT
    first = np.argwhere(codes == Structure.MYOCARDIUM)[:5]
    codes[tuple(first.T)] = Structure.INFARCT
    changed = int((codes != case.labels[Role.LGE].voxels).sum())
    again = myoscope.measure(case.study, {Role.LGE: case.labels[Role.LGE].with_voxels(codes)}, before=result)
    origin = again.measurements.provenance.series[0]
    assert origin.changed_voxels == changed >= 5
    assert origin.labels_from.endswith("corrected by hand")
    same = myoscope.measure(case.study, {}, before=result)
    assert same.measurements.lge == result.measurements.lge
