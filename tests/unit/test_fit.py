"""Labels, image and header that contradict each other: each gives its warning, a good heart none."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from myoscope.io.read import read_study
from myoscope.measure.anatomy import find_anatomy
from myoscope.measure.fit import TO_APEX, TO_RV, fit_flags
from myoscope.study import Role
from myoscope.volume import Volume

SPACING = (8.0, 1.0, 1.0)


def usual_affine(spacing=SPACING):
    """Slices from base to apex, the RV on the left of the screen: as hearts lie."""
    axes = np.stack([-TO_RV, np.cross(TO_APEX, -TO_RV), TO_APEX], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing[::-1]
    return affine


def codes(labels, affine, image=None, role=Role.CINE, spacing=SPACING):
    signal = np.array([30, 220, 80, 80, 80, 80, 210], float)[labels] if image is None else image
    heart = find_anatomy(labels, spacing)
    return {flag.code for flag in fit_flags(role, [heart], Volume(signal, affine), [0])}


def test_a_heart_as_hearts_lie_has_no_warning(ring_heart):
    affine = usual_affine()
    assert codes(ring_heart().labels(), affine) == set()
    turned_over = affine @ np.diag([1, 1, -1, 1])  # stored from the apex on
    assert codes(ring_heart(base_first=False).labels(), turned_over) == set()


def test_mirrored_and_turned_images_are_told_by_their_header(ring_heart):
    labels, affine = ring_heart().labels(), usual_affine()
    for turned in (labels[::-1], labels[..., ::-1], labels[:, ::-1, ::-1]):
        assert codes(turned, affine) == {"heart_turned"}
    plain = np.diag([1.0, 1, 8, 1])  # nobody measured it: it says nothing
    assert codes(labels[::-1], plain) == codes(labels[..., ::-1], plain) == set()
    assert codes(ring_heart(rv=False).labels()[..., ::-1], affine) == set()


def test_contours_beside_the_heart(ring_heart):
    labels = ring_heart().labels()
    image = np.array([30, 220, 80, 80, 80, 80, 210], float)[np.roll(labels, 50, 1)]
    assert "contours_off_image" in codes(labels, np.diag([1.0, 1, 8, 1]), image)
    assert "contours_off_image" not in codes(labels, np.diag([1.0, 1, 8, 1]), image, Role.LGE)  # blood may be dark


def test_contours_of_the_mirror_image(ring_heart):
    """A header copied onto turned voxels (ITK-SNAP 87): on LGE nothing else tells."""
    labels = ring_heart(centre_mm=(44.0, 64.0)).labels()
    noise = np.random.default_rng(0).normal(0, 20, labels.shape)
    image = np.array([60, 120, 40, 160, 30, 90, 120], float)[labels] + noise
    plain = np.diag([1.0, 1, 8, 1])
    assert codes(labels, plain, image, Role.LGE) == set()
    for turned in (labels[..., ::-1], labels[:, ::-1], labels[:, ::-1, ::-1], labels[::-1]):
        assert codes(turned, plain, image, Role.LGE) == {"contours_mirrored"}
    assert codes(labels, plain, noise, Role.LGE) == set()


def test_pixel_spacing_that_makes_the_heart_oval(ring_heart):
    labels = ring_heart().labels()
    assert codes(labels, np.diag([1.0, 1, 8, 1]), spacing=(8.0, 1.0, 1.4)) == set()
    assert codes(labels, np.diag([1.0, 1, 8, 1]), spacing=(8.0, 1.0, 1.6)) == {"not_round"}


@pytest.mark.parametrize(
    ("kind", "code"), [("twice", "slices_alike"), ("blank", "slices_blank"), ("still", "frames_alike")]
)
def test_planes_that_are_there_twice_or_not_at_all(kind: str, code: str, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(1, 900, (24, 20, 6, 2)).astype(np.int16)
    voxels[:, :, 0] = 0  # padding at the end of the stack is none
    good = voxels.copy()
    if kind == "twice":
        voxels[:, :, 4] = voxels[:, :, 3]
    elif kind == "blank":
        voxels[:, :, 3] = 0
    else:
        voxels[..., 1] = voxels[..., 0]
    for name, data in (("good", good), (kind, voxels)):
        nib.save(nib.Nifti1Image(data, np.diag([1.5, 1.5, 8, 1])), tmp_path / f"{name}_cine.nii.gz")
    noted = {name: read_study(tmp_path / f"{name}_cine.nii.gz").notes for name in ("good", kind)}
    assert [note.code for note in noted["good"]] == []
    assert [(note.code, note.level) for note in noted[kind]] == [(code, "warning")]
