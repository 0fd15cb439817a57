"""What each group of frames shows, and why: contrast from headers and names, orientation from geometry.

Names are those of Siemens, Philips and GE protocols, and plain English, German and French.
"""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from myoscope.io.dicom.agent import native_or_post
from myoscope.io.dicom.frames import Frame
from myoscope.io.dicom.phases import most_common
from myoscope.io.dicom.stacks import Group
from myoscope.study import MAPS, Role

T2_ECHO_MS = 35.0
"""A spin echo with an echo time of this or more is T2-weighted."""

CYCLE_MS = 2500.0
"""Phases spread over more than this are no cardiac cycle."""

TI_PHASES = 5
"""So many inversion recovery images at one place are a TI scout or a map, no late enhancement."""

INVERSION_TIMES = 3
"""So many inversion times at one place are raw images of a T1 map, or a TI scout."""

ECHO_MS = 0.5
"""Images of one place whose echo times differ by more than this show T2*, or fat and water, and no cycle."""

BEAT_S = 0.3
"""Images of one place that were taken this far apart, at no time of the cycle, show no cycle: perfusion, raw maps."""

PHASE_MS = 8.0
"""Trigger times that differ by less than this from image to image are one time, measured again in each beat."""

BODY_PLANE_DEGREES = 10.0
"""A stack this near to transversal, coronal or sagittal is no short axis unless something says so."""

RIVAL_SHARE = 0.5
"""A stack across the largest with this share of its slices may as well be the short axis."""

NEAR_PHASES, NEAR_SLICES = 8, 5
"""A series with this many may be a cine, whatever its name says."""

SAME_AXIS_DEGREES, ACROSS_DEGREES = 20.0, 50.0
"""A normal this near to the short axis is short-axis; one this far from it is long-axis."""

_WHOLE = {  # words that stand alone
    "other": "ll|pc|tag|mra|cemra|maps?|ecv|4d.?flow|ege|early",
    "localiser": "loc",
    "t2": "t2w?",
    "lge": "de|mde|dhe|late|ir.?tfe|ir.?fgre|ce.?ir",
    "short": "sa|ksa|kurz|kurze|short",
    "long": "la|vla|hla|long|ao|[234].?(ch|k|cav)",
}
_PART = {  # words that may be a part of others
    "other": r"ti.?scout|look.?locker|molli|sasha|t[12].?map|t2.?star|t2\*|perf|first.?pass|dynamic|flow|venc|tagging"
    r"|myomaps|mapping|moco.?t[12](?![0-9])"
    r"|phase.?contrast|spamm|angio|twist|haste|coronar",
    "localiser": r"locali[sz]er|scout|survey|plan.?scan",
    "t2": r"stir|tirm|edema|oedem|ödem|dark.?blood|black.?blood|triple.?ir",
    "lge": r"lge|psir|delayed|late.?enh|late.?gad|viab|de.?mri|rehaussement|sp[äa]t",
    "short": r"sax|short.?ax|kurz.?achse|petit.?axe",
    "long": r"lax|long.?ax|lang.?achse|[234].?(chamber|kammer)|lvot|rvot",
}
_WORDS = {kind: re.compile(f"(?<![a-z0-9])(?:{_WHOLE[kind]})(?![a-z])|{part}") for kind, part in _PART.items()}
_STRESS = re.compile(r"(?<![a-z])(rest|stress|vasodil\w*|adeno\w*|regad\w*)(?![a-z])")
_UNDER_STRESS = re.compile(r"(?<![a-z])(stress|dobu\w*|exercis\w*|ergomet\w*|vasodil\w*|adeno\w*|regad\w*)(?![a-z])")
_PSIR = re.compile(r"psir|phase.?sens|(?<![a-z])ps(?![a-z])")
_MAGNITUDE = re.compile(r"(?<![a-z])mag(?![a-z])|magnitude|(?<![a-z])m_ir(?![a-z])")
_NO_WATER = ("fat", "out of phase")
_TITLES = {Role.CINE: "short-axis cine", Role.LGE: "LGE", Role.T2: "T2"}

_MAP_TITLES = {Role.MAP_T1: "T1 in ms", Role.MAP_T2: "T2 in ms", Role.MAP_ECV: "ECV in %"}


class Verdict(NamedTuple):
    """What a group shows and why; `role` is set where `analyze` could use it."""

    what: str
    why: str
    role: Role | None = None


