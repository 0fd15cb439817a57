"""Repeated splits of Clinic-NET and DOC-NET beside plain baselines, and the page with the paper's tables beside ours.

Every split deals a fifth of the patients of each class into the test; of the rest an eighth chooses the epoch. So
70/10/20, as in the paper, many times over. Automatic label maps come from fold models that have not seen the case.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from myoscope.datasets import clinical
from myoscope.datasets.emidec import CLASSES
from myoscope.diagnose.clinical_values import value_names
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.lab import crossval
from myoscope.lab.diagnosis import label_maps
from myoscope.lab.folds import FOLDS, deal
from myoscope.lab.loop import Budget
from myoscope.lab.pages import write_page
from myoscope.study import Case, Role
from myoscope.systems.doc_net.figures import write_patients, write_phantoms
from myoscope.systems.doc_net.inputs import Inputs, collect
from myoscope.systems.doc_net.model import Model
from myoscope.systems.doc_net.page import TEMPLATE, maps_facts, page_facts, summarise
from myoscope.systems.doc_net.recipe import BETTER, MANUAL, OWN_SEGMENTATION, RECIPES, Recipe, retuned
from myoscope.systems.doc_net.segmentation import Model as Segmentation
from myoscope.systems.doc_net.training import fit, train

TEST_SHARE = 0.2
SEEDS = {"values": 20, "images": 5}
"""Splits for variants that read values only, and for those with an image branch, as two cores afford."""

GIVEAWAYS = ("slice distance", "pixel size", "number of slices")
"""What a baseline may read that no network does."""

SEGMENTATION_STEPS = 4000
ON_CARD = ("splits", "test_cases", "accuracy", "accuracy_low", "accuracy_high", "sensitivity", "specificity", "brier")
LONG = Budget(minutes=60)
"""More than any variant needs: the recipe's epochs end the training."""


@dataclass(frozen=True)
class Entry:
    """A row of the page: `table` of the paper (0: none), whose `labels` give volumes and centre, and how it learns."""

    title: str
    table: int
    labels: str
    recipe: Recipe | None = None
    columns: tuple[str, ...] = ()
    """Of a baseline: what it reads."""
    boosted: bool = False
    """A baseline is a tree of one question, or many of them, boosted."""

    @property
    def seeds(self) -> int:
        """Number of splits."""
        return SEEDS["images" if self.recipe and self.recipe.channels else "values"]


def entries(with_better: bool, as_printed: bool = False) -> list[Entry]:
    """What is compared, in the order of the page; rows fed by cascade.small only where its label maps are given.

    `as_printed`: the paper's rows alone, DOC-NET on stacks of the paper's size.
    """
    net = {name.partition(".")[2]: recipe for name, recipe in RECIPES.items()}
    doc = "published" if as_printed else "doc-net"
    plus = [("Clinic-NET+", net["clinic-net+"]), ("DOC-NET+", net[f"{doc}+"])]
    plain = [("Clinic-NET", net["clinic-net"]), ("DOC-NET", net[doc])]
    sources = [OWN_SEGMENTATION, *([BETTER] if with_better and not as_printed else [])]
    best = sources[-1]
    published = [Entry(title, 1, "expert" if recipe.channels else "", recipe) for title, recipe in plain]
    published += [Entry(title, 1, "expert", replace(recipe, volumes=MANUAL)) for title, recipe in plus]
    published += [Entry(title, 2, source, recipe) for source in sources for title, recipe in plus]
    if as_printed:
        return published
    tuned = [replace(e, title=f"{e.title}, retuned", recipe=retuned(e.recipe)) for e in published if e.recipe]
    linear = net["linear+"]
    ours = [Entry("linear+ (ours)", 2, source, linear) for source in sources]
    ours.append(Entry("linear+, expert's volumes", 1, "expert", replace(linear, volumes=MANUAL)))
    twelve = tuple(clinical.TITLES.values())
    baselines = [
        Entry("logistic regression, clinical values", 0, "", replace(linear, volumes=())),
        Entry("gradient boosting, clinical values", 0, "", None, twelve, True),
        Entry("gradient boosting, clinical values and automatic volumes", 0, best, None, (), True),
        Entry("ST elevation alone", 0, "", None, ("ECG (ST +)",)),
        Entry("troponin above a threshold", 0, "", None, ("Troponin",)),
        Entry("slice distance alone (giveaway)", 0, "", None, ("slice distance",)),
        Entry("slice distance, pixel size, number of slices (giveaways)", 0, "", None, GIVEAWAYS, True),
        *(Entry("automatic scar volume above a threshold", 0, source, None, ("scar (ml)",)) for source in sources),
    ]
    return [*published, *tuned, *ours, *baselines]


