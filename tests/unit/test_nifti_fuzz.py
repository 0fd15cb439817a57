"""Damaged and odd NIfTI files: refused in one line, or read onto the right grid; never a traceback, never half a file.

`make test` runs a sample, always the same; `make nightly` (HYPOTHESIS_PROFILE=nightly) thousands of new ones.
"""

import gzip
import os
import sys
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from myoscope import cli
from myoscope.errors import InputError
from myoscope.io.header import SPACING_MM
from myoscope.io.nifti import MAX_VOXELS, read_labels, read_nifti, write_labels
from myoscope.io.record import TABLES
from myoscope.labels import OWN_CODES, Structure
from myoscope.volume import Volume

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


def profile(sample: int, nightly: int) -> settings:
    """How many files a test tries; the sample is always the same, and found files are not made smaller in it."""
    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    if NIGHTLY:
        return settings(max_examples=nightly, **quiet)
    return settings(max_examples=sample, derandomize=True, phases=[Phase.explicit, Phase.generate], **quiet)


DTYPES = (np.int16, np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 8.0, 1e-3, -1e-3, 1e-30, 1e-42, 1e3, 1e30, -1e30, 3e38, 1e300)
NOT_NUMBERS = (float("nan"), float("inf"), float("-inf"))
SPACINGS = ((1.5, 1.25, 8.0), (1.0, 1.0, 1.0), (8.0, 1.0, 1.0))
SHAPES = ((9, 8, 4), (4, 9, 8), (9, 8, 4, 2), (9, 8, 1), (9, 8, 4, 1, 1))
INTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 127, 128, 255, 256, 512, 1024, 1536, 2048, 2304, 30000, 32767, 2**31 - 1)
INTS += (2**40, 2**62, 2**63 - 1, -1, -2, -8, -128, -32768, -(2**31), -(2**63))
MAGICS = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0", b"n+9\0", b"", b"\xff" * 4, b"n+2\0\r\n\x1a\n", b"n+1\0\r\n\x1a\n")


@dataclass(frozen=True)
class Sample:
    """A file's bytes, and whether they are gzipped."""

    data: bytes
    suffix: str


def voxels_of(kind: str, shape: tuple[int, ...], dtype: type, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 100, shape).astype(dtype)
    if kind == "constant":
        values[...] = 7
    elif kind == "extreme" and np.issubdtype(dtype, np.integer):
        values.flat[::3] = np.iinfo(dtype).max
        values.flat[1::3] = np.iinfo(dtype).min
    elif kind == "extreme":
        values.flat[::3] = np.finfo(dtype).max
        values.flat[1::3] = np.finfo(dtype).min
    elif kind == "holes" and np.issubdtype(dtype, np.floating):
        values.flat[::2] = rng.choice(NOT_NUMBERS, len(values.flat[::2]))
    elif kind == "nothing" and np.issubdtype(dtype, np.floating):
        values[...] = np.nan
    return values


@st.composite
def mutation(draw: st.DrawFn, header: np.ndarray) -> tuple[str, int, object]:
    """A field of a raw header, the position in it, and a value to put there."""
    name = draw(st.sampled_from(header.dtype.names))
    field = header[name]
    position = draw(st.integers(0, max(field.size - 1, 0)))
    if field.dtype.kind == "f":
        values = st.sampled_from(FLOATS + NOT_NUMBERS) | st.floats(width=32)
    elif field.dtype.kind in "iu":
        values = st.sampled_from(INTS) | st.integers(-300, 300)
    else:
        values = st.sampled_from(MAGICS) | st.binary(max_size=8)
    return name, position, draw(values)


def put(header: np.ndarray, name: str, position: int, value: object) -> None:
    dtype = header[name].dtype
    if dtype.kind in "iu":
        value = int(value) % 2 ** (8 * dtype.itemsize)  # type: ignore[call-overload]
        value = np.array(value, f"u{dtype.itemsize}").view(f"{dtype.kind}{dtype.itemsize}")
    with np.errstate(over="ignore"):
        if header[name].ndim:
            header[name][position] = value
        else:
            header[name] = value


