"""What the names of NIfTI files and of the folders above them say an image shows."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from myoscope.errors import InputError
from myoscope.io import bids
from myoscope.io.nifti import shown
from myoscope.study import Role

_ROLES = {
    Role.CINE: r"cine|frame\d+|4d",
    Role.LGE: r"lge|de|psir|delayed|lateenhancement",
    Role.T2: r"t2|t2w|stir",
    Role.BSSFP: r"c0|bssfp|ssfp|trufi|fiesta",
}
_SHORT = r"sax?|shortaxis"
"""A short axis; without a word for another role, of a cine."""

_LONG = r"(cine|ssfp|lge|psir)?(lax?|longaxis)?([2-5](ch|chamber|chambers|cv))?"
_LONG_TOO = r"vla|hla|[lr]vot|(lax?|ch)[2-5]"
_CHAMBERS = re.compile(r"([2-5])[^a-z0-9]+(ch|chambers?)(?![a-z0-9])")

_OTHERS = {
    "a map": r"(t1|t2|t2star|t1rho|r2star|ecv|b0|b1)?maps?|(t1|t2)?mapping|ecv|t2star|t1rho|(sh)?molli|sasha",
    "perfusion": r"perf|perfusion|firstpass",
    "flow": r"(4d)?flow|venc|phasecontrast",
    "tagging": r"tag|tags|tagging|tagged|spamm|dense",
    "a planning or vessel image": r"scouts?|locali[sz]ers?|survey|haste|aorta|angio",
    "a phase or imaginary image": r"part(phase|imag)",
}
_MAPS = {
    Role.MAP_T1: r"t1maps?|mapt1",
    Role.MAP_T2: r"t2maps?|mapt2",
    Role.MAP_ECV: r"ecv(maps?)?|mapecv",
}
_NO_MAP = r"sd|std|stdev|error|err|residuals?|r2|fit|confidence|quality|raw|star|t2star|t1rho"
"""Words beside a map's that say another quantity."""

_NATIVE, _POST, _AGENT = r"native?|pre|precontrast", r"post\w*", r"gd|ce|gad\w*|enhanced|kontrast|km"
"""Words that say that a map was taken before contrast agent, after it, or that there is some."""

_PHASES: dict[Literal["ed", "es"], str] = {
    "ed": r"ed|enddiastole|enddiastolic|diastole|diastolic",
    "es": r"es|endsystole|endsystolic|systole|systolic",
}
_LABELS = r"gt|gd|(d|prob)?seg(s|mented|mentations?)?\d*|label(s|maps?)?\d*|masks?\d*|contours?|annotations?"

TIME = re.compile(r"_t(?![12]$)(\d{1,5})$", re.IGNORECASE)
"""How dcm2niix ends the name of one phase of a cine: its trigger time in ms; nothing where that is 0."""


@dataclass(frozen=True)
class Named:
    """What names say of an image.

    `other` is something that is not measured, in words. `phase` is one that a single frame shows, and `key` the file's
    name without it.
    """

    role: Role | None
    view: Literal["short", "long"] | None
    other: str | None
    phase: Literal["ed", "es"] | None
    key: str


def stem_of(path: Path) -> str:
    """A file's name without .nii, .nii.gz and nnU-Net's channel number.

    >>> stem_of(Path("a/patient001_frame01_0000.nii.gz"))
    'patient001_frame01'
    """
    return re.sub(r"(\.nii)?(\.gz)?$", "", path.name, flags=re.IGNORECASE).removesuffix("_0000")


def is_label_name(path: Path) -> bool:
    """Whether a file's name says that it holds labels.

    >>> [is_label_name(Path(name)) for name in ("lge_seg.nii.gz", "sub-1_dseg.nii", "sub-gt_lge.nii", "segre.nii")]
    [True, True, False, False]
    """
    parts = bids.parts_of(stem_of(path))  # of such a name only the suffix says what it is: ce-gd names an agent
    return any(re.fullmatch(_LABELS, word) for word in _words(parts[1] if parts else stem_of(path)))


