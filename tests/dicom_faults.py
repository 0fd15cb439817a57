"""Faults of DICOM studies, to be combined: each changes a `Draft` of a phantom's study as scanners or archives do.

    draft = spoil(drawn(seed), rng); print(outcome(draft, folder))

The property: what is measured is right within 1 %, or null, or refused, or a warning of reading names the cause.
"""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from dicom_drafts import CINE, FRAMES, LGE, Draft, drawn, outcome

__all__ = ["GROUPS", "Fault", "drawn", "outcome", "spoil"]

Fault = Callable[[Draft, np.random.Generator], None]


def _end(draft: Draft, rng: np.random.Generator, number: int = CINE) -> list[Dataset]:
    """The instances of one to three slices at an end of a stack."""
    slices, count = draft.slices(number), int(rng.integers(1, 4))
    return [d for one in (slices[:count] if rng.random() < 0.5 else slices[-count:]) for d in one]


def _one(draft: Draft, rng: np.random.Generator, number: int = CINE) -> list[Dataset]:
    slices = draft.slices(number)
    return slices[int(rng.integers(len(slices)))]


def _remove(draft: Draft, lost: list[Dataset]) -> None:
    gone = {id(d) for d in lost}
    draft.series = {n: [d for d in stack if id(d) not in gone] for n, stack in draft.series.items()}


def _numbers(values: np.ndarray) -> list[str]:
    return [f"{v:.8f}"[:16] for v in values]


# --- 1: slices ---


def smaller_matrix(draft: Draft, rng: np.random.Generator) -> None:
    """End slices have fewer rows and columns, none of the heart among them."""
    number = int(rng.choice([CINE, LGE]))
    top, bottom, left, right = rng.integers(0, 5, 4)
    for d in _end(draft, rng, number):
        row, column = np.reshape(np.array(d.ImageOrientationPatient, float), (2, 3))
        rows_mm, columns_mm = map(float, d.PixelSpacing)
        corner = np.array(d.ImagePositionPatient, float) + top * rows_mm * column + left * columns_mm * row
        pixels = d.pixel_array[top : d.Rows - bottom, left : d.Columns - right]
        d.ImagePositionPatient = _numbers(corner)
        d.Rows, d.Columns = pixels.shape
        data = np.ascontiguousarray(pixels).tobytes()
        d.PixelData = data + b"\0" * (len(data) % 2)


def tilted(draft: Draft, rng: np.random.Generator) -> None:
    """End slices are tilted by up to two degrees about their middle."""
    angle = np.radians(rng.uniform(0.2, 2))
    for d in _end(draft, rng):
        row, column = np.reshape(np.array(d.ImageOrientationPatient, float), (2, 3))
        half = (d.Rows - 1) / 2 * float(d.PixelSpacing[0])
        turned = column * np.cos(angle) + np.cross(row, column) * np.sin(angle)
        d.ImageOrientationPatient = _numbers(np.concatenate([row, turned]))
        d.ImagePositionPatient = _numbers(np.array(d.ImagePositionPatient, float) + half * (column - turned))


def other_spacing(draft: Draft, rng: np.random.Generator) -> None:
    """End slices were taken with other pixels."""
    for d in _end(draft, rng, int(rng.choice([CINE, LGE]))):
        d.PixelSpacing = _numbers(np.array(d.PixelSpacing, float) * 1.2)


def slice_moved(draft: Draft, rng: np.random.Generator) -> None:
    """A slice lies a third of the distance away from its place."""
    number = int(rng.choice([CINE, LGE]))
    for d in _one(draft, rng, number):
        normal = np.cross(*np.reshape(np.array(d.ImageOrientationPatient, float), (2, 3)))
        away = float(d.SpacingBetweenSlices) * rng.choice([-0.33, 0.33])
        d.ImagePositionPatient = _numbers(np.array(d.ImagePositionPatient, float) + away * normal)


# --- 2: order ---


