"""Write a study as a scanner would send it, in the shapes that hospitals' DICOM comes in. Invented patients only."""

import copy
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom import uid as known
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from myoscope.study import Patient, Role, Series, Study
from myoscope.volume import Volume

NAME, BIRTH_DATE = "Muster^Erika<b>", "19530412"

COMPRESSED = {
    "jpegls": known.JPEGLSLossless,
    "jpeg2000": known.JPEG2000Lossless,
    "rle": known.RLELossless,
    "jpeg": known.JPEGLosslessSV1,
}
SHAPES = (
    "classic",
    "enhanced",
    "separate",  # each slice is a series of its own
    "interleaved",  # phases run faster or slower than slices, at random, and so do files
    "random_names",
    "psir",  # LGE magnitude beside PSIR
    "repeats",  # duplicates, and an incomplete earlier try of every series
    "scouts",  # localisers and long-axis views beside
    *COMPRESSED,
)

_SEQUENCE = {  # description, protocol, sequence name, scanning sequence, variant, TE, TR, TI
    Role.CINE: ("cine_retro_sax", "tf2d_retro", "*tfi2d1_15", "GR", ["SK", "SP"], 1.2, 40.0, None),
    Role.LGE: ("de_high-res_psir_sax_PSIR", "de_psir", "*tfl2d1_25", ["GR", "IR"], ["SP", "MP"], 1.5, 700.0, 300.0),
    Role.T2: ("t2_tirm_sax_dark-blood", "t2_tirm", "*tir2d1_15", ["SE", "IR"], ["SK", "SP"], 61.0, 1700.0, 170.0),
}


def tiny_study(frames: int = 3, slices: int = 6) -> Study:
    """Noise as a cine, LGE and T2 study, small and oblique; every voxel tells its frame and slice."""
    rng = np.random.default_rng(0)
    across = np.array([-0.65, 0.55, -0.52]) / np.linalg.norm([-0.65, 0.55, -0.52])
    right = np.cross(across, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(across, [0.0, 0.0, 1.0]))
    series = []
    for role, mm, shape in ((Role.CINE, 1.25, (33, 40)), (Role.LGE, 1.5, (36, 32)), (Role.T2, 2.0, (32, 34))):
        affine = np.eye(4)
        affine[:3, :3] = np.column_stack([mm * right, mm * np.cross(across, right), 9.0 * across])
        affine[:3, 3] = -20, 35, -10
        voxels = rng.integers(0, 200, (frames if role is Role.CINE else 1, slices, *shape)).astype(np.float32)
        voxels += np.arange(voxels.shape[0])[:, None, None, None] * 1000 + np.arange(slices)[:, None, None] * 200
        cine = role is Role.CINE
        series.append(
            Series(role, role.value, Volume(voxels if cine else voxels[0], affine, 900.0 / frames if cine else None))
        )
    return Study("tiny", Patient("F", 45.0, 168.0, 64.5, 60.0), tuple(series))


def write_dicom(study: Study, folder: Path, shape: str = "classic", name: str = NAME, seed: int = 0) -> list[Path]:
    """Write a study as DICOM.

    Args:
        study: From the phantom, or any whose images hold whole numbers from -32768 to 65535; roles cine, lge, t2.
        folder: Where to; made if it is not there.
        shape: One of `SHAPES`.
        name: PatientName.
        seed: Of UIDs and of what is random.

    Returns:
        The files that hold the study's own images (not those of repeats, duplicates or scouts).
    """
    rng = np.random.default_rng(seed)
    uid = _uids(f"{study.id}-{shape}-{seed}")
    common = _patient_and_study(study.patient, name, uid)
    stacks = [_stack(s, common, 5 + 3 * i, uid) for i, s in enumerate(study.series)]
    others: list[list[Dataset]] = []
    if shape == "separate":
        stacks = [part for stack in stacks for part in _slice_by_slice(stack, uid)]
    if shape == "interleaved":
        stacks = [_renumbered([stack[i] for i in rng.permutation(len(stack))]) for stack in stacks]
    if shape == "psir":
        others = [_magnitude(stack, uid) for stack in stacks if "psir" in stack[0].SeriesDescription]
    if shape == "repeats":
        others = [_earlier_try(stack, uid) for stack in stacks] + [copy.deepcopy(stack[:3]) for stack in stacks]
    if shape == "scouts":
        others = [_localiser(common, uid), *(_long_axis(stacks[0], view, uid) for view in ("2ch", "4ch"))]
    if shape == "enhanced":
        stacks = [[enhanced(stack, uid)] for stack in stacks]
    written = []
    for i, stack in enumerate([*others, *stacks]):
        for j, dataset in enumerate(stack):
            path = folder / f"series{i:03}" / f"IM{j:04}.dcm"
            if shape in ("random_names", "interleaved"):
                path = folder / f"{rng.integers(16**8):08X}"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(dataset, path)
            if shape in COMPRESSED:
                _compress(path, COMPRESSED[shape])
            written += [path] if i >= len(others) else []
    return written


