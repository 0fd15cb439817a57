"""Many studies: found, analysed on Dask, none lost, one table; and how well that agrees with a site's own readers.

`myoscope.cohort(paths, out)` runs one: this module can be called, because the function has its name.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, paths: Sequence[Path | str] | Path | str, out: Path | str, **options: Any) -> Any:
        """Analyse a cohort into OUT, as `myoscope cohort` does; gives its table as a pandas frame.

        Args:
            paths: Where studies lie; one path or several.
            out: The folder to write into.
            options: See `myoscope.cohort.run.Options`.

        Raises:
            InputError: the paths, the options, OUT or the disk cannot be used.
        """
        from myoscope.cohort.packages import needed

        with needed("cohort"):
            from myoscope.cohort.run import Options, run
            from myoscope.cohort.table import read_frame

            given = [paths] if isinstance(paths, Path | str) else paths
            run([Path(path) for path in given], Path(out), Options(**options))
            return read_frame(Path(out))


sys.modules[__name__].__class__ = _Callable
