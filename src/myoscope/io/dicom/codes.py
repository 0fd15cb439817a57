"""Coded concepts of what myoscope writes as DICOM: structures, measurements, units.

SNOMED CT, LOINC and DCM codes are those of PS3.16 (pydicom's dictionary), the infarct's (55641003) of SNOMED CT itself.
Where no code was found, there is one in a scheme of our own, `99MYOSCOPE`, named in every object that we write.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.sr.coding import Code

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.measure.anatomy import NAMES
from myoscope.study import Role

SCHEME = "99MYOSCOPE"


def own(value: str, meaning: str) -> Code:
    """A concept that no public scheme codes."""
    return Code(value, SCHEME, meaning)


BLOOD = Code("87612001", "SCT", "Blood")
LEFT_VENTRICLE = Code("87878005", "SCT", "Left ventricle")
LV_MYOCARDIUM = Code("49848007", "SCT", "Left Ventricle Myocardium")
RIGHT_VENTRICLE = Code("53085002", "SCT", "Right ventricle")
INFARCT = Code("55641003", "SCT", "Infarct")
NO_REFLOW = own("NO_REFLOW", "No-reflow (microvascular obstruction)")
EDEMA = Code("79654002", "SCT", "Edema")

CARDIAC_MRI = Code("241620005", "SCT", "Cardiac MRI")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
COMMENT = Code("121106", "DCM", "Comment")
QUALITATIVE = Code("C0034375", "UMLS", "Qualitative Evaluations")
BSA = Code("8277-6", "LN", "BSA")
HEART_RATE = Code("8867-4", "LN", "Heart rate")
MOSTELLER = Code("122244", "DCM", "BSA = (HT*WT/36)^0.5")
CYCLE_PHASE = Code("246092007", "SCT", "Cardiac cycle phase")
UPPER_UNCERTAINTY = Code("371886008", "SCT", "+, range of upper measurement uncertainty")
LOWER_UNCERTAINTY = Code("371885007", "SCT", "-, range of lower measurement uncertainty")
END_DIASTOLE = Code("416190007", "SCT", "End diastole")
END_SYSTOLE = Code("416430001", "SCT", "End Systole")
DISCS = own("DISCS", "Summation of short-axis discs")
WALL_DISTANCE = own("WALL_DISTANCE", "Distance from endocardium to nearest epicardium")
PROPOSED_CLASS = own("PROPOSED_CLASS", "Proposed class, research use only")
PROBABILITY = Code("122157", "DCM", "Probability")

_SUBSTANCE = Code("91720002", "SCT", "Body Substance")
_ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")

SEGMENTS = {
    Structure.LV: (_SUBSTANCE, BLOOD, LEFT_VENTRICLE),
    Structure.MYOCARDIUM: (_ANATOMY, LV_MYOCARDIUM, LEFT_VENTRICLE),
    Structure.INFARCT: (_ABNORMAL, INFARCT, LV_MYOCARDIUM),
    Structure.NO_REFLOW: (_ABNORMAL, NO_REFLOW, LV_MYOCARDIUM),
    Structure.EDEMA: (_ABNORMAL, EDEMA, LV_MYOCARDIUM),
    Structure.RV: (_SUBSTANCE, BLOOD, RIGHT_VENTRICLE),
}
"""Category, type and anatomic region of the segment of each structure."""

RATIO = Code("1", "UCUM", "no units")
_UNITS = {
    "_ml": Code("ml", "UCUM", "ml"),
    "_ml_m2": Code("ml/m2", "UCUM", "ml/m2"),
    "_g": Code("g", "UCUM", "g"),
    "_g_m2": Code("g/m2", "UCUM", "g/m2"),
    "_mm": Code("mm", "UCUM", "mm"),
    "_m2": Code("m2", "UCUM", "m2"),
    "_percent": Code("%", "UCUM", "Percent"),
    "_l_min": Code("l/min", "UCUM", "l/min"),
    "_l_min_m2": Code("l/min/m2", "UCUM", "l/min/m2"),
    "_ms": Code("ms", "UCUM", "ms"),
    "_bpm": Code("{H.B.}/min", "UCUM", "BPM"),
    "_ratio": RATIO,
}


def unit_of(field: str) -> Code:
    """The unit that the name of a measurement ends in.

    >>> unit_of("edv_index_ml_m2").value
    'ml/m2'
    """
    return _UNITS[max((ending for ending in _UNITS if field.endswith(ending)), key=len)]


def method_of(field: str) -> Code:
    """How a measurement of the whole ventricle was made."""
    return WALL_DISTANCE if field.startswith("wall_thickness") else DISCS


@dataclass(frozen=True)
class Group:
    """Measurements of one thing: `names` has the concept of each field of the `part` of Measurements.

    They come from labels of `structures`, in the first of `roles` that was segmented.
    """

    title: str
    part: str
    site: Code
    names: Mapping[str, Code]
    structures: tuple[Structure, ...]
    roles: tuple[Role, ...]
    finding: Code | None = None


_VOLUME = Code("118565006", "SCT", "Volume")
_MASS = Code("118538004", "SCT", "Mass")
_SHARE = own("LV_SHARE", "Share of the LV myocardium")

GROUPS = (
    Group(
        "Left ventricle",
        "lv",
        LEFT_VENTRICLE,
        {
            "edv_ml": Code("8821-1", "LN", "Left Ventricular ED Volume"),
            "esv_ml": Code("8823-7", "LN", "Left Ventricular ES Volume"),
            "sv_ml": Code("90096001", "SCT", "Stroke Volume"),
            "ejection_fraction_percent": Code("8811-2", "LN", "Left ventricular ejection fraction by MR"),
            "edv_index_ml_m2": own("LVEDV_INDEX", "Left ventricular ED volume index"),
            "esv_index_ml_m2": own("LVESV_INDEX", "Left ventricular ES volume index"),
            "sv_index_ml_m2": Code("277381004", "SCT", "Stroke Index"),
            "cardiac_output_l_min": Code("82799009", "SCT", "Cardiac Output"),
            "cardiac_index_l_min_m2": Code("54993008", "SCT", "Cardiac Index"),
            "edv_to_rv_ratio": own("LV_TO_RV_ED", "Ratio of LV to RV volume, end-diastole"),
            "esv_to_rv_ratio": own("LV_TO_RV_ES", "Ratio of LV to RV volume, end-systole"),
        },
        (Structure.LV,),
        (Role.CINE,),
    ),
    Group(
        "Left ventricular myocardium",
        "lv",
        LV_MYOCARDIUM,
        {
            "mass_g": Code("18087-7", "LN", "Left Ventricle Mass"),
            "mass_index_g_m2": own("LV_MASS_INDEX", "Left ventricular mass index"),
            "wall_thickness_max_mm": own("MAX_ED_WALL", "Largest end-diastolic wall thickness"),
            "wall_thickness_max_es_mm": own("MAX_ES_WALL", "Largest end-systolic wall thickness"),
            "myocardium_ed_ml": own("MYO_ED_VOLUME", "End-diastolic volume of the LV myocardium"),
            "myocardium_es_ml": own("MYO_ES_VOLUME", "End-systolic volume of the LV myocardium"),
            "myocardium_to_edv_ratio": own("MYO_TO_LV_ED", "Ratio of LV myocardium to cavity, end-diastole"),
            "myocardium_to_esv_ratio": own("MYO_TO_LV_ES", "Ratio of LV myocardium to cavity, end-systole"),
        },
        LV_WALL,
        (Role.CINE, Role.BSSFP),
    ),
    Group(
        "Right ventricle",
        "rv",
        RIGHT_VENTRICLE,
        {
            "edv_ml": Code("8822-9", "LN", "Right Ventricular ED Volume"),
            "esv_ml": Code("8824-5", "LN", "Right Ventricular ES Volume"),
            "sv_ml": Code("429483009", "SCT", "RV Stroke Volume"),
            "ejection_fraction_percent": Code("8818-7", "LN", "Right ventricular ejection fraction by MR"),
            "edv_index_ml_m2": own("RVEDV_INDEX", "Right ventricular ED volume index"),
            "esv_index_ml_m2": own("RVESV_INDEX", "Right ventricular ES volume index"),
            "sv_index_ml_m2": Code("429619008", "SCT", "RV Stroke Index"),
        },
        (Structure.RV,),
        (Role.CINE,),
    ),
    Group(
        "LV myocardium on late enhancement",
        "lge",
        LV_MYOCARDIUM,
        {"myocardium_ml": _VOLUME, "myocardium_g": _MASS},
        LV_WALL,
        (Role.LGE,),
    ),
    Group(
        "Infarct including no-reflow",
        "lge",
        LV_MYOCARDIUM,
        {"infarct_ml": _VOLUME, "infarct_g": _MASS, "infarct_percent": _SHARE},
        SCAR,
        (Role.LGE,),
        INFARCT,
    ),
    Group(
        "No-reflow",
        "lge",
        LV_MYOCARDIUM,
        {"no_reflow_ml": _VOLUME, "no_reflow_g": _MASS, "no_reflow_percent": _SHARE},
        (Structure.NO_REFLOW,),
        (Role.LGE,),
        NO_REFLOW,
    ),
    Group(
        "Edema including infarct",
        "t2",
        LV_MYOCARDIUM,
        {"edema_ml": _VOLUME, "edema_g": _MASS, "edema_percent": _SHARE},
        (Structure.EDEMA, *SCAR),
        (Role.T2,),
        EDEMA,
    ),
)
"""All measurements but those of the segments."""

_WALL_THICKNESS = Code("122445", "DCM", "Wall Thickness")

SEGMENT_NAMES = {
    "wall_thickness_ed_mm": (_WALL_THICKNESS, WALL_DISTANCE, END_DIASTOLE),
    "wall_thickness_es_mm": (_WALL_THICKNESS, WALL_DISTANCE, END_SYSTOLE),
    "wall_thickening_percent": (own("THICKENING", "Systolic wall thickening"), WALL_DISTANCE, None),
    "scar_percent": (own("SEGMENT_SCAR", "Transmurality: share of the segment that is scar"), None, None),
    "scar_depth_percent": (own("SCAR_DEPTH", "Depth of scar where there is scar, share of the wall"), None, None),
    "edema_percent": (own("SEGMENT_EDEMA", "Share of the segment that is edema, scar included"), None, None),
}
"""Concept, method and phase of each measurement of an AHA segment."""

MAP_NAMES = {
    "t1": ("median_ms", own("T1_UNTOLD", "Median T1, native or after contrast agent")),
    "t1_native": ("median_ms", own("T1_NATIVE", "Median native T1")),
    "t1_post": ("median_ms", own("T1_POST", "Median T1 after contrast agent")),
    "t2": ("median_ms", own("T2_TIME", "Median T2")),
    "ecv": ("median_percent", own("ECV_MAP", "Median extracellular volume fraction of the scanner's map")),
    "ecv_from_t1": ("ecv_percent", own("ECV", "Extracellular volume fraction from T1 and hematocrit")),
}
"""Field and concept of what each part of `maps` says of the wall and of a segment; no public code was found for any."""

_AHA = (
    *("264850008", "396482007", "396646008", "264846001", "396652009", "396654005"),
    *("264848000", "396647004", "396649001", "264847005", "396655006", "396656007"),
    *("264844003", "264845002", "264849008", "264853005", "128564006"),
)
AHA_SITES = {
    number: Code(value, "SCT", f"left ventricle {NAMES[number]}" + " segment" * (number < 17))
    for number, value in enumerate(_AHA, 1)
}
"""Where each of the 17 segments lies."""
