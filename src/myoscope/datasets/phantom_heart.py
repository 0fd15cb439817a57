"""Anatomy of the phantom's heart: two ventricles that beat, with papillary muscles, infarct, no-reflow and edema.

Coordinates: the LV's long axis runs from the centre of the mitral plane at end diastole (s = 0 mm) to the apex
(s > 0). In a slice, x points right and y down as in the standard short-axis view (mm from the axis), and angles run
from x towards y: the lateral wall lies at 0 degrees, the inferior at 90, the septum at 180, the anterior at 270.
A wall is a table of radii over q (fraction of the cavity's length from the base) and the angle.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from myoscope.labels import Structure
from myoscope.study import Role

PAPILLARY, RV_TRABECULA, RV_WALL, FAT = 7, 8, 9, 10
"""Tissues beyond `Structure`'s codes. The first two are part of the LV's and RV's blood pool in a label map."""

LABEL_OF_TISSUE = np.array([*range(7), Structure.LV, Structure.RV, 0, 0], np.uint8)

_Q = np.linspace(0, 1.35, 109)
_ANGLES = np.radians(np.arange(360))
_DQ, _DANGLE = _Q[1] - _Q[0], np.radians(1)
LEVEL_AT_REST = 0.3
"""The level that does not turn: the base turns the other way, the apex with the twist."""

_RV_WALL_MM = 2.5
_RV_TRABECULAE_MM = 4.0
"""Depth to which trabeculae darken the RV's blood; in the cines of ACDC the rim is 0.5 as bright at 2 mm, 0.9 at 5."""


@dataclass(frozen=True)
class Infarct:
    """An infarct in one coronary territory: where it is centred, how far it reaches, what lies in and around it.

    Angles in degrees, `level` and `half_length` as fractions of the cavity's length, `transmurality` and `no_reflow`
    as fractions of the wall (0 is none), `edema_margin` the factor by which the edema is larger, `akinesia` the
    fraction of contraction lost, `swelling` the fraction by which the wall is thicker there.
    """

    angle: float
    half_width: float
    level: float
    half_length: float
    transmurality: float
    no_reflow: float
    edema_margin: float
    akinesia: float
    swelling: float


@dataclass(frozen=True)
class Heart:
    """Parameters of one heart: volumes in ml, fractions in 0..1, lengths in mm, angles in degrees.

    `elongation` is the cavity's length over its radius, `septal_ratio` the septum's thickness over the other
    walls', `flattening` the fraction by which the septum is pushed into the LV, `es_phase` the part of the cycle at
    which it is smallest, `seed` gives the small irregularities. `twist` is by how much the apex turns against the base
    until end-systole, in degrees, anticlockwise as seen from the apex; `texture` the standard deviation of the wall's
    own pattern, which moves with it, as a fraction of the wall's signal.
    """

    edv_ml: float
    ef: float
    wall_mm: float
    elongation: float
    septal_ratio: float
    flattening: float
    rv_edv_ml: float
    rv_ef: float
    rv_half_angle: float
    rotation: float
    papillary_mm: float
    trabeculation: float
    fat_mm: float
    es_phase: float
    seed: int
    infarct: Infarct | None = None
    twist: float = 0.0
    texture: float = 0.0

    @cached_property
    def anatomy(self) -> "Anatomy":
        """The tables that the pictures are drawn from."""
        return Anatomy(self)


def _ripple(rng: np.random.Generator, lowest: int, highest: int) -> np.ndarray:
    """Random smooth table over (q, angle), about -1..1, periodic in the angle."""
    table = np.zeros((_Q.size, _ANGLES.size))
    for k in range(lowest, highest + 1):
        phase, twist = rng.uniform(0, 2 * np.pi), rng.normal(0, 2 + k / 2)
        table += rng.normal() * np.cos(k * _ANGLES + phase + twist * _Q[:, None])
    return table / (1.5 * np.sqrt(highest - lowest + 1))


def _turn(degrees: float) -> np.ndarray:
    """Angle of every table column from a direction, in degrees, -180..180."""
    return (np.degrees(_ANGLES) - degrees + 180) % 360 - 180


def _volume_ml(outer: np.ndarray, inner: np.ndarray | float, length_mm: float) -> float:
    return float(np.sum(outer**2 - np.square(inner)) / 2 * _DANGLE * _DQ * length_mm / 1000)


