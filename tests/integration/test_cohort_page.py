"""The cohort's page as a real browser shows it: sorted, filtered, a report opened, on a wide and a narrow window."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from myoscope.cohort.page import render
from myoscope.cohort.state import Out

EVIL = "<img src=x onerror=\"document.title='evil'\"></script>"


def rows(count: int) -> list[dict[str, Any]]:
    """Every tenth failed, every third of the others with a warning."""
    found: list[dict[str, Any]] = []
    for i in range(count):
        row: dict[str, Any] = {"study": f"s{i:04d}", "status": "done", "reason": "", "class": "AB"[i % 2]}
        row |= {"patient.sex": "FM"[i % 2], "lv.ejection_fraction_percent": 20.0 + i * 37 % 50, "lv.edv_ml": 100.0 + i}
        if i % 10 == 9:
            row = {"study": f"s{i:04d}", "status": "failed", "reason": f"damaged {EVIL}"}
        elif i % 3 == 0:
            row |= {"quality": {"flags": [{"level": "warning", "message": f"Apex cut off {EVIL}"}]}}
        found.append(row)
    return found


def written(folder: Path, count: int, picture: bytes | None = None) -> Path:
    for row in rows(count):
        (place := folder / "studies" / row["study"]).mkdir(parents=True)
        (place / "report.html").write_text(f"<title>report of {row['study']}</title>")
        if picture:
            (place / "thumbnail.webp").write_bytes(picture)
    (folder / "index.html").write_text(render(Out(folder), rows(count)))
    return folder / "index.html"


def driven(page: Any, index: Path, script: str, width: int = 1280) -> Any:
    """What a script gives that has the page's document as `d`, in a window of this width."""
    page.set_viewport_size({"width": width, "height": 1500})
    page.goto(index.as_uri())
    return page.evaluate(
        "() => {const d=document;"
        "const cell=(n)=>[...d.querySelectorAll('#rows tr')].map(r=>r.children[n].textContent);"
        "const put=(id,v)=>{const e=d.getElementById(id);e.value=v;e.dispatchEvent(new Event('input'))};"
        "const click=(t)=>[...d.querySelectorAll('th button')].find(b=>b.textContent.startsWith(t)).click();"
        f"{script}}}"
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("page"), 250)


def test_the_doubtful_stand_first_and_nothing_of_a_file_is_markup(page: Any, index: Path) -> None:
    found = driven(
        page,
        index,
        "return {rows: cell(1), says: d.querySelector('#rows .says').textContent, title: d.title, "
        "images: d.querySelectorAll('#rows img').length, count: d.getElementById('count').textContent}",
    )
    assert found["count"] == "250 of 250" and len(found["rows"]) == 100
    failed = [f"s{i:04d}" for i in range(9, 250, 10)]
    assert found["rows"][:25] == failed
    assert all(int(name[1:]) % 3 == 0 for name in found["rows"][25:])
    assert EVIL in found["says"] and found["images"] == 0 and found["title"] == "Cohort: 225 studies"


def test_it_sorts_filters_and_shows_more(page: Any, index: Path) -> None:
    found = driven(
        page,
        index,
        "click('LV EDV');const up=cell(5);click('LV EDV');const down=cell(5);"
        "put('find','s001 apex');const words=cell(1);"
        "put('find','');put('show','failed');const failed=cell(1).length;put('show','');put('group','B');"
        "const group=cell(2);put('group','');d.getElementById('more').click();"
        "return {up, down, words, failed, group, more: cell(1).length, "
        "link: d.querySelector('#rows a').getAttribute('href'), sort: d.querySelector('th[aria-sort]').textContent}",
    )
    numbers = [float(value) for value in found["up"]]
    assert numbers == sorted(numbers) and numbers[0] == 100
    assert float(found["down"][0]) == 348
    assert sorted(found["words"]) == ["s0012", "s0015", "s0018"]
    assert found["failed"] == 25 and set(found["group"]) == {"B"} and found["more"] == 200
    assert found["sort"].startswith("LV EDV")
    assert (index.parent / found["link"]).read_text() == f"<title>report of {found['link'].split('/')[1]}</title>"


def test_nothing_is_wider_than_a_phone(page: Any, index: Path) -> None:
    found = driven(
        page,
        index,
        "const e=d.documentElement;return {width: e.scrollWidth, window: e.clientWidth, "
        "sort: getComputedStyle(d.querySelector('.narrow')).display, "
        "order: d.getElementById('order').selectedOptions[0].textContent}",
        width=400,
    )
    assert found["width"] <= found["window"] <= 400 and found["sort"] != "none" and found["order"] == "To look at"


def test_the_head_of_the_table_stays_in_sight(page: Any, index: Path) -> None:
    found = driven(
        page,
        index,
        "const box=d.querySelector('.box');box.scrollTop=1000;const top=box.getBoundingClientRect().top;"
        "return {scrolled: box.scrollTop, head: d.querySelector('thead th').getBoundingClientRect().top - top}",
    )
    assert found["scrolled"] == 1000 and abs(found["head"]) < 2


def test_two_thousand_rows_open(page: Any, tmp_path: Path) -> None:
    """With pictures; how fast stands in docs/results/cohort.md, here only that it is no matter of minutes."""
    start = time.monotonic()
    index = written(tmp_path, 2000, os.urandom(5000))
    assert index.stat().st_size < 20e6
    assert driven(page, index, "return d.getElementById('count').textContent") == "2000 of 2000"
    assert time.monotonic() - start < 60
