"""Figure 6 of the thesis: one slice of two patients as the baseline and the double task segment it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from myoscope.lab.crossval import weights_path
from myoscope.lab.pages import save_svg
from myoscope.study import Case, Role
from myoscope.systems.acdc_multitask.inputs import STRUCTURES, Heart, find_heart, read_labels, read_stack
from myoscope.systems.acdc_multitask.model import Model
from myoscope.systems.acdc_multitask.network import PHASES, SLICES
from myoscope.systems.acdc_multitask.page import task, title

TASKS = ("segmentation", "double")
PHANTOM_SEED = 5
MIDDLE = SLICES // 2

Panels = Sequence[tuple[Case, Heart, Mapping[str, Model]]]


def compared(found: Mapping[str, Any]) -> list[str]:
    """Variants of the figure among those that were scored, all of the size of the first."""
    names = [name for name in found if task(name) in TASKS and not name.endswith("-literal")]
    return sorted((n for n in names if (".half-" in n) == (".half-" in names[0])), key=lambda n: TASKS.index(task(n)))


def write_phantom(found: Mapping[str, Any], runs: Path, path: Path, device: str) -> None:
    """The first fold's models on a synthetic heart that no training sees: safe to publish."""
    from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample

    case = draw(sample(PHANTOM_SEED, KEPT_ASIDE, "MINF"), [Role.CINE], frames=2)
    heart = find_heart(case.study.series[0], case.labels[Role.CINE])
    first = {n: weights_path(n, found[n]["folds"][0] - 1, runs) for n in compared(found)}
    write_slices([(case, heart, {n: Model.load(w, device) for n, w in first.items()})], path)


def write_patients(
    found: Mapping[str, Any],
    cases: Mapping[str, Case],
    hearts: Mapping[str, Heart],
    runs: Path,
    path: Path,
    device: str,
) -> None:
    """The held-out patients of the best and the worst mean Dice of the last one compared. Not for the repository."""
    names = compared(found)
    rows = {name: {row["case"]: row for row in found[name]["rows"]} for name in names}
    common = set.intersection(*(set(some) for some in rows.values()))
    dices = {i: [d for d in rows[names[-1]][i]["dice"].values() if d is not None] for i in common}
    order = sorted(common, key=lambda i: (float(np.mean(dices[i])) if dices[i] else 0.0, i))
    panels = []
    for i in dict.fromkeys([order[-1], order[0]]):
        models = {n: Model.load(weights_path(n, rows[n][i]["fold"] - 1, runs), device) for n in names}
        panels.append((cases[i], hearts[i], models))
    write_slices(panels, path)


def write_slices(panels: Panels, path: Path) -> None:
    """For each case the middle slice at ED: image, the expert's labels, then each model's."""
    from matplotlib.figure import Figure

    columns = 2 + len(panels[0][2])
    figure = Figure(figsize=(2.3 * columns, 2.4 * len(panels)), layout="constrained", dpi=100)
    for line, (case, heart, models) in zip(figure.subplots(len(panels), columns, squeeze=False), panels, strict=True):
        series, truth = case.study.get(Role.CINE), case.labels[Role.CINE]
        assert series is not None
        maps: dict[str, np.ndarray | None] = {"image": None}
        for name, model in models.items():
            recipe = model.recipe
            seen = model.look(series, heart, only_middle=True)
            assert seen.shares is not None
            z = min(max(0, seen.slices - SLICES) // 2 + MIDDLE, seen.slices - 1)
            if "expert" not in maps:
                maps["expert"] = read_labels(truth, heart, recipe.crop, recipe.spacing_mm)[0, z].numpy()
                grey = read_stack(series.image, heart, recipe.crop, recipe.spacing_mm)[0, z].numpy()
            maps[title(name)] = seen.shares[0, PHASES.index("ED")].argmax(0)[MIDDLE].numpy()
        for axes, (words, codes) in zip(line, maps.items(), strict=True):
            axes.imshow(grey, cmap="gray", vmin=np.percentile(grey, 1), vmax=np.percentile(grey, 99.5))
            axes.set_axis_off()
            axes.set_title(words if case.data_set or words != "expert" else "true", fontsize=8)
            for k, structure in enumerate(STRUCTURES[1:], 1):
                if codes is not None and (codes == k).any():
                    axes.contour(codes == k, [0.5], colors=structure.colour, linewidths=1)
    save_svg(figure, path)
