"""DICOM in: whatever order, form and compression it comes in, the same voxels at the same places; oddities are told."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_seen import cine, codes
from dicom_writer import BIRTH_DATE, NAME, SHAPES, change, files, save, tiny_study, write_dicom
from myoscope.analysis import judge
from myoscope.io.dicom import on_source_frames
from myoscope.io.read import read_study, sort_dicom
from myoscope.io.save import write_study
from myoscope.study import Role, Study

SLICES, FRAMES = 6, 3


@pytest.fixture(scope="module")
def as_nifti(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(write_study(tiny_study(), tmp_path_factory.mktemp("nifti")))


# --- forms ---


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_the_nifti(shape: str, as_nifti: Study, tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, shape)
    study = read_study(tmp_path)
    assert study.patient == as_nifti.patient
    assert [s.role for s in study.series] == [Role.CINE, Role.LGE, Role.T2]
    for series in study.series:
        expected = as_nifti.get(series.role).image  # type: ignore[union-attr]
        z = slice(None, None, -1) if (series.image.affine[:3, 2] @ expected.affine[:3, 2]) < 0 else slice(None)
        assert np.array_equal(series.image.frames[:, z], expected.frames)
        assert np.allclose(np.abs(series.image.affine[:3, :3]), np.abs(expected.affine[:3, :3]), atol=1e-5)
        assert series.image.frame_time_ms == pytest.approx(expected.frame_time_ms)


@pytest.mark.parametrize("shape", ["classic", "enhanced", "interleaved", "separate", "jpegls"])
def test_labels_go_back_onto_the_source_frames(shape: str, tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, shape)
    for series in read_study(tmp_path).series:
        assert series.source is not None
        arrays = on_source_frames(series.image.frames, series.files[0])
        for t, images in enumerate(series.source.images):
            for z, image in enumerate(images):
                pixels = dcmread(image.path).pixel_array
                assert np.array_equal(arrays[t, z], pixels if image.frame is None else pixels[image.frame - 1])
                assert dcmread(image.path).SOPInstanceUID == image.sop_instance_uid


def test_a_frame_lies_where_its_header_says(classic: Path) -> None:
    series = cine(classic)
    grid, source = series.files[0], series.source
    assert source is not None
    affine = grid.header.get_best_affine()
    for z, image in enumerate(source.images[0]):
        assert affine @ [0, 0, z, 1] * [-1, -1, 1, 1] == pytest.approx(
            [*map(float, dcmread(image.path).ImagePositionPatient), 1], abs=1e-3
        )
    assert grid.shape == (40, 33, SLICES)
    assert grid.stem == "cine"


def test_a_zip_and_a_single_multi_frame_file(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path / "e", "enhanced")
    write_dicom(tiny_study(), tmp_path / "c", "random_names")
    packed = Path(shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "c"))
    assert np.array_equal(cine(packed).image.voxels, cine(tmp_path / "c").image.voxels)
    one = next((tmp_path / "e" / "series000").iterdir())
    assert [s.role for s in read_study(one).series] == [Role.CINE]


def test_a_whole_cine_in_one_file_without_spacing_is_warned_of(tmp_path: Path) -> None:
    """It is one file, but no single screenshot: its frames count."""
    write_dicom(tiny_study(), tmp_path, "enhanced")
    (file,) = files(tmp_path, 5)
    dataset = dcmread(file)
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    save(dataset, file)
    (note,) = read_study(tmp_path).notes
    assert (note.code, note.level) == ("series_without_place", "warning")


def test_other_files_beside_do_not_matter(classic: Path) -> None:
    (classic / "DICOMDIR.txt").write_text("hello")
    (classic / "empty").touch()
    screenshot = dcmread(files(classic, 5)[0])
    screenshot.SOPInstanceUID, screenshot.SeriesInstanceUID, screenshot.SeriesNumber = (
        generate_uid(),
        generate_uid(),
        99,
    )
    del screenshot.ImagePositionPatient
    save(screenshot, classic / "shot.dcm")
    assert cine(classic).image.frames.shape[:2] == (FRAMES, SLICES)
    assert sort_dicom(classic).scan.unusable == {(99, "cine_retro_sax", "no usable ImagePositionPatient"): 1}
    assert codes(classic) == {"series_without_place": "Series 99 was left out: no usable ImagePositionPatient."}


def test_nifti_does_not_wait_for_dicom(tmp_path: Path) -> None:
    write_study(tiny_study(), tmp_path)
    code = f"import sys, myoscope; myoscope.read_study({str(tmp_path)!r}); print('highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# --- phases ---


# --- slices ---


def test_a_gap_makes_a_stack_unusable(classic: Path) -> None:
    for path in files(classic, 5)[2 * FRAMES : 3 * FRAMES]:
        path.unlink()
    study = read_study(classic)
    assert [s.role for s in study.series] == [Role.LGE, Role.T2]
    assert [(n.code, n.level, n.role) for n in study.notes] == [("series_unusable", "warning", Role.CINE)]
    assert "expected slices 9.0 mm apart, found a gap of 18.0 mm between slices" in study.notes[0].message


def test_uneven_slices_are_noted(classic: Path) -> None:
    for path in files(classic, 8)[3:]:
        header = dcmread(path)
        normal = np.cross(*np.reshape(np.array(header.ImageOrientationPatient, float), (2, 3)))
        moved = np.array(header.ImagePositionPatient, float) - 0.6 * normal
        change(path, ImagePositionPatient=[f"{v:.6f}" for v in moved])
    assert "mm apart" in codes(classic)["uneven_slices"]
    assert read_study(classic).get(Role.LGE).image.spacing_mm[0] == pytest.approx(9 - 0.6 / 5, abs=0.3)  # type: ignore[union-attr]


def test_rounded_directions_change_no_distance(classic: Path) -> None:
    """Directions of two digits are not quite of length 1: slices had come out tilted against themselves."""
    for path in files(classic, 5):
        change(path, ImageOrientationPatient=[round(float(v), 2) for v in dcmread(path).ImageOrientationPatient])
    assert cine(classic).image.spacing_mm[0] == pytest.approx(9, rel=1e-3)
    assert "slices_tilted" not in codes(classic)


def test_slices_shifted_in_their_plane_are_noted(classic: Path) -> None:
    path = files(classic, 8)[2]
    header = dcmread(path)
    moved = np.array(header.ImagePositionPatient, float) + 4 * np.array(header.ImageOrientationPatient[:3], float)
    change(path, ImagePositionPatient=[f"{v:.6f}" for v in moved])
    assert "by up to 4 mm" in codes(classic)["slices_shifted"]


@pytest.mark.parametrize("moved", [True, False])
def test_slices_of_another_matrix_are_kept(moved: bool, classic: Path) -> None:
    expected = cine(classic)
    for path in files(classic, 5)[4 * FRAMES :]:
        d = dcmread(path)
        pixels = d.pixel_array[2:-1] if moved else d.pixel_array[:-3]
        if moved:
            down = np.array(d.ImageOrientationPatient[3:], float) * 2 * float(d.PixelSpacing[0])
            d.ImagePositionPatient = [f"{v:.6f}" for v in np.array(d.ImagePositionPatient, float) + down]
        d.Rows, d.PixelData = len(pixels), np.ascontiguousarray(pixels).tobytes()
        save(d, path)
    series = cine(classic)
    assert series.image.voxels.shape == expected.image.voxels.shape
    assert np.allclose(series.image.affine, expected.image.affine, atol=1e-4)
    equal = (series.image.voxels == expected.image.voxels).mean(axis=(0, 2, 3))
    assert np.allclose(np.sort(equal)[2:], 1)
    assert np.sort(equal)[:2].min() > 0.9
    assert codes(classic)["matrix_differs"].startswith("Slices have 30 x 40 and 33 x 40 pixels")
    assert series.source is not None
    assert [image.offset for image in series.source.images[0]][4:] == [(2 if moved else 0, 0)] * 2
    arrays = on_source_frames(series.image.frames, series.files[0])
    row, column = series.source.images[0][5].offset
    pixels = dcmread(series.source.images[0][5].path).pixel_array
    assert np.array_equal(arrays[0, 5, row : row + pixels.shape[0], column:], pixels)


def test_slices_tilted_by_a_degree_are_used_and_told(classic: Path) -> None:
    expected = cine(classic).image.voxels
    for path in files(classic, 5)[4 * FRAMES :]:
        d = dcmread(path)
        row, column = np.reshape(np.array(d.ImageOrientationPatient, float), (2, 3))
        t = np.radians(1.5)
        tilted = column * np.cos(t) + np.cross(row, column) * np.sin(t)
        change(path, ImageOrientationPatient=[f"{v:.9f}" for v in (*row, *tilted)])
    assert np.array_equal(cine(classic).image.voxels, expected)
    assert "by up to 1.5 degrees" in codes(classic)["slices_tilted"]


def test_slices_that_the_stack_lacks_are_told(classic: Path) -> None:
    for path in files(classic, 5)[4 * FRAMES :]:
        change(path, PixelSpacing=["1.5", "1.5"])
    series = cine(classic)
    assert series.image.frames.shape[:2] == (FRAMES, 4)
    note = next(n for n in read_study(classic).notes if n.code == "slices_lost")
    assert (note.level, note.role) == ("warning", Role.CINE)
    assert note.message.startswith("2 slices of series 5 could not be joined to series 5 (another geometry)")


# --- repeats ---


def test_repeats_and_duplicates_are_told(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "repeats")
    study = read_study(tmp_path)
    messages = [note.message for note in study.notes]
    assert "9 DICOM instances were there more than once; one was used." in messages
    assert "Series 3 was left out: 4 of 6 slices; series 5 was used." in messages
    assert {n.level for n in study.notes} == {"info"}
    assert study.get(Role.CINE).source.series_number == 5  # type: ignore[union-attr]


def test_the_later_of_two_whole_stacks_wins_and_a_later_part_does_not(classic: Path) -> None:
    write_dicom(tiny_study(), classic / "again", seed=1)
    first = dcmread(classic / "series000" / "IM0000.dcm")
    for path in (classic / "again").rglob("*.dcm"):
        number = dcmread(path).SeriesNumber
        change(
            path,
            SeriesNumber=number + 20,
            AcquisitionTime="120000",
            StudyInstanceUID=first.StudyInstanceUID,
            FrameOfReferenceUID=first.FrameOfReferenceUID,
        )
    assert cine(classic).source.series_number == 25  # type: ignore[union-attr]
    assert "the same slices, taken earlier" in codes(classic)["repeat_left_out"]
    for path in files(classic, 25)[: 2 * FRAMES]:
        path.unlink()
    assert cine(classic).source.series_number == 5  # type: ignore[union-attr]


def test_one_slice_taken_again_joins_a_cine_of_single_slices(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "separate")
    again = {}
    for path in files(tmp_path, 52):
        header = dcmread(path)
        header.SOPInstanceUID, header.SeriesNumber, header.AcquisitionTime = generate_uid(), 70, "120000"
        header.SeriesInstanceUID = "1.2.3.70"
        header.PixelData = (header.pixel_array + 1).tobytes()
        again[header.SOPInstanceUID] = save(header, tmp_path / f"again{header.InstanceNumber}.dcm")
    source = cine(tmp_path).source
    assert source is not None
    used = {image.sop_instance_uid for images in source.images for image in images}
    assert set(again) <= used
    assert len(used) == SLICES * FRAMES
    assert codes(tmp_path)["repeat_left_out"].startswith("Series 52 was left out")


def test_psir_is_preferred_and_the_user_can_say_otherwise(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "psir")
    assert codes(tmp_path)["psir_preferred"].startswith("PSIR (series 8) was used, not magnitude (series 7)")
    chosen = read_study(tmp_path, series={Role.LGE: [7]})
    assert chosen.get(Role.LGE).source.series_number == 7  # type: ignore[union-attr]
    flags = judge(read_study(tmp_path), {}, {}).measurements.quality.flags
    assert [(f.code, f.level, f.series) for f in flags] == [("psir_preferred", "info", "lge")]


# --- values and facts ---


def test_rescaled_and_inverted_values(classic: Path) -> None:
    plain = read_study(classic)
    for path in files(classic, 8):
        change(path, RescaleSlope="0.5", RescaleIntercept="-100")
    for path in files(classic, 11):
        change(path, PhotometricInterpretation="MONOCHROME1")
    changed = read_study(classic)
    (_, lge, t2), (_, new_lge, new_t2) = plain.series, changed.series
    assert np.array_equal(new_lge.image.voxels, lge.image.voxels * 0.5 - 100)
    assert np.array_equal(new_t2.image.voxels, t2.image.voxels.max() - t2.image.voxels)


@pytest.mark.parametrize(("age", "years"), [("045Y", 45), ("018M", 1.5), ("", 72), ("old", 72)])
def test_age(age: str, years: float, classic: Path) -> None:
    for path in classic.rglob("*.dcm"):
        change(path, PatientAge=None)
        if age != "old":
            change(path, PatientAge=age)
    assert read_study(classic).patient.age_years == years


def test_facts_that_no_patient_has_are_left_out(classic: Path) -> None:
    for path in classic.rglob("*.dcm"):
        change(path, PatientSize="168", PatientWeight="0", PatientSex="O", HeartRate=None)
    study = read_study(classic)
    assert (study.patient.height_cm, study.patient.weight_kg, study.patient.sex) == (None, None, None)
    assert study.patient.heart_rate_bpm == pytest.approx(60000 / 900)  # from NominalInterval
    assert [n.message for n in study.notes] == [
        "The headers give height_cm 16800, outside what is believable (30 to 250); it was ignored."
    ]


def test_nothing_in_a_study_names_the_patient(classic: Path) -> None:
    study = read_study(classic)
    text = repr([study.id, study.patient, study.notes, [(s.name, s.files[0].stem) for s in study.series]])
    assert not any(word in text for word in (*NAME.replace("<b>", "").split("^"), BIRTH_DATE, "PID-0815", "A-4711"))


def test_the_heart_rate_is_the_cines(classic: Path) -> None:
    """Late enhancement is taken minutes later, at another rate."""
    for number in (5, 8, 11):
        for path in files(classic, number):
            change(path, HeartRate=60 if number == 5 else 90)
    assert read_study(classic).patient.heart_rate_bpm == 60
    assert "cycle_contradicted" not in codes(classic)
    for path in files(classic, 5):
        change(path, HeartRate=120)
    assert (
        "phases last 900 ms, a beat of the header's heart rate (120/min) 500 ms" in codes(classic)["cycle_contradicted"]
    )


def test_images_that_the_header_promises_are_missed(classic: Path) -> None:
    for path in files(classic, 5):
        change(path, ImagesInAcquisition=18)
    assert "images_missing" not in codes(classic)
    behind = files(classic, 5)[-FRAMES:]
    kept = [path.read_bytes() for path in behind]
    for path in behind:
        path.unlink()
    assert "images_missing" not in codes(classic)
    assert "15 images were found, numbered without a gap; a header says 18" in codes(classic)["images_promised"]
    for path, data in zip(behind, kept, strict=True):
        path.write_bytes(data)
    for path in files(classic, 5)[:FRAMES]:
        path.unlink()
    assert "15 images were found, a header says that there are 18" in codes(classic)["images_missing"]


def test_images_that_their_numbers_promise_are_missed(classic: Path) -> None:
    """Numbered phase by phase, a slice that is not there leaves a gap in each phase."""
    for i, path in enumerate(files(classic, 5)):  # from 101 on, as where a study is numbered throughout
        change(path, InstanceNumber=101 + i % FRAMES * SLICES + i // FRAMES)
    assert "images_missing" not in codes(classic)
    for path in files(classic, 5)[:FRAMES]:
        path.unlink()
    assert "15 images were found, they are numbered 102 to 118, as if there were 17" in codes(classic)["images_missing"]


def test_a_cine_under_stress_gives_way_to_rest(classic: Path) -> None:
    for path in files(classic, 5):
        header = dcmread(path)
        header.SeriesDescription, header.SeriesNumber, header.AcquisitionTime = "cine_sax_dobu_40", 50, "120000"
        header.SeriesInstanceUID, header.SOPInstanceUID = "1.2.3.50", generate_uid()
        save(header, classic / f"stress{header.InstanceNumber}.dcm")
    assert cine(classic).source.series_number == 5  # type: ignore[union-attr]
    assert codes(classic)["stress_left_out"].startswith("Series 50 ('dobu_40')")
    for path in files(classic, 5):
        path.unlink()
    assert "of a heart under stress" in codes(classic)["under_stress"]


def test_of_a_separation_of_fat_and_water_the_water_is_read(classic: Path) -> None:
    """Source: dcm2niix 189 and Philips' mDIXON: all images of a place in one series, at one time."""
    plain = read_study(classic).get(Role.LGE)
    for path in files(classic, 8):
        for kind in ("W", "F", "IP", "OP"):
            header = dcmread(path)
            header.ImageType, header.SOPInstanceUID = ["DERIVED", "PRIMARY", kind, kind], generate_uid()
            header.InstanceNumber += 100 * ["W", "F", "IP", "OP"].index(kind)
            if kind != "W":
                header.PixelData = (1000 - header.pixel_array).astype(np.int16).tobytes()
            save(header, path.with_name(f"{path.stem}{kind}.dcm"))
        path.unlink()
    water = read_study(classic).get(Role.LGE)
    assert plain is not None and water is not None and np.array_equal(plain.image.voxels, water.image.voxels)
