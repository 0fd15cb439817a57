"""Scores, cross-validation, and the evaluations that are a system's own."""

from importlib import import_module
from types import ModuleType

EVALUATIONS = {
    "acdc-multitask": "myoscope.evaluate.acdc_multitask",
    "cascade": "myoscope.evaluate.cascade",
    "compact-myops": "myoscope.evaluate.myops_ensemble",
    "doc-net": "myoscope.evaluate.doc_net",
    "jdl": "myoscope.evaluate.jdl",
    "myops-ensemble": "myoscope.evaluate.myops_ensemble",
}
"""Systems that the common cross-validation of label maps (`crossval`) does not fit, and where theirs is."""


def evaluation_of(system: str) -> ModuleType:
    """The module with `train_folds` and `evaluate` of a system; both take the arguments of `crossval`'s."""
    return import_module(EVALUATIONS.get(system, "myoscope.evaluate.crossval"))
