"""Volumes, ejection fraction, mass and output of the ventricles, by summation of discs.

Conventions: papillary muscles and trabeculae count as blood where the labels draw them so (ACDC's convention);
both ventricles are measured in the frames of the left ventricle's end-diastole and end-systole.

Source: Schulz-Menger et al. 2020, SCMR post-processing, doi:10.1186/s12968-020-00610-6.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from myoscope.errors import MeasurementError
from myoscope.labels import LV_WALL, Structure
from myoscope.measure.results import LeftVentricle, Ventricle
from myoscope.measure.values import Value, derive, split
from myoscope.volume import Spacing

DENSITY_G_ML = 1.05
"""Density of myocardium, in g/ml."""

CURVE_FRAMES = 3
"""A volume curve is reported from this many frames on."""

CYCLE_FRAMES = 8
"""From this many frames on, a cine is taken for a whole cardiac cycle."""

HEART_RATE_BOUNDS_BPM = (30.0, 200.0)
"""Heart rates outside are not believed when they are derived from a cine's duration."""


@dataclass(frozen=True)
class Phases:
    """Frame of end-diastole and of end-systole (from 0), or the reason why it is not known."""

    ed: int | str
    es: int | str

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames that are known, end-diastole first."""
        return tuple(frame for frame in (self.ed, self.es) if isinstance(frame, int))


def label_volume_ml(labels: np.ndarray, structures: Collection[Structure], spacing_mm: Spacing) -> np.ndarray:
    """Volume of one or more structures together in every frame, by summation of discs.

    Args:
        labels: Label map, integer, shape (T, Z, Y, X).
        structures: What to measure.
        spacing_mm: Distance between voxel centres along (Z, Y, X), in mm; Z is slice thickness plus gap.

    Returns:
        Volume in ml, shape (T,), float64. Absent structures give 0.0.

    Raises:
        MeasurementError: labels is not a 4-D integer array, or a spacing is not positive and finite.

    Source:
        Schulz-Menger et al. 2020, SCMR post-processing, doi:10.1186/s12968-020-00610-6.

    >>> label_volume_ml(np.ones((1, 2, 5, 5), np.uint8), [Structure.LV], (10.0, 2.0, 1.0)).tolist()
    [1.0]
    """
    if labels.ndim != 4 or not np.issubdtype(labels.dtype, np.integer):
        raise MeasurementError(f"expected integer labels (T, Z, Y, X), found {labels.dtype} of shape {labels.shape}")
    if not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise MeasurementError(f"expected positive voxel spacing, found {spacing_mm} mm (Z, Y, X)")
    voxels = np.isin(labels, [int(s) for s in structures]).sum(axis=(1, 2, 3))
    return voxels * (float(np.prod(spacing_mm)) / 1000)


def circular_median(curve: np.ndarray) -> np.ndarray:
    """Median of each frame and its two neighbours, the last frame being the first's neighbour; shape (T,).

    >>> circular_median(np.array([9.0, 8.0, 1.0, 6.0, 5.0])).tolist()
    [8.0, 8.0, 6.0, 5.0, 6.0]
    """
    return np.median([np.roll(curve, 1), curve, np.roll(curve, -1)], axis=0)


def find_phases(lv_ml: np.ndarray, ed_frame: int | None = None, es_frame: int | None = None) -> Phases:
    """End-diastole and end-systole: the frames given, else where the LV's cavity is largest and smallest.

    Frames without any cavity are failures of segmentation and never chosen. From 8 frames on the choice is made
    on a circular median over 3 frames, so that one bad frame does not win (among equals, on the volume itself);
    volumes are reported as they are.

    Args:
        lv_ml: Volume of the LV cavity, shape (T,), in ml.
        ed_frame: End-diastole where the study says it, from 0.
        es_frame: End-systole where the study says it, from 0.

    Raises:
        MeasurementError: a given frame does not exist.

    >>> find_phases(np.array([120.0, 70.0, 50.0, 80.0]))
    Phases(ed=0, es=2)
    """
    for name, frame in (("end-diastole", ed_frame), ("end-systole", es_frame)):
        if frame is not None and not 0 <= frame < len(lv_ml):
            raise MeasurementError(f"expected {name} among frames 0 to {len(lv_ml) - 1}, found {frame}")
    if not lv_ml.any():
        return Phases("no left ventricle in the labels", "no left ventricle in the labels")
    if len(lv_ml) == 1:
        reason = "one frame only, of unknown phase" if ed_frame is None and es_frame is None else "one frame only"
        if ed_frame is not None and es_frame is not None:
            return Phases(ed_frame, reason)
        return Phases(reason if ed_frame is None else ed_frame, reason if es_frame is None else es_frame)
    curve = circular_median(lv_ml) if len(lv_ml) >= CYCLE_FRAMES else lv_ml
    usable = np.flatnonzero((lv_ml > 0) & (curve > 0))
    usable = usable if len(usable) else np.flatnonzero(lv_ml)
    by_size = usable[np.lexsort((lv_ml[usable], curve[usable]))]
    ed = int(by_size[-1]) if ed_frame is None else ed_frame
    es = int(by_size[0]) if es_frame is None else es_frame
    if ed == es:
        return Phases(ed, f"end-systole and end-diastole fall on the same frame ({ed})")
    return Phases(ed, es)


def volume_at(curve_ml: np.ndarray, frame: int | str, chamber: str) -> Value:
    """Volume at a frame in ml, or why there is none: no such phase, or nothing labelled there.

    >>> volume_at(np.array([0.0, 5.0]), 0, "left ventricle")
    'no left ventricle in the labels of frame 0'
    """
    if isinstance(frame, str):
        return frame
    return float(curve_ml[frame]) or f"no {chamber} in the labels of frame {frame}"


def heart_rate_bpm(patient_bpm: float | None, frames: int, frame_time_ms: float | None) -> Value:
    """Heart rate: the patient's, else that of a whole cine of one beat, frames x frame time.

    >>> heart_rate_bpm(None, 25, 40.0)
    60.0
    """
    if patient_bpm is not None:
        return patient_bpm
    if frame_time_ms is None or frame_time_ms <= 0 or frames < CYCLE_FRAMES:
        return "heart rate unknown"
    rate = 60000 / (frames * frame_time_ms)
    low, high = HEART_RATE_BOUNDS_BPM
    return rate if low <= rate <= high else f"heart rate unknown: the cine's duration would make it {rate:.0f}/min"


def chamber_values(edv: Value, esv: Value, bsa_m2: Value) -> dict[str, Value]:
    """Stroke volume, ejection fraction and indices from two volumes in ml and the body surface area in m2.

    >>> chamber_values(100.0, 40.0, 2.0)["ejection_fraction_percent"]
    60.0
    """
    sv = derive(lambda d, s: d - s, edv, esv)
    return {
        "edv_ml": edv,
        "esv_ml": esv,
        "sv_ml": sv,
        "ejection_fraction_percent": derive(lambda v, d: 100 * v / d, sv, edv),
        "edv_index_ml_m2": derive(lambda v, b: v / b, edv, bsa_m2),
        "esv_index_ml_m2": derive(lambda v, b: v / b, esv, bsa_m2),
        "sv_index_ml_m2": derive(lambda v, b: v / b, sv, bsa_m2),
    }


def lv_mass_g(labels: np.ndarray, spacing_mm: Spacing, phases: Phases) -> Value:
    """LV mass in g: myocardium at end-diastole (or in the only frame) x 1.05 g/ml; labels (T, Z, Y, X)."""
    frame = 0 if len(labels) == 1 else phases.ed
    if isinstance(frame, str):
        return frame
    return derive(
        lambda ml: ml * DENSITY_G_ML,
        volume_at(label_volume_ml(labels, LV_WALL, spacing_mm), frame, "LV myocardium"),
    )


def _ratios(labels: np.ndarray, spacing_mm: Spacing, phases: Phases, edv: Value, esv: Value) -> dict[str, Value]:
    """Volume of the LV's myocardium, and ratios of volumes, at end-diastole and end-systole."""
    rv_ml, wall_ml = (label_volume_ml(labels, part, spacing_mm) for part in ([Structure.RV], LV_WALL))
    values: dict[str, Value] = {}
    for phase, frame, lv in (("ed", phases.ed, edv), ("es", phases.es, esv)):
        wall, rv = volume_at(wall_ml, frame, "LV myocardium"), volume_at(rv_ml, frame, "right ventricle")
        values[f"myocardium_{phase}_ml"] = wall
        values[f"{phase}v_to_rv_ratio"] = derive(lambda a, b: a / b, lv, rv)
        values[f"myocardium_to_{phase}v_ratio"] = derive(lambda a, b: a / b, wall, lv)
    return values


