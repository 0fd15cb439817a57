"""The tables of a BIDS data set of derivatives: participants, what each column is, the codes of labels."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from myoscope.io.tables import described, row_of
from myoscope.labels import Structure

OLDEST = 89
"""The specification has no age above."""

_ENDS = ("low", "high")
_APART = ("patient.age_years", "diagnosis.", "quality.", "provenance.")
"""How numbers begin that are no measurements; the age stands among the participants, capped."""

_FACTS = {
    "age": ("age_years", "Age at the exam; 89 stands for 89 and more", "year"),
    "sex": ("sex", "Sex: F female, M male", None),
    "height": ("height_cm", "Body height", "cm"),
    "weight": ("weight_kg", "Body weight", "kg"),
}


def tsv(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as BIDS has it: tabs, and n/a for what is not known.

    >>> tsv(["a", "b"], [{"a": 1.5}, {"b": "x\\ty"}])
    'a\\tb\\n1.5\\tn/a\\nn/a\\tx y\\n'
    """
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in cells)


def participants(
    studies: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Columns, a row a subject, and what the columns are; a fact that two of its studies give differently is n/a.

    Args:
        studies: The label of each study's subject, and the facts of its patient.
    """
    by_subject: dict[str, list[Mapping[str, Any]]] = {}
    for subject, facts in studies:
        by_subject.setdefault(subject, []).append(facts)
    rows = []
    for subject, all_facts in by_subject.items():
        row: dict[str, Any] = {"participant_id": f"sub-{subject}"}
        for column, (fact, _, _) in _FACTS.items():
            said = {facts[fact] for facts in all_facts}
            row[column] = said.pop() if len(said) == 1 else None
        if row["age"] is not None:
            row["age"] = min(row["age"], OLDEST)
        rows.append(row)
    about = {
        name: {"Description": what} | ({"Units": unit} if unit else {}) for name, (_, what, unit) in _FACTS.items()
    }
    return ["participant_id", *_FACTS], rows, about


@lru_cache(maxsize=1)
def dictionary() -> dict[str, dict[str, str]]:
    """The columns of measurements and what each is: single numbers under the names that they have in every table.

    An interval has a column for each end, for what has a unit must be a number. Curves and texts are not there, but for
    the flags.
    """
    about: dict[str, dict[str, str]] = {}
    for name, (unit, what, number) in described().items():
        unit_of = {"Units": unit} if unit not in (None, "1") else {}
        if unit and name.endswith("_interval"):
            about |= {f"{name}_{end}": {"Description": f"{what}, {end} end"} | unit_of for end in _ENDS}
        elif (number and not name.startswith(_APART)) or name == "quality.flags":
            about[name] = {"Description": what} | unit_of
    return about


def values(measured: Mapping[str, Any]) -> dict[str, Any]:
    """A study's measurements, by the names of `dictionary`."""
    row = row_of(measured)
    for name in [name for name in row if row[name] and f"{name}_low" in dictionary()]:
        row |= zip((f"{name}_{end}" for end in _ENDS), row[name].split(";"), strict=True)
    return row


def lookup() -> str:
    """What the codes of label maps are."""
    rows = [{"index": int(one), "name": one.title, "color": one.colour} for one in Structure]
    return tsv(["index", "name", "color"], rows)


def _cell(value: Any) -> str:
    return "n/a" if value is None or value == "" else " ".join(str(value).split())
