"""Data sets in their official layouts: each module has `is_case`, `read_study` (no labels) and `read_case`."""

from pathlib import Path
from types import ModuleType

from myoscope.datasets import acdc, emidec, myops
from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.study import Case

LAYOUTS: dict[str, ModuleType] = {"acdc": acdc, "emidec": emidec, "myops": myops}


def layout_of(folder: Path) -> ModuleType | None:
    """The data set module whose layout a case folder follows, or None."""
    return next((layout for layout in LAYOUTS.values() if layout.is_case(folder)), None)


def case_folders(root: Path) -> list[Path]:
    """Case folders under a data set's root, sorted; the root itself if it is a case.

    Raises:
        InputError: no case of a known layout lies there.
    """
    if not root.is_dir():
        raise InputError(f"{shown(root)}: expected a folder with cases, found none; check the path")
    if layout_of(root):
        return [root]
    folders = sorted(path for path in root.iterdir() if path.is_dir() and layout_of(path))
    if not folders:
        raise InputError(f"{shown(root)}: expected case folders as in ACDC, EMIDEC or MyoPS, found none")
    return folders


def read_case(folder: Path) -> Case:
    """Read one labelled case of any known layout."""
    layout = layout_of(folder)
    if layout is None:
        raise InputError(f"{shown(folder)}: expected a case folder as in ACDC, EMIDEC or MyoPS")
    return layout.read_case(folder)
