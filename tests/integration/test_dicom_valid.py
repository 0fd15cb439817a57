"""What is written as DICOM, before the validator of Debian's dicom3tools."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dicom_results import sent, with_maps, write_dicom

if shutil.which("dciodvfy") is None:
    pytest.skip("dciodvfy is not installed (apt-get install dicom3tools)", allow_module_level=True)

KNOWN = ("Unrecognized defined term = <99MYOSCOPE>",)
"""Warnings that are right as they are: nobody but us knows our scheme; it is declared in each object."""


@pytest.mark.parametrize("shape", ["classic", "enhanced", "separate", "maps"])
def test_dciodvfy_finds_no_error(shape: str, tmp_path: Path) -> None:
    names = []
    folder = tmp_path / "dicom"
    if shape == "maps":
        result = with_maps(sent("classic").result)
        write_dicom(folder, result.study, result.labels, result.measurements)
    for path in sorted((folder if shape == "maps" else sent(shape).out).iterdir()):
        found = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        names.append(path.name)
        kind, *remarks = (found.stdout + found.stderr).splitlines()
        assert kind == ("Comprehensive3DSR" if path.name == "report_sr.dcm" else "Segmentation")
        assert [line for line in remarks if not line.endswith(KNOWN)] == []
        assert found.returncode == 0
    assert names == ["cine_seg.dcm", "lge_seg.dcm", "report_sr.dcm", "t2_seg.dcm"]
