"""The systems by name. Their modules, and torch with them, are imported only when one is asked for."""

from importlib import import_module
from types import ModuleType

from myoscope.errors import InputError

MODULES = {"compact-cine": "myoscope.systems.compact", "compact-lge": "myoscope.systems.compact"}


def system_module(name: str) -> ModuleType:
    """The module of a system: `RECIPES[name]`, `train`, `Model`.

    Raises:
        InputError: no system has this name.
    """
    if name not in MODULES:
        raise InputError(f"no system is called {name!r}; choose one of {', '.join(MODULES)}")
    return import_module(MODULES[name])
