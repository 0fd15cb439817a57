"""How far measurements may be off: intervals from out-of-fold errors, and how often they hold.

python -m myoscope.lab.intervals compact-cine --data ACDC --runs RUNS --out docs/results

Each patient is measured in the labels of the fold model that has not seen him, and in the expert's. An interval is
the measurement plus two quantiles of the errors (split conformal, Lei et al. 2018, doi:10.1080/01621459.2017.1307116),
in units of a scale that grows with the measurement and with the network's own doubt.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.optimize import nnls

from myoscope import __version__
from myoscope.analysis import JOINT_SYSTEM
from myoscope.files import write_whole
from myoscope.lab.crossval import read_cases, runs_of
from myoscope.lab.pages import TEMPLATES, render
from myoscope.lab.unseen import Data, Runs, ScarRuns, System, by_fold, none_found, predictions, scar_models
from myoscope.measure import measure
from myoscope.measure.intervals import GRADES, LEVEL_PERCENT, STRUCTURES, Errors, doubt_of, interval
from myoscope.measure.results import Measurements, Provenance
from myoscope.measure.segments import grade
from myoscope.prediction import Prediction
from myoscope.study import Case, Role

TEMPLATE = TEMPLATES / "intervals.md.j2"

OUTLYING = 3.0
"""Where the scale is fitted, an error counts for no more than so many times the median one."""

COLUMNS = ("data", "case", "group", "fold", "measurement", "truth", "predicted", "doubt")


@dataclass(frozen=True)
class Row:
    """One measurement of one patient: in the expert's labels, in those predicted out of fold, and the doubt."""

    data: str
    case: str
    group: str
    fold: int
    measurement: str
    truth: float
    predicted: float
    doubt: float


def main(
    system: System,
    data: Data,
    runs: Runs,
    out: Annotated[Path, typer.Option(help="Folder for the tables of single measurements, and the page.")],
    segmentations: ScarRuns = None,
) -> None:
    """Write RUNS/intervals.json, which a system's card takes up, OUT/out-of-fold-SYSTEM.csv and OUT/intervals.md."""
    cases = read_cases(data)
    rows = list(out_of_fold(system, cases, runs, segmentations))
    if not rows:
        raise none_found(system, runs)
    write_rows(out / f"out-of-fold-{system}.csv", rows)
    write_whole(runs_of(system, runs) / "intervals.json", json.dumps(fit_all(rows), indent=1) + "\n")
    typer.echo(write_page(out))


def out_of_fold(system: str, cases: Sequence[Case], runs: Path, late: Path | None) -> Iterator[Row]:
    """Every measurement that has an interval, of every patient whom a fold model has not seen."""
    by_case = scar_models(system, cases, late)
    for fold, model, unseen in by_fold(system, cases, runs, by_case):
        for case in unseen:
            if found := {series.role: one for series, one in predictions(model, case, by_case)}:
                yield from measured(case, fold + 1, found, joint=system == JOINT_SYSTEM)


def measured(case: Case, fold: int, drawn: Mapping[Role, Prediction], joint: bool) -> Iterator[Row]:
    """The rows of one patient; none of what rests on a structure that the expert does not draw."""
    origin = Provenance(myoscope_version=__version__, created_utc="", series=[], conventions=[])
    role = next(iter(drawn)) if joint else None
    truth = measure(case.study, {r: case.labels[r] for r in drawn}, origin, joint=role)
    found = measure(case.study, {r: p.labels for r, p in drawn.items()}, origin, joint=role)
    expected, values = numbers(truth), numbers(found)
    for name in (n for n in expected.keys() & values.keys() if not {*STRUCTURES.get(n, ())} & {*case.drawn_as}):
        if how := next((p for r, p in drawn.items() if name.startswith(_parts(r, joint))), None):
            facts = (case.data_set, case.id, f"{case.group or '-'}", fold)
            yield Row(*facts, name, expected[name], values[name], doubt_of(name, how))


def _parts(role: Role, joint: bool) -> tuple[str, ...]:
    return ("lge.", "t2.", "segments.") if joint else {Role.CINE: ("lv.", "rv.")}.get(role, ("lge.", "segments."))


def numbers(m: Measurements) -> dict[str, float]:
    """What of the measurements has an interval, by dotted name; of segments the scar."""
    parts = {"lv": m.lv, "rv": m.rv, "lge": m.lge, "t2": m.t2}
    found = {name: getattr(parts[name.partition(".")[0]], name.partition(".")[2]) for name in STRUCTURES}
    found |= {f"segments.{s.segment}.scar_percent": s.scar_percent for s in m.segments}
    return {name: float(value) for name, value in found.items() if value is not None}


def fit_all(rows: Sequence[Row]) -> dict[str, Any]:
    """What a card keeps: errors of every measurement, and for each grade of transmurality those that are possible."""
    names = sorted({row.measurement for row in rows if row.measurement in STRUCTURES})
    errors = {name: fit([row for row in rows if row.measurement == name]) for name in names}
    grades = fit_grades([row for row in rows if row.measurement.startswith("segments.")])
    kept = {"level_percent": LEVEL_PERCENT, "errors": {name: found.kept() for name, found in errors.items()}}
    return kept | ({"transmurality_grades": grades} if grades else {})


