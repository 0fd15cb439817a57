"""The measurements that a diagnosis rests on, as numbers; what could not be measured is left out."""

from collections.abc import Callable

import numpy as np

from myoscope.measure.results import Measurements

Features = dict[str, float]

LEAST_SLICES, LEAST_SEGMENTS = 3, 10
"""Fewer slices with a full ring at end-diastole and end-systole, or fewer segments, do not describe a wall."""


def cine_features(m: Measurements) -> Features:
    """Volumes, function, mass, and how thick and how unevenly the wall moves, by slice and by segment.

    Volumes are not indexed: height and weight are often unknown, and the ratios carry what size does not.

    Source:
        The wall by slice after Khened et al. 2019, doi:10.1016/j.media.2018.10.004.
    """
    return _volumes(m) | _slices(m) | _middle(m) | _segments(m)


def _volumes(m: Measurements) -> Features:
    lv, rv = m.lv, m.rv
    found = {
        "LV end-diastolic volume (ml)": lv.edv_ml,
        "LV end-systolic volume (ml)": lv.esv_ml,
        "LV ejection fraction (%)": lv.ejection_fraction_percent,
        "RV end-diastolic volume (ml)": rv.edv_ml,
        "RV end-systolic volume (ml)": rv.esv_ml,
        "RV ejection fraction (%)": rv.ejection_fraction_percent,
        "RV to LV volume ratio, end-diastole": _share(rv.edv_ml, lv.edv_ml),
        "RV to LV volume ratio, end-systole": _share(rv.esv_ml, lv.esv_ml),
        "LV mass (g)": lv.mass_g,
        "myocardium to LV volume ratio, end-diastole": lv.myocardium_to_edv_ratio,
        "myocardium to LV volume ratio, end-systole": lv.myocardium_to_esv_ratio,
        "largest wall thickness, end-diastole (mm)": lv.wall_thickness_max_mm,
        "largest wall thickness, end-systole (mm)": lv.wall_thickness_max_es_mm,
    }
    return {name: value for name, value in found.items() if value is not None}


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _slices(m: Measurements) -> Features:
    """How thick the wall is, how uneven within slices, and how different from slice to slice."""
    found = {}
    for phase, words in (("ed", "end-diastole"), ("es", "end-systole")):
        means = [v for s in m.slices if (v := getattr(s, f"wall_thickness_{phase}_mm")) is not None]
        spreads = [v for s in m.slices if (v := getattr(s, f"wall_thickness_{phase}_sd_mm")) is not None]
        if len(means) >= LEAST_SLICES:
            found[f"mean wall thickness, {words} (mm)"] = float(np.mean(means))
            found[f"unevenness of the wall within slices, {words} (mm)"] = float(np.mean(spreads))
            found[f"unevenness of the wall between slices, {words} (mm)"] = float(np.std(means))
    return found


def _middle(m: Measurements) -> Features:
    """The RV in the middle half of the slices: away from the base, where a slice more or less makes its volume."""
    found: Features = {}
    for phase, words in (("ed", "end-diastole"), ("es", "end-systole")):
        pairs = [(getattr(s, f"rv_area_{phase}_mm2"), getattr(s, f"lv_area_{phase}_mm2")) for s in m.slices]
        areas = np.array([(rv, lv) for rv, lv in pairs if rv is not None and lv]) / 100
        if len(areas) < LEAST_SLICES:
            return {}
        cut = len(areas) // 4
        rv, lv = areas[cut : len(areas) - cut].mean(0)
        found[f"RV area in the middle slices, {words} (cm²)"] = float(rv)
        found[f"RV to LV area ratio in the middle slices, {words}"] = float(rv / lv)
    ed, es = (found[f"RV area in the middle slices, {words} (cm²)"] for words in ("end-diastole", "end-systole"))
    return found | ({"RV area change in the middle slices (%)": 100 * (1 - es / ed)} if ed else {})


def _segments(m: Measurements) -> Features:
    """By each phase's own thirds, as they were when the coefficients were fitted; not `wall_thickening_percent`."""
    walls = [(s.wall_thickness_ed_mm, s.wall_thickness_es_mm) for s in m.segments]
    thickening = [100 * (es - ed) / ed for ed, es in walls if ed is not None and es is not None]
    if len(thickening) < LEAST_SEGMENTS:
        return {}
    return {
        "lowest segment thickening (%)": float(np.percentile(thickening, 10)),
        "spread of segment thickening (%)": float(np.std(thickening)),
    }


def lge_features(m: Measurements) -> Features:
    """How much infarct there is, and in how large a heart."""
    found = {
        "infarct volume (ml)": m.lge.infarct_ml,
        "infarct share of myocardium (%)": m.lge.infarct_percent,
        "myocardial volume (ml)": m.lge.myocardium_ml,
    }
    return {name: value for name, value in found.items() if value is not None}


FEATURES: dict[str, Callable[[Measurements], Features]] = {"cine": cine_features, "lge": lge_features}


def believable(m: Measurements, series: str) -> bool:
    """Whether no measurement of a series lies outside what is possible: on those, no diagnosis is built.

    But for the RV's ejection fraction: in failing ventricles it is 2 to 4 % even in experts' contours (ACDC).
    """
    parts = {"cine": ("implausible_lv", "implausible_rv_edv", "implausible_wall"), "lge": ("implausible_lge",)}[series]
    return not any(flag.code.startswith(parts) for flag in m.quality.flags)


LOGARITHMIC = {"cine": False, "lge": True}
"""Whether a classifier works on log(1 + value): a small infarct must count."""
