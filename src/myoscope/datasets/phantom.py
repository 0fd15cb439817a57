"""A synthetic cardiac MR study, drawn from a seed: cine, LGE and T2 with labels that are exact by construction.

`sample` draws every random parameter from a `PhantomSettings`; `draw` turns parameters into a `Case`. Equal parameters
give equal arrays, whichever roles are drawn. Distances are in mm, volumes in ml, signals relative to about 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from myoscope.datasets.phantom_chest import Chest, ChestPainter, SmoothNoise
from myoscope.datasets.phantom_heart import LABEL_OF_TISSUE, Heart, Infarct, Points
from myoscope.datasets.phantom_motion import WallTexture
from myoscope.datasets.phantom_settings import (
    KEPT_ASIDE,
    MOVING,
    ROLES,
    TRAINING,
    Look,
    PhantomSettings,
    Range,
    Shape,
)
from myoscope.errors import InputError
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.volume import Volume

__all__ = [
    "KEPT_ASIDE",
    "MOVING",
    "ROLES",
    "TRAINING",
    "Look",
    "PhantomParameters",
    "PhantomSettings",
    "Scan",
    "Shape",
    "draw",
    "phantom_case",
    "sample",
]

_IN_PLANE, _PLANES = 2, 3
"""Samples a voxel: 2 x 2 in its plane, in each of 3 planes through its thickness."""

_THICKNESS = 0.8
"""Slice thickness as a fraction of the distance between slices; the rest is gap."""

_HEART_MARGIN_MM = 15.0
_FULL_SCALE = 800.0
_TERRITORIES = ((235.0, 0.65), (115.0, 0.4), (20.0, 0.45))
"""LAD, RCA, LCX: centre of what each feeds (angle in degrees, level as a fraction of the cavity's length)."""


@dataclass(frozen=True)
class Scan:
    """Parameters of one series.

    `shape` is (Y, X), `centre` where the heart's axis meets a slice (row, column), `planes_mm` where each slice cuts
    that axis (base 0, apex positive), `shifts_mm` each slice's (y, x) shift, `gains` each slice's factor.
    """

    spacing_mm: float
    slice_mm: float
    shape: tuple[int, int]
    centre: tuple[float, float]
    planes_mm: tuple[float, ...]
    shifts_mm: tuple[Range, ...]
    gains: tuple[float, ...]
    signal: Mapping[str, float]
    noise: float
    shading: float
    offset: float
    blur: float
    phase: float
    seed: int


@dataclass(frozen=True)
class PhantomParameters:
    """Everything that `draw` needs. `axes` has the slices' x, y and the apex-to-base direction as columns (RAS+)."""

    id: str
    group: str
    patient: Patient
    heart: Heart
    chest: Chest
    axes: np.ndarray
    origin_mm: np.ndarray
    scans: Mapping[Role, Scan]


def sample(seed: int, settings: PhantomSettings = TRAINING, group: str | None = None) -> PhantomParameters:
    """Parameters of one study.

    Args:
        seed: Not negative; equal seeds give equal studies.
        settings: What to draw from.
        group: One of `settings.shapes`; None draws one.

    Raises:
        InputError: a negative seed or an unknown group.
    """
    if seed < 0:
        raise InputError(f"expected a seed of 0 or more, found {seed}")
    if group is not None and group not in settings.shapes:
        raise InputError(f"expected a group of {sorted(settings.shapes)}, found {group!r}")
    rng = np.random.default_rng(seed)
    drawn = str(rng.choice(sorted(settings.shapes)))
    group = group or drawn
    moving = np.random.default_rng((seed, 1))  # of its own: what `rng` draws stays the same
    twist, texture = (float(moving.uniform(*pair)) for pair in (settings.twist, settings.texture))
    heart = replace(_sample_heart(rng, settings, settings.shapes[group]), twist=twist, texture=texture)
    chest = _sample_chest(rng, settings, heart)
    towards_apex = _unit(np.array([-0.65, 0.55, -0.5]) + rng.uniform(-0.12, 0.12, 3))
    x = np.array([-0.62, -0.75, 0.15]) + rng.uniform(-0.12, 0.12, 3)
    x = _unit(x - x @ towards_apex * towards_apex)
    axes = np.column_stack([x, np.cross(-towards_apex, x), -towards_apex])
    origin = np.array([-25.0, 0.0, 10.0]) + rng.uniform(-15, 15, 3)
    apex_first = bool(rng.random() < settings.apex_first_probability)
    scans = {r: _sample_scan(rng, settings, settings.looks[r], heart.anatomy.reach_mm, apex_first) for r in ROLES}
    return PhantomParameters(f"phantom-{seed}", group, _sample_patient(rng), heart, chest, axes, origin, scans)


def draw(parameters: PhantomParameters, roles: Sequence[Role] = ROLES, frames: int = 20) -> Case:
    """The study that the parameters describe.

    Args:
        parameters: From `sample`.
        roles: Which series to draw; the others are left out and cost nothing.
        frames: Frames of the cine, evenly over the cycle from end diastole; 2 gives end diastole and end systole.

    Returns:
        A Case. Images are (T, Z, Y, X) for cine, else (Z, Y, X), float32, about 0 to 1000; labels hold
        `Structure` codes on the same grid, uint8. A voxel's label is what fills most of it.

    Raises:
        InputError: frames is below 1, or a role is none of `ROLES`.
    """
    if frames < 1 or not set(roles) <= set(ROLES):
        raise InputError(
            f"expected 1 frame or more and roles of {[*map(str, ROLES)]}, found {frames}, {[*map(str, roles)]}"
        )
    heart, rate = parameters.heart, parameters.patient.heart_rate_bpm or 60.0
    series, labels = [], {}
    for role in dict.fromkeys(roles):
        scan, time_ms = parameters.scans[role], None
        phases = [scan.phase]
        if role is Role.CINE:
            phases = [0.0, heart.es_phase] if frames == 2 else [i / frames for i in range(frames)]
            time_ms = 60000 / rate / frames if frames > 2 else None
        voxels, codes = _paint(parameters, role, phases)
        if role is not Role.CINE:
            voxels, codes = voxels[0], codes[0]
        image = Volume(voxels, _affine(parameters, scan), time_ms)
        series.append(Series(role, str(role), image))
        labels[role] = image.with_voxels(codes)
    study = Study(parameters.id, parameters.patient, tuple(series))
    return Case(study, labels, parameters.group, parameters.id)


def phantom_case(seed: int, settings: PhantomSettings = TRAINING, frames: int = 20) -> Case:
    """A whole synthetic study: `draw(sample(seed, settings), frames=frames)`."""
    return draw(sample(seed, settings), frames=frames)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _sample_patient(rng: np.random.Generator) -> Patient:
    male = bool(rng.random() < 0.6)
    height = round(float(np.clip(rng.normal(176 if male else 163, 7), 145, 200)))
    weight = round(float(np.clip(rng.normal(26, 4), 18, 40)) * (height / 100) ** 2)
    age, rate = int(rng.integers(22, 82)), int(rng.integers(52, 98))
    return Patient("M" if male else "F", float(age), float(height), float(weight), float(rate))


def _sample_heart(rng: np.random.Generator, settings: PhantomSettings, shape: Shape) -> Heart:
    def one(pair: Range) -> float:
        return float(rng.uniform(*pair))

    angle, level = _TERRITORIES[rng.integers(len(_TERRITORIES))]
    infarct = Infarct(
        angle=angle + one((-15, 15)),
        half_width=one(settings.infarct_half_width),
        level=level + one((-0.1, 0.15)),
        half_length=one(settings.infarct_half_length),
        transmurality=one(settings.transmurality),
        no_reflow=one(settings.no_reflow) * float(rng.random() < settings.no_reflow_probability),
        edema_margin=one(settings.edema_margin),
        akinesia=one(settings.akinesia),
        swelling=one(settings.swelling),
    )
    return Heart(
        edv_ml=one(shape.edv_ml),
        ef=one(shape.ef),
        wall_mm=one(shape.wall_mm),
        elongation=one(settings.elongation),
        septal_ratio=one(shape.septal_ratio),
        flattening=one(shape.flattening),
        rv_edv_ml=one(shape.rv_edv_ml),
        rv_ef=one(shape.rv_ef),
        rv_half_angle=one((48, 76)),
        rotation=one(settings.rotation),
        papillary_mm=one(settings.papillary_mm),
        trabeculation=one(settings.trabeculation),
        fat_mm=one(settings.epicardial_fat_mm),
        es_phase=one(settings.es_phase),
        seed=int(rng.integers(2**32)),
        infarct=infarct if rng.random() < shape.infarct else None,
    )


def _sample_chest(rng: np.random.Generator, settings: PhantomSettings, heart: Heart) -> Chest:
    outer, fat, muscle = heart.anatomy.epi_radius_mm, rng.uniform(*settings.chest_fat_mm), rng.uniform(6, 14)
    half_x, half_y = rng.uniform(125, 170), rng.uniform(145, 195)
    wall_mm = heart.anatomy.width_mm + fat + muscle + rng.uniform(-6, 12)
    return Chest(
        centre=(float(half_x - wall_mm), float(rng.uniform(10, 40))),
        half_size=(float(half_x), float(half_y)),
        fat_mm=float(fat),
        muscle_mm=float(muscle),
        diaphragm_mm=float(outer * rng.uniform(0.65, 1.0)),
        heart_mm=outer,
        seed=int(rng.integers(2**32)),
    )


def _sample_scan(
    rng: np.random.Generator, settings: PhantomSettings, look: Look, reach_mm: float, apex_first: bool
) -> Scan:
    def one(pair: Range) -> float:
        return float(rng.uniform(*pair))

    spacing, slice_mm, side = one(look.spacing_mm), one(look.slice_mm), one(look.field_mm)
    sides = np.array([side, side * one(settings.aspect)])
    if rng.random() < 0.5:
        sides = sides[::-1]
    shape = np.rint(sides / spacing).astype(int)
    room = np.minimum(settings.position_mm, 0.5 * sides[:, None] - 85)
    centre = (shape - 1) / 2 + [rng.uniform(min(r[0], r[1]), r[1]) / spacing for r in room]
    planes = np.arange(
        -one(settings.extra_basal) * slice_mm, reach_mm + one(settings.extra_apical) * slice_mm, slice_mm
    )
    shifts = rng.normal(0, one(settings.shift_mm), (planes.size, 2))
    gains = np.exp(rng.normal(0, one(settings.slice_gain), planes.size))
    tissues = ("blood", "myocardium", "fat", "lung", "muscle", "liver", "organ", "infarct", "edema")
    signal = {name: one(getattr(look, name)) for name in tissues}
    signal["rv"] = signal["blood"] * one((0.65, 1.05))
    signal["no_reflow"] = signal["myocardium"] * one((0.6, 1.3))
    offset = one(look.offset) * float(rng.random() < look.offset_probability)
    return Scan(
        spacing_mm=spacing,
        slice_mm=slice_mm,
        shape=(int(shape[0]), int(shape[1])),
        centre=(float(centre[0]), float(centre[1])),
        planes_mm=tuple(planes[::-1].tolist() if apex_first else planes.tolist()),
        shifts_mm=tuple((float(y), float(x)) for y, x in shifts),
        gains=tuple(gains.tolist()),
        signal=signal,
        noise=one(look.noise),
        shading=one(settings.shading),
        offset=offset,
        blur=one(settings.blur),
        phase=one(look.phase),
        seed=int(rng.integers(2**32)),
    )


def _affine(parameters: PhantomParameters, scan: Scan) -> np.ndarray:
    x, y, towards_base = parameters.axes.T
    affine = np.eye(4)
    step = scan.planes_mm[0] - scan.planes_mm[1]
    affine[:3, :3] = np.column_stack([x * scan.spacing_mm, y * scan.spacing_mm, towards_base * step])
    row, column = scan.centre
    affine[:3, 3] = parameters.origin_mm + towards_base * -scan.planes_mm[0]
    affine[:3, 3] -= affine[:3, 0] * column + affine[:3, 1] * row
    return affine


def _paint(parameters: PhantomParameters, role: Role, phases: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of one series, each (T, Z, Y, X)."""
    scan, anatomy = parameters.scans[role], parameters.heart.anatomy
    rng = np.random.default_rng(scan.seed)
    painter = ChestPainter(parameters.chest, scan.signal)
    shading, unevenness = SmoothNoise(rng, 110), SmoothNoise(rng, 10)
    beats = [anatomy.at(phase) for phase in phases]
    reach = anatomy.width_mm + _HEART_MARGIN_MM
    signal = _signal_of_tissue(scan.signal)
    texture = WallTexture(parameters.heart, _IN_PLANE) if parameters.heart.texture else None
    image = np.empty((len(beats), len(scan.planes_mm), *scan.shape), np.float32)
    labels = np.zeros(image.shape, np.uint8)
    through = scan.slice_mm * _THICKNESS * (np.arange(_PLANES) - (_PLANES - 1) / 2) / _PLANES
    for z, (plane, shift) in enumerate(zip(scan.planes_mm, scan.shifts_mm, strict=True)):
        ys, xs = (
            (np.arange(n) - c) * scan.spacing_mm - d for n, c, d in zip(scan.shape, scan.centre, shift, strict=True)
        )
        image[:, z] = painter.paint(plane, ys, xs)
        rows, columns = (slice(*np.searchsorted(v, [-reach, reach])) for v in (ys, xs))
        points = Points(_finer(ys[rows], scan.spacing_mm), _finer(xs[columns], scan.spacing_mm))
        for t, beat in enumerate(beats):
            tissues = np.stack([beat.tissues(s, points, role) for s in plane + through])
            found = np.flatnonzero(np.bincount(tissues.ravel()))
            shares = np.stack([_share(tissues == tissue) for tissue in found])
            here = image[t, z, rows, columns]
            image[t, z, rows, columns] = np.tensordot(signal[found], shares, 1) + here * (shares[0] * (found[0] == 0))
            if texture:
                image[t, z, rows, columns] += scan.signal["myocardium"] * texture(
                    beat, plane + through, points, tissues
                )
            codes = np.unique(LABEL_OF_TISSUE[found])
            filled = [shares[LABEL_OF_TISSUE[found] == code].sum(0) for code in codes]
            labels[t, z, rows, columns] = codes[np.argmax(filled, axis=0)]
        image[:, z] *= np.exp(scan.shading * 0.6 * shading(plane, ys, xs) + 0.07 * unevenness(plane, ys, xs))
    noise = scan.noise * rng.standard_normal((2, *image.shape), np.float32)
    image = np.hypot(image + scan.offset + noise[0], noise[1])
    image = gaussian_filter(image, (0, 0, scan.blur, scan.blur))
    gains = np.array(scan.gains, np.float32)[:, None, None]
    return np.rint(image * gains * np.float32(_FULL_SCALE / (1 + scan.offset))), labels


def _signal_of_tissue(signal: Mapping[str, float]) -> np.ndarray:
    """Signal of every tissue of `phantom_heart`: none, `Structure`'s codes, then those beyond."""
    wall, blood, rv = signal["myocardium"], signal["blood"], signal["rv"]
    known = [0.0, blood, wall, signal["infarct"], signal["no_reflow"], signal["edema"], rv]
    return np.array([*known, 0.7 * wall + 0.3 * blood, 0.5 * (wall + rv), wall, 0.8 * signal["fat"]], np.float32)


def _finer(mm: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Sample places within every voxel along one axis, shape (n * _IN_PLANE,)."""
    within = (np.arange(_IN_PLANE) - (_IN_PLANE - 1) / 2) / _IN_PLANE * spacing_mm
    return (mm[:, None] + within).ravel()


def _share(samples: np.ndarray) -> np.ndarray:
    """Fraction of each voxel's samples that are true, (planes, Y * n, X * n) to (Y, X), float32."""
    count = samples.sum(0, dtype=np.uint8)
    offsets = [(i, j) for i in range(_IN_PLANE) for j in range(_IN_PLANE)]
    return sum(count[i::_IN_PLANE, j::_IN_PLANE] for i, j in offsets) / np.float32(len(offsets) * len(samples))
