"""What tests do with the review's page in a browser, and where things lie on it."""

from pathlib import Path
from typing import Any

import numpy as np

from myoscope.io.read import read_study
from myoscope.study import Role, Series
from review_world import Server, labels_on_disk


def opened(page: Any, server: Server) -> Any:
    page.goto(server.address)
    page.wait_for_selector("body[data-loaded=cine]")
    return page


def begin(page: Any) -> None:
    page.click("#edit")
    page.wait_for_selector("body.editing")


def cine_of(out: Path) -> Series:
    series = read_study(out.parent / "study").get(Role.CINE)
    assert series is not None
    return series


def place(page: Any, series: Series, x: float, y: float) -> tuple[float, float]:
    """Where the middle of a voxel lies on the screen, with the whole picture in sight."""
    box = page.locator("#view").bounding_box()
    _, sy, sx = series.image.spacing_mm
    rows, columns = series.image.voxels.shape[-2:]
    scale = min(box["width"] / (columns * sx), box["height"] / (rows * sy))
    left, top = (box["width"] - columns * sx * scale) / 2, (box["height"] - rows * sy * scale) / 2
    return box["x"] + left + (x + 0.5) * sx * scale, box["y"] + top + (y + 0.5) * sy * scale


def go(page: Any, t: int, z: int) -> None:
    for name, value in (("phase", t), ("slice", z)):
        page.locator(f"#{name}").fill(str(value + 1))
    assert f"slice {z + 1} of" in page.locator("#view").get_attribute("aria-label")


def shown(page: Any, name: str, column: str = "now") -> float:
    return float(page.inner_text(f"tr[data-name='{name}'] .{column}").strip("▸ \u00a0"))


def in_view(path_or_out: Path, series: Series) -> np.ndarray:
    """Labels on disk as the page shows them: (T, Z, Y, X)."""
    from myoscope.io.nifti import to_view

    grid = series.files[0]
    return to_view(labels_on_disk(path_or_out), grid.axes, grid.flips)


def saved(page: Any) -> None:
    page.wait_for_selector("#message:has-text('Saved.')", timeout=60_000)
