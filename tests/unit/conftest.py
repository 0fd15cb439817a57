"""Hearts drawn with a compass, whose measures are known, and a small DICOM study."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dicom_writer import tiny_study, write_dicom
from myoscope.labels import Structure
from myoscope.measure import measure
from myoscope.measure.results import Measurements, Provenance
from myoscope.study import Note, Patient, Role, Series, Study
from myoscope.volume import Volume, plain_affine

Scar = tuple[range, tuple[float, float], tuple[float, float]]
"""Slices from the base, angles (degrees, counted from the RV insertion), depth of the wall (0 inside, 1 outside)."""


@dataclass(frozen=True)
class RingHeart:
    """LV rings that shrink from base to apex, a tip without cavity, an RV crescent of 120 degrees; sizes in mm."""

    rings: int = 9
    tip: bool = True
    spacing_mm: tuple[float, float, float] = (8.0, 1.0, 1.0)
    shape: tuple[int, int] = (100, 112)
    centre_mm: tuple[float, float] = (48.0, 60.0)
    cavity_mm: float = 22.0
    wall_mm: float = 9.0
    insertion: float = 120.0
    rv: bool = True
    scar: Scar | None = None
    base_first: bool = True

    def labels(self) -> np.ndarray:
        """The label map (Z, Y, X), uint8; the first slice is empty, beyond the base."""
        slices = [np.zeros(self.shape, np.uint8), *(self._slice(z) for z in range(self.rings + self.tip))]
        return np.stack(slices if self.base_first else slices[::-1])

    def _slice(self, z: int) -> np.ndarray:
        rows, columns = np.indices(self.shape)
        up = self.centre_mm[0] - rows * self.spacing_mm[1]
        right = columns * self.spacing_mm[2] - self.centre_mm[1]
        radius, angle = np.hypot(up, right), (np.degrees(np.arctan2(up, right)) - self.insertion) % 360
        share = 1 - 0.6 * z / self.rings
        inner = self.cavity_mm * share if z < self.rings else 0.0
        outer = inner + self.wall_mm
        result = np.zeros(self.shape, np.uint8)
        if self.rv and share > 0.5:
            result[(radius < outer + 20 * share) & (angle < 120)] = Structure.RV
        result[radius < outer] = Structure.MYOCARDIUM
        result[radius < inner] = Structure.LV
        if self.scar and z in self.scar[0]:
            depth, (low, high) = (radius - inner) / self.wall_mm, self.scar[1]
            inside = (depth >= self.scar[2][0]) & (depth < self.scar[2][1]) & ((angle - low) % 360 < high - low)
            result[inside & (result == Structure.MYOCARDIUM)] = Structure.INFARCT
        return result


BRIGHT_BLOOD = np.array([30.0, 220.0, 80.0, 80.0, 80.0, 80.0, 210.0])
"""What a cine shows of each structure."""


@pytest.fixture(scope="session")
def ring_heart() -> type[RingHeart]:
    return RingHeart


def _measure_labels(
    labels: Mapping[Role, np.ndarray],
    spacing_mm: tuple[float, float, float] = (8.0, 1.0, 1.0),
    patient: Patient | None = None,
    frame_time_ms: float | None = None,
    affine: np.ndarray | None = None,
    unlabelled: tuple[Role, ...] = (),
    notes: tuple[Note, ...] = (),
    **frames: int,
) -> Measurements:
    affine = plain_affine(spacing_mm) if affine is None else affine
    volumes = {role: Volume(codes, affine, frame_time_ms) for role, codes in labels.items()}
    empty = Volume(np.zeros((3, 8, 8)), affine)
    images = {r: v.with_voxels(BRIGHT_BLOOD[v.voxels]) if r is Role.CINE else v for r, v in volumes.items()}
    series = [Series(role, role.value, v, **(frames if role is Role.CINE else {})) for role, v in images.items()]
    series += [Series(role, role.value, empty) for role in unlabelled]
    made_by = Provenance(myoscope_version="0", created_utc="", series=[], conventions=[], notice="")
    return measure(Study("s", patient or Patient(), tuple(series), notes=notes), volumes, made_by)


@pytest.fixture(scope="session")
def measure_labels() -> Callable[..., Measurements]:
    return _measure_labels


@pytest.fixture(scope="session")
def dicom_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dicom")
    write_dicom(tiny_study(), folder)
    return folder


@pytest.fixture
def classic(dicom_template: Path, tmp_path: Path) -> Path:
    """A plain study: series 5 (cine), 8 (LGE), 11 (T2), slice by slice, phase by phase."""
    return Path(shutil.copytree(dicom_template, tmp_path / "study"))
