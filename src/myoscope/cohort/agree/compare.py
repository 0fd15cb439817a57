"""One study against its reader: numbers, Dice and Hausdorff distance of each structure, the slice that differs most."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from myoscope.analysis import judge
from myoscope.cohort.agree.reference import frames_drawn
from myoscope.io.label_maps import stored_labels
from myoscope.io.tables import row_of
from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.overlap import dice, hausdorff_mm
from myoscope.report.figures import crop, slice_svg, to_grey
from myoscope.study import Role, Study
from myoscope.volume import Volume

REGIONS = {
    "LV": (Structure.LV,),
    "LV wall": LV_WALL,
    "RV": (Structure.RV,),
    "infarct": SCAR,
    "no-reflow": (Structure.NO_REFLOW,),
    "edema": (Structure.EDEMA, *SCAR),
}


@dataclass(frozen=True)
class Overlap:
    """A region of a series in one frame, by both."""

    role: str
    frame: int
    region: str
    dice: float
    hausdorff_mm: float


@dataclass(frozen=True)
class Compared:
    """A study by both: measurements by dotted name, overlaps, and pictures of the slice that differs most.

    `intervals` are ours, `weights` the SHA-256 of what drew each role.
    """

    study: str
    ours: Mapping[str, float]
    theirs: Mapping[str, float]
    groups: Mapping[str, str]
    overlaps: tuple[Overlap, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[Markup, Markup] | None = field(default=None, compare=False)


def numbers(measurements: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of measurements.json that a reader may have too, by dotted name."""
    skipped = ("frame", "curve", "time", "slices")
    return {
        name: float(value)
        for name, value in row_of(measurements).items()
        if name.startswith(("lv.", "rv.", "lge.", "t2."))
        and isinstance(value, int | float)
        and not any(word in name for word in skipped)
    }


def intervals_of(measurements: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The intervals of measurements.json, by the dotted name of what they are of."""
    return {
        f"{part}.{key.removesuffix('_interval')}": (float(ends[0]), float(ends[1]))
        for part in ("lv", "rv", "lge", "t2")
        for key, ends in measurements[part].items()
        if key.endswith("_interval") and ends
    }


def weights_of(measurements: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of the weights that drew each role."""
    series = measurements["provenance"]["series"]
    return {one["role"]: one["weights_sha256"] for one in series if one["weights_sha256"]}


def compare_labels(
    study: Study, folder: Path, theirs: Mapping[Role, Volume], ours: Mapping[str, Any], groups: Mapping[str, str]
) -> Compared:
    """A study whose images a reader drew on; the reader's labels are measured as ours are.

    Args:
        study: The images.
        folder: OUT/studies/<id>.
        theirs: `Structure` codes by role.
        ours: Its measurements.json.
        groups: Class, scanner and field strength, as far as they are known.
    """
    drawn = {role: labels for role, labels in theirs.items() if labels.voxels.any()}
    measured = numbers(judge(study, drawn, {}).measurements.model_dump()) if drawn else {}
    overlaps: list[Overlap] = []
    worst: tuple[float, Any] = (-1.0, None)
    for role, labels in drawn.items():
        series = study.get(role)
        found = stored_labels(folder / "segmentations", series) if series else None
        if series is None or found is None:
            continue
        shared = _regions(labels)
        for t in frames_drawn(labels):
            a, b = found.frames[t], labels.frames[t]
            for name in shared:
                mask, truth = np.isin(a, REGIONS[name]), np.isin(b, REGIONS[name])
                overlaps.append(
                    Overlap(
                        str(role), int(t), name, dice(mask, truth), hausdorff_mm(mask, truth, series.image.spacing_mm)
                    )
                )
            codes = [code for name in shared for code in REGIONS[name]]
            differs = (np.where(np.isin(a, codes), a, 0) != np.where(np.isin(b, codes), b, 0)).sum(axis=(1, 2))
            area = float(differs.max()) * float(np.prod(series.image.spacing_mm[1:]))
            if area > worst[0]:
                worst = (area, (series, int(t), int(differs.argmax()), a, b))
    return Compared(
        study.id,
        numbers(ours),
        measured,
        groups,
        tuple(overlaps),
        intervals_of(ours),
        weights_of(ours),
        _pictures(worst[1]),
    )


def _regions(labels: Volume) -> list[str]:
    """Regions that this reader draws, as far as this study shows: what is nowhere drawn was perhaps not looked for."""
    return [name for name, codes in REGIONS.items() if np.isin(labels.voxels, codes).any() and name != "edema"] + (
        ["edema"] if (labels.voxels == Structure.EDEMA).any() else []
    )


def _pictures(worst: Any) -> tuple[Markup, Markup] | None:
    if worst is None:
        return None
    series, t, z, ours, theirs = worst
    both = np.stack([ours[z], theirs[z]])[:, None]
    window = crop(both, ours.shape[1:], series.image.spacing_mm[1:])
    image = series.image.frames[t, z]
    grey = to_grey(image[window], np.any(both[:, 0] > 0, axis=0)[window])
    spacing = series.image.spacing_mm[1:]
    first, second = (
        slice_svg(grey, labels[z][window], spacing, f"{series.role}, slice {z + 1}, {whose}")
        for labels, whose in ((ours, "ours"), (theirs, "the reader's"))
    )
    return first, second
