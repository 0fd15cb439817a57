"""What report and methods say of who drew what, of a mass without a phase, and of sizes that no heart has."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from myoscope.analysis import judge
from myoscope.errors import InputError
from myoscope.io.read import read_study
from myoscope.measure.intervals import STRETCHED
from myoscope.measure.results import LeftVentricle, Quality, SeriesProvenance
from myoscope.report import render
from myoscope.study import Role, Study
from myoscope.volume import Volume
from report_pages import SPACING, Page, make_measurements, make_study


def series(role="lge", labels_from="cascade.small", sha="0" * 64, changed=None):
    return SeriesProvenance(
        role=role,
        files=[],
        slices=1,
        frames=1,
        spacing_mm=SPACING,
        labels_from=labels_from,
        weights_sha256=sha,
        changed_voxels=changed,
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([series()], "Made by a program; nobody has confirmed it."),
        ([series(), series("t2", "not segmented", None)], "Made by a program; nobody has confirmed it."),
        ([series(changed=5)], "its contours changed by a person in places."),
        ([series(), series("cine", "file sax_seg.nii.gz", None)], "its contours changed by a person in places."),
        ([series("cine", "drawn by hand", None)], "Measured by a program in contours that were given to it"),
    ],
)
def test_the_head_says_who_drew_the_contours(found, said):
    study, labels = make_study(roles=(Role.LGE,))
    provenance = make_measurements().provenance.model_copy(update={"series": found})
    assert said in Page(render(study, labels, make_measurements(provenance=provenance))).text


@pytest.mark.parametrize(
    ("conventions", "whose"),
    [([], "of the data sets that the networks learned from"), ([f"{STRETCHED}here."], "as this site's readers draw")],
)
def test_whose_patients_an_interval_is_made_for_is_said(conventions: list[str], whose: str) -> None:
    study, labels = make_study(roles=(Role.CINE,))
    lv = LeftVentricle(edv_ml=90, edv_ml_interval=(80, 100), mass_g=100, ed_frame=0)
    provenance = make_measurements().provenance.model_copy(update={"conventions": conventions})
    assert (
        f"90 of 100 patients {whose}"
        in Page(render(study, labels, make_measurements(lv=lv, provenance=provenance))).text
    )


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({"labels_from": "net", "weights_sha256": "0"}, "segmented by a network, not"),
        (
            {"labels_from": "net", "weights_sha256": "0", "changed_voxels": 3},
            "a network, then changed by a person, not",
        ),
        ({"labels_from": "file x.nii"}, "as the given contours have it, not"),
    ],
)
def test_methods_say_who_drew_the_infarct(origin, said):
    study, labels = make_study(roles=(Role.LGE,))
    conventions = judge(study, labels, {Role.LGE: origin}).measurements.provenance.conventions
    assert any(said in one for one in conventions)
    assert not any("LV mass" in one for one in conventions)


def test_a_mass_from_one_frame_of_an_unknown_phase_is_not_called_end_diastolic():
    study, labels = make_study(roles=(Role.BSSFP,))
    measured = judge(study, labels, {Role.BSSFP: {"labels_from": "net"}}).measurements
    assert measured.lv.mass_g
    text = Page(render(study, labels, measured)).text
    assert "end-diastole." not in text
    assert "which phase of the cycle it shows is not known" in text
    assert "LV to RV volume, end-diastole" in text and "lV" not in text
    study, labels = make_study()
    cards = render(study, labels, make_measurements(lv=LeftVentricle(mass_g=100, edv_ml=90), quality=Quality()))
    assert "<dt>LV mass, phase unknown</dt>" in cards
    known = LeftVentricle(mass_g=100, edv_ml=90, ed_frame=0)
    assert "<dt>LV mass</dt>" in render(study, labels, make_measurements(lv=known))


def _write(path: Path, pixel_mm: float, apart_mm: float) -> Path:
    voxels = np.random.default_rng(0).integers(0, 100, (64, 64, 8)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([pixel_mm, pixel_mm, apart_mm, 1.0])), path)
    return path


@pytest.mark.parametrize(("pixel_mm", "apart_mm", "what"), [(16, 8, "1024 mm"), (1.6, 80, "80 mm")])
def test_a_spacing_ten_times_too_large_is_refused(pixel_mm, apart_mm, what, tmp_path):
    assert read_study(_write(tmp_path / "lge.nii", 1.6, 8)).series
    with pytest.raises(InputError, match=f"lge.*found {what}.*repair the spacing") as error:
        read_study(_write(tmp_path / "lge.nii", pixel_mm, apart_mm))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("times", "flagged"), [((1, 1), False), ((3, 1), True), ((1, 3), True), ((1, 0.1), True)])
def test_a_heart_of_a_size_that_none_has_is_flagged(times, flagged):
    study, labels = make_study(roles=(Role.LGE,))
    along, within = times
    affine = study.series[0].image.affine @ np.diag([within, within, along, 1.0])
    one = replace(study.series[0], image=Volume(study.series[0].image.voxels, affine))
    found = judge(Study("x", study.patient, (one,)), {Role.LGE: Volume(labels[Role.LGE].voxels, affine)}, {})
    codes = [flag.code for flag in found.measurements.quality.flags if flag.level == "warning"]
    assert ("heart_size" in codes) == flagged