@st.composite
def files(draw: st.DrawFn) -> Sample:
    """A NIfTI file, most of them damaged somewhere."""
    kind = draw(st.sampled_from([nib.Nifti1Header, nib.Nifti1Header, nib.Nifti2Header]))
    header = kind(endianness=draw(st.sampled_from("<<>")))
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.sampled_from(SHAPES) | st.lists(st.integers(1, 5), max_size=7))
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    unit, mm = draw(st.sampled_from([("mm", 1.0), ("mm", 1.0), ("unknown", 1.0), ("micron", 0.001), ("meter", 1000.0)]))
    spacing = np.diag([1 / mm] * 3 + [1]) @ np.diag([*draw(st.sampled_from(SPACINGS)), 1.0])
    turned = np.array([[0.6, 0, 0.8, 10], [0, -1, 0, -4], [0.8, 0, -0.6, 30], [0, 0, 0, 1]])
    affine = draw(st.sampled_from([spacing, turned @ spacing, np.diag([-1.0, -1, 1, 1]) @ spacing]))
    header.set_qform(affine, draw(st.integers(0, 2)))
    header.set_sform(affine, draw(st.integers(0, 2)))
    header["pixdim"][1:4] = np.diag(spacing)[:3]
    header.set_xyzt_units(unit, "msec")
    raw = header.structarr.copy()
    offset = int(raw["vox_offset"]) or (352 if kind is nib.Nifti1Header else 544)
    raw["vox_offset"] = offset
    voxels = voxels_of(
        draw(st.sampled_from(["plain", "plain", "plain", "extreme", "holes", "nothing", "constant"])),
        tuple(shape),
        dtype,
        draw(st.integers(0, 9)),
    )
    for name, position, value in draw(st.lists(mutation(raw), max_size=4)):
        put(raw, name, position, value)
    extension = draw(st.sampled_from([bytes(4), bytes(4), b"\1\0\0\0", b"\1\0\0\0" + draw(st.binary(max_size=40))]))
    body = voxels.astype(voxels.dtype.newbyteorder(header.endianness)).tobytes("F")
    data = (raw.tobytes() + extension).ljust(offset, b"\0")[:offset] + body
    return draw(damaged(data))


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> Sample:
    """What can befall a file after it is written: cut short, lengthened, bytes changed; before or after compression."""
    suffix = draw(st.sampled_from([".nii", ".nii.gz"]))
    befalls = st.sampled_from(["nothing"] * 6 + ["cut", "longer", "bytes"])

    def befall(data: bytes) -> bytes:
        what = draw(befalls)
        if what == "cut":
            return data[: draw(st.integers(0, len(data)))]
        if what == "longer":
            return data + draw(st.binary(min_size=1, max_size=40))
        if what == "bytes":
            changed = bytearray(data)
            for position, value in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6)):
                changed[position % max(len(changed), 1)] = value
            return bytes(changed)
        return data

    data = befall(data)
    return Sample(befall(gzip.compress(data, 1, mtime=0)) if suffix == ".nii.gz" else data, suffix)


def one_line(message: str) -> bool:
    return 10 < len(message) < 800 and message.isprintable()


def check_read(path: Path) -> str:
    """Read a file and hold what comes out against nibabel; gives "refused" or "read"."""
    try:
        image, grid = read_nifti(path)
    except InputError as error:
        assert one_line(str(error)), repr(str(error))
        assert path.name in str(error)
        return "refused"
    assert image.voxels.dtype == np.float32
    assert np.isfinite(image.voxels).all()
    assert np.isfinite(image.affine).all()
    assert all(SPACING_MM[0] <= mm <= SPACING_MM[1] for mm in image.spacing_mm)
    mask = (image.voxels > image.voxels.min()).astype(np.uint8)
    out = path.with_name("out" + "".join(path.suffixes))
    write_labels(mask, grid, out)
    check_written(out, path, image, mask, grid.warned)
    assert (read_labels(out, image, grid, OWN_CODES).voxels == mask).all()
    return "read"


