"""Which number a quality flag is about, so that a warning stands at it."""

import re
from collections.abc import Mapping, Sequence

from myoscope.measure.results import Flag, Measurements

OF_SERIES = {"cine": ("lv.", "rv."), "lge": ("lge.",), "t2": ("t2.",), "bssfp": ("lv.mass",)}
"""Beginnings of the names of what each series gives."""

OF_STRUCTURE = {
    "lv": ("lv.e", "lv.s"),
    "rv": ("rv.",),
    "myocardium": ("lv.mass", "lv.wall", "lge.", "t2."),
    "infarct": ("lge.infarct",),
    "no_reflow": ("lge.infarct", "lge.no_reflow"),
    "edema": ("t2.",),
}
"""Beginnings of the names of what is measured of each structure."""

INDICES = tuple(f"{part}.{name}_index" for part in ("lv", "rv") for name in ("edv", "esv", "sv", "mass", "cardiac"))
"""Beginnings of the names of what is divided by body surface area."""

OF_HOLE = {
    "lv_ed": ("lv.edv", "lv.sv", "lv.ejection", "lv.cardiac", "lv.myocardium_to_edv"),
    "lv_es": ("lv.esv", "lv.sv", "lv.ejection", "lv.cardiac", "lv.myocardium_to_esv"),
    "myocardium_ed": ("lv.mass", "lv.myocardium_ed", "lv.myocardium_to_edv"),
    "myocardium_es": ("lv.myocardium_es", "lv.myocardium_to_esv"),
    "rv_ed": ("rv.edv", "rv.sv", "rv.ejection", "lv.edv_to_rv"),
    "rv_es": ("rv.esv", "rv.sv", "rv.ejection", "lv.esv_to_rv"),
    "lv": (),
    "rv": (),
}
"""What a hole in a structure touches, in a phase of a cine; of a cavity in another series nothing is measured."""

OF_CODE = {
    "slice_gap_rv": ("rv.", "lv.edv_to_rv", "lv.esv_to_rv"),
    "stroke_volumes_differ": ("lv.sv", "lv.ejection", "rv."),
    "unlike_training": ("diagnosis",),
    "not_like_lge": ("lge.", "diagnosis"),
    "clinical_values": ("diagnosis",),
    "segments_by_convention": ("segments.",),
    "base_unclear": ("segments.",),
    "open_ring": ("segments.",),
    "heart_turned": ("segments.",),
    "implausible_wall": ("lv.wall", "segments."),
    "implausible_lge_myocardium_g": ("lge.",),
    "implausible_patient_bsa_m2": ("patient.bsa_m2", *INDICES),
    "heart_rate_from_frames": ("lv.cardiac",),
    "implausible_patient_heart_rate_bpm": ("patient.heart_rate_bpm", "lv.cardiac"),
}
"""Flags about some of a series' numbers alone."""


OF_FACT = {"height_cm": INDICES, "weight_kg": INDICES, "heart_rate_bpm": ("lv.cardiac",)}
"""What rests on a fact of the patient that two sources tell differently."""

DIAGNOSED_BY = {
    "cine": ("lv.edv", "lv.esv", "lv.ejection", "lv.mass", "lv.wall", "rv.", "segments."),
    "lge": ("lge.",),
}
"""Beginnings of the names of what the diagnosis from a series rests on."""


def concerns(flag: Flag, joint: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...]:
    """Beginnings of the names of the measurements that a flag is about.

    Args:
        flag: Of any series, or of the whole study.
        joint: For the series that a joint map lies on, the roles that it speaks for, from `joint_of`.

    >>> concerns(Flag(code="implausible_lv_mass_g", level="warning", series="cine", message=""))
    ('lv.mass',)
    >>> concerns(Flag(code="unsure_edema", level="warning", series="lge", message=""))
    ('t2.',)
    >>> concerns(Flag(code="base_choice_rv_esv", level="warning", series="cine", message=""))
    ('rv.esv', 'rv.sv', 'rv.ejection')
    >>> concerns(Flag(code="hole_myocardium_es", level="warning", series="cine", message=""))
    ('lv.myocardium_es', 'lv.myocardium_to_esv')
    """
    if flag.code in OF_CODE:
        return OF_CODE[flag.code]
    if flag.code in ("patient_contradicted", "patient_facts_differ"):
        return tuple(name for fact, names in OF_FACT.items() if fact in flag.message for name in names)
    kind, _, about = flag.code.partition("_")
    if kind == "implausible" and "_" in about:
        return (about.replace("_", ".", 1).rpartition("_")[0],)  # without its unit: the index too
    if about.startswith("choice_"):
        part, volume = about.removeprefix("choice_").split("_")
        return (f"{part}.{volume}", f"{part}.sv", f"{part}.ejection")
    if kind in ("pieces", "unsure") and about in OF_STRUCTURE:
        return OF_STRUCTURE[about]
    if kind == "hole" and about in OF_HOLE and (flag.series != "cine" or about[-3:] in ("_ed", "_es")):
        return OF_HOLE[about]
    series = flag.series or ""
    return tuple(name for role in (joint or {}).get(series, [series]) for name in OF_SERIES.get(role, ()))


def joint_of(measurements: Measurements) -> dict[str, list[str]]:
    """For a series that a joint map lies on, the roles of the series that it speaks for."""
    found: dict[str, list[str]] = {}
    for series in measurements.provenance.series:
        if at := re.search(r"one map on the grid of (\w+)", series.labels_from):
            found.setdefault(at[1], []).append(series.role)
    return found


def warnings_about(name: str, measurements: Measurements) -> tuple[str, ...]:
    """Messages of the warnings and errors that are about a measurement, by its dotted name, or the "diagnosis"."""
    serious = (flag for flag in measurements.quality.flags if flag.level != "info")
    joint, rests_on = joint_of(measurements), _inputs(measurements) if name == "diagnosis" else ()
    found = (
        flag.message
        for flag in serious
        if name.startswith(about := concerns(flag, joint))
        or any(i.startswith(about) or a.startswith(i) for i in rests_on for a in about)
    )
    return tuple(dict.fromkeys(found))


def _inputs(measurements: Measurements) -> tuple[str, ...]:
    """Beginnings of the names of what the overall diagnosis rests on."""
    whole = measurements.diagnosis
    leading = [s for s, one in whole.by_series.items() if one.prediction == whole.prediction]
    return tuple(name for series in leading for name in DIAGNOSED_BY.get(series, ()))
