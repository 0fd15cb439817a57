"""One frame of a DICOM image, classic or enhanced, as its header describes it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from myoscope.io.dicom.elements import all_numbers, macro, number, numbers, texts, whole
from myoscope.study import Role

_SERIES = (
    "Manufacturer SeriesInstanceUID SeriesNumber SeriesDescription ProtocolName SequenceName PulseSequenceName Modality"
)
_PATIENT = "PatientID PatientName PatientBirthDate PatientSex PatientAge PatientSize PatientWeight StudyDate"
_CONTRAST = "ScanningSequence EchoPulseSequence EchoTime EffectiveEchoTime InversionTime InversionRecovery AngioFlag"
_ENHANCED = "AcquisitionContrast PhaseContrast Tagging"
_AGENT = "ContrastBolusAgent ContrastBolusAgentSequence ContrastBolusVolume"
_KIND = "ImageType ComplexImageComponent RescaleType ImageComments RealWorldValueMappingSequence"
_TIME = "SeriesDate SeriesTime AcquisitionDate AcquisitionTime AcquisitionDateTime ContentTime"
_CYCLE = "TriggerTime TemporalPositionIdentifier HeartRate NominalInterval"
_PLACE = "ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness FrameOfReferenceUID"
_PIXELS = (
    "Rows Columns NumberOfFrames SamplesPerPixel PhotometricInterpretation PixelRepresentation RescaleSlope "
    "RescaleIntercept"
)
_OTHER = "SOPClassUID SOPInstanceUID StudyInstanceUID InstanceNumber ImagesInAcquisition"
_GROUPS = "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DimensionIndexSequence"
_NAMES = [_SERIES, _PATIENT, _CONTRAST, _ENHANCED, _AGENT, _KIND, _TIME, _CYCLE, _PLACE, _PIXELS, _OTHER, _GROUPS]
_GE_COMPONENT = 0x0043102F  # private: 0 magnitude, 1 phase, 2 real, 3 imaginary
TAGS = [*(Tag(name) for name in " ".join(_NAMES).split()), Tag(_GE_COMPONENT)]
"""Everything that is read of a header."""

_WEIGHTINGS = {"T1", "T2"}
"""Of an image that is not derived these are its contrast, as Philips' enhanced images say it, and no quantity."""

_MAP_WORD = re.compile(r"(T1|T2|T2\*|T2.?STAR|ECV|R1|R2|R2\*|ADC|T1.?RHO)([ _-]?MAP)?|.*[ _]MAP")
_MAP_UNITS = {"MS", "MSEC", "%", "HZ", "1/S", "CM/S", "MM/S", "ML/G/MIN", "ML/MIN/G", "ML/100G/MIN"}
_REAL_UNITS = {"TIME": {"ms": 1.0, "s": 1000.0}, "ECV": {"%": 1.0, "1": 100.0}}
"""Units (UCUM) of real-world mappings that are read, and what brings them to ms and per cent."""

Scale = tuple[float, float, tuple[float, float] | None]
"""Slope and intercept, and the first and the last pixel value that they hold for (None: all)."""

_MAP_COMMENT = re.compile(r"(?<![a-z])map(?![a-z])|\b(ecv|t1|t2)\b.*\((ms|%)\)", re.IGNORECASE)
_PLACE_POINTERS = {0x00209056, 0x00209057, 0x00200032, 0x00209228}  # of dimensions: stack, position in it, position

