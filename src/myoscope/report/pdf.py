"""The report as PDF, printed by the Chromium or Chrome of this machine: nothing more to install with the package."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from myoscope.errors import InputError
from myoscope.files import write_whole

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
"""Programs that print without a window, by their names on the path."""

LIMIT_S = 180
"""A browser that takes longer has hung."""


def find_browser() -> str:
    """The browser that prints.

    Raises:
        InputError: this machine has none.
    """
    if found := next((path for name in BROWSERS if (path := shutil.which(name))), None):
        return found
    raise InputError(
        "--pdf: expected Chromium or Chrome on the path, found none; install one, or print report.html from a browser"
    )


def write_pdf(report: Path, browser: str) -> None:
    """Print a report beside itself.

    Args:
        report: The HTML file.
        browser: From `find_browser`.

    Raises:
        InputError: the browser fails, hangs, or prints nothing.
    """
    as_root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []  # Chromium refuses root otherwise
    with tempfile.TemporaryDirectory(prefix="myoscope-pdf-", ignore_cleanup_errors=True) as folder:
        printed = Path(folder) / "report.pdf"
        call = [
            *(browser, "--headless", "--disable-gpu", "--no-pdf-header-footer", "--no-first-run", *as_root),
            *(f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}", report.resolve().as_uri()),
        ]
        try:
            subprocess.run(call, check=True, capture_output=True, timeout=LIMIT_S)
            write_whole(report.with_suffix(".pdf"), printed.read_bytes())
        except (OSError, subprocess.SubprocessError):
            raise InputError(
                f"--pdf: expected a PDF from {Path(browser).name}, found none; {report.name} is "
                "written, print it from a browser"
            ) from None
