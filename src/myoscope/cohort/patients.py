"""A table of what files do not say of patients: study, sex, height, weight, age, heart rate, hematocrit, class."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from myoscope.cohort.find import Item
from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.io.patient import patient_from, with_table
from myoscope.study import Study

COLUMNS = {
    "sex": "sex",
    "age": "age_years",
    "age_years": "age_years",
    "height": "height_cm",
    "height_cm": "height_cm",
    "weight": "weight_kg",
    "weight_kg": "weight_kg",
    "heart_rate": "heart_rate_bpm",
    "heart_rate_bpm": "heart_rate_bpm",
    "hematocrit": "hematocrit",
    "class": "class",
}
"""Columns beside `study`, and the facts they give: years, cm, kg, beats a minute, sex F or M; hematocrit as a share."""


def read_patients(path: Path, items: Sequence[Item]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Facts by study id from a CSV table (comma, semicolon or tab), and a sentence for the lines that fit no study.

    `study` is a study's id as --dry-run lists it, or the name of its folder or file where only one study has it.

    Raises:
        InputError: no such table, an unknown column, a study twice, or a value that no patient has.
    """
    names = Counter(item.name for item in items)
    ids = {item.name: item.id for item in items if names[item.name] == 1} | {item.id: item.id for item in items}
    found: dict[str, dict[str, Any]] = {}
    strangers = 0
    for number, cells in lines_of(path):
        where = f"{shown(path)}, line {number}"
        name = cells.pop("study", "")
        if names[name] > 1 and name not in ids:
            raise InputError(f"{where}: expected one study of that name, found {names[name]}; give the id of --dry-run")
        if name not in ids:
            strangers += 1
            continue
        if ids[name] in found:
            raise InputError(f"{where}: expected every study once, found one again; keep one line of it")
        group = cells.pop("class", "")
        facts = {COLUMNS[key]: value.replace(",", ".") for key, value in cells.items() if value}
        patient_from(facts, where)
        found[ids[name]] = facts | ({"class": group} if group else {})
    return found, [f"{strangers} lines of the patient table name no study that was found."] if strangers else []


def with_facts(study: Study, facts: Mapping[str, Any]) -> Study:
    """The study with what its files do not say from the table; where they differ, the file's, and a warning."""
    given = patient_from({key: value for key, value in facts.items() if key != "class"}, "the patient table")
    return with_table(study, given, "the patient table")


def lines_of(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and cells by column of a patient table.

    Raises:
        InputError: no such table, or an unknown column.
    """
    columns, lines = read_csv(path)
    if unknown := [name for name in columns if name != "study" and name not in COLUMNS]:
        found = shown(unknown[0]) or "one without a name"
        raise InputError(f"{shown(path)}: expected columns study, {', '.join(COLUMNS)}, found {found}")
    facts = [COLUMNS[name] for name in columns if name in COLUMNS]
    if "study" not in columns or len(set(facts)) < len(facts):
        raise InputError(f"{shown(path)}: expected one column study and each fact once; rename the columns")
    return lines


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns, and line numbers with cells by column, of a table in UTF-8 with commas, semicolons or tabs.

    Raises:
        InputError: it cannot be read, a column is there twice, or a line has more or fewer cells than columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot read it ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise InputError(f"{shown(path)}: expected a CSV table in UTF-8, found other text; save it as that") from None
    header = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=header.count))
    lines = []
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        if twice := next((name for name in columns if columns.count(name) > 1), None):
            raise InputError(f"{shown(path)}: expected every column once, found {shown(twice)} again; keep one")
        reader.fieldnames = columns
        for cells in reader:
            if None in cells or None in cells.values():  # a decimal comma would move what is behind it by one column
                where = f"{shown(path)}, line {reader.line_num}"
                raise InputError(f"{where}: expected {len(columns)} cells; check the commas")
            lines.append((reader.line_num, {key: value.strip() for key, value in cells.items()}))
    except csv.Error:
        raise InputError(f"{shown(path)}, line {reader.line_num}: no line of a table; export it again") from None
    return columns, lines
