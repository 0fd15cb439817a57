"""A data set of one's own: a folder with `cases.csv`, and images and labels anywhere inside it (docs/own-data.md).

A case is named ROOT/CASE, CASE being its name in `cases.csv`, whether or not there is a folder of that name.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from io import StringIO
from pathlib import Path

import numpy as np

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import is_nifti, read_labels, read_nifti, shown
from myoscope.io.patient import PLAUSIBLE, patient_from
from myoscope.labels import OWN_CODES, Structure
from myoscope.study import IMAGES, Case, Patient, Role, Series, Study
from myoscope.volume import Volume

TABLE = "cases.csv"
FACTS = ("sex", *PLAUSIBLE)
CLINICAL = "clinical_"
"""Columns that begin so hold further clinical values, as text."""

COLUMNS = ("case", "patient", "group", *FACTS, *IMAGES, *(f"{role}_labels" for role in IMAGES), "ed_frame", "es_frame")
COLUMNS += ("not_drawn",)

IN_PLACE_OF = {
    Structure.RV: Structure.BACKGROUND,
    Structure.EDEMA: Structure.MYOCARDIUM,
    Structure.INFARCT: Structure.MYOCARDIUM,
    Structure.NO_REFLOW: Structure.INFARCT,
}
"""What may be left undrawn, and what its voxels are drawn as then."""

PUBLIC = ("acdc", "emidec", "myops")


@dataclass(frozen=True)
class Row:
    """A line of `cases.csv`, checked: its files are named inside the root, its images are there."""

    patient: str
    group: str | None
    facts: Patient
    images: Mapping[Role, Path]
    labels: Mapping[Role, Path]
    ed_frame: int | None
    es_frame: int | None
    drawn_as: Mapping[Structure, Structure]


def is_data_set(root: Path) -> bool:
    """Whether a folder holds a `cases.csv` with a column `case`."""
    path = root / TABLE
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return "case" in re.split(r'[,;\t"\s]+', file.readline(1 << 16))
    except OSError:
        return False


def is_case(path: Path) -> bool:
    """Whether a path is ROOT/CASE with a case of ROOT's `cases.csv`; nothing needs to lie there."""
    return is_data_set(path.parent) and path.name in read_table(path.parent)


def data_set_name(root: Path) -> str:
    """The root's name, as it stands in tables and cards; never that of a public data set."""
    name = re.sub(r"[^\w-]+", "-", root.resolve().name).strip("-") or "own"
    return f"own-{name}" if name.lower() in (*PUBLIC, "phantom") else name


def read_study(path: Path) -> Study:
    """Read a case's images, ROOT/CASE. No label file is opened.

    Raises:
        InputError: `cases.csv` or an image cannot be used.
    """
    row = read_table(path.parent)[path.name]
    series = []
    for role, file in row.images.items():
        image, grid = read_nifti(file)
        frames = len(image.frames)
        if role is not Role.CINE and frames > 1:
            raise InputError(f"{shown(file)}: expected one frame for {role}, found {frames}; name it in column cine")
        one = Series(role, grid.stem, image, (grid,))
        if role is Role.CINE:
            for name, frame in (("ed_frame", row.ed_frame), ("es_frame", row.es_frame)):
                if frame is not None and frame >= frames:
                    raise InputError(
                        f"{shown(path)}: expected {name} from 0 to {frames - 1}, found {frame}; frames count from 0"
                    )
            one = replace(one, ed_frame=row.ed_frame, es_frame=row.es_frame)
        series.append(one)
    return Study(path.name, row.facts, tuple(series))


def read_case(path: Path) -> Case:
    """Read a case's labelled images with their labels, ROOT/CASE; of a cine only the frames at ED and ES, ED first.

    Raises:
        InputError: a label file is missing, on another grid than its image, or contradicts `cases.csv`.
    """
    row, study = read_table(path.parent)[path.name], read_study(path)
    series, labels = [], {}
    for one in study.series:
        if one.role in row.labels:
            file, grid = row.labels[one.role], one.files[0]
            drawn = read_labels(file, one.image, grid, OWN_CODES, same_place=True)
            if one.role is Role.CINE:
                one, drawn = _drawn_frames(one, drawn, file)
            _check_drawn(drawn, row.drawn_as, file)
            labels[one.role] = drawn
            series.append(one)
    study = replace(study, series=tuple(series))
    return Case(study, labels, row.group, row.patient, row.drawn_as, data_set_name(path.parent))


