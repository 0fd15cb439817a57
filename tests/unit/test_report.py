"""The report: a page that is whole, safe and true to the measurements it is given."""

import re
from dataclasses import replace

import numpy as np
import pytest

from myoscope.measure.results import (
    START,
    T2,
    Diagnosis,
    Evidence,
    Flag,
    LeftVentricle,
    PatientFacts,
    Provenance,
    Quality,
    SeriesDiagnosis,
    SeriesProvenance,
    SliceWall,
    Ventricle,
)
from myoscope.report import render
from myoscope.report.bullseye import plot, wedge
from myoscope.report.figures import base_to_apex
from myoscope.report.reference import REFERENCES, age_note, infarct_size, mark, ranges_for
from myoscope.report.tables import describe, reason_of
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


@pytest.fixture(scope="module")
def html():
    study, labels = make_study()
    return render(study, labels, make_measurements())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


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


def cells_of(html, title, group=0):
    """Text of the cells of a row in the table of measurements."""
    rows = re.findall(rf'<tr><th scope="row">{title}</th>(.*?)</tr>', html, re.S)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", rows[group], re.S)
    plain = [re.sub(r'<a class="doubt".*?</a>', "", cell, flags=re.S) for cell in cells]
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in plain]


@pytest.mark.parametrize(
    ("sex", "shown", "other"),
    [("M", "93\N{EN DASH}232", "80\N{EN DASH}175"), ("F", "80\N{EN DASH}175", "93\N{EN DASH}232")],
)
def test_reference_range_follows_sex(sex, shown, other):
    study, labels = make_study(roles=(Role.LGE,))
    patient = PatientFacts(study_id="x", sex=sex, age_years=50)
    html = render(study, labels, make_measurements(patient=patient))
    value, reference, *_ = cells_of(html, "End-diastolic volume")
    assert value == "240 ml ▲ high"
    assert shown in reference and other not in html
    assert "Sex unknown" not in html


def test_unknown_sex_shows_both_ranges_and_says_for_whom_a_value_is_high():
    study, labels = make_study(roles=(Role.LGE,))
    lv = LeftVentricle(edv_ml=200, ejection_fraction_percent=40)
    html = render(study, labels, make_measurements(patient=PatientFacts(study_id="x"), lv=lv))
    value, reference, *_ = cells_of(html, "End-diastolic volume")
    assert value == "200 ml ▲ high for women"
    assert reference == "men 93\N{EN DASH}232 1 women 80\N{EN DASH}175 1"
    assert cells_of(html, "Ejection fraction")[0] == "40.0 % ▼ low"
    assert "Sex unknown: both ranges shown." in html


def test_ranges_name_their_source(html, page):
    assert "doi:10.1186/s12968-017-0327-9" in html
    assert "Read in a text that quotes this source." in page.text
    assert "Age" not in page.text.split("Ventricular volumes")[1].split("Volume over")[0]


def test_age_outside_the_reference_is_noted():
    assert "Age 80 lies outside" in age_note(80)
    assert age_note(74.5) is None and age_note(45) is None
    assert age_note(None).startswith("Age unknown")


def test_references_are_sound():
    for name, ranges in REFERENCES.items():
        part, key = name.split(".")
        assert key in (LeftVentricle if part == "lv" else Ventricle).model_fields
        assert set(ranges) == {"M", "F"}
        assert all(r.low < r.high for r in ranges.values() if r.low is not None and r.high is not None)
    assert mark(232, ranges_for("lv.edv_ml", "M")) is None
    assert mark(43, ranges_for("rv.ejection_fraction_percent", "M")) == ("low", "low")


def test_a_value_is_marked_as_it_is_printed():
    study, labels = make_study(roles=(Role.LGE,))
    lv = LeftVentricle(edv_ml=232.4, ejection_fraction_percent=47.96)
    html = render(study, labels, make_measurements(lv=lv))
    assert cells_of(html, "End-diastolic volume")[0] == "232 ml"
    assert cells_of(html, "Ejection fraction")[0] == "48.0 %"


def test_missing_values_show_their_reason(page):
    assert "Left ventricle, not measured: cardiac output, index: heart rate unknown." in page.text


def test_nothing_measured_is_a_page_with_reasons():
    study, labels = make_study()
    page = Page(render(study, labels, nothing_measured()))
    assert "Left ventricle not measured: no heart was found." in page.text
    assert "No diagnosis is proposed: no heart was found." in page.text
    assert "Scar (% of the segment): not measured: no heart was found." in page.text
    assert not page.all("svg", **{"class": "bullseye"})
    assert not [table for table in page.all("table") if table.get("class") != "provenance"]
    assert "Petersen" not in page.text and "Sex unknown: both" not in page.text  # no footnote to a range not shown


def test_without_body_surface_area_the_index_has_no_column():
    study, labels = make_study(roles=(Role.LGE,))
    quality = Quality(missing={f"lv.{name}": "height unknown" for name in ("edv_index_ml_m2", "mass_index_g_m2")})
    html = render(study, labels, make_measurements(lv=LeftVentricle(edv_ml=100.0), rv=Ventricle(), quality=quality))
    table = html.split('class="measures"')[1].split("</table>")[0]
    assert "Per m" not in table and "height unknown" in Page(html).text


def test_a_study_without_series_is_a_page():
    page = Page(render(Study("x", Patient(), ()), {}, nothing_measured()))
    assert "The study has no series." in page.text and not page.all("svg", **{"class": "bullseye"})


