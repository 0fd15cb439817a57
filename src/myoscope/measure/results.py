"""Measurements: the contract of `measurements.json`. Every number carries its unit in its name; None is "not measured".

What is None has a reason in `quality.missing`, under its dotted name (`lv.edv_index_ml_m2`).
"""

from typing import Literal

from pydantic import Field

from myoscope.measure.counted import BaseChoice, SliceVolume
from myoscope.measure.mapped import Maps
from myoscope.measure.part import Grade as Grade
from myoscope.measure.part import Papillary, Strain
from myoscope.measure.part import Part as _Part
from myoscope.measure.part import Segment as Segment
from myoscope.measure.previous import Previous

NOTICE = "Research use only. Not a medical device."
"""Stands in every report and in `provenance`."""

START = "starting point: an average patient of those learned from"
"""Name of the evidence that is no measurement: the classifier's intercept."""

Interval = tuple[float, float] | None
"""Lowest and highest value that an expert's measurement has in 90 of 100 patients, see `measure.intervals`."""


class PatientFacts(_Part):
    """Patient facts that measurements depend on. Never a name or a birth date.

    Body surface area after Mosteller, which indices are computed with; after DuBois beside it.
    """

    study_id: str = Field(
        description="The study's id: a folder's or file's name, a data set's case, or the StudyInstanceUID"
    )
    sex: Literal["F", "M"] | None = Field(None, description="Sex, female or male")
    age_years: float | None = Field(None, description="Age at the exam")
    height_cm: float | None = Field(None, description="Body height")
    weight_kg: float | None = Field(None, description="Body weight")
    heart_rate_bpm: float | None = Field(None, description="Heart rate")
    hematocrit: float | None = Field(None, description="Hematocrit, as a share of the blood, 0 to 1")
    bsa_m2: float | None = Field(None, description="Body surface area after Mosteller, which indices are computed with")
    bsa_dubois_m2: float | None = Field(None, description="Body surface area after DuBois")
    clinical: dict[str, str] = Field({}, description="Further clinical values by name, as text, as found")


class Ventricle(_Part):
    """Volumes and function of one ventricle from a short-axis cine, by summation of discs.

    Papillary muscles are in the volume, unless `provenance.papillary` says "muscle": then the LV's are in its mass.
    """

    edv_ml: float | None = Field(None, description="Cavity volume at end-diastole")
    edv_ml_interval: Interval = Field(None, description="90 % interval of EDV")
    esv_ml: float | None = Field(None, description="Cavity volume at end-systole")
    esv_ml_interval: Interval = Field(None, description="90 % interval of ESV")
    sv_ml: float | None = Field(None, description="Stroke volume: EDV - ESV")
    sv_ml_interval: Interval = Field(None, description="90 % interval of the stroke volume")
    ejection_fraction_percent: float | None = Field(None, description="Ejection fraction: stroke volume / EDV")
    ejection_fraction_percent_interval: Interval = Field(None, description="90 % interval of the ejection fraction")
    edv_index_ml_m2: float | None = Field(None, description="EDV by body surface area")
    edv_index_ml_m2_interval: Interval = Field(None, description="90 % interval of EDV by body surface area")
    esv_index_ml_m2: float | None = Field(None, description="ESV by body surface area")
    esv_index_ml_m2_interval: Interval = Field(None, description="90 % interval of ESV by body surface area")
    sv_index_ml_m2: float | None = Field(None, description="Stroke volume by body surface area")
    sv_index_ml_m2_interval: Interval = Field(None, description="90 % interval of stroke volume by body surface area")
    volume_curve_ml: list[float] | None = Field(None, description="Cavity volume in each frame of the cycle")


