"""T1, T2 and ECV maps that a scanner made, read by segment: the wall of another series carried over by geometry.

Segments are placed where the wall was drawn and taken over onto the map's voxels, each from the slice that it lies in,
so slices and spacing may differ. Only the middle of the wall counts: a fifth of its depth is left out on either side,
for voxels there hold blood, fat or lung as well. From a native and a post-contrast T1 map ECV is computed (`ecv`).

Source: Messroghli et al. 2017, doi:10.1186/s12968-017-0389-8 (T1 and T2 in ms, ECV in per cent, ROIs without partial
volume); the share that is left out, the least number of voxels and the limits are our own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from myoscope.labels import Structure
from myoscope.measure.anatomy import NAMES, Anatomy
from myoscope.measure.ecv import MIN_VOXELS, Seen, ecv_from_t1
from myoscope.measure.mapped import EcvMap, EcvSegment, Maps, TimeMap, TimeSegment
from myoscope.study import MAPS, Role, Study
from myoscope.volume import Volume, onto_grid

EDGE_SHARE = 0.2
"""Share of the wall's depth that is left out at either border."""

TILT_DEGREES = 10.0
"""A map tilted more than this against the slices that the wall was drawn on does not show it."""

BLOOD_EDGE_MM = 4.0
"""Blood nearer to the cavity's border than this is left out: papillary muscles, trabeculae, partial volume."""

T1 = (Role.MAP_T1, Role.MAP_T1_NATIVE, Role.MAP_T1_POST)

BELIEVABLE = {**dict.fromkeys(T1, (100.0, 2500.0)), Role.MAP_T2: (15.0, 200.0), Role.MAP_ECV: (5.0, 90.0)}
"""Median of a wall in ms or per cent: outside of it the map holds something else, or another unit."""

PARTS = {role: role.removeprefix("map_") for role in MAPS}
"""Where a map's numbers stand in `maps`."""

TITLES = {
    Role.MAP_T1: "T1 map",
    Role.MAP_T1_NATIVE: "native T1 map",
    Role.MAP_T1_POST: "T1 map after contrast agent",
    Role.MAP_T2: "T2 map",
    Role.MAP_ECV: "ECV map",
}
"""What a map is called."""

_BLOOD = max(NAMES) + 1


class Wall(NamedTuple):
    """A series on which the wall was drawn: the grid of its labels, and the heart in them."""

    grid: Volume
    heart: Anatomy


def measure_maps(study: Study, walls: Mapping[Role, Wall]) -> tuple[Maps, dict[str, str]]:
    """Median and interquartile range of every map, in the wall and in each of its segments.

    Args:
        study: The study; its series of the roles `MAPS` are measured.
        walls: Series with a drawn wall, the best first: the map itself, else the first that its geometry
            allows is carried over.

    Returns:
        The values, and the reasons for what they lack by dotted name (`maps.t1`, `maps.t1.segments.3`).
    """
    found: dict[str, TimeMap | EcvMap] = {}
    missing: dict[str, str] = {}
    reads: dict[Role, Seen] = {}
    for role in MAPS:
        part, series = PARTS[role], study.get(role)
        model, row, unit = (EcvMap, EcvSegment, "percent") if role is Role.MAP_ECV else (TimeMap, TimeSegment, "ms")
        found[part] = model()
        if series is None:
            missing[f"maps.{part}"] = _absent(study, role)
            continue
        others = {r: wall for r, wall in walls.items() if r not in MAPS}
        drawn_on_it = {role: walls[role]} if role in walls else others
        read = _by_segment(series.image, drawn_on_it, BELIEVABLE[role])
        if isinstance(read, str):
            missing[f"maps.{part}"] = read
            continue
        reads[role] = read
        values = read.segments
        rows: list[Any] = []
        for n, name in NAMES.items():
            here = values[n]
            row_values = _summary(here, unit) if len(here) >= MIN_VOXELS else {}
            rows.append(row(segment=n, name=name, voxels=len(here), **row_values))
            if len(here) < MIN_VOXELS:
                missing[f"maps.{part}.segments.{n}"] = f"{len(here)} voxels of the map, fewer than {MIN_VOXELS}"
        whole = np.concatenate(list(values.values()))
        found[part] = model(wall_from=str(read.wall_from), voxels=len(whole), segments=rows, **_summary(whole, unit))
    native, post = (reads.get(role, missing.get(f"maps.{PARTS[role]}", "")) for role in T1[1:])
    computed, reasons = ecv_from_t1(study, native, post)
    return Maps(**found, ecv_from_t1=computed), missing | reasons


