"""A sample of faults of DICOM studies: right, or null, refused or warned with the cause (all: benchmarks/inputs.py)."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import dicom_faults as faults

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

RIGHT = {
    *("smaller_matrix", "trigger_times_run_on", "rounded_trigger_times", "screenshot", "uids", "bystanders", "copies"),
    *("without_meta_header", "malformed_field", "a_map", "raw_of_a_map", "perfusion", "flow", "derived"),
}
"""Faults that must cost nothing, or only the series that shows something else."""


@pytest.mark.parametrize("fault", [group[0] for group in faults.GROUPS], ids=lambda f: f.__name__)
def test_faults_alone(fault: faults.Fault, tmp_path: Path) -> None:
    draft = faults.drawn(1)
    fault(draft, np.random.default_rng(5))
    draft.faults.append(fault.__name__)
    found = faults.outcome(draft, tmp_path)
    assert found in ({"right"} if fault.__name__ in RIGHT else {"right", "warned", "refused", "null"}), found


@pytest.mark.parametrize("seed", range(5))
def test_faults_together(seed: int, tmp_path: Path) -> None:
    draft = faults.spoil(faults.drawn(1), np.random.default_rng(seed))
    assert not faults.outcome(draft, tmp_path).startswith("WRONG"), draft.faults
