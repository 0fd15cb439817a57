"""Fit the classifiers of `diagnose` and measure them: `python -m myoscope.lab.diagnosis --help`.

Fitted on measurements from out-of-fold predicted labels of ACDC or EMIDEC, as they are used, and judged by nested
cross-validation; the same on the experts' labels beside it, to tell what segmentation costs.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from myoscope import __version__, diagnose
from myoscope.analysis import SYSTEM_FOR
from myoscope.datasets import acdc, emidec
from myoscope.diagnose.features import FEATURES, LOGARITHMIC, believable
from myoscope.errors import InputError
from myoscope.files import write_arrays, write_whole
from myoscope.io.nifti import shown
from myoscope.lab.crossval import key_of, read_cases, weights_path
from myoscope.lab.diagnosis_fit import (
    REPEATS,
    USUAL_SHARE,
    Judged,
    Table,
    final,
    judge_nested,
    usual_distance,
)
from myoscope.lab.folds import FOLDS, deal, seen_before
from myoscope.lab.pages import TEMPLATES, render
from myoscope.lab.statistics import interval, wilson
from myoscope.lab.unseen import none_found
from myoscope.measure import measure
from myoscope.measure.results import Provenance
from myoscope.study import Case, Role
from myoscope.systems import system_module
from myoscope.volume import Volume
from myoscope.weights import read_card

TEMPLATE = TEMPLATES / "diagnosis.md.j2"
ORDER = {"cine": list(acdc.CLASSES), "lge": list(emidec.CLASSES)}
WITHOUT: dict[str, dict[str, tuple[str, ...]]] = {
    "cine": {
        "volumes, wall by segment": ("within slices", "between slices", "middle slices"),
        "volumes, wall by segment and slice": ("middle slices",),
        "volumes, wall by segment and slice, RV in the middle slices": (),
    },
    "lge": {"infarct and myocardium": ()},
}
"""Sets of measurements to choose from, each by the words of those that it leaves out."""

LEAST = 1e-3
"""Probabilities of another model are taken for at least this before their logarithm is."""


def main(
    data: Annotated[list[Path], typer.Option(help="Roots of ACDC or EMIDEC, and what else the runs were trained on.")],
    runs: Annotated[Path, typer.Option(help="Folder of `myoscope evaluate`, with fold models.")],
    series: Annotated[Literal["cine", "lge"], typer.Option(help="What is measured.")],
    page: Annotated[Path, typer.Option(help="Where to write the results page.")],
    also: Annotated[
        Path | None, typer.Option(help="Another model's out-of-fold predictions.csv: does it add anything?")
    ] = None,
) -> None:
    """Fit one classifier, write it into the package and its results into a page."""
    cases = read_cases(data)
    wanted = [case for case in cases if case.group in ORDER[series] and Role(series) in case.labels]
    other = None if also is None else read_predictions(also, ORDER[series])
    expert = {case.id: case.labels for case in wanted}
    system = SYSTEM_FOR[Role(series)]
    predicted = label_maps(cases, runs, system, Role(series))
    if not predicted:
        raise none_found(system, runs)
    tables = {"expert": table(wanted, expert, series), "out-of-fold predicted": table(wanted, predicted, series)}
    tables["out-of-fold predicted"] = replace(tables["out-of-fold predicted"], experts=tables["expert"])
    text, kept = judge_and_fit(series, tables, other)
    page.write_text(text)
    write_whole(Path(diagnose.__file__).with_name(f"{series}.json"), json.dumps(kept, indent=1) + "\n")
    typer.echo(text)


def judge_and_fit(
    series: str, tables: Mapping[str, Table], other: Mapping[str, np.ndarray] | None = None
) -> tuple[str, dict[str, Any]]:
    """The results page, and the classifier fitted on the last of some tables (by the name of their labels)."""
    tests = [(name, found, judge_nested(found)) for name, found in tables.items()]
    name, used, judged = tests[-1]
    text = render(TEMPLATE, page_facts(series, tests, other))
    licence = "CC BY-NC-SA 4.0 (LICENSE-WEIGHTS.md): research use only, not commercial"
    return text, final(used, judged) | {"labels": name, "licence": licence}


def out_of_fold(cases: Sequence[Case], runs: Path, system: str) -> dict[str, Mapping[Role, Volume]]:
    """Predicted labels of every case by the fold model that has not seen it, where that model is there."""
    result: dict[str, Mapping[Role, Volume]] = {}
    for fold in range(FOLDS):
        path = weights_path(system, fold, runs)
        if path.exists():
            model = system_module(system).Model.load(path)
            unseen = (case for case in deal(cases, fold)[1] if case.data_set not in seen_before(model.card))
            result |= {case.id: model.predict(case.study) for case in unseen}
    return result


def label_maps(cases: Sequence[Case], runs: Path, system: str, role: Role) -> dict[str, Mapping[Role, Volume]]:
    """Out-of-fold label maps of one role by case, kept in RUNS for as long as the models and the cases are the same."""
    paths = [path for fold in range(FOLDS) if (path := weights_path(system, fold, runs)).exists()]
    chosen = [f"{read_card(path).get('chosen')}" for path in paths if path.with_suffix(".json").exists()]
    key = key_of(paths, [*sorted(case.id for case in cases), *chosen])
    path = runs / f"labels-{system}-{key}.npz"
    if not path.exists():
        found = out_of_fold(cases, runs, system)
        write_arrays(path, {name: labels[role].voxels for name, labels in found.items() if role in labels})
    images = {case.id: series.image for case in cases if (series := case.study.get(role))}
    with np.load(path) as kept:
        return {name: {role: images[name].with_voxels(kept[name])} for name in kept.files}


def table(cases: Sequence[Case], labels: Mapping[str, Mapping[Role, Volume]], series: str) -> Table:
    """Measurements of all cases with labels, without those whose measurements are incomplete or no heart's."""
    origin = Provenance(myoscope_version=__version__, created_utc="", series=[], conventions=[])
    measured = {c.id: measure(c.study, labels[c.id], origin) for c in cases if c.id in labels}
    found = {name: FEATURES[series](m) for name, m in measured.items() if believable(m, series)}
    keys: list[str] = max([list(features) for features in found.values()], key=len)
    kept = [case for case in cases if case.id in found and list(found[case.id]) == keys]
    values = np.array([[found[case.id][key] for key in keys] for case in kept])
    return Table(
        ids=[case.id for case in kept],
        x=np.log1p(values) if LOGARITHMIC[series] else values,
        y=np.array([ORDER[series].index(case.group or "") for case in kept]),
        scans=np.array([case.scan for case in kept]),
        keys=keys,
        classes=ORDER[series],
        sets={
            name: [i for i, key in enumerate(keys) if not any(word in key for word in without)]
            for name, without in WITHOUT[series].items()
        },
        without=len(measured) - len(kept),
    )


