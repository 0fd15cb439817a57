"""Labelled cases in one small file: what training needs on a machine without the data and without nibabel.

Slices are scaled to 8 bits one by one, resampled in plane and cropped around the heart. Scores belong to the original
images; a cache is for training only.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.lab.slices import normalise, resample_labels, resample_slices
from myoscope.labels import Structure
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.volume import Volume

SPACING_MM = 1.4
SIDE_MM = 240.0
"""Side of the square that is kept around the heart."""


def write_cache(cases: Sequence[Case], path: Path) -> None:
    """Write cases, each image and its labels shrunk to what training needs."""
    write_whole(path, packed(cases, _shrink))


def packed(cases: Sequence[Case], store: Callable[[Volume, Volume], tuple[Volume, Volume]]) -> bytes:
    """Cases as a compressed .npz: an array for each image and label map, and `cases`, JSON that ties them.

    `store` makes of an image and its labels what is stored of them.
    """
    arrays: dict[str, np.ndarray] = {}
    listed = []
    for i, case in enumerate(cases):
        entry: dict[str, Any] = {"id": case.id, "group": case.group, "scan": case.scan, "data_set": case.data_set}
        entry["drawn_as"] = {int(a): int(b) for a, b in case.drawn_as.items()}
        patient = asdict(case.study.patient)
        entry["patient"], entry["series"] = patient | {"clinical": dict(patient["clinical"])}, []
        for series in case.study.series:
            if series.role in case.labels:
                image, labels = store(series.image, case.labels[series.role])
                arrays |= {f"{i}.{series.role}.image": image.voxels, f"{i}.{series.role}.labels": labels.voxels}
                facts = {
                    "role": str(series.role),
                    "affine": image.affine.tolist(),
                    "frame_time_ms": image.frame_time_ms,
                }
                entry["series"].append(facts | {"ed_frame": series.ed_frame, "es_frame": series.es_frame})
        listed.append(entry)
    arrays["cases"] = np.frombuffer(json.dumps(listed).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_cache(path: Path) -> list[Case]:
    """Cases from what `write_cache` wrote; images and labels on the cache's grid.

    Raises:
        InputError: the file is missing or is no cache.
    """
    try:
        with path.open("rb") as file:  # a damaged one is closed too
            arrays = dict(np.load(file, allow_pickle=False))
        listed = json.loads(arrays["cases"].tobytes())
    except OSError as error:
        raise InputError(f"{path.name}: cannot read it ({error.strerror}); check the path") from None
    except (ValueError, KeyError, EOFError, BadZipFile):
        raise InputError(f"{path.name}: expected a cache of cases, found none; write it with: myoscope cache") from None
    return [_case(i, entry, arrays) for i, entry in enumerate(listed)]


def _case(i: int, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Case:
    series, labels = [], {}
    for facts in entry["series"]:
        role = Role(facts["role"])
        image = Volume(
            arrays[f"{i}.{role}.image"].astype(np.float32), np.array(facts["affine"]), facts["frame_time_ms"]
        )
        series.append(Series(role, str(role), image, (), facts["ed_frame"], facts["es_frame"]))
        labels[role] = image.with_voxels(arrays[f"{i}.{role}.labels"])
    study = Study(entry["id"], Patient(**entry["patient"]), tuple(series))
    drawn_as = {Structure(int(a)): Structure(b) for a, b in entry["drawn_as"].items()}
    return Case(study, labels, entry["group"], entry["scan"], drawn_as, entry["data_set"])


def _shrink(image: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """Image and labels resampled in plane and cropped around the heart, uint8."""
    in_plane = image.spacing_mm[1:]
    frames = [
        (resample_slices(normalise(torch.from_numpy(a.astype(np.float32))), in_plane, SPACING_MM) * 255).round().numpy()
        for a in image.frames
    ]
    codes = [resample_labels(b, in_plane, SPACING_MM).numpy() for b in labels.frames]
    pixels, found = np.stack(frames).astype(np.uint8), np.stack(codes)
    heart = np.argwhere(found.any(axis=(0, 1)))
    centre = heart.mean(0) if len(heart) else np.array(found.shape[2:]) / 2
    half = SIDE_MM / SPACING_MM / 2
    rows, columns = (slice(max(0, round(c - half)), round(c + half)) for c in centre)
    factors = np.array(image.voxels.shape[-2:]) / pixels.shape[2:]
    affine = image.affine.copy()
    start = [(s.start + 0.5) * f - 0.5 for s, f in zip((rows, columns), factors, strict=True)]
    affine[:3, 3] += affine[:3, 1] * start[0] + affine[:3, 0] * start[1]
    affine[:3, 0] *= factors[1]
    affine[:3, 1] *= factors[0]
    shape = (slice(None), slice(None), rows, columns) if image.voxels.ndim == 4 else (0, slice(None), rows, columns)
    return Volume(pixels[shape], affine, image.frame_time_ms), Volume(found[shape], affine, image.frame_time_ms)
