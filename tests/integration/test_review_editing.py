"""Editing in a real browser: paint, undo, erase, fill, push, delete the base, by mouse and keyboard; what is saved."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from myoscope.labels import Structure
from myoscope.study import Series
from review_browser import begin, cine_of, go, in_view, opened, place, saved, shown
from review_world import analysed, serving

pytest.importorskip("starlette", reason="pip install 'myoscope[review]'")


def disc_of(series: Series, x: int, y: int, diameter_mm: float) -> np.ndarray:
    """Voxels whose centres lie in a disc, none near its edge (so that rounding on the screen does not matter)."""
    _, sy, sx = series.image.spacing_mm
    rows, columns = np.indices(series.image.voxels.shape[-2:])
    away = np.hypot((rows - y) * sy, (columns - x) * sx)
    assert np.abs(away - diameter_mm / 2).min() > 0.02
    return away <= diameter_mm / 2


@dataclass
class Work:
    """A page on an analysed phantom; `expected` is what its cine's labels must become."""

    page: Any
    out: Path
    series: Series
    before: np.ndarray
    expected: np.ndarray
    old: Any

    @property
    def ed(self) -> int:
        return int(self.old["lv"]["ed_frame"])

    def at(self, x: float, y: float) -> tuple[float, float]:
        return place(self.page, self.series, x, y)

    def where(self) -> str:
        return str(self.page.locator("#view").get_attribute("aria-label"))

    def steps(self, count: int) -> None:
        self.page.wait_for_selector(f"body[data-steps='{count}']")

    def ml(self, labels: np.ndarray, structure: Structure) -> np.ndarray:
        return (labels == structure).sum((1, 2, 3)) * self.series.image.voxel_ml


@pytest.fixture
def work(page: Any, tmp_path: Path) -> Work:
    out = analysed(tmp_path)
    series = cine_of(out)
    before = in_view(out, series).copy()
    return Work(page, out, series, before, before.copy(), json.loads((out / "measurements.json").read_text()))


def test_look_paint_undo_delete_the_base_and_save(work: Work) -> None:
    folder = work.out / "segmentations"
    others = {path.name: path.read_bytes() for path in folder.iterdir() if "cine" not in path.name}
    with serving(work.out) as server:
        opened(work.page, server)
        look(work)
        nothing_is_changed_before_edit(work)
        begin(work.page)
        paint_and_undo(work)
        erase_along_a_line(work)
        ef = delete_the_base(work)
        assert work.page.inner_text("#saved") == "Not saved"
        work.page.keyboard.press("Control+s")
        saved(work.page)
        assert work.page.inner_text("#saved") == ""
    assert np.array_equal(in_view(work.out, work.series), work.expected)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in others} == others
    assert [path.name for path in (folder / "automatic").iterdir()] == ["cine_seg.nii.gz"]
    measured = json.loads((work.out / "measurements.json").read_text())
    assert measured["lv"]["ejection_fraction_percent"] == pytest.approx(ef)
    assert measured["lge"] == work.old["lge"]
    cine = next(origin for origin in measured["provenance"]["series"] if origin["role"] == "cine")
    assert cine["changed_voxels"] == (work.expected != work.before).sum()
    assert cine["labels_from"] == "compact-cine, corrected by hand"
    assert not list(work.out.glob(".review-journal*"))


def look(work: Work) -> None:
    """The wheel and the keys lead through slices and phases."""
    go(work.page, work.ed, 3)
    work.page.mouse.move(*work.at(40, 40))
    work.page.mouse.wheel(0, 100)
    work.page.wait_for_selector("#slice-said:has-text('5/7')")
    work.page.locator("#view").focus()
    work.page.keyboard.press("ArrowUp")
    work.page.keyboard.press("ArrowRight")
    assert f"slice 4 of 7, phase {(work.ed + 1) % 3 + 1} of 3" in work.where()


def nothing_is_changed_before_edit(work: Work) -> None:
    go(work.page, work.ed, 3)
    work.page.click("#fit")
    work.page.mouse.click(*work.at(40, 40))
    assert work.page.get_attribute("body", "data-steps") in (None, "0")
    assert work.page.is_disabled("#size") and work.page.is_disabled("#save")


def paint_and_undo(work: Work) -> None:
    """A disc of RV blood pool, taken back and done again; its volume is the disc's."""
    page, ed = work.page, work.ed
    page.locator("#size").fill("11")
    page.keyboard.press("6")
    page.mouse.click(*work.at(9, 9))
    work.steps(1)
    work.expected[ed, 3][disc_of(work.series, 9, 9, 11)] = Structure.RV
    old_ml = work.old["rv"]["edv_ml"]
    assert shown(page, "rv.edv_ml") == pytest.approx(work.ml(work.expected, Structure.RV)[ed], abs=0.051)
    assert abs(shown(page, "rv.edv_ml") - old_ml) > 0.2
    assert shown(page, "rv.edv_ml", "before") == pytest.approx(old_ml, abs=0.051)
    page.keyboard.press("Control+z")
    work.steps(0)
    assert shown(page, "rv.edv_ml") == pytest.approx(old_ml, abs=0.051)
    page.keyboard.press("Control+Shift+Z")
    work.steps(1)


