"""How it is judged: as compact-myops, which stands beside it on every page."""

from myoscope.systems.compact.myops.evaluation import evaluate, train_folds

__all__ = ["evaluate", "train_folds"]