def read_predictions(path: Path, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Probabilities (classes,) of each case, from a table with the columns `case` and the classes.

    Raises:
        InputError: the table lacks a column, or a row is no distribution.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = {row["case"]: np.array([float(row[name]) for name in classes]) for row in rows}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown(path)}: expected a table case,prediction,{','.join(classes)}, found {error!r}; "
            "give a predictions.csv of myoscope"
        ) from None
    bad = next((case for case, p in found.items() if not (p >= 0).all() or abs(p.sum() - 1) > 0.01), None)
    if bad is not None:
        raise InputError(
            f"{shown(path)}: expected probabilities that add up to 1, found others for {bad}; mend the row"
        )
    return found


def with_other(table: Table, other: Mapping[str, np.ndarray]) -> Table:
    """The table with another model's log-probabilities beside the measurements of every set.

    Raises:
        InputError: a patient of the table is not among the other model's.
    """
    if missing := [case for case in table.ids if case not in other]:
        raise InputError(f"expected predictions of all {len(table.ids)} patients, found none of {missing[0]}; add it")
    logs = np.log(np.array([other[case] for case in table.ids]).clip(LEAST))
    more = list(range(table.x.shape[1], table.x.shape[1] + logs.shape[1]))
    return replace(
        table,
        x=np.hstack([table.x, logs]),
        keys=[*table.keys, *(f"other model: log-probability of {name}" for name in table.classes)],
        sets={name: [*columns, *more] for name, columns in table.sets.items()},
        experts=None if table.experts is None else with_other(known(table.experts, other), other),
    )


