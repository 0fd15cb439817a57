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
from myoscope.segment.images import normalise, resample_slices
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


@pytest.mark.parametrize("system", analysis.USED)
def test_a_network_file_says_what_its_weights_say(study: Study, system: str) -> None:
    import torch

    from myoscope.systems import system_module

    trained = system_module(system).Trained.load(weights_of(system)).exported()
    network = analysis._model(system).network.first_member
    series = study.get(network.roles[0])
    assert series
    slices = resample_slices(normalise(series.image.frames[0]), series.image.spacing_mm[1:], network.spacing_mm)
    side = network.card.get("view", 12 * network.multiple)
    stack = np.pad(slices, ((0, 0), (0, side), (0, side)))[:, None, :side, :side]
    channels = network._sessions[0].get_inputs()[0].shape[1]
    stack = np.ascontiguousarray(np.broadcast_to(stack, (len(stack), channels, side, side)))
    with torch.inference_mode():
        theirs = trained(torch.from_numpy(stack))
    logits, far = network.run(stack)
    if isinstance(theirs, tuple):
        theirs, distances = theirs
        np.testing.assert_allclose(far, distances, rtol=1e-3)
    assert (logits.argmax(1) == theirs.numpy().argmax(1)).mean() >= 0.9999
    np.testing.assert_allclose(logits, theirs, atol=1e-3)


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
        (tmp_path / f"compact-cine.{i}.onnx").write_bytes(SliceModel.load(installed).network.files[0])
    (tmp_path / "compact-cine.json").write_text(json.dumps(card))
    series = study.get(Role.CINE)
    assert series
    two = SliceModel.load(network_of("compact-cine", tmp_path))
    one = SliceModel(two.network.first_member)
    assert two.sha256 != one.sha256
    np.testing.assert_array_equal(two.segment(series).labels.voxels, one.segment(series).labels.voxels)
    result = analysis.analyze(replace(study, series=(series,)), models=tmp_path)
    provenance = result.measurements.provenance.series[0]
    assert "--models" in provenance.labels_from
    assert provenance.weights_sha256 == two.sha256
    assert provenance.weights_members == [one.sha256] * 2


def test_ones_own_first_stage_alone_goes_before_the_installed_cascade(study: Study, tmp_path: Path) -> None:
    series = study.get(Role.LGE)
    assert series
    found = analysis.analyze(replace(study, series=(series,))).measurements.provenance.series[0]
    assert found.labels_from == analysis.SYSTEM_FOR[Role.LGE]
    installed = network_of("compact-lge")
    for i in range(1, 6):
        (tmp_path / f"compact-lge.{i}.onnx").write_bytes(installed.with_name(f"compact-lge.{i}.onnx").read_bytes())
    (tmp_path / "compact-lge.json").write_bytes(installed.with_suffix(".json").read_bytes())
    own = analysis.analyze(replace(study, series=(series,)), models=tmp_path).measurements.provenance.series[0]
    assert own.labels_from.startswith("compact-lge (network file of the user's own")


def test_a_folder_without_networks_and_a_broken_network_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected network files"):
        analysis.analyze(study, models=tmp_path)
    (tmp_path / "compact-lge.onnx").write_bytes(b"nothing")
    (tmp_path / "compact-lge.json").write_bytes(network_of("compact-lge").with_suffix(".json").read_bytes())
    with pytest.raises(InputError, match="expected a network file"):
        SliceModel.load(network_of("compact-lge", tmp_path))
