"""The measurements that a diagnosis rests on, as numbers; None where one of them is missing."""

from collections.abc import Callable

import numpy as np

from myoscope.measure.results import Measurements

Features = dict[str, float]


def cine_features(m: Measurements) -> Features | None:
    """Volumes, function, mass, and how thick and how unevenly the wall moves.

    Volumes are not indexed: height and weight are often unknown, and the ratios carry what size does not.
    """
    lv, rv = m.lv, m.rv
    thick = [s.wall_thickness_ed_mm for s in m.segments if s.wall_thickness_ed_mm is not None]
    thickening = [s.wall_thickening_percent for s in m.segments if s.wall_thickening_percent is not None]
    of_lv = [lv.edv_ml, lv.esv_ml, lv.ejection_fraction_percent, lv.mass_g, lv.wall_thickness_max_mm]
    needed = [*of_lv, rv.edv_ml, rv.ejection_fraction_percent]
    if any(value is None for value in needed) or len(thick) < 10 or len(thickening) < 10:
        return None
    edv, esv, ef, mass, wall, rv_edv, rv_ef = (float(value) for value in needed if value is not None)
    return {
        "LV end-diastolic volume (ml)": edv,
        "LV ejection fraction (%)": ef,
        "RV end-diastolic volume (ml)": rv_edv,
        "RV ejection fraction (%)": rv_ef,
        "RV to LV volume ratio": rv_edv / edv,
        "LV mass (g)": mass,
        "LV mass to volume ratio (g/ml)": mass / edv,
        "LV end-systolic volume to mass ratio (ml/g)": esv / mass,
        "largest wall thickness (mm)": wall,
        "mean segment thickness (mm)": float(np.mean(thick)),
        "lowest segment thickening (%)": float(np.percentile(thickening, 10)),
        "spread of segment thickening (%)": float(np.std(thickening)),
    }


def lge_features(m: Measurements) -> Features | None:
    """How much infarct there is, and in how large a heart."""
    if m.lge.infarct_ml is None or m.lge.infarct_percent is None or m.lge.myocardium_ml is None:
        return None
    return {
        "infarct volume (ml)": m.lge.infarct_ml,
        "infarct share of myocardium (%)": m.lge.infarct_percent,
        "myocardial volume (ml)": m.lge.myocardium_ml,
    }


FEATURES: dict[str, Callable[[Measurements], Features | None]] = {"cine": cine_features, "lge": lge_features}


def believable(m: Measurements, series: str) -> bool:
    """Whether no measurement of a series lies outside what is possible: on those, no diagnosis is built."""
    parts = {"cine": ("implausible_lv", "implausible_rv", "implausible_wall"), "lge": ("implausible_lge",)}[series]
    return not any(flag.code.startswith(parts) for flag in m.quality.flags)


LOGARITHMIC = {"cine": False, "lge": True}
"""Whether a classifier works on log(1 + value): a small infarct must count."""