def test_reasons_are_found_under_the_name_of_the_whole():
    missing = {"segments.scar_percent": "no LGE", "segments.17": "no tip", "lv": "no cine"}
    assert reason_of(missing, "segments.3.scar_percent") == "no LGE"
    assert reason_of(missing, "segments.17.wall_thickness_ed_mm") == "no tip"
    assert reason_of(missing, "lv.edv_ml") == "no cine"
    assert reason_of(missing, "rv.edv_ml") == "no reason was recorded"


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
    assert "learned from: dilated cardiomyopathy 40%, old infarct, reduced LV function 60%." in page.text
    assert "From cine alone" not in page.text and "Uncertain" not in page.text


def test_a_patient_unlike_the_training_data_has_no_class_for_a_headline():
    one = SeriesDiagnosis(prediction="HCM", probabilities={"HCM": 0.7, "NOR": 0.3}, evidence=[], unlike_training=True)
    diagnosis = Diagnosis(**one.model_dump(), by_series={"cine": one})
    study, labels = make_study(roles=(Role.LGE,))
    html = render(study, labels, make_measurements(diagnosis=diagnosis))
    headlines = re.findall(r'<p class="prediction[^>]*>([^<]*)</p>', html)
    assert headlines == ["Uncertain: unlike the patients of every class"]
    assert "Perhaps none of these. The nearest class is: hypertrophic cardiomyopathy." in Page(html).text


def test_wall_slice_by_slice_and_ratios():
    study, labels = make_study(roles=(Role.LGE,))
    rows = [SliceWall(slice=3, wall_thickness_ed_mm=8.25, wall_thickness_ed_sd_mm=1.5, wall_thickening_percent=-4)]
    lv = LeftVentricle(edv_ml=100, edv_to_rv_ratio=0.5, myocardium_to_edv_ratio=0.7, myocardium_to_esv_ratio=1.5)
    html = render(study, labels, make_measurements(slices=rows, lv=lv))
    assert "3 8.2 1.5 \N{MINUS SIGN}4.0" in Page(html).text  # columns without a value are left out
    assert cells_of(html, "LV to RV volume, end-diastole")[:1] == ["0.50 ▼ low"]
    assert cells_of(html, "Myocardium to LV volume, end-diastole")[0] == "0.70"
    assert cells_of(html, "Myocardium to LV volume, end-systole")[0] == "1.50"


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


@pytest.mark.parametrize(("percent", "word"), [(0, "none"), (9.9, "small"), (10, "medium"), (30.1, "large")])
def test_size_of_an_infarct_in_words(percent, word):
    assert infarct_size(percent) == word


def test_lge_and_t2_extents(page):
    assert "Infarct, no-reflow included 24 ml 25 g 18.5 %" in page.text
    assert "Infarct size: medium" in page.text
    assert "was not checked against the source" in page.text
    study, labels = make_study(roles=(Role.LGE, Role.T2))
    t2 = T2(edema_ml=30, edema_g=31.5, edema_percent=23)
    assert "Edema, infarct included 30 ml 32 g 23.0 %" in Page(render(study, labels, make_measurements(t2=t2))).text


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


def test_names_of_measurements_not_foreseen():
    assert describe("lv.edv_to_rv_ratio").title == "LV EDV to RV ratio"
    assert describe("segments.wall_thickness_ed_mm").unit == "mm"


def test_a_warning_stands_at_the_number_that_it_is_about():
    study, labels = make_study(roles=(Role.LGE,))
    flags = [
        Flag(code="unsure_rv", level="warning", series="cine", message="Unsure of RV."),
        Flag(code="implausible_lv_edv_ml", level="warning", series="cine", message="EDV is odd."),
        Flag(code="few_slices", level="warning", series="lge", message="Few slices."),
        Flag(code="pieces_rv", level="info", series="cine", message="Two pieces."),
    ]
    lv, rv = LeftVentricle(edv_ml=900, ejection_fraction_percent=50), Ventricle(ejection_fraction_percent=40)
    html = render(study, labels, make_measurements(lv=lv, rv=rv, quality=Quality(flags=flags)))
    cards = html.split('<dl class="keys')[1].split("</dl>")[0].split("<dt>")[1:]
    said = {card.split("</dt>")[0]: re.findall(r'href="#flag-\d" title="([^"]*)"', card) for card in cards}
    assert said["LV end-diastolic volume"] == ["EDV is odd."]
    assert said["LV ejection fraction"] == []
    assert said["RV ejection fraction"] == ["Unsure of RV."]
    assert said["Infarct"] == ["Few slices."]
    assert "EDV is odd." not in re.sub("<[^>]*>", "", "".join(cards))  # the list of flags says it in full
    rows = dict(re.findall(r'<th scope="row">([^<]*)</th>\n?<td[^>]*>(.*?)</td>', html, re.DOTALL))
    doubted = {title: re.findall(r'href="#flag-\d" title="([^"]*)"', cell) for title, cell in rows.items()}
    assert doubted["End-diastolic volume"] == ["EDV is odd."]
    assert doubted["Infarct, no-reflow included"] == ["Few slices."]
    assert set(re.findall(r'href="#(flag-\d)"', html)) <= set(re.findall(r'id="(flag-\d)"', html))


def test_a_share_on_a_card_says_of_what():
    study, labels = make_study()
    text = Page(render(study, labels, make_measurements())).text
    assert "Infarct 18.5 % of the LV wall, 25 g" in text
    assert "No-reflow 1.5 % of the LV wall, 2.1 g" in text


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
