"""Studies and measurements for the report's tests, and a parser of its pages."""

from html.parser import HTMLParser

import numpy as np

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
    Ventricle,
)
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
