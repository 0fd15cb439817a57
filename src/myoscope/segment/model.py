"""What every model has that runs a network file: cine, LGE and joint maps differ in how they use it."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from myoscope.prediction import Prediction
from myoscope.segment.engine import Network
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume


class NetworkModel:
    """A network file, what its card says, and what it reads and draws."""

    def __init__(self, network: Network) -> None:
        self.network, self.card, self.sha256 = network, network.card, network.sha256
        self.name: str = network.card["system"]
        self.roles, self.classes, self.smallest_ml = network.roles, network.classes, network.smallest_ml

    @classmethod
    def load(cls, path: Path, device: str = "cpu", part: str = "") -> Self:  # noqa: ARG003
        """See `Network.load`; it runs on the CPU whatever the device, which every system's model is loaded for."""
        return cls(Network.load(path, part))

    def member(self, k: int) -> Self:
        """One of its members alone, counted from 0."""
        return type(self)(self.network.member(k))


class SeriesModel(NetworkModel, ABC):
    """A model that segments each series on its own."""

    @abstractmethod
    def segment(self, series: Series) -> Prediction:
        """Segment one series, frame by frame, and say how sure that is."""

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Segment every series of the study that this model reads.

        Returns:
            Label maps of `Structure` codes, uint8, on each series' grid and with its frames.
        """
        return {s.role: self.segment(s).labels for s in study.series if s.role in self.roles}
