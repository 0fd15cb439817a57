"""The steps of `measure`, one a series: each turns labels into parts of the result, reasons and flags."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from myoscope.errors import MeasurementError
from myoscope.labels import LV_WALL, Structure
from myoscope.measure.function import (
    Phases,
    find_phases,
    label_volume_ml,
    left_ventricle,
    lv_mass_g,
    mass_only,
    no_ventricle,
    right_ventricle,
)
from myoscope.measure.quality import label_flags, phase_flags, segment_flags
from myoscope.measure.results import T2, Flag, LeftVentricle, Lge, SliceWall, Ventricle
from myoscope.measure.scar import EDEMA, lge_extent, no_lge, no_t2, t2_extent
from myoscope.measure.segments import (
    NAMES,
    UPRIGHT_INSERTION,
    SegmentMap,
    WallScar,
    segment_map,
    segment_scar,
    segment_share,
    segment_thickness_mm,
)
from myoscope.measure.slices import ring_walls, slice_rows, wall_max_mm
from myoscope.measure.values import Value
from myoscope.study import Role, Study
from myoscope.volume import Spacing, Volume

NO_SYSTEM = {Role.T2: "no installed system segments edema yet"}
"""Why a series that is there may have no labels."""

Labels = Mapping[Role, Volume]


@dataclass(frozen=True)
class CineStep:
    """What the cine gives (without one: LV mass from a still bSSFP stack); thickness by segment in mm."""

    lv: tuple[LeftVentricle, dict[str, str]]
    rv: tuple[Ventricle, dict[str, str]]
    ed_mm: Mapping[int, Value]
    es_mm: Mapping[int, Value]
    slices: tuple[list[SliceWall], dict[str, str]]
    flags: list[Flag]


@dataclass(frozen=True)
class LgeStep:
    """What late enhancement gives."""

    lge: tuple[Lge, dict[str, str]]
    scar: Mapping[int, WallScar]
    flags: list[Flag]


@dataclass(frozen=True)
class T2Step:
    """What T2 gives, alone or together with LGE; edema by segment in per cent."""

    t2: tuple[T2, dict[str, str]]
    edema: Mapping[int, Value]
    flags: list[Flag]


def check_labels(study: Study, role: Role, labels: Volume) -> None:
    """Raise MeasurementError where labels do not belong to the series of a role."""
    series = study.get(role)
    if series is None:
        raise MeasurementError(f"study {study.id}: labels of a {role} series were given, but it has no such series")
    if not labels.same_grid(series.image) or len(labels.frames) != len(series.image.frames):
        raise MeasurementError(
            f"study {study.id}: expected {role} labels on the grid of {series.name}, "
            f"{series.image.voxels.shape}, found {labels.voxels.shape}; resample them onto the image's grid"
        )
    if not np.issubdtype(labels.voxels.dtype, np.integer):
        raise MeasurementError(f"study {study.id}: expected integer {role} labels, found {labels.voxels.dtype}")
    if labels.voxels.size and not 0 <= labels.voxels.min() <= labels.voxels.max() <= max(Structure):
        raise MeasurementError(
            f"study {study.id}: expected {role} label codes 0 to {max(Structure)}, "
            f"found {labels.voxels.min()} to {labels.voxels.max()}"
        )


def absent(study: Study, role: Role) -> str:
    """Why there are no labels of a role: no such series, or nobody segmented it."""
    name = role.upper() if role in (Role.LGE, Role.T2) else role
    if study.get(role) is None:
        return f"no {name} series"
    return f"{name} series not segmented" + (f": {NO_SYSTEM[role]}" if role in NO_SYSTEM else "")


def measure_cine(study: Study, labels: Labels, bsa_m2: Value, joint: Role | None) -> CineStep:
    """Ventricles and wall thickness from the cine's labels; without them, mass from a bSSFP stack's (or a joint map's).

    `joint` is the role of a joint map.
    """
    series = study.get(Role.CINE)
    if series is None or Role.CINE not in labels:
        return _without_cine(study, labels, bsa_m2, joint)
    frames, spacing_mm = labels[Role.CINE].frames, labels[Role.CINE].spacing_mm
    lv_ml = label_volume_ml(frames, [Structure.LV], spacing_mm)
    phases = find_phases(lv_ml, series.ed_frame, series.es_frame)
    ed_map, es_map = _phase_maps(frames, spacing_mm, phases, _upright(series.image))
    ed_mm, es_mm = (
        dict.fromkeys(NAMES, where) if isinstance(where, str) else segment_thickness_mm(where, spacing_mm)
        for where in (ed_map, es_map)
    )
    walls = {"ed": ring_walls(frames, spacing_mm, phases.ed), "es": ring_walls(frames, spacing_mm, phases.es)}
    shown = frames[list(phases.frames or range(len(frames)))[:2]]
    return CineStep(
        left_ventricle(
            frames,
            spacing_mm,
            phases,
            bsa_m2,
            patient_bpm=study.patient.heart_rate_bpm,
            frame_time_ms=series.image.frame_time_ms,
            wall_max_mm=wall_max_mm(walls["ed"]),
            wall_max_es_mm=wall_max_mm(walls["es"]),
        ),
        right_ventricle(frames, spacing_mm, phases, bsa_m2),
        ed_mm,
        es_mm,
        slice_rows(frames, spacing_mm, phases, walls),
        [
            *label_flags(Role.CINE, shown, spacing_mm),
            *phase_flags(Role.CINE, lv_ml, phases),
            *(segment_flags(Role.CINE, ed_map) if isinstance(ed_map, SegmentMap) else []),
            *_bssfp_flags(labels),
        ],
    )


def _without_cine(study: Study, labels: Labels, bsa_m2: Value, joint: Role | None) -> CineStep:
    reason = absent(study, Role.CINE)
    nothing: dict[int, Value] = dict.fromkeys(NAMES, reason)
    mass: Value = reason
    if volume := labels.get(Role.BSSFP) or (labels[joint] if joint and study.get(Role.BSSFP) else None):
        mass = lv_mass_g(volume.frames[:1], volume.spacing_mm, Phases(reason, reason))
    slices: tuple[list[SliceWall], dict[str, str]] = [], {"slices": reason}
    lv, rv = mass_only(mass, bsa_m2, reason), no_ventricle(reason)
    return CineStep(lv, rv, nothing, nothing, slices, _bssfp_flags(labels))


def _bssfp_flags(labels: Labels) -> list[Flag]:
    if Role.BSSFP not in labels:
        return []
    return label_flags(Role.BSSFP, labels[Role.BSSFP].frames[:1], labels[Role.BSSFP].spacing_mm)


def _upright(image: Volume) -> float | None:
    """Where segments start without an RV: by convention where the affine is trustworthy, else nowhere."""
    return UPRIGHT_INSERTION if image.is_oblique else None


def _phase_maps(
    frames: np.ndarray, spacing_mm: Spacing, phases: Phases, fallback: float | None
) -> tuple[SegmentMap | str, SegmentMap | str]:
    """Segments at end-diastole and end-systole, or why not; a phase without RV starts where the other one does."""
    if isinstance(phases.ed, str):
        es = phases.es if isinstance(phases.es, str) else segment_map(frames[phases.es], spacing_mm, fallback)
        return phases.ed, es
    ed = segment_map(frames[phases.ed], spacing_mm, fallback)
    if isinstance(phases.es, str):
        return ed, phases.es
    es = segment_map(frames[phases.es], spacing_mm, ed.insertion if ed.from_rv else fallback)
    if es.from_rv and not ed.from_rv:
        ed = segment_map(frames[phases.ed], spacing_mm, es.insertion)
    return ed, es


def measure_lge(study: Study, labels: Labels) -> LgeStep:
    """Scar, whole and by segment, from LGE labels."""
    if Role.LGE not in labels:
        reason = absent(study, Role.LGE)
        return LgeStep(no_lge(reason), dict.fromkeys(NAMES, WallScar(reason, reason)), [])
    frame, spacing_mm = labels[Role.LGE].frames[0], labels[Role.LGE].spacing_mm
    where = segment_map(frame, spacing_mm, _upright(labels[Role.LGE]))
    flags = label_flags(Role.LGE, frame[None], spacing_mm)
    if np.isin(frame, LV_WALL).any():
        flags += segment_flags(Role.LGE, where)
    return LgeStep(lge_extent(frame, spacing_mm), segment_scar(where, frame, spacing_mm), flags)


def measure_t2(study: Study, labels: Labels, joint: Role | None) -> T2Step:
    """Edema from T2 labels, or from a joint map: the one of role `joint`, or LGE labels in which edema is drawn."""
    role = Role.T2 if Role.T2 in labels else joint
    if role is None and Role.LGE in labels and (labels[Role.LGE].voxels == Structure.EDEMA).any():
        role = Role.LGE
    if role is None:
        reason = absent(study, Role.T2)
        return T2Step(no_t2(reason), dict.fromkeys(NAMES, reason), [])
    frame, spacing_mm = labels[role].frames[0], labels[role].spacing_mm
    where = segment_map(frame, spacing_mm, _upright(labels[role]))
    flags = label_flags(Role.T2, frame[None], spacing_mm) if role is Role.T2 else []
    with_lge = role is Role.LGE
    return T2Step(t2_extent(frame, spacing_mm, with_lge), segment_share(where, frame, EDEMA), flags)