class Anatomy:
    """A heart's tables at end diastole, and how they change over the cycle."""

    def __init__(self, heart: Heart):
        self.heart = heart
        rng = np.random.default_rng(heart.seed)
        septum = 180 + heart.rotation
        towards_septum = np.exp(-0.5 * (_turn(septum) / 45) ** 2)
        flat = 1 - heart.flattening * np.exp(-0.5 * (_turn(septum) / 32) ** 2)
        form = _profile(_Q)[:, None] * flat * (1 + 0.05 * _ripple(rng, 2, 5))
        radius = (heart.edv_ml / _volume_ml(form, 0, heart.elongation)) ** (1 / 3)
        self.length = heart.elongation * radius
        self.endo = radius * form
        thickness = heart.wall_mm * (1 + (heart.septal_ratio - 1) * towards_septum) * (1 + 0.08 * _ripple(rng, 1, 5))
        if heart.infarct is not None:
            thickness = thickness * (1 + heart.infarct.swelling * np.clip(1.5 * self._inside(heart.infarct, 1.1), 0, 1))
        cap = 1 + 0.8 * heart.wall_mm / self.length
        outer = _profile(_Q / cap)[:, None] * (radius * flat + thickness)
        self.epi_radius_mm = float(outer.max())
        self.reach_mm = cap * self.length
        self.wall_area = np.maximum(outer**2 - self.endo**2, 0)
        half_angle = heart.rv_half_angle * (1 - 0.3 * np.clip(_Q, 0, 1))[:, None]
        across = np.clip(_turn(septum - 4)[None] / half_angle, -1, 1)
        along = np.clip(1 - (_Q / 0.93) ** 2.0, 0, None)[:, None] ** 0.6
        self.rv_form = (
            along * (1 - np.abs(across) ** 2.4) ** 0.85 * (1 - 0.25 * across) * (1 + 0.08 * _ripple(rng, 2, 6))
        )
        self.rv_form = np.maximum(self.rv_form, 0)
        self.still = np.zeros_like(self.endo)
        self.scar_depth = self.core_depth = self.edema_depth = np.zeros_like(self.endo)
        if heart.infarct is not None:
            self._place(heart.infarct, 0.12 * _ripple(rng, 2, 9))
        depth = heart.trabeculation * (0.3 + np.clip(_Q, 0, 1))[:, None]
        self.trabecula = depth * np.clip(_ripple(rng, 4, 16) - 0.1, 0, 1) * np.clip(0.6 + _ripple(rng, 1, 4), 0.2, 1)
        self.rv_trabecula = 1.5 * depth * np.clip(_ripple(rng, 6, 20), 0, 1)
        self.fat = heart.fat_mm * np.clip(0.6 + 0.5 * towards_septum + 0.6 * _ripple(rng, 1, 4), 0.1, None)
        self.papillary_angles = np.radians(heart.rotation + np.array([-45, 105]) + rng.uniform(-12, 12, 2))
        curve = [
            (0, 0),
            (heart.es_phase / 2, 0.6),
            (heart.es_phase, 1),
            (heart.es_phase + 0.2, 0.33),
            (0.85, 0.2),
            (1, 0),
        ]
        self.contraction = PchipInterpolator(*np.transpose(curve))
        self.width_mm = float(self.at(0).rv.max())

    def _inside(self, infarct: Infarct, factor: float) -> np.ndarray:
        """1 in an infarct's middle, 0 on its border, made larger by a factor; negative beyond."""
        across = _turn(infarct.angle + self.heart.rotation) / (infarct.half_width * factor)
        along = (_Q - infarct.level) / (infarct.half_length * factor)
        return 1 - across[None] ** 2 - along[:, None] ** 2

    def _place(self, infarct: Infarct, ripple: np.ndarray) -> None:
        """Depth, as a fraction of the wall, to which infarct, no-reflow core and edema reach."""
        margin = self._inside(infarct, 1) + ripple
        self.scar_depth = infarct.transmurality * np.clip(2.5 * margin, 0, 1) ** 0.5
        self.core_depth = infarct.no_reflow * self.scar_depth * np.clip(2 * (margin - 0.25), 0, 1) ** 0.5
        self.edema_depth = np.clip(2.5 * (self._inside(infarct, infarct.edema_margin) + ripple), 0, 1) ** 0.5
        self.still = infarct.akinesia * np.clip(1.5 * self._inside(infarct, 1.3), 0, 1)

    def at(self, phase: float) -> "Beat":
        """The heart at a part of the cycle, 0 (end diastole) to 1."""
        heart, amount = self.heart, float(self.contraction(phase % 1))
        length = self.length * (1 - 0.28 * heart.ef * amount)
        volume = heart.edv_ml * (1 - heart.ef * amount)
        moving = 1 - self.still

        def surplus(strain: float) -> float:
            return _volume_ml(self.endo * (1 - strain * moving), 0, length) - volume

        endo = self.endo * (1 - (brentq(surplus, -0.1, 0.95) if amount > 0 else 0.0) * moving)
        epi = np.sqrt(endo**2 + self.wall_area * self.length / length)
        rv_volume = heart.rv_edv_ml * (1 - heart.rv_ef * amount)
        width = brentq(lambda w: _volume_ml(epi + w * self.rv_form, epi, length) - rv_volume, 0, 200)
        twist = -np.radians(heart.twist) * amount
        return Beat(self, self.length - length, length, endo, epi, epi + width * self.rv_form, twist)


