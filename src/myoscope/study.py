"""Patient, Series, Study, Case: what is read, before anything is measured."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from myoscope.labels import Structure
from myoscope.volume import Volume


class Role(StrEnum):
    """What a series shows."""

    CINE = "cine"
    LGE = "lge"
    T2 = "t2"
    BSSFP = "bssfp"
    MAP_T1 = "map_t1"
    MAP_T1_NATIVE = "map_t1_native"
    MAP_T1_POST = "map_t1_post"
    MAP_T2 = "map_t2"
    MAP_ECV = "map_ecv"


MAPS = (Role.MAP_T1, Role.MAP_T1_NATIVE, Role.MAP_T1_POST, Role.MAP_T2, Role.MAP_ECV)
"""Roles whose voxels hold a quantity (ms, per cent): never segmented, measured in the wall of another series.

`MAP_T1` is a T1 map of which nothing says whether it was taken before or after contrast agent."""

IMAGES = tuple(role for role in Role if role not in MAPS)
"""Roles of images."""


@dataclass(frozen=True)
class Patient:
    """Facts about a patient, as far as files tell them; None is unknown.

    `hematocrit` is a share, 0 to 1. `clinical` holds further values as text, as found (EMIDEC's twelve, for one).
    """

    sex: Literal["F", "M"] | None = None
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    heart_rate_bpm: float | None = None
    clinical: Mapping[str, str] = field(default_factory=dict)
    hematocrit: float | None = None

    @property
    def bsa_m2(self) -> float | None:
        """Body surface area after Mosteller 1987 (doi:10.1056/NEJM198710223171717), in m2.

        >>> round(Patient(height_cm=180, weight_kg=80).bsa_m2, 3)
        2.0
        """
        if self.height_cm is None or self.weight_kg is None:
            return None
        return float(np.sqrt(self.height_cm * self.weight_kg / 3600))

    @property
    def bsa_dubois_m2(self) -> float | None:
        """Body surface area after DuBois 1916 (DICOM code 122241), in m2.

        >>> round(Patient(height_cm=180, weight_kg=80).bsa_dubois_m2, 3)
        1.996
        """
        if self.height_cm is None or self.weight_kg is None:
            return None
        return float(0.007184 * self.weight_kg**0.425 * self.height_cm**0.725)


FACTS = tuple(one.name for one in fields(Patient) if one.name != "clinical")
"""What may be known of a patient beside the clinical values."""


@dataclass(frozen=True)
class FileGrid:
    """How a file stores what a Volume holds, so that a result can be written back onto the file's own voxels.

    `axes` are the file's axes that became (Z, Y, X); `flips` says which of these were reversed afterwards.
    `header` is the file's own (nibabel), for the result to carry the same geometry. `filled` voxels held no number, and
    became 0. `warned` has codes and messages on what the file contradicts; `sources` the files that a stack of single
    slices was put together from, where `path` is none of them. `order` has for each slice its place in the file, where
    they lay in another order.
    """

    path: Path
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    shape: tuple[int, ...]
    header: Any
    filled: int = 0
    warned: tuple[tuple[str, str], ...] = ()
    sources: tuple[Path, ...] = ()
    order: tuple[int, ...] | None = None

    @property
    def stem(self) -> str:
        """The file's name without .nii or .nii.gz."""
        return re.sub(r"(\.nii)?(\.gz)?$", "", self.path.name, flags=re.IGNORECASE)


@dataclass(frozen=True)
class SourceImage:
    """One DICOM frame that a slice came from: `frame` (from 1) in a multi-frame instance, else None.

    `offset` (rows, columns) is where its first pixel lies on the series' grid: 0, 0 unless slices differ in size.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None = None
    offset: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class DicomSource:
    """Where a series' voxels came from; `images[t][z]` in the order of the Volume's frames and slices.

    Number and UID of the series are those of the first image, where slices came in series of their own.
    `reference_uid` is the frame of reference, empty where the headers name none.
    `io.dicom.on_source_frames` turns a label map into one array (rows, columns) for each of these images.
    """

    images: tuple[tuple[SourceImage, ...], ...]
    series_number: int | None
    series_instance_uid: str
    study_instance_uid: str
    reference_uid: str = ""


@dataclass(frozen=True)
class Series:
    """One image stack of a study: a cine over the cycle, or one frame.

    `files` has one entry, or one a frame where each frame came from a file of its own. `ed_frame` and `es_frame`
    (from 0) are set where the study says them; otherwise `measure` finds them. `source` is set where it came from
    DICOM; `files` then holds one grid, whose axes are the frames' (columns, rows, slices).
    """

    role: Role
    name: str
    image: Volume
    files: tuple[FileGrid, ...] = ()
    ed_frame: int | None = None
    es_frame: int | None = None
    source: DicomSource | None = None

    def __repr__(self) -> str:
        """One line: role, name, and what the image is."""
        return f"<Series {self.role} {self.name!r}: {repr(self.image)[9:-1]}>"


@dataclass(frozen=True)
class Note:
    """Something that reading found, in a whole sentence; `measure` passes it on as a flag of `quality`."""

    code: str
    level: Literal["info", "warning"]
    message: str
    role: Role | None = None


@dataclass(frozen=True)
class Opened:
    """How a study was opened: with these arguments `read_study` gives it again; `patient` is what its files said."""

    path: Path
    role: Role | None = None
    series: Mapping[Role, Sequence[int]] = field(default_factory=dict)
    patient: Patient = Patient()


@dataclass(frozen=True)
class Study:
    """What `analyze` takes: a patient and the series that were found, at most one a role.

    `notes` say in whole sentences what a reader should know of how the series were put together. `opened` is None for
    a study that came from no file.
    """

    id: str
    patient: Patient
    series: tuple[Series, ...]
    notes: tuple[Note, ...] = ()
    opened: Opened | None = None

    def __repr__(self) -> str:
        """One line: the id, and each series with its frames and slices."""
        shapes = [(series.role, series.image.frames.shape) for series in self.series]
        found = ", ".join(f"{role} ({shape[0]} x {shape[1]} slices)" for role, shape in shapes)
        return f"<Study {self.id}: {found or 'no series'}>"

    def get(self, role: Role) -> Series | None:
        """The series of a role, or None."""
        return next((s for s in self.series if s.role is role), None)


@dataclass(frozen=True)
class Case:
    """What a data set yields: a study with its expert labels and class.

    `labels` maps a series' role to a Volume of `Structure` codes on the series' grid. `group` is the diagnosis,
    in the data set's words. `scan` names the scan: cases drawn twice from one scan share it (and so a fold); a data
    set of one's own names the patient there.
    `drawn_as` lists structures that the data set does not draw, and what stands in their place (EMIDEC: RV as
    background). `data_set` is the short name of the set that the case is from.
    """

    study: Study
    labels: Mapping[Role, Volume]
    group: str | None = None
    scan: str = ""
    drawn_as: Mapping[Structure, Structure] = field(default_factory=dict)
    data_set: str = ""

    @property
    def id(self) -> str:
        """The study's id."""
        return self.study.id
