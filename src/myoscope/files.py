"""Files that are whole or not there."""

from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file beside its place first, and rename it when it is whole."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data.encode() if isinstance(data, str) else data)
    part.replace(path)
