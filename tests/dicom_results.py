"""A phantom sent by a scanner, read, measured from its generator's own labels, and written as DICOM."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydicom import dcmread

from dicom_writer import write_dicom as send
from myoscope.analysis import Result, judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.io.dicom.write import dicom_results
from myoscope.io.read import read_study
from myoscope.labels import Structure
from myoscope.measure.mapped import EcvFromT1, EcvFromT1Segment, EcvMap, Maps, TimeMap, TimeSegment
from myoscope.measure.results import Measurements
from myoscope.study import Case, Role, Study
from myoscope.volume import Volume

SHA256 = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Sent:
    """What was sent (`study`, `labels`, as the scanner's frames lie), what came out of it, and where files are."""

    study: Study
    labels: dict[Role, Volume]
    result: Result
    source: Path
    out: Path

    def drawn(self, role: Role) -> dict[tuple[str, int | None], tuple[int, int, np.ndarray]]:
        """For each source frame (instance, frame number): t, z, and the labels (rows, columns) drawn on its pixels.

        Frames are told by their pixels, so by no code that is tested.
        """
        series = self.study.get(role)
        assert series is not None
        place_of = {
            pixels.astype(np.uint16).tobytes(): (t, z)
            for t, phase in enumerate(series.image.frames)
            for z, pixels in enumerate(phase)
        }
        found = {}
        for path in self.source.rglob("*.dcm"):
            image = dcmread(path)
            many = "NumberOfFrames" in image
            for i, pixels in enumerate(image.pixel_array if many else image.pixel_array[None]):
                if place := place_of.get(pixels.astype(np.uint16).tobytes()):
                    found[image.SOPInstanceUID, i + 1 if many else None] = (*place, self.labels[role].frames[place])
        return found


def write_dicom(folder: Path, study: Study, labels: Mapping[Role, Volume], measurements: Measurements) -> list[Path]:
    """Write the DICOM of a result, all of it."""
    objects, flags = dicom_results(study, labels, measurements)
    assert not [flag for flag in flags if flag.code == "dicom_not_written"], flags
    folder.mkdir(exist_ok=True)
    for name, content in objects.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in objects]


@lru_cache(maxsize=8)
def sent(shape: str, automatic: bool = True) -> Sent:
    """Send the phantom in one of the writer's shapes, with rows and columns exchanged and one of them reversed."""
    case = phantom()
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    send(case.study, folder / "source", shape)
    result = measured(read_study(folder / "source"), case, automatic)
    write_dicom(folder / "dicom", result.study, result.labels, result.measurements)
    return Sent(case.study, dict(case.labels), result, folder / "source", folder / "dicom")


def with_maps(result: Result) -> Result:
    """The result with something in every map."""
    segment = TimeSegment(segment=3, name="basal inferoseptal", median_ms=991.0, voxels=9)
    time = TimeMap(wall_from="lge", voxels=9, median_ms=1004.2, iqr_ms=30.0, segments=[segment])
    share = EcvFromT1Segment(segment=15, name="apical inferior", ecv_percent=61.0)
    computed = EcvFromT1(ecv_percent=27.31, segments=[share])
    maps = Maps(t1=time, t1_native=time, t1_post=time, t2=time, ecv=EcvMap(median_percent=26.0), ecv_from_t1=computed)
    return replace(result, measurements=result.measurements.model_copy(update={"maps": maps}))


def measured(study: Study, case: Case, automatic: bool = True) -> Result:
    """What a study gives with the labels of the case that was sent."""
    labels = {s.role: onto(case.labels[s.role], s.image) for s in study.series}
    origin = {"weights_sha256": SHA256, "weights_licence": "none"} if automatic else {}
    return judge(study, labels, {role: {"labels_from": f"compact-{role}", **origin} for role in labels})


@lru_cache(maxsize=1)
def phantom() -> Case:
    """An infarct with no-reflow and edema, in three phases; cut to the heart, x and y exchanged, the new x reversed."""
    case = draw(sample(6, KEPT_ASIDE, "MINF"), frames=3)
    boxes = {role: _box(volume) for role, volume in case.labels.items()}
    series = tuple(replace(s, image=_turned(_cut(s.image, boxes[s.role]))) for s in case.study.series)
    labels = {role: _turned(_cut(volume, boxes[role])) for role, volume in case.labels.items()}
    return replace(case, study=replace(case.study, series=series), labels=labels)


def _box(labels: Volume) -> tuple[slice, slice, slice]:
    """Seven slices, and the rows and columns of the heart, with a margin."""
    heart = labels.frames.any((0, 1))
    ends = [(np.flatnonzero(heart.any(axis)).min(), np.flatnonzero(heart.any(axis)).max()) for axis in (1, 0)]
    rows, columns = (slice(max(int(low) - 5, 0), int(high) + 6) for low, high in ends)
    return slice(2, 9), rows, columns


def _cut(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [axis.start for axis in reversed(box)]
    return replace(volume, voxels=np.rint(volume.voxels[..., *box]), affine=affine)


def _turned(volume: Volume) -> Volume:
    """The same voxels at the same places, with x and y exchanged and the new x reversed."""
    rows = volume.voxels.shape[-2]
    step = np.array([[0, 1, 0, 0], [-1, 0, 0, rows - 1], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    voxels = np.ascontiguousarray(volume.voxels.swapaxes(-1, -2)[..., ::-1])
    return replace(volume, voxels=voxels, affine=volume.affine @ step)


def onto(labels: Volume, image: Volume) -> Volume:
    """Labels, by the place of their voxels, on the grid of an image of the same voxels."""
    z, y, x = np.indices(image.voxels.shape[-3:]).reshape(3, -1)
    step = np.linalg.inv(labels.affine) @ image.affine
    i, j, k = np.rint(step @ np.array([x, y, z, np.ones_like(x)]))[:3].astype(int)
    voxels = labels.voxels[..., k, j, i].reshape(*labels.voxels.shape[:-3], *image.voxels.shape[-3:])
    return image.with_voxels(voxels.astype(np.uint8))


def present(labels: Volume) -> list[Structure]:
    """Structures of a label map, without background."""
    return [s for s in Structure if s and (labels.voxels == s).any()]