def map_role(path: Path) -> Role | None:
    """Which map a file's own name says that it is; None where it says none, more, or T2 or ECV after contrast agent.

    >>> [map_role(Path(name)) for name in ("sub-1_T1map.nii", "T1_map_post.nii", "T2star_map.nii", "lge.nii")]
    [<Role.MAP_T1: 'map_t1'>, <Role.MAP_T1_POST: 'map_t1_post'>, None, None]
    """
    name = _names(path)[0]
    roles = [role for role, words in _MAPS.items() if _says(name, words)]
    if len(roles) != 1 or _says(name, _NO_MAP):
        return None
    native, post = _says(name, _NATIVE), _says(name, _POST)
    with_agent = post or (_says(name, _AGENT) and not native)
    if roles[0] is not Role.MAP_T1:
        return None if with_agent else roles[0]
    if native and post:
        return Role.MAP_T1
    return Role.MAP_T1_NATIVE if native else Role.MAP_T1_POST if with_agent else Role.MAP_T1


def guess_role(path: Path) -> Role | None:
    """What the words of a file's name, else of the folders above it, say an image shows; None if they say nothing.

    >>> guess_role(Path("study/Case_LGE.nii.gz")), guess_role(Path("sax/image.nii")), guess_role(Path("a/b.nii"))
    (<Role.LGE: 'lge'>, <Role.CINE: 'cine'>, None)

    Raises:
        InputError: one name says two things.
    """
    return next((role for name in _names(path) if (role := _role(name, path))), None)


def read_names(path: Path) -> Named:
    """What a file's name and the two folders above it say of an image; the nearest that says something counts.

    A name that BIDS would have is not silent: where its words and those of the folders say no role, its suffix is of
    something that is not measured.

    >>> read_names(Path("p/la_4ch.nii.gz")).view, read_names(Path("p/001_SA_ED.nii.gz")).phase
    ('long', 'ed')

    Raises:
        InputError: one name says two things.
    """
    names = _names(path)
    other = None
    for name in names:
        other = next((what for what, words in _OTHERS.items() if _says(name, words)), None)
        if other or _role(name, path):
            break
    words = _words(bids.spread(stem_of(path)))
    phase, word = _phase(names[0]) or (None, "")
    if phase:
        del words[-1 - words[::-1].index(word)]
    role = None if other else guess_role(path)
    view = next((view for name in names[:2] if (view := _view(name))), None)
    if not (role or view or other or phase) and (parts := bids.parts_of(stem_of(path))):
        other = f"of the BIDS suffix {parts[1]!r}, which is not measured"
    return Named(role, view, other, phase, "_".join(words))


def frame_of(path: Path) -> int | Literal["ed", "es"] | None:
    """Which frame of a cine a file's name says that it shows: its number, from 1, or its phase.

    >>> [frame_of(Path(name)) for name in ("patient1_frame07_gt.nii.gz", "mask-ES.nii", "cine_seg.nii.gz")]
    [7, 'es', None]
    """
    name = bids.telling(stem_of(path))
    if number := re.search(r"(?<![a-z])frame[_-]?(\d+)(?!\d)", name, re.IGNORECASE):
        return int(number[1])
    found = _phase(name)
    return found[0] if found else None


def _phase(name: str) -> tuple[Literal["ed", "es"], str] | None:
    """The phase that a name says, and the word that says it."""
    said = ((known, word) for known in _PHASES for word in _words(name) if re.fullmatch(_PHASES[known], word))
    return next(said, None)


def _names(path: Path) -> list[str]:
    """The words of a file's name and of two folders above it, without those that say whose image it is."""
    return [bids.telling(name) for name in (stem_of(path), *(parent.name for parent in list(path.parents)[:2]))]


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def _says(name: str, words: str) -> bool:
    found = _words(name)
    return any(re.fullmatch(words, word) for word in (*found, *(a + b for a, b in pairwise(found))))


def _role(name: str, path: Path) -> Role | None:
    roles = {role for role, words in _ROLES.items() if any(re.fullmatch(words, word) for word in _words(name))}
    if len(roles) > 1:
        raise InputError(f"{shown(path)}: the name says {' and '.join(sorted(roles))}; give --role {'|'.join(Role)}")
    if roles:
        return roles.pop()
    return Role.CINE if _says(name, _SHORT) else None


def _view(name: str) -> Literal["short", "long"] | None:
    if _CHAMBERS.search(name.lower()) or any(_is_long(word) for word in _words(name)) or _says(name, "longaxis"):
        return "long"
    return "short" if _says(name, _SHORT) else None


def _is_long(word: str) -> bool:
    match = re.fullmatch(_LONG, word)
    return bool(re.fullmatch(_LONG_TOO, word) or (match and (match[2] or match[3])))
