"""What the extra `cohort` brings."""

from contextlib import AbstractContextManager

from myoscope import console

PACKAGES = ("dask", "distributed", "dask_jobqueue", "pandas", "pyarrow", "psutil")


def needed(command: str) -> AbstractContextManager[None]:
    """See `console.needed`."""
    return console.needed(command, "cohort", PACKAGES)