class LeftVentricle(Ventricle, Strain):
    """Left ventricle; mass at end-diastole with 1.05 g/ml. Frames count from 0.

    Ratios are of volumes in the same frame: LV to RV cavity, LV myocardium to LV cavity.
    """

    mass_g: float | None = Field(None, description="Mass of the myocardium at end-diastole")
    mass_g_interval: Interval = Field(None, description="90 % interval of the mass")
    mass_index_g_m2: float | None = Field(None, description="Mass by body surface area")
    mass_index_g_m2_interval: Interval = Field(None, description="90 % interval of the mass by body surface area")
    cardiac_output_l_min: float | None = Field(None, description="Stroke volume times heart rate")
    cardiac_output_l_min_interval: Interval = Field(None, description="90 % interval of cardiac output")
    cardiac_index_l_min_m2: float | None = Field(None, description="Cardiac output by body surface area")
    cardiac_index_l_min_m2_interval: Interval = Field(None, description="90 % interval of the cardiac index")
    wall_thickness_max_mm: float | None = Field(None, description="Largest wall thickness at end-diastole")
    wall_thickness_max_mm_interval: Interval = Field(None, description="90 % interval of the largest wall thickness")
    wall_thickness_max_es_mm: float | None = Field(None, description="Largest wall thickness at end-systole")
    wall_thickness_max_es_mm_interval: Interval = Field(None, description="90 % interval of that at end-systole")
    myocardium_ed_ml: float | None = Field(None, description="Volume of the myocardium at end-diastole")
    myocardium_es_ml: float | None = Field(None, description="Volume of the myocardium at end-systole")
    edv_to_rv_ratio: float | None = Field(None, description="LV by RV cavity volume, in the LV's ED frame")
    edv_to_rv_ratio_interval: Interval = Field(None, description="90 % interval of this ratio")
    esv_to_rv_ratio: float | None = Field(None, description="LV by RV cavity volume, in the LV's ES frame")
    esv_to_rv_ratio_interval: Interval = Field(None, description="90 % interval of this ratio")
    myocardium_to_edv_ratio: float | None = Field(None, description="Myocardium by LV cavity volume at end-diastole")
    myocardium_to_edv_ratio_interval: Interval = Field(None, description="90 % interval of this ratio")
    myocardium_to_esv_ratio: float | None = Field(None, description="Myocardium by LV cavity volume at end-systole")
    myocardium_to_esv_ratio_interval: Interval = Field(None, description="90 % interval of this ratio")
    ed_frame: int | None = Field(None, description="Frame taken as end-diastole, from 0")
    es_frame: int | None = Field(None, description="Frame taken as end-systole, from 0")
    frame_time_ms: float | None = Field(None, description="Time from frame to frame")


class BorderZone(_Part):
    """Core and border (grey) zone of an infarct by one definition; per cent are of the LV myocardium.

    Core includes no-reflow. Only slices in which the labels show infarct are counted, and of these such as the
    definition fits: they hold at least 90 % of the infarct.
    """

    core_g: float = Field(description="Mass of the core")
    border_g: float = Field(description="Mass of the border zone")
    core_percent: float = Field(description="Core, of the LV myocardium")
    border_percent: float = Field(description="Border zone, of the LV myocardium")
    slices_left_out: int = Field(0, description="Slices with infarct that the definition does not fit")
    definition: str = Field(description="How core and border are told, in words")
    source: str = Field(description="Where the definition stands")


