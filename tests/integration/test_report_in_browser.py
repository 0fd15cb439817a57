"""The report as a real browser shows it, wide and narrow, from a phantom's own labels."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from myoscope.analysis import judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.study import Role


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = draw(sample(11, KEPT_ASIDE, "MINF"), (Role.CINE, Role.LGE), frames=8)
    folder = tmp_path_factory.mktemp("report")
    return judge(case.study, case.labels, {}).save(folder)


def test_the_page_says_what_was_measured(page: Any, report: Path) -> None:
    page.goto(report.as_uri())
    html = page.content()
    text = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style.*?</style>", " ", html)).split())
    for expected in ("phantom-11", "ejection fraction", "Research use only", "not a medical device", "Infarct", "ml"):
        assert expected.lower() in text.lower(), expected
    assert "nan" not in text.lower().split()
    assert "None" not in text.split()
    assert "<script" not in html


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_is_not_blank(width: int, page: Any, report: Path) -> None:
    """Text, grey slices and coloured contours can be seen, and no edge of the page runs out of the window."""
    page.set_viewport_size({"width": width, "height": 3000})
    page.goto(report.as_uri())
    with Image.open(BytesIO(page.screenshot())) as image:
        assert image.width == width
        pixels = np.asarray(image.convert("RGB")).astype(int)
    spread = pixels.max(2) - pixels.min(2)
    dark, coloured = (pixels.max(2) < 100).mean(), (spread > 60).mean()
    assert dark > 0.005, "neither text nor images"
    assert coloured > 0.002, "neither contours nor bull's eyes"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert (np.ptp(pixels[:, -3:], axis=1) == 0).mean() > 0.97, "something is cut off at the right edge"


def test_nothing_is_wider_than_a_phone(page: Any, report: Path) -> None:
    """Only what scrolls in a box of its own may be wider than the window."""
    page.set_viewport_size({"width": 375, "height": 2000})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
