"""Whether a T1 map was taken before or after contrast agent: by its names, by headers, and by when it was taken.

Scanners do not say so in one place. Names do in most protocols; ContrastBolusAgent stands in the headers from the
injection on where somebody entered it, but in all series where it was entered with the patient, and in none where
nobody did; late enhancement always comes after it. What these leave open, or contradict, stays open.
"""

import re
from collections.abc import Sequence

from myoscope.io.dicom.stacks import Group
from myoscope.study import Role

_AGENT = r"contrast|kontrast|gd|gad[a-z]*|km|ce|inj[a-z]*"
_NATIVE = re.compile(
    rf"(?<![a-z])(pre.?({_AGENT})|native?|nativo|pre)(?![a-z])|(?<![a-z])(without|ohne|sans|no|non).?({_AGENT})(?![a-z])"
)
_POST = re.compile(rf"(?<![a-z])(post(?!.?proc|er)|({_AGENT}|enhanced|pk)(?![a-z]))")

_DATE = 8
"""Digits of a date: a frame whose `taken` is no longer does not say when on that day."""


def native_or_post(g: Group, groups: Sequence[Group], late: Sequence[Group]) -> tuple[Role, str]:
    """What is known of contrast agent in a T1 map, and by what.

    Args:
        g: The map.
        groups: All of the study.
        late: Those of them that are named late enhancement.
    """
    native, post = _said(g.first.facts.words)
    proof = _after_injection(g, groups) or _after_late(g, late)
    if native and (post or proof):
        return Role.MAP_T1, f"before or after contrast agent is contradictory: {native!r} and {post or proof}"
    if native:
        return Role.MAP_T1_NATIVE, f"native: the word {native!r}"
    if post or proof:
        return Role.MAP_T1_POST, f"after contrast agent: {f'the word {post!r}' if post else proof}"
    if why := _before_injection(g, groups):
        return Role.MAP_T1_NATIVE, f"native: {why}"
    return Role.MAP_T1, "nothing says whether before or after contrast agent"


def _said(words: str) -> tuple[str | None, str | None]:
    """The first word for native and the first for after contrast agent in a series' names, in lower case.

    >>> _said("t1map_native_sax"), _said("post-gad_t1map"), _said("t1 pre gd"), _said("t2prep_t1_posterior")
    (('native', None), (None, 'post'), ('pre gd', None), (None, None))
    """
    native, rest = _NATIVE.search(words), _NATIVE.sub(" ", words)
    post = _POST.search(rest)
    return native and native.group(), post and post.group()


def _after_injection(g: Group, groups: Sequence[Group]) -> str | None:
    """Why a map that names contrast agent was taken after it: earlier series do not name it."""
    if g.first.facts.agent and any(not o.first.facts.agent and _earlier(o, g) for o in groups):
        return "its header names contrast agent, earlier series' do not"
    return None


def _before_injection(g: Group, groups: Sequence[Group]) -> str | None:
    """Why a map that names no contrast agent was taken before it: all series that name it came later."""
    named = [o for o in groups if o.first.facts.agent]
    if named and not g.first.facts.agent and all(_earlier(g, o) for o in named):
        return "contrast agent stands in the headers of later series only"
    return None


def _after_late(g: Group, late: Sequence[Group]) -> str | None:
    first = next((o for o in late if _earlier(o, g)), None)
    return f"taken after the late enhancement of {first.name}" if first else None


def _earlier(a: Group, b: Group) -> bool:
    """Whether one was begun before another; False where either does not say when."""
    begun = [min(f.taken for f in g.frames) for g in (a, b)]
    return min(map(len, begun)) > _DATE and begun[0] < begun[1]