def known(table: Table, other: Mapping[str, np.ndarray]) -> Table:
    """The patients of a table that another model has judged."""
    rows = [i for i, name in enumerate(table.ids) if name in other]
    return replace(table, ids=[table.ids[i] for i in rows], x=table.x[rows], y=table.y[rows], scans=table.scans[rows])


def compare(table: Table, judged: Judged, other: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Whether another model's probabilities add anything to the measurements: paired, with intervals."""
    both = judge_nested(with_other(table, other)).of_truth(table.y)
    alone = judged.of_truth(table.y)
    lone = Judged(np.array([[other[case] for case in table.ids]]), np.zeros((1, len(table.y)))).of_truth(table.y)
    rows: dict[str, dict[str, Any]] = {}
    for name in alone:
        gain = both[name] - alone[name]
        low, high = interval(gain, table.scans)
        means = [float(found[name].mean()) for found in (alone, lone, both)]
        rows[name] = {"means": means, "gain": float(gain.mean()), "low": low, "high": high}
    adds, takes = rows["log loss"]["high"] < 0, rows["log loss"]["low"] > 0
    return {"rows": rows, "verdict": "adds" if adds else "takes" if takes else "nothing"}


def page_facts(
    series: str, tests: Sequence[tuple[str, Table, Judged]], other: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """What the page says, for its template: the tests (name, table, what was found), another model beside the last.

    Counts of a confusion are means over the dealings; rows are the truth.
    """
    _, used, judged = tests[-1]
    everyone = used.experts or used
    return {
        "series": series,
        "of_folds": FOLDS,
        "repeats": REPEATS,
        "counts": {name: int((everyone.y == i).sum()) for i, name in enumerate(everyone.classes)},
        "tests": [_tested(*test) for test in tests],
        "chosen": [{**choice._asdict(), "count": count} for choice, count in judged.chosen.most_common()],
        "fits": sum(judged.chosen.values()),
        "usual": {"share": USUAL_SHARE, "distance": usual_distance(judged)},
        "other": None if other is None else compare(used, judged, other),
    }


def _tested(name: str, found: Table, result: Judged) -> dict[str, Any]:
    """Shares of right answers in per cent over the dealings, scores with their intervals, and the confusion."""
    n = len(found.y) + found.without
    right = 100 * (result.shares.argmax(2) == found.y).sum(1) / n
    low, high = wilson(right.mean() / 100, n)
    scores = {}
    for key in ("brier", "log loss"):
        values = result.of_truth(found.y)[key]
        least, most = interval(values, found.scans)
        scores[key] = {"mean": float(values.mean()), "low": least, "high": most}
    return {
        "name": name,
        "n": n,
        "without": found.without,
        "right": {"mean": float(right.mean()), "low": low, "high": high},
        "dealings": [float(right.min()), float(right.max())],
        "scores": scores,
        "classes": list(found.classes),
        "confusion": confusion(found.y, result.shares.argmax(2), len(found.classes)),
    }


def confusion(truth: np.ndarray, guesses: np.ndarray, classes: int) -> list[list[float]]:
    """Counts, rows the truth (n,), as means over the guesses (repeats, n)."""
    pairs = [[(truth == i) & (guesses == j) for j in range(classes)] for i in range(classes)]
    return [[float(cell.sum() / len(guesses)) for cell in row] for row in pairs]


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
