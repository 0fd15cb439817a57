"""Experts' label maps of three data sets: ours after translation are taken, wrong conventions are refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from myoscope.datasets import case_folders, read_case
from myoscope.errors import InputError
from myoscope.io.codes import check_geometry
from myoscope.io.label_maps import read_label_maps
from myoscope.io.read import read_study
from myoscope.study import Role

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; set MYOSCOPE_DATA")

WRONG = {
    "ACDC's": ({6: 1, 2: 2, 1: 3, 3: 2, 4: 2, 5: 2}, "--codes acdc"),
    "3 is RV": ({1: 1, 2: 2, 6: 3, 3: 2, 4: 2, 5: 2}, "code 3 lies outside"),
    "1 is wall": ({2: 1, 3: 1, 4: 1, 5: 1, 1: 2, 6: 6}, "is a ring"),
    "no cavity": ({2: 2, 3: 3, 4: 4, 5: 5, 6: 6}, "no LV cavity|fills the cavity"),
}


@pytest.mark.parametrize("name", ["acdc", "emidec", "myops"])
def test_every_tenth_case(name: str) -> None:
    for folder in case_folders(DATA / name)[::10]:
        for labels in read_case(folder).labels.values():
            check_geometry(labels.frames, labels.spacing_mm, folder.name)
            for wrong, (code_of, said) in WRONG.items():
                if name == "emidec" and wrong == "3 is RV":  # it draws no RV
                    continue
                theirs = np.array([code_of.get(code, 0) for code in range(7)], np.uint8)[labels.frames]
                with pytest.raises(InputError, match=said):
                    check_geometry(theirs, labels.spacing_mm, folder.name)


def test_acdc_labels_in_their_own_codes() -> None:
    folder = DATA / "acdc" / "patient001"
    with pytest.raises(InputError, match="give --codes acdc"):
        read_label_maps(read_study(folder), [str(folder)])
    labels, names = read_label_maps(read_study(folder), [str(folder)], "acdc")
    assert np.array_equal(labels[Role.CINE].voxels, read_case(folder).labels[Role.CINE].voxels)
    assert names[Role.CINE] == ["patient001_frame01_gt.nii.gz", "patient001_frame12_gt.nii.gz"]
