"""The cohort's page: one file that sorts and filters its table offline; the doubtful studies first.

Rows travel as JSON in a script element of a type that is never run, and are shown as text, never as markup. The only
script is the page's own, allowed by its hash; nothing is loaded.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from myoscope import __version__
from myoscope.cohort.histograms import histogram, ranges_of
from myoscope.cohort.state import Out
from myoscope.cohort.thumbnails import NAME
from myoscope.diagnose.words import class_words, percent_words
from myoscope.measure.results import NOTICE
from myoscope.report.page import pages_of, printable

TEMPLATES = Path(__file__).parent / "templates"

NUMBERS = {
    "lv.ejection_fraction_percent": ("LVEF", "%"),
    "lv.edv_ml": ("LV EDV", "ml"),
    "lv.esv_ml": ("LV ESV", "ml"),
    "lv.mass_g": ("LV mass", "g"),
    "rv.ejection_fraction_percent": ("RVEF", "%"),
    "rv.edv_ml": ("RV EDV", "ml"),
    "lge.infarct_percent": ("Infarct", "% LV"),
    "t2.edema_percent": ("Edema", "% LV"),
}
"""Measurements in the table, with heading and unit; a column that no study has is left out."""


def render(state: Out, rows: Sequence[Mapping[str, Any]]) -> str:
    """The page of a cohort, from the rows of its table; thumbnails are taken from the studies' folders."""
    names = [name for name in NUMBERS if any(row.get(name) is not None for row in rows)]
    studies = sorted(
        (_study(state, row, names) for row in rows), key=lambda one: (-one["doubt"], one["sure"], one["study"])
    )
    script = (TEMPLATES / "index.js").read_text(encoding="utf-8")
    data = json.dumps({"names": [NUMBERS[name] for name in names], "studies": studies}, ensure_ascii=True)
    statuses = [row["status"] for row in rows]
    template = pages_of(TEMPLATES).get_template("index.html.j2")
    return template.render(
        counts={status: statuses.count(status) for status in ("done", "failed", "waiting")},
        doubtful=sum(one["status"] == "done" and one["doubt"] > 0 for one in studies),
        names=[NUMBERS[name] for name in names],
        classes=sorted({one["group"] for one in studies if one["group"]}),
        histograms=[histogram(name, *NUMBERS[name], rows) for name in names],
        ranges=any(ranges_of(name) for name in names),
        data=Markup(data.replace("<", "\\u003c")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((TEMPLATES / "index.css").read_text(encoding="utf-8")),
        notice=NOTICE,
        version=__version__,
    )


def _study(state: Out, row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What the page shows of a study. `doubt` is what a reader should look at first: failures, then flags."""
    study = row["study"]
    flags = _flags(row)
    errors = sum(level == "error" for level, _ in flags)
    prediction = row.get("diagnosis.prediction")
    share = row.get(f"diagnosis.probabilities.{prediction}") if prediction else None
    sure = [share for shares in row.get("quality", {}).get("confidence", {}).values() for share in shares.values()]
    picture = state.studies / study / NAME
    shown = row["status"] == "done" and picture.is_file()
    return {
        "study": printable(study),
        "status": row["status"],
        "reason": printable(row.get("reason") or ""),
        "group": printable(class_words(row.get("class") or "")),
        "sex": row.get("patient.sex") or "",
        "values": [None if row.get(name) is None else round(row[name], 1) for name in names],
        "diagnosis": f"{printable(class_words(prediction))} {percent_words(share)}"
        if prediction and share is not None
        else "",
        "flags": [f"{level}: {printable(message)}" for level, message in flags],
        "doubt": 1000 if row["status"] == "failed" else 100 * errors + len(flags) - errors,
        "sure": min(sure, default=1.0),
        "picture": base64.b64encode(picture.read_bytes()).decode() if shown else "",
    }


def _flags(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Level and message of every error and warning, errors first."""
    flags = row.get("quality", {}).get("flags", ())
    return sorted((one["level"], one["message"]) for one in flags if one["level"] in ("error", "warning"))