def _curve(curve_ml: np.ndarray, chamber: str) -> tuple[list[float] | None, dict[str, str]]:
    if len(curve_ml) < CURVE_FRAMES:
        return None, {"volume_curve_ml": f"fewer than {CURVE_FRAMES} frames"}
    if not curve_ml.any():
        return None, {"volume_curve_ml": f"no {chamber} in the labels"}
    return curve_ml.tolist(), {}


def left_ventricle(
    labels: np.ndarray,
    spacing_mm: Spacing,
    phases: Phases,
    bsa_m2: Value,
    patient_bpm: float | None = None,
    frame_time_ms: float | None = None,
    wall_max_mm: Value = "wall thickness not measured",
    wall_max_es_mm: Value = "wall thickness not measured",
) -> tuple[LeftVentricle, dict[str, str]]:
    """Left ventricle from a cine's labels (T, Z, Y, X).

    Returns:
        The measurements, and for every one that is None the reason, by field name.
    """
    lv_ml = label_volume_ml(labels, [Structure.LV], spacing_mm)
    edv, esv = (volume_at(lv_ml, frame, "left ventricle") for frame in (phases.ed, phases.es))
    values = chamber_values(edv, esv, bsa_m2)
    rate = heart_rate_bpm(patient_bpm, len(labels), frame_time_ms)
    values["mass_g"] = lv_mass_g(labels, spacing_mm, phases)
    values["mass_index_g_m2"] = derive(lambda m, b: m / b, values["mass_g"], bsa_m2)
    values["cardiac_output_l_min"] = derive(lambda v, r: v * r / 1000, values["sv_ml"], rate)
    values["cardiac_index_l_min_m2"] = derive(lambda o, b: o / b, values["cardiac_output_l_min"], bsa_m2)
    values |= {"wall_thickness_max_mm": wall_max_mm, "wall_thickness_max_es_mm": wall_max_es_mm}
    values |= _ratios(labels, spacing_mm, phases, edv, esv)
    values["frame_time_ms"] = frame_time_ms or "frame time unknown"
    numbers, reasons = split(values)
    frames = {"ed_frame": phases.ed, "es_frame": phases.es}
    curve, curve_reasons = _curve(lv_ml, "left ventricle")
    known = {name: frame for name, frame in frames.items() if isinstance(frame, int)}
    lv = LeftVentricle.model_validate({**numbers, **known, "volume_curve_ml": curve})
    return lv, reasons | {k: f for k, f in frames.items() if isinstance(f, str)} | curve_reasons


