"""The structured report: the numbers of measurements.json, each with code, unit and site, and what they rest on."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_results import SHA256, Sent, sent, with_maps, write_dicom
from myoscope.analysis import judge
from myoscope.io.dicom.sr import sensible
from myoscope.measure.results import NOTICE
from myoscope.study import Patient, Role

NO_MEASUREMENT = {"ed_frame", "es_frame", "frame_time_ms", "volume_curve_ml", "scar_sheet"}


def is_strain(key: str) -> bool:
    """Strain has no codes: it is left out of the SR."""
    return "strain" in key or key == "circumferential_uniformity"


@pytest.fixture(scope="module", params=["classic", "enhanced", "separate"])
def case(request: pytest.FixtureRequest) -> Sent:
    return sent(request.param)


def _report(case: Sent) -> hd.sr.Comprehensive3DSR:
    return hd.sr.srread(case.out / "report_sr.dcm")


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from _items(item)


def _code(item: Dataset, keyword: str = "ConceptNameCodeSequence") -> tuple[str, str]:
    code = item[keyword].value[0]
    return code.CodingSchemeDesignator, code.CodeValue


def _numbers(dataset: Dataset) -> list[tuple[tuple[str, str], float, str]]:
    found = []
    for item in _items(dataset):
        if item.ValueType == "NUM":
            value = item.MeasuredValueSequence[0]
            found.append((_code(item), value.FloatingPointValue, _code(value, "MeasurementUnitsCodeSequence")[1]))
    return found


def _expected(measured: dict[str, Any]) -> list[float]:
    parts = [measured[name] for name in ("lv", "rv", "lge", "t2")]
    values = [v for part in parts for key, v in part.items() if key not in NO_MEASUREMENT and not is_strain(key)]
    values += [measured["patient"][key] for key in ("bsa_m2", "heart_rate_bpm")]
    values += [v for s in measured["segments"] for key, v in s.items() if key.endswith(("_mm", "_percent"))]
    values += [p for series in measured["diagnosis"]["by_series"].values() for p in series["probabilities"].values()]
    return [sensible(value) for value in values if value is not None]


def test_its_numbers_are_those_of_measurements_json(case: Sent) -> None:
    measured = case.result.measurements.model_dump()
    numbers = _numbers(_report(case))
    assert len(numbers) > 60
    assert Counter(value for _, value, _ in numbers) == Counter(_expected(measured))


def test_numbers_carry_their_codes_and_units(case: Sent) -> None:
    m = case.result.measurements
    numbers = _numbers(_report(case))
    for expected in (
        (("LN", "8821-1"), m.lv.edv_ml, "ml"),
        (("LN", "8811-2"), m.lv.ejection_fraction_percent, "%"),
        (("99MYOSCOPE", "LVEDV_INDEX"), m.lv.edv_index_ml_m2, "ml/m2"),
        (("LN", "18087-7"), m.lv.mass_g, "g"),
        (("SCT", "54993008"), m.lv.cardiac_index_l_min_m2, "l/min/m2"),
        (("LN", "8824-5"), m.rv.esv_ml, "ml"),
        (("SCT", "118538004"), m.lge.infarct_g, "g"),
        (("99MYOSCOPE", "LV_SHARE"), m.lge.no_reflow_percent, "%"),
        (("DCM", "122445"), m.segments[7].wall_thickness_es_mm, "mm"),
        (("LN", "8277-6"), m.patient.bsa_m2, "m2"),
    ):
        name, value, unit = expected
        assert (name, sensible(value), unit) in numbers


def test_segments_have_their_sites_and_phases(case: Sent) -> None:
    groups = {group.tracking_identifier: group for group in _report(case).content.get_image_measurement_groups()}
    group = groups["AHA segment 8, mid anteroseptal"]
    (site,) = group.finding_sites
    assert (site.topographical_modifier, site.value.value) == (None, "396647004")
    wall = case.result.measurements.segments[7]
    phases = {
        item.MeasuredValueSequence[0].FloatingPointValue: _code(modifier, "ConceptCodeSequence")[1]
        for item in group[0].ContentSequence
        if item.ValueType == "NUM" and _code(item) == ("DCM", "122445")
        for modifier in item.ContentSequence
        if _code(modifier) == ("SCT", "246092007")
    }
    ed_mm, es_mm = sensible(wall.wall_thickness_ed_mm), sensible(wall.wall_thickness_es_mm)
    assert phases == {ed_mm: "416190007", es_mm: "416430001"}


def test_measurements_of_one_segment_refer_to_it(case: Sent) -> None:
    groups = _report(case).content.get_volumetric_roi_measurement_groups()
    segments = {}
    for role in (Role.CINE, Role.LGE, Role.T2):
        segmentation = dcmread(case.out / f"{role}_seg.dcm")
        for segment in segmentation.SegmentSequence:
            segments[segmentation.SOPInstanceUID, segment.SegmentNumber] = (segment.TrackingUID, segment.SegmentLabel)
    referred = []
    for group in groups:
        (item,) = (i for i in group[0].ContentSequence if _code(i) == ("DCM", "121191"))
        reference = item.ReferencedSOPSequence[0]
        uid, label = segments[reference.ReferencedSOPInstanceUID, reference.ReferencedSegmentNumber]
        assert group.tracking_uid == uid
        referred.append(label)
    assert referred == ["LV blood pool", "LV myocardium", "RV blood pool", "no-reflow", "edema"]


def test_measurements_of_several_segments_refer_to_the_segmentation(case: Sent) -> None:
    """Infarct as reported holds the segments infarct and no-reflow."""
    (group,) = (
        group
        for group in _report(case).content.get_image_measurement_groups()
        if group.tracking_identifier == "Infarct including no-reflow"
    )
    (source,) = group.source_images
    assert source.referenced_sop_instance_uid == dcmread(case.out / "lge_seg.dcm").SOPInstanceUID
    assert group.finding_type.value == "55641003"
    (volume,) = group.get_measurements(hd.sr.CodedConcept("118565006", "SCT", "Volume"))
    assert volume.value == sensible(case.result.measurements.lge.infarct_ml)


def test_evidence_is_every_source_instance_and_segmentation(case: Sent) -> None:
    headers = [dcmread(path, stop_before_pixels=True) for path in (*case.source.rglob("*.dcm"), *case.out.iterdir())]
    expected = {(h.SeriesInstanceUID, h.SOPInstanceUID) for h in headers if h.Modality != "SR"}
    (study,) = _report(case).CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == headers[0].StudyInstanceUID
    found = [
        (s.SeriesInstanceUID, i.ReferencedSOPInstanceUID)
        for s in study.ReferencedSeriesSequence
        for i in s.ReferencedSOPSequence
    ]
    assert len(found) == len(expected) and set(found) == expected


def test_nobody_verified_it_and_a_device_observed() -> None:
    report = _report(sent("classic"))
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert report.CompletionFlag == "COMPLETE"
    (observer,) = report.content.get_observer_contexts()
    assert observer.observer_type.meaning == "Device"
    assert observer.observer_identifying_attributes.name == "myoscope"


def test_a_series_that_was_not_segmented_makes_it_partial(tmp_path: Path) -> None:
    result = sent("classic").result
    labels = {role: volume for role, volume in result.labels.items() if role is not Role.T2}
    again = judge(result.study, labels, {role: {"labels_from": "x"} for role in labels})
    write_dicom(tmp_path / "dicom", again.study, labels, again.measurements)
    assert hd.sr.srread(tmp_path / "dicom" / "report_sr.dcm").CompletionFlag == "PARTIAL"


def test_what_is_null_is_left_out(tmp_path: Path) -> None:
    result = sent("classic").result
    study = replace(result.study, patient=Patient())
    again = judge(study, {Role.CINE: result.labels[Role.CINE]}, {})
    write_dicom(tmp_path / "dicom", study, {Role.CINE: result.labels[Role.CINE]}, again.measurements)
    report = hd.sr.srread(tmp_path / "dicom" / "report_sr.dcm")
    measured = again.measurements.model_dump()
    assert measured["lv"]["edv_index_ml_m2"] is None and measured["lge"]["infarct_ml"] is None
    assert Counter(value for _, value, _ in _numbers(report)) == Counter(_expected(measured))


def test_maps_stand_in_the_wall_and_in_their_segments(tmp_path: Path) -> None:
    result = with_maps(sent("classic").result)
    write_dicom(tmp_path / "dicom", result.study, result.labels, result.measurements)
    report = hd.sr.srread(tmp_path / "dicom" / "report_sr.dcm")
    groups = {group.tracking_identifier: group for group in report.content.get_image_measurement_groups()}
    own = [("99MYOSCOPE", name) for name in ("T1_UNTOLD", "T1_NATIVE", "T1_POST", "T2_TIME", "ECV_MAP", "ECV")]
    found = {}
    for title in (
        "T1, T2 and ECV maps, whole wall",
        "AHA segment 3, basal inferoseptal",
        "AHA segment 15, apical inferior",
    ):
        (site,) = groups[title].finding_sites
        found[site.value.value] = [one for one in _numbers(groups[title][0]) if one[0] in own]
    assert found["49848007"] == [
        *((name, 1004.0, "ms") for name in own[:4]),
        (own[4], 26.0, "%"),
        (own[5], 27.31, "%"),
    ]
    assert found["396646008"] == [(name, 991.0, "ms") for name in own[:4]]
    assert found["264849008"] == [(own[5], 61.0, "%")]
    plain = Counter(_numbers(_report(sent("classic"))))
    assert Counter(_numbers(report)) - plain == Counter(one for some in found.values() for one in some)
    assert not plain - Counter(_numbers(report))


def test_the_proposed_class_is_in_a_scheme_of_our_own() -> None:
    case = sent("classic")
    groups = _report(case).content.get_image_measurement_groups()
    for name, diagnosis in case.result.measurements.diagnosis.by_series.items():
        (group,) = (g for g in groups if g.tracking_identifier == f"Proposed class from {name}, research use only")
        (proposed,) = group.get_qualitative_evaluations()
        assert (proposed.value.scheme_designator, proposed.value.value) == ("99MYOSCOPE", diagnosis.prediction)
        shares = {
            _code(modifier, "ConceptCodeSequence")[1]: item.MeasuredValueSequence[0].FloatingPointValue
            for item in group[0].ContentSequence
            if item.ValueType == "NUM"
            for modifier in item.ContentSequence
        }
        assert shares == {name: sensible(p) for name, p in diagnosis.probabilities.items()}


def test_flags_and_the_notice_stand_in_it_as_text() -> None:
    case = sent("classic")
    texts = [item.TextValue for item in _items(_report(case)) if item.ValueType == "TEXT"]
    flags = case.result.measurements.quality.flags
    assert flags and NOTICE in texts
    for flag in flags:
        assert f"{flag.level}: {flag.message}" in texts
    assert f"weights_sha256={SHA256}" in texts
