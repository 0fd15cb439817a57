"""The impression: plain sentences, each only where its numbers are there and nobody doubts them."""

import re

import pytest

from myoscope.measure.results import (
    T2,
    Diagnosis,
    Flag,
    LeftVentricle,
    Lge,
    PatientFacts,
    Quality,
    SeriesProvenance,
    Ventricle,
)
from myoscope.report import render
from myoscope.report.concerns import warnings_about
from myoscope.report.impression import impression
from report_pages import SPACING, make_measurements, make_segments, make_study, nothing_measured


def flag(code, series="cine", level="warning", message="Look."):
    return Flag(code=code, level=level, series=series, message=message)


def say(**parts):
    return impression(make_measurements(**({"quality": Quality()} | parts)))


def test_sentences_hold_the_numbers_of_the_tables():
    assert say().sentences == (
        "The left ventricle is enlarged (end-diastolic volume 120 ml/m²) and has a reduced ejection fraction (37.5 %).",
        "The right ventricle is of normal size (end-diastolic volume 170 ml) and has a normal ejection fraction "
        "(52.9 %).",
        "The LV wall is up to 9.4 mm thick at end-diastole, thickest in the wall 16 segment (mean of healthy men "
        "8 mm).",
        "LV mass is normal (70 g/m²).",
        "Infarct takes 18.5 % of the LV wall (25 g), its largest shares in the segments wall 17 (96 %), wall 16 "
        "(90 %), wall 15 (84 %), wall 14 (78 %).",
        "No-reflow takes 1.5 % of the LV wall (2.1 g).",
        "Proposed diagnosis: old infarct, reduced LV function (85 %); next, dilated cardiomyopathy (12 %).",
        "From the late enhancement alone: infarct (97 %).",
    )


@pytest.mark.parametrize(
    ("code", "series", "message", "doubted"),
    [
        ("apex_not_labelled", "cine", "Look.", True),
        ("slice_gap_rv", "cine", "Look.", True),
        ("heart_rate_from_frames", "cine", "Look.", False),
        ("few_slices", "lge", "Look.", False),  # the cine leads
    ],
)
def test_a_diagnosis_is_doubted_with_what_it_rests_on(code, series, message, doubted):
    said = say(quality=Quality(flags=[flag(code, series, message=message)])).sentences
    (proposed,) = [sentence for sentence in said if sentence.startswith("Proposed diagnosis")]
    assert proposed.endswith("; a warning is about it.") == doubted


def test_facts_that_two_sources_tell_differently_doubt_what_rests_on_them():
    found = flag("patient_contradicted", None, message="A table contradicts the files: weight_kg 70 in one, 110 in it.")
    m = make_measurements(quality=Quality(flags=[found]))
    assert warnings_about("lv.edv_index_ml_m2", m) and warnings_about("lv.mass_index_g_m2", m)
    assert not warnings_about("lv.cardiac_output_l_min", m) and not warnings_about("lv.edv_ml", m)
    assert not warnings_about("lv.edv_index_ml_m2", make_measurements(quality=Quality(flags=[flag("x", None)])))


@pytest.mark.parametrize(
    ("code", "series", "gone", "kept"),
    [
        ("cut_at_edge", "cine", r"ventricle|LV wall is|mass", "Infarct takes"),
        ("unsure_rv", "cine", "right ventricle", "left ventricle"),
        ("implausible_lv_edv_ml", "cine", "ventricle is enlarged", "left ventricle has a reduced ejection fraction"),
        ("few_slices", "lge", r"Infarct takes|No-reflow", "left ventricle is enlarged"),
        ("segments_by_convention", "lge", "segments? wall", "Infarct takes 18.5 %"),
        ("implausible_patient_bsa_m2", None, "ml/m²|g/m²", "37.5 %"),
    ],
)
def test_a_number_under_a_warning_makes_no_sentence(code, series, gone, kept):
    said = say(quality=Quality(flags=[flag(code, series)]))
    text = " ".join(said.sentences)
    assert not re.search(gone, text)
    assert kept in text
    assert said.doubt == "Look."
    assert bool(said.left_open) == (code != "segments_by_convention")
    assert say(quality=Quality(flags=[flag(code, series, "info")])).sentences == say().sentences


