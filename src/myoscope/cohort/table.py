"""The cohort's tables: a row a study, with the keys of measurements.json; what ran where; and the page."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from myoscope import __version__
from myoscope.cohort.find import Item
from myoscope.cohort.state import Out
from myoscope.cohort.twins import FLAG, find_twins, in_words
from myoscope.files import write_whole

FIRST = ("study", "status", "reason", "class")
"""Columns that come before those of measurements.json."""

GONE = "not among the studies of the latest call"


def rows_of(state: Out, items: Sequence[Item], stale: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row a study, in the order of their ids: those that were found, and those of earlier calls that are done.

    `status` is "done", "failed" or "waiting"; `stale` has for studies whose result is an earlier one what it lacks.
    Studies with the same images say so, all of them.
    `quality` is no column: it has the flags for the page.
    """
    found = {item.id for item in items}
    earlier = {path.name for path in state.studies.iterdir()} - found
    old = {**stale} | dict.fromkeys(earlier, GONE)
    twins = find_twins(state, found | earlier)
    return [_row(state, study, old.get(study, ""), twins.get(study, {})) for study in sorted(found | earlier)]


def write_tables(state: Out, items: Sequence[Item], options: dict[str, Any], stale: Mapping[str, str]) -> list[str]:
    """Write cohort.csv, cohort.parquet, cohort.json and index.html; gives each study's status."""
    import pandas as pd

    from myoscope.cohort.page import render
    from myoscope.io.tables import as_csv, columns

    rows = rows_of(state, items, stale)
    names = [*FIRST, *columns()]
    buffer = io.BytesIO()
    frame = pd.DataFrame([{name: row.get(name) for name in names} for row in rows], columns=names)
    frame.convert_dtypes().to_parquet(buffer, index=False)
    write_whole(state.root / "cohort.parquet", buffer.getvalue())
    write_whole(state.root / "cohort.csv", as_csv(names, rows))
    write_whole(state.root / "index.html", render(state, rows))
    write_whole(state.root / "cohort.json", json.dumps(_account(state, rows, options), indent=1, default=str) + "\n")
    return [row["status"] for row in rows]


def read_frame(out: Path) -> Any:
    """The cohort as a pandas frame, from cohort.parquet."""
    import pandas as pd

    return pd.read_parquet(out / "cohort.parquet")


def _row(state: Out, study: str, old: str, twins: Mapping[str, list[str]]) -> dict[str, Any]:
    from myoscope.io.tables import row_of

    record, failure = state.done(study), state.failure(study)
    if record and not failure:
        measured = state.measurements(study)
        measured["quality"]["flags"] += [FLAG] * bool(twins)
        reason = "; ".join(filter(None, [old, in_words(twins) if twins else ""]))
        first = {"study": study, "status": "done", "reason": reason, "class": record.get("class")}
        return first | row_of(measured) | {"quality": measured["quality"]}
    if failure:
        return {"study": study, "status": "failed", "reason": failure.get("reason", "")}
    return {"study": study, "status": "waiting", "reason": "not analysed yet"}


def _account(state: Out, rows: Sequence[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """What ran where, with which versions, how long."""
    studies: list[dict[str, Any]] = []
    for row in rows:
        record = state.done(row["study"]) or state.failure(row["study"]) or {}
        studies.append({key: row.get(key) for key in ("study", "status", "reason")} | record)
    hosts = Counter(one["host"] for one in studies if one.get("host"))
    kept = ("workers", "limit_minutes", "memory_gb", "hashed")
    return {
        "myoscope_version": __version__,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": {name: options.get(name) for name in kept},
        "counts": dict(Counter(row["status"] for row in rows)),
        "studies_by_host": dict(hosts),
        "analysis_seconds": round(sum(one.get("seconds", 0.0) for one in studies), 1),
        "studies": studies,
    }