def erase_along_a_line(work: Work) -> None:
    """A stroke of the eraser takes the wall only; what lies beside it stays."""
    page, ed = work.page, work.ed
    y, x = (int(v) for v in np.argwhere(work.expected[ed, 2] == Structure.MYOCARDIUM)[10])
    go(page, ed, 2)
    page.keyboard.press("e")
    page.keyboard.press("2")
    page.mouse.move(*work.at(x, y))
    page.mouse.down()
    page.mouse.move(*work.at(x + 12, y), steps=1)
    page.mouse.up()
    work.steps(2)
    _, sy, sx = work.series.image.spacing_mm
    rows, columns = np.indices(work.series.image.voxels.shape[-2:])
    away = np.hypot((rows - y) * sy, (columns - np.clip(columns, x, x + 12)) * sx)
    gone = (away <= 5.5) & (work.expected[ed, 2] == Structure.MYOCARDIUM)
    assert gone.sum() > 50
    work.expected[ed, 2][gone] = 0


def delete_the_base(work: Work) -> float:
    """Delete a slice with much LV at end-diastole; gives the EF that counting voxels gives."""
    page, ed = work.page, work.ed
    base = int(np.flatnonzero((work.before[ed] == Structure.LV).any((1, 2)))[0])
    go(page, ed, base)
    page.keyboard.press("Delete")
    work.steps(3)
    work.expected[ed, base] = 0
    lv_ml = work.ml(work.expected, Structure.LV)
    ef = 100 * (lv_ml.max() - lv_ml.min()) / lv_ml.max()
    assert shown(page, "lv.ejection_fraction_percent") == pytest.approx(ef, abs=0.051)
    assert abs(ef - work.old["lv"]["ejection_fraction_percent"]) > 0.5
    return float(ef)


def test_every_tool_by_keyboard(page: Any, tmp_path: Path) -> None:
    out = analysed(tmp_path)
    series = cine_of(out)
    before = in_view(out, series)
    middle = before.shape[1] // 2
    with serving(out) as server:
        opened(page, server)
        page.keyboard.press("i")
        page.wait_for_selector("body.editing")
        steps = 0

        def did(*keys: str) -> None:
            nonlocal steps
            for key in keys:
                page.keyboard.press(key)
            steps += 1
            page.wait_for_selector(f"body[data-steps='{steps}']")

        did("b", "6", "w", "d", "Enter")
        did("e", "Enter")
        did("Shift+ArrowDown")
        assert f"slice {middle + 2} of 7" in page.locator("#view").get_attribute("aria-label")
        did("Shift+ArrowRight")
        did("Shift+Delete")
        did("Shift+D")
        assert "end-diastole" in page.locator("#view").get_attribute("aria-label")
        assert page.get_attribute("#ed", "aria-pressed") == "true"
        did("Shift+D")
        assert page.get_attribute("#ed", "aria-pressed") == "false"
        did("ArrowRight", "Shift+S")
        for _ in range(steps):
            page.keyboard.press("Control+z")
        page.wait_for_selector("body[data-steps='0']")
        assert page.inner_text("#saved") == ""
        page.keyboard.press("?")
        assert page.is_visible("#help")
        page.keyboard.press("Escape")
        assert not page.is_visible("#help")


def test_fill_push_and_scar_on_the_wall_only(page: Any, tmp_path: Path) -> None:
    out = analysed(tmp_path)
    series = cine_of(out)
    before = in_view(out, series)
    ed, z = json.loads((out / "measurements.json").read_text())["lv"]["ed_frame"], 3
    y, x = (int(v) for v in np.argwhere(before[ed, z] == Structure.LV).mean(0))
    with serving(out) as server:
        opened(page, server)
        page.click("#fit")
        begin(page)
        go(page, ed, z)
        page.keyboard.press("f")
        page.keyboard.press("2")
        page.mouse.click(*place(page, series, x, y))  # the cavity becomes wall
        page.wait_for_selector("body[data-steps='1']")
        key = {"X-Myoscope-Key": page.evaluate("sessionStorage.getItem('key')")}

        def now() -> np.ndarray:
            data = server.ask("GET", f"/api/labels/cine/{ed}", headers=key)[1]
            return np.frombuffer(data, np.uint8).reshape(before.shape[1:])[z]

        filled = now()
        assert (filled[before[ed, z] == Structure.LV] == Structure.MYOCARDIUM).mean() > 0.95
        page.mouse.click(*place(page, series, 0, 0))  # not enclosed
        page.wait_for_selector("#message:has-text('Nothing to fill')")
        page.keyboard.press("Control+z")
        page.wait_for_selector("body[data-steps='0']")
        assert np.array_equal(now(), before[ed, z])

        page.keyboard.press("p")  # push the cavity's border outwards, from within
        page.locator("#size").fill("9")
        page.mouse.move(*place(page, series, x, y))
        page.mouse.down()
        page.mouse.move(*place(page, series, x, 2), steps=8)
        page.mouse.up()
        page.wait_for_selector("body[data-steps='1']")
        pushed = now()
        changed = pushed != before[ed, z]
        assert changed.any() and (pushed[changed] == Structure.LV).all()

        page.keyboard.press("b")
        page.keyboard.press("3")
        page.locator("#size").fill("20")
        row, column = (int(v) for v in np.argwhere(pushed == Structure.MYOCARDIUM)[5])
        page.mouse.click(*place(page, series, column, row))
        page.wait_for_selector("body[data-steps='2']")
        scar = now()
        changed = scar != pushed
        assert changed.any()
        assert (pushed[changed] == Structure.MYOCARDIUM).all() and (scar[changed] == Structure.INFARCT).all()
