"""The numbers beside the images: measured after every stroke, from how many voxels each structure has in each frame.

The same functions as the report's (`measure.function`, `.lge`, `.t2`), without what needs the wall's shape. What is no
short axis is refused as in the report, for the same reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from myoscope.correction import PARTS
from myoscope.labels import LV_WALL, Structure
from myoscope.measure import JOINT_ROLES
from myoscope.measure.anatomy import Anatomy, not_short_axis
from myoscope.measure.function import DENSITY_G_ML, Phases, chamber_values, find_phases, volume_at
from myoscope.measure.lge import lge_extent
from myoscope.measure.results import Measurements
from myoscope.measure.t2 import t2_extent
from myoscope.measure.values import Value, derive
from myoscope.measure.wall import Ring, find_ring
from myoscope.study import Role, Study
from myoscope.volume import Spacing

SHOWN = (
    ("lv.ejection_fraction_percent", "LV EF", "%"),
    ("lv.edv_ml", "LV EDV", "ml"),
    ("lv.esv_ml", "LV ESV", "ml"),
    ("lv.sv_ml", "LV SV", "ml"),
    ("lv.mass_g", "LV mass", "g"),
    ("rv.ejection_fraction_percent", "RV EF", "%"),
    ("rv.edv_ml", "RV EDV", "ml"),
    ("rv.esv_ml", "RV ESV", "ml"),
    ("lge.infarct_percent", "Infarct", "%"),
    ("lge.infarct_g", "Infarct", "g"),
    ("lge.no_reflow_percent", "No-reflow", "%"),
    ("lge.myocardium_g", "LV mass on LGE", "g"),
    ("t2.edema_percent", "Edema", "%"),
    ("t2.edema_g", "Edema", "g"),
)
"""Name in `measurements.json`, what it is called, unit."""

Numbers = dict[str, float | None]


@dataclass(frozen=True)
class Now:
    """What is shown: numbers (None where there is none), reasons for those of a refused stack, and the phases.

    `curves` has the volume in every frame of `lv` and `rv`, in ml.
    """

    numbers: Numbers
    reasons: dict[str, str]
    phases: Phases
    curves: dict[str, list[float]]


@dataclass
class Rings:
    """The LV's ring in every plane that was looked at, kept until a stroke changes the plane."""

    known: dict[tuple[Role, int, int], Ring | None] = field(default_factory=dict)

    def heart(self, role: Role, t: int, labels: np.ndarray, spacing_mm: Spacing) -> Anatomy:
        """The heart in a frame (Z, Y, X), as far as `not_short_axis` asks."""
        for z, plane in enumerate(labels):
            if (role, t, z) not in self.known:
                self.known[role, t, z] = find_ring(plane, spacing_mm[1:])
        rings = {z: ring for z in range(len(labels)) if (ring := self.known[role, t, z])}
        return Anatomy(labels, spacing_mm, rings, 0.0, None, from_rv=False)


def count_voxels(codes: np.ndarray) -> np.ndarray:
    """Voxels of each structure in each frame: (T, 7), from labels (T, Z, Y, X)."""
    return np.stack([np.bincount(frame.ravel(), minlength=len(Structure)) for frame in codes])


def numbers_before(measurements: Measurements) -> Numbers:
    """What an earlier analysis measured, of what is shown."""
    return {name: getattr(getattr(measurements, name.split(".")[0]), name.split(".")[1]) for name, _, _ in SHOWN}


def measure_now(
    study: Study,
    labels: Mapping[Role, np.ndarray],
    counts: Mapping[Role, np.ndarray],
    rings: Rings,
    by_hand: Mapping[str, int],
    joint: Role | None,
) -> Now:
    """Measure what is shown.

    Args:
        study: The images.
        labels: `Structure` codes (T, Z, Y, X) by role.
        counts: `count_voxels` of each.
        rings: Of these labels.
        by_hand: `ed_frame` and `es_frame`, as far as a person chose them.
        joint: The role of a joint map.
    """
    values: dict[str, Value] = {}
    phases, curves = Phases("no cine", "no cine"), dict[str, list[float]]()
    cine = study.get(Role.CINE)
    if cine and Role.CINE in labels:
        lv_ml = counts[Role.CINE][:, Structure.LV] * cine.image.voxel_ml
        phases = find_phases(
            lv_ml, **{name: by_hand.get(name, getattr(cine, name)) for name in ("ed_frame", "es_frame")}
        )
    refused = _refused(study, labels, rings, phases, joint)
    measured = {role: codes for role, codes in labels.items() if role not in refused}
    if cine and Role.CINE in measured:
        volumes = counts[Role.CINE] * cine.image.voxel_ml
        lv_ml, rv_ml, wall_ml = volumes[:, Structure.LV], volumes[:, Structure.RV], volumes[:, LV_WALL].sum(1)
        for part, curve_ml in (("lv", lv_ml), ("rv", rv_ml)):
            edv, esv = (volume_at(curve_ml, frame, part) for frame in (phases.ed, phases.es))
            values |= {f"{part}.{name}": value for name, value in chamber_values(edv, esv, "not shown").items()}
        mass_frame = 0 if len(wall_ml) == 1 else phases.ed
        values["lv.mass_g"] = derive(lambda ml: ml * DENSITY_G_ML, volume_at(wall_ml, mass_frame, "LV myocardium"))
        curves = {"lv": lv_ml.tolist(), "rv": rv_ml.tolist()}
    found: Numbers = {name: value if isinstance(value, float) else None for name, value in values.items()}
    if Role.LGE in measured:
        lge, _ = lge_extent(labels[Role.LGE][0], _spacing(study, Role.LGE))
        found |= {f"lge.{name}": value for name, value in lge.model_dump().items()}
    drawn = Role.LGE in measured and bool(counts[Role.LGE][:, Structure.EDEMA].any())
    edema = Role.T2 if Role.T2 in measured else joint if joint in measured else Role.LGE if drawn else None
    if edema:
        t2, _ = t2_extent(labels[edema][0], _spacing(study, edema), edema is Role.LGE)
        found |= {f"t2.{name}": value for name, value in t2.model_dump().items()}
    numbers = {name: found.get(name) for name, _, _ in SHOWN}
    why = {name: refused.get(PARTS[name.split(".")[0]]) for name, value in numbers.items() if value is None}
    return Now(numbers, {name: reason for name, reason in why.items() if reason}, phases, curves)


def _refused(
    study: Study, labels: Mapping[Role, np.ndarray], rings: Rings, phases: Phases, joint: Role | None
) -> dict[Role, str]:
    """Why nothing is measured in a series, as `measure` has it."""
    found: dict[Role, str] = {}
    for role, codes in labels.items():
        frames = (phases.frames or tuple(range(len(codes))[:2])) if role is Role.CINE else (0,)
        hearts = [rings.heart(role, t, codes[t], _spacing(study, role)) for t in frames]
        if why := not_short_axis(hearts):
            found |= dict.fromkeys([r for r in JOINT_ROLES if study.get(r)] if role is joint else [role], why)
    return found


def _spacing(study: Study, role: Role) -> Spacing:
    series = study.get(role)
    assert series is not None
    return series.image.spacing_mm
