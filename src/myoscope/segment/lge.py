"""LGE in two stages: a network on slices, then one that sees the heart in all slices and what the first said of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from myoscope.labels import SCAR, Structure
from myoscope.measure.wall import largest_piece
from myoscope.prediction import Prediction
from myoscope.segment.cine import SliceModel
from myoscope.segment.clean import drop_traces, keep_heart, one_wall
from myoscope.segment.confidence import prediction_of, sums_of
from myoscope.segment.engine import Network
from myoscope.segment.images import normalise, resample_slices, resize, softmax
from myoscope.segment.model import SeriesModel
from myoscope.study import Series
from myoscope.volume import Volume

MIRRORS = ((), (2,), (3,), (2, 3))
"""Axes (of N, C, Y, X) that each copy is mirrored along."""


class CascadeModel(SeriesModel):
    """cascade.small, or another second stage, and the first stage that it goes on from (None: it is one itself).

    Whether there is infarct and no-reflow at all a first stage says that knows how little of them is a mistake
    (`smallest_ml`); where they are, the second.

    Whose probabilities decide, the card's `shares` says: "first", "second", "mean" of both, or "mirrored": the second's
    on the image and its mirrored copies.
    """

    def __init__(self, network: Network, first: "SliceModel | CascadeModel | None" = None) -> None:
        super().__init__(network)
        self.first = first
        self.decides: str = (self.card.get("chosen") or {}).get("shares", self.card.get("shares", "second"))
        self.view = int(self.card["view"])
        self.classes = first.classes if first else network.classes

    def member(self, k: int) -> "CascadeModel":
        """One member of each of its stages alone, counted from 0."""
        return CascadeModel(self.network.member(k), self.first and self.first.member(k))

    def segment(self, series: Series) -> Prediction:
        """Segment one series, frame by frame, and say how sure that is."""

        def one(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            shares, far = self.shares(frame, series.image)
            found = self.draw(shares, series.image.voxel_ml)
            return found, sums_of(shares, found, self.classes), far

        return prediction_of(series, [one(frame) for frame in series.image.frames], self.classes, self.card)

    def draw(self, shares: np.ndarray, voxel_ml: float) -> np.ndarray:
        """Labels (Z, Y, X) from class probabilities (Z, C, Y, X), scattered voxels and traces of scar removed."""
        return drop_traces(self.whole(shares), self.smallest_ml, voxel_ml)

    def whole(self, shares: np.ndarray) -> np.ndarray:
        """Labels (Z, Y, X) from class probabilities (Z, C, Y, X), scattered voxels removed."""
        return one_wall(keep_heart(np.array(self.classes, np.uint8)[shares.argmax(1)]))

    def shares(self, frame: np.ndarray, grid: Volume) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (Z, C, Y, X) of `classes` in one frame (Z, Y, X), and each slice's distance from training's."""
        first, second, far = self.stages(frame, grid, MIRRORS if self.decides == "mirrored" else ((),))
        return {"first": first, "mean": (first + second) / 2}.get(self.decides, second), far

    def stages(
        self, frame: np.ndarray, grid: Volume, mirrors: Sequence[tuple[int, ...]] = ((),)
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each stage says (twice the same where there is one stage or no heart), and the distances of `shares`.

        Args:
            frame: Image (Z, Y, X).
            grid: What it is a frame of.
            mirrors: The second stage's mean is taken over copies mirrored along these axes.
        """
        if self.first is None:
            shares = self._look(frame, grid, None, mirrors)
            return shares, shares, np.full(len(shares), np.nan)
        first, far = self.first.shares(frame, grid)
        if not (first.argmax(1) > 0).any():
            return first, first, far
        prior = prior_of(first, self.classes, self.network.classes)
        second = spread(self._look(frame, grid, prior, mirrors), first, self.classes, self.network.classes)
        if self.first.smallest_ml:
            second = only_present(second, self.first.draw(first, grid.voxel_ml), self.classes)
        return first, second, far

    def _look(
        self, frame: np.ndarray, grid: Volume, prior: np.ndarray | None, mirrors: Sequence[tuple[int, ...]]
    ) -> np.ndarray:
        """Probabilities (Z, C, Y, X) of the network's classes; those of the prior outside the network's view."""
        in_plane, target_mm, side = grid.spacing_mm[1:], self.network.spacing_mm, self.view
        pixels = resample_slices(normalise(frame), in_plane, target_mm)[:, None]
        if prior is None:
            shares = np.zeros((len(pixels), len(self.network.classes), *pixels.shape[2:]), np.float32)
            shares[:, 0] = 1
            y, x = (n / 2 for n in pixels.shape[2:])
        else:
            shares = resample_slices(prior, in_plane, target_mm)
            y, x = heart_centre(shares)
            pixels = np.concatenate([pixels, shares], 1)
        top, left = (round(c - side / 2) + side for c in (y, x))  # on slices with a margin of one view all round
        margin, window = ((0, 0), (0, 0), (side,) * 2, (side,) * 2), np.s_[..., top : top + side, left : left + side]
        seen = np.pad(pixels, margin)[window]
        if prior is not None:
            seen[:, 1] = 1 - seen[:, 2:].sum(1)  # beyond the image lies background
        copies = [softmax(self.network.run(np.ascontiguousarray(np.flip(seen, axes)))[0]) for axes in mirrors]
        whole = np.pad(shares, margin)
        whole[window] = sum(np.flip(copy, axes) for copy, axes in zip(copies, mirrors, strict=True)) / len(mirrors)
        return resize(whole[..., side:-side, side:-side], frame.shape[1:])

    @classmethod
    def load(cls, path: Path, device: str = "cpu", part: str = "") -> Self:
        """As any model from its network file; the first stage's files are NAME.first.onnx."""
        network = Network.load(path, part)
        if part or "first" not in network.card:
            return cls(network)
        kind: type[SliceModel | CascadeModel] = CascadeModel if "view" in network.card["first"] else SliceModel
        return cls(network, kind.load(path, device, "first"))


def prior_of(shares: np.ndarray, known: Sequence[Structure], wanted: Sequence[Structure]) -> np.ndarray:
    """Probabilities (Z, C, Y, X) of the classes wanted; those of other classes are background's."""
    prior = shares[:, [known.index(s) for s in wanted]]
    prior[:, 0] = 1 - prior[:, 1:].sum(1)
    return prior


def spread(second: np.ndarray, first: np.ndarray, known: Sequence[Structure], drawn: Sequence[Structure]) -> np.ndarray:
    """The second stage's probabilities in the first's classes: background is dealt out as the first stage does."""
    ground = known.index(Structure.BACKGROUND)
    left = [i for i, s in enumerate(known) if s not in drawn]
    share = first[:, left] / (first[:, left].sum(1, keepdims=True) + first[:, ground : ground + 1]).clip(1e-6)
    shares = np.empty_like(first)
    for i, structure in enumerate(drawn):
        shares[:, known.index(structure)] = second[:, i]
    shares[:, left] = second[:, :1] * share
    shares[:, ground] -= shares[:, left].sum(1)
    return shares


def only_present(shares: np.ndarray, found: np.ndarray, classes: Sequence[Structure]) -> np.ndarray:
    """Probabilities (Z, C, Y, X) without no-reflow, or without any scar, where labels (Z, Y, X) show none of it."""
    result = shares.copy()
    for parts, becomes in (((Structure.NO_REFLOW,), Structure.INFARCT), (SCAR, Structure.MYOCARDIUM)):
        if not np.isin(found, parts).any():
            gone = [classes.index(part) for part in parts]
            result[:, classes.index(becomes)] += result[:, gone].sum(1)
            result[:, gone] = 0
    return result


def heart_centre(shares: np.ndarray) -> tuple[float, float]:
    """Centre (y, x) of the largest body of foreground in probabilities (Z, C, Y, X), in pixels."""
    body = largest_piece(shares.argmax(1) > 0).any(0)
    y, x = np.nonzero(body) if body.any() else [np.array([n / 2]) for n in body.shape]
    return float(y.mean()), float(x.mean())
