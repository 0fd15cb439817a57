"""Files that are whole or not there, whoever else writes them at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np

from myoscope.files import write_arrays, write_whole


def test_two_who_write_one_file_at_once_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    begin, path = Barrier(2), tmp_path / "answer.bin"

    def write(letter: bytes) -> None:
        begin.wait()
        for _ in range(50):
            write_whole(path, letter * 100_000)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (b"a", b"b")))
    assert path.read_bytes() in (b"a" * 100_000, b"b" * 100_000)
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_come_back(tmp_path: Path) -> None:
    write_arrays(tmp_path / "masks.npz", {"set/case 1": np.eye(3, dtype=bool), "other": np.arange(4)})
    with np.load(tmp_path / "masks.npz") as kept:
        assert kept.files == ["set/case 1", "other"]
        assert (kept["set/case 1"] == np.eye(3)).all() and (kept["other"] == range(4)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["masks.npz"]