@dataclass(frozen=True)
class ShortAxis:
    """The direction across short-axis slices, in which role's images it was found, and how."""

    normal: np.ndarray
    role: Role
    why: str


def is_psir(group: Group) -> bool:
    """Whether a late enhancement image is phase-sensitive (signed), not magnitude.

    The series' own description decides before the protocol's name, which both share.
    """
    description = group.first.facts.description.lower()
    if group.first.component == "real":
        return True
    if _MAGNITUDE.search(description):
        return False
    return bool(_PSIR.search(description)) and group.first.component in ("phase", "magnitude")


def under_stress(group: Group) -> str | None:
    """The word in a series' names that says that the heart was under stress."""
    found = _UNDER_STRESS.search(group.first.facts.words)
    return found.group() if found else None


def judge(groups: Sequence[Group]) -> list[Verdict]:
    """What each group of a study shows."""
    velocities = [g for g in groups if g.first.component == "phase" and g.phases > 1]
    contrasts = [_beside_velocity(g, velocities) or _contrast(g) for g in groups]
    late = [g for g, c in zip(groups, contrasts, strict=True) if c.role is Role.LGE and _word("lge", g)]
    contrasts = [_with_agent(g, c, groups, late) for g, c in zip(groups, contrasts, strict=True)]
    axis = _short_axis(groups, contrasts)
    return [_verdict(g, contrast, axis) for g, contrast in zip(groups, contrasts, strict=True)]


def _with_agent(g: Group, found: Verdict, groups: Sequence[Group], late: Sequence[Group]) -> Verdict:
    """The verdict on a T1 map with what is known of contrast agent; any other as it is."""
    if found.role is not Role.MAP_T1:
        return found
    role, why = native_or_post(g, groups, late)
    return Verdict(found.what, f"{found.why}; {why}", role)


def near_miss(g: Group, verdict: Verdict) -> Role | None:
    """What a group that is not used may show all the same; None where there is little doubt that it shows no role."""
    facts, slices = g.first.facts, len(g.places)
    sure = (
        verdict.what in ("localiser", "long axis", "map")
        or facts.declared
        or g.first.component in ("map", "imaginary", *_NO_WATER)
    )
    if verdict.role or sure or slices < NEAR_SLICES or _word("localiser", g):
        return None
    if facts.inversion and not facts.spin_echo and g.phases < INVERSION_TIMES and not _word("other", g):
        return Role.LGE
    likely = g.phases >= NEAR_PHASES and (_is_cyclic(g) or "cine" in facts.words)  # where times are of another unit
    return Role.CINE if likely and g.first.component == "magnitude" and not facts.inversion else None


def is_derived(g: Group) -> bool:
    """Whether a series says that it was computed from others; so does what some programs saved anew."""
    return {"DERIVED", "SECONDARY"} <= set(g.first.facts.image_type[:2])


def _is_cyclic(g: Group) -> bool:
    """Whether trigger times are those of one cycle's phases."""
    span = _trigger_span_ms(g)
    return span is not None and PHASE_MS * g.phases <= span <= CYCLE_MS


def _beside_velocity(g: Group, velocities: Sequence[Group]) -> Verdict | None:
    """The magnitude of phase contrast: phase images of the same slices were made in the same acquisition."""
    for v in velocities if g.first.component == "magnitude" and g.phases > 1 else ():
        together = v.first.facts == g.first.facts or {f.taken for f in v.frames} & {f.taken for f in g.frames}
        if together and v.phases == g.phases and {f.position_mm for f in v.frames} >= {f.position_mm for f in g.frames}:
            return Verdict("other", f"phase contrast: its phase images are in {v.name}")
    return None


def _word(kind: str, group: Group) -> str | None:
    """The part of a series' names that is a word of a kind."""
    found = _WORDS[kind].search(group.first.facts.words)
    return found.group() if found else None