class ScarSheet(_Part):
    """What late enhancement says further, where the labels show infarct.

    Core and border zone by three definitions; `sd_2_percent` to `otsu_percent` are scar by thresholds of signal in
    per cent of the LV myocardium, a second opinion without no-reflow, in slices in which the labels show infarct.
    Infarct by coronary territory; what lies in no segment is apart. Viability of segments by the share that is scar:
    likely up to 50 % (the cut-off in a chronic infarct), unlikely above 75 % (in an acute one), intermediate between
    (doi:10.1038/s41598-017-15353-1). Segments of which nothing was seen are in no list.
    """

    sd_2_5: BorderZone | None = Field(None, description="By standard deviations above remote myocardium")
    fwhm: BorderZone | None = Field(None, description="By half of the infarct's maximum")
    percent_40_60: BorderZone | None = Field(None, description="By shares of the infarct's maximum")
    sd_2_percent: float = Field(description="Scar above 2 SD of remote myocardium")
    sd_3_percent: float = Field(description="Scar above 3 SD")
    sd_5_percent: float = Field(description="Scar above 5 SD")
    sd_6_percent: float = Field(description="Scar above 6 SD")
    fwhm_percent: float | None = Field(None, description="Scar above half of the infarct's maximum")
    otsu_percent: float = Field(description="Scar above Otsu's threshold")
    no_reflow_of_infarct_percent: float = Field(description="No-reflow, of the infarct")
    infarct_lad_g: float | None = Field(None, description="Infarct in the segments of the LAD")
    infarct_rca_g: float | None = Field(None, description="Infarct in the segments of the RCA")
    infarct_lcx_g: float | None = Field(None, description="Infarct in the segments of the LCX")
    infarct_outside_segments_g: float | None = Field(None, description="Infarct that lies in no segment")
    segments_over_50_percent: int | None = Field(
        None, description="Number of segments of whose wall more than 50 % is scar", json_schema_extra={"unit": "1"}
    )
    viability_likely_segments: list[int] | None = Field(None, description="Segments with scar up to 50 %")
    viability_intermediate_segments: list[int] | None = Field(None, description="Segments with scar of 51 to 75 %")
    viability_unlikely_segments: list[int] | None = Field(None, description="Segments with scar above 75 %")


class Lge(_Part):
    """Late gadolinium enhancement. Infarct includes no-reflow; per cent are of the LV myocardium."""

    myocardium_ml: float | None = Field(None, description="Volume of the LV myocardium, infarct included")
    myocardium_ml_interval: Interval = Field(None, description="90 % interval of the volume of the LV myocardium")
    myocardium_g: float | None = Field(None, description="Mass of the LV myocardium, infarct included")
    infarct_ml: float | None = Field(None, description="Volume of the infarct")
    infarct_ml_interval: Interval = Field(None, description="90 % interval of the infarct's volume")
    infarct_g: float | None = Field(None, description="Mass of the infarct")
    infarct_percent: float | None = Field(None, description="Infarct, of the LV myocardium")
    infarct_percent_interval: Interval = Field(None, description="90 % interval of the infarct")
    no_reflow_ml: float | None = Field(None, description="Volume of no-reflow")
    no_reflow_ml_interval: Interval = Field(None, description="90 % interval of the volume of no-reflow")
    no_reflow_g: float | None = Field(None, description="Mass of no-reflow")
    no_reflow_percent: float | None = Field(None, description="No-reflow, of the LV myocardium")
    no_reflow_percent_interval: Interval = Field(None, description="90 % interval of no-reflow")
    scar_sheet: ScarSheet | None = Field(None, description="What late enhancement says further; null without infarct")


class T2(_Part):
    """T2: edema (including infarct, on a joint map), per cent of the LV myocardium.

    The salvage index, (edema - infarct) / edema, is for research only.
    """

    edema_ml: float | None = Field(None, description="Volume of the edema")
    edema_ml_interval: Interval = Field(None, description="90 % interval of the edema's volume")
    edema_g: float | None = Field(None, description="Mass of the edema")
    edema_percent: float | None = Field(None, description="Edema, of the LV myocardium")
    edema_percent_interval: Interval = Field(None, description="90 % interval of the edema")
    salvage_index_percent: float | None = Field(None, description="(Edema - infarct) / edema")