def save(dataset: Dataset, path: Path) -> Path:
    """Write one instance as a DICOM file."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
    return path


def change(path: Path, **values: object) -> Path:
    """Set attributes of a written file; None takes them away."""
    dataset = dcmread(path)
    for key, value in values.items():
        if value is None:
            delattr(dataset, key)
        else:
            setattr(dataset, key, value)
    return save(dataset, path)


def files(study: Path, number: int) -> list[Path]:
    return sorted(p for p in study.rglob("*.dcm") if dcmread(p, specific_tags=["SeriesNumber"]).SeriesNumber == number)


def _uids(name: str) -> Callable[[], UID]:
    count = itertools.count()
    return lambda: generate_uid(entropy_srcs=[name, str(next(count))])


def _patient_and_study(patient: Patient, name: str, uid: Callable[[], UID]) -> Dataset:
    d = Dataset()
    d.SpecificCharacterSet = "ISO_IR 192"
    d.PatientName, d.PatientID, d.PatientBirthDate = name, "PID-0815", BIRTH_DATE
    d.PatientSex = patient.sex or ""
    d.PatientAge = f"{patient.age_years:03.0f}Y" if patient.age_years is not None else ""
    d.PatientSize = patient.height_cm / 100 if patient.height_cm is not None else None
    d.PatientWeight = patient.weight_kg
    if patient.heart_rate_bpm:
        d.HeartRate = round(patient.heart_rate_bpm)
    d.StudyInstanceUID, d.StudyID, d.AccessionNumber = uid(), "1", "A-4711"
    d.StudyDate, d.StudyTime, d.StudyDescription = "20260102", "101500", "Herz MRT"
    d.ReferringPhysicianName = ""
    d.FrameOfReferenceUID, d.PositionReferenceIndicator = uid(), ""
    d.Modality, d.Manufacturer, d.ManufacturerModelName = "MR", "SIEMENS", "Invented"
    d.MagneticFieldStrength = 1.5
    d.PatientPosition, d.BodyPartExamined = "HFS", "HEART"
    return d


def _stack(series: Series, common: Dataset, number: int, uid: Callable[[], UID]) -> list[Dataset]:
    """Classic instances of one series, slice by slice, each slice's phases in order."""
    description, protocol, sequence, scanning, variant, te, tr, ti = _SEQUENCE[series.role]
    image, voxels = series.image, series.image.frames
    base = copy.deepcopy(common)
    base.SeriesInstanceUID, base.SeriesNumber = uid(), number
    base.SeriesDescription, base.ProtocolName, base.SequenceName = description, protocol, sequence
    base.ScanningSequence, base.SequenceVariant, base.ScanOptions, base.MRAcquisitionType = scanning, variant, "", "2D"
    base.EchoTime, base.RepetitionTime, base.FlipAngle = te, tr, 50
    if ti:
        base.InversionTime = ti
    base.ImageType = ["ORIGINAL", "PRIMARY", "P" if series.role is Role.LGE else "M", "NORM", "DIS2D"]
    base.SeriesDate, base.SeriesTime = "20260102", f"10{15 + number:02}00"
    frames = len(voxels)
    rate = common.get("HeartRate")
    interval = frames * image.frame_time_ms if image.frame_time_ms else 60000 / rate if rate else None
    if frames > 1:
        base.CardiacNumberOfImages = frames
        if interval:
            base.NominalInterval = round(interval)
    stack = []
    for z, t in itertools.product(range(voxels.shape[1]), range(frames)):
        d = copy.deepcopy(base)
        d.InstanceNumber = len(stack) + 1
        d.AcquisitionNumber, d.AcquisitionTime = z + 1, f"10{15 + number:02}{z:02}"
        d.ContentDate, d.ContentTime = "20260102", f"10{15 + number:02}{z:02}.{t:03}"
        if frames > 1:
            d.TriggerTime = t * (interval / frames if interval else 30.0)
        stack.append(_with_pixels(d, voxels[t, z], _at_slice(image.affine, z), image.spacing_mm[0], uid()))
    return stack


