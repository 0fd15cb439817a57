"""The installed members of a system as fold models, each to be tried on the cases that it has not seen."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from myoscope.errors import InputError
from myoscope.lab.folds import FOLDS, deal
from myoscope.study import Case
from myoscope.systems import system_module
from myoscope.weights import network_of, read_card


def by_member(system: str, cases: Sequence[Case]) -> list[tuple[Any, list[Case]]]:
    """Each installed member and the cases that it has not seen; data sets that none has seen are left out.

    Raises:
        InputError: see `installed_members`.
    """
    known = set(read_card(network_of(system))["trained_on"])
    dealt = [case for case in cases if case.data_set in known]
    return [(model, deal(dealt, k)[1]) for k, model in enumerate(installed_members(system, dealt))]


def installed_members(system: str, cases: Sequence[Case]) -> list[Any]:
    """The installed fold models of a system, each to be tried on the cases that it has not seen.

    Raises:
        InputError: a system without members, or other cases than those that they were dealt from.
    """
    path = network_of(system)
    card = read_card(path) if path.with_suffix(".json").exists() else {}
    if (count := card.get("members", 1)) != FOLDS:
        raise InputError(f"expected trained folds of {system}, found none; add --minutes, --steps or --epochs")
    dealt = {name: n for name, n in card["trained_on"].items() if name != "phantom"}
    given = Counter(case.data_set for case in cases)
    if given != dealt:
        words = [" and ".join(f"{n} cases of {name}" for name, n in some.items()) for some in (dealt, given)]
        raise InputError(
            f"expected what the installed {system} was dealt from, {words[0]}, found {words[1]}; give that, or add "
            "--minutes, --steps or --epochs to train"
        )
    model = system_module(system).Model.load(path)
    return [model.member(k) for k in range(count)]
