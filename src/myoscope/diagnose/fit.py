"""Fit the classifiers of `diagnose` and measure them: `python -m myoscope.diagnose.fit --help`.

Cine: fitted on measurements from the experts' labels of ACDC; tested by cross-validation there, and on predicted
labels of the folds that a compact-cine model has not seen. LGE: the experts' labels separate the classes perfectly, so
it is fitted on out-of-fold predicted labels of EMIDEC, as it will be used.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from myoscope.analysis import judge
from myoscope.datasets import acdc, emidec
from myoscope.diagnose.features import FEATURES, LOGARITHMIC
from myoscope.evaluate.crossval import data_set_of, read_cases
from myoscope.evaluate.folds import FOLDS, fold_of
from myoscope.study import Case, Role
from myoscope.systems import system_module
from myoscope.volume import Volume

ORDER = {"cine": list(acdc.CLASSES), "lge": list(emidec.CLASSES)}
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse regularisation strengths to choose from, inside the training folds."""


def main(
    data: Annotated[list[Path], typer.Option(help="Roots of ACDC or EMIDEC, and what else the runs were trained on.")],
    runs: Annotated[Path, typer.Option(help="Folder of `myoscope evaluate`, with fold models.")],
    series: Annotated[str, typer.Option(help="cine or lge.")],
    page: Annotated[Path, typer.Option(help="Where to write the results page.")],
) -> None:
    """Fit one classifier, write it into the package and its results into a page."""
    cases = read_cases(data)
    predicted = out_of_fold(cases, runs, f"compact-{series}")
    role = Role(series)
    wanted = [case for case in cases if case.group in ORDER[series] and role in case.labels]
    expert = {case.id: case.labels for case in wanted}
    source = expert if series == "cine" else predicted
    ids, x, y, keys = table(wanted, source, series)
    groups = [case.scan for case in wanted if case.id in ids]
    lines = [f"# Diagnosis from {series}", "", f"Written by `python -m myoscope.diagnose.fit --series {series}`.", ""]
    lines += ["| labels | tested on | n | right | 95 % interval |", "|---|---|---|---|---|"]
    folds = np.array([f for case, f in zip(wanted, fold_of(wanted), strict=True) if case.id in ids])
    guesses = cross_predict(x, y, folds)
    right = guesses.argmax(1) == y
    name = "expert" if series == "cine" else "out-of-fold predicted"
    lines.append(_row(name, f"{FOLDS}-fold cross-validation", right))
    model = fit(x, y, folds)
    if series == "cine":
        seen = {case.id for case in wanted if case.id in predicted}
        test_ids, test_x, test_y, _ = table([c for c in wanted if c.id in seen], predicted, series)
        held = np.array([case_id in test_ids for case_id in ids])
        held |= np.array([g in {s for s, h in zip(groups, held, strict=True) if h} for g in groups])
        other = fit(x[~held], y[~held], folds[~held])
        guess = other.predict_proba(test_x).argmax(1)
        lines.append(
            _row("predicted, fold not seen in training", "the same fold, left out of the fit too", guess == test_y)
        )
        lines += ["", *confusion(test_y, guess, ORDER[series], "predicted labels, fold not seen")]
    lines += ["", *confusion(y, guesses.argmax(1), ORDER[series], f"{name} labels, cross-validation")]
    page.write_text("\n".join(lines) + "\n")
    scaler, regression = model.steps[0][1], model.steps[-1][1]
    weights, intercepts = regression.coef_, regression.intercept_
    if len(weights) == 1:  # two classes: one row of weights stands for both
        weights, intercepts = np.vstack([-weights, weights]) / 2, np.append(-intercepts, intercepts) / 2
    kept: dict[str, Any] = {
        "classes": ORDER[series], "features": keys, "mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist(),
        "weights": weights.tolist(), "intercepts": intercepts.tolist(), "n": len(y),
        "right_percent": 100 * float(right.mean()), "labels": name, "licence": "CC BY-NC-SA 4.0 (LICENSE-WEIGHTS.md)",
    }  # fmt: skip
    Path(__file__).with_name(f"{series}.json").write_text(json.dumps(kept, indent=1) + "\n")
    typer.echo(page.read_text())


def out_of_fold(cases: Sequence[Case], runs: Path, system: str) -> dict[str, Mapping[Role, Volume]]:
    """Predicted labels of every case by the fold model that has not seen it, where that model is there."""
    result: dict[str, Mapping[Role, Volume]] = {}
    folds = fold_of(cases)
    for fold in range(FOLDS):
        path = runs / f"fold-{fold + 1}" / f"{system}.safetensors"
        if path.exists():
            model = system_module(system).Model.load(path)
            unseen = [c for c, k in zip(cases, folds, strict=True) if k == fold and data_set_of(c) != "myops"]
            result |= {case.id: model.predict(case.study) for case in unseen}
    return result


def table(
    cases: Sequence[Case], labels: Mapping[str, Mapping[Role, Volume]], series: str
) -> tuple[list[str], np.ndarray, np.ndarray, list[str]]:
    """Ids, features (n, f) as the classifier takes them, class indices (n,) and feature names.

    Cases with incomplete features are left out.
    """
    ids, rows, classes, keys = [], [], [], []
    for case in cases:
        if case.id not in labels:
            continue
        features = FEATURES[series](judge(case.study, labels[case.id], {}).measurements)
        if features is None:
            typer.echo(f"{case.id}: measurements incomplete, left out")
            continue
        ids.append(case.id)
        keys = list(features)
        rows.append(list(features.values()))
        classes.append(ORDER[series].index(case.group or ""))
    values = np.array(rows)
    return ids, np.log1p(values) if LOGARITHMIC[series] else values, np.array(classes), keys


def fit(x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> Any:
    """Standardise, then logistic regression; its strength is chosen by log-loss over the folds given."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=PredefinedSplit(folds),
        scoring="neg_log_loss",
        max_iter=5000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    )
    return make_pipeline(StandardScaler(), regression).fit(x, y)


def cross_predict(x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of every case from a classifier fitted, strength and all, on the other folds."""
    result = np.zeros((len(y), y.max() + 1))
    for fold in np.unique(folds):
        rest = folds != fold
        result[~rest] = fit(x[rest], y[rest], folds[rest]).predict_proba(x[~rest])
    return result


def interval(right: np.ndarray) -> tuple[float, float]:
    """95 % Wilson interval of a share, in per cent (doi:10.1080/01621459.1927.10502953)."""
    n, p, z = len(right), float(right.mean()), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return 100 * (middle - half), 100 * (middle + half)


def _row(labels: str, test: str, right: np.ndarray) -> str:
    low, high = interval(right)
    return f"| {labels} | {test} | {len(right)} | {100 * right.mean():.0f} % | {low:.0f} to {high:.0f} % |"


def confusion(truth: np.ndarray, guess: np.ndarray, classes: list[str], title: str) -> list[str]:
    """A confusion matrix in Markdown; rows are the truth."""
    lines = [
        f"Confusion, {title} (rows: truth):",
        "",
        "| |" + "|".join(classes) + "|",
        "|---" * (len(classes) + 1) + "|",
    ]
    for i, name in enumerate(classes):
        counts = [int(((truth == i) & (guess == j)).sum()) for j in range(len(classes))]
        lines.append(f"| {name} |" + "|".join(map(str, counts)) + "|")
    return lines


if __name__ == "__main__":
    typer.run(main)
