"""The study that the examples of python.md read: the demo's, in a folder of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Draw it, and go to where it lies."""
    from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
    from myoscope.io.save import write_study

    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("docs"))
    write_study(draw(sample(11, KEPT_ASIDE, "MINF")).study, Path("out/demo/study"))
    yield
    os.chdir(here)