def _at_slice(affine: np.ndarray, z: int) -> np.ndarray:
    moved = affine.copy()
    moved[:3, 3] += z * affine[:3, 2]
    return moved


def _with_pixels(d: Dataset, pixels: np.ndarray, affine: np.ndarray, distance_mm: float, uid: UID) -> Dataset:
    """Add pixels (rows, columns) and where they lie; affine is that of their slice, RAS+ in mm."""
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    columns_mm, rows_mm = np.linalg.norm(lps[:, :2], axis=0)
    d.SOPClassUID, d.SOPInstanceUID = MRImageStorage, uid
    d.ImageOrientationPatient = _decimals([*(lps[:, 0] / columns_mm), *(lps[:, 1] / rows_mm)])
    d.ImagePositionPatient = _decimals(lps[:, 3])
    d.PixelSpacing = _decimals([rows_mm, columns_mm])
    d.SliceThickness, d.SpacingBetweenSlices = _decimals([0.8 * distance_mm, distance_mm])
    d.SliceLocation = _decimals([lps[:, 3] @ np.cross(lps[:, 0], lps[:, 1]) / (columns_mm * rows_mm)])[0]
    signed = bool(pixels.min() < 0)
    d.Rows, d.Columns = pixels.shape
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", int(signed)
    d.BitsAllocated, d.BitsStored, d.HighBit = 16, 16, 15
    d.WindowCenter, d.WindowWidth = 400, 800
    d.set_pixel_data(np.ascontiguousarray(pixels, np.int16 if signed else np.uint16), d.PhotometricInterpretation, 16)
    d.SOPInstanceUID = uid  # set_pixel_data gives a new one
    return d


def _decimals(values: Iterable[float]) -> list[str]:
    return [f"{v:.10f}"[:16] for v in values]


def _renumbered(stack: list[Dataset]) -> list[Dataset]:
    for i, d in enumerate(stack):
        d.InstanceNumber = i + 1
    return stack


def _slice_by_slice(stack: list[Dataset], uid: Callable[[], UID]) -> list[list[Dataset]]:
    parts = []
    for position, part in itertools.groupby(stack, key=lambda d: tuple(d.ImagePositionPatient)):
        members, own = _renumbered(list(part)), uid()
        for d in members:
            d.SeriesInstanceUID, d.SeriesNumber = own, 10 * int(d.SeriesNumber) + len(parts)
            d.AcquisitionNumber = 1
        assert position
        parts.append(members)
    return parts


def _magnitude(stack: list[Dataset], uid: Callable[[], UID]) -> list[Dataset]:
    """What a magnitude reconstruction beside PSIR looks like: other contrast, the same places."""
    own, twins = uid(), []
    for d in stack:
        twin = copy.deepcopy(d)
        twin.SeriesInstanceUID, twin.SeriesNumber, twin.SOPInstanceUID = own, int(d.SeriesNumber) - 1, uid()
        twin.SeriesDescription = "de_high-res_psir_sax_MAG"
        twin.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]
        pixels = d.pixel_array
        twin.PixelData = np.abs(pixels.astype(np.int32) - 400).astype(np.uint16).tobytes()
        twins.append(twin)
    return twins


