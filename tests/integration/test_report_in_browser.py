"""The report as a real browser shows it, wide and narrow, from a phantom's own labels."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from myoscope.analysis import judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.study import Role

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-gpu", "--hide-scrollbars"),
]
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium; apt-get install chromium")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = draw(sample(11, KEPT_ASIDE, "MINF"), (Role.CINE, Role.LGE), frames=8)
    folder = tmp_path_factory.mktemp("report")
    return judge(case.study, case.labels, {}).save(folder)


def browse(profile: Path, *arguments: str) -> str:
    """Run the browser; it and its children are ended together if they hang."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        try:
            return process.communicate(timeout=90)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def test_the_page_says_what_was_measured(report: Path, tmp_path: Path) -> None:
    page = browse(tmp_path / "profile", "--dump-dom", report.as_uri())
    text = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style.*?</style>", " ", page)).split())
    for expected in ("phantom-11", "ejection fraction", "Research use only", "not a medical device", "Infarct", "ml"):
        assert expected.lower() in text.lower(), expected
    assert "nan" not in text.lower().split()
    assert "None" not in text.split()
    assert "<script" not in page


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_is_not_blank(width: int, report: Path, tmp_path: Path) -> None:
    """Text, grey slices and coloured contours can be seen, and no edge of the page runs out of the window."""
    shot = tmp_path / "shot.png"
    browse(tmp_path / "profile", f"--window-size={width},3000", f"--screenshot={shot}", report.as_uri())
    with Image.open(shot) as image:
        assert image.width == width
        pixels = np.asarray(image.convert("RGB")).astype(int)
    spread = pixels.max(2) - pixels.min(2)
    dark, coloured = (pixels.max(2) < 100).mean(), (spread > 60).mean()
    assert dark > 0.005, "neither text nor images"
    assert coloured > 0.002, "neither contours nor bull's eyes"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert (np.ptp(pixels[:, -3:], axis=1) == 0).mean() > 0.97, "something is cut off at the right edge"


def test_nothing_is_wider_than_a_phone(report: Path, tmp_path: Path) -> None:
    """Only what scrolls in a box of its own may be wider than the window."""
    probe = tmp_path / "probe.html"
    script = (
        "onload=()=>setTimeout(()=>{const d=document.querySelector('iframe').contentDocument.documentElement;"
        "document.title=`width ${d.scrollWidth} of ${d.clientWidth}`},500)"
    )
    probe.write_text(
        f'<iframe src="{report.as_uri()}" style="width:375px;height:2000px"></iframe><script>{script}</script>'
    )
    options = ("--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom")
    page = browse(tmp_path / "profile", *options, probe.as_uri())
    found = re.search(r"width (\d+) of (\d+)", page)
    assert found, page[:2000]
    assert int(found[1]) <= int(found[2])
