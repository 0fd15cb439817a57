"""docs/papers.md says where in the code a paper's statement stands: it must stand there."""

import re
from pathlib import Path

import myoscope
from myoscope.systems import system_module

SOURCE = Path(myoscope.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "papers.md"


def test_every_place_in_the_code_is_there() -> None:
    places = re.findall(r"`([\w/]+\.py):(\w+)`", PAGE.read_text())
    assert len(places) > 60
    gone = [f"{file}:{name}" for file, name in places if not re.search(rf"\b{name}\b", (SOURCE / file).read_text())]
    assert not gone


def test_every_statement_has_a_verdict() -> None:
    """The last cell of a row of the five tables: faithful, declared, silent or missing; missing names why."""
    tables = PAGE.read_text().split("\n## ")[3:]
    assert [table.split("\n")[0] for table in tables] == [
        "doc-net", "jdl", "myops-ensemble", "cascade", "acdc-multitask",
    ]  # fmt: skip
    for table in tables:
        assert system_module(table.split("\n")[0])
        rows = [line for line in table.split("\n") if line.startswith("| ")][1:]
        assert len(rows) > 10
        for row in rows:
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert len(cells) == 4, row
            assert re.search("faithful|declared|silent|missing", cells[-1]), row
