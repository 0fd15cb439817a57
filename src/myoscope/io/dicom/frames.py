"""One frame of a DICOM image, classic or enhanced, as its header describes it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

_SERIES = "SeriesInstanceUID SeriesNumber SeriesDescription ProtocolName SequenceName PulseSequenceName Modality"
_PATIENT = "PatientID PatientName PatientBirthDate PatientSex PatientAge PatientSize PatientWeight StudyDate"
_CONTRAST = "ScanningSequence EchoPulseSequence EchoTime EffectiveEchoTime InversionTime InversionRecovery"
_KIND = "ImageType ComplexImageComponent"
_TIME = "SeriesDate SeriesTime AcquisitionDate AcquisitionTime AcquisitionDateTime"
_CYCLE = "TriggerTime TemporalPositionIdentifier HeartRate NominalInterval"
_PLACE = "ImagePositionPatient ImageOrientationPatient PixelSpacing FrameOfReferenceUID"
_PIXELS = "Rows Columns SamplesPerPixel PhotometricInterpretation RescaleSlope RescaleIntercept"
_OTHER = "SOPClassUID SOPInstanceUID StudyInstanceUID InstanceNumber"
_GROUPS = "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
TAGS = " ".join([_SERIES, _PATIENT, _CONTRAST, _KIND, _TIME, _CYCLE, _PLACE, _PIXELS, _OTHER, _GROUPS]).split()
"""Everything that is read of a header."""

_COMPONENTS = {  # words of ImageType and ComplexImageComponent, vendors' own among them
    "real": {"R", "REAL", "R_IR", "CR", "CR_IR", "PS", "PS_IR", "PSIR", "IR_REAL"},
    "phase": {"P", "PHASE", "P_IR", "PHASE MAP", "VELOCITY"},
    "imaginary": {"I", "IMAGINARY", "I_IR"},
}


class NoPlaceError(Exception):
    """An image does not say where it lies in the patient, or is no grey-scale image."""


@dataclass(frozen=True)
class Facts:
    """What the frames of one series share, by its first instance.

    Text is as found in the file; `words` are all the series' names, in lower case.
    """

    series_uid: str
    series_number: int | None
    description: str
    words: str
    reference_uid: str
    spin_echo: bool
    inversion: bool
    echo_ms: float | None
    heart_rate_bpm: float | None
    image_type: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """One image: a classic instance (`number` None) or a frame (from 1) of a multi-frame one. Patient axes are LPS.

    `orientation` is the direction along a row, then along a column; `spacing_mm` between rows, between columns;
    `taken` when, as text that sorts by time. A voxel's value is slope * pixel + intercept, pixels `inverted` before.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    number: int | None
    facts: Facts
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    shape: tuple[int, int]
    component: str
    trigger_ms: float | None
    temporal: int | None
    instance: int
    taken: str
    slope: float
    intercept: float
    inverted: bool