def _profile(q: np.ndarray) -> np.ndarray:
    """Radius along the long axis over its largest: a prolate body, cut off at the base, closed at q = 1."""
    narrowing = np.where(q < 0.3, 0.12 * (0.3 - q) / 0.3, 0)
    return (1 - narrowing**1.5) * np.sqrt(np.clip(1 - (np.clip(q - 0.3, 0, None) / 0.7) ** 2.3, 0, None))


def ring_of(table: np.ndarray, q: float) -> np.ndarray:
    """A table's values at one level, one a degree and the first again at the end, shape (361,) float32."""
    low = int(q / _DQ)
    share = q / _DQ - low
    mixed = table[low] * (1 - share) + table[min(low + 1, _Q.size - 1)] * share
    return np.append(mixed, mixed[0]).astype(np.float32)


class Points:
    """Points of a plane across the long axis: rows y and columns x (1-D, mm from the axis), as a grid (Y, X)."""

    def __init__(self, ys: np.ndarray, xs: np.ndarray):
        self.y, self.x = np.meshgrid(ys.astype(np.float32), xs.astype(np.float32), indexing="ij")
        self.radius = np.hypot(self.x, self.y)
        self.column = np.rint(np.degrees(np.arctan2(self.y, self.x)) % 360).astype(np.intp)


@dataclass(frozen=True)
class Beat:
    """A heart at one moment: where its base lies (mm), its cavity's length (mm) and its surfaces (tables, mm).

    `twist` is how far the apex is turned against the base, in radians.
    """

    anatomy: Anatomy
    base: float
    length: float
    endo: np.ndarray
    epi: np.ndarray
    rv: np.ndarray
    twist: float = 0.0

    def level(self, s: float) -> float:
        """Where a plane cuts the cavity, as a fraction of its length from the base."""
        return (s - self.base) / self.length

    def turn(self, q: float) -> float:
        """How far the wall at a level is turned since end diastole, in radians."""
        return self.twist * (q - LEVEL_AT_REST)

    def tissues(self, s: float, points: Points, role: Role) -> np.ndarray:
        """What lies in a plane across the long axis.

        Args:
            s: Where the plane cuts the long axis, in mm.
            points: Where to look in the plane.
            role: LGE shows infarct and no-reflow, T2 edema, cine neither.

        Returns:
            Tissue of every point, uint8, shape (Y, X); 0 where there is no heart.
        """
        q = self.level(s)
        result = np.zeros(points.radius.shape, np.uint8)
        if not 0 <= q < _Q[-1]:
            return result
        turn = self.turn(q)
        at_rest = (points.column - round(np.degrees(turn))) % 360 if turn else points.column

        def row(table: np.ndarray, columns: np.ndarray = points.column) -> np.ndarray:
            return ring_of(table, q)[columns]

        radius = points.radius
        endo, epi, rv = row(self.endo), row(self.epi), row(self.rv)
        if epi.max() <= 0.5:
            return result
        anatomy = self.anatomy
        wall = np.where(rv > epi + 1, _RV_WALL_MM, 0)
        result[radius < rv + wall + row(anatomy.fat)] = FAT
        result[radius < rv + wall] = RV_WALL
        in_rv = radius < rv
        result[in_rv] = Structure.RV
        rim = np.minimum(row(anatomy.rv_trabecula) * (rv - epi), _RV_TRABECULAE_MM)
        result[in_rv & (radius > rv - rim)] = RV_TRABECULA
        in_wall = radius < epi
        result[in_wall] = Structure.MYOCARDIUM
        depth = (radius - endo) / np.maximum(epi - endo, 1e-3)
        if role is Role.LGE:
            result[in_wall & (depth < row(anatomy.scar_depth))] = Structure.INFARCT
            result[in_wall & (depth > 0.1) & (depth - 0.1 < row(anatomy.core_depth))] = Structure.NO_REFLOW
        elif role is Role.T2:
            result[in_wall & (depth < row(anatomy.edema_depth))] = Structure.EDEMA
        in_lv = radius < endo
        result[in_lv] = Structure.LV
        result[in_lv & (radius > endo * (1 - row(anatomy.trabecula, at_rest)))] = PAPILLARY
        if 0.25 < q < 0.9:
            size = anatomy.heart.papillary_mm * min(1, 4 * (q - 0.25), 5 * (0.9 - q))
            for angle in anatomy.papillary_angles + turn:
                at = float(self.endo[int(q / _DQ), round(np.degrees(angle)) % 360]) - 0.8 * size
                near = np.hypot(points.x - at * np.cos(angle), points.y - at * np.sin(angle)) < size
                result[in_lv & near] = PAPILLARY
        return result
