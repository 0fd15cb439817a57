"""A sorted study as a table for the terminal. Text from the files is shown as it is, never as markup."""

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.table import Table
from rich.text import Text

from myoscope.io.dicom.read import Row, Sorted
from myoscope.io.nifti import shown


def table_of(found: Sorted) -> Table:
    """One line a series and kind of image, in order of series number; no patient's name."""
    table = Table(box=box.SIMPLE)
    for title in ("series", "description", "what", "why", "slices x phases", "spacing mm", "used"):
        table.add_column(title, overflow="fold", justify="right" if title == "series" else "left")
    for _, rows in groupby(found.rows, key=lambda r: (r.group.first.facts.series_uid, r.verdict, r.use)):
        table.add_row(*map(Text, _cells(list(rows))))
    for (number, description, why), count in found.scan.unusable.items():
        table.add_row(*map(Text, (_number(number), shown(description), "other", why, f"{count} x 1", "", "no")))
    return table


def _cells(rows: Sequence[Row]) -> tuple[str, ...]:
    """The cells of groups that differ in orientation only, as a localiser's three planes do."""
    first = rows[0].group
    facts, slices, phases = first.first.facts, sum(len(r.group.places) for r in rows), max(r.group.phases for r in rows)
    places = [mm for mm, _ in first.places]
    apart = [(places[-1] - places[0]) / (len(places) - 1)] if len(places) > 1 else []
    spacing = " x ".join(f"{mm:.4g}" for mm in (*apart, *first.first.spacing_mm))
    number, verdict = _number(facts.series_number), rows[0].verdict
    return number, shown(facts.description), verdict.what, verdict.why, f"{slices} x {phases}", spacing, rows[0].use


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)
