"""Value: a number, or the reason why there is none. Reasons travel with the numbers and end in `quality.missing`."""

from collections.abc import Callable, Mapping

Value = float | str
"""A number, or one clause that says why it could not be measured."""


def derive(compute: Callable[..., float], *inputs: Value) -> Value:
    """A number computed from others, or the reason of the first that is missing.

    >>> derive(lambda a, b: a - b, 3.0, 1.0)
    2.0
    >>> derive(lambda a, b: a - b, 3.0, "no end-systole")
    'no end-systole'
    """
    for value in inputs:
        if isinstance(value, str):
            return value
    return compute(*inputs)


def number(value: Value) -> float | None:
    """The number, or None where there is only a reason."""
    return None if isinstance(value, str) else value


def split(values: Mapping[str, Value]) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers and reasons, apart.

    >>> split({"a": 1.0, "b": "unknown"})
    ({'a': 1.0}, {'b': 'unknown'})
    """
    numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
    reasons = {name: value for name, value in values.items() if isinstance(value, str)}
    return numbers, reasons
