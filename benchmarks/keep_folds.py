"""Keep fold models where they can be committed: python benchmarks/keep_folds.py SYSTEM RUNS folds/SYSTEM

Of each fold what a later session needs to score it again and to go on: weights, card, curve, recipe, scores, cases, and
where the rate is held at first `held.safetensors`, the state before it falls, without the optimiser's moments and in
float16.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from myoscope.lab.crossval import weights_path
from myoscope.lab.folds import FOLDS

AS_THEY_ARE = ("cases.json", "cost.json", "curve.csv", "recipe.json", "scores.json", "started_from.json")


def keep(system: str, runs: Path, out: Path) -> None:
    for k in range(FOLDS):
        weights = weights_path(system, k, runs)
        if not weights.exists():
            continue
        folder = out / weights.parent.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in (weights.name, weights.with_suffix(".json").name, *AS_THEY_ARE):
            if (weights.parent / name).exists():
                shutil.copy(weights.parent / name, folder / name)
        print(folder)
        if not (state := weights.with_name("held.safetensors")).exists():
            continue
        with safe_open(state, "pt") as held:
            names = [name for name in held.keys() if not name.startswith("optimiser.")]  # noqa: SIM118
            tensors = {name: _half(held.get_tensor(name)) for name in names}
            save_file(tensors, folder / "held.safetensors", held.metadata())


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
