"""The numbers beside the images: measured after every stroke, from how many voxels each structure has in each frame.

The same functions as the report's (`measure.function`, `.lge`, `.t2`), without what needs the wall's shape.
"""

from collections.abc import Mapping

import numpy as np

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.function import DENSITY_G_ML, Phases, chamber_values, find_phases, volume_at
from myoscope.measure.lge import lge_extent
from myoscope.measure.results import Measurements
from myoscope.measure.t2 import t2_extent
from myoscope.measure.values import Value, derive
from myoscope.study import Role, Study

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
    by_hand: Mapping[str, int],
    joint: Role | None,
) -> tuple[Numbers, Phases, dict[str, list[float]]]:
    """Measure what is shown.

    Args:
        study: The images.
        labels: `Structure` codes (T, Z, Y, X) by role.
        counts: `count_voxels` of each.
        by_hand: `ed_frame` and `es_frame`, as far as a person chose them.
        joint: The role of a joint map.

    Returns:
        The numbers (None where there is none), the frames of end-diastole and end-systole, and the volume in every
        frame of `lv` and `rv`, in ml.
    """
    values: dict[str, Value] = {}
    phases, curves = Phases("no cine", "no cine"), dict[str, list[float]]()
    cine = study.get(Role.CINE)
    if cine and Role.CINE in labels:
        volumes = counts[Role.CINE] * cine.image.voxel_ml
        lv_ml, rv_ml, wall_ml = volumes[:, Structure.LV], volumes[:, Structure.RV], volumes[:, LV_WALL].sum(1)
        frames = {name: by_hand.get(name, getattr(cine, name)) for name in ("ed_frame", "es_frame")}
        phases = find_phases(lv_ml, **frames)
        for part, curve_ml in (("lv", lv_ml), ("rv", rv_ml)):
            edv, esv = (volume_at(curve_ml, frame, part) for frame in (phases.ed, phases.es))
            values |= {f"{part}.{name}": value for name, value in chamber_values(edv, esv, "not shown").items()}
        mass_frame = 0 if len(wall_ml) == 1 else phases.ed
        values["lv.mass_g"] = derive(lambda ml: ml * DENSITY_G_ML, volume_at(wall_ml, mass_frame, "LV myocardium"))
        curves = {"lv": lv_ml.tolist(), "rv": rv_ml.tolist()}
    found: Numbers = {name: value if isinstance(value, float) else None for name, value in values.items()}
    if Role.LGE in labels:
        lge, _ = lge_extent(labels[Role.LGE][0], _spacing(study, Role.LGE))
        found |= {f"lge.{name}": value for name, value in lge.model_dump().items()}
    drawn = Role.LGE in labels and bool(counts[Role.LGE][:, Structure.EDEMA].any())
    edema = Role.T2 if Role.T2 in labels else joint if joint in labels else Role.LGE if drawn else None
    if edema:
        t2, _ = t2_extent(labels[edema][0], _spacing(study, edema), edema is Role.LGE)
        found |= {f"t2.{name}": value for name, value in t2.model_dump().items()}
    return {name: found.get(name) for name, _, _ in SHOWN}, phases, curves


def _spacing(study: Study, role: Role) -> tuple[float, float, float]:
    series = study.get(role)
    assert series is not None
    return series.image.spacing_mm
