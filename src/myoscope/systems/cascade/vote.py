"""The fold models of a cascade together: the majority vote with which the paper predicts its test set.

For patients that no fold model has seen; of those of the cross-validation four in five have seen each.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.lab.folds import FOLDS
from myoscope.segment.lge import CascadeModel
from myoscope.volume import Volume

TIE = 0.5
"""What the mean of the probabilities counts for beside the votes: less than one, so it decides where votes are even."""


class Model(CascadeModel):
    """What `predict` runs: one model, or the vote of the fold models that a folder holds."""

    @classmethod
    def load(cls, path: Path, device: str = "cpu", part: str = "") -> "Model":
        """A model from its weights, or the vote of RUNS/VARIANT/fold-1 to fold-5 from RUNS/VARIANT.

        Raises:
            InputError: a file is missing or does not fit, or the folder does not hold a model of every fold.
        """
        if not path.is_dir():
            return super().load(path, device, part)
        found = [sorted(path.glob(f"fold-{k}/cascade.*.safetensors")) for k in range(1, FOLDS + 1)]
        if not all(len(some) == 1 for some in found):
            missing = [f"fold-{k}" for k, some in enumerate(found, 1) if len(some) != 1]
            raise InputError(
                f"{shown(path)}: expected one cascade in each of fold-1 to fold-{FOLDS}, found other in "
                f"{', '.join(missing)}; give the folder of a variant in the RUNS of evaluate cascade"
            )
        return Voting([CascadeModel.load(some[0], device) for some in found])


class Voting(Model):
    """Models that vote: each draws its labels, and a voxel becomes what most of them drew.

    Where votes are even, which the paper leaves open, the mean of the probabilities decides.
    """

    def __init__(self, models: Sequence[CascadeModel]) -> None:
        super().__init__(models[0].network, models[0].first)
        self.models = models

    def shares(self, frame: np.ndarray, grid: Volume) -> tuple[np.ndarray, np.ndarray]:
        """Votes as shares (Z, C, Y, X) of all, and each slice's largest distance from a training's."""
        found = [model.shares(frame, grid) for model in self.models]
        drawn = [model.draw(s, grid.voxel_ml) for model, (s, _) in zip(self.models, found, strict=True)]
        mean = np.mean([s for s, _ in found], axis=0)
        return votes_of(drawn, mean, self.classes), np.max([far for _, far in found], axis=0)


def votes_of(drawn: Sequence[np.ndarray], mean: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Shares (Z, C, Y, X) whose largest is the majority of label maps (Z, Y, X), or the likelier where that is even."""
    codes = np.array(classes).reshape(1, -1, 1, 1)
    votes = sum((labels[:, None] == codes).astype(np.float32) for labels in drawn)
    return (votes + TIE * mean) / (len(drawn) + TIE)
