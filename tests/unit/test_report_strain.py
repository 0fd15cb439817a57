"""Strain in the report: curves and numbers of a whole cycle, end-systole alone where there is none, and the reason."""

import re

import numpy as np
import pytest

from myoscope.analysis import judge
from myoscope.labels import Structure
from myoscope.report import render
from myoscope.report.charts import cycle_curve
from myoscope.report.reference import MINUS
from myoscope.study import Patient, Role, Series, Study
from myoscope.volume import Volume, plain_affine


def section(frames: int) -> str:
    """The report's section on strain for a cylinder that beats, in a cine of so many frames."""
    endo = 30 - 10 * np.sin(np.pi * np.arange(frames) / frames) ** 2
    y, x = np.mgrid[:96, :96] - 47.5
    radius = np.broadcast_to(np.hypot(y, x), (frames, 5, 96, 96))
    labels = np.zeros(radius.shape, np.uint8)
    labels[radius < np.sqrt(endo**2 + 700)[:, None, None, None]] = Structure.MYOCARDIUM
    labels[radius < endo[:, None, None, None]] = Structure.LV
    image = Volume(np.array([300.0, 800, 250], np.float32)[labels], plain_affine((10.0, 1.0, 1.0)), 50.0)
    study = Study("ring", Patient(), (Series(Role.CINE, "cine", image),))
    found = judge(study, {Role.CINE: image.with_voxels(labels)}, {})
    page = render(study, found.labels, found.measurements)
    parts = re.findall(r'<section aria-labelledby="strain".*?</section>', page, re.DOTALL)
    assert len(parts) == 1
    return parts[0]


def test_a_whole_cycle_has_curves_and_numbers() -> None:
    text = section(12)
    assert "Global strain over the cardiac cycle: Circumferential, Radial" in text
    numbers = re.findall(r'class="number">([^<]*)<', text)
    assert len(numbers) == 11 and numbers[0].startswith(f"{MINUS}23") and numbers[1].startswith("31")
    assert "not measured" not in text.lower()


def test_two_frames_have_end_systole_from_contours_and_the_reason() -> None:
    text = section(2)
    assert "<svg" not in text and "End-systole, from contours alone" in text and "Fastest rate" not in text
    assert len(re.findall(r'class="number"', text)) == 2
    assert "Other strain values not measured: 2 frames, fewer than the 10 of a cycle" in text


def test_the_axis_of_a_curve_below_zero_holds_both_ends() -> None:
    svg = cycle_curve([("a", "lv", [0.0, -18.0, -5.0])], 0, 1, None, "%", "Strain")
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', svg)]
    assert heights[0] < heights[2] < heights[1] <= 22 + 190
    assert f"{MINUS}20</text>" in svg and ">0</text>" in svg and "-" not in re.sub(r"<[^>]*>", "", svg)


@pytest.mark.parametrize("values", [[100.0, 50.0, 80.0], [0.0, 0.0, 0.0]])
def test_volumes_start_at_zero(values: list[float]) -> None:
    svg = cycle_curve([("a", "lv", values)], 0, 1, None, "ml", "Volume")
    assert ">0</text>" in svg and MINUS not in svg