def _contrast(g: Group) -> Verdict:
    """The contrast alone; where `role` is set, orientation still decides."""
    facts, frame = g.first.facts, g.first
    if frame.component == "map" and frame.quantity:
        return Verdict("map", f"voxels hold {_MAP_TITLES[frame.quantity]}, by ImageType", frame.quantity)
    if frame.component == "map":
        return Verdict("map", "voxels hold a quantity (T1, T2, ECV or flow), by ImageType or unit")
    if facts.declared:
        return Verdict("other", facts.declared)
    if is_derived(g) and not (g.phases >= NEAR_PHASES and _is_cyclic(g)):
        return Verdict("other", "ImageType DERIVED, SECONDARY: computed from other images")
    for kind in ("other", "localiser"):
        if word := _word(kind, g):
            return Verdict(kind, f"the word {word!r}")
    if "LOCALIZER" in facts.image_type:
        return Verdict("localiser", "ImageType LOCALIZER")
    if {"MPR", "PROJECTION IMAGE", "SUBTRACTION"} & set(facts.image_type):
        return Verdict("other", "computed from other images")
    if frame.component == "imaginary" or (frame.component == "phase" and not is_psir(g)):
        return Verdict("other", f"{frame.component} image")
    if frame.component in _NO_WATER:
        return Verdict("other", f"{frame.component} image of a separation of fat and water")
    echoes = [[f.echo_ms for f in frames if f.echo_ms] for _, frames in g.places]
    if sum(len(ms) > 1 and max(ms) - min(ms) > ECHO_MS for ms in echoes) > len(echoes) / 2:
        return Verdict("other", "several echo times at one place: T2*, or fat and water")
    inversion_times = most_common(len({f.inversion_ms for f in frames if f.inversion_ms}) for _, frames in g.places)
    if inversion_times >= INVERSION_TIMES:
        return Verdict(
            "other", f"{inversion_times} inversion times at one place: raw images of a T1 map, or a TI scout"
        )
    echo_ms = facts.echo_ms or 0.0
    late, watery = _word("lge", g), _word("t2", g)
    if facts.spin_echo or (watery and (echo_ms >= T2_ECHO_MS or not late)):
        return _spin_echo(g, echo_ms, watery)
    if facts.inversion or (late and g.phases < TI_PHASES):
        return _late(g, late)
    if g.phases > 1:
        return _moving(g)
    slices = f"{len(g.places)} slices" if len(g.places) > 1 else "one slice"
    return Verdict("other", f"{slices} with one phase, neither inversion recovery nor T2-weighted")


def _spin_echo(g: Group, echo_ms: float, word: str | None) -> Verdict:
    if g.phases >= TI_PHASES:
        return Verdict("other", f"{g.phases} images at one place, no cine")
    if echo_ms >= T2_ECHO_MS or (word and not echo_ms):
        words = ["spin echo"] * g.first.facts.spin_echo + [f"echo time {echo_ms:.0f} ms"] * bool(echo_ms)
        return Verdict("T2", ", ".join([*words, *([f"the word {word!r}"] if word else [])]), Role.T2)
    return Verdict("other", f"echo time {echo_ms:.0f} ms, too short for T2 weighting")


def _late(g: Group, word: str | None) -> Verdict:
    if g.phases >= TI_PHASES:
        return Verdict("other", f"inversion recovery with {g.phases} images at one place: a TI scout or a map")
    reasons = ["inversion recovery"] * g.first.facts.inversion + [f"the word {word!r}"] * bool(word)
    return Verdict("LGE PSIR" if is_psir(g) else "LGE magnitude", ", ".join(reasons), Role.LGE)


def _moving(g: Group) -> Verdict:
    span_ms = _trigger_span_ms(g)
    if span_ms is not None and span_ms > CYCLE_MS:
        return Verdict("other", f"{g.phases} images at one place over {span_ms / 1000:.0f} s, no cycle")
    if span_ms is None or span_ms < PHASE_MS * (g.phases - 1):
        apart_s = statistics.median(_apart_s(frames) for _, frames in g.places)
        if apart_s >= BEAT_S:
            return Verdict("other", f"{g.phases} images at one place, {apart_s:.1f} s apart: perfusion or raw images")
        if span_ms is not None and (word := _STRESS.search(g.first.facts.words)):
            return Verdict("other", f"{g.phases} images at one time of the cycle, the word {word.group()!r}: perfusion")
    return Verdict("cine", f"{g.phases} phases at a place", Role.CINE)


def _trigger_span_ms(g: Group) -> float | None:
    """Time from the first to the last phase at most places; None where trigger times do not say."""
    times = [[f.trigger_ms for f in frames if f.trigger_ms is not None] for _, frames in g.places]
    spans = [max(found) - min(found) for found in times if len(found) > 1]
    return statistics.median(spans) if spans else None


