"""The report: a page that is whole, safe and true to the measurements it is given."""

import re
from dataclasses import replace

import numpy as np
import pytest

from myoscope.measure.results import (
    START,
    Diagnosis,
    Evidence,
    Flag,
    LeftVentricle,
    PatientFacts,
    Provenance,
    Quality,
    SeriesDiagnosis,
    SeriesProvenance,
    Ventricle,
)
from myoscope.report import render
from myoscope.report.bullseye import plot, wedge
from myoscope.report.figures import base_to_apex
from myoscope.study import Patient, Role, Series, Study
from myoscope.volume import Volume
from report_pages import (
    EVIL,
    SIZE,
    SPACING,
    Page,
    make_measurements,
    make_segments,
    make_study,
    nothing_measured,
    volume,
)


def test_page_nests_and_ids_are_unique(page):
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.ids) == len(set(page.ids))
    links = [a["href"][1:] for t, a in page.tags if t in ("a", "use") and a["href"].startswith("#")]
    assert links and set(links) <= set(page.ids)
    labels = [a["for"] for a in page.all("label")]
    assert set(labels) <= set(page.ids)


def test_page_is_self_contained_and_small(html, page):
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on") or name in ("srcset", "action", "data")]
        assert "src" not in attrs or (tag == "img" and attrs["src"].startswith("data:image/webp;base64,"))
        if "href" in attrs and tag != "a":
            assert attrs["href"].startswith(("data:image/", "#"))
        if tag == "a" and not attrs["href"].startswith("#"):
            assert attrs["href"].startswith("https://doi.org/")
    assert not re.search(r"@import|url\((?!#)", html)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert len(html) < 1_500_000


def test_same_input_gives_the_same_page(html):
    study, labels = make_study()
    assert render(study, labels, make_measurements()) == html


def test_notice_and_date(page):
    assert page.text.count("Research use only. Not a medical device.") == 2
    assert "Analysed 2025-05-01 10:12 UTC" in page.text


def test_every_text_from_files_is_escaped():
    study, labels = make_study(id=EVIL, roles=(Role.LGE,))
    series = Series(Role.LGE, EVIL, study.series[0].image)
    measurements = make_measurements(
        patient=PatientFacts(study_id=EVIL, clinical={EVIL: EVIL}),
        segments=make_segments(),
        diagnosis=Diagnosis(
            prediction=EVIL, probabilities={EVIL: 1.0}, evidence=[Evidence(measurement=EVIL, value=1.0, weight=1.0)]
        ),
        quality=Quality(
            flags=[Flag(code=EVIL, level="error", series=EVIL, message=EVIL)],
            missing={EVIL: EVIL, "lv.edv_ml": EVIL, "segments": EVIL, "diagnosis": EVIL},
        ),
        provenance=Provenance(
            myoscope_version=EVIL,
            created_utc=EVIL,
            series=[
                SeriesProvenance(
                    role=EVIL,
                    files=[EVIL],
                    slices=1,
                    frames=1,
                    spacing_mm=SPACING,
                    labels_from=EVIL,
                    weights_sha256=EVIL,
                    weights_licence=EVIL,
                )
            ],
            conventions=[EVIL],
            notice=EVIL,
        ),
    )
    html = render(Study(EVIL, Patient(), (series,)), labels, measurements)
    page = Page(html)
    assert "<script" not in html and not page.all("script")
    assert page.text.count("<script>alert('x')</script>") > 12


def test_characters_that_cannot_be_shown_are_replaced():
    study, labels = make_study(id="a\x00b\u202ec\udc80d", roles=(Role.LGE,))
    html = render(study, labels, make_measurements())
    assert "a\ufffdb\ufffdc\ufffdd" in html
    assert html.encode("utf-8")