def test_what_is_not_there_is_not_spoken_of():
    assert impression(nothing_measured()).sentences == ()
    alone = say(lv=LeftVentricle(mass_g=116), rv=Ventricle(), lge=Lge(), diagnosis=Diagnosis())
    assert alone.sentences == ("LV mass is 116 g, in an unknown phase of the cycle.",)
    volumes = say(rv=Ventricle(edv_ml=300)).sentences[1]
    assert volumes == "The right ventricle is enlarged (end-diastolic volume 300 ml)."


def test_no_infarct_no_edema_and_small_infarcts():
    nothing = Lge(infarct_percent=0, infarct_g=0, no_reflow_percent=0, no_reflow_g=0)
    said = say(lge=nothing, t2=T2(edema_percent=0, edema_g=0)).sentences
    assert "No infarct is drawn on late enhancement." in said
    assert "No edema is drawn." in said
    assert not any("reflow" in sentence for sentence in said)
    small = Lge(infarct_percent=2.0, infarct_g=3.0, no_reflow_percent=0, no_reflow_g=0)
    said = say(lge=small, segments=make_segments(scar_percent=lambda n: 12.0 if n == 4 else 0.0)).sentences
    assert "Infarct takes 2.0 % of the LV wall (3.0 g), its largest shares in the segment wall 4 (12 %)." in said
    assert "No-reflow is not drawn in it." in said


def test_sex_unknown_says_for_whom_a_value_is_high():
    said = say(patient=PatientFacts(study_id="s", bsa_m2=2.0), lv=LeftVentricle(edv_ml=200, edv_index_ml_m2=110))
    assert said.sentences[0] == "The left ventricle is enlarged for women (end-diastolic volume 110 ml/m²)."


def test_a_volume_that_its_index_contradicts_is_named_beside_it():
    said = say(
        patient=PatientFacts(study_id="s", sex="F", bsa_m2=1.9), lv=LeftVentricle(edv_ml=183, edv_index_ml_m2=97)
    )
    assert (
        said.sentences[0]
        == "The left ventricle is of normal size (end-diastolic volume 97 ml/m²; by its 183 ml alone enlarged)."
    )


def test_a_class_that_does_not_fit_is_no_proposal():
    found = Diagnosis(
        prediction="pathological", probabilities={"pathological": 0.9, "normal": 0.1}, unlike_training=True
    )
    (last,) = [s for s in say(diagnosis=found).sentences if "class" in s]
    assert last == "No class fits: the measurements are unlike those of every class; the nearest is infarct."


def test_a_flag_on_a_joint_map_is_about_all_that_it_speaks_for():
    origin = "compact-myops, one map on the grid of lge; infarct by it and compact-lge, no-reflow by compact-lge"
    series = [
        SeriesProvenance(role=role, files=[], slices=3, frames=1, spacing_mm=SPACING, labels_from=origin)
        for role in ("lge", "t2")
    ]
    t2, quality = T2(edema_percent=40, edema_g=50), Quality(flags=[flag("few_slices", "lge")])
    plain = make_measurements().provenance
    alone = say(t2=t2, quality=quality, provenance=plain.model_copy(update={"series": series[:1]}))
    joint = say(t2=t2, quality=quality, provenance=plain.model_copy(update={"series": series}))
    assert any("Edema" in sentence for sentence in alone.sentences)
    assert not any("Edema" in sentence for sentence in joint.sentences)


def test_doubt_is_the_most_serious_flag_else_what_the_network_is_least_sure_of():
    flags = [flag("a", level="info"), flag("b", message="Second."), flag("c", None, "error", "First.")]
    assert say(quality=Quality(flags=flags)).doubt == "First. (1 more below.)"
    shares = {"cine": {"lv": 0.9, "rv": 0.8}, "lge": {"infarct": 0.6}}
    assert "least sure of the infarct: about 60 %" in (say(quality=Quality(confidence=shares)).doubt or "")
    assert say().doubt is None


def test_the_page_begins_with_it_and_escapes_it():
    study, labels = make_study()
    measured = make_measurements(quality=Quality(flags=[flag("x", None, message="<b>odd</b>")]))
    html = render(study, labels, measured)
    assert html.index("The left ventricle is enlarged") < html.index('class="keys')
    assert "<strong>Main doubt:</strong> &lt;b&gt;odd&lt;/b&gt;" in html