class SliceWall(_Part):
    """One slice of a cine with myocardium all round; slices count from 1 at the base of the stack.

    Wall thickness: mean over the endocardium, largest mean over 30 degrees, and how uneven the wall is: standard
    deviation. Areas are of the cavities.
    """

    slice: int = Field(description="Number of the slice, from 1 at the base of the stack")
    wall_thickness_ed_mm: float | None = Field(None, description="Mean wall thickness at end-diastole")
    wall_thickness_ed_max_mm: float | None = Field(
        None, description="Largest wall thickness, mean over 30 degrees, at end-diastole"
    )
    wall_thickness_ed_sd_mm: float | None = Field(
        None, description="Standard deviation of the wall thickness at end-diastole"
    )
    wall_thickness_es_mm: float | None = Field(None, description="Mean wall thickness at end-systole")
    wall_thickness_es_max_mm: float | None = Field(
        None, description="Largest wall thickness, mean over 30 degrees, at end-systole"
    )
    wall_thickness_es_sd_mm: float | None = Field(
        None, description="Standard deviation of the wall thickness at end-systole"
    )
    wall_thickening_percent: float | None = Field(None, description="Thickening from ED to ES, of that at ED")
    lv_area_ed_mm2: float | None = Field(None, description="Area of the LV's cavity at end-diastole")
    rv_area_ed_mm2: float | None = Field(None, description="Area of the RV's cavity at end-diastole")
    lv_area_es_mm2: float | None = Field(None, description="Area of the LV's cavity at end-systole")
    rv_area_es_mm2: float | None = Field(None, description="Area of the RV's cavity at end-systole")


class Evidence(_Part):
    """One measurement that speaks for (weight > 0) the predicted class or against it; weight in log-odds.

    The odds are those against the runner-up; the weight is what the measurement adds to them over an average case.
    First stands `START`, without a value: the log-odds of that average case, which hold how frequent the class is.
    All weights together are the logarithm of the odds.
    """

    measurement: str = Field(description="What was measured: its dotted name, or words with the unit")
    value: float | None = Field(
        description="Value of the measurement", json_schema_extra={"unit": "as the measurement's"}
    )
    weight: float = Field(description="What the measurement adds to the log-odds of the predicted class")


class SeriesDiagnosis(_Part):
    """Diagnosis proposed from one series.

    Probabilities hold for patients among whom the classes are as frequent as in `prevalence`. `distance` is how far
    the measurements lie from those of the nearest class of training patients (Mahalanobis); beyond `usual_distance`
    the patient is `unlike_training`: perhaps none of these classes. None where it is not known.
    """

    prediction: str = Field(description="Most probable class")
    probabilities: dict[str, float] = Field(description="Probability of each class, 0 to 1")
    evidence: list[Evidence] = Field(description="What speaks for the class and against it")
    runner_up: str | None = Field(None, description="Second most probable class")
    prevalence: dict[str, float] = Field({}, description="How frequent each class is taken to be, 0 to 1")
    distance: float | None = Field(None, description="Mahalanobis distance from the nearest class")
    usual_distance: float | None = Field(None, description="95 of 100 unseen patients are nearer")
    unlike_training: bool = Field(False, description="Whether `distance` is beyond `usual_distance`")


class Diagnosis(_Part):
    """The overall proposal, and the one of each series ("cine", "lge") it rests on.

    Where the patient is `unlike_training`, the prediction is the nearest of the classes, and perhaps none of them.
    """

    prediction: str | None = Field(None, description="Most probable class")
    probabilities: dict[str, float] = Field({}, description="Probability of each class, 0 to 1")
    evidence: list[Evidence] = Field([], description="What speaks for the class and against it")
    runner_up: str | None = Field(None, description="Second most probable class")
    prevalence: dict[str, float] = Field({}, description="How frequent each class is taken to be, 0 to 1")
    distance: float | None = Field(None, description="Mahalanobis distance from the nearest class")
    usual_distance: float | None = Field(None, description="95 of 100 unseen patients are nearer")
    unlike_training: bool = Field(False, description="Whether `distance` is beyond `usual_distance`")
    by_series: dict[str, SeriesDiagnosis] = Field({}, description="The proposal from each series, by role")