@pytest.mark.parametrize("base_first", [True, False])
def test_every_slice_appears_base_to_apex(base_first):
    study, labels = make_study(base_first=base_first)
    page = Page(render(study, labels, make_measurements()))
    slices = [a["aria-label"] for a in page.all("svg", **{"class": "slice"})]
    for title in ("Cine, End-diastole, frame 1 of 6", "Cine, End-systole, frame 4 of 6", "Late gadolinium enhancement"):
        assert [s for s in slices if s.startswith(title)] == [f"{title}, slice {k} of 10" for k in range(1, 11)]
    assert len(page.all("image")) == len(slices) == 30
    order, known = base_to_apex(labels[Role.LGE].frames)
    assert known and order == (list(range(10)) if base_first else list(range(9, -1, -1)))


def test_an_enlarged_slice_has_a_caption_and_its_neighbours(html, page):
    figures = [attrs["id"] for attrs in page.all("figure", **{"class": "panel"})]
    assert len(figures) == 30
    middle = html.split('id="z-1-2-5"')[1].split("</figure>")[0]
    assert re.findall(r'href="#([^"]*)"', middle) == ["z-1-2-5", "z-1-2-4", "row-1-2", "z-1-2-6"]
    caption = " ".join(re.sub("<[^>]*>", "", middle.split("<figcaption>")[1].split("</figcaption>")[0]).split())
    assert caption == "Cine, End-systole, frame 4 of 6, slice 5 of 10"
    assert 'href="#z-1-1-0"' not in html and 'href="#z-1-1-11"' not in html


def test_contours_can_be_hidden_without_script(html, page):
    assert page.all("input", id="show-contours")[0]["type"] == "checkbox"
    assert "#show-contours:not(:checked) ~ .series .contours { display: none; }" in html


@pytest.mark.parametrize("labels", [{}, {Role.CINE: volume(np.zeros((3, SIZE, SIZE), np.uint8))}])
def test_series_without_labels_shows_whole_slices_without_contours(labels):
    study, _ = make_study(roles=(Role.CINE,))
    page = Page(render(study, labels, nothing_measured()))
    assert len(page.all("svg", **{"class": "slice"})) == 20
    assert not page.all("path", **{"class": "under"})
    assert "slices without contours" in page.text
    box = page.all("svg", **{"class": "slice"})[0]["viewbox"]
    assert box == f"0 0 {SIZE * 1.5:.2f} {SIZE * 1.5:.2f}"


@pytest.mark.parametrize(("away_mm", "shown"), [(0, True), (6, True), (900, False)])
def test_contours_of_lge_are_carried_over_to_t2_where_it_shows_the_same(away_mm, shown):
    study, labels = make_study(roles=(Role.LGE, Role.T2))
    lge, t2 = study.series
    affine = t2.image.affine.copy()
    affine[0, 3] += away_mm
    study = Study("two", Patient(), (lge, Series(Role.T2, "t2", Volume(t2.image.voxels, affine))))
    page = Page(render(study, {Role.LGE: labels[Role.LGE]}, nothing_measured()))
    alone = Page(render(Study("one", Patient(), (lge,)), labels, nothing_measured()))
    contours = [len(p.all("path", **{"class": "under"})) for p in (page, alone)]
    assert contours[0] == contours[1] * (2 if shown else 1)
    assert ("Contours carried over by geometry from: Late gadolinium enhancement." in page.text) is shown
    assert ("slices without contours" in page.text) is not shown


def test_a_study_without_series_is_a_page():
    page = Page(render(Study("x", Patient(), ()), {}, nothing_measured()))
    assert "The study has no series." in page.text and not page.all("svg", **{"class": "bullseye"})


def test_bullseye_has_17_segments_and_2_lies_left_of_1(page):
    plots = page.all("svg", **{"class": "bullseye"})
    assert len(plots) == 4  # thickness, thickening, scar, transmurality
    assert [a["data-segment"] for a in page.all("g") if "data-segment" in a] == [str(n) for n in range(1, 18)] * 4
    svg = plot("x", {}, {})
    places = [(float(x), float(y)) for x, y in re.findall(r'<g data-seg.*?<text x="([\d.]+)" y="([\d.]+)"', svg)]
    assert len(places) == 17
    x, y = np.array(places).T
    assert x[1] < x[0] and y[0] < y[1]  # segment 1 at the top, 2 to its left
    assert y[3] == y.max() and y[0] == y.min()  # inferior at the bottom
    assert x[2] < x[3] < x[4]  # 3 left, 5 right
    assert x[13] == x[12:16].min() and x[15] == x[12:16].max()  # septal left, lateral right