_COMPONENTS = {  # words of ImageType and ComplexImageComponent, vendors' own among them
    "real": {"R", "REAL", "R_IR", "R_FFE", "CR", "CR_IR", "PS", "PS_IR", "PSIR", "IR_REAL"},
    "phase": {
        *("P", "PHASE", "P_IR", "P_FFE", "P_SE", "P_PCA", "PHASE MAP", "PHASE_MAP"),
        *("VELOCITY", "VELOCITY MAP", "VELOCITY_MAP", "PHASE DIFFERENCE"),
    },
    "imaginary": {"I", "IMAGINARY", "I_IR", "I_FFE"},
    "fat": {"F", "FAT"},  # of a separation from water, which counts as magnitude
    "out of phase": {"OP", "OUT_PHASE", "OPP_PHASE", "OUTPHASE"},
    "in phase": {"IP", "IN_PHASE", "INPHASE"},
}
_GE_COMPONENTS = {1: "phase", 2: "real", 3: "imaginary"}

_DECLARED = {  # words of ImageType and AcquisitionContrast that say what a series shows; scanners write them themselves
    "PERFUSION": "perfusion",
    "FLOW_ENCODED": "phase contrast",
    "PCA": "phase contrast",
    "M_PCA": "phase contrast",
    "PHASE CONTRAST": "phase contrast",
    "TAGGING": "tagging",
    "TOF": "angiography",
    "ANGIO": "angiography",
    "DIFFUSION": "diffusion",
    "T2_STAR": "T2* weighting",
}

NOT_GREY = "not a grey-scale image"
"""Of a screenshot in colour, which nothing is lost with."""


class NoPlaceError(Exception):
    """An image does not say where it lies in the patient, or is no grey-scale image."""


@dataclass(frozen=True)
class Facts:
    """What the frames of one series share, by its first instance.

    Text is as found in the file; `words` are all the series' names, in lower case. `declared` is what the scanner
    itself says that the series is, where it is no anatomy (flow, perfusion); `agent` whether it names contrast agent.
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
    declared: str = ""
    agent: bool = False
    images: int | None = None


@dataclass(frozen=True)
class Frame:
    """One image: a classic instance (`number` None) or a frame (from 1) of a multi-frame one. Patient axes are LPS.

    `orientation` is the direction along a row, then along a column; `spacing_mm` between rows, between columns;
    `taken` when, as text that sorts by time. A voxel's value is slope * pixel + intercept, pixels `inverted` before.
    `component` is magnitude, real, phase, imaginary, map (a quantity), or what a separation of fat and water gives
    beside the water. `acquired_s` and `content_s` are times of the
    day; `dimension` are the indices of a multi-frame image that tell no place; `instance` is 0 where none is given.
    `quantity` is the role of a map whose header says which, in ms or per cent; where a real-world mapping gives these,
    slope and intercept are its own, and pixels outside of `mapped` have no value.
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
    inversion_ms: float | None = None
    acquired_s: float | None = None
    content_s: float | None = None
    dimension: tuple[int, ...] = ()
    quantity: Role | None = None
    mapped: tuple[float, float] | None = None
    thickness_mm: float | None = None
    echo_ms: float | None = None


