"""Read a study: DICOM, a NIfTI file, a folder of them (`patient.json` or not), or a case folder of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from myoscope.datasets import emidec, layout_of, own
from myoscope.errors import InputError
from myoscope.io import bids
from myoscope.io.folder import read_file, read_folder
from myoscope.io.listing import files_below, looks_like_dicom, may_read
from myoscope.io.names import guess_role, is_label_name
from myoscope.io.nifti import is_nifti, shown
from myoscope.io.order import plane_notes
from myoscope.io.participants import with_participant
from myoscope.io.patient import with_facts_beside
from myoscope.study import Note, Opened, Patient, Role, Series, Study

if TYPE_CHECKING:
    from myoscope.io.dicom.read import Sorted


LARGEST_SIDE_MM, LARGEST_DISTANCE_MM = 1000.0, 45.0
"""No scanner's bore is so wide, and no heart is cut into slices so far apart (MyoPS: up to 23 mm)."""

__all__ = ["as_study", "guess_role", "parse_role", "read_study", "sort_dicom"]


def read_study(
    path: Path | str, role: Role | str | None = None, series: Mapping[Role, Sequence[int]] | None = None
) -> Study:
    """Read what `analyze` takes. Label files are never read.

    Args:
        path: A NIfTI file; a folder of NIfTI files (BIDS: of a subject, of a session); an ACDC, EMIDEC or MyoPS case
            folder; or DICOM: a folder that holds it anywhere below, a zip, a multi-frame file.
        role: What a single NIfTI image shows; without it, words in file and folder names say.
        series: DICOM only: numbers of the series that show a role, where headers and geometry are to be overruled.

    Raises:
        InputError: nothing usable is there, or what an image shows is ambiguous.
    """
    path = Path(path)
    role = None if role is None else parse_role(role)
    with may_read():
        study = _read(path, role, series)
    for one in study.series:
        _check_size(one)
    study = replace(study, notes=(*study.notes, *(note for one in study.series for note in plane_notes(one))))
    study = study if own.is_case(path) else with_participant(with_facts_beside(study, path), path)
    return replace(study, opened=Opened(path, role, series or {}, study.patient))


def _check_size(series: Series) -> None:
    """Refuse an image too large for a scanner, or slices too far apart for a heart: its spacing is wrong."""
    (slices, *sides), (apart_mm, *pixel_mm) = series.image.frames.shape[1:], series.image.spacing_mm
    side_mm = max(count * mm for count, mm in zip(sides, pixel_mm, strict=True))
    where = f"{shown(series.name)}: expected"
    if side_mm > LARGEST_SIDE_MM:
        raise InputError(
            f"{where} an image of at most {LARGEST_SIDE_MM:g} mm a side, found {side_mm:.0f} mm; repair the spacing "
            "in its header"
        )
    if slices > 1 and apart_mm > LARGEST_DISTANCE_MM:
        raise InputError(
            f"{where} slices at most {LARGEST_DISTANCE_MM:g} mm apart, found {apart_mm:.0f} mm; repair the spacing in "
            "its header"
        )


def as_study(
    study: Study | Path | str, role: Role | str | None = None, series: Mapping[Role, Sequence[int]] | None = None
) -> Study:
    """A study, or what `read_study` reads at a path with these arguments.

    Raises:
        InputError: see `read_study`; or a study that is read already was given with `role` or `series`.
    """
    if not isinstance(study, Study):
        return read_study(study, role, series)
    if role is not None or series:
        raise InputError(f"{study.id}: role and series say how a path is read, this is a study already; leave them out")
    return study


