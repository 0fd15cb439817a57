"""Whether the sequences of a study lie on top of each other: told by where each shows the heart on its own."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from myoscope.labels import LV_WALL, Structure
from myoscope.study import Note, Role
from myoscope.volume import Spacing

LARGEST_SHIFT_MM = 5.0
"""Half of a wall: beyond it scar on one sequence and edema on another are not the same tissue."""

_NAMES = {Role.LGE: "LGE", Role.T2: "T2", Role.BSSFP: "bSSFP"}


def shift_mm(labels: np.ndarray, other: np.ndarray, spacing_mm: Spacing) -> float | None:
    """How far the LV of one label map lies from that of another, in plane: median over the slices that both show it.

    Args:
        labels: `Structure` codes (Z, Y, X).
        other: The same on the same grid.
        spacing_mm: Of the grid.

    Returns:
        Distance in mm between the centres of what lies within the epicardium; None where fewer than two slices show
        it in both (one, where the grid has but one).
    """
    discs = [np.isin(x, [Structure.LV, *LV_WALL]) for x in (labels, other)]
    slices = [z for z in range(len(labels)) if discs[0][z].any() and discs[1][z].any()]
    if len(slices) < min(2, len(labels)):
        return None
    centres = np.array([[ndimage.center_of_mass(disc[z]) for z in slices] for disc in discs])
    return float(np.median(np.linalg.norm((centres[0] - centres[1]) * spacing_mm[1:], axis=1)))


def alignment_notes(alone: Mapping[Role, np.ndarray], first: Role, spacing_mm: Spacing) -> list[Note]:
    """What a reader must know of sequences that were segmented together.

    Args:
        alone: What each sequence shows on its own: `Structure` codes (Z, Y, X) on the grid of the first.
        first: The sequence on whose grid the joint map lies.
        spacing_mm: Of that grid.
    """
    notes = []
    for role in [role for role in alone if role is not first]:
        shift = shift_mm(alone[first], alone[role], spacing_mm)
        pair = f"{_NAMES[role]} and {_NAMES[first]}"
        if shift is None:
            text = f"Whether {pair} are aligned could not be checked: the heart was not found in both alone."
            notes.append(Note("alignment_unknown", "info", text, role))
        elif shift > LARGEST_SHIFT_MM:
            text = (
                f"{pair} are poorly aligned: the heart lies {shift:.0f} mm apart, more than {LARGEST_SHIFT_MM:.0f} mm. "
                "Scar and edema of the joint map may not belong together."
            )
            notes.append(Note("poor_alignment", "warning", text, role))
    return notes
