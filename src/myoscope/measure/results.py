"""Measurements: the contract of `measurements.json`. Every number carries its unit in its name; None is "not measured".

What is None has a reason in `quality.missing`, under its dotted name (`lv.edv_index_ml_m2`).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

NOTICE = "Research use only. Not a medical device."
"""Stands in every report and in `provenance`."""

START = "starting point: an average patient of those learned from"
"""Name of the evidence that is no measurement: the classifier's intercept."""

Grade = Literal["0", "1-25", "26-50", "51-75", "76-100"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PatientFacts(_Part):
    """Patient facts that measurements depend on. Never a name or a birth date.

    Body surface area after Mosteller, which indices are computed with; after DuBois beside it.
    """

    study_id: str
    sex: Literal["F", "M"] | None = None
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    heart_rate_bpm: float | None = None
    bsa_m2: float | None = None
    bsa_dubois_m2: float | None = None
    clinical: dict[str, str] = {}


class Ventricle(_Part):
    """Volumes and function of one ventricle from a short-axis cine, by summation of discs; papillary in volume."""

    edv_ml: float | None = None
    esv_ml: float | None = None
    sv_ml: float | None = None
    ejection_fraction_percent: float | None = None
    edv_index_ml_m2: float | None = None
    esv_index_ml_m2: float | None = None
    sv_index_ml_m2: float | None = None
    volume_curve_ml: list[float] | None = None


class LeftVentricle(Ventricle):
    """Left ventricle; mass at end-diastole with 1.05 g/ml. Frames count from 0.

    Ratios are of volumes in the same frame: LV to RV cavity, LV myocardium to LV cavity.
    """

    mass_g: float | None = None
    mass_index_g_m2: float | None = None
    cardiac_output_l_min: float | None = None
    cardiac_index_l_min_m2: float | None = None
    wall_thickness_max_mm: float | None = None
    wall_thickness_max_es_mm: float | None = None
    myocardium_ed_ml: float | None = None
    myocardium_es_ml: float | None = None
    edv_to_rv_ratio: float | None = None
    esv_to_rv_ratio: float | None = None
    myocardium_to_edv_ratio: float | None = None
    myocardium_to_esv_ratio: float | None = None
    ed_frame: int | None = None
    es_frame: int | None = None
    frame_time_ms: float | None = None


class BorderZone(_Part):
    """Core and border (grey) zone of an infarct by one definition; per cent are of the LV myocardium.

    Core includes no-reflow. Only slices in which the labels show infarct are counted.
    """

    core_g: float
    border_g: float
    core_percent: float
    border_percent: float
    definition: str
    source: str


class ScarSheet(_Part):
    """What late enhancement says further, where the labels show infarct.

    Core and border zone by three definitions; `sd_2_percent` to `otsu_percent` are scar by thresholds of signal in
    per cent of the LV myocardium, a second opinion without no-reflow, in slices in which the labels show infarct.
    Infarct by coronary territory; what lies in no segment is apart. Viability of segments by the share that is scar:
    likely up to 50 % (the cut-off in a chronic infarct), unlikely above 75 % (in an acute one), intermediate between
    (doi:10.1038/s41598-017-15353-1). Segments of which nothing was seen are in no list.
    """

    sd_2_5: BorderZone | None = None
    fwhm: BorderZone | None = None
    percent_40_60: BorderZone | None = None
    sd_2_percent: float
    sd_3_percent: float
    sd_5_percent: float
    sd_6_percent: float
    fwhm_percent: float | None = None
    otsu_percent: float
    no_reflow_of_infarct_percent: float
    infarct_lad_g: float | None = None
    infarct_rca_g: float | None = None
    infarct_lcx_g: float | None = None
    infarct_outside_segments_g: float | None = None
    segments_over_50_percent: int | None = None
    viability_likely_segments: list[int] | None = None
    viability_intermediate_segments: list[int] | None = None
    viability_unlikely_segments: list[int] | None = None


class Lge(_Part):
    """Late gadolinium enhancement. Infarct includes no-reflow; per cent are of the LV myocardium."""

    myocardium_ml: float | None = None
    myocardium_g: float | None = None
    infarct_ml: float | None = None
    infarct_g: float | None = None
    infarct_percent: float | None = None
    no_reflow_ml: float | None = None
    no_reflow_g: float | None = None
    no_reflow_percent: float | None = None
    scar_sheet: ScarSheet | None = None


class T2(_Part):
    """T2: edema (including infarct, on a joint map), per cent of the LV myocardium.

    The salvage index, (edema - infarct) / edema, is for research only.
    """

    edema_ml: float | None = None
    edema_g: float | None = None
    edema_percent: float | None = None
    salvage_index_percent: float | None = None


class Segment(_Part):
    """One of the 17 segments of the AHA (doi:10.1161/hc0402.102975).

    `scar_percent` is the share of the segment's wall that is scar, and what `transmurality_grade` grades (Kim et al.
    2000, doi:10.1056/NEJM200011163432003). `scar_depth_percent` is how much of the wall's thickness scar takes, on
    average over the rays from the cavity's centre that cross scar: None where no ray does.
    """

    segment: int
    name: str
    territory: Literal["LAD", "RCA", "LCX"]
    wall_thickness_ed_mm: float | None = None
    wall_thickness_es_mm: float | None = None
    wall_thickening_percent: float | None = None
    scar_percent: float | None = None
    edema_percent: float | None = None
    scar_depth_percent: float | None = None
    transmurality_grade: Grade | None = None


class TimeSegment(_Part):
    """A relaxation time in one AHA segment: median and interquartile range over `voxels` of the map."""

    segment: int
    name: str
    voxels: int
    median_ms: float | None = None
    iqr_ms: float | None = None


class TimeMap(_Part):
    """A T1 or T2 map in the LV's wall, which was carried over from the series `wall_from`.

    Nothing says whether a T1 map was taken before or after contrast agent (Messroghli et al. 2017,
    doi:10.1186/s12968-017-0389-8).
    """

    wall_from: str | None = None
    voxels: int = 0
    median_ms: float | None = None
    iqr_ms: float | None = None
    segments: list[TimeSegment] = []


class EcvSegment(_Part):
    """The extracellular volume fraction in one AHA segment, as `TimeSegment`."""

    segment: int
    name: str
    voxels: int
    median_percent: float | None = None
    iqr_percent: float | None = None


class EcvMap(_Part):
    """A map of the extracellular volume fraction that a scanner made, as `TimeMap`."""

    wall_from: str | None = None
    voxels: int = 0
    median_percent: float | None = None
    iqr_percent: float | None = None
    segments: list[EcvSegment] = []


class Maps(_Part):
    """Maps that a scanner made, as far as the study has them."""

    t1: TimeMap = TimeMap()
    t2: TimeMap = TimeMap()
    ecv: EcvMap = EcvMap()


class SliceWall(_Part):
    """One slice of a cine with myocardium all round; slices count from 1 at the base of the stack.

    Wall thickness: mean over the endocardium, largest mean over 30 degrees, and how uneven the wall is: standard
    deviation. Areas are of the cavities.
    """

    slice: int
    wall_thickness_ed_mm: float | None = None
    wall_thickness_ed_max_mm: float | None = None
    wall_thickness_ed_sd_mm: float | None = None
    wall_thickness_es_mm: float | None = None
    wall_thickness_es_max_mm: float | None = None
    wall_thickness_es_sd_mm: float | None = None
    wall_thickening_percent: float | None = None
    lv_area_ed_mm2: float | None = None
    rv_area_ed_mm2: float | None = None
    lv_area_es_mm2: float | None = None
    rv_area_es_mm2: float | None = None


class Evidence(_Part):
    """One measurement that speaks for (weight > 0) the predicted class or against it; weight in log-odds.

    The odds are those against the runner-up; the weight is what the measurement adds to them over an average case.
    First stands `START`, without a value: the log-odds of that average case, which hold how frequent the class is.
    All weights together are the logarithm of the odds.
    """

    measurement: str
    value: float | None
    weight: float


class SeriesDiagnosis(_Part):
    """Diagnosis proposed from one series.

    Probabilities hold for patients among whom the classes are as frequent as in `prevalence`. `distance` is how far
    the measurements lie from those of the nearest class of training patients (Mahalanobis); beyond `usual_distance`
    the patient is `unlike_training`: perhaps none of these classes. None where it is not known.
    """

    prediction: str
    probabilities: dict[str, float]
    evidence: list[Evidence]
    runner_up: str | None = None
    prevalence: dict[str, float] = {}
    distance: float | None = None
    usual_distance: float | None = None
    unlike_training: bool = False


class Diagnosis(_Part):
    """The overall proposal, and the one of each series ("cine", "lge") it rests on.

    Where the patient is `unlike_training`, the prediction is the nearest of the classes, and perhaps none of them.
    """

    prediction: str | None = None
    probabilities: dict[str, float] = {}
    evidence: list[Evidence] = []
    runner_up: str | None = None
    prevalence: dict[str, float] = {}
    distance: float | None = None
    usual_distance: float | None = None
    unlike_training: bool = False
    by_series: dict[str, SeriesDiagnosis] = {}


class Flag(_Part):
    """Something a reader must know before trusting a number."""

    code: str
    level: Literal["info", "warning", "error"]
    series: str | None
    message: str


class Quality(_Part):
    """Flags, and for every value that is None the reason.

    `confidence` has for each series, and each structure found in it, the probability that a voxel given to the
    structure is one that an expert would give to it; measured on patients that the network had not seen.
    """

    flags: list[Flag] = []
    missing: dict[str, str] = {}
    confidence: dict[str, dict[str, float]] = {}


class SeriesProvenance(_Part):
    """Where the labels of one series came from.

    Where several networks' answers were averaged, `weights_members` has the SHA-256 of each; the first alone draws the
    frames of a whole cycle, all of them ED and ES.
    `changed_voxels` are those that a person changed since; None where the map before is not known. `frames_by_hand`
    names `ed_frame` and `es_frame` where a person chose them.
    """

    role: str
    files: list[str]
    slices: int
    frames: int
    spacing_mm: tuple[float, float, float]
    labels_from: str
    weights_sha256: str | None = None
    weights_members: list[str] = []
    weights_licence: str | None = None
    changed_voxels: int | None = None
    frames_by_hand: list[Literal["ed_frame", "es_frame"]] = []


class Provenance(_Part):
    """What made these numbers, so that they can be made again.

    `schema_version` grows when a key goes or changes its meaning. Since 2 a segment's transmurality is graded by
    `scar_percent`, and `scar_depth_percent` stands where `transmurality_percent` did. 3 adds
    `lge.scar_sheet` and `maps`.
    """

    schema_version: int = 3
    myoscope_version: str
    created_utc: str
    series: list[SeriesProvenance]
    conventions: list[str]
    notice: str = NOTICE


class Measurements(_Part):
    """Everything `measurements.json` holds."""

    patient: PatientFacts
    lv: LeftVentricle
    rv: Ventricle
    lge: Lge
    t2: T2
    segments: list[Segment]
    slices: list[SliceWall] = []
    maps: Maps = Maps()
    diagnosis: Diagnosis
    quality: Quality
    provenance: Provenance
