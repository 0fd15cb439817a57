"""One system on one study: its label maps, or what it classifies; nothing is measured."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from myoscope.io.read import as_study
from myoscope.lab.extra import check_extra
from myoscope.prediction import Classification
from myoscope.study import Role, Study
from myoscope.volume import Volume


def predict(
    system: str,
    study: Study | Path | str,
    variant: str | None = None,
    weights: Path | str | None = None,
    device: str = "cpu",
) -> Mapping[Role, Volume] | Classification:
    """Run one of the laboratory's systems on a study; `analyze` has its own choice of them and measures.

    Args:
        system: A name of `myoscope.systems.SYSTEMS`, as compact-cine.
        study: From `read_study`, or the path of one.
        variant: Of a system that has several.
        weights: Weights that `train` wrote; None: the installed ones.
        device: "cpu" or "cuda".

    Returns:
        Label maps of `Structure` codes by role, on each series' grid; of a system that classifies, its Classification.

    Raises:
        InputError: there is no such system, variant or study, or the extra `lab` is not installed.

    >>> import myoscope
    >>> myoscope.predict("compact-cine", "STUDY")[myoscope.Role.CINE]  # doctest: +SKIP
    """
    check_extra("predict")
    return model_of(system, variant, None if weights is None else Path(weights), device).predict(as_study(study))


@lru_cache(maxsize=2)
def model_of(system: str, variant: str | None = None, weights: Path | None = None, device: str = "cpu") -> Any:
    """A system's model, loaded once.

    Raises:
        InputError: there is no such system, variant, weights or device.
    """
    from myoscope.console import check_device
    from myoscope.systems import full_name, system_module
    from myoscope.weights import weights_of

    name = full_name(system, variant)
    return system_module(system).Model.load(weights or weights_of(name), check_device(device))