def _drawn_frames(cine: Series, labels: Volume, file: Path) -> tuple[Series, Volume]:
    """The cine and its labels at ED and ES only."""
    known = {k: f for k, f in (("ed_frame", cine.ed_frame), ("es_frame", cine.es_frame)) if f is not None}
    frames = list(known.values())
    if len(cine.image.frames) == 1:
        return cine, labels
    if not known:
        raise InputError(f"{shown(file)}: expected ed_frame or es_frame in {TABLE} for labels of a cine, found none")
    if len(labels.frames) != len(cine.image.frames):
        raise InputError(
            f"{shown(file)}: expected labels of {len(cine.image.frames)} frames like the cine, found 1; give a 4-D "
            "label map, frames that were not drawn may be empty"
        )
    for name, frame in known.items():
        if not labels.frames[frame].any():
            raise InputError(f"{shown(file)}: expected labels in frame {frame} ({name}), found none; count from 0")
    image = cine.image.with_voxels(cine.image.frames[frames])
    ed, es = (frames.index(known[name]) if name in known else None for name in ("ed_frame", "es_frame"))
    return replace(cine, image=image, ed_frame=ed, es_frame=es), labels.with_voxels(labels.frames[frames])


def _check_drawn(labels: Volume, drawn_as: Mapping[Structure, Structure], file: Path) -> None:
    found = set(map(Structure, np.unique(labels.voxels)))
    for structure in sorted(found & set(drawn_as)):
        raise InputError(
            f"{shown(file)}: expected no {structure.title} as {TABLE} says not_drawn, found code {structure}; "
            "correct one of the two"
        )
    for structure in (Structure.LV, Structure.MYOCARDIUM, Structure.RV):
        if structure not in found and structure not in drawn_as:
            remedy = "check the codes" + (", or say rv in not_drawn" if structure is Structure.RV else "")
            raise InputError(f"{shown(file)}: expected {structure.title} (code {structure}), found none; {remedy}")


def read_table(root: Path) -> dict[str, Row]:
    """The cases of a data set by name, in the order of `cases.csv`.

    The file is UTF-8 text with a header line; commas, semicolons or tabs between the columns.

    Raises:
        InputError: the table cannot be used; the message names the line.
    """
    path = root / TABLE
    try:
        return _read_table(root, path.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); check the file") from None


