"""The systems by name. Their modules, and torch with them, are imported only when one is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType

from myoscope.errors import InputError
from myoscope.study import Role
from myoscope.volume import Volume

MODULES = {
    "acdc-multitask": "myoscope.systems.acdc_multitask",
    "cascade": "myoscope.systems.cascade",
    "compact-cine": "myoscope.systems.compact",
    "compact-lge": "myoscope.systems.compact",
    "compact-myops": "myoscope.systems.compact.myops",
    "doc-net": "myoscope.systems.doc_net",
    "doc-net-segmentation": "myoscope.systems.doc_net.segmentation",
    "jdl": "myoscope.systems.jdl",
    "myops-ensemble": "myoscope.systems.myops_ensemble",
}


EVALUATIONS = {
    "acdc-multitask": "myoscope.systems.acdc_multitask.evaluation",
    "cascade": "myoscope.systems.cascade.evaluation",
    "compact-myops": "myoscope.systems.compact.myops.evaluation",
    "doc-net": "myoscope.systems.doc_net.evaluation",
    "jdl": "myoscope.systems.jdl.evaluation",
    "myops-ensemble": "myoscope.systems.compact.myops.evaluation",
}
"""Systems that the common cross-validation of label maps (`crossval`) does not fit, and where theirs is."""


@dataclass(frozen=True)
class Classification:
    """What a system that classifies makes of a study.

    `probabilities` has every class, in the data set's order. `evidence` has for each input its name, its value and what
    it adds to the log-odds of the predicted class, where the model can tell. `notes` are whole sentences. `labels` are
    for a look at what the model saw, and never measured.
    """

    probabilities: Mapping[str, float]
    evidence: tuple[tuple[str, float, float], ...] = ()
    notes: tuple[str, ...] = ()
    labels: Mapping[Role, Volume] = field(default_factory=dict)

    @property
    def prediction(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


def system_module(name: str) -> ModuleType:
    """The module of a system, or of one of its variants (`full_name`): `RECIPES[name]`, `train`, `Model`.

    Raises:
        InputError: no system has this name.
    """
    system = name.partition(".")[0]
    if system not in MODULES:
        raise InputError(f"no system is called {name!r}; choose one of {', '.join(MODULES)}")
    return import_module(MODULES[system])


def full_name(system: str, variant: str | None) -> str:
    """SYSTEM.VARIANT, the name of recipe, weights and card, for a system that has variants; SYSTEM for others.

    The first of a module's recipes is its default.

    Raises:
        InputError: there is no such system or variant.
    """
    names = [name for name in system_module(system).RECIPES if name.partition(".")[0] == system]
    if variant is None:
        return names[0]
    if f"{system}.{variant}" not in names:
        known = ", ".join(name.partition(".")[2] for name in names if "." in name) or "none: leave out --variant"
        raise InputError(f"expected a variant of {system} ({known}), found {variant!r}")
    return f"{system}.{variant}"


def evaluation_of(system: str) -> ModuleType:
    """The module with `train_folds` and `evaluate` of a system; both take the arguments of `crossval`'s."""
    return import_module(EVALUATIONS.get(system, "myoscope.lab.crossval"))
