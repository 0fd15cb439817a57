"""Papillary muscles and trabeculae counted as myocardium, where the labels draw them as blood.

Inside the LV's cavity, pixels darker than midway between the median signal of blood and that of the wall in the same
slice are muscle. The outermost pixel all round is left out: there blood and wall share pixels, whatever lies beside.
Signal is looked at slice by slice, since a coil's light fades. The threshold is our own. On experts' contours of 25
patients of ACDC it moves 11 % (SD 3) of the wall's mass in healthy hearts and 11 % (SD 2) in hypertrophic ones; traced
by hand these muscles add 9.5 and 8.7 % (without and with hypertrophy; Gommans et al. 2016,
doi:10.1007/s12471-016-0805-y). With the outermost pixel it would be 21 %.

Everything else (wall thickness, segments, diagnosis, intervals) rests on contours with these muscles in the blood.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import Anatomy
from myoscope.measure.cine import find_cine
from myoscope.measure.counted import Counted, count, no_count
from myoscope.measure.function import Phases, left_ventricle
from myoscope.measure.quality import base_flags, value_flags
from myoscope.measure.results import LeftVentricle, Measurements
from myoscope.measure.values import Value
from myoscope.study import Role, Study
from myoscope.volume import Volume

CONTRAST_SD = 2.0
"""Blood and wall are told apart where their medians lie more than so many standard deviations of the wall apart."""

UNTOLD_SHARE = 0.1
"""A phase is not measured where slices without that contrast hold more than this share of the cavity."""

NO_CINE = "papillary muscles are told from blood in a cine alone"
UNTOLD = "papillary muscles cannot be told from blood"
NO_INTERVAL = "no interval: errors are known for papillary muscles in the blood pool alone"

FIELDS = (
    *("edv_ml", "esv_ml", "sv_ml", "ejection_fraction_percent", "edv_index_ml_m2", "esv_index_ml_m2", "sv_index_ml_m2"),
    *("volume_curve_ml", "mass_g", "mass_index_g_m2", "cardiac_output_l_min", "cardiac_index_l_min_m2"),
    *("myocardium_ed_ml", "myocardium_es_ml", "edv_to_rv_ratio", "esv_to_rv_ratio"),
    *("myocardium_to_edv_ratio", "myocardium_to_esv_ratio"),
)
"""What of the LV hangs on papillary muscles."""

CONVENTION = (
    "Papillary muscles and trabeculae of the LV count as myocardium in its volumes and mass{much}: pixels of the "
    "cavity, but for the outermost, that are darker than midway between blood and wall in their slice. The label maps "
    "draw them as blood; wall thickness, the RV, late enhancement and the proposed diagnosis rest on these."
)


def muscle_inside(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Papillary muscles and trabeculae in one frame.

    Args:
        image: Signal (Z, Y, X).
        labels: `Structure` codes, same shape.

    Returns:
        Where they are, bool, same shape; and the share of the cavity that lies in slices without contrast.
    """
    muscle, untold = np.zeros(labels.shape, bool), 0
    for z in np.flatnonzero((labels == Structure.LV).any(axis=(1, 2))):
        cavity, wall = labels[z] == Structure.LV, np.isin(labels[z], LV_WALL)
        blood, tissue = image[z][cavity], image[z][wall]
        if not tissue.size or not np.median(blood) - np.median(tissue) > CONTRAST_SD * tissue.std():
            untold += int(cavity.sum())
            continue
        midway = (np.median(blood) + np.median(tissue)) / 2
        muscle[z] = ndimage.binary_erosion(cavity) & (image[z] < midway)
    return muscle, untold / max(int((labels == Structure.LV).sum()), 1)


