"""Files that are whole or not there."""

import io
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file beside its place first, under a name that nobody else writes to, and rename it when it is whole."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_native_id()}.part")
    part.write_bytes(data.encode() if isinstance(data, str) else data)
    part.replace(path)


def write_arrays(path: Path, arrays: Mapping[str, "np.ndarray"]) -> None:
    """Arrays by name as a compressed .npz, whole or not there."""
    import numpy as np

    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    write_whole(path, packed.getvalue())