def test_wedges_cover_the_disc():
    areas = [(w.outer**2 - w.inner**2) * (w.stop - w.start) / 360 for w in map(wedge, range(1, 18))]
    assert sum(areas) == pytest.approx(100.0**2)


def test_bullseye_prints_values_and_names_what_is_missing(html, page):
    thickness = page.all("svg", **{"class": "bullseye"})[0]["aria-label"]
    assert "1: 6.2, 2: 6.5" in thickness
    assert "Segment 17, wall 17 (LAD): not measured: the tip has no cavity" in html
    assert "Not measured: 17 (the tip has no cavity)." in page.text


def test_flags_come_with_words_and_icons_most_serious_first(page):
    classes = [a["class"] for a in page.all("li", **{"class": "flag"})]
    assert classes == ["flag error", "flag warning", "flag info"]
    icons = [a["href"] for a in page.all("use")]
    assert icons[:3] == ["#icon-error", "#icon-warning", "#icon-info"]
    assert "Error 1 Study Something is wrong." in page.text


def test_diagnosis_shows_probabilities_and_evidence(page):
    assert "Old infarct, reduced LV function" in page.text
    assert "85 %" in page.text and "From LGE alone" in page.text
    assert "LV ejection fraction 37.5 % +2.4 for" in page.text
    assert "\N{MINUS SIGN}0.7 against" in page.text


def test_only_the_evidence_that_weighs_most_is_shown_and_a_lone_series_is_not_repeated():
    evidence = [Evidence(measurement=f"thing {i} (mm)", value=i, weight=i - 5.2) for i in range(12)]
    one = SeriesDiagnosis(prediction="DCM", probabilities={"DCM": 1.0}, evidence=evidence)
    diagnosis = Diagnosis(**one.model_dump(), by_series={"cine": one})
    study, labels = make_study(roles=(Role.LGE,))
    page = Page(render(study, labels, make_measurements(diagnosis=diagnosis)))
    assert "Thing 11 11.0 mm +5.8 for Thing 0 0.0 mm" in page.text
    assert "Thing 5 5.0" not in page.text and "5 more, which weigh less \N{MINUS SIGN}1.0 against" in page.text
    assert "From cine alone" not in page.text


def test_evidence_begins_with_the_average_patient_ends_with_the_sum_and_has_one_scale():
    """A verdict against which every measurement speaks is explained by where it started."""
    evidence = [
        Evidence(measurement="thing (mm)", value=1, weight=-0.1),
        Evidence(measurement=START, value=None, weight=2.4),
        Evidence(measurement="other (mm)", value=2, weight=-50.0),
    ]
    one = SeriesDiagnosis(prediction="DCM", probabilities={"DCM": 1.0}, evidence=evidence)
    study, labels = make_study(roles=(Role.LGE,))
    html = render(study, labels, make_measurements(diagnosis=Diagnosis(**one.model_dump(), by_series={"cine": one})))
    table = html.split('class="bars evidence"')[1].split("</table>")[0]
    assert re.findall(r"width:([\d.]+)%", table) == ["24.0", "50.0", "1.0", "50.0"]
    titles = re.findall(r'<th scope="row">(.*?)</th>', table)
    assert titles == ["Starting point: an average patient of those learned from", "Other", "Thing", "All together"]
    assert "\N{MINUS SIGN}47.7" in table.split("All together")[1]


def test_evidence_names_the_class_it_is_weighed_against_and_what_is_assumed():
    one = SeriesDiagnosis(
        prediction="DCM",
        probabilities={"DCM": 0.8, "MINF": 0.2},
        evidence=[Evidence(measurement="LV ejection fraction (%)", value=20, weight=1.5)],
        runner_up="MINF",
        prevalence={"DCM": 0.4, "MINF": 0.6},
    )
    diagnosis = Diagnosis(**one.model_dump(), by_series={"cine": one})
    study, labels = make_study(roles=(Role.LGE,))
    page = Page(render(study, labels, make_measurements(diagnosis=diagnosis)))
    assert "Dilated cardiomyopathy, against: old infarct, reduced LV function" in page.text
    assert "LV ejection fraction 20.0 % +1.5 for" in page.text
    assert "learned from: dilated cardiomyopathy 40 %, old infarct, reduced LV function 60 %." in page.text
    assert "From cine alone" not in page.text and "Uncertain" not in page.text


