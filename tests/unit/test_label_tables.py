"""Beside the label maps: what their codes mean for ITK-SNAP and 3D Slicer, and a DICOM study's images as NIfTI."""

import shlex
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dicom_writer import tiny_study, write_dicom
from myoscope import cli
from myoscope.analysis import judge
from myoscope.io.label_tables import itk_snap_table, slicer_table
from myoscope.io.read import read_study
from myoscope.io.record import IMAGES, LABEL_TABLES
from myoscope.io.save import write_study
from myoscope.labels import Structure
from myoscope.study import Role


def test_both_tables_have_every_code_in_the_colour_of_the_report() -> None:
    snap = [shlex.split(line) for line in itk_snap_table().splitlines() if not line.startswith("#")]
    slicer = [line.split(" ") for line in slicer_table().splitlines() if not line.startswith("#")]
    for structure, a, b in zip(Structure, snap, slicer, strict=True):
        assert [int(a[0]), int(b[0])] == [structure, structure]
        if structure:
            assert a[7] == structure.title == b[1].replace("_", " ")
            assert "#{:02X}{:02X}{:02X}".format(*map(int, a[1:4])) == structure.colour
            assert b[2:5] == a[1:4]
    assert len(snap[0]) == 8 and len(slicer[0]) == 6
    assert snap[0][4:7] == ["0", "0", "0"] and slicer[0][5] == "0"  # the background is not drawn


def test_images_lie_on_the_voxels_of_their_label_maps(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path / "dicom")
    study = read_study(tmp_path / "dicom")
    labels = {
        s.role: s.image.with_voxels((s.image.voxels > s.image.voxels.mean()).astype(np.uint8)) for s in study.series
    }
    result = judge(study, labels, {})
    out = tmp_path / "out"
    result.save(out, nifti=True)
    assert all((out / name).is_file() for name in LABEL_TABLES)
    for series in study.series:
        image, mask = (
            nib.load(out / "segmentations" / name)
            for name in (f"images/{series.role}.nii.gz", f"{series.role}_seg.nii.gz")
        )
        assert image.shape == mask.shape and np.array_equal(image.affine, mask.affine)
        found = np.asarray(image.dataobj)
        assert np.array_equal(found > series.image.voxels.mean(), np.asarray(mask.dataobj) == 1)
        again = read_study(out / "segmentations" / "images" / f"{series.role}.nii.gz", series.role)
        assert np.array_equal(again.series[0].image.voxels, series.image.voxels)
    result.save(out)  # of the same images: they stay
    assert (out / IMAGES[list(Role).index(study.series[0].role)]).is_file()
    write_study(tiny_study(), tmp_path / "other")
    other = read_study(tmp_path / "other")
    judge(other, {}, {}).save(out)
    assert not (out / "segmentations" / "images").exists()


def test_nifti_of_nifti_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_study(tiny_study(), tmp_path / "study")
    monkeypatch.setattr(sys, "argv", ["myoscope", "analyze", str(folder), "-o", str(tmp_path / "out"), "--nifti"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "expected DICOM with --nifti" in capsys.readouterr().err
