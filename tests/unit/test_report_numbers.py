"""The report's numbers: reference ranges, marks, extents, and the reasons why one is missing."""

import re

import pytest

from myoscope.measure.results import (
    T2,
    Flag,
    LeftVentricle,
    PatientFacts,
    Quality,
    SliceWall,
    Ventricle,
)
from myoscope.report import render
from myoscope.report.reference import REFERENCES, age_note, infarct_size, mark, ranges_for
from myoscope.report.tables import describe, reason_of
from myoscope.study import Role
from report_pages import (
    Page,
    make_measurements,
    make_study,
    nothing_measured,
)


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


def test_reasons_are_found_under_the_name_of_the_whole():
    missing = {"segments.scar_percent": "no LGE", "segments.17": "no tip", "lv": "no cine"}
    assert reason_of(missing, "segments.3.scar_percent") == "no LGE"
    assert reason_of(missing, "segments.17.wall_thickness_ed_mm") == "no tip"
    assert reason_of(missing, "lv.edv_ml") == "no cine"
    assert reason_of(missing, "rv.edv_ml") == "no reason was recorded"


def test_wall_slice_by_slice_and_ratios():
    study, labels = make_study(roles=(Role.LGE,))
    rows = [SliceWall(slice=3, wall_thickness_ed_mm=8.25, wall_thickness_ed_sd_mm=1.5, wall_thickening_percent=-4)]
    lv = LeftVentricle(edv_ml=100, edv_to_rv_ratio=0.5, myocardium_to_edv_ratio=0.7, myocardium_to_esv_ratio=1.5)
    html = render(study, labels, make_measurements(slices=rows, lv=lv))
    assert "3 8.2 1.5 \N{MINUS SIGN}4.0" in Page(html).text  # columns without a value are left out
    assert cells_of(html, "LV to RV volume, end-diastole")[:1] == ["0.50 ▼ low"]
    assert cells_of(html, "Myocardium to LV volume, end-diastole")[0] == "0.70"
    assert cells_of(html, "Myocardium to LV volume, end-systole")[0] == "1.50"


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