@lru_cache(maxsize=8)
def _read_table(root: Path, _changed: int) -> dict[str, Row]:
    path = root / TABLE
    result: dict[str, Row] = {}
    lines = _lines(path)
    for number, cells in lines:
        where = f"{shown(path)}: line {number}"
        name = cells["case"]
        if not re.fullmatch(r"\w[\w .+-]*", name):
            raise InputError(f"{where}: expected a case name of letters, digits, . _ + -, found {shown(name)!r}")
        if name in result:
            raise InputError(f"{where}: expected every case once, found {name!r} again; rename one")
        result[name] = _row(root, cells, where)
    if not result:
        raise InputError(f"{shown(path)}: expected a line for each case, found none; see docs/own-data.md")
    without = [name for name, row in result.items() if row.group is None]
    if 0 < len(without) < len(result):
        raise InputError(f"{shown(path)}: expected a group for every case or for none, found none for {without[0]!r}")
    _check_files(path, result)
    return result


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The table's lines as (line number, cell of each column), empty lines left out."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{shown(path)}: expected UTF-8 text, found another encoding; save it as CSV UTF-8") from None
    first = text.partition("\n")[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except csv.Error as error:
        raise InputError(f"{shown(path)}: line {reader.line_num}: {error}; export the table again") from None
    columns = lines[0][1] if lines else []
    twice = next((c for c in columns if columns.count(c) > 1), None)
    unknown = next((c for c in columns if c not in COLUMNS and not c.startswith(CLINICAL)), None)
    if "case" not in columns or not set(columns) & set(IMAGES):
        raise InputError(
            f"{shown(path)}: expected the column case and one or more of {', '.join(IMAGES)}, "
            f"found {shown(', '.join(columns)) or 'none'}; see docs/own-data.md"
        )
    if twice is not None or unknown is not None:
        what = f"{twice!r} twice" if unknown is None else repr(unknown)
        raise InputError(f"{shown(path)}: expected columns of {', '.join(COLUMNS)}, {CLINICAL}*, found {shown(what)}")
    for number, cells in lines[1:]:
        if len(cells) != len(columns):
            raise InputError(
                f"{shown(path)}: line {number}: expected {len(columns)} cells, found {len(cells)}; repair the line"
            )
    return [(number, dict(zip(columns, cells, strict=True))) for number, cells in lines[1:]]


def _row(root: Path, cells: dict[str, str], where: str) -> Row:
    given = {column: cell for column, cell in cells.items() if cell}
    facts: dict[str, object] = {key: given[key].replace(",", ".") for key in FACTS if key in given}
    facts["clinical"] = {key.removeprefix(CLINICAL): cell for key, cell in given.items() if key.startswith(CLINICAL)}
    images = {role: _inside(root, given[role], where) for role in IMAGES if role in given}
    labels = {role: _inside(root, given[f"{role}_labels"], where) for role in IMAGES if f"{role}_labels" in given}
    if not images:
        raise InputError(f"{where}: expected an image in one of the columns {', '.join(IMAGES)}, found none")
    for role, path in images.items():
        if not is_nifti(path):
            raise InputError(f"{where}: expected a .nii or .nii.gz file in column {role}, found no {shown(path)}")
    for role in set(labels) - set(images):
        raise InputError(f"{where}: expected the image that {role}_labels was drawn on in column {role}, found none")
    frames = [given.get(key) for key in ("ed_frame", "es_frame")]
    for frame in frames:
        if frame is not None and not re.fullmatch(r"[0-9]{1,4}", frame):
            raise InputError(f"{where}: expected ed_frame and es_frame as numbers from 0, found {shown(frame)!r}")
    ed, es = (None if frame is None else int(frame) for frame in frames)
    if ed is not None and ed == es:
        raise InputError(f"{where}: expected two frames, found {ed} as ed_frame and es_frame; correct one")
    patient = given.get("patient", cells["case"])
    drawn_as = _drawn_as(given.get("not_drawn", ""), where)
    return Row(patient, given.get("group"), patient_from(facts, where), images, labels, ed, es, drawn_as)


def _inside(root: Path, cell: str, where: str) -> Path:
    """The file that a cell names, which must lie inside the root, links followed."""
    relative = Path(cell.replace("\\", "/"))
    path = root / relative
    if relative.is_absolute() or ".." in relative.parts or not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{where}: expected a path inside {shown(root)}, found {shown(cell)}; put the file there")
    return path


def _drawn_as(cell: str, where: str) -> dict[Structure, Structure]:
    """What stands in the place of every structure that a cell lists as not drawn."""
    choices = {structure.name.lower(): structure for structure in sorted(IN_PLACE_OF)}
    names = [name.lower().replace("-", "_") for name in re.split(r"[\s,;]+", cell) if name]
    for name in names:
        if name not in choices:
            raise InputError(f"{where}: expected in not_drawn some of {', '.join(choices)}, found {shown(name)!r}")
    missing = {choices[name] for name in names}
    if Structure.INFARCT in missing:  # no-reflow lies inside an infarct
        missing.add(Structure.NO_REFLOW)
    result = {}
    for structure in sorted(missing):
        place = IN_PLACE_OF[structure]
        result[structure] = IN_PLACE_OF[place] if place in missing else place
    return result


def _check_files(path: Path, rows: Mapping[str, Row]) -> None:
    """No image may be a label file, nor stand for two patients: they would fall on both sides of a split."""
    labels = {file.resolve() for row in rows.values() for file in row.labels.values()}
    patient_of: dict[Path, str] = {}
    for row in rows.values():
        for file in row.images.values():
            if file.resolve() in labels:
                raise InputError(f"{shown(path)}: expected {shown(file)} as image or as labels, found it as both")
            other = patient_of.setdefault(file.resolve(), row.patient)
            if other != row.patient:
                raise InputError(
                    f"{shown(path)}: expected {shown(file)} to be of one patient, found it for {shown(other)!r} and "
                    f"{shown(row.patient)!r}; correct one"
                )


def write_dataset(cases: Iterable[Case], root: Path) -> Path:
    """Write labelled cases as a data set of this layout, `CASE/ROLE.nii.gz` with `CASE/ROLE_labels.nii.gz` beside it.

    Args:
        cases: From a phantom, or from `read_case` of any data set. Where a case does not say which frames of a cine
            are ED and ES, those with the largest and the smallest LV cavity are named so.
        root: Folder to write into; made if it is not there.

    Returns:
        The root.
    """
    from myoscope.io.save import write_study, write_volume

    rows = []
    for case in cases:
        folder = write_study(case.study, root / case.id)
        for role, labels in case.labels.items():
            write_volume(labels, folder / f"{role}_labels.nii.gz")
        rows.append(_as_row(case))
    text = StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(root / TABLE, text.getvalue())
    return root


def _as_row(case: Case) -> dict[str, object]:
    patient = case.study.patient
    row: dict[str, object] = {"case": case.id, "patient": case.scan or case.id, "group": case.group}
    row |= {key: getattr(patient, key) for key in FACTS}
    row |= {f"{CLINICAL}{key}": value for key, value in patient.clinical.items()}
    for series in case.study.series:
        row[series.role] = f"{case.id}/{series.role}.nii.gz"
        if series.role in case.labels:
            row[f"{series.role}_labels"] = f"{case.id}/{series.role}_labels.nii.gz"
        if series.role is Role.CINE:
            row |= {"ed_frame": series.ed_frame, "es_frame": series.es_frame}
            if series.role in case.labels and series.ed_frame is None and series.es_frame is None:
                cavity = (case.labels[series.role].frames == Structure.LV).sum((1, 2, 3))
                row |= {"ed_frame": int(cavity.argmax()), "es_frame": int(cavity.argmin())}
    row["not_drawn"] = " ".join(structure.name.lower() for structure in case.drawn_as)
    return {key: value for key, value in row.items() if value not in (None, "")}
