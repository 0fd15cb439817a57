"""What a training needs, looked at before it costs anybody time, and whether its budget is like what is usual."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from myoscope.datasets import case_folders, layout_of, own, read_case
from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.lab.loop import Budget
from myoscope.study import Role
from myoscope.systems import system_module
from myoscope.weights import FOLDER, read_card, weights_of

LITTLE = 0.2
"""A budget below this share of the installed weights' is called little."""


def check_training(name: str, roots: Sequence[Path]) -> None:
    """Refuse data that a system cannot learn from, by the first case of each data set, and weights that are missing.

    Raises:
        InputError: a root holds no cases, no first case has the series that are needed, labelled, or the weights that
            training starts from are not installed.
    """
    recipe = system_module(name).RECIPES[name]
    if start := getattr(recipe, "start_from", None):
        weights_of(start)
    needed = set(getattr(recipe, "roles", Role))
    found: set[Role] = set()
    for root in roots:
        if root.suffix == ".npz":  # a cache is read in a moment
            if not root.is_file():
                raise InputError(f"{shown(root)}: no such file; write it with: myoscope cache")
            return
        first = case_folders(root)[0]
        if layout_of(first) is own:  # its cases may differ
            return
        roles = set(read_case(first).labels)
        found |= roles if not getattr(recipe, "together", False) or needed <= roles else set()
    if not needed & found:
        words = (" and " if getattr(recipe, "together", False) else " or ").join(sorted(needed))
        raise InputError(
            f"{shown(roots[0].name)}: expected cases with labelled {words} for {name}, found none in its first case; "
            "give another --data or system"
        )


def little(name: str, budget: Budget) -> str | None:
    """A sentence on a budget far below that of the installed weights; None where it is not, or nobody knows."""
    if not (FOLDER / f"{name}.json").is_file():
        return None
    card = read_card(FOLDER / f"{name}.safetensors")
    for kind, asked in (("minutes", budget.minutes), ("steps", budget.steps)):
        usual = _usual(card.get(kind))
        if asked and usual and asked < LITTLE * usual:
            return (
                f"{asked:g} {kind} are little: the installed {name} had {usual:g} on {card['device']}; "
                "the label maps will be poor"
            )
    return None


def _usual(value: Any) -> float | None:
    """A card's number, or the mean of its members'."""
    return mean(value) if isinstance(value, list) else value