def check_written(
    out: Path, path: Path, image: Volume, mask: np.ndarray, warned: tuple[tuple[str, str], ...] = ()
) -> None:
    """The label file has the image's shape and affine as nibabel reads them; each label lies where its voxel does."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # nibabel's, about the damaged file
        original = nib.load(path)
        voxels = np.asarray(original.dataobj, np.float32)
    written = nib.load(out)
    times = original.shape[3:] if original.ndim <= 4 else tuple(n for n in original.shape[3:] if n != 1) or (1,)
    assert written.shape == (*original.shape[:3], *times), (written.shape, original.shape)
    assert np.array_equal(written.affine, original.affine)
    assert written.header["pixdim"][1:4].tolist() == original.header["pixdim"][1:4].tolist()
    voxels = np.where(np.isfinite(voxels), voxels, 0).reshape(written.shape)
    assert (np.asarray(written.dataobj) == (voxels > image.voxels.min())).all()
    to_mm = {1: 1000.0, 3: 0.001}.get(int(original.header["xyzt_units"]) % 8, 1.0)
    affine = original.affine.copy()
    if any(code == "header_contradicts_itself" for code, _ in warned):  # nibabel takes the sform, whatever it holds
        return
    if np.allclose(np.linalg.norm(affine[:3, :3], axis=0), 1, atol=1e-4):  # spacing in pixdim only, as in EMIDEC
        affine = affine @ np.diag([*np.abs(original.header["pixdim"][1:4]), 1])
    here = image.affine[:3] @ [*(i.mean() for i in mask.nonzero()[:-4:-1]), 1]
    there = affine[:3] @ [*(i.mean() for i in np.asarray(written.dataobj).nonzero()[:3]), 1] * to_mm
    assert np.allclose(here, there, rtol=1e-3, atol=0.1), (here, there)


def test_a_file_is_refused_or_read_right() -> None:
    seen: Counter[str] = Counter()

    @profile(sample=300, nightly=20_000)
    @given(files())
    def run(sample: Sample) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"image{sample.suffix}"
            path.write_bytes(sample.data)
            outcome = check_read(path)
        seen[outcome] += 1

    run()
    print(f"{seen.total()} files: {dict(seen)}")
    assert min(seen["read"], seen["refused"]) > 0.15 * seen.total(), seen


def test_bytes_at_random_are_refused() -> None:
    @profile(sample=50, nightly=2_000)
    @given(st.binary(max_size=600), st.sampled_from([".nii", ".nii.gz"]), st.booleans())
    def run(data: bytes, suffix: str, zipped: bool) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"image{suffix}"
            path.write_bytes(gzip.compress(data) if zipped else data)
            assert check_read(path) == "refused"

    run()


def discs(image: Volume) -> np.ndarray:
    """Labels of a round heart in the middle of every slice."""
    rows, columns = np.indices(image.voxels.shape[-2:])
    radius = np.hypot(rows - rows.mean(), columns - columns.mean())
    labels = np.zeros(image.voxels.shape, np.uint8)
    labels[..., radius < 3] = Structure.MYOCARDIUM
    labels[..., radius < 2] = Structure.LV
    return labels


def call(*arguments: object) -> tuple[int, str]:
    """Run the command line in this process; gives its exit code and stderr."""
    said = StringIO()
    argv = patch.object(sys, "argv", ["myoscope", *map(str, arguments)])
    with argv, redirect_stderr(said), redirect_stdout(StringIO()), pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0), said.getvalue()


def check_call(out: Path, code: int, said: str) -> None:
    written = sorted(path.name for path in out.rglob("*") if path.is_file()) if out.exists() else []
    if code == 0:
        assert said == ""
        (labels,) = {*written} - {
            *TABLES,
            "itk-snap.label",
            "slicer.ctbl",
            "measurements.json",
            "report.html",
            "study.json",
        }
        assert labels.endswith("_seg.nii.gz")
        nib.load(next(out.rglob("*_seg.nii.gz"))).get_fdata()
    else:
        assert code == 2, said
        assert said.startswith("myoscope: ")
        assert said.endswith("\n")
        assert one_line(said[:-1]), said
        assert not written


def test_the_command_line_writes_all_or_nothing() -> None:
    seen: Counter[int] = Counter()

    @profile(sample=25, nightly=1_500)
    @given(files(), st.sampled_from(["cine", "lge"]))
    def run(sample: Sample, role: str) -> None:
        with TemporaryDirectory() as folder:
            path, out = Path(folder) / f"image{sample.suffix}", Path(folder) / "out"
            path.write_bytes(sample.data)
            labels = Path(folder) / "labels.nii.gz"
            with suppress(InputError):
                image, grid = read_nifti(path)
                write_labels(discs(image), grid, labels)
            code, said = call("measure", path, "--labels", labels, "--role", role, "-o", out)
            check_call(out, code, said)
            seen[code] += 1

    run()
    print(f"{seen.total()} calls, by exit code: {dict(seen)}")
    assert min(seen[0], seen[2]) > 0, seen


def test_labels_that_are_damaged_are_refused_or_fit() -> None:
    @profile(sample=60, nightly=3_000)
    @given(files(), st.sampled_from([(9, 8, 4), (9, 8, 4, 2)]))
    def run(sample: Sample, shape: tuple[int, ...]) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"labels{sample.suffix}"
            path.write_bytes(sample.data)
            image = Path(folder) / "image.nii"
            nib.save(nib.Nifti1Image(voxels_of("plain", shape, np.int16, 0), np.diag([1.5, 1.5, 8, 1])), image)
            volume, grid = read_nifti(image)
            try:
                labels = read_labels(path, volume, grid, {code: Structure(code % 7) for code in range(100)})
            except InputError as error:
                assert one_line(str(error))
                assert "labels.nii" in str(error)
            else:
                assert labels.voxels.shape in (volume.voxels.shape, volume.voxels.shape[-3:])

    run()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (32767, 32767, 100, 100), (1290, 1290, 1290)])
def test_a_header_that_promises_terabytes_is_refused(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape(shape)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    data = header.structarr.tobytes() + bytes(4 + 1000)
    path = tmp_path / f"image{suffix}"
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
    with pytest.raises(InputError, match=r"image\.nii.*(holds|expected at most)"):
        read_nifti(path)
    assert np.prod(shape, dtype=float) > MAX_VOXELS


def test_a_label_file_is_whole_or_not_there(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels_of("plain", (9, 8, 4), np.int16, 0), np.diag([1.5, 1.5, 8, 1]))
    nib.save(image, tmp_path / "image.nii")
    volume, grid = read_nifti(tmp_path / "image.nii")
    out = tmp_path / "out.nii.gz"

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with patch.object(Path, "replace", fail), pytest.raises(OSError, match="No space"):
        write_labels(np.ones(volume.voxels.shape, np.uint8), grid, out)
    assert not out.exists()
