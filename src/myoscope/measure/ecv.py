"""Extracellular volume fraction from a native and a post-contrast T1 map and the hematocrit.

From medians of the same segment and of the LV's blood in both maps, not voxel by voxel: the heart never lies in the
same way twice, and nothing here registers one map to the other.

Source: Messroghli et al. 2017, doi:10.1186/s12968-017-0389-8, and Kellman et al. 2012, doi:10.1186/1532-429X-14-63; the
limits are our own.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from myoscope.measure.anatomy import NAMES
from myoscope.measure.mapped import EcvFromT1, EcvFromT1Segment
from myoscope.study import Role, Series, Study

MIN_VOXELS = 8
"""Fewer map voxels than this do not speak for a segment, nor for the blood."""

SHORTENED = 0.9
"""Contrast agent brings the blood's T1 to this share of the native one or less; else none was there."""

BELIEVABLE_PERCENT = (5.0, 95.0)
"""ECV of a wall; the core of a chronic infarct has up to 90 % (Kellman et al. 2012, doi:10.1186/1532-429X-14-64)."""


class Seen(NamedTuple):
    """A map's values in each segment's wall and in the LV's blood; the wall was drawn on `wall_from`."""

    wall_from: Role
    segments: Mapping[int, np.ndarray]
    blood: np.ndarray


def ecv_percent(wall_ms: tuple[float, float], blood_ms: tuple[float, float], hematocrit: float) -> float:
    """ECV in per cent from T1 in ms, native and after contrast agent, of the wall and of blood.

    >>> round(ecv_percent((1000.0, 450.0), (1550.0, 300.0), 0.42), 1)
    26.4
    """
    wall, blood = (1 / post - 1 / native for native, post in (wall_ms, blood_ms))
    return 100 * (1 - hematocrit) * wall / blood


def ecv_from_t1(study: Study, native: Seen | str, post: Seen | str) -> tuple[EcvFromT1, dict[str, str]]:
    """ECV of every segment that both maps show, and of all of these together.

    Args:
        study: The study, for the hematocrit, and for whether the maps lie in one frame of reference.
        native: What was read in the native T1 map, or why nothing was.
        post: The same after contrast agent.

    Returns:
        The values, and the reasons for what they lack by dotted name.
    """
    name, hematocrit = "maps.ecv_from_t1", study.patient.hematocrit
    if isinstance(native, str) or isinstance(post, str):
        lacking = dict.fromkeys(one for one in (native, post) if isinstance(one, str))
        return EcvFromT1(), {name: "; ".join(lacking)}
    if hematocrit is None:
        return EcvFromT1(), {name: "no hematocrit was given (--hematocrit)"}
    if why := _apart(study.get(Role.MAP_T1_NATIVE), study.get(Role.MAP_T1_POST)) or _no_blood(native, post):
        return EcvFromT1(), {name: why}
    blood_ms = float(np.median(native.blood)), float(np.median(post.blood))
    rows, missing, used = [], dict[str, str](), []
    for n, title in NAMES.items():
        here = native.segments[n], post.segments[n]
        found = _of_wall(here, blood_ms, hematocrit)
        if isinstance(found, str):
            missing[f"{name}.segments.{n}"] = found
        else:
            used.append(here)
        rows.append(EcvFromT1Segment(segment=n, name=title, ecv_percent=None if isinstance(found, str) else found))
    if not used:
        return EcvFromT1(), {name: "no segment can be measured in both T1 maps"}
    native_ms, post_ms = (float(np.median(np.concatenate(values))) for values in zip(*used, strict=True))
    whole = ecv_percent((native_ms, post_ms), blood_ms, hematocrit)
    return EcvFromT1(ecv_percent=whole, blood_native_ms=blood_ms[0], blood_post_ms=blood_ms[1], segments=rows), missing


def _of_wall(here: tuple[np.ndarray, np.ndarray], blood_ms: tuple[float, float], hematocrit: float) -> float | str:
    """ECV of a segment in per cent, or why there is none."""
    fewest = min(map(len, here))
    if fewest < MIN_VOXELS:
        return f"{fewest} voxels of one of the T1 maps, fewer than {MIN_VOXELS}"
    found = ecv_percent((float(np.median(here[0])), float(np.median(here[1]))), blood_ms, hematocrit)
    low, high = BELIEVABLE_PERCENT
    return found if low <= found <= high else f"ECV would be {found:.0f} %: the maps do not show the same wall here"


def _apart(native: Series | None, post: Series | None) -> str | None:
    """Why two maps do not lie in one frame of reference, as far as DICOM says."""
    frames = {one.source.reference_uid for one in (native, post) if one and one.source}
    return "the two T1 maps do not share a frame of reference" if len(frames) > 1 else None


def _no_blood(native: Seen, post: Seen) -> str | None:
    """Why the blood of two maps gives no ECV."""
    if min(len(native.blood), len(post.blood)) < MIN_VOXELS:
        return f"fewer than {MIN_VOXELS} voxels of the LV's blood in one of the T1 maps"
    before, after = np.median(native.blood), np.median(post.blood)
    if after > SHORTENED * before:
        return (
            f"blood has a T1 of {before:.0f} ms in the native map and of {after:.0f} ms in the other: no contrast "
            "agent there, or the two are swapped"
        )
    return None