def _cost(entry: Entry) -> tuple[bool, bool, bool]:
    """Sorts cheap before dear: values before images, and of each last what waits for a segmentation to be trained."""
    recipe = entry.recipe
    return (
        bool(recipe and recipe.channels),
        entry.labels == OWN_SEGMENTATION,
        bool(recipe and recipe.hidden and recipe.batch == 1),
    )


def evaluate(
    system: str,
    roots: Sequence[Path],
    runs: Path,
    budget: Budget | None,
    folds: int,
    segmentations: Path | None,
    device: str,
    progress: Callable[[str], None] = lambda _: None,
    published: bool = False,
) -> str:
    """Run what RUNS does not hold yet, and give the page back.

    RUNS/results.json and results.md are written after every row, and say what is still to come.

    Args:
        system: "doc-net".
        roots: Data sets with EMIDEC's classes.
        runs: Folder of the runs: one JSON a split; a killed run goes on where it was. The fold models of the automatic
            segmentation lie in `segmentation/` and are trained where they are missing.
        budget: None: the recipes say how many epochs.
        folds: FOLDS: splits are drawn otherwise.
        segmentations: Runs of `evaluate cascade`.
        device: "cpu" or "cuda".
        progress: Called with a few words before each step.
        published: Whether only the paper's rows are asked for, as printed.

    Raises:
        InputError: a budget is given, or fewer folds.
    """
    if budget or folds != FOLDS:
        raise InputError(
            f"expected neither a training budget nor --folds for {system}: its recipes say; leave them out"
        )
    cases = [case for case in crossval.read_cases(roots) if case.group in CLASSES]
    known = {case.id: case.group == CLASSES[1] for case in cases}
    labelled = {"": cases, "expert": cases}
    every = entries(bool(segmentations), published)
    found: dict[Entry, dict[str, Any]] = {}
    maps: list[dict[str, Any]] = []
    text = ""
    for entry in sorted(every, key=_cost):
        if entry.labels not in labelled:
            progress(f"label maps of {entry.labels}, out of fold")
            better = segmentations if entry.labels == BETTER else None
            labelled[entry.labels] = relabelled(cases, runs, better, device)
            maps.append(maps_facts(entry.labels, labelled[entry.labels], cases))
            if entry.labels == OWN_SEGMENTATION:
                _draw(runs, labelled[entry.labels], cases, device)
        predicted = _predictions(entry, labelled[entry.labels], runs, device, progress)
        row = {"title": entry.title, "table": entry.table, "labels": entry.labels}
        row["recipe"] = [entry.recipe.name, entry.recipe.epochs] if entry.recipe else None
        found[entry] = row | summarise(predicted, known)
        rows = [found[e] for e in every if e in found]
        write_whole(runs / "results.json", json.dumps(rows, indent=1))
        to_come = [f"{e.title} ({e.labels or 'no'} labels)" for e in every if e not in found]
        facts = page_facts(rows, [root.name for root in roots], bool(segmentations), to_come, maps)
        text = write_page(TEMPLATE, facts | {"published": published}, runs)
    return text


def _draw(runs: Path, automatic: Sequence[Case], expert: Sequence[Case], device: str) -> None:
    """The paper's Figure 2 on phantoms, by the first fold's model, and on patients (which `--page` leaves out)."""
    model = Segmentation.load(crossval.weights_path(OWN_SEGMENTATION, 0, runs / "segmentation"), device)
    write_phantoms(model, runs / "doc-net-samples.svg")
    write_patients(automatic, expert, runs / "patients.svg")


def relabelled(cases: Sequence[Case], runs: Path, segmentations: Path | None, device: str) -> list[Case]:
    """The cases with automatic label maps by models that have not seen them.

    Args:
        cases: With the expert's labels.
        runs: Where the fold models of the paper's own segmentation lie, or are trained, in `segmentation/`.
        segmentations: Runs of `evaluate cascade`, whose cascade.small is to be used instead.
        device: "cpu" or "cuda".

    Raises:
        InputError: see `crossval.fold_models`.
    """
    system, folder = (BETTER, segmentations) if segmentations else (OWN_SEGMENTATION, runs / "segmentation")
    if segmentations:
        crossval.fold_models(system, cases, folder)
    else:
        for fold in range(FOLDS):
            crossval.train_fold(system, cases, fold, Budget(steps=SEGMENTATION_STEPS), folder, device)
    found = label_maps(cases, folder, system, Role.LGE)
    return [replace(case, labels=found[case.id]) for case in cases]


def train_folds(
    name: str,
    roots: Sequence[Path],
    folds: Sequence[int | None],
    budget: Budget,
    runs: Path,
    segmentations: Path | None,
    device: str,
) -> list[Path]:
    """Train a variant for each fold, see `train_fold`."""
    return [train_fold(name, roots, fold, budget, runs, segmentations, device) for fold in folds]


