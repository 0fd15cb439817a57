"""Which number a quality flag is about, so that a warning stands at it."""

from collections.abc import Iterable

from myoscope.measure.results import Flag

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

OF_CODE = {"stroke_volumes_differ": ("lv.sv", "lv.ejection", "rv."), "unlike_training": (), "clinical_values": ()}
"""Flags about some of a series' numbers, or about none: the diagnosis says it."""


def concerns(flag: Flag) -> tuple[str, ...]:
    """Beginnings of the names of the measurements that a flag is about.

    >>> concerns(Flag(code="implausible_lv_mass_g", level="warning", series="cine", message=""))
    ('lv.mass_g',)
    >>> concerns(Flag(code="unsure_edema", level="warning", series="lge", message=""))
    ('t2.',)
    """
    if flag.code in OF_CODE:
        return OF_CODE[flag.code]
    kind, _, about = flag.code.partition("_")
    if kind == "implausible" and "_" in about:
        return (about.replace("_", ".", 1),)
    if kind in ("pieces", "unsure") and about in OF_STRUCTURE:
        return OF_STRUCTURE[about]
    return OF_SERIES.get(flag.series or "", ())


def warnings_about(name: str, flags: Iterable[Flag]) -> tuple[str, ...]:
    """Messages of the warnings and errors that are about a measurement, by its dotted name."""
    serious = (flag for flag in flags if flag.level != "info")
    return tuple(dict.fromkeys(flag.message for flag in serious if name.startswith(concerns(flag))))