def _read(path: Path, role: Role | None, series: Mapping[Role, Sequence[int]] | None) -> Study:
    if own.is_case(path):
        return own.read_study(path)
    if not path.exists():
        raise InputError(f"{shown(path)}: no such file or folder; check the path")
    if _holds_dicom(path):
        if role is not None:
            raise InputError(
                f"{shown(path)}: --role is for NIfTI; in DICOM choose the {role} series by its number (see: inspect)"
            )
        from myoscope.io.dicom.read import read_dicom

        study = read_dicom(path, series)
        return replace(study, notes=(*study.notes, *_beside(path)))
    if series:
        raise InputError(f"{shown(path)}: --series is for DICOM, found none; with a NIfTI image give --role")
    if path.is_dir():
        return _read_folder(path, role)
    if not is_nifti(path):
        raise InputError(
            f"{shown(path)}: expected DICOM (a folder, a zip, a file) or NIfTI (.nii, .nii.gz, a folder of them), "
            f"found {_kind(path)}"
        )
    return _read_file(path, role)


def sort_dicom(path: Path, series: Mapping[Role, Sequence[int]] | None = None) -> "Sorted":
    """What each series of a DICOM study shows and which would be used, without reading a pixel.

    Raises:
        InputError: no DICOM is there, or see `io.dicom.read.sort_study`.
    """
    if not path.exists():
        raise InputError(f"{shown(path)}: no such file or folder; check the path")
    with may_read():
        there = _holds_dicom(path)
    if not there:
        raise InputError(f"{shown(path)}: expected DICOM (a folder, a zip, a file), found none; give a study's folder")
    from myoscope.io.dicom.read import sort_study

    return sort_study(path, series)


def parse_role(text: str) -> Role:
    """The role of this name."""
    try:
        return Role(text.lower())
    except ValueError:
        raise InputError(f"no role is called {text!r}; choose one of {', '.join(Role)}") from None


def _read_file(path: Path, role: Role | None) -> Study:
    folder = path.parent.parent if path.parent.name == "Images" else path.parent
    layout = layout_of(folder)
    if layout is emidec:
        role = role or Role.LGE
    series = read_file(path, role, getattr(layout, "DIRECTIONS", None))
    return Study(series.name, Patient(), (series,))


def _read_folder(folder: Path, role: Role | None) -> Study:
    layout = layout_of(folder)
    if layout and role is not None:
        raise InputError(
            f"{shown(folder)}: --role is for one image, found a case of a data set, which says what each one is; "
            "leave it out, or give the image alone"
        )
    if layout:
        return layout.read_study(folder)
    if own.is_data_set(folder) or any(layout_of(sub) for sub in folder.iterdir() if sub.is_dir()):
        raise InputError(f"{shown(folder)}: expected one study, found a data set; give one case folder of it")
    here = bids.study_at(folder)
    series, notes = read_folder(folder, role, here)
    return Study(here.id if here else folder.name or folder.resolve().name, Patient(), series, notes)


def _holds_dicom(path: Path) -> bool:
    """Whether a path is to be read as DICOM: a file or zip of it, or a folder with DICOM."""
    if path.is_file():
        return path.suffix.lower() == ".zip" or _is_dicom(path)
    return not layout_of(path) and any(_is_dicom(file) for file in files_below(path))


def _is_image(path: Path) -> bool:
    return is_nifti(path) and not is_label_name(path)


def _is_dicom(path: Path) -> bool:
    return path.is_file() and not is_nifti(path) and looks_like_dicom(path)


def _beside(path: Path) -> tuple[Note, ...]:
    """A note on NIfTI images in a folder of DICOM, which nobody can tell the patient of."""
    left_out = [file for file in files_below(path) if _is_image(file)] if path.is_dir() else []
    if not left_out:
        return ()
    names = shown(", ".join(file.name for file in left_out[:3])) + " ..." * (len(left_out) > 3)
    message = f"The folder holds DICOM and NIfTI; the DICOM was read, {names} left out. To read NIfTI, give its file."
    return (Note("nifti_left_out", "warning", message),)


def _kind(path: Path) -> str:
    return f"a {path.suffix or 'nameless'} file" if path.is_file() else "something else"