def facts_of(h: Dataset) -> Facts:
    """What the frames of a series share, from one of its instances."""
    echo, modifier, sync = (
        macro(h, 0, name) for name in ("MREchoSequence", "MRModifierSequence", "CardiacSynchronizationSequence")
    )
    names = [h.get(key) for key in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")]
    names[1] = None if names[0] and _is_ge(h) else names[1]  # GE's is the whole exam's, the same in all its series
    scanning, recovery = texts(h, "ScanningSequence"), (h.get("InversionRecovery"), modifier.get("InversionRecovery"))
    rr_ms = number(h, "NominalInterval") or number(sync, "RRIntervalTimeNominal")
    return Facts(
        series_uid=str(h.SeriesInstanceUID),
        series_number=whole(h, "SeriesNumber"),
        description=str(h.get("SeriesDescription") or ""),
        words=" ".join(str(name) for name in names if name).lower(),
        reference_uid=str(h.get("FrameOfReferenceUID") or ""),
        spin_echo="SE" in scanning or h.get("EchoPulseSequence") == "SPIN",
        inversion="IR" in scanning or "YES" in recovery or bool(number(h, "InversionTime")),
        echo_ms=number(h, "EchoTime") or number(h, "EffectiveEchoTime") or number(echo, "EffectiveEchoTime"),
        heart_rate_bpm=number(h, "HeartRate") or (60000 / rr_ms if rr_ms else None),
        image_type=texts(h, "ImageType"),
        declared=_declared(h),
        agent=_names_agent(h),
        images=whole(h, "ImagesInAcquisition"),
    )


def _names_agent(h: Dataset) -> bool:
    """Whether a header names contrast agent, or how much of it."""
    named = str(h.get("ContrastBolusAgent") or "").strip().lower() not in ("", "none", "no", "n", "0")
    return bool(named or h.get("ContrastBolusAgentSequence") or number(h, "ContrastBolusVolume"))


def _declared(h: Dataset) -> str:
    shared = macro(h, 0, "MRImageFrameType")
    words = (*texts(h, "ImageType")[2:], *texts(shared, "FrameType")[2:], *texts(h, "AcquisitionContrast"))
    if found := next((word for word in words if word in _DECLARED), None):
        return f"{_DECLARED[found]}: the header says {found}"
    encoded = number(macro(h, 0, "MRVelocityEncodingSequence"), "VelocityEncodingMaximumValue")  # 0 where none is
    if h.get("PhaseContrast") == "YES" or h.get("AngioFlag") == "Y" or encoded:
        return "phase contrast or angiography: the header says so"
    if h.get("Tagging") not in (None, "", "NONE"):
        return "tagging: the header says so"
    if re.search(r"_v\d{2,3}(in|th|ap|pa|fh|hf|rl|lr)?\b", str(h.get("SequenceName") or "").lower()):
        return "phase contrast: the sequence's name has a velocity"
    return ""


def frames_of(path: Path, h: Dataset, facts: Facts) -> list[Frame]:
    """The frames of an instance.

    Raises:
        NoPlaceError: one of them does not say where it lies, or they are not grey-scale images.
    """
    if whole(h, "SamplesPerPixel") not in (1, None) or not str(h.get("PhotometricInterpretation")).startswith("MONO"):
        raise NoPlaceError(NOT_GREY)
    if not h.get("PerFrameFunctionalGroupsSequence"):
        if (whole(h, "NumberOfFrames") or 1) > 1:
            raise NoPlaceError("several frames in one image that do not say which they are")
        return [_frame(path, h, facts, None)]
    return [_frame(path, h, facts, i) for i in range(len(h.PerFrameFunctionalGroupsSequence))]


def _frame(path: Path, h: Dataset, facts: Facts, index: int | None) -> Frame:
    def group(name: str) -> Dataset:
        return h if index is None else macro(h, index, name + "Sequence")

    position = numbers(group("PlanePosition"), "ImagePositionPatient", 3)
    orientation = numbers(group("PlaneOrientation"), "ImageOrientationPatient", 6)
    spacing = numbers(group("PixelMeasures"), "PixelSpacing", 2)
    shape = whole(h, "Rows") or 0, whole(h, "Columns") or 0
    _check_place(position, orientation, spacing, shape)
    content, cycle, pixels = (
        group(name) for name in ("FrameContent", "CardiacSynchronization", "PixelValueTransformation")
    )
    trigger_ms, frame_type = number(cycle, "TriggerTime"), group("MRImageFrameType")
    mappings = _mappings(h, index)
    quantity, (slope, intercept, mapped) = _quantity(h, frame_type, pixels, mappings)
    inversion_ms = number(h, "InversionTime")
    kind, unassigned = "TemporalPositionIdentifier", Dataset()
    if index is not None:
        unassigned = macro(h, index, "UnassignedPerFrameConvertedAttributesSequence")  # legacy converted
        trigger_ms = number(cycle, "NominalCardiacTriggerDelayTime")
        trigger_ms = number(unassigned, "TriggerTime") if trigger_ms is None else trigger_ms
        inversion_ms = next(iter(all_numbers(group("MRModifier"), "InversionTimes")), inversion_ms)
        kind = "TemporalPositionIndex"
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
        component=_component(h, frame_type, pixels, mappings),
        trigger_ms=trigger_ms,
        temporal=whole(content, kind),
        instance=whole(unassigned, "InstanceNumber") or whole(h, "InstanceNumber") or 0,
        taken=_taken(h, content),
        slope=slope,
        intercept=intercept,
        inverted=h.get("PhotometricInterpretation") == "MONOCHROME1" and quantity is None,
        inversion_ms=inversion_ms,
        acquired_s=_seconds(content.get("FrameAcquisitionDateTime") or h.get("AcquisitionDateTime"), 8)
        if index is not None
        else _seconds(h.get("AcquisitionTime")),
        content_s=_seconds(h.get("ContentTime"))
        if index is None
        else _seconds(content.get("FrameReferenceDateTime"), 8),
        dimension=() if index is None else _dimension(h, content),
        quantity=quantity,
        mapped=mapped,
        thickness_mm=number(group("PixelMeasures"), "SliceThickness"),
        echo_ms=number(h, "EchoTime") or number(group("MREcho"), "EffectiveEchoTime"),
    )