def facts_of(h: Dataset) -> Facts:
    """What the frames of a series share, from one of its instances."""
    echo, modifier, sync = (
        _group(h, 0, name) for name in ("MREchoSequence", "MRModifierSequence", "CardiacSynchronizationSequence")
    )
    names = (h.get(key) for key in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName"))
    scanning, recovery = _texts(h, "ScanningSequence"), (h.get("InversionRecovery"), modifier.get("InversionRecovery"))
    rr_ms = _number(h, "NominalInterval") or _number(sync, "RRIntervalTimeNominal")
    return Facts(
        series_uid=str(h.SeriesInstanceUID),
        series_number=_whole(h, "SeriesNumber"),
        description=str(h.get("SeriesDescription") or ""),
        words=" ".join(str(name) for name in names if name).lower(),
        reference_uid=str(h.get("FrameOfReferenceUID") or ""),
        spin_echo="SE" in scanning or h.get("EchoPulseSequence") == "SPIN",
        inversion="IR" in scanning or "YES" in recovery or bool(_number(h, "InversionTime")),
        echo_ms=_number(h, "EchoTime") or _number(h, "EffectiveEchoTime") or _number(echo, "EffectiveEchoTime"),
        heart_rate_bpm=_number(h, "HeartRate") or (60000 / rr_ms if rr_ms else None),
        image_type=_texts(h, "ImageType"),
    )


def frames_of(path: Path, h: Dataset, facts: Facts) -> list[Frame]:
    """The frames of an instance.

    Raises:
        NoPlaceError: one of them does not say where it lies, or they are not grey-scale images.
    """
    if _whole(h, "SamplesPerPixel") not in (1, None) or not str(h.get("PhotometricInterpretation")).startswith("MONO"):
        raise NoPlaceError("not a grey-scale image")
    if "PerFrameFunctionalGroupsSequence" not in h:
        return [_frame(path, h, facts, None)]
    return [_frame(path, h, facts, i) for i in range(len(h.PerFrameFunctionalGroupsSequence))]


def _frame(path: Path, h: Dataset, facts: Facts, index: int | None) -> Frame:
    def group(name: str) -> Dataset:
        return h if index is None else _group(h, index, name + "Sequence")

    position = _numbers(group("PlanePosition"), "ImagePositionPatient", 3)
    orientation = _numbers(group("PlaneOrientation"), "ImageOrientationPatient", 6)
    spacing = _numbers(group("PixelMeasures"), "PixelSpacing", 2)
    shape = _whole(h, "Rows") or 0, _whole(h, "Columns") or 0
    _check_place(position, orientation, spacing, shape)
    content, cycle, pixels = (
        group(name) for name in ("FrameContent", "CardiacSynchronization", "PixelValueTransformation")
    )
    trigger_ms, slope = _number(cycle, "TriggerTime"), _number(pixels, "RescaleSlope")
    if index is not None:
        trigger_ms = _number(cycle, "NominalCardiacTriggerDelayTime")
    kind = "TemporalPositionIdentifier" if index is None else "TemporalPositionIndex"
    return Frame(
        path=path,
        sop_class_uid=str(h.SOPClassUID),
        sop_instance_uid=str(h.SOPInstanceUID),
        number=None if index is None else index + 1,
        facts=facts,
        position_mm=position,
        orientation=orientation,
        spacing_mm=spacing,
        shape=shape,
        component=_component(h, group("MRImageFrameType")),
        trigger_ms=trigger_ms,
        temporal=_whole(content, kind),
        instance=(_whole(h, "InstanceNumber") or 0) if index is None else index + 1,
        taken=_taken(h, content),
        slope=slope if slope else 1.0,
        intercept=_number(pixels, "RescaleIntercept") or 0.0,
        inverted=h.get("PhotometricInterpretation") == "MONOCHROME1",
    )


def _check_place(*found: tuple[float, ...]) -> None:
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows and Columns")
    for name, values in zip(names, found, strict=True):
        if not values or (name in names[2:] and min(values) <= 0):
            raise NoPlaceError(f"no usable {name}")
    row, column = np.reshape(found[1], (2, 3))
    if abs(row @ column) > 0.01 or not np.allclose([row @ row, column @ column], 1, atol=0.02):
        raise NoPlaceError("no usable ImageOrientationPatient")


def _component(h: Dataset, frame_type: Dataset) -> str:
    words = {*_texts(h, "ImageType")[2:], *_texts(frame_type, "FrameType")[2:]}
    words |= {str(d.get("ComplexImageComponent")) for d in (h, frame_type)}
    return next((name for name, known in _COMPONENTS.items() if words & known), "magnitude")


def _taken(h: Dataset, content: Dataset) -> str:
    whole = content.get("FrameAcquisitionDateTime") or h.get("AcquisitionDateTime")
    if whole:
        return str(whole)
    day = h.get("AcquisitionDate") or h.get("SeriesDate") or h.get("StudyDate") or ""
    return f"{day}{h.get('AcquisitionTime') or h.get('SeriesTime') or ''}"


def _group(h: Dataset, index: int, name: str) -> Dataset:
    """A functional group of a frame: its own, else the one that all share, else an empty one."""
    for sequence, at in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        groups = h.get(sequence)
        if groups and groups[at].get(name):
            return groups[at][name][0]
    return Dataset()


def _numbers(d: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Finite numbers of an element, or () where it is absent, has another length, or holds something else."""
    try:
        value = d.get(keyword)
        values = tuple(float(v) for v in ([value] if count == 1 else value or ()))
    except (TypeError, ValueError):
        return ()
    return values if len(values) == count and np.isfinite(values).all() else ()


def _number(d: Dataset, keyword: str) -> float | None:
    return next(iter(_numbers(d, keyword, 1)), None)


def _whole(d: Dataset, keyword: str) -> int | None:
    value = _number(d, keyword)
    return None if value is None else int(value)


def _texts(d: Dataset, keyword: str) -> tuple[str, ...]:
    value = d.get(keyword) or ()
    return (str(value).upper(),) if isinstance(value, str) else tuple(str(v).upper() for v in value)
