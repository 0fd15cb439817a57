"""From a study and its labels to measurements.

One way through: the heart is found once in each labelled frame (`anatomy`), values are read from it (`cine`, `lge`,
`t2`, `segments`, `slices`), and then the flags (`quality`).
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from myoscope.errors import MeasurementError
from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import UPRIGHT_INSERTION, Anatomy, find_anatomy, not_short_axis
from myoscope.measure.cine import CineAnatomy, CineValues, find_cine, measure_cine, without_cine
from myoscope.measure.contrast import contrast_flags
from myoscope.measure.fit import fit_flags
from myoscope.measure.function import DENSITY_G_ML, find_phases, label_volume_ml
from myoscope.measure.intervals import possible_grades, with_intervals
from myoscope.measure.lge import measure_lge
from myoscope.measure.maps import Wall, measure_maps
from myoscope.measure.quality import (
    base_flags,
    confidence_flags,
    label_flags,
    phase_flags,
    promised_flags,
    rate_flags,
    segment_flags,
    short_axis_flag,
    value_flags,
    voxel_flags,
)
from myoscope.measure.results import Diagnosis, Flag, Measurements, PatientFacts, Provenance, Quality
from myoscope.measure.segments import segment_rows
from myoscope.measure.t2 import T2Values, measure_t2
from myoscope.measure.values import Value
from myoscope.prediction import Prediction
from myoscope.study import MAPS, Role, Study
from myoscope.volume import Volume

__all__ = ["DENSITY_G_ML", "Anatomy", "find_anatomy", "find_phases", "label_volume_ml", "measure"]

NO_SYSTEM = {Role.T2: "no installed system segments edema yet"}
"""Why a series that is there may have no labels."""

JOINT_ROLES = (Role.LGE, Role.T2, Role.BSSFP)
"""What a joint map may speak for."""


def measure(
    study: Study,
    labels: Mapping[Role, Volume],
    provenance: Provenance,
    predictions: Mapping[Role, Prediction] | None = None,
    joint: Role | None = None,
) -> Measurements:
    """Measure everything that the labels of a study allow; the diagnosis is left empty.

    Args:
        study: The study.
        labels: For each role that was segmented, `Structure` codes on the grid of that role's series.
        provenance: What made the labels; passed through.
        predictions: Where a network drew the labels: what it says of how good they are.
        joint: The role whose labels are a joint map: of LGE, T2 and bSSFP, as far as the study has them.

    Returns:
        Measurements; what is None has its reason in `quality.missing`. Labels without any heart, and labels that do
        not look like a short axis, give reasons and a flag, no error.

    Raises:
        MeasurementError: labels of a role that the study lacks, on another grid, or with unknown codes.
    """
    predictions = predictions or {}
    for role, volume in labels.items():
        check_labels(study, role, volume)
    facts = _facts(study)
    bsa_m2: Value = facts.bsa_m2 or "height or weight unknown"
    hearts = _hearts(study, labels, joint)
    cine = _cine(study, hearts, bsa_m2)
    enhanced = study.get(Role.LGE)
    late = measure_lge(hearts.still(study, Role.LGE), enhanced.image.frames[0] if enhanced else None)
    t2 = _t2(study, hearts)
    grades = possible_grades(predictions.get(Role.LGE))
    segments, segments_missing = segment_rows(cine.ed_mm, cine.es_mm, cine.thickening, late.scar, t2.edema, grades)
    walls = {role: Wall(labels[role], hearts.stills[role]) for role in (*JOINT_ROLES, *MAPS) if role in hearts.stills}
    maps, maps_missing = measure_maps(study, walls)
    edema_from = hearts.joint or (Role.T2 if Role.T2 in predictions else Role.LGE)
    drawn = {"lv": Role.CINE, "rv": Role.CINE, "lge": Role.LGE, "t2": edema_from}
    lv, rv, lge, edema = (
        with_intervals(part, *found, predictions.get(drawn[part]))
        for part, found in {"lv": cine.lv, "rv": cine.rv, "lge": late.lge, "t2": t2.t2}.items()
    )
    values = {"lv": lv, "rv": rv, "lge": lge, "t2": edema}
    missing = {f"{part}.{name}": why for part, (_, reasons) in values.items() for name, why in reasons.items()}
    if isinstance(bsa_m2, str):
        missing |= dict.fromkeys(("patient.bsa_m2", "patient.bsa_dubois_m2"), bsa_m2)
    flags = [
        *(Flag(code=n.code, level=n.level, series=n.role, message=n.message) for n in study.notes),
        *(flag for series in study.series for flag in voxel_flags(series)),
        *_heart_flags(study, hearts),
        *contrast_flags(hearts.stills.get(Role.LGE), enhanced.image.frames[0] if enhanced else None),
        *(flag for role, found in predictions.items() for flag in confidence_flags(role, found)),
        *base_flags(cine.counted.base),
        *value_flags(facts, cine.lv[0], cine.rv[0], late.lge[0], segments),
    ]
    flags += promised_flags(flags)
    return Measurements(
        patient=facts,
        lv=lv[0],
        rv=rv[0],
        lge=lge[0],
        t2=edema[0],
        segments=segments,
        slices=cine.slices[0],
        slice_volumes=cine.counted.slices,
        base_choices=cine.counted.base,
        maps=maps,
        diagnosis=Diagnosis(),
        quality=Quality(
            flags=flags,
            missing=missing | segments_missing | cine.slices[1] | cine.counted.missing | maps_missing,
            confidence={
                str(role): {structure.name.lower(): share for structure, share in found.right.items()}
                for role, found in predictions.items()
                if found.right
            },
        ),
        provenance=provenance,
    )


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


@dataclass(frozen=True)
class _Hearts:
    """The heart in every labelled series: `stills` by role, `joint` the role of a joint map among them.

    `refused` has the series that are labelled and not measured, with the reason.
    """

    cine: CineAnatomy | None
    stills: Mapping[Role, Anatomy]
    joint: Role | None
    refused: Mapping[Role, str]

    def still(self, study: Study, role: Role) -> Anatomy | str:
        """The heart in a series of one frame, or why there is none."""
        return self.stills.get(role) or self.absent(study, role)

    def absent(self, study: Study, role: Role) -> str:
        """Why there are no labels to measure: no such series, nobody segmented it, or it is no short axis."""
        name = role.upper() if role in (Role.LGE, Role.T2) else role
        if study.get(role) is None:
            return f"no {name} series"
        if role in self.refused:
            return self.refused[role]
        return f"{name} series not segmented" + (f": {NO_SYSTEM[role]}" if role in NO_SYSTEM else "")


def _hearts(study: Study, labels: Mapping[Role, Volume], joint: Role | None) -> _Hearts:
    """Find the heart in every labelled series, and set those aside that are no short axis."""
    cine, stills = None, dict[Role, Anatomy]()
    refused: dict[Role, str] = {}
    for role, volume in labels.items():
        upright = UPRIGHT_INSERTION if volume.is_oblique else None  # else the affine is made up
        series = study.get(role)
        if role is Role.CINE and series is not None:
            cine = find_cine(series, volume, upright)
            why = not_short_axis(cine.shown)
        else:
            stills[role] = find_anatomy(volume.frames[0], volume.spacing_mm, upright)
            why = not_short_axis([stills[role]])
        if why:
            spoken_for = [r for r in JOINT_ROLES if study.get(r)] if role is joint else [role]
            refused |= dict.fromkeys(spoken_for, why)
    return _Hearts(
        None if Role.CINE in refused else cine,
        {role: heart for role, heart in stills.items() if role not in refused},
        None if joint in refused else joint,
        refused,
    )


def _cine(study: Study, hearts: _Hearts, bsa_m2: Value) -> CineValues:
    series = study.get(Role.CINE)
    if hearts.cine and series:
        return measure_cine(hearts.cine, series.image, bsa_m2, study.patient.heart_rate_bpm)
    still = hearts.stills.get(Role.BSSFP)
    if still is None and hearts.joint and study.get(Role.BSSFP):
        still = hearts.stills[hearts.joint]
    return without_cine(hearts.absent(study, Role.CINE), still, bsa_m2)


def _t2(study: Study, hearts: _Hearts) -> T2Values:
    """Edema from T2 labels, or from a joint map, or from LGE labels in which edema is drawn."""
    late = hearts.stills.get(Role.LGE)
    role = Role.T2 if Role.T2 in hearts.stills else hearts.joint
    if role is None and late and (late.labels == Structure.EDEMA).any():
        role = Role.LGE
    return measure_t2(hearts.still(study, role or Role.T2), with_lge=role is Role.LGE)


def _heart_flags(study: Study, hearts: _Hearts) -> list[Flag]:
    """Flags on what was found in the labels of each series."""
    flags = []
    if (cine := hearts.cine) and (series := study.get(Role.CINE)):
        flags += [
            *label_flags(Role.CINE, cine.shown, cine.shown_phases),
            *phase_flags(Role.CINE, cine.lv_ml, cine.phases),
            *rate_flags(series, study.patient),
            *fit_flags(Role.CINE, cine.shown, series.image, cine.shown_frames),
        ]
        flags += [] if isinstance(cine.ed, str) else segment_flags(Role.CINE, cine.ed)
    for role in (Role.BSSFP, Role.LGE, Role.T2):
        if (heart := hearts.stills.get(role)) and (series := study.get(role)):
            flags += [*label_flags(role, [heart]), *fit_flags(role, [heart], series.image, [0])]
            if role is Role.LGE and np.isin(heart.labels, LV_WALL).any():
                flags += segment_flags(role, heart)
    return flags + [short_axis_flag(role, why) for role, why in hearts.refused.items()]


def _facts(study: Study) -> PatientFacts:
    patient = study.patient
    return PatientFacts(
        study_id=study.id,
        sex=patient.sex,
        age_years=patient.age_years,
        height_cm=patient.height_cm,
        weight_kg=patient.weight_kg,
        heart_rate_bpm=patient.heart_rate_bpm,
        hematocrit=patient.hematocrit,
        bsa_m2=patient.bsa_m2 or None,
        bsa_dubois_m2=patient.bsa_dubois_m2 or None,
        clinical=dict(patient.clinical),
    )


class _Callable(ModuleType):
    """`myoscope.measure` is this package, and can be called (as `myoscope.cohort`)."""

    def __call__(self, study: Any, labels: Any, before: Any = None, codes: str | None = None, **options: Any) -> Any:
        """See `myoscope.correction.measure`."""
        from myoscope.correction import measure

        return measure(study, labels, before, codes, **options)


sys.modules[__name__].__class__ = _Callable
