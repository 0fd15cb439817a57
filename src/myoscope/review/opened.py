"""Open an OUT folder for review: the images that it was made from, and no others."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from myoscope.correction import check_images
from myoscope.datasets import own
from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.io.read import read_study
from myoscope.io.record import FOLDER, alone, read_record
from myoscope.study import Study


def open_study(out: Path, moved_to: Path | None = None) -> Study:
    """Read the images of a result.

    Args:
        out: What `analyze` wrote.
        moved_to: Where the study lies now, if it was moved.

    Raises:
        InputError: the folder is no result, the images are gone, or others than those that were analysed.
    """
    record = read_record(out)
    if record is None or record.input is None:
        raise InputError(f"{shown(out)}: expected what analyze wrote, with its study.json, found none; analyze first")
    where = moved_to or Path(record.input.path)
    if not (own.is_case(where) or where.exists()):  # of ROOT/CASE nothing needs to lie there
        raise InputError(
            f"{shown(where)}: expected the study's images there, found nothing; give --study PATH where they lie now"
        )
    study = read_study(where, record.input.role, record.input.series or None)
    check_images(out, study)
    return replace(study, id=record.study_id)  # a folder may have another name by now


def alone_at(out: Path) -> AbstractContextManager[None]:
    """Keep a second review of a folder out, as long as this one lives: both would write one journal.

    Raises:
        InputError: another one is open.
    """
    return alone(out / FOLDER, f"{shown(out)}: another review of it is open; go on there, or end it (Ctrl-C) first")