def right_ventricle(
    labels: np.ndarray, spacing_mm: Spacing, phases: Phases, bsa_m2: Value
) -> tuple[Ventricle, dict[str, str]]:
    """Right ventricle from a cine's labels (T, Z, Y, X), in the LV's phases; returns as `left_ventricle`."""
    rv_ml = label_volume_ml(labels, [Structure.RV], spacing_mm)
    edv, esv = (volume_at(rv_ml, frame, "right ventricle") for frame in (phases.ed, phases.es))
    numbers, reasons = split(chamber_values(edv, esv, bsa_m2))
    curve, curve_reasons = _curve(rv_ml, "right ventricle")
    return Ventricle(**numbers, volume_curve_ml=curve), reasons | curve_reasons


def no_ventricle(reason: str) -> tuple[Ventricle, dict[str, str]]:
    """A right ventricle of which nothing is measured, for one reason."""
    return Ventricle(), dict.fromkeys(Ventricle.model_fields, reason)


def mass_only(mass_g: Value, bsa_m2: Value, reason: str) -> tuple[LeftVentricle, dict[str, str]]:
    """A left ventricle without a cine: its mass at most (from a still bSSFP stack), for the rest one reason."""
    index = derive(lambda m, b: m / b, mass_g, bsa_m2)
    numbers, reasons = split({"mass_g": mass_g, "mass_index_g_m2": index})
    rest = {name: reason for name in LeftVentricle.model_fields if name not in ("mass_g", "mass_index_g_m2")}
    return LeftVentricle.model_validate(numbers), rest | reasons
