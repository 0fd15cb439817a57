"""Each fault of NIfTI studies, and a few together: right, or refused or warned with the cause."""

from pathlib import Path

import numpy as np
import pytest

import nifti_faults as faults


@pytest.mark.parametrize("fault", [fault for group in faults.GROUPS for fault in group], ids=lambda f: f.__name__)
def test_each_fault_alone(fault: faults.Fault, tmp_path: Path) -> None:
    draft = faults.drawn(1)
    fault(draft, np.random.default_rng(5))
    found = faults.outcome(draft, tmp_path)
    assert found in ({"right", "warned", "refused"} if draft.causes else {"right"}), found


@pytest.mark.parametrize("seed", range(6))
def test_faults_together(seed: int, tmp_path: Path) -> None:
    draft = faults.spoil(faults.drawn(1), np.random.default_rng(seed))
    assert not faults.outcome(draft, tmp_path).startswith("WRONG"), draft.faults
