"""myoscope: from a cardiac MR study to measurements, a proposed diagnosis and a report that can be checked by eye.

>>> import myoscope
>>> myoscope.analyze("STUDY").save("OUT")  # doctest: +SKIP

`docs/python.md` goes through `read_study`, `analyze`, `measure`, `predict` and `cohort`.

Research use only, not a medical device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "InputError": "myoscope.errors",
    "Patient": "myoscope.study",
    "Result": "myoscope.analysis",
    "Role": "myoscope.study",
    "Series": "myoscope.study",
    "Structure": "myoscope.labels",
    "Study": "myoscope.study",
    "Volume": "myoscope.volume",
    "analyze": "myoscope.analysis",
    "cohort": "myoscope.cohort",
    "measure": "myoscope.measure",
    "predict": "myoscope.lab.predict",
    "read_study": "myoscope.io.read",
}

__all__ = [
    "InputError",
    "Patient",
    "Result",
    "Role",
    "Series",
    "Structure",
    "Study",
    "Volume",
    "__version__",
    "analyze",
    "cohort",
    "measure",
    "predict",
    "read_study",
]

if TYPE_CHECKING:
    from myoscope import cohort, measure
    from myoscope.analysis import Result, analyze
    from myoscope.errors import InputError
    from myoscope.io.read import read_study
    from myoscope.lab.predict import predict
    from myoscope.labels import Structure
    from myoscope.study import Patient, Role, Series, Study
    from myoscope.volume import Volume


def __dir__() -> list[str]:
    """What tab completion offers."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import on first use, so that `myoscope --help` starts at once."""
    if name not in _HOME:
        raise AttributeError(f"module 'myoscope' has no attribute {name!r}")
    module = import_module(_HOME[name])
    return module if name in ("cohort", "measure") else getattr(module, name)  # these packages can be called
