"""The heart slice by slice: how thick the LV's wall is and how evenly, and the cavities' areas, at ED and ES."""

from myoscope.labels import Structure
from myoscope.measure.anatomy import Anatomy
from myoscope.measure.results import SliceWall
from myoscope.measure.values import Value, derive, split

NO_RING = "no slice with a full ring of myocardium"
_PHASES = {"ed": "end-diastole", "es": "end-systole"}
_FIELDS = {"mm": "mean", "max_mm": "largest", "sd_mm": "spread"}

Phase = Anatomy | str
"""The heart in one phase, or the reason why that phase is not known."""


def wall_max_mm(heart: Phase) -> Value:
    """Largest mean thickness of a sector in any slice, in mm, or why there is none."""
    if isinstance(heart, str):
        return heart
    return max((wall.largest for wall in heart.thickness_mm.values()), default=0.0) or NO_RING


def slice_rows(ed: Phase, es: Phase) -> tuple[list[SliceWall], dict[str, str]]:
    """Rows of slices with a full ring at end-diastole or end-systole, base first.

    Returns:
        The rows, and the reasons for what they lack: under "slices" where there is none at all, under
        "slices.wall_thickness_es_mm" where a value is missing in all, else "slices.3.wall_thickness_es_mm".
    """
    phases = {"ed": ed, "es": es}
    known = [heart for heart in phases.values() if not isinstance(heart, str)]
    seen = sorted({z for heart in known for z in heart.full})
    if not seen:
        reasons = [heart if isinstance(heart, str) else NO_RING for heart in phases.values()]
        return [], {"slices": "; ".join(dict.fromkeys(reasons))}
    base_last, slices = known[0].base_last, len(known[0].labels)
    rows, missing = [], dict[int, dict[str, str]]()
    for z in reversed(seen) if base_last else seen:
        number = slices - z if base_last else z + 1
        values = {name: value for phase, heart in phases.items() for name, value in _slice(phase, heart, z).items()}
        ed_mm, es_mm = values["wall_thickness_ed_mm"], values["wall_thickness_es_mm"]
        values["wall_thickening_percent"] = derive(lambda d, s: 100 * (s - d) / d, ed_mm, es_mm)
        numbers, missing[number] = split(values)
        rows.append(SliceWall.model_validate({"slice": number, **numbers}))
    everywhere = {
        f"slices.{name}": why
        for name, why in missing[rows[0].slice].items()
        if all(name in m for m in missing.values())
    }
    single = {f"slices.{n}.{name}": why for n, lacking in missing.items() for name, why in lacking.items()}
    return rows, everywhere | {k: why for k, why in single.items() if f"slices.{k.split('.')[2]}" not in everywhere}


def _slice(phase: str, heart: Phase, z: int) -> dict[str, Value]:
    """Wall and areas of one slice in one phase."""
    areas = (("lv", Structure.LV), ("rv", Structure.RV))
    names = [f"wall_thickness_{phase}_{ending}" for ending in _FIELDS] + [
        f"{name}_area_{phase}_mm2" for name, _ in areas
    ]
    if isinstance(heart, str):
        return dict.fromkeys(names, heart)
    if not heart.full:
        return dict.fromkeys(names, NO_RING)
    if z not in heart.full:
        return dict.fromkeys(names, f"no full ring of myocardium in this slice at {_PHASES[phase]}")
    _, row_mm, column_mm = heart.spacing_mm
    wall = [getattr(heart.thickness_mm[z], part) for part in _FIELDS.values()]
    return dict(
        zip(names, [*wall, *(float((heart.labels[z] == s).sum()) * row_mm * column_mm for _, s in areas)], strict=True)
    )
