"""What a reader must know before trusting a number: flags on label maps and on values.

Bounds are engineering limits, wide on purpose: outside of them a measurement is more likely wrong than the patient
unusual. They are no reference ranges.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import Anatomy, base_slope
from myoscope.measure.counted import MATTERS_PERCENT, BaseChoice
from myoscope.measure.function import CYCLE_FRAMES, Phases, circular_median, heart_rate_bpm
from myoscope.measure.results import Flag, LeftVentricle, Lge, PatientFacts, Segment, Ventricle
from myoscope.measure.torn import torn_flags
from myoscope.prediction import Prediction
from myoscope.study import Patient, Series

MIN_LV_SLICES = 5
"""Fewer slices with LV than this do not cover a ventricle."""

STACK_END_SHARE = {"apex": 0.5, "base": 0.99}
"""A stack perhaps stops short where its end slice still shows this share of the largest area within the epicardium."""

WIDE_END_SHARE = 0.7
"""An apical end slice with this share of the largest area lies in the middle of a heart: a part of it is missing.

Some MyoPS stacks of few slices end so (docs/results/flags.md).
"""

OPEN_RINGS = 2
"""So many slices of outflow tract are usual; more open rings are worth a warning."""

HEART_MM = {"long": (15.0, 150.0), "wide": (20.0, 130.0)}
"""An LV's length along the slices and width within the epicardium; of 180 experts' labels 36 to 110 and 52 to 95 mm."""

SV_GAP_PERCENT, SV_WIDE_GAP_PERCENT = 20.0, 65.0
"""Stroke volumes of the ventricles should not differ by more than this share of the larger.

They do in 39 of 75 patients' expert contours (ACDC), for the base of the RV is drawn as one sees it: information, and
a warning only beyond the wide gap, which 3 of them have (docs/results/flags.md).
"""

BMI_KG_M2 = (9.0, 50.0)
"""Height and weight that give a body mass index outside are likely of another unit, or exchanged."""

OPEN_CYCLE_SHARE, OPEN_CYCLE_STEPS = 0.5, 1.5
"""From the last frame to the first the LV's volume changes by no more than this share of its range, or by no more than
so many times the largest other step, where a cine shows the whole cycle."""

UNEVEN_SHARE = 0.15
"""A frame's volume is out of line when it is this share of the largest away from the median with its neighbours."""


UNSURE_SHARE = 0.4
"""Below this probability of a voxel being right, a structure is flagged."""

STRUCTURE_WORDS = {"lv": "LV cavity", "rv": "RV cavity", "myocardium": "LV myocardium", "no_reflow": "no-reflow"}
"""Structures in words, where their name in lower case is none."""


class Bound(NamedTuple):
    """What a value is called, its limits, and its unit."""

    title: str
    low: float
    high: float
    unit: str


BOUNDS = {
    "patient.bsa_m2": Bound("Body surface area", 1.2, 3.0, "m2"),
    "patient.heart_rate_bpm": Bound("Heart rate", 30, 200, "/min"),
    "lv.edv_ml": Bound("LV end-diastolic volume", 40, 500, "ml"),
    "lv.ejection_fraction_percent": Bound("LV ejection fraction", 5, 85, "%"),
    "lv.mass_g": Bound("LV mass", 30, 450, "g"),
    "lv.wall_thickness_max_mm": Bound("Largest end-diastolic wall thickness", 2, 35, "mm"),
    "rv.edv_ml": Bound("RV end-diastolic volume", 40, 500, "ml"),
    "rv.ejection_fraction_percent": Bound("RV ejection fraction", 5, 85, "%"),
    "lge.myocardium_g": Bound("LV myocardium on LGE", 30, 450, "g"),
}
"""Limits of what is believable, after engineering judgement; not reference ranges."""

_HEART = (Structure.LV, *LV_WALL, Structure.RV)


def label_flags(series: str, hearts: Sequence[Anatomy], phases: Sequence[str] = ("",)) -> list[Flag]:
    """Flags on the label maps of one series: the frames that were measured.

    Args:
        series: Role of the series, as it stands in the flags.
        hearts: The heart in each of these frames.
        phases: What each of them shows: "ed", "es", or "" where nobody knows.
    """
    frames = np.stack([heart.labels for heart in hearts])
    lv = np.isin(frames, [Structure.LV, *LV_WALL])
    if not lv.any():
        return [_flag("heart_not_found", "error", series, "No left ventricle was found in this series: 0 voxels.")]
    return [
        *_edge(series, frames),
        *_slices(series, hearts[0] if lv[0].any() else hearts[-1]),
        *_size(series, hearts[0] if lv[0].any() else hearts[-1]),
        *torn_flags(series, hearts, phases),
        *_open_rings(series, hearts[0]),
    ]