def _seconds(text: Any, date_digits: int = 0) -> float | None:
    """The time of the day of a DICOM time, or date and time."""
    found = re.match(r"(\d{2}):?(\d{2}):?(\d{2}(?:\.\d+)?)", str(text or "")[date_digits:])
    return float(found[1]) * 3600 + float(found[2]) * 60 + float(found[3]) if found else None


def _dimension(h: Dataset, content: Dataset) -> tuple[int, ...]:
    """The indices of a frame in those dimensions of its instance that do not tell a place."""
    pointers = [item.get("DimensionIndexPointer") for item in h.get("DimensionIndexSequence") or ()]
    values = all_numbers(content, "DimensionIndexValues")
    if len(pointers) != len(values):
        return ()
    return tuple(int(v) for p, v in zip(pointers, values, strict=True) if p not in _PLACE_POINTERS)


def _check_place(*found: tuple[float, ...]) -> None:
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows and Columns")
    for name, values in zip(names, found, strict=True):
        if not values or (name in names[2:] and min(values) <= 0):
            raise NoPlaceError(f"no usable {name}")
    row, column = np.reshape(found[1], (2, 3))
    if abs(row @ column) > 0.01 or not np.allclose([row @ row, column @ column], 1, atol=0.02):
        raise NoPlaceError("no usable ImageOrientationPatient")


def _kinds(h: Dataset, frame_type: Dataset, has_unit: bool) -> set[str]:
    """Words of ImageType and FrameType that say what an image is; a contrast alone is none."""
    found = [texts(h, "ImageType"), texts(frame_type, "FrameType")]
    return {w for words in found for w in words[2:] if has_unit or words[0] == "DERIVED" or w not in _WEIGHTINGS}


def _component(h: Dataset, frame_type: Dataset, pixels: Dataset, mappings: Sequence[Dataset]) -> str:
    has_unit = _has_unit(h, pixels, mappings)
    words = _kinds(h, frame_type, has_unit)
    if has_unit or any(_MAP_WORD.fullmatch(word) for word in words - _COMPONENTS["phase"]):
        return "map"
    words |= {str(d.get("ComplexImageComponent")) for d in (h, frame_type)}
    name, colon, _ = str(h.get("SeriesDescription") or "").upper().partition(":")
    words |= {name} if colon else set()  # GE: "FAT: LGE_SAX"
    found = next((name for name, known in _COMPONENTS.items() if words & known), None)
    return found or _GE_COMPONENTS.get(_ge_component(h), "magnitude")


