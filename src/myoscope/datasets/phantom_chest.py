"""What surrounds the phantom's heart: chest wall, lung, liver and other organs, aorta, atria.

Coordinates as in `phantom_heart`: mm from the LV's long axis, x right, y down, s along the axis from base to apex.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

_REACH_MM = 420.0


class SmoothNoise:
    """A smooth random field in space (normal, about unit variance), the same wherever and however it is sampled."""

    def __init__(self, rng: np.random.Generator, scale_mm: float):
        self.scale = scale_mm
        n = int(2 * _REACH_MM / scale_mm) + 6
        self.grid = rng.normal(0, 3.0, (int(_REACH_MM / 2 / scale_mm) + 6, n, n)).astype(np.float32)

    def __call__(self, s: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Values at a slice's rows y and columns x (1-D, mm), shape (len(y), len(x))."""
        plane = np.tensordot(self._weights(np.array([s + _REACH_MM / 8]), len(self.grid))[0], self.grid, axes=1)
        rows, columns = (self._weights(v + _REACH_MM, self.grid.shape[1]) for v in (y, x))
        return rows @ plane @ columns.T

    def _weights(self, mm: np.ndarray, n: int) -> np.ndarray:
        inside = np.clip(mm / self.scale, 0, n - 3.001)
        return BSpline.design_matrix(inside, np.arange(-3.0, n + 1), 3).toarray().astype(np.float32)


@dataclass(frozen=True)
class Chest:
    """Parameters of one chest, in mm: `centre` and `half_size` are (x, y), `diaphragm_mm` is its height below the
    axis at the base, `heart_mm` the heart's outer radius; `seed` gives the textures.
    """

    centre: tuple[float, float]
    half_size: tuple[float, float]
    fat_mm: float
    muscle_mm: float
    diaphragm_mm: float
    heart_mm: float
    seed: int


@dataclass(frozen=True)
class _Slice:
    """A slice: its place on the axis, rows (Y, 1) and columns (1, X), and smooth noise there (Y, X), coarse to fine."""

    s: float
    y: np.ndarray
    x: np.ndarray
    pixel_mm: float
    coarse: np.ndarray
    medium: np.ndarray
    fine: np.ndarray
    grain: np.ndarray

    def over(self, below: np.ndarray, distance_mm: np.ndarray, tissue: np.ndarray | float) -> np.ndarray:
        """A tissue in front of what is below, where its distance from its border is positive; half and half on it."""
        share = np.clip(distance_mm / self.pixel_mm + 0.5, 0, 1)
        return below * (1 - share) + tissue * share


