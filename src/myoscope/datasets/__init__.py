"""Data sets, public ones and one's own: each module has `is_case`, `read_study` (no labels) and `read_case`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from myoscope.datasets import acdc, emidec, myops, own
from myoscope.errors import InputError
from myoscope.io.nifti import shown
from myoscope.study import Case

LAYOUTS: dict[str, ModuleType] = {"own": own, "acdc": acdc, "emidec": emidec, "myops": myops}


def layout_of(folder: Path) -> ModuleType | None:
    """The data set module whose layout a case folder (or ROOT/CASE of one's own data) follows, or None."""
    return next((layout for layout in LAYOUTS.values() if layout.is_case(folder)), None)


def case_folders(root: Path) -> list[Path]:
    """Case folders under a data set's root, sorted; the root itself if it is a case.

    Of one's own data the cases of `cases.csv` as ROOT/CASE, whether or not there are such folders.

    Raises:
        InputError: no case of a known layout lies there.
    """
    if own.is_case(root):
        return [root]
    if not root.is_dir():
        raise InputError(f"{shown(root)}: expected a folder with cases, or a case of {own.TABLE}; check the path")
    if own.is_data_set(root):
        return [root / name for name in own.read_table(root)]
    if layout_of(root):
        return [root]
    folders = sorted(path for path in root.iterdir() if path.is_dir() and layout_of(path))
    if not folders and (root / own.TABLE).is_file():
        own.read_table(root)  # says what is wrong with it
    if not folders:
        raise InputError(
            f"{shown(root)}: expected {own.TABLE}, or case folders as in ACDC, EMIDEC or MyoPS, found none"
        )
    return folders


def refuse_twice(names: Sequence[str]) -> None:
    """Refuse cases of one name: their results would stand for each other.

    Raises:
        InputError: a name comes twice.
    """
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"expected every case once in what is given, found {shown(twice)!r} again; rename one")


def read_case(folder: Path) -> Case:
    """Read one labelled case of any known layout."""
    layout = layout_of(folder)
    if layout is None:
        raise InputError(f"{shown(folder)}: expected a case folder as in ACDC, EMIDEC or MyoPS, or ROOT/CASE")
    if layout is own:
        return own.read_case(folder)
    name = next(name for name, module in LAYOUTS.items() if module is layout)
    return replace(layout.read_case(folder), data_set=name)