def voxel_flags(series: Series) -> list[Flag]:
    """Flags on an image with voxels that hold no number, or whose header contradicts itself."""
    warned = dict.fromkeys(one for grid in series.files for one in grid.warned)
    flags = [_flag(code, "warning", series.role, message) for code, message in warned]
    filled = sum(grid.filled for grid in series.files)
    share = 100 * filled / series.image.voxels.size
    message = f"{filled} voxels ({share:.2g} %) of the file hold no number; they count as 0."
    return flags + ([_flag("voxels_without_value", "warning", series.role, message)] if filled else [])


def confidence_flags(series: str, prediction: Prediction) -> list[Flag]:
    """Flags on structures that the network is not sure of, and on slices unlike those that it was trained on."""
    flags = []
    for structure, share in prediction.right.items():
        if share < UNSURE_SHARE:
            name = structure.name.lower()
            words = STRUCTURE_WORDS.get(name, name)
            message = f"The network is not sure of the {words}: about {100 * share:.0f} % of it is right."
            flags.append(_flag(f"unsure_{name}", "warning", series, message))
    unusual: np.ndarray = np.greater(prediction.distances, prediction.unusual_distance)
    if prediction.mostly_unusual:
        message = "These images look unlike those that the network was trained on; look at every contour."
        flags.append(_flag("unusual_series", "warning", series, message))
    elif unusual.any():
        places = np.atleast_1d(unusual.any(axis=0))
        from_base = places[::-1] if base_slope(prediction.labels.frames[0]) > 0 else places
        where = ", ".join(str(z + 1) for z in np.flatnonzero(from_base))
        message = f"Unlike the images that the network was trained on: slice {where}, counted from the base."
        flags.append(_flag("unusual_slices", "info", series, message))
    return flags


def _flag(code: str, level: Literal["info", "warning", "error"], series: str | None, message: str) -> Flag:
    return Flag(code=code, level=level, series=series, message=message)


def _edge(series: str, frames: np.ndarray) -> list[Flag]:
    heart = np.isin(frames, _HEART).any(axis=0)
    border = np.ones(heart.shape[1:], bool)
    border[1:-1, 1:-1] = False
    cut = int((heart & border).any(axis=(1, 2)).sum())
    if not cut:
        return []
    return [_flag("cut_at_edge", "warning", series, f"The heart touches the edge of the image in {_n(cut, 'slice')}.")]


