"""One network on each slice and its two neighbours: cine and bSSFP; LGE too, as a first stage or beside a joint map."""

from pathlib import Path
from typing import Any

import numpy as np

from myoscope.prediction import Prediction
from myoscope.segment.clean import drop_traces, keep_heart
from myoscope.segment.confidence import prediction_of, sums_of
from myoscope.segment.engine import Network, each
from myoscope.segment.images import matrices, normalise, resample_slices, resize, softmax
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume


class SliceModel:
    """compact-cine, compact-lge, or another network that reads a slice with its neighbours."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.card = network.card
        self.sha256 = network.sha256
        self.name: str = self.card["system"]
        self.roles, self.classes, self.smallest_ml = network.roles, network.classes, network.smallest_ml

    @classmethod
    def load(cls, path: Path, device: str = "cpu", part: str = "") -> "SliceModel":  # noqa: ARG003
        """See `Network.load`; it runs on the CPU whatever the device."""
        return cls(Network.load(path, part))

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Segment every series of the study that this model reads.

        Returns:
            Label maps of `Structure` codes, uint8, on each series' grid and with its frames.
        """
        return {s.role: self.segment(s).labels for s in study.series if s.role in self.roles}

    def segment(self, series: Series) -> Prediction:
        """Segment one series, frame by frame, and say how sure that is."""

        def one(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            logits, far = self.network.look(self._stack(frame, series.image))
            shares, box = shares_in_box(logits, frame.shape[1:])
            found = np.zeros(frame.shape, np.uint8)
            found[box] = self.codes(shares)
            found = self.clean(found, series.image.voxel_ml)
            return found, sums_of(shares, found[box], self.classes), far

        return prediction_of(series, each(one, list(series.image.frames)), self.classes, self.card)

    def shares(self, frame: np.ndarray, grid: Volume) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities (Z, C, Y, X) of one frame (Z, Y, X), and each slice's distance from training's."""
        logits, far = self.network.look(self._stack(frame, grid))
        return softmax(resize(logits, frame.shape[1:])), far

    def draw(self, shares: np.ndarray, voxel_ml: float) -> np.ndarray:
        """Labels (Z, Y, X) from class probabilities (Z, C, Y, X)."""
        return self.clean(self.codes(shares), voxel_ml)

    def codes(self, shares: np.ndarray) -> np.ndarray:
        """`Structure` codes (Z, Y, X) of the most probable class."""
        return np.array(self.classes, np.uint8)[shares.argmax(1)]

    def clean(self, labels: np.ndarray, voxel_ml: float) -> np.ndarray:
        """Labels (Z, Y, X) without scattered voxels and traces."""
        return drop_traces(keep_heart(labels), self.smallest_ml, voxel_ml)

    def _stack(self, frame: np.ndarray, grid: Volume) -> np.ndarray:
        """The network's input: each slice with the one before and the one after, (Z, 3, H, W)."""
        slices = resample_slices(normalise(frame), grid.spacing_mm[1:], self.network.spacing_mm)
        before, after = (np.concatenate(pair) for pair in ((slices[:1], slices[:-1]), (slices[1:], slices[-1:])))
        return np.stack([before, slices, after], 1)


def shares_in_box(logits: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """Class probabilities at the image's own resolution, only where another class than the first can be most probable.

    A linear interpolation is nowhere above the samples that it lies between: where the first class is above all others
    in all of these, it is so in between.

    Args:
        logits: (Z, C, H, W), the background's first.
        size: Rows and columns of the image.

    Returns:
        Probabilities (Z, C, y, x), and the box of the image (Z, Y, X) that they fill.
    """
    shown = (logits[:, 1:].max(1) > logits[:, 0]).any(0)
    rows, columns = matrices(logits.shape, (size[0], size[1]))
    y, x = (_span(np.any(m[:, shown.any(axis)], 1)) for m, axis in ((rows, 1), (columns, 0)))
    return softmax(rows[y] @ (logits @ columns[x].T)), (slice(None), y, x)


def _span(hit: Any) -> slice:
    """From the first to the last that is hit."""
    where = np.flatnonzero(hit)
    return slice(where[0], where[-1] + 1) if len(where) else slice(0, 0)
