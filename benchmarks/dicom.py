"""How long a study of 1,000 DICOM instances takes to read and sort: headers only, then the pixels of what is used.

Prints seconds of wall clock and of processor; run it on an idle machine. A synthetic study only.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from myoscope.datasets.phantom import draw, sample
from myoscope.io.dicom.read import read_dicom, sort_study

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicom_writer import write_dicom

INSTANCES, RUNS = 1000, 5


def main() -> None:
    parameters = sample(1)
    slices = len(draw(parameters, frames=1).study.series[0].image.frames[0])
    frames = INSTANCES // slices
    with tempfile.TemporaryDirectory() as folder:
        write_dicom(draw(parameters, frames=frames).study, Path(folder), "interleaved")
        count = len(list(Path(folder).iterdir()))
        for what, work in (("sorted", sort_study), ("read with pixels", read_dicom)):
            walls, processor = [], time.process_time()
            for _ in range(RUNS):
                start = time.perf_counter()
                work(Path(folder))
                walls.append(time.perf_counter() - start)
            used = (time.process_time() - processor) / RUNS
            middle = statistics.median(walls)
            print(f"{count} instances {what}: {middle:.2f} s, {used:.2f} s of one processor ({RUNS} runs)")


if __name__ == "__main__":
    main()
