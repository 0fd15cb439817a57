"""What a system makes of one series or of a study, and how sure it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from myoscope.labels import Structure
from myoscope.study import Role
from myoscope.volume import Volume


@dataclass(frozen=True)
class Prediction:
    """Labels of one series, and what can be said of how good they are.

    `labels` are `Structure` codes on the series' grid. `raw` has for each structure found the network's mean
    probability over the voxels that were given to it, 0 to 1; `right` the same calibrated: the share of these voxels
    that an expert would give to it too. `distances` (T, Z) say how far each slice's features lie from those of
    training slices, about 1 for the usual one, NaN where no heart was found; beyond `unusual_distance` a slice is
    unlike those of training. `intervals` are the errors on unseen patients (`measure.intervals`), as a card keeps them.
    """

    labels: Volume
    raw: Mapping[Structure, float]
    distances: np.ndarray
    right: Mapping[Structure, float] = field(default_factory=dict)
    unusual_distance: float = np.inf
    intervals: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mostly_unusual(self) -> bool:
        """Whether at least half of the slices with a heart are unlike those of training."""
        unusual: np.ndarray = np.greater(self.distances, self.unusual_distance)
        return bool(unusual.any()) and bool(unusual.sum() >= 0.5 * np.isfinite(self.distances).sum())

    def __repr__(self) -> str:
        """One line: the largest volume of each structure, and how sure that is.

        >>> labels = Volume(np.ones((1, 10, 10), np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
        >>> Prediction(labels, {}, np.zeros((1, 1)), right={Structure.LV: 0.97})
        <Prediction: LV blood pool 100.0 ml (97 % sure)>
        """
        found = []
        for structure in list(Structure)[1:]:
            volume = float((self.labels.frames == structure).sum((1, 2, 3)).max()) * self.labels.voxel_ml
            sure = f" ({100 * self.right[structure]:.0f} % sure)" if structure in self.right else ""
            found += [f"{structure.title} {volume:.1f} ml{sure}"] if volume else []
        return f"<Prediction: {', '.join(found) or 'no heart'}>"


@dataclass(frozen=True)
class Classification:
    """What a system that classifies makes of a study.

    `probabilities` has every class, in the data set's order. `evidence` has for each input its name, its value and what
    it adds to the log-odds of the predicted class, where the model can tell. `notes` are whole sentences. `labels` are
    for a look at what the model saw, and never measured.
    """

    probabilities: Mapping[str, float]
    evidence: tuple[tuple[str, float, float], ...] = ()
    notes: tuple[str, ...] = ()
    labels: Mapping[Role, Volume] = field(default_factory=dict)

    @property
    def prediction(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])