def train_fold(
    name: str,
    roots: Sequence[Path],
    fold: int | None,
    budget: Budget,
    runs: Path,
    segmentations: Path | None,
    device: str,
) -> Path:
    """Train a variant on all folds but one (on all cases where fold is None) with automatic label maps.

    Returns:
        The weights, as from `crossval.train_fold`.
    """
    recipe = RECIPES[name]
    cases = [case for case in crossval.read_cases(roots) if case.group in CLASSES]
    crossval.check_folds(name, cases, [fold])
    folder = runs / ("all" if fold is None else f"fold-{fold + 1}") / name
    path = folder.with_name(f"{name}.safetensors")
    if path.exists():
        return path
    if recipe.reads_images:
        recipe = replace(recipe, segmentation=BETTER if segmentations else OWN_SEGMENTATION)
        relabel = relabelled(cases, runs, segmentations, device)
    else:
        relabel = cases
    chosen, _ = deal(relabel, fold)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "started_from.json", "null")  # from no weights
    begun = time.monotonic()
    model = train(recipe, chosen, budget, folder, device)
    card = crossval.card(name, chosen, fold, budget, runs, folder, device)
    card |= {"minutes": round((time.monotonic() - begun) / 60, 2), "cross_validation": None}
    model.save(path, card | {"repeated_splits": _of_card(runs, recipe)})
    return path


def _of_card(runs: Path, recipe: Recipe) -> dict[str, Any] | None:
    """What the repeated splits that RUNS holds say of a recipe with its label maps."""
    path = runs / "results.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    source = recipe.segmentation if recipe.volumes else "expert" if recipe.channels else ""
    row = next((r for r in rows if r["recipe"] == [recipe.name, recipe.epochs] and r["labels"] == source), None)
    return row and {key: row[key] for key in ON_CARD}


def _predictions(
    entry: Entry, cases: Sequence[Case], runs: Path, device: str, progress: Callable[[str], None]
) -> list[dict[str, float]]:
    """Probability of pathological of every test case, split by split; what is there already is not run again."""
    inputs = _columns(cases, entry) if entry.recipe is None else collect(entry.recipe, cases)
    made_of = json.dumps(asdict(entry), default=str).encode() + inputs.values.numpy().tobytes()
    if inputs.stacks is not None:
        made_of += inputs.stacks.numpy().tobytes()
    folder = runs / "splits" / sha256(made_of).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "entry.json").write_text(json.dumps(asdict(entry), indent=1, default=str))
    result = []
    for seed in range(entry.seeds):
        path = folder / f"{seed:02}.json"
        if not path.exists():
            progress(f"{entry.title}, {entry.labels or 'no labels'}: split {seed + 1} of {entry.seeds}")
            rest, test = split(inputs.classes, seed)
            found = _learn(entry, inputs.some(rest), seed, device)(inputs.some(test))
            write_whole(path, json.dumps({cases[i].id: float(p) for i, p in zip(test.tolist(), found, strict=True)}))
        result.append(json.loads(path.read_text()))
    return result


def split(classes: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of training (validation in it) and test cases, a fifth of each class."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(len(classes)), test_size=TEST_SHARE, stratify=classes, random_state=seed)
    return torch.from_numpy(np.sort(rest)), torch.from_numpy(np.sort(test))


def _learn(entry: Entry, inputs: Inputs, seed: int, device: str) -> Callable[[Inputs], np.ndarray]:
    """A function from inputs to probabilities of pathological."""
    if entry.recipe:
        model: Model = fit(replace(entry.recipe, seed=seed), inputs, LONG, None, device)
        return lambda some: model.probabilities(some)[:, 1]
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier

    boosted = HistGradientBoostingClassifier(max_iter=60, min_samples_leaf=5, random_state=seed)
    tree = boosted if entry.boosted else DecisionTreeClassifier(max_leaf_nodes=2, random_state=seed)
    tree.fit(inputs.values.numpy(), inputs.classes.numpy())
    return lambda some: tree.predict_proba(some.values.numpy())[:, 1]


def _columns(cases: Sequence[Case], entry: Entry) -> Inputs:
    """What a baseline reads; all clinical values and volumes where it names no columns."""
    recipe = RECIPES["doc-net.linear+"]
    inputs = collect(recipe, cases)
    images = [case.study.get(Role.LGE).image for case in cases]  # type: ignore[union-attr]
    acquired = torch.tensor([[*image.spacing_mm[:2], len(image.voxels)] for image in images])
    names = [*value_names(recipe.volumes), *GIVEAWAYS]
    values = torch.cat([inputs.values, acquired], 1)
    wanted = entry.columns or tuple(value_names(recipe.volumes))
    return Inputs(values[:, [names.index(name) for name in wanted]], None, inputs.classes)
