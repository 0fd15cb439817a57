"""A phantom's study as DICOM before it is written, for `dicom_faults` to spoil, and what became of it after reading.

Every pixel holds its label in its last three bits, so that labels go through reading wherever their pixels go.
"""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

import dicom_writer as writer
from myoscope.analysis import judge
from myoscope.datasets.phantom import draw, sample
from myoscope.errors import InputError
from myoscope.io.read import read_study
from myoscope.study import Role, Study

CLOSE, FRAMES = 0.01, 6
CINE, LGE = 5, 8
"""Numbers of the two series."""

VALUES = {
    CINE: ("lv.edv_ml", "lv.esv_ml", "lv.mass_g", "rv.edv_ml", "rv.esv_ml"),
    LGE: ("lge.myocardium_ml", "lge.infarct_ml"),
}


@dataclass
class Draft:
    """Two series as instances, slice by slice and each slice's phases in order.

    `expected` are the right values; `nothing` the series of which nothing may be measured, for they show something
    else now. `written` are changes to the files, `beside` what lies beside; `save` whether results are written too.
    """

    series: dict[int, list[Dataset]]
    expected: dict[str, float]
    nothing: set[int] = field(default_factory=set)
    written: list[Callable[[Path], None]] = field(default_factory=list)
    beside: list[Callable[[Path], None]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    save: bool = False

    def slices(self, number: int) -> list[list[Dataset]]:
        """Instances of a series by slice."""
        return [list(g) for _, g in groupby(self.series[number], key=lambda d: str(d.ImagePositionPatient))]

    def all(self) -> list[Dataset]:
        """Instances of both."""
        return [d for stack in self.series.values() for d in stack]


@lru_cache(maxsize=16)
def _phantom(seed: int) -> tuple[bytes, dict[str, float]]:
    case = draw(sample(seed, group="MINF"), (Role.CINE, Role.LGE), frames=FRAMES)
    seen = np.argwhere(case.labels[Role.CINE].frames.any(axis=(0, 1)))
    series, labels = [], {}
    for one in case.study.series:
        codes = case.labels[one.role].frames
        seen = np.argwhere(codes.any(axis=(0, 1)))
        low, high = np.maximum(seen.min(axis=0) - 9, 0), seen.max(axis=0) + 10
        cut = (..., slice(low[0], high[0]), slice(low[1], high[1]))
        affine = one.image.affine.copy()
        affine[:3, 3] = (affine @ [low[1], low[0], 0, 1])[:3]
        voxels = one.image.frames[cut].clip(0, 4000).astype(int) // 8 * 8 + codes[cut]
        voxels[..., 0, 0] = 0
        flat = one.role is Role.LGE
        image = replace(one.image, voxels=(voxels[0] if flat else voxels).astype(np.float32), affine=affine)
        series.append(replace(one, image=image))
        labels[one.role] = image.with_voxels((image.voxels.astype(int) % 8).astype(np.uint8))
    study = replace(case.study, series=tuple(series))
    measured = judge(study, labels, {role: {"labels_from": "phantom"} for role in labels}).measurements.model_dump()
    names = [name for values in VALUES.values() for name in values]
    expected = {name: measured[name.split(".")[0]][name.split(".")[1]] for name in names}
    uid = writer._uids(f"faults-{seed}")
    common = writer._patient_and_study(study.patient, "Muster^Erika", uid)
    stacks = {n: writer._stack(s, common, n, uid) for n, s in zip((CINE, LGE), study.series, strict=True)}
    return pickle.dumps(stacks), expected


def drawn(seed: int) -> Draft:
    """A draft without fault."""
    series, expected = _phantom(seed)
    return Draft(pickle.loads(series), dict(expected))


def written(draft: Draft, folder: Path, rng: np.random.Generator) -> Path:
    """Write a draft's files, under names in no order; gives the folder."""
    study = folder / "study"
    (study / "series").mkdir(parents=True)
    for i, d in zip(rng.permutation(100_000), draft.all(), strict=False):
        path = writer.save(d, study / "series" / f"{i:05}.dcm")
        for change in draft.written:
            change(path)
    for write in draft.beside:
        write(study)
    return study


def outcome(draft: Draft, folder: Path) -> str:
    """What reading and measuring a draft gives: "right", "refused", "warned", "null", or "WRONG" and why."""
    try:
        study = read_study(written(draft, folder, np.random.default_rng(len(draft.faults))))
    except InputError as error:
        return "refused" if "\n" not in str(error) else f"WRONG: {error}"
    labels = {s.role: s.image.with_voxels((s.image.voxels.astype(int) % 8).astype(np.uint8)) for s in study.series}
    result = judge(study, labels, {role: {"labels_from": "phantom"} for role in labels})
    found = result.measurements.model_dump()
    if draft.save:
        result.save(folder / "out")
        found = json.loads((folder / "out" / "measurements.json").read_text())
    return _judged(draft, study, found)


def _judged(draft: Draft, study: Study, found: dict) -> str:
    measured = {name: found[name.split(".")[0]][name.split(".")[1]] for name in draft.expected}
    nothing = {name for number in draft.nothing for name in VALUES[number]}
    wrong, null = {}, []
    for name, right in draft.expected.items():
        value = measured[name]
        if value is None:
            null += [name] if right is not None and name not in nothing else []
            if name not in found["quality"]["missing"]:
                wrong[name] = "null without a reason"
        elif name in nothing or right is None or abs(value - right) > CLOSE * abs(right):
            wrong[name] = f"{value:.4g}, right: {'nothing' if name in nothing else right}"
    if wrong:
        said = [note.message for note in study.notes if note.level == "warning"]
        return "warned" if said and not nothing & set(wrong) else f"WRONG: {wrong}"
    if not draft.faults and any(note.level == "warning" for note in study.notes):
        return f"warned: {[note.message for note in study.notes]}"
    return "null" if null else "right"