class ChestPainter:
    """Signal of everything but the ventricles, for one chest and one series' signals.

    Args:
        chest: Whose chest.
        signal: Signal of lung, fat, muscle, liver, organ and blood.
    """

    def __init__(self, chest: Chest, signal: Mapping[str, float]):
        rng = np.random.default_rng(chest.seed)
        self.chest, self.signal = chest, signal
        self.coarse, self.medium, self.fine, self.grain = (SmoothNoise(rng, mm) for mm in (70, 28, 9, 5))
        self.organs = [SmoothNoise(rng, mm) for mm in (45, 40, 40, 30, 25)]
        self.shades = signal["organ"] * rng.uniform(0.3, 1.8, len(self.organs))
        r = chest.heart_mm
        jitter = rng.uniform(0.85, 1.15, (5, 3))
        self.vessels = np.array(
            [[0.05, 0.15, 0.75], [-1.3, 0.1, 0.7], [-0.45, -0.4, 0.42], [-0.95, -0.85, 0.45], [0.75, -0.7, 0.2]]
        )
        self.vessels = self.vessels * jitter * r
        self.dome = rng.uniform([-40, 0.0012, -0.15], [40, 0.003, 0.2])
        self.aorta = rng.uniform([28, 45, 9], [60, 70, 13])

    def paint(self, s: float, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        """One slice: its place on the axis, its rows and columns (1-D, mm); gives (len(ys), len(xs)) float32."""
        noise = (field(s, ys, xs) for field in (self.coarse, self.medium, self.fine, self.grain))
        at = _Slice(s, ys[:, None], xs[None], float(ys[1] - ys[0]), *noise)
        image = self._lung(at)
        image = self._abdomen(image, at, np.stack([field(s, ys, xs) for field in self.organs]))
        image = self._mediastinum(image, at)
        return self._chest_wall(image, at)

    def _lung(self, at: _Slice) -> np.ndarray:
        lung = self.signal["lung"] * (1 + 0.12 * at.fine + 0.12 * at.grain)
        vessels = 2.5 * (at.grain - 2.0 + 0.3 * at.medium)
        return at.over(lung, vessels, self.signal["blood"] * 0.6)

    def _abdomen(self, image: np.ndarray, at: _Slice, organs: np.ndarray) -> np.ndarray:
        """The diaphragm, and below it organs in fat, and the liver."""
        signal, r = self.signal, self.chest.heart_mm
        best = np.sort(organs, axis=0)
        shade = self.shades[organs.argmax(0)] * (1 + 0.15 * at.medium + 0.12 * at.fine + 0.1 * at.grain)
        edge = 7 * (best[-1] - best[-2]) - 2 - 2.5 * at.medium
        abdomen = at.over(np.full_like(shade, signal["fat"] * 0.75), edge, shade)
        liver = signal["liver"] * (1 + 0.08 * at.medium + 0.06 * at.grain)
        liver = at.over(liver, 3 * (at.fine - 1.9), signal["blood"] * 0.7)
        liver_edge = -0.5 * r - at.x - 0.2 * (at.y - r) + 25 * at.coarse + 8 * at.medium + 0.5 * at.s
        abdomen = at.over(abdomen, liver_edge + 3, signal["fat"] * 0.8)
        abdomen = at.over(abdomen, liver_edge, liver)
        peak, bend, slope = self.dome
        dome = self.chest.diaphragm_mm - 0.35 * max(at.s, 0) + bend * (at.x - peak) ** 2 + slope * at.x
        dome = dome + 7 * at.coarse + 2 * at.medium
        image = at.over(image, at.y - dome, signal["muscle"])
        return at.over(image, at.y - dome - 2.5, abdomen)

    def _mediastinum(self, image: np.ndarray, at: _Slice) -> np.ndarray:
        """Fat around the heart, the atria and great vessels at its base, and the descending aorta."""
        signal, r = self.signal, self.chest.heart_mm
        middle = r * 1.3 - 0.6 * max(at.s, 0) - np.hypot((at.x + 0.75 * r) / 1.15, at.y + 0.1 * r) + 5 * at.medium
        fatty = signal["fat"] * np.clip(0.5 + 0.12 * at.medium + 0.15 * at.fine, 0.2, 0.75)
        image = at.over(image, middle, fatty)
        if at.s < 0.55 * r:
            image = at.over(image, 1.02 * r - np.hypot(at.x + 0.2 * r, at.y) + 2 * at.medium, fatty)
            for x, y, size in self.vessels:
                distance = size + 4 * at.medium - np.hypot(at.x - x, at.y - y)
                image = at.over(image, distance, signal["muscle"] * 1.3)
                image = at.over(image, distance - 1.5, signal["blood"] * (0.9 + 0.06 * at.fine))
        x, y, size = self.aorta
        distance = size - np.hypot(at.x - x, at.y - y)
        image = at.over(image, distance + 1.5, signal["muscle"])
        return at.over(image, distance, signal["blood"] * 0.95)

    def _chest_wall(self, image: np.ndarray, at: _Slice) -> np.ndarray:
        """Ribs, muscle and fat, and the air outside."""
        chest, signal = self.chest, self.signal
        dx, dy = at.x - chest.centre[0] - 0.12 * at.s, at.y - chest.centre[1]
        rho = (np.abs(dx / chest.half_size[0]) ** 2.6 + np.abs(dy / chest.half_size[1]) ** 2.6) ** (1 / 2.6)
        depth = (1 - rho) * min(chest.half_size) + 7 * at.coarse + 2 * at.medium
        fat_mm = np.maximum(chest.fat_mm * (1 + 0.5 * at.coarse + 0.2 * at.medium), 3)
        ribs = np.where(at.fine > 0.9, signal["fat"] * 0.5, signal["muscle"] * (1 + 0.2 * at.fine))
        image = at.over(image, fat_mm + chest.muscle_mm * (1 + 0.3 * at.medium) - depth, ribs)
        image = at.over(image, fat_mm - depth, signal["fat"] * (1 + 0.08 * at.medium))
        return (image * np.clip(depth / at.pixel_mm + 0.5, 0, 1)).astype(np.float32)
