"""Results pages: a Jinja2 template over the JSON that a run wrote, and nothing else."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined

from myoscope.files import write_whole

TEMPLATES = Path(__file__).parent / "templates"


def write_page(template: Path, facts: Mapping[str, Any], runs: Path) -> str:
    """Keep facts in RUNS/page.json, put them into a template, write RUNS/results.md and give it back.

    Raises:
        TypeError, ValueError: something in the facts is no JSON.
        jinja2.UndefinedError: the template asks for what is not there.
    """
    write_whole(runs / "page.json", json.dumps(facts, indent=1))
    text = render(template, json.loads((runs / "page.json").read_text()))
    write_whole(runs / "results.md", text)
    return text


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV; a column for every key that any of them has."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def render(template: Path, facts: Mapping[str, Any]) -> str:
    """A template with these facts; beside it the macros of `lab/templates` can be imported."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # Markdown: nothing to escape for
    environment.filters["fixed"] = fixed
    return environment.get_template(template.name).render(facts)


def fixed(value: float | None, form: str = ".3f") -> str:
    """A number as written on a page; what is not there is a dash.

    >>> fixed(0.12345), fixed(-2.0, "+.1f"), fixed(None)
    ('0.123', '-2.0', '-')
    """
    if isinstance(value, Undefined):
        str(value)  # raises, with the name
    return "-" if value is None else format(value, form)


def trainings(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How models were trained, each way once: `minutes` (None: so many steps were asked for), `steps`, `device`."""
    ways = {(card["minutes"], card.get("steps"), card["device"]) for card in cards}
    order = sorted(ways, key=lambda way: f"{way[0] or 0:g} min ({way[1]} steps) on {way[2]}")
    return [{"minutes": minutes, "steps": steps, "device": device} for minutes, steps, device in order]


def save_svg(figure: Any, path: Path) -> None:
    """Write a Matplotlib figure that is the same bytes whenever it shows the same."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "myoscope"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
