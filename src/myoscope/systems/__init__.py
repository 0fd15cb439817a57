"""The systems by name: one line each. Their modules, and torch with them, are imported only when one is asked for.

A system is a package or a module with `RECIPES` (by full name, the default first), `Model` and
`train(recipe, cases, budget, folder, device) -> Model`, which is given training cases only, and keeps checkpoint, curve
and recipe in the folder: a killed run goes on from there. `Model.load(path, device)` ("cpu" or "cuda") reads what
`save(path, card)` wrote; `predict(study)` gives label maps by role, or a `Classification`. Where the common
cross-validation of label maps (`lab.crossval`) does not fit, a package has its own `evaluate` and `train_folds`, with
the same arguments, in `evaluation.py`.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from myoscope.errors import InputError

SYSTEMS = {
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


def system_module(name: str) -> ModuleType:
    """The module of a system, or of one of its variants (`full_name`): `RECIPES[name]`, `train`, `Model`.

    Raises:
        InputError: no system has this name.
    """
    system = name.partition(".")[0]
    if system not in SYSTEMS:
        raise InputError(f"no system is called {name!r}; choose one of {', '.join(SYSTEMS)}")
    return import_module(SYSTEMS[system])


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
    """The module with `train_folds` and `evaluate` of a system: its own or the common one."""
    module = system_module(system)
    own = f"{module.__name__}.evaluation"
    return import_module(own if hasattr(module, "__path__") and find_spec(own) else "myoscope.lab.crossval")