def test_a_patient_unlike_the_training_data_has_no_class_for_a_headline():
    one = SeriesDiagnosis(prediction="HCM", probabilities={"HCM": 0.7, "NOR": 0.3}, evidence=[], unlike_training=True)
    diagnosis = Diagnosis(**one.model_dump(), by_series={"cine": one})
    study, labels = make_study(roles=(Role.LGE,))
    html = render(study, labels, make_measurements(diagnosis=diagnosis))
    headlines = re.findall(r'<p class="prediction[^>]*>([^<]*)</p>', html)
    assert headlines == ["Uncertain: unlike the patients of every class"]
    assert "Perhaps none of these. The nearest class is: hypertrophic cardiomyopathy." in Page(html).text


def test_curve_needs_a_whole_cine(page):
    assert "time after the first frame (ms)" in page.text
    assert page.all("svg", **{"class": "chart", "role": "img"})[0]["aria-label"].endswith(
        "Left ventricle, Right ventricle"
    )
    study, labels = make_study(roles=(Role.LGE,))
    lv = LeftVentricle(edv_ml=100, volume_curve_ml=[100, 50])
    assert "time after" not in render(study, labels, make_measurements(lv=lv, rv=Ventricle()))
    lv = LeftVentricle(edv_ml=100, volume_curve_ml=[0.0] * 25)
    unknown_time = render(study, labels, make_measurements(lv=lv, rv=Ventricle()))
    assert ">frame</text>" in unknown_time


def test_clinical_values_stand_as_found_in_a_readers_words():
    study, labels = make_study(roles=(Role.LGE,))
    facts = {"Troponin": "7,4", "FEVG": "45", "Killip Max": "1", "ECG (ST +)": "Y", "Tobacco": "2", "Dialysis": "<b>"}
    patient = PatientFacts(study_id="x", clinical=facts)
    page = Page(render(study, labels, make_measurements(patient=patient)))
    assert (
        "which give troponin and NT-proBNP without a unit Troponin 7,4 LV ejection fraction by echo 45 % "
        "Highest Killip class I ST elevation on the ECG yes Tobacco former Dialysis <b>"
    ) in page.text
    for word in ("FEVG", "Killip Max", "unit not given"):
        assert word not in page.text


def test_provenance(page):
    assert "weights sha256 0123456789ab CC BY-NC-SA 4.0" in page.text
    assert "10 slices, 6 frames 10.0 \N{MULTIPLICATION SIGN} 1.5 \N{MULTIPLICATION SIGN} 1.5 mm" in page.text


def test_a_class_has_one_name(html):
    for code in ("NOR", "MINF", "DCM", "HCM", "pathological"):
        assert not re.search(rf"\b{code}\b", html)


def test_printed_pages_bear_the_study_and_their_number_as_text_alone():
    study, labels = make_study()
    html = render(replace(study, id='7"; } </style><b>'), labels, make_measurements())
    assert 'content: "7\\22 \\3b \\20 \\7d \\20 \\3c \\2f style\\3e \\3c b\\3e "' in html
    assert html.count("</style>") == 1
    assert "counter(page)" in html


@pytest.mark.parametrize(("voxels", "confirmed"), [(12, True), (0, False), (None, False)])
def test_contours_that_a_person_changed_are_not_called_unconfirmed(voxels, confirmed):
    study, labels = make_study()
    measured = make_measurements()
    series = measured.provenance.series[0].model_copy(update={"changed_voxels": voxels})
    provenance = measured.provenance.model_copy(update={"series": [series]})
    html = render(study, labels, measured.model_copy(update={"provenance": provenance}))
    assert ("nobody has confirmed" not in html) == confirmed
