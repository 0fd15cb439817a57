"""Calibrate how sure a model is, out of fold, and test it: `python -m myoscope.lab.confidence --help`.

What is calibrated: of the voxels that a series gives to a structure, the share that the expert gives to it too.
What is unusual: a slice whose features lie further from training's than those of 99 in 100 slices of unseen patients.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.files import write_whole
from myoscope.lab.crossval import read_cases, runs_of
from myoscope.lab.pages import TEMPLATES, render
from myoscope.lab.unseen import Data, Runs, ScarRuns, System, by_fold, none_found, predictions, scar_models
from myoscope.labels import Structure
from myoscope.segment.confidence import calibrate
from myoscope.study import Case, Role, Series

TEMPLATE = TEMPLATES / "confidence.md.j2"
USUAL_PERCENT = 99.0
STRANGERS = 6
"""So many images of each strange kind."""


def main(
    system: System,
    data: Data,
    runs: Runs,
    page: Annotated[Path, typer.Option(help="Where to write the results page.")],
    segmentations: ScarRuns = None,
) -> None:
    """Write RUNS/confidence.json, which the card of the next refit takes up, and a page of how well it holds."""
    cases = read_cases(data)
    late = scar_models(system, cases, segmentations)
    pairs, distances, strange = out_of_fold(system, cases, runs, late)
    if not distances:
        raise none_found(system, runs)
    limit = float(np.nanpercentile(np.concatenate([d.ravel() for d in distances]), USUAL_PERCENT))
    lines = {structure.name.lower(): fit(found) for structure, found in pairs.items()}
    kept = {"lines": lines} | ({} if late else {"unusual_distance": limit})  # a joint map takes compact-lge's
    write_whole(runs_of(system, runs) / "confidence.json", json.dumps(kept, indent=1) + "\n")
    page.write_text(render(TEMPLATE, page_facts(system, pairs, distances, strange, limit)))
    typer.echo(page.read_text())


Pairs = dict[Structure, np.ndarray]


def out_of_fold(
    system: str, cases: Sequence[Case], runs: Path, late: Mapping[str, Any]
) -> tuple[Pairs, list[np.ndarray], dict[str, list[np.ndarray]]]:
    """What the fold models say of series that they have not seen.

    Args:
        system: Name of the system.
        cases: What its runs were trained on.
        runs: Its runs.
        late: For a joint map: by case the model that has a say in its scar. Only cases with T2 are judged then, and no
            strange images.

    Returns:
        For each structure rows of (fold, raw probability, share that the expert agrees with); the distances (T, Z) of
        each unseen series; and those of strange images, by kind.
    """
    pairs: dict[Structure, list[tuple[float, float, float]]] = {}
    distances: list[np.ndarray] = []
    strange: dict[str, list[np.ndarray]] = {}
    for fold, model, unseen in by_fold(system, cases, runs, late):
        for case, (series, found) in ((c, found) for c in unseen for found in predictions(model, c, late)):
            distances.append(found.distances)
            truth = case.labels[series.role].voxels
            for structure, raw in found.raw.items():
                if structure not in case.drawn_as:
                    right = float((truth[found.labels.voxels == structure] == structure).mean())
                    pairs.setdefault(structure, []).append((fold, raw, right))
        if not strange and not late:
            strange = {
                kind: [model.segment(series).distances for series in some]
                for kind, some in strangers(unseen, model.roles[0])
            }
    return {structure: np.array(rows) for structure, rows in sorted(pairs.items())}, distances, strange


def strangers(cases: Sequence[Case], role: Role) -> Iterator[tuple[str, list[Series]]]:
    """Images that no model of this role was made for, by kind."""
    some = [series for case in cases for series in case.study.series if series.role is role][:STRANGERS]
    phantoms = [draw(sample(900 + i, KEPT_ASIDE), frames=2).study for i in range(STRANGERS)]
    rng = np.random.default_rng(0)

    def changed(kind: Any) -> list[Series]:
        return [replace(s, image=s.image.with_voxels(kind(s.image.voxels.astype(np.float32)))) for s in some]

    yield "phantom, kept aside", [s for study in phantoms if (s := study.get(role))]
    for other in (Role.CINE, Role.LGE, Role.T2):
        if other is not role:
            yield f"phantom's {other}", [s for study in phantoms if (s := study.get(other))]
    yield "bright and dark exchanged", changed(lambda x: x.max() - x)
    yield "noise as strong as the image", changed(lambda x: x + rng.normal(0, x.std(), x.shape).astype(np.float32))
    yield "upside down", changed(lambda x: x[..., ::-1, :].copy())
    yield "noise alone", changed(lambda x: rng.random(x.shape, np.float32))


def fit(rows: np.ndarray) -> tuple[float, float]:
    """The line over the log-odds of the raw probability that fits best; see `calibrate`."""
    from sklearn.linear_model import LogisticRegression

    raw = np.clip(rows[:, 1], 1e-4, 1 - 1e-4)
    odds = np.log(raw / (1 - raw))[:, None]
    weights = np.concatenate([rows[:, 2], 1 - rows[:, 2]])
    model = LogisticRegression(C=10.0).fit(np.vstack([odds, odds]), np.repeat([1, 0], len(rows)), weights)
    return float(model.intercept_[0]), float(model.coef_[0, 0])


def cross_fit(rows: np.ndarray) -> np.ndarray:
    """Calibrated probability of every row, by a line fitted on the other folds."""
    result = np.full(len(rows), np.nan)
    for fold in np.unique(rows[:, 0]):
        here = rows[:, 0] == fold
        if not here.all():
            line = fit(rows[~here])
            result[here] = [calibrate(raw, line) for raw in rows[here, 1]]
    return result


def page_facts(
    system: str, pairs: Pairs, distances: Sequence[np.ndarray], strange: dict[str, list[np.ndarray]], limit: float
) -> dict[str, Any]:
    """How well the probabilities hold, and what the distance finds, for the page's template."""
    structures = []
    for structure, rows in pairs.items():
        said, right = cross_fit(rows), rows[:, 2]
        if np.isnan(said).any():
            continue
        low = said <= np.median(said)
        cells = [said, right, said[low], right[low], said[~low], right[~low], abs(said - right)]
        percent = [100 * float(np.mean(cell)) for cell in cells]
        structures.append({"name": structure.name.lower().replace("_", "-"), "n": len(rows), "percent": percent})
    images = {"patients not seen": list(distances), **strange} if strange else {}
    return {
        "system": system,
        "structures": structures,
        "limit": limit,
        "usual_percent": USUAL_PERCENT,
        "images": [{"kind": kind} | _unusual(found, limit) for kind, found in images.items()],
    }


def _unusual(found: Sequence[np.ndarray], limit: float) -> dict[str, Any]:
    """How many slices with heart, what per cent of them are unusual, and how many series mostly are."""
    slices = np.concatenate([d[np.isfinite(d)] for d in found])
    mostly = [bool(np.isfinite(d).any()) and bool((d[np.isfinite(d)] > limit).mean() >= 0.5) for d in found]
    percent = 100 * float((slices > limit).mean()) if len(slices) else None
    return {"series": len(found), "slices": len(slices), "unusual_percent": percent, "mostly": sum(mostly)}


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
