"""The report: a page that is whole, safe and true to the measurements it is given."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from myoscope.labels import Structure
from myoscope.measure.results import (
    T2,
    Diagnosis,
    Evidence,
    Flag,
    LeftVentricle,
    Lge,
    Measurements,
    PatientFacts,
    Provenance,
    Quality,
    Segment,
    SeriesDiagnosis,
    SeriesProvenance,
    SliceWall,
    Ventricle,
)
from myoscope.report import render
from myoscope.report.bullseye import plot, wedge
from myoscope.report.figures import base_to_apex, contour_path, crop, data_uri, slice_svg, to_grey
from myoscope.report.reference import REFERENCES, age_note, infarct_size, mark, ranges_for
from myoscope.report.tables import describe, reason_of
from myoscope.study import Patient, Role, Series, Study
from myoscope.volume import Volume, plain_affine

SLICES, SIZE = 10, 96
SPACING = (10.0, 1.5, 1.5)
VOID = {"meta", "link", "input", "br", "img", "hr", "path", "rect", "circle", "use", "image", "stop"}
TERRITORIES = ["LAD", "LAD", "RCA", "RCA", "LCX", "LCX"] * 2 + ["LAD", "LAD", "RCA", "LCX", "LAD"]
EVIL = "<script>alert('x')</script>\"'&\n"


class Page(HTMLParser):
    """Reads a page as a browser would: tags must nest; gathers what the tests look at."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.ids, self.texts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert tag not in VOID and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and all(w in (a.get(k) or "").split() for k, w in wanted.items())]


