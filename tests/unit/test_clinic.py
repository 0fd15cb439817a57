"""The clinic's path: the same labels as torch's, without torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from myoscope import analysis
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.errors import InputError
from myoscope.io.save import write_study
from myoscope.segment.cine import SliceModel
from myoscope.study import Role, Study
from myoscope.weights import network_of, weights_of

BLOCKED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "monai", "sklearn", "safetensors", "onnx", "matplotlib"):
            raise ModuleNotFoundError(name, name=name.split(".")[0])
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def study() -> Study:
    return draw(sample(3, KEPT_ASIDE, "MINF"), (Role.CINE, Role.LGE, Role.T2), frames=2).study


@pytest.mark.parametrize(("system", "role"), [("compact-cine", Role.CINE), ("cascade.small", Role.LGE)])
def test_labels_are_torchs(study: Study, system: str, role: Role) -> None:
    from myoscope.systems import system_module

    series = study.get(role)
    assert series
    theirs = system_module(system).Model.load(weights_of(system)).segment(series)
    ours = analysis._model(system).segment(series)
    assert (theirs.labels.voxels == ours.labels.voxels).mean() >= 0.9999
    assert (theirs.labels.voxels > 0).any()
    np.testing.assert_allclose(ours.distances, theirs.distances, rtol=1e-3)
    assert ours.raw.keys() == theirs.raw.keys()
    assert ours.raw == pytest.approx(theirs.raw, abs=1e-3)
    assert ours.right == pytest.approx(theirs.right, abs=1e-3)


def test_joint_labels_are_torchs(study: Study) -> None:
    from myoscope.systems import compact
    from myoscope.systems.compact import myops

    lge = compact.Model.load(weights_of("compact-lge"))
    theirs = myops.Model.load(weights_of("compact-myops")).segment_joint(study, lge)[1]
    model = analysis._model("compact-myops")
    ours = model.segment_joint(study, analysis._model("compact-lge"))[1]
    assert (theirs.labels.voxels == ours.labels.voxels).mean() >= 0.9999
    assert ours.right == pytest.approx(theirs.right, abs=1e-3)


def test_a_study_is_analysed_without_torch(study: Study, tmp_path: Path) -> None:
    write_study(study, tmp_path / "study")
    code = BLOCKED + (
        "import myoscope\n"
        f"result = myoscope.analyze(myoscope.read_study({str(tmp_path / 'study')!r}))\n"
        f"result.save({str(tmp_path / 'out')!r})\n"
        "loaded = {'torch', 'monai', 'sklearn'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "assert 'analyze' in dir(myoscope) and 'read_study' in dir(myoscope)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_members_are_averaged_and_own_networks_go_first(study: Study, tmp_path: Path) -> None:
    import json

    installed = network_of("compact-cine")
    card = json.loads(installed.with_suffix(".json").read_text()) | {"members": 2}
    for i in (1, 2):
        (tmp_path / f"compact-cine.{i}.onnx").write_bytes(installed.read_bytes())
    (tmp_path / "compact-cine.json").write_text(json.dumps(card))
    series = study.get(Role.CINE)
    assert series
    two = SliceModel.load(network_of("compact-cine", tmp_path))
    one = SliceModel.load(installed)
    assert two.sha256 != one.sha256
    np.testing.assert_array_equal(two.segment(series).labels.voxels, one.segment(series).labels.voxels)
    result = analysis.analyze(replace(study, series=(series,)), models=tmp_path)
    provenance = result.measurements.provenance.series[0]
    assert "--models" in provenance.labels_from
    assert provenance.weights_sha256 == two.sha256


def test_a_folder_without_networks_and_a_broken_network_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected network files"):
        analysis.analyze(study, models=tmp_path)
    (tmp_path / "compact-cine.onnx").write_bytes(b"nothing")
    (tmp_path / "compact-cine.json").write_bytes(network_of("compact-cine").with_suffix(".json").read_bytes())
    with pytest.raises(InputError, match="expected a network file"):
        SliceModel.load(network_of("compact-cine", tmp_path))
