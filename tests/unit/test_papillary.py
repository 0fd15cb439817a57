"""Papillary muscles counted as myocardium, against counts by hand."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from myoscope.analysis import judge
from myoscope.cli import app
from myoscope.correction import Before, remeasure
from myoscope.labels import Structure
from myoscope.measure.papillary import muscle_inside
from myoscope.report import render
from myoscope.report.reference import EN_DASH, ranges_for, z_score
from myoscope.study import Patient, Role, Series, Study
from report_pages import Page, heart, volume

VOXEL = 0.0225
MAN = Patient(sex="M", age_years=60, height_cm=180, weight_kg=80)


def cine(blood: float = 300.0, wall: float = 100.0):
    """ED and ES with two papillary muscles of 5 x 5 pixels in slices 2 to 5, one of them at the wall."""
    codes = np.stack([heart(1.0), heart(0.8)])
    rng = np.random.default_rng(0)
    image = np.array([40, blood, wall, 0, 0, 0, 250], np.float32)[codes] + rng.normal(0, 5, codes.shape)
    for t, reach in ((0, 11), (1, 7)):
        for column in (48 - reach, 48 + 3):
            image[t, 2:6, 46:51, column : column + 5] = wall
    labels = volume(codes)
    study = Study("s", MAN, (Series(Role.CINE, "cine", volume(image.astype(np.float32)), ed_frame=0, es_frame=1),))
    return study, {Role.CINE: labels}


def by_hand(study, labels, t):
    """Pixels of muscle: dark, in the cavity, and with cavity on all four sides."""
    image, codes = study.series[0].image.frames[t], labels[Role.CINE].frames[t]
    found = 0
    for z, y, x in np.argwhere(codes == Structure.LV):
        around = [codes[z, y + 1, x], codes[z, y - 1, x], codes[z, y, x + 1], codes[z, y, x - 1]]
        found += image[z, y, x] < 200 and all(code == Structure.LV for code in around)
    return found


def test_dark_pixels_move_from_volume_to_mass():
    study, labels = cine()
    blood, muscle = (judge(study, labels, {}, papillary=kind).measurements for kind in ("blood", "muscle"))
    ed, es = (by_hand(study, labels, t) for t in (0, 1))
    assert min(ed, es) > 4 * 25
    assert muscle.lv.edv_ml == pytest.approx(blood.lv.edv_ml - ed * VOXEL)
    assert muscle.lv.esv_ml == pytest.approx(blood.lv.esv_ml - es * VOXEL)
    assert muscle.lv.mass_g == pytest.approx(blood.lv.mass_g + ed * VOXEL * 1.05)
    assert muscle.lv.sv_ml == pytest.approx(muscle.lv.edv_ml - muscle.lv.esv_ml)
    assert sum(row.lv_ed_ml for row in muscle.slice_volumes) == pytest.approx(muscle.lv.edv_ml)
    assert muscle.base_choices[0].otherwise_ml == pytest.approx(muscle.lv.edv_ml - muscle.slice_volumes[0].lv_ed_ml)
    assert muscle.provenance.papillary == "muscle" and blood.provenance.papillary == "blood"
    assert (muscle.rv, muscle.segments, muscle.slices) == (blood.rv, blood.segments, blood.slices)
    assert muscle.lv.wall_thickness_max_mm == blood.lv.wall_thickness_max_mm
    assert muscle.diagnosis == blood.diagnosis
    assert muscle.quality.missing["lv.edv_ml_interval"].startswith("no interval")
    said = " ".join(muscle.provenance.conventions)
    assert "count as myocardium" in said and "count as blood" not in said
    assert f"({ed * VOXEL * 1.05:.0f} g at end-diastole)" in said


def test_silent_where_blood_is_not_brighter_than_the_wall():
    study, labels = cine(blood=108.0)
    m = judge(study, labels, {}, papillary="muscle").measurements
    assert (m.lv.edv_ml, m.lv.mass_g, m.base_choices) == (None, None, [])
    assert m.lv.wall_thickness_max_mm and m.rv.edv_ml
    assert "cannot be told from blood" in m.quality.missing["lv.edv_ml"]
    assert "cannot be told from blood" in m.quality.missing["base_choices"]
    assert "cannot be told from blood" in Page(render(study, labels, m)).text
    image, codes = study.series[0].image.frames[0], labels[Role.CINE].frames[0]
    muscle, untold = muscle_inside(image, codes)
    assert not muscle.any() and untold == 1


def test_a_phase_that_can_be_told_is_measured_alone():
    study, labels = cine()
    image = study.series[0].image.voxels.copy()
    image[1][labels[Role.CINE].voxels[1] == Structure.LV] = 100
    dark = replace(study, series=(replace(study.series[0], image=study.series[0].image.with_voxels(image)),))
    m = judge(dark, labels, {}, papillary="muscle").measurements
    both = judge(study, labels, {}, papillary="muscle").measurements
    assert (m.lv.edv_ml, m.lv.mass_g, m.lv.esv_ml) == (both.lv.edv_ml, both.lv.mass_g, None)
    assert "100 % of the cavity" in m.quality.missing["lv.ejection_fraction_percent"]
    assert {choice.measurement for choice in m.base_choices} == {"lv.edv_ml", "rv.edv_ml"}


def test_silent_without_a_cine():
    codes = heart(scar=True)
    study = Study("s", MAN, (Series(Role.LGE, "lge", volume(codes.astype(np.float32))),))
    m = judge(study, {Role.LGE: volume(codes)}, {}, papillary="muscle").measurements
    assert m.lv.edv_ml is None and "in a cine alone" in m.quality.missing["lv.edv_ml"]
    assert m.lge.infarct_ml


def test_ranges_follow_the_way_of_counting():
    men = ranges_for("lv.edv_index_ml_m2", "M", "muscle")["M"]
    assert (men.low, men.high) == (46, 104) and "in the mass" in men.source.text
    assert ranges_for("rv.edv_ml", "F", "muscle") == ranges_for("rv.edv_ml", "F")
    assert ranges_for("lv.mass_index_g_m2", "M", "muscle") == {}
    assert z_score("lv.edv_ml", "M", 230, "muscle") is None
    assert all("in the mass" in r.source.text for r in ranges_for("lv.esv_ml", None, "muscle").values())
    study, labels = cine()
    text = Page(render(study, labels, judge(study, labels, {}, papillary="muscle").measurements)).text
    assert "counted in its mass, not in its volumes" in text
    assert f"46{EN_DASH}104" in text and f"52{EN_DASH}117" not in text
    assert "LV mass is not compared with a range" in text


def test_a_correction_keeps_the_way_of_counting():
    study, labels = cine()
    first = judge(study, labels, {}, papillary="muscle").measurements
    again = remeasure(study, labels, Before(first, labels, labels, None)).measurements
    assert again.provenance.papillary == "muscle"
    assert again.lv.edv_ml == first.lv.edv_ml


def test_another_word_is_refused(tmp_path):
    called = CliRunner().invoke(app, ["analyze", str(tmp_path), "-o", str(tmp_path / "o"), "--papillary", "fat"])
    assert called.exit_code == 2
    assert "blood" in called.output and "muscle" in called.output