def _absent(study: Study, role: Role) -> str:
    """Why a map is not there: of T1 maps, whether there is one of another kind."""
    if role is Role.MAP_T1 and any(study.get(r) for r in T1):
        return "the T1 map is known to be native or after contrast agent"
    if role in T1 and study.get(Role.MAP_T1):
        return "nothing says whether the T1 map was taken before or after contrast agent"
    return f"no {TITLES[role]}"


def _summary(values: np.ndarray, unit: str) -> dict[str, float]:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return {f"median_{unit}": float(middle), f"iqr_{unit}": float(high - low)}


def _by_segment(image: Volume, walls: Mapping[Role, Wall], believable: tuple[float, float]) -> Seen | str:
    """Where the wall came from and the map's values in each segment and in the blood, or why there are none."""
    why = "no LGE, T2 or bSSFP with a wall to carry over"
    for role, wall in walls.items():
        if wall.heart.reason:
            why = f"{role}: {wall.heart.reason}"
        elif not _same_place(image, wall.grid):
            why = f"the map and the {role} series do not lie in the same way, or nothing says where they lie"
        else:
            drawn = np.where(_middle(wall.heart), wall.heart.codes, 0)
            drawn[_blood(wall.heart)] = _BLOOD
            codes = wall.grid.with_voxels(drawn)
            here = np.rint(onto_grid(codes, image, order=0)).astype(int)
            voxels = image.frames[0]
            here[~np.isfinite(voxels) | (voxels <= 0)] = 0  # scanners write 0 where the fit failed
            values = {n: voxels[here == n].astype(float) for n in NAMES}
            count = sum(map(len, values.values()))
            if count < MIN_VOXELS:
                why = f"{count} voxels of the map lie in the wall of the {role} series"
                continue
            median = float(np.median(np.concatenate(list(values.values()))))
            if not believable[0] <= median <= believable[1]:
                return f"the wall's median is {median:.4g}: not in ms or per cent, or no such map"
            return Seen(role, values, voxels[here == _BLOOD].astype(float))
    return why


def _same_place(image: Volume, grid: Volume) -> bool:
    """Whether both affines were measured and slices are parallel, or both have one grid."""
    if image.same_grid(grid):
        return True
    normals = [np.cross(a[:3, 0], a[:3, 1]) for a in (image.affine, grid.affine)]
    cosine = abs(normals[0] @ normals[1]) / (np.linalg.norm(normals[0]) * np.linalg.norm(normals[1]))
    return image.is_oblique and grid.is_oblique and bool(cosine >= np.cos(np.radians(TILT_DEGREES)))


def _middle(heart: Anatomy) -> np.ndarray:
    """The wall without a share of its depth at either border, bool (Z, Y, X); in the tip nothing is left out."""
    kept = np.ones(heart.labels.shape, bool)
    wall = heart.codes > 0
    for z, ring in heart.full.items():
        spacing = heart.spacing_mm[1:]
        cavity = (heart.labels[z] == Structure.LV) & ring.disc
        from_blood = ndimage.distance_transform_edt(~cavity, spacing)
        from_outside = ndimage.distance_transform_edt(cavity | wall[z], spacing)
        depth = from_blood / np.maximum(from_blood + from_outside, 1e-6)
        kept[z] = (depth >= EDGE_SHARE) & (depth <= 1 - EDGE_SHARE)
    return kept & wall


def _blood(heart: Anatomy) -> np.ndarray:
    """The LV's blood away from its border, bool (Z, Y, X)."""
    cavity = heart.labels == Structure.LV
    inside = [ndimage.distance_transform_edt(plane, heart.spacing_mm[1:]) >= BLOOD_EDGE_MM for plane in cavity]
    return np.array(inside) & cavity
