"""The paper's Figure 2: two slices of two subjects with the labels that the automatic segmentation gives."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from myoscope.datasets.emidec import CLASSES
from myoscope.lab.metrics import dice
from myoscope.lab.panels import Line, phantoms, with_most, write_panels
from myoscope.labels import SCAR, Structure
from myoscope.study import Case, Role
from myoscope.systems.doc_net.segmentation import Model

SUBJECTS, SLICES = 2, 2
PHANTOM_SEED = 5


def write_phantoms(model: Model, path: Path) -> None:
    """A fold model on synthetic hearts that no training sees: safe to publish."""
    lines: list[Line] = []
    for case in phantoms(SUBJECTS, PHANTOM_SEED):
        found = model.predict(case.study)[Role.LGE].frames[0]
        lines += [(case, z, {"automatic": found}) for z in with_most(case, SCAR, SLICES)]
    write_panels(lines, path)


def write_patients(automatic: Sequence[Case], expert: Sequence[Case], path: Path) -> None:
    """A normal patient and the one with the middling Dice of scar, out of fold. Not for the repository."""
    scored = []
    for a, b in zip(automatic, expert, strict=True):
        found, truth = (case.labels[Role.LGE].frames[0] for case in (a, b))
        scored.append((dice(np.isin(found, SCAR), np.isin(truth, SCAR)), b, found))
    lines: list[Line] = []
    for group in CLASSES:
        some = sorted((s for s in scored if s[1].group == group), key=lambda s: (s[0], s[1].id))
        _, case, found = some[len(some) // 2]
        shown = SCAR if group == CLASSES[1] else (Structure.LV,)
        lines += [(case, z, {"automatic": found}) for z in with_most(case, shown, SLICES)]
    write_panels(lines, path)