def _earlier_try(stack: list[Dataset], uid: Callable[[], UID]) -> list[Dataset]:
    """The first half of a stack, noisier, taken two minutes before, under a series number of its own."""
    own, positions = uid(), sorted({tuple(d.ImagePositionPatient) for d in stack})
    kept = set(positions[: len(positions) // 2 + 1])
    tries = [copy.deepcopy(d) for d in stack if tuple(d.ImagePositionPatient) in kept]
    for d in tries:
        d.SeriesInstanceUID, d.SeriesNumber, d.SOPInstanceUID = own, int(d.SeriesNumber) - 2, uid()
        for key in ("SeriesTime", "AcquisitionTime", "ContentTime"):
            setattr(d, key, "08" + d[key].value[2:])
        d.PixelData = (d.pixel_array // 2).astype(np.uint16).tobytes()
    return _renumbered(tries)


def _localiser(common: Dataset, uid: Callable[[], UID]) -> list[Dataset]:
    """Three slices in each of the three planes of the body."""
    own, stack = uid(), []
    rng = np.random.default_rng(1)
    x, y, z = np.eye(3)
    for right, down in ((-x, -y), (-x, -z), (-y, -z)):  # transversal, coronal, sagittal; RAS
        for k in (-1, 0, 1):
            d = copy.deepcopy(common)
            d.SeriesInstanceUID, d.SeriesNumber, d.InstanceNumber = own, 1, len(stack) + 1
            d.SeriesDescription, d.ProtocolName, d.SequenceName = "localizer", "localizer", "*tfi2d1_192"
            d.ScanningSequence, d.SequenceVariant, d.ScanOptions, d.MRAcquisitionType = "GR", "SK", "", "2D"
            d.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]
            d.EchoTime, d.RepetitionTime = 1.1, 300.0
            d.SeriesTime = d.AcquisitionTime = d.ContentTime = "101501"
            affine = np.eye(4)
            affine[:3, 0], affine[:3, 1] = 3.0 * right, 3.0 * down
            affine[:3, 3] = -192 * (right + down) + 30.0 * k * np.cross(right, down)
            stack.append(_with_pixels(d, rng.integers(0, 500, (128, 128)), affine, 30.0, uid()))
    return stack


def _long_axis(short: list[Dataset], view: str, uid: Callable[[], UID]) -> list[Dataset]:
    """One slice through the long axis of a short-axis cine, all its phases."""
    row, column = np.reshape(np.array(short[0].ImageOrientationPatient, float), (2, 3))
    positions = np.array([d.ImagePositionPatient for d in short], float)
    shape = np.array([short[0].Columns, short[0].Rows]) * np.array(short[0].PixelSpacing, float)[::-1]
    middle = positions.mean(0) + row * shape[0] / 2 + column * shape[1] / 2
    axis = np.cross(row, column)
    right, down = (row if view == "4ch" else column), axis
    affine = np.eye(4)
    affine[:3, :2] = np.column_stack([right, down]) * 2.5
    affine[:3, 3] = middle - 160 * right - 160 * down
    affine[:2] *= -1  # LPS to RAS
    own, stack, rng = uid(), [], np.random.default_rng(2)
    phases = sorted({float(d.TriggerTime) for d in short if "TriggerTime" in d}) or [0.0]
    for i, time in enumerate(phases):
        d = copy.deepcopy(short[0])
        d.SeriesInstanceUID, d.SeriesNumber, d.InstanceNumber = own, {"2ch": 2, "4ch": 3}[view], i + 1
        d.SeriesDescription = f"cine_retro_{view}"
        d.TriggerTime = time
        stack.append(_with_pixels(d, rng.integers(0, 500, (128, 128)), affine, 8.0, uid()))
    return stack


def enhanced(stack: list[Dataset], uid: Callable[[], UID]) -> Dataset:
    """Classic instances of one series as one enhanced multi-frame instance."""
    first = stack[0]
    moved = {"ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness", "TriggerTime"}
    moved |= {"SliceLocation", "InstanceNumber", "WindowCenter", "WindowWidth", "EchoTime", "InversionTime"}
    moved |= {"PixelData", "AcquisitionTime", "NominalInterval", "CardiacNumberOfImages", "ScanningSequence"}
    moved |= {"SequenceVariant", "ScanOptions", "SequenceName", "MRAcquisitionType", "AcquisitionNumber", "ImageType"}
    d = Dataset()
    for element in first:
        if element.keyword not in moved:
            d.add(copy.deepcopy(element))
    d.SOPClassUID, d.SOPInstanceUID, d.InstanceNumber = EnhancedMRImageStorage, uid(), 1
    inversion = "InversionTime" in first
    d.ImageType = ["ORIGINAL", "PRIMARY", "CARDIAC", "IR" if inversion else "NONE"]
    d.ComplexImageComponent = "REAL" if inversion and first.ImageType[2] == "P" else "MAGNITUDE"
    d.PulseSequenceName, d.InversionRecovery = first.SequenceName.lstrip("*"), "YES" if inversion else "NO"
    d.EchoPulseSequence = "SPIN" if "SE" in first.ScanningSequence else "GRADIENT"
    d.AcquisitionContrast = "STIR" if inversion and float(first.EchoTime) > 30 else "UNKNOWN"
    d.NumberOfFrames = len(stack)
    positions = list(dict.fromkeys(tuple(s.ImagePositionPatient) for s in stack))
    times = sorted({float(s.TriggerTime) for s in stack if "TriggerTime" in s})
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([_only(first, "PixelSpacing", "SliceThickness", "SpacingBetweenSlices")])
    shared.PlaneOrientationSequence = Sequence([_only(first, "ImageOrientationPatient")])
    shared.MREchoSequence = Sequence([_made(EffectiveEchoTime=float(first.EchoTime))])
    if inversion:
        shared.MRModifierSequence = Sequence(
            [_made(InversionRecovery="YES", InversionTimes=[float(first.InversionTime)])]
        )
    d.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for s in stack:
        g = Dataset()
        g.PlanePositionSequence = Sequence([_only(s, "ImagePositionPatient")])
        place = positions.index(tuple(s.ImagePositionPatient)) + 1
        content = _made(
            StackID="1", InStackPositionNumber=place, FrameAcquisitionDateTime=s.StudyDate + s.AcquisitionTime
        )
        content.DimensionIndexValues = [place]
        if times:
            time = float(s.TriggerTime)
            content.DimensionIndexValues = [place, times.index(time) + 1]
            content.TemporalPositionIndex = times.index(time) + 1
            sync = _made(NominalCardiacTriggerDelayTime=time)
            if "NominalInterval" in first:
                sync.RRIntervalTimeNominal = float(first.NominalInterval)
            g.CardiacSynchronizationSequence = Sequence([sync])
        g.FrameContentSequence = Sequence([content])
        g.PixelValueTransformationSequence = Sequence([_made(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")])
        groups.append(g)
    d.PerFrameFunctionalGroupsSequence = Sequence(groups)
    d.PixelData = b"".join(s.PixelData[: 2 * s.Rows * s.Columns] for s in stack)
    d["PixelData"].VR = "OW"
    return d


def _only(d: Dataset, *keywords: str) -> Dataset:
    part = Dataset()
    for keyword in keywords:
        if keyword in d:
            part.add(copy.deepcopy(d[keyword]))
    return part


def _made(**values: object) -> Dataset:
    part = Dataset()
    for keyword, value in values.items():
        setattr(part, keyword, value)
    return part


def _compress(path: Path, syntax: UID) -> None:
    """Compress the pixels of a written file, without loss; GDCM where pydicom has no encoder."""
    if syntax == known.JPEGLosslessSV1:
        import gdcm

        reader, change_syntax, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change_syntax.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change_syntax.SetInput(reader.GetImage())
        assert change_syntax.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change_syntax.GetOutput())
        assert writer.Write()
    else:
        dataset = dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path, enforce_file_format=True)
