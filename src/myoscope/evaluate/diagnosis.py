"""Fit the classifiers of `diagnose` and measure them: `python -m myoscope.evaluate.diagnosis --help`.

Fitted on measurements from out-of-fold predicted labels of ACDC or EMIDEC, as they are used, and tested by
cross-validation; the same on the experts' labels beside it, to tell what segmentation costs.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from myoscope import diagnose
from myoscope.analysis import judge
from myoscope.datasets import acdc, emidec
from myoscope.diagnose.features import FEATURES, LOGARITHMIC
from myoscope.evaluate.crossval import read_cases
from myoscope.evaluate.folds import FOLDS, fold_of
from myoscope.files import write_whole
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
    wanted = [case for case in cases if case.group in ORDER[series] and Role(series) in case.labels]
    expert = {case.id: case.labels for case in wanted}
    tests = []
    for name, labels in (("expert", expert), ("out-of-fold predicted", out_of_fold(cases, runs, f"compact-{series}"))):
        ids, x, y, keys = table(wanted, labels, series)
        folds = np.array([f for case, f in zip(wanted, fold_of(wanted), strict=True) if case.id in ids])
        tests.append((f"{name}, {FOLDS}-fold cross-validation", y, cross_predict(x, y, folds).argmax(1)))
    page.write_text(results_page(series, tests))
    kept = as_numbers(fit(x, y, folds)) | {"classes": ORDER[series], "features": keys, "n": len(y), "labels": name}
    kept["licence"] = "CC BY-NC-SA 4.0 (LICENSE-WEIGHTS.md): research use only, not commercial"
    write_whole(Path(diagnose.__file__).with_name(f"{series}.json"), json.dumps(kept, indent=1) + "\n")
    typer.echo(page.read_text())


def as_numbers(model: Any) -> dict[str, Any]:
    """A fitted classifier as plain numbers, one row of weights a class."""
    scaler, regression = model.steps[0][1], model.steps[-1][1]
    weights, intercepts = regression.coef_, regression.intercept_
    if len(weights) == 1:  # of two classes scikit-learn keeps the second only
        weights, intercepts = np.vstack([-weights, weights]) / 2, np.append(-intercepts, intercepts) / 2
    return {
        "mean": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
        "weights": weights.tolist(),
        "intercepts": intercepts.tolist(),
    }


def out_of_fold(cases: Sequence[Case], runs: Path, system: str) -> dict[str, Mapping[Role, Volume]]:
    """Predicted labels of every case by the fold model that has not seen it, where that model is there."""
    result: dict[str, Mapping[Role, Volume]] = {}
    folds = fold_of(cases)
    for fold in range(FOLDS):
        path = runs / f"fold-{fold + 1}" / f"{system}.safetensors"
        if path.exists():
            model = system_module(system).Model.load(path)
            unseen = [c for c, k in zip(cases, folds, strict=True) if k == fold and c.data_set != "myops"]
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


def results_page(series: str, tests: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> str:
    """Accuracy and confusion of every test (name, true classes, guessed classes), as Markdown."""
    lines = [f"# Diagnosis from {series}", "", f"Written by `python -m myoscope.evaluate.diagnosis --series {series}`."]
    lines += ["", "| labels | n | right | 95 % interval |", "|---|---|---|---|"]
    for name, truth, guess in tests:
        low, high = interval(guess == truth)
        lines.append(f"| {name} | {len(truth)} | {100 * (guess == truth).mean():.0f} % | {low:.0f} to {high:.0f} % |")
    for name, truth, guess in tests:
        lines += ["", *confusion(truth, guess, ORDER[series], name)]
    return "\n".join(lines) + "\n"


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