class Flag(_Part):
    """Something a reader must know before trusting a number."""

    code: str = Field(description="Short name of what it is about, for programs")
    level: Literal["info", "warning", "error"] = Field(description="How much it matters")
    series: str | None = Field(description="Role of the series that it is about; null: the study")
    message: str = Field(description="What a reader must know, in whole sentences")


class Quality(_Part):
    """Flags, and for every value that is None the reason.

    `confidence` has for each series, and each structure found in it, the probability that a voxel given to the
    structure is one that an expert would give to it; measured on patients that the network had not seen.
    """

    flags: list[Flag] = Field([], description="What a reader must know before trusting a number")
    missing: dict[str, str] = Field({}, description="For each value that is null, by dotted name, the reason")
    confidence: dict[str, dict[str, float]] = Field(
        {}, description="Calibrated probability by role and structure, 0 to 1"
    )


class SeriesProvenance(_Part):
    """Where the labels of one series came from.

    Where several networks' answers were averaged, `weights_members` has the SHA-256 of each; the first alone draws the
    frames of a whole cycle, all of them ED and ES.
    `changed_voxels` are those that a person changed since; None where the map before is not known. `frames_by_hand`
    names `ed_frame` and `es_frame` where a person chose them.
    """

    role: str = Field(description="What the series shows")
    files: list[str] = Field(description="Names of its files, or of the DICOM series")
    slices: int = Field(description="Number of slices")
    frames: int = Field(description="Number of frames")
    spacing_mm: tuple[float, float, float] = Field(description="Distance between planes, rows and columns")
    labels_from: str = Field(description="Who or what drew the labels, in words")
    weights_sha256: str | None = Field(None, description="SHA-256 of the network file")
    weights_members: list[str] = Field([], description="SHA-256 of each network file, where several were averaged")
    weights_licence: str | None = Field(None, description="Licence of the weights")
    changed_voxels: int | None = Field(None, description="Voxels that a person changed since")
    frames_by_hand: list[Literal["ed_frame", "es_frame"]] = Field([], description="Frames that a person chose")


class Provenance(_Part):
    """What made these numbers, so that they can be made again.

    `schema_version` grows when a key goes or changes its meaning. Since 2 a segment's transmurality is graded by
    `scar_percent`, and `scar_depth_percent` stands where `transmurality_percent` did. 3 adds
    `lge.scar_sheet` and `maps`, 4 intervals.
    """

    schema_version: int = Field(4, description="Version of this contract")
    myoscope_version: str = Field(description="Version of the program")
    created_utc: str = Field(description="When this was measured, ISO 8601, UTC")
    series: list[SeriesProvenance] = Field(description="Where the labels of each series came from")
    papillary: Papillary = Field("blood", description="What the LV's papillary muscles and trabeculae count as")
    conventions: list[str] = Field(description="How it was measured, in whole sentences")
    notice: str = Field(NOTICE, description="What this must not be used for")


class Measurements(_Part):
    """Everything `measurements.json` holds."""

    patient: PatientFacts = Field(description="Facts that measurements depend on")
    lv: LeftVentricle = Field(description="Left ventricle, from the cine")
    rv: Ventricle = Field(description="Right ventricle, from the cine")
    lge: Lge = Field(description="Late gadolinium enhancement")
    t2: T2 = Field(description="Edema, from T2 labels or a joint map")
    segments: list[Segment] = Field(description="The 17 segments of the AHA")
    slices: list[SliceWall] = Field([], description="Wall and cavities by slice of the cine")
    slice_volumes: list[SliceVolume] = Field([], description="What was counted in each slice of the cine, base first")
    base_choices: list[BaseChoice] = Field([], description="What another choice of the base would change")
    maps: Maps = Field(Maps(), description="T1, T2 and ECV maps")
    previous: Previous | None = Field(
        None, description="Change since an earlier exam; null where none was given (`analyze --previous`)"
    )
    diagnosis: Diagnosis = Field(description="Proposed diagnosis")
    quality: Quality = Field(description="Flags, reasons and confidence")
    provenance: Provenance = Field(description="What made these numbers")
