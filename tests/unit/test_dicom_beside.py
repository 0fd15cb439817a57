"""What lies in a DICOM study's folder beside its images, and images that lack something, cost themselves only."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from dicom_writer import change, files, save, tiny_study, write_dicom
from myoscope.io.read import read_study
from myoscope.io.save import write_study
from myoscope.study import Role, Study

APPLE = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(40)


def same(a: Study, b: Study) -> bool:
    return [s.role for s in a.series] == [s.role for s in b.series] and all(
        np.array_equal(x.image.voxels, y.image.voxels) for x, y in zip(a.series, b.series, strict=True)
    )


def codes(study: Study) -> dict[str, str]:
    return {note.code: note.level for note in study.notes}


def test_what_computers_leave_beside_is_ignored(classic: Path) -> None:
    expected = read_study(classic)
    (classic / "series000" / "._IM0000.dcm").write_bytes(APPLE)
    (classic / "__MACOSX").mkdir()
    (classic / "__MACOSX" / "IM0000.dcm").write_bytes(APPLE)
    (classic / ".ipynb_checkpoints").mkdir()
    (classic / ".ipynb_checkpoints" / "a-checkpoint.dcm").write_bytes(APPLE)
    (classic / "report.pdf").write_bytes(b"%PDF-1.4")
    packed = shutil.make_archive(str(classic.parent / "mac"), "zip", classic)
    for path in (classic, Path(packed)):
        study = read_study(path)
        assert same(study, expected)
        assert study.notes == ()


def test_an_empty_image_file_is_told(classic: Path) -> None:
    (classic / "IM9999.dcm").touch()
    assert codes(read_study(classic)) == {"files_empty": "warning"}


def test_linked_folders_are_followed_once(classic: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a").symlink_to(classic)
    (tmp_path / "links" / "b").symlink_to(tmp_path / "links")
    assert same(read_study(tmp_path / "links"), read_study(classic))


def test_a_dicomdir_stands_for_its_folder(classic: Path, tmp_path: Path) -> None:
    cd = FileSet()
    for path in classic.rglob("*.dcm"):
        header = dcmread(path)
        header.PatientName = header.StudyDescription = "A"
        cd.add(header)
    cd.write(tmp_path / "cd")
    assert same(read_study(tmp_path / "cd" / "DICOMDIR"), read_study(classic))


def strip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[144 + int.from_bytes(content[140:144], "little") :])


def implicit(path: Path) -> None:
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    strip(path)


@pytest.mark.parametrize("bare", [strip, implicit])
def test_datasets_without_meta_header(bare: Callable[[Path], None], classic: Path) -> None:
    expected = read_study(classic)
    for i, path in enumerate(classic.rglob("*.dcm")):
        bare(path)
        path.rename(path.with_name(f"image{i}"))
    assert same(read_study(classic), expected)


def test_nifti_beside_dicom_is_named_as_left_out(classic: Path) -> None:
    expected = read_study(classic)
    written = write_study(tiny_study(), classic.parent / "nifti")
    shutil.copy(next(Path(written).glob("*lge*")), classic / "other_lge.nii.gz")
    study = read_study(classic)
    assert same(study, expected)
    assert [(n.level, n.code) for n in study.notes] == [("warning", "nifti_left_out")]
    assert "other_lge.nii.gz" in study.notes[0].message


def another(path: Path, **values: object) -> Path:
    dataset = dcmread(path)
    dataset.SOPInstanceUID = generate_uid()
    for key, value in values.items():
        delattr(dataset, key) if value is None else setattr(dataset, key, value)
    return save(dataset, path.with_name("another.dcm"))


def test_one_image_without_a_place_costs_itself(classic: Path) -> None:
    expected = read_study(classic)
    another(files(classic, 5)[0], ImagePositionPatient=None)
    study = read_study(classic)
    assert same(study, expected)
    message = "1 image of series 5 could not be used: no usable ImagePositionPatient."
    assert [(n.level, n.message) for n in study.notes] == [("warning", message)]


def test_series_without_number_and_name_are_told_apart(classic: Path) -> None:
    expected = read_study(classic)
    another(files(classic, 5)[0], ImagePositionPatient=None, SeriesInstanceUID=generate_uid())
    for path in classic.rglob("*.dcm"):
        change(path, SeriesNumber=None, SeriesDescription=None, ProtocolName=None)
    cine, before = read_study(classic).get(Role.CINE), expected.get(Role.CINE)
    assert cine is not None
    assert before is not None
    assert np.array_equal(cine.image.voxels, before.image.voxels)


def test_one_series_uid_for_all_series(classic: Path) -> None:
    expected = read_study(classic)
    for path in classic.rglob("*.dcm"):
        change(path, SeriesInstanceUID="1.2.3")
    assert same(read_study(classic), expected)


def test_a_series_uid_for_each_image(classic: Path) -> None:
    expected = read_study(classic)
    for path in classic.rglob("*.dcm"):
        change(path, SeriesInstanceUID=generate_uid())
    assert same(read_study(classic), expected)


def test_different_images_with_one_uid_are_no_copies(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    expected = read_study(tmp_path)
    for path in files(tmp_path, 8):
        change(path, SOPInstanceUID="1.2.3.4")
    study = read_study(tmp_path)
    assert same(study, expected)
    assert codes(study) == {"uids_shared": "warning"}


def test_a_zip_of_nifti(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("lge.nii.gz", b"x")
    with pytest.raises(ValueError, match="unpack it and give the folder"):
        read_study(tmp_path / "a.zip")


@pytest.mark.parametrize("age", ["000Y", "000M"])
def test_an_age_of_zero_is_unknown(age: str, classic: Path) -> None:
    for path in classic.rglob("*.dcm"):
        change(path, PatientAge=age, PatientBirthDate="")
    assert read_study(classic).patient.age_years is None
    assert read_study(classic).get(Role.CINE) is not None