def _quantity(
    h: Dataset, frame_type: Dataset, pixels: Dataset, mappings: Sequence[Dataset]
) -> tuple[Role | None, Scale]:
    """The role of a T1, T2 or ECV map, as far as the header says it and its unit, and how its pixels become values.

    A real-world mapping goes before the rescaling, which then may be one for display.
    """
    rescaled = number(pixels, "RescaleSlope") or 1.0, number(pixels, "RescaleIntercept") or 0.0, None
    words = _kinds(h, frame_type, _has_unit(h, pixels, mappings))
    kinds = {m[1] for word in words if (m := re.fullmatch(r"(T1|T2|ECV)(?:[ _-]?MAP)?", word))}
    other = {word for word in words if _MAP_WORD.fullmatch(word) and word != "MAP"} - {
        f"{kind}{end}" for kind in kinds for end in ("", " MAP", "_MAP", "-MAP", "MAP")
    }
    if len(kinds) != 1 or other:
        return None, rescaled
    kind = kinds.pop()
    role, known = Role(f"map_{kind.lower()}"), _REAL_UNITS["ECV" if kind == "ECV" else "TIME"]
    if mappings:
        found = {scale for mapping in mappings if (scale := _real_world(mapping, known))}
        return (role, found.pop()) if len(found) == 1 else (None, rescaled)
    units = {str(d.get("RescaleType") or "").upper() for d in (h, pixels)} - {"", "US", "UNSPECIFIED", "NORMALIZED"}
    allowed = {"%"} if kind == "ECV" else {"MS", "MSEC"}
    return (role if units <= allowed else None), rescaled


def _real_world(mapping: Dataset, known: Mapping[str, float]) -> Scale | None:
    """What a real-world mapping does, in ms or per cent; None where it has another unit or is no line."""
    factor, slope = known.get(_unit(mapping)), number(mapping, "RealWorldValueSlope")
    if factor is None or not slope:
        return None
    first, last = (
        number(mapping, name if name in mapping else f"DoubleFloat{name}")
        for name in ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped")
    )
    mapped = None if first is None or last is None else (first, last)
    return factor * slope, factor * (number(mapping, "RealWorldValueIntercept") or 0.0), mapped


def _mappings(h: Dataset, index: int | None) -> list[Dataset]:
    """Real-world mappings of a frame: its own, else those that all share, else the image's."""
    for sequence, at in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        groups = h.get(sequence)
        if index is not None and groups and (found := groups[at].get("RealWorldValueMappingSequence")):
            return list(found)
    return list(h.get("RealWorldValueMappingSequence") or ())


def _unit(mapping: Dataset) -> str:
    """The code of a real-world mapping's unit (UCUM), empty where it has none."""
    return next((str(code.get("CodeValue")) for code in mapping.get("MeasurementUnitsCodeSequence") or ()), "")


def _has_unit(h: Dataset, pixels: Dataset, mappings: Sequence[Dataset]) -> bool:
    """Whether voxels hold a quantity (ms, %), not a signal."""
    units = {str(d.get("RescaleType") or "").upper() for d in (h, pixels)}
    units |= {_unit(mapping).upper() for mapping in mappings}
    return bool(units & _MAP_UNITS) or bool(_MAP_COMMENT.search(str(h.get("ImageComments") or "")))


def _is_ge(h: Dataset) -> bool:
    return str(h.get("Manufacturer") or "").upper().startswith("GE")


def _ge_component(h: Dataset) -> int:
    if _GE_COMPONENT not in h or not _is_ge(h):
        return 0
    value = h[_GE_COMPONENT].value
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little")
    return int(value) if isinstance(value, int) else 0


def _taken(h: Dataset, content: Dataset) -> str:
    whole = content.get("FrameAcquisitionDateTime") or h.get("AcquisitionDateTime")
    if whole:
        return str(whole)
    day = h.get("AcquisitionDate") or h.get("SeriesDate") or h.get("StudyDate") or ""
    return f"{day}{h.get('AcquisitionTime') or h.get('SeriesTime') or ''}"