def fit(rows: Sequence[Row]) -> Errors:
    """The scale of a measurement's errors, and their quantiles in its units."""
    size, doubt, error = (np.array([getattr(r, k) for r in rows]) for k in ("predicted", "doubt", "truth"))
    error = error - size
    columns = np.stack([np.ones(len(rows)), np.abs(size), np.abs(size) * doubt], 1)
    norm = columns.mean(0).clip(1e-9)
    usual = np.minimum(np.abs(error), OUTLYING * np.median(np.abs(error)))
    ridge = 0.1 * np.sqrt(len(rows)) * np.eye(3)
    weights, _ = nnls(np.vstack([columns / norm, ridge]), np.append(usual, np.zeros(3)))
    scale = weights / norm if weights.any() else np.array([1.0, 0.0, 0.0])
    ratio = np.sort(error / (columns @ scale).clip(1e-9))
    n, tail = len(ratio), (100 - LEVEL_PERCENT) / 200
    rank = min(int(np.ceil((n + 1) * (1 - tail))), n)  # conformal: of n + 1 errors, the next one's included
    low, high = ratio[n - rank], ratio[rank - 1]
    constant, size_share, doubt_share = map(float, scale)
    return Errors((constant, size_share, doubt_share), float(min(low, 0.0)), float(max(high, 0.0)), n)


def fit_grades(rows: Sequence[Row]) -> dict[str, list[str]]:
    """For each grade found, the fewest neighbouring ones that hold the expert's in `LEVEL_PERCENT` of segments."""
    kept: dict[str, list[str]] = {}
    for name in GRADES:
        of = [GRADES.index(grade(r.truth)) for r in rows if grade(r.predicted) == name]
        here = GRADES.index(name)
        if not of:
            kept[name] = list(GRADES)
            continue
        needed = LEVEL_PERCENT / 100 * (1 + 1 / len(of))
        spans = [(a, b) for a in range(here + 1) for b in range(here, len(GRADES))]
        held = {span: np.mean([span[0] <= g <= span[1] for g in of]) for span in spans}
        good = [span for span in spans if held[span] >= needed] or [(0, len(GRADES) - 1)]
        a, b = min(good, key=lambda s: (s[1] - s[0], -held[s]))
        kept[name] = list(GRADES[a : b + 1])
    return kept


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A table of single measurements, to four digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda r: (r.data, r.case, r.measurement)):
        writer.writerow([v if isinstance(v, str | int) else f"{v:.4g}" for v in (getattr(row, k) for k in COLUMNS)])
    write_whole(path, buffer.getvalue())


def read_rows(path: Path) -> list[Row]:
    """What `write_rows` wrote."""
    kinds: dict[str, Any] = {"fold": int} | dict.fromkeys(("truth", "predicted", "doubt"), float)
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return [Row(**{k: kinds.get(k, str)(v) for k, v in row.items()}) for row in rows]


def write_page(out: Path) -> str:
    """OUT/intervals.md from all tables there: how often intervals hold that were fitted on the other folds."""
    systems = []
    for path in sorted(out.glob("out-of-fold-*.csv")):
        rows = read_rows(path)
        names = [name for name in STRUCTURES if any(row.measurement == name for row in rows)]
        held = {name: cross_fit([row for row in rows if row.measurement == name]) for name in names}
        pooled = [one for found in held.values() for one in found]
        systems.append(
            {
                "name": path.stem.removeprefix("out-of-fold-"),
                "file": path.name,
                "patients": len({row.case for row in rows}),
                "lines": [_line(name, found) for name, found in held.items()],
                "groups": _groups(pooled),
                "pooled": _line("all", pooled),
                "grades": cross_fit_grades([row for row in rows if row.measurement.startswith("segments.")]),
            }
        )
    page = render(TEMPLATE, {"systems": systems, "level": LEVEL_PERCENT})
    write_whole(out / "intervals.md", page)
    return page


Held = tuple[Row, float, float]
"""A measurement and its interval."""


def cross_fit(rows: Sequence[Row]) -> list[Held]:
    """Every measurement with an interval fitted on the patients of the other folds."""
    found = []
    for fold in sorted({row.fold for row in rows}):
        errors = fit([row for row in rows if row.fold != fold])
        found += [(r, *interval(r.measurement, r.predicted, r.doubt, errors)) for r in rows if r.fold == fold]
    return found


def cross_fit_grades(rows: Sequence[Row]) -> dict[str, float] | None:
    """How often the expert's grade is among the possible ones, and how many these are in the mean."""
    if not rows:
        return None
    held, sizes = [], []
    for fold in sorted({row.fold for row in rows}):
        possible = fit_grades([row for row in rows if row.fold != fold])
        for row in (row for row in rows if row.fold == fold):
            held.append(grade(row.truth) in possible[grade(row.predicted)])
            sizes.append(len(possible[grade(row.predicted)]))
    return {"n": len(held), "held": 100 * float(np.mean(held)), "size": float(np.mean(sizes))}


def _line(name: str, found: Sequence[Held]) -> dict[str, Any]:
    widths = [high - low for _, low, high in found]
    return {
        "name": name,
        "n": len(found),
        "held": 100 * float(np.mean([low <= row.truth <= high for row, low, high in found])),
        "width": float(np.median(widths)),
        "error": float(np.mean([abs(row.predicted - row.truth) for row, *_ in found])),
    }


def _groups(found: Sequence[Held]) -> list[dict[str, Any]]:
    names = sorted({(row.data, row.group) for row, *_ in found})
    return [
        _line(f"{data}, {group}", [one for one in found if (one[0].data, one[0].group) == (data, group)])
        for data, group in names
    ]


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
