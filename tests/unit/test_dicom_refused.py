"""DICOM that cannot be read, and choices that cannot be met, end in one line that says why."""

import re
import zipfile
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import CTImageStorage, HTJ2KLossless

from dicom_writer import change, files, tiny_study
from myoscope.errors import InputError
from myoscope.io.dicom import unzip
from myoscope.io.read import read_study
from myoscope.io.save import write_study
from myoscope.study import Role


def one_line(study: Path, **options: object) -> str:
    with pytest.raises(InputError) as refused:
        read_study(study, **options)  # type: ignore[arg-type]
    message = str(refused.value)
    assert "\n" not in message
    assert "Muster" not in message
    return message


def test_not_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("no image")
    assert "a.dcm: expected DICOM, found no DICOM header" in one_line(tmp_path)
    assert "a.dcm: expected DICOM, found no DICOM header" in one_line(tmp_path / "a.dcm")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.5, 0.99])
def test_truncated(share: float, classic: Path) -> None:
    path = files(classic, 5)[4]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = one_line(classic)
    assert path.name in message
    assert any(hint in message for hint in ("no DICOM header", "cut short", "damaged", "ends before", "cannot be read"))


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"]
)
def test_missing_geometry(keyword: str, classic: Path) -> None:
    for path in classic.rglob("*.dcm"):
        change(path, **{keyword: None})
    where = "Rows and Columns" if keyword in ("Rows", "Columns") else keyword
    assert f"found none (series 5: no usable {where}; series 8: no usable" in one_line(classic)


def test_mixed_patients(classic: Path) -> None:
    change(files(classic, 8)[0], PatientID="another")
    assert "expected one patient, found 2; give one patient's study" in one_line(classic)


def test_two_studies(classic: Path) -> None:
    for path in files(classic, 8):
        change(path, StudyInstanceUID="1.2.3")
    assert "expected one study, found 2 of this patient" in one_line(classic)


def test_one_slice_only(classic: Path) -> None:
    for path in [*files(classic, 8), *files(classic, 11), *files(classic, 5)[3:]]:
        path.unlink()
    assert "series 5: other, one slice, and no stack to compare it with" in one_line(classic)
    assert "expected a stack of slices, found one slice" in one_line(classic, series={Role.CINE: [5]})
    assert "one slice" in one_line(files(classic, 5)[0])


def test_ct(classic: Path) -> None:
    for path in classic.rglob("*.dcm"):
        change(path, SOPClassUID=CTImageStorage, Modality="CT")
    assert "study: expected DICOM of cardiac MR, found CT; give the MR study" in one_line(classic)


def test_no_pixel_data(classic: Path) -> None:
    path = change(files(classic, 5)[4], PixelData=None)
    assert f"{path.name}: expected pixel data, the file ends before them; send it again" in one_line(classic)


@pytest.mark.parametrize(
    ("syntax", "found"),
    [
        (
            HTJ2KLossless,
            r"expected a decoder of High-Throughput JPEG 2000 .*; pip install pylibjpeg pylibjpeg-openjpeg, or",
        ),
        ("1.2.840.10008.1.2.4.110", r"found JPEG XL \(.*\.110\); there is no decoder: have it sent .* uncompressed"),
    ],
)
def test_a_decoder_that_is_missing_is_named(
    syntax: str, found: str, classic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = get_decoder(HTJ2KLossless)
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.0")})
    path = files(classic, 5)[4]
    image = dcmread(path)
    image.PixelData = encapsulate([image.PixelData])
    image.file_meta.TransferSyntaxUID = HTJ2KLossless
    image.save_as(path)
    path.write_bytes(path.read_bytes().replace(HTJ2KLossless.encode(), syntax.encode()))  # pydicom writes no JPEG XL
    line = one_line(classic)
    assert re.search(found, line) and "send it again" not in line


def test_an_empty_image(classic: Path) -> None:
    for path in files(classic, 11):
        change(path, PixelData=bytes(2 * 32 * 34))
    assert "series 11: expected an image, every voxel is 0" in one_line(classic)


def zipped(path: Path, *names: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../out.dcm", "/etc/out.dcm", "a/../../out.dcm", "C:/out.dcm", "..\\out.dcm"])
def test_a_zip_that_escapes(name: str, tmp_path: Path) -> None:
    message = one_line(zipped(tmp_path / "study.zip", "fine.dcm", name))
    assert "study.zip: a file in it would be written outside its folder" in message
    assert not (tmp_path / "out.dcm").exists()


def test_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped(tmp_path / "study.zip", "a.dcm", content=bytes(10_000_000))
    assert "expected a study of at most 16 GB and 100 times the zip, found 1 files of 10000000 bytes" in one_line(bomb)
    monkeypatch.setattr(unzip, "MAX_FILES", 2)
    assert "found 3 files" in one_line(zipped(tmp_path / "many.zip", "a", "b", "c"))


@pytest.mark.parametrize("content", [b"PK\x05\x06", b"no zip", b""])
def test_a_broken_zip(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "study.zip").write_bytes(content)
    assert "study.zip: " in one_line(tmp_path / "study.zip")


def test_a_zip_without_dicom(tmp_path: Path) -> None:
    assert "study.zip: expected DICOM of cardiac MR, found no DICOM" in one_line(
        zipped(tmp_path / "study.zip", "a.txt")
    )


def test_choosing_what_is_not_there(classic: Path) -> None:
    assert "there are no usable images in series 6; there are 5, 8, 11" in one_line(classic, series={Role.CINE: [6]})
    assert "--role is for NIfTI; in DICOM choose the lge series by its number" in one_line(classic, role="lge")


def test_nifti_has_no_series_numbers(tmp_path: Path) -> None:
    write_study(tiny_study(), tmp_path)
    assert "--series is for DICOM" in one_line(tmp_path, series={Role.CINE: [6]})
