"""Training phantoms: drawn once and kept in the user's cache folder, lossless, as plain arrays.

What is kept is found by what decides it: the code that draws, the words that say what is drawn, and the seed. Another
version of the code draws anew. The folder may be deleted at any time.
"""

import inspect
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np

from myoscope import datasets
from myoscope.console import each
from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.lab.cache import packed, read_cache
from myoscope.study import Case
from myoscope.volume import Volume


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/myoscope, ~/.cache/myoscope where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "myoscope"


def kept_phantoms(what: str, count: int, one: Callable[[int], Case], *made_by: Callable[..., object]) -> list[Case]:
    """Cases of the seeds from 0 on; each is drawn where it is not kept yet.

    Args:
        what: What decides a phantom beside its seed and the code, in words.
        count: How many.
        one: Draws the phantom of a seed.
        made_by: Functions outside of `datasets.phantom*` that it draws with: their text is part of the version.
    """
    folder = cache_folder() / f"phantoms-{_version(what, one, *made_by)}"
    return [_kept(folder / f"{seed}.npz", one, seed) for seed in each(range(count), f"phantoms, kept in {folder}")]


def _version(what: str, *made_by: Callable[..., object]) -> str:
    files = sorted(Path(datasets.__file__).parent.glob("phantom*.py"))
    texts = [*(path.read_text(encoding="utf-8") for path in files), *map(inspect.getsource, made_by)]
    return sha256("\n".join([what, np.__version__, *texts]).encode()).hexdigest()[:12]


def _kept(path: Path, one: Callable[[int], Case], seed: int) -> Case:
    if path.is_file():
        with suppress(InputError):  # damaged: drawn anew
            return read_cache(path)[0]
    case = one(seed)
    with suppress(OSError):  # no room or no right to write: drawn again the next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, packed([case], _lossless))
    return case


def _lossless(image: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """An image of whole numbers as uint16, any other as it is."""
    whole = image.voxels.astype(np.uint16)
    return (image.with_voxels(whole) if np.array_equal(whole, image.voxels) else image), labels