def count_as_muscle(measurements: Measurements, study: Study, labels: Mapping[Role, Volume]) -> Measurements:
    """Measurements with the LV's papillary muscles in its mass instead of its volumes."""
    series, drawn = study.get(Role.CINE), labels.get(Role.CINE)
    if series is None or drawn is None or measurements.lv.ed_frame is None:
        return _changed(measurements, LeftVentricle(), NO_CINE, no_count(NO_CINE))
    cine = find_cine(series, drawn, None)
    found = [muscle_inside(image, codes) for image, codes in zip(series.image.frames, drawn.frames, strict=True)]
    frames = np.where([muscle for muscle, _ in found], np.uint8(Structure.MYOCARDIUM), drawn.frames)
    ed, es = (
        _told(heart, frame, frames, [share for _, share in found])
        for heart, frame in ((cine.ed, cine.phases.ed), (cine.es, cine.phases.es))
    )
    bsa_m2: Value = measurements.patient.bsa_m2 or "height or weight unknown"
    lv, reasons = left_ventricle(
        frames,
        drawn.spacing_mm,
        Phases(ed if isinstance(ed, str) else cine.phases.ed, es if isinstance(es, str) else cine.phases.es),
        bsa_m2,
        patient_bpm=study.patient.heart_rate_bpm,
        frame_time_ms=series.image.frame_time_ms,
    )
    if lv.volume_curve_ml and (untold := sum(share > UNTOLD_SHARE for _, share in found)):
        lv = lv.model_copy(update={"volume_curve_ml": None})
        reasons |= {"volume_curve_ml": f"{UNTOLD} in {untold} of {len(found)} frames"}
    return _changed(measurements, lv, reasons, count(ed, es))


def _told(heart: Anatomy | str, frame: int | str, frames: np.ndarray, shares: list[float]) -> Anatomy | str:
    """The heart in a phase with its muscles counted, or why they cannot be told from blood."""
    if isinstance(heart, str) or isinstance(frame, str):
        return str(frame)
    if shares[frame] > UNTOLD_SHARE:
        where = f"{100 * shares[frame]:.0f} % of the cavity lies in slices where it is hardly brighter than the wall"
        return f"{UNTOLD}: {where}"
    return replace(heart, labels=frames[frame])


def _changed(
    measurements: Measurements, lv: LeftVentricle, reasons: Mapping[str, str] | str, counted: Counted
) -> Measurements:
    """Measurements with other volumes and another mass of the LV, their flags, reasons and convention."""
    old, before = measurements.lv, measurements.quality
    new = {name: getattr(lv, name) for name in FIELDS}
    intervals = [name for name in (f"{field}_interval" for field in FIELDS) if name in LeftVentricle.model_fields]
    lv = old.model_copy(update=new | dict.fromkeys(intervals))
    why = dict.fromkeys(FIELDS, reasons) if isinstance(reasons, str) else reasons
    missing = {k: v for k, v in before.missing.items() if k.partition(".")[0] not in ("slice_volumes", "base_choices")}
    missing |= counted.missing
    for name in FIELDS:
        missing.pop(f"lv.{name}", None)
        if new[name] is None:
            missing[f"lv.{name}"] = why.get(name, "not measured")
    for name in intervals:
        value = name.removesuffix("_interval")
        missing[f"lv.{name}"] = NO_INTERVAL if new[value] is not None else why.get(value, "not measured")
    parts = (measurements.rv, measurements.lge, measurements.segments)
    gone = [*value_flags(measurements.patient, old, *parts), *base_flags(measurements.base_choices)]
    flags = [flag for flag in before.flags if flag not in gone]
    flags += [*base_flags(counted.base), *value_flags(measurements.patient, lv, *parts)]
    provenance = measurements.provenance
    much = f" ({lv.mass_g - old.mass_g:.0f} g at end-diastole)" if lv.mass_g and old.mass_g else ""
    conventions = [*provenance.conventions, CONVENTION.format(much=much)]
    return measurements.model_copy(
        update={
            "lv": lv,
            "slice_volumes": counted.slices,
            "base_choices": counted.base,
            "quality": before.model_copy(update={"flags": flags, "missing": missing}),
            "provenance": provenance.model_copy(update={"papillary": "muscle", "conventions": conventions}),
        }
    )