def _n(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _slices(series: str, heart: Anatomy) -> list[Flag]:
    """Flags on a stack's extent, from one frame: too few slices, ends of the stack."""
    labels, slope = heart.labels, heart.slope
    area = np.isin(labels, [Structure.LV, *LV_WALL]).sum(axis=(1, 2))
    seen = np.flatnonzero(area)
    flags = []
    if len(seen) < MIN_LV_SLICES:
        message = f"The left ventricle shows in {_n(len(seen), 'slice')} only; volumes and mass cover a part of it."
        flags.append(_flag("few_slices", "warning", series, message))
    if slope and len(labels) > 1:
        ends = {"base": -1, "apex": 0} if slope > 0 else {"base": 0, "apex": -1}
        for name, end in ends.items():
            if (share := area[end] / area.max()) >= STACK_END_SHARE[name]:
                message = (
                    f"The stack may not reach beyond the {name}: "
                    f"its last slice there shows {100 * share:.0f} % of the largest LV area."
                )
                wide = bool(name == "apex" and share >= WIDE_END_SHARE)
                message += " Volumes and mass are of a part of the heart." * wide
                flags.append(_flag(f"stack_ends_at_{name}", "warning" if wide else "info", series, message))
        tip = int(seen[0] if slope > 0 else seen[-1])
        if tip != ends["apex"] % len(labels) and (share := area[tip] / area.max()) >= STACK_END_SHARE["apex"]:
            message = (
                f"The left ventricle ends where it still has {100 * share:.0f} % of its largest area, though slices "
                "follow towards the apex: some may not be labelled, and volumes and mass be too small."
            )
            flags.append(_flag("apex_not_labelled", "warning", series, message))
    return flags


def promised_flags(flags: Sequence[Flag]) -> list[Flag]:
    """A warning where a header promises images behind a stack's last one, and the heart reaches the stack's end."""
    found = []
    for promise in (flag for flag in flags if flag.code == "images_promised"):
        own = [flag.code for flag in flags if flag.series == promise.series]
        for end in ("base", "apex"):
            if f"stack_ends_at_{end}" in own:
                message = (
                    f"A header promises images behind the last one, and the heart reaches the stack's {end}: slices "
                    "may be missing there, and volumes be too small; send it again."
                )
                found.append(_flag("images_missing", "warning", promise.series, message))
    return found


def _size(series: str, heart: Anatomy) -> list[Flag]:
    """A flag on a heart of a size that none has: what the header says of voxels is wrong, or the segmentation."""
    apart_mm, row_mm, column_mm = heart.spacing_mm
    area = np.isin(heart.labels, [Structure.LV, *LV_WALL]).sum(axis=(1, 2))
    seen = np.flatnonzero(area)
    wide_mm = 2 * float(np.sqrt(area.max() * row_mm * column_mm / np.pi))
    found = {"long": float(seen[-1] - seen[0] + 1) * apart_mm, "wide": wide_mm}
    odd = [f"{mm:.0f} mm {way}" for way, mm in found.items() if not HEART_MM[way][0] <= mm <= HEART_MM[way][1]]
    if not odd or (len(seen) == 1 and "wide" not in odd[0]):
        return []
    limits = " and ".join(f"{low:g} to {high:g} mm {way}" for way, (low, high) in HEART_MM.items())
    message = (
        f"The left ventricle is {' and '.join(odd)}, which no heart is ({limits}): check the spacing in the header, "
        "and the contours."
    )
    return [_flag("heart_size", "warning", series, message)]


def _open_rings(series: str, heart: Anatomy) -> list[Flag]:
    cavities = (heart.labels == Structure.LV).any(axis=(1, 2))
    opened = [z for z in np.flatnonzero(cavities) if z not in heart.full]
    if not opened:
        return []
    between = [z for z in opened if heart.full and min(heart.full) < z < max(heart.full)]
    level: Literal["info", "warning"] = "warning" if between or len(opened) > OPEN_RINGS else "info"
    inside = f", {len(between)} of them between full rings" if between else ""
    message = (
        f"Myocardium does not go all round the cavity in {_n(len(opened), 'slice')}{inside}; segments leave them out."
    )
    return [_flag("open_ring", level, series, message)]


def phase_flags(series: str, lv_ml: np.ndarray, phases: Phases) -> list[Flag]:
    """Flags on the choice of end-diastole and end-systole, from the LV's volume in every frame, shape (T,), in ml."""
    flags = []
    if isinstance(phases.ed, int) and isinstance(phases.es, str) and len(lv_ml) > 1:
        flags.append(_flag("no_end_systole", "warning", series, f"No end-systole: {phases.es}."))
    if len(phases.frames) == 2 and lv_ml[phases.frames[1]] > lv_ml[phases.frames[0]]:
        message = (
            f"The frame given as end-systole ({phases.es}) shows a larger LV than end-diastole ({phases.ed}): "
            f"{lv_ml[phases.frames[1]]:.0f} against {lv_ml[phases.frames[0]]:.0f} ml."
        )
        flags.append(_flag("phases_swapped", "warning", series, message))
    if empty := int((lv_ml == 0).sum()) if lv_ml.any() else 0:
        message = f"No left ventricle was found in {empty} of {len(lv_ml)} frames."
        flags.append(_flag("frames_without_lv", "warning", series, message))
    if 2 < len(lv_ml) < CYCLE_FRAMES:
        message = f"End-diastole and end-systole were chosen among {len(lv_ml)} frames only."
        flags.append(_flag("few_frames", "warning", series, message))
    if len(lv_ml) >= CYCLE_FRAMES and lv_ml.any():
        uneven = int((np.abs(lv_ml - circular_median(lv_ml)) > UNEVEN_SHARE * lv_ml.max()).sum())
        if uneven:
            message = f"The LV volume curve jumps in {_n(uneven, 'frame')}; the choice of phases is less certain."
            flags.append(_flag("uneven_curve", "warning", series, message))
        flags += _open_cycle(series, lv_ml)
    return flags


def _open_cycle(series: str, lv_ml: np.ndarray) -> list[Flag]:
    jump, steps = abs(float(lv_ml[0] - lv_ml[-1])), np.abs(np.diff(lv_ml))
    if jump <= max(OPEN_CYCLE_SHARE * np.ptp(lv_ml), OPEN_CYCLE_STEPS * steps.max()):
        return []
    message = (
        f"The cine does not come back to where it began: from {lv_ml[0]:.0f} to {lv_ml[-1]:.0f} ml in the last frame. "
        "Frames of the cycle are missing; end-systole may be among them, and a heart rate of its duration is too high."
    )
    return [_flag("open_cycle", "warning", series, message)]


def rate_flags(cine: Series, patient: Patient) -> list[Flag]:
    """A warning where cardiac output rests on the time between frames in a NIfTI header: converters differ on it."""
    rate = heart_rate_bpm(None, len(cine.image.frames), cine.image.frame_time_ms)
    if patient.heart_rate_bpm is not None or cine.source is not None or isinstance(rate, str):
        return []
    message = (
        f"The heart rate ({rate:.0f}/min) was taken from the cine's duration, {len(cine.image.frames)} frames of "
        f"{cine.image.frame_time_ms:.4g} ms by its header, where converters also write other times (repetition time). "
        "Cardiac output depends on it; give heart_rate_bpm in patient.json."
    )
    return [_flag("heart_rate_from_frames", "warning", cine.role, message)]


def short_axis_flag(series: str, reason: str) -> Flag:
    """A warning that nothing was measured in a series, from `anatomy.not_short_axis`."""
    message = f"Nothing was measured: {reason}. Look at the slices; give a stack of short-axis slices."
    return _flag("not_short_axis", "warning", series, message)


def segment_flags(series: str, heart: Anatomy) -> list[Flag]:
    """Flags on how the segments of one series were placed."""
    if heart.reason:
        return [_flag("no_segments", "info", series, f"Segments could not be placed: {heart.reason}.")]
    flags = []
    if not heart.from_rv:
        message = "No right ventricle was labelled: segment 1 was taken to lie upwards, at 90 degrees."
        flags.append(_flag("segments_by_convention", "warning", series, message))
    if not heart.clear_base:
        message = f"Base and apex look alike in {_n(len(heart.full), 'slice')}; segments may be in reverse order."
        flags.append(_flag("base_unclear", "warning", series, message))
    return flags


def base_flags(choices: Iterable[BaseChoice]) -> list[Flag]:
    """Flags on volumes that a doubtful choice of the base changes by more than 5 %, with the values either way."""
    flags = []
    for choice in choices:
        if choice.doubt is None or abs(choice.change_percent) <= MATTERS_PERCENT:
            continue
        part, volume = choice.measurement.split(".")
        counted = choice.otherwise_ml / (1 + choice.change_percent / 100)
        fraction = choice.ejection_fraction_otherwise_percent
        message = (
            f"{part.upper()} {'end-diastolic' if volume == 'edv_ml' else 'end-systolic'} volume depends on the base: "
            f"slice {choice.slice} is {'counted' if choice.counted else 'not counted'}, but {choice.doubt}. "
            f"{'Without' if choice.counted else 'With'} it "
            f"{'' if choice.counted else 'about '}{choice.otherwise_ml:.0f} instead of {counted:.0f} ml"
            + ("." if fraction is None else f", ejection fraction {fraction:.0f} %.")
        )
        code = f"base_choice_{part}_{volume.removesuffix('_ml')}"
        flags.append(_flag(code, "warning" if choice.strong else "info", "cine", message))
    return flags


def value_flags(
    patient: PatientFacts, lv: LeftVentricle, rv: Ventricle, lge: Lge, segments: list[Segment]
) -> list[Flag]:
    """Flags on values outside of what is believable, and on ventricles whose stroke volumes disagree."""
    parts = {"patient": patient, "lv": lv, "rv": rv, "lge": lge}
    flags = []
    for name, bound in BOUNDS.items():
        part, field = name.split(".")
        value = getattr(parts[part], field)
        if value is not None and not bound.low <= value <= bound.high:
            message = (
                f"{bound.title} is {value:.4g} {bound.unit}, "
                f"outside what is believable ({bound.low:g} to {bound.high:g} {bound.unit})."
            )
            series = {"patient": None, "lge": "lge"}.get(part, "cine")
            flags.append(_flag(f"implausible_{part}_{field}", "warning", series, message))
    if patient.height_cm and patient.weight_kg:
        bmi = patient.weight_kg / (patient.height_cm / 100) ** 2
        if not BMI_KG_M2[0] <= bmi <= BMI_KG_M2[1]:
            message = (
                f"{patient.height_cm:g} cm and {patient.weight_kg:g} kg give a body mass index of {bmi:.0f} kg/m2, "
                "which hardly anybody has: check both, and their units; every index depends on them."
            )
            flags.append(_flag("implausible_patient_bsa_m2", "warning", None, message))
    low, high = BOUNDS["lv.wall_thickness_max_mm"][1:3]
    walls = [s.wall_thickness_ed_mm for s in segments if s.wall_thickness_ed_mm is not None]
    if odd := sum(not low <= w <= high for w in walls):
        message = f"End-diastolic wall thickness is outside {low:g} to {high:g} mm in {_n(odd, 'segment')}."
        flags.append(_flag("implausible_wall", "warning", "cine", message))
    if lv.sv_ml is not None and rv.sv_ml is not None and (larger := max(lv.sv_ml, rv.sv_ml)) > 0:
        gap = 100 * abs(lv.sv_ml - rv.sv_ml) / larger
        if gap > SV_GAP_PERCENT:
            message = (
                f"LV and RV stroke volume differ by {gap:.0f} % ({lv.sv_ml:.0f} and {rv.sv_ml:.0f} ml): "
                "regurgitation, a shunt, or an error of segmentation."
            )
            level: Literal["info", "warning"] = "warning" if gap > SV_WIDE_GAP_PERCENT else "info"
            flags.append(_flag("stroke_volumes_differ", level, "cine", message))
    return flags
