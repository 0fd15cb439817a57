"""A sixth system: one module and one line in SYSTEMS; every command of the laboratory takes it."""

import json
import sys
from pathlib import Path
from textwrap import dedent

import nibabel as nib
import numpy as np
import pytest

from myoscope import cli
from myoscope.datasets.own import write_dataset
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.lab.loop import Budget
from myoscope.study import Role
from myoscope.systems import SYSTEMS, evaluation_of

TOY = '''
    """A convolution that tells bright from dark."""

    import json
    from dataclasses import asdict, dataclass, field
    from pathlib import Path

    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file
    from torch.nn import functional as F

    from myoscope.lab.loop import Optimisation, train as run
    from myoscope.lab.slices import collect, normalise
    from myoscope.labels import Structure
    from myoscope.study import Role


    @dataclass(frozen=True)
    class Recipe:
        name: str = "toy"
        widths: tuple[int, ...] = (5,)
        roles: tuple[Role, ...] = (Role.CINE,)
        classes: tuple[Structure, ...] = (Structure.BACKGROUND, Structure.LV)
        optimisation: Optimisation = field(default_factory=lambda: Optimisation(learning_rate=0.1, ema_decay=0.5))


    RECIPES = {"toy": Recipe()}


    class Model:
        def __init__(self, network, card=None):
            self.network, self.card = network.eval(), card or {}

        @torch.no_grad()
        def predict(self, study):
            series = study.get(Role.CINE)
            if series is None:
                return {}
            slices = torch.from_numpy(np.concatenate(series.image.frames).astype(np.float32))
            found = self.network(normalise(slices)[:, None]).argmax(1).numpy().astype(np.uint8)
            return {Role.CINE: series.image.with_voxels(found.reshape(series.image.voxels.shape))}

        def save(self, path, card):
            save_file(self.network.state_dict(), path)
            path.with_suffix(".json").write_text(json.dumps(card))

        @classmethod
        def load(cls, path, device="cpu"):
            network = torch.nn.Conv2d(1, 2, 5, padding=2)
            network.load_state_dict(load_file(path))
            return cls(network.to(device), json.loads(Path(path).with_suffix(".json").read_text()))


    def train(recipe, cases, budget, folder, device="cpu"):
        stand_ins = {s: Structure.BACKGROUND for s in Structure if s not in recipe.classes}
        slices = collect([(case, 1.0) for case in cases], recipe.roles, recipe.classes, stand_ins, 2.0)
        (folder / "recipe.json").write_text(json.dumps(asdict(recipe)))
        torch.manual_seed(0)
        network = torch.nn.Conv2d(1, 2, 5, padding=2)

        def loss_of(network, step):
            i = torch.arange(step, len(slices.images), 20)
            logits = network(slices.images[i, None].float() / 255)
            return F.cross_entropy(logits, slices.labels[i].long(), torch.tensor([1.0, 200.0]))

        return Model(run(network, loss_of, budget, folder, recipe.optimisation, "toy"))
'''


def run(*words: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["myoscope", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_one_module_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy_system.py").write_text(dedent(TOY))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SYSTEMS, "toy", "toy_system")  # the one line

    data, runs = tmp_path / "data", tmp_path / "runs"
    write_dataset([draw(sample(i, TRAINING), [Role.CINE], frames=2) for i in range(5)], data)
    paths = evaluation_of("toy").train_folds("toy", [data], [0, 1], Budget(steps=20), runs, None, "cpu")
    assert [json.loads(path.with_suffix(".json").read_text())["steps"] for path in paths] == [20, 20]

    words = ("evaluate", "toy", "--data", data, "-o", tmp_path / "other", "--folds", 1, "--steps", 5)
    assert run(*words, monkeypatch=monkeypatch) == 0 and "5 steps" in (tmp_path / "other" / "results.md").read_text()
    weights = tmp_path / "other" / "fold-1" / "toy.safetensors"
    for steps, anew in ((5, False), (4, False), (60, True)):  # what had as much is not trained again, less goes on
        before = weights.stat().st_mtime_ns
        assert run(*words[:-1], steps, monkeypatch=monkeypatch) == 0
        assert (weights.stat().st_mtime_ns > before) == anew
    assert json.loads(weights.with_suffix(".json").read_text())["steps"] == 60
    assert run(*words, "--minutes", 1, monkeypatch=monkeypatch) == 2
    assert run(*words, "--variant", "published", monkeypatch=monkeypatch) == 2
    assert run(*words, "--page", tmp_path / "gone" / "toy.md", monkeypatch=monkeypatch) == 2  # before it is written
    assert run("train", "toy", "--data", data, "-o", runs, "--epochs", 1, monkeypatch=monkeypatch) == 2
    said = capsys.readouterr().err
    why = ("either minutes or steps or epochs", "which is no paper's", "does not say what an epoch is", "for --page")
    for reason in why:
        assert reason in said
    page = tmp_path / "toy.md"
    words = ("evaluate", "toy", "--data", data, "-o", runs, "--folds", 2, "--page", page)
    assert run(*words, monkeypatch=monkeypatch) == 0
    assert "| data | ED | LV | 2 | 0." in page.read_text() and "20 steps" in page.read_text()
    scores = json.loads((runs / "results.json").read_text())["scores"]
    assert scores[0]["region"] == "LV" and scores[0]["dice"] > 0.05  # what is bright, of which blood is some
    words = ("predict", "toy", data, "-o", tmp_path / "out", "--weights", paths[0])
    assert run(*words, monkeypatch=monkeypatch) == 0
    maps = sorted((tmp_path / "out").glob("*_seg.nii.gz"))
    assert len(maps) == 5 and set(np.unique(nib.load(maps[0]).get_fdata())) == {0, 1}
    assert run("predict", "toy", data, "-o", tmp_path / "out", "--variant", "x", monkeypatch=monkeypatch) == 2
    assert "expected a variant of toy" in capsys.readouterr().err
