"""What the extra `cohort` brings, and what is said where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from myoscope.errors import InputError

PACKAGES = ("dask", "distributed", "dask_jobqueue", "pandas", "pyarrow", "psutil")


@contextmanager
def needed(command: str) -> Iterator[None]:
    """Say which package is missing, and how to get it.

    Raises:
        InputError: one of the extra's packages is not installed.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").split(".")[0] not in PACKAGES:
            raise
        raise InputError(
            f"{command}: expected the package {error.name}, found none; pip install 'myoscope[cohort]'"
        ) from None
