"""Which of the groups that show a role are used: PSIR before magnitude, rest before stress, scanned before computed."""

from collections.abc import Sequence

from myoscope.errors import InputError
from myoscope.io.dicom.roles import is_derived, is_psir, under_stress
from myoscope.io.dicom.stacks import Group, assemble
from myoscope.study import Note, Role

PSIR_SHARE = 0.75
"""PSIR is used where its stack is at least this share of the magnitude's: not a few slices beside a whole stack."""


def preferred(role: Role, candidates: Sequence[Group]) -> tuple[list[Group], dict[int, str], list[Note]]:
    """The groups to use for a role, why each of the others (by id) is not used, and what a reader should know of it."""
    if role is Role.LGE:
        signed = [g for g in candidates if is_psir(g)]
        rest = [g for g in candidates if g not in signed]
        if signed and rest and _length_mm(signed) < PSIR_SHARE * _length_mm(rest):
            return rest, {id(g): "no: magnitude shows more of the heart" for g in signed}, [_short_note(signed, rest)]
        if signed and rest:
            return signed, {id(g): "no: PSIR is preferred" for g in rest}, [_psir_note(signed, rest)]
    if role is Role.CINE and candidates:
        kept = [g for g in candidates if not is_derived(g)] or list(candidates)
        uses = {id(g): "no: computed from other images" for g in candidates if g not in kept}
        notes = [_derived_note(kept)] if is_derived(kept[0]) else []
        if stressed := [g for g in kept if under_stress(g)]:
            rest = [g for g in kept if g not in stressed]
            uses |= {id(g): "no: the cine at rest is used" for g in stressed} if rest else {}
            notes.append(_stress_note(stressed, rest))
            kept = rest or stressed
        return kept, uses, notes
    return list(candidates), {}, []


def _length_mm(groups: Sequence[Group]) -> float:
    """How long the stack is that these give, from base to apex; 0 where they give none."""
    try:
        stack = assemble(groups, cycle=False)
    except InputError:
        return 0.0
    return len(stack.frames[0]) * stack.distance_mm


def _named(groups: Sequence[Group]) -> str:
    return ", ".join(dict.fromkeys(g.name for g in groups))


def _psir_note(signed: Sequence[Group], rest: Sequence[Group]) -> Note:
    message = (
        f"PSIR ({_named(signed)}) was used, not magnitude ({_named(rest)}): it depends less on the inversion time."
    )
    return Note("psir_preferred", "info", message, Role.LGE)


def _short_note(signed: Sequence[Group], rest: Sequence[Group]) -> Note:
    message = f"Magnitude ({_named(rest)}) was used, not PSIR ({_named(signed)}), which shows a part of it."
    return Note("psir_incomplete", "info", message, Role.LGE)


def _derived_note(derived: Sequence[Group]) -> Note:
    message = (
        f"{_named(derived).capitalize()} says that it was computed from other images (ImageType DERIVED, SECONDARY), "
        "and no other cine is there: it may be blurred, or have something drawn in; look at it."
    )
    return Note("cine_derived", "warning", message, Role.CINE)


def _stress_note(stressed: Sequence[Group], rest: Sequence[Group]) -> Note:
    names = ", ".join(dict.fromkeys(f"{g.name} ({under_stress(g)!r})" for g in stressed))
    if rest:
        return Note(
            "stress_left_out", "info", f"{names.capitalize()}, by name under stress, gave way to rest.", Role.CINE
        )
    message = f"{names.capitalize()} is by its name of a heart under stress: its volumes are not those at rest."
    return Note("under_stress", "warning", message, Role.CINE)
