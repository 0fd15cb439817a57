"""One network on each slice and its two neighbours: cine and bSSFP; LGE too, as a first stage or beside a joint map."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from myoscope.labels import Structure
from myoscope.prediction import Prediction
from myoscope.segment.clean import drop_traces, keep_heart
from myoscope.segment.confidence import prediction_of, sums_of
from myoscope.segment.engine import Network, each
from myoscope.segment.images import matrices, normalise, resample_slices, resampled_size, resize, softmax
from myoscope.segment.model import SeriesModel
from myoscope.study import Series
from myoscope.volume import Volume

SCOUTS = 3
"""So many frames of a longer series are looked at whole, spread over it; the others where these show the heart."""

MARGIN = 40
"""Pixels of the network around the heart in the scouts that are looked at too."""

SURE = 20.0
"""Logit of what is not looked at: background."""

Window = tuple[slice, slice]
"""Rows and columns of the network's input."""


class SliceModel(SeriesModel):
    """compact-cine, compact-lge, or another network that reads a slice with its neighbours."""

    def segment(self, series: Series) -> Prediction:
        """Segment one series, frame by frame, and say how sure that is.

        A series of many frames is drawn by the first member alone: some frames whole, the others where the heart was
        seen in these, and whole too where it comes near the border of that. Then all members draw ED and ES.
        """
        frames = list(series.image.frames)
        look = partial(self._one, series.image)
        if len(frames) <= SCOUTS:
            return prediction_of(series, each(look, frames), self.classes, self.card)
        alone = partial(look, network=self.network.first_member)
        scouts = [i * len(frames) // SCOUTS for i in range(SCOUTS)]
        found = dict(zip(scouts, each(alone, [frames[i] for i in scouts]), strict=True))
        window = self._window([labels for labels, _, _ in found.values()], series.image, MARGIN)
        rest = [i for i in range(len(frames)) if i not in found]
        of_rest = each(partial(alone, window=window), [frames[i] for i in rest])
        found |= zip(rest, of_rest, strict=True)
        if self.network.first_member is not self.network:
            blood = [int((found[i][0] == Structure.LV).sum()) for i in range(len(frames))]
            ed, es = series.ed_frame, series.es_frame
            ends = [int(np.argmax(blood)) if ed is None else ed, int(np.argmin(blood)) if es is None else es]
            of_ends = each(partial(look, window=window), [frames[i] for i in ends])
            found |= zip(ends, of_ends, strict=True)
        return prediction_of(series, [found[i] for i in range(len(frames))], self.classes, self.card)

    def _one(
        self, grid: Volume, frame: np.ndarray, window: Window | None = None, network: Network | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels (Z, Y, X) of a frame, their `sums_of`, and the slices' distances (Z,)."""
        network = network or self.network
        stack = self._stack(frame, grid)
        if window is None:
            logits, far = network.look(stack)
        else:
            logits = np.full((len(stack), len(self.classes), *stack.shape[2:]), -SURE, np.float32)
            logits[:, 0] = SURE
            logits[:, :, *window], far = network.look(stack[:, :, *window], margin=False)
        shares, box = shares_in_box(logits, frame.shape[1:])
        found = np.zeros(frame.shape, np.uint8)
        found[box] = self.codes(shares)
        found = self.clean(found, grid.voxel_ml)
        if window and not _holds(window, self._window([found], grid, MARGIN // 2)):
            return self._one(grid, frame, network=network)
        return found, sums_of(shares, found[box], self.classes), far

    def _window(self, maps: Sequence[np.ndarray], grid: Volume, margin: int) -> Window | None:
        """Where label maps (Z, Y, X) of a grid show a heart, with a margin, in the network's input; None: nowhere."""
        shown = np.any([labels.any(0) for labels in maps], 0)
        sides = resampled_size(grid.voxels.shape, grid.spacing_mm[1:], self.network.spacing_mm)
        spans = []
        for axis, side in enumerate(sides):
            hit = np.flatnonzero(shown.any(1 - axis)) * side / shown.shape[axis]
            if not len(hit):
                return None
            start, stop = max(0, int(hit[0]) - margin), int(hit[-1]) + 1 + margin
            start, stop = start - start % self.network.multiple, stop + -stop % self.network.multiple
            spans.append(slice(start, min(side, stop)))  # what it pools together stays together
        return spans[0], spans[1]

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


def _holds(window: Window, heart: Window | None) -> bool:
    """Whether a heart lies in a window; no heart does not."""
    return heart is not None and all(
        a.start <= b.start and b.stop <= a.stop for a, b in zip(window, heart, strict=True)
    )


def _span(hit: Any) -> slice:
    """From the first to the last that is hit."""
    where = np.flatnonzero(hit)
    return slice(where[0], where[-1] + 1) if len(where) else slice(0, 0)
