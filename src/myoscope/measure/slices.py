"""The heart slice by slice: how thick the LV's wall is and how evenly, and the cavities' areas, at ED and ES."""

from collections.abc import Mapping

import numpy as np

from myoscope.labels import Structure
from myoscope.measure.function import Phases
from myoscope.measure.results import SliceWall
from myoscope.measure.segments import base_slope
from myoscope.measure.values import Value, derive, split
from myoscope.measure.wall import Thickness, find_ring, ring_thickness_mm
from myoscope.volume import Spacing

NO_RING = "no slice with a full ring of myocardium"
_PHASES = {"ed": "end-diastole", "es": "end-systole"}
_FIELDS = {"mm": "mean", "max_mm": "largest", "sd_mm": "spread"}

Rings = Mapping[int, Thickness] | str
"""Thickness of each slice with a full ring, by slice from 0; or why there is none."""


def ring_walls(frames: np.ndarray, spacing_mm: Spacing, frame: int | str) -> Rings:
    """Wall thickness of every full ring in one frame of labels (T, Z, Y, X)."""
    if isinstance(frame, str):
        return frame
    rings = {z: find_ring(plane, spacing_mm[1:]) for z, plane in enumerate(frames[frame])}
    full = {z: ring_thickness_mm(ring, spacing_mm[1:]) for z, ring in rings.items() if ring and ring.is_full}
    return full or NO_RING


def wall_max_mm(walls: Rings) -> Value:
    """Largest mean thickness of a sector in any slice, in mm, or why there is none."""
    return walls if isinstance(walls, str) else max(wall.largest for wall in walls.values())


def slice_rows(
    frames: np.ndarray, spacing_mm: Spacing, phases: Phases, walls: Mapping[str, Rings]
) -> tuple[list[SliceWall], dict[str, str]]:
    """Rows of slices with a full ring at end-diastole ("ed" of `walls`) or end-systole ("es"), base first.

    Returns:
        The rows, and the reasons for what they lack: under "slices" where there is none at all, under
        "slices.wall_thickness_es_mm" where a value is missing in all, else "slices.3.wall_thickness_es_mm".
    """
    found = {phase: {} if isinstance(by_slice, str) else by_slice for phase, by_slice in walls.items()}
    seen = sorted({z for by_slice in found.values() for z in by_slice})
    if not seen:
        return [], {"slices": "; ".join(dict.fromkeys(str(reason) for reason in walls.values()))}
    base_last = base_slope(frames[phases.frames[0]]) > 0
    rows, missing = [], dict[int, dict[str, str]]()
    for z in reversed(seen) if base_last else seen:
        values: dict[str, Value] = {}
        for phase, why in walls.items():
            reason = why if isinstance(why, str) else f"no full ring of myocardium in this slice at {_PHASES[phase]}"
            there = found[phase].get(z)
            for ending, part in _FIELDS.items():
                values[f"wall_thickness_{phase}_{ending}"] = getattr(there, part) if there else reason
            frame = getattr(phases, phase)
            for name, structure in (("lv", Structure.LV), ("rv", Structure.RV)):
                area = float((frames[frame, z] == structure).sum()) * spacing_mm[1] * spacing_mm[2] if there else reason
                values[f"{name}_area_{phase}_mm2"] = area
        ed, es = values["wall_thickness_ed_mm"], values["wall_thickness_es_mm"]
        values["wall_thickening_percent"] = derive(lambda d, s: 100 * (s - d) / d, ed, es)
        number = frames.shape[1] - z if base_last else z + 1
        numbers, missing[number] = split(values)
        rows.append(SliceWall.model_validate({"slice": number, **numbers}))
    everywhere = {
        f"slices.{name}": why
        for name, why in missing[rows[0].slice].items()
        if all(name in m for m in missing.values())
    }
    single = {f"slices.{n}.{name}": why for n, lacking in missing.items() for name, why in lacking.items()}
    return rows, everywhere | {k: why for k, why in single.items() if f"slices.{k.split('.')[2]}" not in everywhere}
