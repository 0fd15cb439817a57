"""The page in a real browser: play, write DICOM again, two tabs, leaving, a killed server, small windows."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from review_browser import begin, cine_of, opened, saved, shown
from review_world import analysed, serving

pytest.importorskip("starlette", reason="pip install 'myoscope[review]'")
DICIODVFY = shutil.which("dciodvfy")


def test_the_cine_plays_at_its_true_rate(page: Any, tmp_path: Path) -> None:
    out = analysed(tmp_path)
    frame_time_ms = cine_of(out).image.frame_time_ms
    assert frame_time_ms
    with serving(out) as server:
        opened(page, server)
        page.clock.install(time=0)  # the browser's own clock stumbles beside other work
        page.clock.pause_at(3600)
        page.evaluate(
            "window.phases = []; new MutationObserver(() => window.phases.push([performance.now(), "
            "document.getElementById('phase-said').textContent])).observe("
            "document.getElementById('phase-said'), {childList: true, characterData: true, subtree: true})"
        )
        page.keyboard.press("Space")
        page.clock.run_for(10 * frame_time_ms)
        page.keyboard.press("Space")
        seen = page.evaluate("window.phases")
        phases = np.array([int(text.split("/")[0]) for _, text in seen])
        assert len(seen) >= 9 and (np.diff(phases) % 3 == 1).all()
        assert (seen[-1][0] - seen[0][0]) / (len(seen) - 1) == pytest.approx(frame_time_ms, rel=0.02)
        page.clock.run_for(3 * frame_time_ms)
        assert len(page.evaluate("window.phases")) == len(seen)


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


def test_nothing_is_out_of_reach(browser: Any, tmp_path: Path) -> None:
    with serving(analysed(tmp_path)) as server:
        context = browser.new_context(has_touch=True)
        page = opened(context.new_page(), server)
        for width, height in ((1280, 800), (1024, 768), (820, 1180)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for name in ("edit", "save", "view", "play", "tool", "numbers", "grid"):
                page.locator(f"#{name}").scroll_into_view_if_needed()
                box = page.locator(f"#{name}").bounding_box()
                assert box and box["width"] > 20 and box["x"] >= 0 and box["x"] + box["width"] <= width
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, canvas[tabindex], canvas[role]')].filter(e => "
            "!(e.ariaLabel || e.innerText?.trim() || e.labels?.length)).map(e => e.id)"
        )
        assert unnamed == []
        context.close()
