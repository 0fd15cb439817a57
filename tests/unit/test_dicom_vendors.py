"""What one vendor writes into headers, or one archive makes of pixels, and another does not."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless, generate_uid

from dicom_seen import cine, codes
from dicom_writer import change, enhanced, files, save, tiny_study, write_dicom
from myoscope.io.read import read_study
from myoscope.study import Role

SLICES, FRAMES = 6, 3


@pytest.mark.parametrize("contrast", ["T1", "T2"])
def test_a_contrast_in_image_type_is_no_map(contrast: str, tmp_path: Path) -> None:
    """Philips' enhanced images: ORIGINAL, PRIMARY, T1, NONE, in ImageType and in each frame's FrameType (5.6.1)."""
    write_dicom(tiny_study(), tmp_path, "enhanced")
    for path in tmp_path.rglob("*.dcm"):
        header = dcmread(path)
        header.ImageType = ["ORIGINAL", "PRIMARY", contrast, "NONE"]
        kind = Dataset()
        kind.FrameType, kind.ComplexImageComponent = header.ImageType, header.ComplexImageComponent
        for group in header.PerFrameFunctionalGroupsSequence:
            group.MRImageFrameTypeSequence = Sequence([kind])
        save(header, path)
    study = read_study(tmp_path)
    assert [s.role for s in study.series] == [Role.CINE, Role.LGE, Role.T2]
    assert not study.notes


@pytest.mark.parametrize(("fastest", "read"), [(0.0, True), (150.0, False)])
def test_a_velocity_of_zero_is_no_phase_contrast(fastest: float, read: bool, tmp_path: Path) -> None:
    """The standard lets the macro stand in any image."""
    write_dicom(tiny_study(), tmp_path, "enhanced")
    velocity = Dataset()
    velocity.VelocityEncodingMinimumValue, velocity.VelocityEncodingMaximumValue = 0.0, fastest
    path = files(tmp_path, 5)[0]
    header = dcmread(path)
    header.SharedFunctionalGroupsSequence[0].MRVelocityEncodingSequence = Sequence([velocity])
    save(header, path)
    assert (read_study(tmp_path).get(Role.CINE) is not None) is read


@pytest.mark.parametrize("exam", ["CARDIAC STRESS PERFUSION", "MYOCARDITIS EDEMA", "4D FLOW/5"])
def test_the_protocol_of_a_ge_exam_says_nothing_of_a_series(exam: str, classic: Path) -> None:
    """Source: dcm2niix issue 563 (a GE scanner's ProtocolName is locked, the user names the series)."""
    for path in classic.rglob("*.dcm"):
        change(path, Manufacturer="GE MEDICAL SYSTEMS", ProtocolName=exam)
    study = read_study(classic)
    assert [s.role for s in study.series] == [Role.CINE, Role.LGE, Role.T2]
    assert not study.notes
    for path in files(classic, 5):
        change(path, SeriesDescription="", ProtocolName="FIESTA perfusion")
    assert read_study(classic).get(Role.CINE) is None


def test_a_few_slices_of_psir_do_not_stand_for_the_magnitudes_stack(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "psir")
    for path in files(tmp_path, 8)[4:]:
        path.unlink()
    assert read_study(tmp_path).get(Role.LGE).source.series_number == 7  # type: ignore[union-attr]
    assert codes(tmp_path)["psir_incomplete"].startswith("Magnitude (series 7) was used, not PSIR (series 8)")
    for path in files(tmp_path, 8)[1:]:
        path.unlink()
    assert read_study(tmp_path).get(Role.LGE).source.series_number == 7  # type: ignore[union-attr]


def test_signed_pixels_of_12_bits_in_jpeg_ls(classic: Path) -> None:
    plain = read_study(classic).get(Role.LGE)
    for path in files(classic, 8):
        header = dcmread(path)
        pixels = header.pixel_array.astype(np.int16) - 500
        header.BitsStored, header.HighBit, header.PixelRepresentation = 12, 11, 1
        header.PixelData = pixels.tobytes()
        header.compress(JPEGLSLossless, generate_instance_uid=False)
        save(header, path)
    signed = read_study(classic).get(Role.LGE)
    assert plain is not None and signed is not None and np.array_equal(signed.image.voxels, plain.image.voxels - 500)


def test_several_frames_in_a_classic_image_are_told(classic: Path) -> None:
    slices = files(classic, 5)
    for z in range(SLICES):
        first, *rest = slices[z * FRAMES : (z + 1) * FRAMES]
        data = b"".join(dcmread(path).PixelData for path in (first, *rest))
        change(first, NumberOfFrames=FRAMES, PixelData=data)
        for path in rest:
            path.unlink()
    assert "Series 5 was left out: several frames in one image" in codes(classic)["series_without_place"]


@pytest.mark.parametrize("away_mm", [0.0, 0.7])
def test_a_slice_taken_again_a_little_beside_its_place(away_mm: float, tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "separate")
    again, uid = [], generate_uid()
    for path in files(tmp_path, 52):
        header = dcmread(path)
        normal = np.cross(*np.reshape(np.array(header.ImageOrientationPatient, float), (2, 3)))
        header.ImagePositionPatient = [f"{v:.6f}" for v in header.ImagePositionPatient + away_mm * normal]
        header.SeriesInstanceUID, header.SeriesNumber, header.SOPInstanceUID = uid, 60, generate_uid()
        header.AcquisitionTime, header.PixelData = "235900", (header.pixel_array + 1).tobytes()
        again.append(save(header, tmp_path / f"again{header.InstanceNumber}.dcm"))
    read = cine(tmp_path)
    assert read.image.voxels.shape[:2] == (FRAMES, SLICES)
    assert set(again) <= {image.path for images in read.source.images for image in images}  # type: ignore[union-attr]


def test_an_enhanced_image_for_each_phase_is_ordered_by_its_number(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    expected, stack = cine(tmp_path).image, [dcmread(path) for path in files(tmp_path, 5)]
    for path in files(tmp_path, 5):
        path.unlink()
    for t in range(FRAMES):
        header = enhanced(stack[t::FRAMES], generate_uid)
        header.InstanceNumber = FRAMES + t
        for group in header.PerFrameFunctionalGroupsSequence:
            del group.CardiacSynchronizationSequence
            group.FrameContentSequence[0].TemporalPositionIndex = 1
        save(header, tmp_path / f"{FRAMES - t}.dcm")
    assert np.array_equal(cine(tmp_path).image.voxels, expected.voxels)


def test_a_screenshot_without_the_date_of_birth_is_of_the_same_patient(classic: Path) -> None:
    other = dcmread(files(classic, 5)[0])
    other.SOPClassUID, other.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()  # secondary capture
    other.Modality, other.PatientBirthDate = "OT", ""
    save(other, classic / "screenshot.dcm")
    assert cine(classic).image.voxels.shape[:2] == (FRAMES, SLICES)


def test_an_object_of_no_study_beside_the_images(classic: Path) -> None:
    """A colour palette, a protocol: no instance of a series."""
    palette = dcmread(files(classic, 5)[0])
    palette.SOPClassUID, palette.SOPInstanceUID = "1.2.840.10008.5.1.4.39.1", generate_uid()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PixelData"):
        delattr(palette, keyword)
    save(palette, classic / "palette.dcm")
    assert not read_study(classic).notes


def test_a_cine_that_was_saved_anew_is_used_where_there_is_no_other(tmp_path: Path) -> None:
    """Programs that save images write DERIVED, SECONDARY, whatever they were made of."""
    write_dicom(tiny_study(frames=9), tmp_path)
    for path in files(tmp_path, 5):
        header = dcmread(path)
        header.ImageType, header.SeriesNumber = ["DERIVED", "SECONDARY"], 50
        header.SeriesInstanceUID, header.SOPInstanceUID = "1.2.3.50", generate_uid()
        save(header, tmp_path / f"anew{header.InstanceNumber}.dcm")
    assert cine(tmp_path).source.series_number == 5  # type: ignore[union-attr]
    assert not read_study(tmp_path).notes
    for path in files(tmp_path, 5):
        path.unlink()
    assert cine(tmp_path).source.series_number == 50  # type: ignore[union-attr]
    assert "Series 50 says that it was computed" in codes(tmp_path)["cine_derived"]
    for path in files(tmp_path, 50):
        change(path, ImageType=["DERIVED", "SECONDARY", "MPR"])
    assert read_study(tmp_path).get(Role.CINE) is None


def test_a_frame_of_reference_for_each_image_is_said(classic: Path) -> None:
    """The standard has one for a series (C.7.4.1); one who makes all UIDs anew gives each image its own."""
    before = read_study(classic)
    for path in files(classic, 5):
        change(path, FrameOfReferenceUID=generate_uid())
    study = read_study(classic)
    assert [(note.code, note.level) for note in study.notes] == [("references_differ", "warning")]
    assert "name 18 frames of reference" in study.notes[0].message
    after, asked = study.get(Role.CINE), before.get(Role.CINE)
    assert after and asked and np.array_equal(after.image.voxels, asked.image.voxels)
