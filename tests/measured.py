"""Measurements of the same heart, read from two kinds of file."""

from typing import Any

import pytest

from myoscope.measure.results import Measurements

SHARE = 1e-3


def values(measurements: Measurements) -> dict[str, Any]:
    """Every measured value by its dotted name, the diagnosis too."""

    def flat(value: Any, name: str) -> dict[str, Any]:
        if isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            return {k: v for key, item in items for k, v in flat(item, f"{name}.{key}").items()}
        return {name: value}

    return flat(measurements.model_dump(include={"lv", "rv", "lge", "t2", "segments", "diagnosis"}), "")


def assert_same(found: Measurements, expected: Measurements) -> None:
    """Equal text and whole numbers, other numbers within `SHARE`."""
    found_values, others = values(found), values(expected)
    assert found_values.keys() == others.keys()
    for name, value in others.items():
        same = pytest.approx(value, rel=SHARE, abs=1e-6) if isinstance(value, float) else value
        assert found_values[name] == same, name
    assert found.quality.missing == expected.quality.missing
