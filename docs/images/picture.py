"""Make the README's picture from the report of `make demo`, synthetic by nature: `make picture`.

Needs chromium and poppler's pdftotext and pdftoppm. Never run it on a patient's report.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-pdf-header-footer"),
)
HEADINGS = ("Summary", "Ventricular volumes", "Segments of the left ventricle", "Short-axis slices")
GAP = 12


def picture(report: Path) -> Image.Image:
    """The printed report's pages with these headings, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        pdf = Path(folder) / "report.pdf"
        subprocess.run(["chromium", *FLAGS, f"--print-to-pdf={pdf}", report.resolve().as_uri()], check=True)
        texts = subprocess.run(["pdftotext", pdf, "-"], check=True, capture_output=True, text=True).stdout.split("\f")
        subprocess.run(["pdftoppm", "-r", "72", "-png", pdf, Path(folder) / "page"], check=True)
        every = [Image.open(path).convert("RGB") for path in sorted(Path(folder).glob("page*.png"))]
        pages = [every[next(i for i, text in enumerate(texts) if heading in text)] for heading in HEADINGS]
    width, height = pages[0].size
    sheet = Image.new("RGB", (len(pages) * (width + GAP) + GAP, height + 2 * GAP), "#d0d4d8")
    for i, page in enumerate(pages):
        sheet.paste(page, (GAP + i * (width + GAP), GAP))
    if not ImageChops.invert(pages[0].convert("L")).getbbox():
        raise SystemExit(f"{report}: the printed report is blank")
    return sheet


if __name__ == "__main__":
    picture(Path(sys.argv[1])).quantize(128).save(Path(__file__).with_name("demo-report.png"), optimize=True)
