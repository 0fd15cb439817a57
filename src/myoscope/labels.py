"""Structures of the heart: their codes in every file myoscope writes, in the data sets, in colour and in SNOMED CT."""

from enum import IntEnum

import numpy as np

from myoscope.errors import InputError


class Structure(IntEnum):
    """What a voxel shows. The value is its code in every label map that myoscope writes."""

    BACKGROUND = 0
    LV = 1
    MYOCARDIUM = 2
    INFARCT = 3
    NO_REFLOW = 4
    EDEMA = 5
    RV = 6

    @property
    def title(self) -> str:
        """Name to show to a person."""
        return _TITLES[self]

    @property
    def colour(self) -> str:
        """Hex colour: Okabe and Ito's palette, told apart by colour-blind readers."""
        return _COLOURS[self]


_TITLES = {
    Structure.BACKGROUND: "background",
    Structure.LV: "LV blood pool",
    Structure.MYOCARDIUM: "LV myocardium",
    Structure.INFARCT: "infarct",
    Structure.NO_REFLOW: "no-reflow",
    Structure.EDEMA: "edema",
    Structure.RV: "RV blood pool",
}

_COLOURS = {
    Structure.BACKGROUND: "#000000",
    Structure.LV: "#D55E00",
    Structure.MYOCARDIUM: "#009E73",
    Structure.INFARCT: "#F0E442",
    Structure.NO_REFLOW: "#CC79A7",
    Structure.EDEMA: "#E69F00",
    Structure.RV: "#56B4E9",
}

LV_WALL = (Structure.MYOCARDIUM, Structure.INFARCT, Structure.NO_REFLOW, Structure.EDEMA)
"""Everything that lies between the LV's endocardium and epicardium."""

SCAR = (Structure.INFARCT, Structure.NO_REFLOW)
"""Infarct as it is reported: no-reflow lies inside an infarct and counts as one."""

ACDC_CODES = {0: Structure.BACKGROUND, 1: Structure.RV, 2: Structure.MYOCARDIUM, 3: Structure.LV}
EMIDEC_CODES = {
    0: Structure.BACKGROUND,
    1: Structure.LV,
    2: Structure.MYOCARDIUM,
    3: Structure.INFARCT,
    4: Structure.NO_REFLOW,
}
MYOPS_CODES = {
    0: Structure.BACKGROUND,
    200: Structure.MYOCARDIUM,
    500: Structure.LV,
    600: Structure.RV,
    1220: Structure.EDEMA,
    2221: Structure.INFARCT,
}
OWN_CODES = {int(s): s for s in Structure}


def to_structures(codes: np.ndarray, code_of: dict[int, Structure], where: str) -> np.ndarray:
    """Label map with myoscope's codes, from a label map with a data set's codes.

    Args:
        codes: Label map of any shape; whole numbers, in any dtype.
        code_of: The data set's code of each structure.
        where: File named in the error.

    Returns:
        Array of the same shape, uint8.

    Raises:
        InputError: a value is not one of the data set's codes.

    >>> to_structures(np.array([0, 1, 3]), ACDC_CODES, "x.nii").tolist()
    [0, 6, 1]
    """
    found = np.unique(codes)
    unknown = sorted(set(found.tolist()) - set(code_of))
    if unknown:
        raise InputError(
            f"{where}: expected label codes {sorted(code_of)}, found {unknown[:5]}; convert the labels to these codes"
        )
    result = np.zeros(codes.shape, np.uint8)
    for code in found:
        result[codes == code] = code_of[int(code)]
    return result