def _apart_s(frames: Sequence[Frame]) -> float:
    """The usual time from one image of a place to the next, by when they were taken."""
    times = np.sort([f.acquired_s for f in frames if f.acquired_s is not None])
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def _short_axis(groups: Sequence[Group], contrasts: Sequence[Verdict]) -> ShortAxis | str:
    """The direction in which most parallel slices lie, names and obliqueness first: of the cine, else LGE, else T2.

    A sentence where there is none.
    """
    why = "one slice, and no stack to compare it with"
    for role in (Role.CINE, Role.LGE, Role.T2):
        members = [g for g, c in zip(groups, contrasts, strict=True) if c.role is role]
        bundles: list[list[Group]] = []
        for g in members:
            bundle = next((b for b in bundles if _degrees(b[0].normal, g.normal) <= SAME_AXIS_DEGREES), None)
            if bundle is None:
                bundles.append(bundle := [])
            bundle.append(g)
        bundles = [b for b in bundles if _slices(b) > 1]
        if bundles:
            best = max(bundles, key=_likely)
            across = [g for g in members if _degrees(best[0].normal, g.normal) >= ACROSS_DEGREES]
            if not any(_word("short", g) for g in best):
                if plane := _plane(best[0], BODY_PLANE_DEGREES):
                    why = f"a {plane} stack, and nothing says that it is a short axis"
                    continue
                rivals = [
                    b for b in bundles if b is not best and b[0] in across and _slices(b) >= RIVAL_SHARE * _slices(best)
                ]
                if any(not _plane(b[0], BODY_PLANE_DEGREES) and not any(_word("long", g) for g in b) for b in rivals):
                    why = "two stacks lie across each other, and nothing says which is the short axis"
                    continue
            return ShortAxis(best[0].normal, role, _why_axis(best, across))
    return why


def _slices(bundle: Sequence[Group]) -> int:
    along = np.sort(np.concatenate([[f.position_mm @ bundle[0].normal for f in g.frames] for g in bundle]))
    return 1 + int((np.diff(along) > 1).sum())


def _likely(bundle: Sequence[Group]) -> tuple[int, bool, int]:
    short, long = (any(_word(kind, g) for g in bundle) for kind in ("short", "long"))
    return int(short) - int(long), _plane(bundle[0], BODY_PLANE_DEGREES) is None, _slices(bundle)


def _why_axis(best: Sequence[Group], across: Sequence[Group]) -> str:
    word = next((w for g in best if (w := _word("short", g))), None)
    reasons = [f"the word {word!r}"] * bool(word) + [f"{_slices(best)} parallel slices"]
    if across:
        reasons.append(f"across the long axis of {', '.join(dict.fromkeys(g.name for g in across[:3]))}")
    return ", ".join(reasons)


def _degrees(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two lines."""
    return float(np.degrees(np.arccos(min(1.0, abs(a @ b)))))


def _plane(g: Group, degrees: float) -> str | None:
    """The plane of the body that a group lies in, if any."""
    nearest = int(np.argmax(np.abs(g.normal)))
    aligned = abs(g.normal[nearest]) >= np.cos(np.radians(degrees))
    return ("sagittal", "coronal", "transversal")[nearest] if aligned else None


def _verdict(g: Group, contrast: Verdict, axis: ShortAxis | str) -> Verdict:
    """Contrast and orientation together."""
    if contrast.role is None:
        return Verdict(contrast.what, contrast.why)
    if isinstance(axis, str):
        if contrast.role in MAPS:
            return Verdict(contrast.what, f"{contrast.why}; no short axis of an image to measure it in")
        return Verdict("other", axis)
    angle = _degrees(g.normal, axis.normal)
    word = _word("long", g)
    if angle <= SAME_AXIS_DEGREES and not (word and not _word("short", g)):
        near = "along the short axis" if angle < 1 else f"{angle:.0f} degrees from the short axis"
        short = f"short axis: {axis.why}" if contrast.role is axis.role else near
        what = _TITLES[contrast.role] if contrast.role is Role.CINE else contrast.what
        return Verdict(what, f"{contrast.why}; {short}", contrast.role)
    if word or angle >= ACROSS_DEGREES:
        named = f", the word {word!r}" if word else ""
        return Verdict("long axis", f"{contrast.what}: {contrast.why}; {angle:.0f} degrees from the short axis{named}")
    return Verdict("other", f"{contrast.what}: {contrast.why}; {angle:.0f} degrees from the short axis")