def heart(scale=1.0, base_first=True, scar=False):
    """Label map (Z, Y, X): a ring with the RV to its left, tapering towards the apex; no slice beyond the base."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    labels = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    for z in range(SLICES):
        radius = 17 * scale * (1 - 0.06 * z)
        distance = np.hypot(y, x)
        rv = np.hypot(y, x + 22) < radius * 0.9
        labels[z][rv & (distance > radius + 6)] = Structure.RV
        labels[z][distance <= radius + 6] = Structure.MYOCARDIUM
        labels[z][distance <= radius] = Structure.LV
        if scar and z in (3, 4):
            wall = labels[z] == Structure.MYOCARDIUM
            labels[z][wall & (x > np.abs(y))] = Structure.INFARCT
            labels[z][wall & (x > 4 * np.abs(y))] = Structure.NO_REFLOW
    return labels if base_first else labels[::-1].copy()


def image_of(labels, seed=0):
    noise = np.random.default_rng(seed).normal(0, 12, labels.shape)
    grey = np.array([60, 300, 110, 260, 60, 200, 280], np.float32)
    return (grey[labels] + noise).astype(np.float32)


def volume(voxels):
    return Volume(voxels, plain_affine(SPACING))


def make_study(*, id="study 1", roles=(Role.CINE, Role.LGE), frames=6, base_first=True, patient=None):
    series, labels = [], {}
    for role in roles:
        if role is Role.CINE:
            cycle = 1 - 0.3 * np.sin(np.pi * np.arange(frames) / frames)
            codes = np.stack([heart(scale, base_first) for scale in cycle])
            series.append(Series(role, "cine_sax", volume(image_of(codes)), ed_frame=0, es_frame=frames // 2))
        else:
            codes = heart(scar=role is Role.LGE, base_first=base_first)
            series.append(Series(role, f"stack_{role}", volume(image_of(codes))))
        labels[role] = volume(codes)
    return Study(id, patient or Patient(), tuple(series)), labels


def make_segments(**values):
    names = [f"wall {n}" for n in range(1, 18)]
    return [
        Segment(segment=n, name=name, territory=t, **{k: v(n) for k, v in values.items()})
        for n, (name, t) in enumerate(zip(names, TERRITORIES, strict=True), 1)
    ]


def make_measurements(**parts):
    """Plausible numbers of a man with an infarct; `parts` replaces whole parts."""
    full = {
        "patient": PatientFacts(study_id="study 1", sex="M", age_years=60, height_cm=180, weight_kg=80, bsa_m2=2.0),
        "lv": LeftVentricle(
            edv_ml=240,
            esv_ml=150,
            sv_ml=90,
            ejection_fraction_percent=37.5,
            edv_index_ml_m2=120,
            esv_index_ml_m2=75,
            sv_index_ml_m2=45,
            mass_g=140,
            mass_index_g_m2=70,
            wall_thickness_max_mm=9.4,
            volume_curve_ml=[240, 205, 165, 150, 180, 225],
            ed_frame=0,
            es_frame=3,
            frame_time_ms=40.0,
        ),
        "rv": Ventricle(
            edv_ml=170,
            esv_ml=80,
            sv_ml=90,
            ejection_fraction_percent=52.9,
            volume_curve_ml=[170, 130, 95, 80, 110, 160],
        ),
        "lge": Lge(
            myocardium_ml=130,
            myocardium_g=136.5,
            infarct_ml=24,
            infarct_g=25.2,
            infarct_percent=18.5,
            no_reflow_ml=2.0,
            no_reflow_g=2.1,
            no_reflow_percent=1.5,
        ),
        "t2": T2(),
        "segments": make_segments(
            wall_thickness_ed_mm=lambda n: None if n == 17 else 6 + n / 4,
            wall_thickness_es_mm=lambda n: None if n == 17 else 9 + n / 4,
            wall_thickening_percent=lambda n: None if n == 17 else 3.0 * n - 4,
            scar_percent=lambda n: 6.0 * (n - 1),
            transmurality_grade=lambda n: ("0", "1-25", "26-50", "51-75", "76-100")[n % 5],
        ),
        "diagnosis": Diagnosis(
            prediction="MINF",
            probabilities={"NOR": 0.03, "MINF": 0.85, "DCM": 0.12},
            evidence=[
                Evidence(measurement="lv.ejection_fraction_percent", value=37.5, weight=2.4),
                Evidence(measurement="lv.wall_thickness_max_mm", value=9.4, weight=-0.7),
            ],
            by_series={
                "cine": SeriesDiagnosis(prediction="MINF", probabilities={"MINF": 0.7, "DCM": 0.3}, evidence=[]),
                "lge": SeriesDiagnosis(
                    prediction="pathological",
                    probabilities={"pathological": 0.97, "normal": 0.03},
                    evidence=[Evidence(measurement="lge.infarct_percent", value=18.5, weight=3.1)],
                ),
            },
        ),
        "quality": Quality(
            flags=[
                Flag(code="a", level="info", series="lge", message="Something to know."),
                Flag(code="b", level="error", series=None, message="Something is wrong."),
                Flag(code="c", level="warning", series="cine", message="The heart touches the edge."),
            ],
            missing={
                "lv.cardiac_output_l_min": "heart rate unknown",
                "segments.17": "the tip has no cavity",
                "t2": "no T2 series",
            },
        ),
        "provenance": Provenance(
            myoscope_version="0.1.0",
            created_utc="2025-05-01T10:12:13Z",
            series=[
                SeriesProvenance(
                    role="cine",
                    files=["sax.nii.gz"],
                    slices=SLICES,
                    frames=6,
                    spacing_mm=SPACING,
                    labels_from="compact-cine",
                    weights_sha256="0123456789abcdef" * 4,
                    weights_licence="CC BY-NC-SA 4.0",
                )
            ],
            conventions=["Volumes by summation of discs."],
            notice="Research use only. Not a medical device.",
        ),
    }
    return Measurements(**(full | parts))


def nothing_measured():
    empty = {f"{part}": "no heart was found" for part in ("lv", "rv", "lge", "t2", "segments", "diagnosis")}
    return make_measurements(
        patient=PatientFacts(study_id="study 1"),
        lv=LeftVentricle(),
        rv=Ventricle(),
        lge=Lge(),
        segments=make_segments(),
        diagnosis=Diagnosis(),
        quality=Quality(missing=empty),
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
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "srcset", "action", "data")]
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


def test_structures_have_their_own_dashes():
    svg = slice_svg(np.zeros((SIZE, SIZE), np.uint8), heart(scar=True)[3], (1.5, 1.5), "x")
    strokes = re.findall(r'stroke="(#\w+)"(?: stroke-dasharray="([^"]+)")?', svg)
    structures = (Structure.MYOCARDIUM, Structure.RV, Structure.LV, Structure.INFARCT, Structure.NO_REFLOW)
    assert {colour for colour, _ in strokes} == {s.colour for s in structures}
    assert len({dash for _, dash in set(strokes)}) == len(structures)


def test_contour_lies_on_the_border_of_the_mask():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:6] = True  # edges, in half voxels: x from 6 to 12, y from 4 to 8
    numbers = [int(n) for n in re.findall(r"-?\d+", contour_path(mask))]
    points = np.cumsum(np.array(numbers).reshape(-1, 2), axis=0)
    assert points.min(axis=0).tolist() == [6, 4] and points.max(axis=0).tolist() == [12, 8]


def test_crop_keeps_a_margin_and_stays_in_the_image():
    mask = np.zeros((1, 2, 60, 50), np.uint8)
    mask[0, 0, 1:4, 25] = 1
    rows, columns = crop(mask, (60, 50), (2.0, 3.0))
    assert (rows.start, rows.stop, columns.start, columns.stop) == (0, 13, 19, 32)


def test_pictures_are_grey_and_a_constant_image_is_black():
    uri = data_uri(to_grey(image_of(heart())[0]))
    picture = Image.open(BytesIO(base64.b64decode(uri.split(",")[1])))
    assert picture.mode == "L" and picture.size == (SIZE, SIZE)
    assert to_grey(np.full((3, 3), 7.0)).max() == 0


def cells_of(html, title, group=0):
    """Text of the cells of a row in the table of measurements."""
    rows = re.findall(rf'<tr><th scope="row">{title}</th>(.*?)</tr>', html, re.S)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", rows[group], re.S)
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


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
    assert "Quoted at second hand." in page.text
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


def test_missing_values_show_their_reason(html, page):
    assert cells_of(html, r"Cardiac output, index")[0] == "not measured a"
    assert "a Not measured: heart rate unknown." in page.text


def test_nothing_measured_is_a_page_with_reasons():
    study, labels = make_study()
    page = Page(render(study, labels, nothing_measured()))
    assert "Left ventricle not measured: no heart was found." in page.text
    assert "No diagnosis is proposed: no heart was found." in page.text
    assert page.text.count("Not measured: no heart was found.") >= 3
    plots = page.all("svg", **{"class": "bullseye"})
    assert len(plots) == 3
    assert len(page.all("path", fill="url(#hatch)")) == 17 * 3


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
    assert icons == ["#icon-error", "#icon-warning", "#icon-info"]
    assert "Error Study Something is wrong." in page.text


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
    assert "Thing 5 " not in page.text and "5 more weigh less" in page.text
    assert "From cine alone" not in page.text


def test_evidence_names_the_class_it_is_weighed_against_and_what_is_assumed():
    one = SeriesDiagnosis(
        prediction="DCM",
        probabilities={"DCM": 0.8, "MINF": 0.2},
        evidence=[Evidence(measurement="LV ejection fraction (%)", value=20, weight=1.5)],
        runner_up="MINF",
        prevalence={"DCM": 0.5, "MINF": 0.5},
    )
    diagnosis = Diagnosis(**one.model_dump(), by_series={"cine": one})
    study, labels = make_study(roles=(Role.LGE,))
    page = Page(render(study, labels, make_measurements(diagnosis=diagnosis)))
    assert "Dilated cardiomyopathy, against: old infarct, reduced LV function" in page.text
    assert "LV ejection fraction 20.0 % +1.5 for" in page.text
    assert "as frequent as among the patients learned from: DCM 50%, MINF 50%." in page.text
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
    assert "3 8.2 \N{EN DASH} 1.5 \N{EN DASH} \N{EN DASH} \N{EN DASH} \N{MINUS SIGN}4.0" in Page(html).text
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


def test_clinical_values_stand_as_found():
    study, labels = make_study(roles=(Role.LGE,))
    patient = PatientFacts(study_id="x", clinical={"Troponin": "7,4"})
    page = Page(render(study, labels, make_measurements(patient=patient)))
    assert "as found in the files; unit not given Troponin 7,4" in page.text


def test_provenance(page):
    assert "weights sha256 0123456789ab CC BY-NC-SA 4.0" in page.text
    assert "10 slices, 6 frames 10.0 \N{MULTIPLICATION SIGN} 1.5 \N{MULTIPLICATION SIGN} 1.5 mm" in page.text


def test_names_of_measurements_not_foreseen():
    assert describe("lv.edv_to_rv_ratio").title == "LV EDV to RV ratio"
    assert describe("segments.wall_thickness_ed_mm").unit == "mm"
