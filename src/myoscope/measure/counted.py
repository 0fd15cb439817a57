"""What was counted in each slice at ED and ES, and what another choice of the base would change.

Which slice is the last at the base is the reader's choice, and one slice is 5 to 30 % of a volume. The choice is called
doubtful where the contours themselves give a reason:

- the last counted slice shows less than 60 % of the next one's area, for a ventricle does not narrow towards its base;
- myocardium goes less than 70 % of the way round the LV's cavity in it;
- the LV's base would have moved more than 15 mm between ED and ES;
- the RV's last slice is the same at ES as at ED, though the base moves towards the apex;
- the RV is not counted at ED in the last slice of the LV.

The first three are `strong`: limits of our own, from the 75 patients of ACDC that are here (`docs/decisions.md`).
Experts hardly ever draw such a base; the other two come on every third expert's contours.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from myoscope.labels import LV_WALL, Structure
from myoscope.measure.anatomy import Anatomy
from myoscope.measure.part import Part

NARROW_SHARE = 0.6
"""A last slice of less than this share of the next one's area is drawn in part only."""

OPEN_SHARE = 0.7
"""Myocardium that goes a smaller share of the way round leaves the LV open to the outflow tract or atrium."""

FAR_MM = 15.0
"""The LV's base hardly moves further than this in a beat."""

MATTERS_PERCENT = 5.0
"""From this change of a volume on, a doubtful choice is worth a flag."""

Volume = Literal["lv.edv_ml", "lv.esv_ml", "rv.edv_ml", "rv.esv_ml"]

_CHAMBERS = {"lv": (Structure.LV,), "rv": (Structure.RV,), "myocardium": LV_WALL}
_PHASES = ("ed", "es")


class SliceVolume(Part):
    """What was counted in one slice of a cine, at end-diastole and end-systole."""

    slice: int = Field(description="Number of the slice, from 1 at the base of the stack")
    lv_ed_ml: float | None = Field(None, description="LV cavity at end-diastole")
    lv_es_ml: float | None = Field(None, description="LV cavity at end-systole")
    rv_ed_ml: float | None = Field(None, description="RV cavity at end-diastole")
    rv_es_ml: float | None = Field(None, description="RV cavity at end-systole")
    myocardium_ed_ml: float | None = Field(None, description="LV myocardium at end-diastole")
    myocardium_es_ml: float | None = Field(None, description="LV myocardium at end-systole")
    wall_around_ed_percent: float | None = Field(
        None,
        description="Share of the way round the LV cavity that myocardium goes at end-diastole; null without cavity",
    )
    wall_around_es_percent: float | None = Field(
        None,
        description="Share of the way round the LV cavity that myocardium goes at end-systole; null without cavity",
    )


class BaseChoice(Part):
    """A volume, and what it would be if the base were chosen otherwise by one slice.

    A slice that is not counted is taken to hold as much as the one next to it. `doubt` is null where the contours give
    no reason to doubt the choice; `strong` says that such a base is rare on experts' contours.
    """

    measurement: Volume = Field(description="Dotted name of the volume")
    slice: int = Field(description="The slice at the base that could be chosen otherwise, from 1 at the base")
    counted: bool = Field(description="Whether it is counted in the volume")
    slice_ml: float = Field(description="Volume in that slice; where it is not counted, that of the next slice")
    otherwise_ml: float = Field(description="The volume without the slice, or with it where it is not counted")
    change_percent: float = Field(description="How far that is from the volume as counted")
    ejection_fraction_otherwise_percent: float | None = Field(None, description="Ejection fraction with that volume")
    doubt: str | None = Field(None, description="Why the choice is doubtful")
    strong: bool = Field(False, description="Whether experts hardly ever draw such a base")


class Counted(NamedTuple):
    """Slice by slice and at the base, each with the reasons for what it lacks."""

    slices: list[SliceVolume]
    base: list[BaseChoice]
    missing: dict[str, str]


def no_count(reason: str) -> Counted:
    """Nothing counted, for one reason."""
    return Counted([], [], dict.fromkeys(("slice_volumes", "base_choices"), reason))


def count(ed: Anatomy | str, es: Anatomy | str) -> Counted:
    """Count slice by slice at end-diastole and end-systole; a phase is the heart in it, or why it is not known.

    Volumes of the slices are those that `function` sums: every labelled voxel counts.
    """
    phases = {"ed": ed, "es": es}
    hearts = {name: heart for name, heart in phases.items() if isinstance(heart, Anatomy)}
    if not hearts:
        return no_count("; ".join(dict.fromkeys(str(why) for why in phases.values())))
    stack = _stack(hearts)
    shown = np.flatnonzero(np.any([values > 0 for values in stack.ml.values()], axis=0))
    if not len(shown):
        return no_count("no heart in the labels")
    slices = [_slice(z, stack) for z in range(shown[0], shown[-1] + 1)]
    missing = {
        f"slice_volumes.{name}": why
        for phase, why in phases.items()
        if isinstance(why, str)
        for name in (*(f"{part}_{phase}_ml" for part in _CHAMBERS), f"wall_around_{phase}_percent")
    }
    if not next(iter(hearts.values())).clear_base:
        return Counted(slices, [], missing | {"base_choices": "base and apex look alike"})
    base = [choice for part in ("lv", "rv") for phase in hearts if (choice := _choice(part, phase, stack))]
    return Counted(slices, base, missing | ({} if base else {"base_choices": "no ventricle shows in two slices"}))


