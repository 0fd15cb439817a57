"""Elements of DICOM headers as numbers and texts, whatever stands in them, and functional groups of frames."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue


def macro(h: Dataset, index: int, name: str) -> Dataset:
    """A functional group of a frame: its own, else the one that all share, else an empty one."""
    for sequence, at in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        groups = h.get(sequence)
        if groups and groups[at].get(name):
            return groups[at][name][0]
    return Dataset()


def numbers(d: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Finite numbers of an element, or () where it is absent, has another length, or holds something else."""
    try:
        value = d.get(keyword)
        values = tuple(float(v) for v in ([value] if count == 1 else value or ()))
    except (TypeError, ValueError):
        return ()
    return values if len(values) == count and np.isfinite(values).all() else ()


def number(d: Dataset, keyword: str) -> float | None:
    """A finite number of an element, or None."""
    return next(iter(numbers(d, keyword, 1)), None)


def all_numbers(d: Dataset, keyword: str) -> tuple[float, ...]:
    """The numbers of an element with any number of values."""
    try:
        value = d.get(keyword)
        return tuple(float(v) for v in (value if isinstance(value, list | MultiValue) else [value]))
    except (TypeError, ValueError):
        return ()


def whole(d: Dataset, keyword: str) -> int | None:
    """The whole part of an element's number, or None."""
    value = number(d, keyword)
    return None if value is None else int(value)


def texts(d: Dataset, keyword: str) -> tuple[str, ...]:
    """The texts of an element, in capitals."""
    value = d.get(keyword) or ()
    return (str(value).upper(),) if isinstance(value, str) else tuple(str(v).upper() for v in value)