def no_trigger_times(draft: Draft, rng: np.random.Generator) -> None:
    """What else there is tells the order: numbers, positions in time, or times."""
    kept = rng.choice(["InstanceNumber", "TemporalPositionIdentifier", "ContentTime", "AcquisitionTime", "nothing"])
    for i, d in enumerate(draft.series[CINE]):
        phase = i % FRAMES
        for key in ("TriggerTime", "InstanceNumber"):
            if key != kept and key in d:
                delattr(d, key)
        d.ContentTime = d.AcquisitionTime = "101500"
        if kept == "TemporalPositionIdentifier":
            d.TemporalPositionIdentifier = phase + 1
        if kept == "ContentTime":
            d.ContentTime = f"101500.{phase:02}"
        if kept == "AcquisitionTime":
            d.AcquisitionTime = f"101500.{4 * phase:02}"


def rounded_trigger_times(draft: Draft, rng: np.random.Generator) -> None:
    """Phases share a trigger time."""
    step = float(draft.series[CINE][1].get("TriggerTime") or 100)
    for d in draft.series[CINE]:
        d.TriggerTime = float(d.TriggerTime) // (step * rng.choice([1.5, 2])) * step


def trigger_times_run_on(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """Over all slices, not from zero in each."""
    for i, d in enumerate(draft.series[CINE]):
        d.TriggerTime = 40.0 * i


def numbers_at_random(draft: Draft, rng: np.random.Generator) -> None:
    """Instances are numbered in any order, and there are no trigger times."""
    for d, number in zip(draft.series[CINE], rng.permutation(len(draft.series[CINE])), strict=True):
        d.InstanceNumber = int(number) + 1
        if rng.random() < 2:
            d.pop("TriggerTime", None)


# --- 4: what a series shows ---


def _nothing(draft: Draft, number: int, **values: object) -> None:
    for d in draft.series[number]:
        for key, value in values.items():
            setattr(d, key, value)
    draft.nothing.add(number)


def a_map(draft: Draft, rng: np.random.Generator) -> None:
    """The inversion recovery series is a map, by what one of the vendors says of it."""
    text = rng.choice(["T1_sax", "nativ_T1_sax", "Stack", "Post_sax"])
    said = (
        {"ImageType": ["DERIVED", "PRIMARY", "T1 MAP", "ND", "MOCO", "T1"]},
        {"ImageType": ["DERIVED", "PRIMARY", "T1_MAP", "NONE"], "RescaleType": "ms"},
        {"ImageType": ["DERIVED", "PRIMARY", "M", "NORM"], "RescaleType": "ms"},
        {"ImageType": ["DERIVED", "PRIMARY", "M"], "ImageComments": "T1 MAP (ms)"},
        {"ImageType": ["DERIVED", "PRIMARY", "M"], "SeriesDescription": f"{text}_ECV"},
        {"ImageType": ["DERIVED", "PRIMARY", "ECV MAP", "ND"]},
    )[rng.integers(6)]
    _nothing(draft, LGE, **{"SeriesDescription": str(text), "ProtocolName": str(text), **said})


def raw_of_a_map(draft: Draft, rng: np.random.Generator) -> None:
    """Images of one place at many inversion times and one time of the cycle."""
    _nothing(draft, CINE, SeriesDescription="sax", ProtocolName="sax", SequenceName="*tfi2d1_102")
    for i, d in enumerate(draft.series[CINE]):
        d.ScanningSequence = ["GR", "IR"]
        d.TriggerTime, d.InversionTime = 265 + 2.5 * (i % 2), 100 + 85 * (i % FRAMES) + int(rng.integers(5))


def perfusion(draft: Draft, rng: np.random.Generator) -> None:
    """One image of each place a beat, at one time of the cycle."""
    _nothing(draft, CINE, SeriesDescription=str(rng.choice(["Stress_sax", "rest", "sax"])), ProtocolName="x")
    for i, d in enumerate(draft.series[CINE]):
        d.TriggerTime, d.AcquisitionTime = 120 + 2.5 * (i % 2), f"1020{i % FRAMES:02}.5"
        d.ContentTime = d.AcquisitionTime


def flow(draft: Draft, rng: np.random.Generator) -> None:
    """Magnitude of phase contrast: phase images beside, or the sequence's name."""
    _nothing(draft, CINE, SeriesDescription="sax", ProtocolName="sax")
    if rng.random() < 0.5:
        for d in draft.series[CINE]:
            d.SequenceName = "*fl2d1_v150in"
        return
    twins = copy.deepcopy(draft.series[CINE])
    for d in twins:
        d.SOPInstanceUID, d.ImageType = generate_uid(), ["ORIGINAL", "PRIMARY", "P", "ND"]
    draft.series[20] = twins


def transversal(draft: Draft, rng: np.random.Generator) -> None:
    """The only stack lies in a plane of the body, and no name says short axis."""
    _remove(draft, draft.series[LGE])
    _nothing(draft, CINE, SeriesDescription="cine", ProtocolName="cine")
    draft.nothing.add(LGE)
    tilt = np.radians(rng.uniform(-6, 6))
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    normal = np.cross(row, column)
    for z, one in enumerate(draft.slices(CINE)):
        for d in one:
            d.ImageOrientationPatient = _numbers(np.concatenate([row, column]))
            d.ImagePositionPatient = _numbers(z * float(d.SpacingBetweenSlices) * normal)


def derived(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """Computed from other images."""
    _nothing(draft, LGE, ImageType=["DERIVED", "SECONDARY", "MPR"])


# --- 5: what results take over ---


def malformed_field(draft: Draft, rng: np.random.Generator) -> None:
    """A value that is not what its element asks for."""
    found = (
        ("PatientName", b"Doe\\Jane"),
        ("PatientName", "\u8a31^\u5fd7\u660e".encode("big5")),
        ("PatientID", b"A1\\A2 "),
        ("StudyID", b"S" * 40),
        ("StudyTime", b"unknown "),
        ("SliceThickness", b"8,0 "),
        ("PatientAge", b"000Y"),
        ("PatientSize", b"Anon"),
        ("FrameOfReferenceUID", b"not.a.uid "),
    )
    keyword, value = found[rng.integers(len(found))]
    tag = Tag(keyword)
    for d in draft.all():
        d.pop(tag, None)
        d._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    draft.save = True


# --- 6: images that lack something ---


def screenshot(draft: Draft, rng: np.random.Generator) -> None:
    """In colour, and in the cine's own series."""
    d = copy.deepcopy(draft.series[CINE][int(rng.integers(len(draft.series[CINE])))])
    d.SOPInstanceUID, d.SamplesPerPixel, d.PhotometricInterpretation = generate_uid(), 3, "RGB"
    d.PlanarConfiguration, d.BitsAllocated, d.BitsStored, d.HighBit = 0, 8, 8, 7
    d.PixelData = bytes(d.Rows * d.Columns * 3 + d.Rows * d.Columns * 3 % 2)
    d["PixelData"].VR = "OB"
    draft.series[CINE].append(d)


def image_without_place(draft: Draft, rng: np.random.Generator) -> None:
    """One image lacks its position."""
    d = draft.series[int(rng.choice([CINE, LGE]))]
    key = str(rng.choice(["ImageOrientationPatient", "PixelSpacing"]))
    delattr(d[int(rng.integers(len(d)))], key)


def phases_missing(draft: Draft, rng: np.random.Generator) -> None:
    """A slice lacks some or most phases, at its end or at random."""
    one = _one(draft, rng)
    count = int(rng.integers(1, FRAMES))
    lost = one[-count:] if rng.random() < 0.5 else [one[i] for i in rng.choice(len(one), count, replace=False)]
    _remove(draft, [d for d in lost if len(one) > count])


def two_phases_only(draft: Draft, rng: np.random.Generator) -> None:
    """One to three slices at an end have two phases."""
    slices = draft.slices(CINE)
    for one in slices[: int(rng.integers(1, 4))] if rng.random() < 0.5 else slices[-int(rng.integers(1, 4)) :]:
        _remove(draft, one[2:])


def slice_missing(draft: Draft, rng: np.random.Generator) -> None:
    """A slice in the middle was not sent."""
    number = int(rng.choice([CINE, LGE]))
    slices = draft.slices(number)
    _remove(draft, slices[int(rng.integers(2, len(slices) - 2))])


def uids(draft: Draft, rng: np.random.Generator) -> None:
    """A de-identifier gave one UID to all series, one to each image, or one to different images."""
    kind = rng.integers(3)
    for d in draft.all():
        if kind == 0:
            d.SeriesInstanceUID = "1.2.3.4"
        elif kind == 1:
            d.SeriesInstanceUID = generate_uid()
        elif int(d.get("InstanceNumber") or 1) % 7 == 3:
            d.SOPInstanceUID = "1.2.3.5"


def names_gone(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """No number, description and protocol of a series."""
    for d in draft.all():
        for key in ("SeriesNumber", "SeriesDescription", "ProtocolName"):
            d.pop(key, None)


# --- 7: bystanders ---


def bystanders(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """What computers and people leave beside."""

    def write(folder: Path) -> None:
        for name in ("._IM0000.dcm", ".DS_Store", "__MACOSX/._IM0001.dcm", "letter.pdf", "series/._IM2.dcm", "empty"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"" if name == "empty" else b"\0\5\26\7 nothing")

    draft.beside.append(write)


def empty_file(draft: Draft, rng: np.random.Generator) -> None:
    """A copy broke off: an image file is empty."""
    count = int(rng.integers(1, 4))

    def write(folder: Path) -> None:
        for path in sorted(folder.rglob("*.dcm"))[-count:]:
            path.write_bytes(b"")

    draft.beside.append(write)


def without_meta_header(draft: Draft, rng: np.random.Generator) -> None:  # noqa: ARG001
    """Datasets only."""

    def strip(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[144 + int.from_bytes(content[140:144], "little") :])

    draft.written.append(strip)


def copies(draft: Draft, rng: np.random.Generator) -> None:
    """Some images were sent twice."""
    some = rng.choice(200, 20)

    def write(folder: Path) -> None:
        (folder / "again").mkdir()
        found = sorted(folder.rglob("*.dcm"))
        for i in {int(i) % len(found) for i in some}:
            shutil.copy(found[i], folder / "again" / f"{i}.dcm")

    draft.beside.append(write)


GROUPS: tuple[tuple[Fault, ...], ...] = (
    (smaller_matrix, tilted, other_spacing, slice_moved),
    (phases_missing, two_phases_only, slice_missing),
    (no_trigger_times, rounded_trigger_times, trigger_times_run_on, numbers_at_random),
    (a_map, raw_of_a_map, perfusion, flow, transversal, derived),
    (screenshot, image_without_place),
    (uids, names_gone),
    (malformed_field,),
    (bystanders, empty_file, copies, without_meta_header),
)
"""Faults of one group exclude each other; they are done in this order."""


def spoil(draft: Draft, rng: np.random.Generator, most: int = 3) -> Draft:
    """Put 1 to `most` faults of different groups into a draft."""
    for group in sorted(rng.choice(len(GROUPS), int(rng.integers(1, most + 1)), replace=False)):
        fault = GROUPS[group][rng.integers(len(GROUPS[group]))]
        if fault in (raw_of_a_map, perfusion) and any(name in draft.faults for name in _ORDER):
            continue  # a fault of the order would be undone, or would leave nothing that tells
        fault(draft, rng)
        draft.faults.append(fault.__name__)
    return draft


_ORDER = [f.__name__ for f in GROUPS[2]] + [f.__name__ for f in GROUPS[1]]
