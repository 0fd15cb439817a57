"""From a study and its labels to measurements."""

from collections.abc import Mapping

from myoscope.measure.function import DENSITY_G_ML, find_phases, label_volume_ml
from myoscope.measure.quality import confidence_flags, value_flags, voxel_flags
from myoscope.measure.results import Diagnosis, Flag, Measurements, PatientFacts, Provenance, Quality
from myoscope.measure.segments import SegmentMap, segment_map, segment_rows
from myoscope.measure.steps import check_labels, measure_cine, measure_lge, measure_t2
from myoscope.measure.values import Value
from myoscope.prediction import Prediction
from myoscope.study import Role, Study
from myoscope.volume import Volume

__all__ = ["DENSITY_G_ML", "SegmentMap", "find_phases", "label_volume_ml", "measure", "segment_map"]


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
        Measurements; what is None has its reason in `quality.missing`. Labels without any heart give reasons and a
        flag, no error.

    Raises:
        MeasurementError: labels of a role that the study lacks, on another grid, or with unknown codes.
    """
    predictions = predictions or {}
    for role, volume in labels.items():
        check_labels(study, role, volume)
    facts = _facts(study)
    bsa_m2: Value = facts.bsa_m2 or "height or weight unknown"
    cine, late = measure_cine(study, labels, bsa_m2, joint), measure_lge(study, labels)
    t2 = measure_t2(study, labels, joint)
    segments, segments_missing = segment_rows(cine.ed_mm, cine.es_mm, late.scar, t2.edema)
    values = {"lv": cine.lv, "rv": cine.rv, "lge": late.lge, "t2": t2.t2}
    missing = {f"{part}.{name}": why for part, (_, reasons) in values.items() for name, why in reasons.items()}
    if isinstance(bsa_m2, str):
        missing |= dict.fromkeys(("patient.bsa_m2", "patient.bsa_dubois_m2"), bsa_m2)
    noted = [Flag(code=n.code, level=n.level, series=n.role, message=n.message) for n in study.notes]
    filled = [flag for series in study.series for flag in voxel_flags(series)]
    unsure = [flag for role, found in predictions.items() for flag in confidence_flags(role, found)]
    flags = value_flags(facts, cine.lv[0], cine.rv[0], late.lge[0], segments)
    return Measurements(
        patient=facts,
        lv=cine.lv[0],
        rv=cine.rv[0],
        lge=late.lge[0],
        t2=t2.t2[0],
        segments=segments,
        slices=cine.slices[0],
        diagnosis=Diagnosis(),
        quality=Quality(
            flags=[*noted, *filled, *cine.flags, *late.flags, *t2.flags, *unsure, *flags],
            missing=missing | segments_missing | cine.slices[1],
            confidence={
                str(role): {structure.name.lower(): share for structure, share in found.right.items()}
                for role, found in predictions.items()
                if found.right
            },
        ),
        provenance=provenance,
    )


def _facts(study: Study) -> PatientFacts:
    patient = study.patient
    return PatientFacts(
        study_id=study.id,
        sex=patient.sex,
        age_years=patient.age_years,
        height_cm=patient.height_cm,
        weight_kg=patient.weight_kg,
        heart_rate_bpm=patient.heart_rate_bpm,
        bsa_m2=patient.bsa_m2 or None,
        bsa_dubois_m2=patient.bsa_dubois_m2 or None,
        clinical=dict(patient.clinical),
    )
