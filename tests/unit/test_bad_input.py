"""What cannot be used ends with exit code 2 and one line that names it and says what to do; nothing is written."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from myoscope import analysis, cli
from myoscope.io.record import LABEL_TABLES, TABLES
from myoscope.labels import Structure
from myoscope.prediction import Prediction
from myoscope.study import Series
from myoscope.volume import plain_affine

SHAPE = (48, 44, 6)
ODD_NAME = """lge "it's" <script>alert(1)<script> \n &amp; {{ 7*7 }} %s [bold].nii.gz"""


@dataclass(frozen=True)
class Said:
    """How a call ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process."""

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["myoscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return Said(int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def refuse(call: Call, tmp_path: Path) -> Callable[..., str]:
    """Run `analyze`, expect a refusal in one line; gives the line."""

    def run(study: Path, *options: str) -> str:
        out = tmp_path / "out"
        said = call("analyze", study, "-o", out, *options)
        assert not out.exists()
        return refused(said)

    return run


def refused(said: Said) -> str:
    """The one line of a refusal: exit code 2, nothing on stdout, no traceback."""
    assert said.code == 2, said
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("myoscope: ")
    assert "Traceback" not in said.err
    return lines[0]


class DiscModel:
    """Stands in for a trained model: a round heart in the middle of every slice."""

    name = "discs"
    sha256 = "0" * 64
    card = {"licence": "none"}  # noqa: RUF012
    network = SimpleNamespace(files=())

    def segment(self, series: Series) -> Prediction:
        height, width = series.image.voxels.shape[-2:]
        rows, columns = np.indices((height, width))
        radius = np.hypot(rows - height / 2, columns - width / 2)
        labels = np.zeros(series.image.voxels.shape, np.uint8)
        labels[..., radius < 12] = Structure.MYOCARDIUM
        labels[..., radius < 7] = Structure.LV
        volume = series.image.with_voxels(labels)
        return Prediction(volume, {}, np.ones(volume.frames.shape[:2]))


@pytest.fixture
def discs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "_model", lambda *_: DiscModel())


def voxels(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 900, shape).astype(np.int16)


def saved(path: Path, array: np.ndarray | None = None, spacing: tuple[float, float, float] | None = None) -> Path:
    """Write a NIfTI; `spacing` overwrites what its header says, as broken software would."""
    array = voxels() if array is None else array
    image = nib.Nifti1Image(array, plain_affine((8.0, 1.5, 1.5)))
    nib.save(image, path)
    if spacing:
        raw = bytearray(gzip.decompress(path.read_bytes()))
        raw[80:92] = np.array(spacing, "<f4").tobytes()
        raw[252:256] = bytes(4)  # no qform, no sform: only pixdim is left
        path.write_bytes(gzip.compress(bytes(raw)))
    return path


# --- the study ---


def test_no_such_path(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert re.search(r"nowhere: no such file or folder; check the path", refuse(tmp_path / "nowhere"))


def test_an_empty_folder(refuse: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "empty: expected NIfTI or DICOM images, found none; give a study's folder" in refuse(folder)


def test_a_folder_without_images(refuse: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear colleague")
    assert "letters: expected NIfTI or DICOM images, found neither" in refuse(folder)


@pytest.mark.parametrize("name", ["lge.nii.gz", "lge.nii"])
def test_text_named_nifti(name: str, refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / name).write_text("this is not an image\n" * 50)
    assert re.search(rf"{name}: expected a NIfTI image, cannot read it", refuse(tmp_path / name))


def test_a_file_of_no_bytes(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "lge.nii.gz").touch()
    assert "lge.nii.gz: expected a NIfTI image" in refuse(tmp_path / "lge.nii.gz")


@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_truncated_gzip(share: float, refuse: Callable[..., str], tmp_path: Path) -> None:
    path = saved(tmp_path / "lge.nii.gz")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert re.search(r"lge\.nii\.gz: expected a NIfTI image, cannot read it \(.+\); copy or export it", refuse(path))


def test_damaged_gzip(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = saved(tmp_path / "lge.nii.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(bytes(data))
    assert "lge.nii.gz: expected a NIfTI image, cannot read it (compressed data is cut short or dam" in refuse(path)


def test_truncated_without_compression(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = saved(tmp_path / "lge.nii")
    path.write_bytes(path.read_bytes()[:5000])
    assert "lge.nii: the image data cannot be read" in refuse(path)


def test_a_two_dimensional_image(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = saved(tmp_path / "lge.nii.gz", voxels((48, 44)))
    assert re.search(r"lge\.nii\.gz: expected a 3-D stack .*\(48, 44\); give the whole stack", refuse(path))


def test_a_five_dimensional_image(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = saved(tmp_path / "lge.nii.gz", voxels((8, 8, 3, 2, 3)))
    assert "found a 5-D image" in refuse(path)


def test_only_nan(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = saved(tmp_path / "lge.nii.gz", np.full(SHAPE, np.nan, np.float32))
    assert "lge.nii.gz: expected an image, found only NaN; export it again" in refuse(path)


@pytest.mark.parametrize("value", [0, 137])
def test_constant(value: int, refuse: Callable[..., str], tmp_path: Path) -> None:
    path = saved(tmp_path / "lge.nii.gz", np.full(SHAPE, value, np.int16))
    assert f"lge.nii.gz: expected an image, every voxel is {value}; export it again" in refuse(path)


def test_complex_numbers(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "expected real numbers" in refuse(saved(tmp_path / "lge.nii.gz", voxels().astype(np.complex64)))


@pytest.mark.parametrize("spacing", [(0.0, 1.5, 8.0), (1.5, 1.5, 0.0), (-1.5, 1.5, 8.0), (1.5, 1.5, -8.0)])
def test_zero_or_negative_spacing(
    spacing: tuple[float, float, float], refuse: Callable[..., str], tmp_path: Path
) -> None:
    path = saved(tmp_path / "lge.nii.gz", spacing=spacing)
    found = ", ".join(f"{s:g}" for s in spacing)
    assert re.search(rf"lge\.nii\.gz: expected positive voxel spacing, found \({found}\) mm; repair", refuse(path))


@pytest.mark.parametrize("spacing", [(np.nan, 1.5, 8.0), (1.5, np.inf, 8.0)])
def test_spacing_that_is_no_number(
    spacing: tuple[float, float, float], refuse: Callable[..., str], tmp_path: Path
) -> None:
    assert "expected positive voxel spacing" in refuse(saved(tmp_path / "lge.nii.gz", spacing=spacing))


@pytest.mark.parametrize("name", ["image.dcm", "IM000001"])
def test_dicom(name: str, refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(64))
    assert f"{name}: expected a DICOM instance, its header is cut short" in refuse(tmp_path / name)


def test_a_folder_of_dicom(refuse: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "IM000001").write_bytes(bytes(128) + b"DICM" + bytes(64))
    assert "IM000001: expected a DICOM instance, its header is cut short" in refuse(folder)


def test_another_kind_of_file(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(b"\x89PNG")
    line = refuse(tmp_path / "scan.png")
    assert "scan.png: expected DICOM (a folder, a zip, a file) or NIfTI" in line and "found a .png file" in line


# --- the call ---


def test_an_ambiguous_role(refuse: Callable[..., str], tmp_path: Path) -> None:
    line = refuse(saved(tmp_path / "scan.nii.gz"))
    assert "scan.nii.gz: its name does not say what it shows; give --role cine|lge|t2|bssfp" in line
    line = refuse(saved(tmp_path / "t2_lge.nii.gz"))
    assert "t2_lge.nii.gz: the name says lge and t2; give --role" in line


def test_an_unknown_role(refuse: Callable[..., str], tmp_path: Path) -> None:
    line = refuse(saved(tmp_path / "scan.nii.gz"), "--role", "flair")
    assert "'flair'; choose one of cine, lge, t2, bssfp" in line


def test_nothing_to_segment(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myoscope.analysis.is_installed", lambda _: False)  # T2 alone needs compact-myops
    said = call("analyze", saved(tmp_path / "t2.nii.gz"), "-o", tmp_path / "out")
    assert "t2: expected a cine, LGE or bSSFP image, found t2" in refused(said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--previous", "--calibration", "--models"])
def test_what_is_refused_late_leaves_no_folder(option: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    out = tmp_path / "new" / "out"
    refused(call("analyze", saved(tmp_path / "lge.nii.gz"), "-o", out, option, tmp_path / "none"))
    assert not out.parent.exists()
    out.mkdir(parents=True)  # what was there stays
    refused(call("analyze", tmp_path / "lge.nii.gz", "-o", out, option, tmp_path / "none"))
    assert out.is_dir()


def test_an_unknown_device(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "--device cpu" in refuse(saved(tmp_path / "lge.nii.gz"), "--device", "abacus").replace(" or cuda", "")


def test_a_call_without_its_arguments(call: Call) -> None:
    for arguments in (["analyze"], ["analyze", "x"], ["analyse", "x", "-o", "y"], ["analyze", "--no-such-option"]):
        assert "myoscope --help" in refused(call(*arguments))


@pytest.mark.parametrize("command", ["analyze", "measure", "predict"])
def test_output_that_is_a_file(command: str, call: Call, tmp_path: Path) -> None:
    image = saved(tmp_path / "patient001_frame01.nii.gz")
    labels = saved(tmp_path / "labels.nii.gz", np.zeros(SHAPE, np.uint8))
    arguments = {
        "analyze": ["analyze", image],
        "measure": ["measure", image, "--labels", labels],
        "predict": ["predict", "compact-cine", tmp_path],
    }
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for out in (taken, taken / "below"):
        line = refused(call(*arguments[command], "-o", out))
        assert re.search(r"taken.*: cannot write there \(.+\); choose another folder with -o", line)
    assert taken.read_text() == "mine"


def test_the_folder_of_a_study_is_no_folder_for_results(call: Call, tmp_path: Path) -> None:
    saved(tmp_path / "lge.nii.gz")
    line = refused(call("analyze", tmp_path, "-o", tmp_path / "x" / ".."))
    assert "expected another folder than the study's" in line
    assert [path.name for path in tmp_path.iterdir()] == ["lge.nii.gz"]


@pytest.mark.usefixtures("discs")
def test_a_disk_that_fails_leaves_nothing(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from myoscope.io import save

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save, "write_labels", fail)
    said = call("analyze", saved(tmp_path / "lge.nii.gz"), "-o", tmp_path / "out")
    assert "cannot write there (No space left on device); free space" in refused(said)
    assert not list((tmp_path / "out").rglob("*"))


# --- labels drawn by hand ---


def measure(call: Call, tmp_path: Path, labels: Path) -> str:
    image = saved(tmp_path / "lge.nii.gz")
    line = refused(call("measure", image, "--labels", labels, "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    return line


def test_labels_of_another_shape(call: Call, tmp_path: Path) -> None:
    labels = saved(tmp_path / "mine.nii.gz", np.zeros((48, 44, 5), np.uint8))
    line = measure(call, tmp_path, labels)
    assert "mine.nii.gz: expected labels of shape (48, 44, 6) like the image, found (48, 44, 5); give" in line


def test_labels_of_another_place(call: Call, tmp_path: Path) -> None:
    turned = np.diag([-1.5, 1.5, 8, 1])
    path = tmp_path / "mine.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), turned), path)
    assert "mine.nii.gz: expected labels that lie where lge.nii.gz lies, found another place" in measure(
        call, tmp_path, path
    )


@pytest.mark.parametrize("code", [7, 200, -1, 1.5])
def test_unknown_label_codes(code: float, call: Call, tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.float32)
    array[10:20, 10:20] = code
    line = measure(call, tmp_path, saved(tmp_path / "mine.nii.gz", array))
    assert re.search(r"mine\.nii\.gz: expected label codes \[0, 1, 2, 3, 4, 5, 6\], found .*; convert", line)


def test_labels_that_are_not_there(call: Call, tmp_path: Path) -> None:
    assert "mine.nii.gz: no such file; check the path" in measure(call, tmp_path, tmp_path / "mine.nii.gz")


def test_labels_for_a_whole_study(call: Call, tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    saved(study / "lge.nii.gz")
    saved(study / "t2.nii.gz")
    said = call("measure", study, "--labels", study / "lge.nii.gz", "-o", tmp_path / "out")
    assert "expected the name of an image (lge_seg.nii.gz, t2_seg.nii.gz), found another; rename it or give" in refused(
        said
    )


# --- odd names are only names ---


def test_an_odd_name_in_an_error_is_one_line(refuse: Callable[..., str], tmp_path: Path) -> None:
    line = refuse(tmp_path / ODD_NAME)
    assert "no such file or folder" in line
    path = tmp_path / ("\x1b[31m" + ODD_NAME)
    path.write_text("no image")
    assert "\x1b" not in refuse(path)


@pytest.mark.usefixtures("discs")
def test_an_odd_name_is_analysed_and_only_shown(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = saved(folder / ODD_NAME)
    said = call("analyze", path, "-o", tmp_path / "out")
    assert said.code == 0, said.err
    written = sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file())
    stem = ODD_NAME.removesuffix(".nii.gz")
    tables = [Path(name).name for name in (*TABLES, *LABEL_TABLES)]
    names = ["report.html", "measurements.json", *tables, "study.json", f"{stem}_seg.nii.gz"]
    assert written == sorted(names)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7*7 }}" in page
    measured = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert measured["provenance"]["series"][0]["files"] == [ODD_NAME]
    assert measured["patient"]["study_id"] == stem


@pytest.mark.usefixtures("discs")
def test_spreadsheets_get_no_formula(call: Call, tmp_path: Path) -> None:
    path = saved(tmp_path / "=cmd|lge.nii.gz")
    assert call("analyze", path, "-o", tmp_path / "out").code == 0
    row = (tmp_path / "out" / "measurements.csv").read_text().splitlines()[1]
    assert row.startswith("'=cmd")


# --- the program itself ---


def test_a_real_process_says_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "myoscope.cli", "analyze", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = refused(Said(done.returncode, done.stdout, done.stderr))
    assert "nowhere: no such file or folder; check the path" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", ["42", "0.1", "nan"])
def test_a_hematocrit_that_no_patient_has(given: str, refuse: Callable[..., str], tmp_path: Path) -> None:
    line = refuse(tmp_path, "--hematocrit", given)
    assert f"--hematocrit: expected hematocrit between 0.2 and 0.65, found {given}; check the unit" in line
