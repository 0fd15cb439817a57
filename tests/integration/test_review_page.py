"""The page in a real browser: look, play, paint, undo, delete the base, save; two tabs; leaving; a killed server."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from myoscope.io.read import read_study
from myoscope.labels import Structure
from myoscope.study import Role, Series
from review_world import Server, analysed, labels_on_disk, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install 'myoscope[dev]'")
pytest.importorskip("starlette", reason="pip install 'myoscope[review]'")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-gpu"),
]
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium; apt-get install chromium")
DICIODVFY = shutil.which("dciodvfy")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
    context.close()


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


def saved(page: Any) -> None:
    page.wait_for_selector("#message:has-text('Saved.')", timeout=60_000)


def test_the_cine_plays_at_its_true_rate(page: Any, tmp_path: Path) -> None:
    out = analysed(tmp_path)
    frame_time_ms = cine_of(out).image.frame_time_ms
    assert frame_time_ms
    with serving(out) as server:
        opened(page, server)
        page.evaluate(
            "window.phases = []; new MutationObserver(() => window.phases.push([performance.now(), "
            "document.getElementById('phase-said').textContent])).observe("
            "document.getElementById('phase-said'), {childList: true, characterData: true, subtree: true})"
        )
        page.keyboard.press("Space")
        page.wait_for_timeout(max(2500, 6 * frame_time_ms))
        page.keyboard.press("Space")
        seen = page.evaluate("window.phases")
        phases = np.array([int(text.split("/")[0]) for _, text in seen])
        shown_phases = (np.diff(phases) % 3).sum()
        rate = (seen[-1][0] - seen[0][0]) / shown_phases
        assert rate == pytest.approx(frame_time_ms, rel=0.15)
        count = len(seen)
        page.wait_for_timeout(int(3 * frame_time_ms))
        assert len(page.evaluate("window.phases")) == count


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


def test_dicom_is_written_again_and_valid(page: Any, tmp_path: Path) -> None:
    out = analysed(tmp_path, dicom=True)
    old = {path.name: path.read_bytes() for path in (out / "dicom").iterdir()}
    with serving(out) as server:
        opened(page, server)
        begin(page)
        page.keyboard.press("Delete")
        page.wait_for_selector("body[data-steps='1']")
        page.click("#save")
        saved(page)
    new = {path.name: path.read_bytes() for path in (out / "dicom").iterdir()}
    assert new.keys() == old.keys() and all(new[name] != old[name] for name in old)
    if DICIODVFY is None:
        pytest.skip("dciodvfy is not installed (apt-get install dicom3tools)")
    for path in (out / "dicom").iterdir():
        found = subprocess.run([DICIODVFY, "-new", str(path)], capture_output=True, text=True, check=False)
        remarks = (found.stdout + found.stderr).splitlines()[1:]
        assert [line for line in remarks if not line.endswith("Unrecognized defined term = <99MYOSCOPE>")] == []
        assert found.returncode == 0


def test_a_second_tab_is_told_and_may_take_over(page: Any, tmp_path: Path) -> None:
    with serving(analysed(tmp_path)) as server:
        opened(page, server)
        begin(page)
        with page.expect_popup() as popup:
            page.evaluate("window.open('/')")
        other = popup.value
        other.wait_for_selector("body[data-loaded=cine]")
        assert "Another tab edits this study." in other.inner_text("#banner")
        other.click("#edit")
        assert not other.evaluate("document.body.classList.contains('editing')")
        page.keyboard.press("Delete")
        page.wait_for_selector("body[data-steps='1']")
        other.wait_for_selector("body[data-steps='1']")  # what one does, the other shows
        assert shown(other, "lv.edv_ml") == shown(page, "lv.edv_ml")
        other.click("#takeover")
        other.wait_for_selector("body.editing")
        page.wait_for_selector("body:not(.editing)")
        assert "Another tab took over" in page.inner_text("#banner")
        assert page.is_disabled("#size")
        other.close(run_before_unload=False)
        page.wait_for_selector("#banner", state="hidden")
        begin(page)


def test_leaving_with_unsaved_work_asks(page: Any, tmp_path: Path) -> None:
    with serving(analysed(tmp_path)) as server:
        opened(page, server)
        begin(page)
        page.keyboard.press("Delete")
        page.wait_for_selector("body[data-steps='1']")
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
        page.reload()
        assert asked == ["beforeunload"]
        page.wait_for_selector("body[data-loaded=cine]")
        assert page.inner_text("#saved") == "Not saved"  # nothing is lost by it


def test_a_killed_server_is_told_and_loses_nothing(page: Any, tmp_path: Path) -> None:
    out = analysed(tmp_path)
    with serving(out) as server:
        opened(page, server)
        begin(page)
        page.keyboard.press("Delete")
        page.wait_for_selector("body[data-steps='1']")
        server.process.kill()
        server.process.wait()
        page.wait_for_selector("#told:has-text('The server has ended')")
        assert page.is_disabled("#size")
    page.on("dialog", lambda dialog: dialog.accept())
    with serving(out) as server:
        opened(page, server)
        assert "taken up again: 1" in page.inner_text("#banner")
        assert page.inner_text("#saved") == "Not saved"


def test_a_used_address_shows_nothing(page: Any, tmp_path: Path) -> None:
    with serving(analysed(tmp_path)) as server:
        server.enter()
        page.goto(server.address)
        page.wait_for_selector("#told:has-text('used already')")
        time.sleep(0.2)
        assert page.locator("#numbers tbody tr").count() == 0


@pytest.mark.parametrize("size", [(1280, 800), (1024, 768), (820, 1180)])
def test_nothing_is_out_of_reach(size: tuple[int, int], browser: Any, tmp_path: Path) -> None:
    with serving(analysed(tmp_path)) as server:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 1280)
        page = opened(context.new_page(), server)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for name in ("edit", "save", "view", "play", "tool", "numbers", "grid"):
            page.locator(f"#{name}").scroll_into_view_if_needed()
            box = page.locator(f"#{name}").bounding_box()
            assert box and box["width"] > 20 and box["x"] >= 0
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, canvas[tabindex], canvas[role]')].filter(e => "
            "!(e.ariaLabel || e.innerText?.trim() || e.labels?.length)).map(e => e.id)"
        )
        assert unnamed == []
        context.close()