class _Stack(NamedTuple):
    """By part and phase each slice's volume in ml, base first; by phase the share of the way that wall goes round.

    Where a slice shows no cavity or no wall that share is NaN.
    """

    ml: Mapping[tuple[str, str], np.ndarray]
    around: Mapping[str, np.ndarray]
    slice_mm: float

    def fraction(self, part: str, instead: Mapping[str, float]) -> float | None:
        """Ejection fraction of a ventricle with another volume in one phase, in per cent."""
        if any((part, phase) not in self.ml for phase in _PHASES):
            return None
        ed, es = (instead.get(phase, float(self.ml[part, phase].sum())) for phase in _PHASES)
        return 100 * (ed - es) / ed if ed and es else None


def _stack(hearts: Mapping[str, Anatomy]) -> _Stack:
    """Read the hearts of one stack, in the direction in which the first of them shows the base."""
    first = next(iter(hearts.values()))
    step = -1 if first.base_last else 1
    voxel_ml = float(np.prod(first.spacing_mm)) / 1000
    ml, around = {}, {}
    for phase, heart in hearts.items():
        for part, structures in _CHAMBERS.items():
            ml[part, phase] = np.isin(heart.labels, structures).sum(axis=(1, 2))[::step] * voxel_ml
        shares = [heart.rings[z].around if z in heart.rings else np.nan for z in range(len(heart.labels))]
        around[phase] = np.array(shares)[::step]
    return _Stack(ml, around, first.spacing_mm[0])


def _slice(z: int, stack: _Stack) -> SliceVolume:
    volumes = {f"{part}_{phase}_ml": float(values[z]) for (part, phase), values in stack.ml.items()}
    around = {f"wall_around_{phase}_percent": 100 * s[z] for phase, s in stack.around.items() if s[z] == s[z]}
    return SliceVolume.model_validate({"slice": z + 1, **volumes, **around})


def _choice(part: str, phase: str, stack: _Stack) -> BaseChoice | None:
    """The choice at the base of a ventricle in a phase; None where it shows in fewer than two slices."""
    values = stack.ml[part, phase]
    if (values > 0).sum() < 2:
        return None
    z, counted, doubt, strong = _doubt(part, phase, stack)
    slice_ml = float(values[z] if counted else values[z + 1])
    whole = float(values.sum())
    otherwise = whole - slice_ml if counted else whole + slice_ml
    return BaseChoice.model_validate(
        {
            "measurement": f"{part}.{phase}v_ml",
            "slice": z + 1,
            "counted": counted,
            "slice_ml": slice_ml,
            "otherwise_ml": otherwise,
            "change_percent": 100 * (otherwise - whole) / whole,
            "ejection_fraction_otherwise_percent": stack.fraction(part, {phase: otherwise}),
            "doubt": doubt,
            "strong": strong,
        }
    )


def _doubt(part: str, phase: str, stack: _Stack) -> tuple[int, bool, str | None, bool]:
    """The slice in question, from 0 at the base; whether it is counted; why that is doubtful, and whether strongly."""
    values = stack.ml[part, phase]
    last = _last(values)
    later = stack.ml.get((part, "es")) if phase == "ed" else None
    if later is not None and later.any() and _last(later) < last:  # a base never moves away from the apex
        return last - 1, False, f"it shows the {part.upper()} at end-systole", True
    share = values[last] / values[last + 1] if values[last + 1] else 1.0
    if share < NARROW_SHARE:
        return last, True, f"it shows {100 * share:.0f} % of the area of the next slice", True
    around = stack.around[phase][last]
    if part == "lv" and not around >= OPEN_SHARE:
        way = "no myocardium is drawn" if np.isnan(around) else f"myocardium goes {100 * around:.0f} % of the way round"
        return last, True, f"{way} in it", True
    at_ed = stack.ml.get((part, "ed")) if phase == "es" else None
    if at_ed is not None and at_ed.any():
        moved_mm = (last - _last(at_ed)) * stack.slice_mm
        if part == "lv" and moved_mm > FAR_MM:
            return last - 1, False, f"the base would have moved {moved_mm:.0f} mm since end-diastole", True
        if part == "rv" and moved_mm == 0:
            return last, True, "the base of the RV has not moved since end-diastole", False
    lv = stack.ml["lv", phase]
    if (part, phase) == ("rv", "ed") and lv.any() and last > _last(lv):
        return last - 1, False, "the LV is drawn further towards the base", False
    return last, True, None, False


def _last(values: np.ndarray) -> int:
    """The first slice from the base that shows something."""
    return int(np.flatnonzero(values)[0])
