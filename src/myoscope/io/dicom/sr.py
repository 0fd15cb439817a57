"""Measurements as a DICOM structured report after TID 1500, Comprehensive 3D SR as IHE's AI Results profile asks."""

from collections.abc import Mapping
from typing import Any

import highdicom as hd
from highdicom import sr
from highdicom.seg import Segmentation
from pydicom.sr.codedict import codes as dicom
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from myoscope.diagnose.words import class_words
from myoscope.io.dicom import codes
from myoscope.io.dicom.codes import AHA_SITES, GROUPS, MAP_NAMES, SEGMENT_NAMES, Group, own, unit_of
from myoscope.io.dicom.source import Planes, instances
from myoscope.measure.mapped import Maps
from myoscope.measure.results import Measurements, Segment, SeriesDiagnosis, SeriesProvenance
from myoscope.study import Role


def structured_report(
    measurements: Measurements,
    planes: Mapping[Role, Planes],
    segmentations: Mapping[Role, Segmentation],
    maker: dict[str, Any],
) -> sr.Comprehensive3DSR:
    """A measurement report: what was measured, of which segment; the proposed class; what to know before trusting it.

    What is None is left out. Nobody has verified it: PRELIMINARY, UNVERIFIED; COMPLETE where every series of the study
    was segmented and nothing is flagged as an error, else PARTIAL.

    Args:
        measurements: What `measurements.json` holds.
        planes: The source of each series, from `source_planes`.
        segmentations: The objects that the report refers to.
        maker: Series, instance and equipment, as `myoscope.io.dicom.write` gives them.
    """
    origins = {origin.role: origin for origin in measurements.provenance.series}
    groups = [
        *(_group(group, measurements, planes, segmentations, origins) for group in GROUPS),
        _patient(measurements),
        _maps(measurements),
        *(_segment(segment, measurements.maps) for segment in measurements.segments),
        *(_class(name, found) for name, found in measurements.diagnosis.by_series.items()),
    ]
    found = [group for group in groups if group is not None]
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(maker)),
        procedure_reported=codes.CARDIAC_MRI,
        imaging_measurements=found or [_container("Nothing could be measured")],
        title=dicom.DCM.ImagingMeasurementReport,
    )
    report[0].ContentSequence.append(_remarks(measurements))
    sources = [instance for stack in planes.values() for instance in instances(stack)]
    whole = all(origin.labels_from != "not segmented" for origin in measurements.provenance.series)
    return sr.Comprehensive3DSR(
        evidence=[*sources, *segmentations.values()],
        content=report[0],
        is_complete=whole and all(flag.level != "error" for flag in measurements.quality.flags),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **maker,
    )


def _group(
    group: Group,
    measurements: Measurements,
    planes: Mapping[Role, Planes],
    segmentations: Mapping[Role, Segmentation],
    origins: Mapping[str, SeriesProvenance],
) -> sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations | None:
    """One group of measurements, of a segment where they come from one, else of the segmentation; None where empty."""
    part = getattr(measurements, group.part)
    values = {field: getattr(part, field) for field in group.names}
    items = [
        _measurement(
            name, values[field], unit_of(field), getattr(part, f"{field}_interval", None), method=codes.method_of(field)
        )
        for field, name in group.names.items()
        if values[field] is not None
    ]
    if not items:
        return None
    role = next((role for role in group.roles if role in segmentations), None)
    common: dict[str, Any] = {
        "finding_type": group.finding,
        "finding_sites": [sr.FindingSite(group.site)],
        "measurements": items,
    }
    if role is None:
        return _container(group.title, **common)
    common["algorithm_id"] = _algorithm(origins[role], measurements.provenance.myoscope_version)
    segmentation = segmentations[role]
    titles = [structure.title for structure in group.structures]
    segments = [segment for segment in segmentation.SegmentSequence if segment.SegmentLabel in titles]
    if len(segments) != 1:
        source = sr.SourceImageForMeasurementGroup(segmentation.SOPClassUID, segmentation.SOPInstanceUID)
        return _container(group.title, source_images=[source], **common)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(segments[0].TrackingUID, segments[0].TrackingID),
        referenced_segment=sr.ReferencedSegment(
            segmentation.SOPClassUID,
            segmentation.SOPInstanceUID,
            segments[0].SegmentNumber,
            **_drawn_on(planes[role]),
        ),
        **common,
    )


def _drawn_on(planes: Planes) -> dict[str, Any]:
    """The series that a segmentation was drawn on, or its images where they are of several."""
    images = instances(planes)
    if len({image.SeriesInstanceUID for image in images}) == 1:
        return {"source_series": sr.SourceSeriesForSegmentation(planes[0][0].SeriesInstanceUID)}
    return {"source_images": [sr.SourceImageForSegmentation(i.SOPClassUID, i.SOPInstanceUID) for i in images]}


def _patient(measurements: Measurements) -> sr.MeasurementsAndQualitativeEvaluations | None:
    """What indices and output were computed with."""
    facts, items = measurements.patient, []
    if facts.bsa_m2 is not None:
        items.append(_measurement(codes.BSA, facts.bsa_m2, unit_of("bsa_m2"), derivation=codes.MOSTELLER))
    if facts.heart_rate_bpm is not None:
        items.append(_measurement(codes.HEART_RATE, facts.heart_rate_bpm, unit_of("heart_rate_bpm")))
    return _container("Patient", measurements=items) if items else None


def _maps(measurements: Measurements) -> sr.MeasurementsAndQualitativeEvaluations | None:
    """What T1, T2 and ECV maps say of the whole wall; of its segments, `_segment` does."""
    items = [
        _measurement(name, value, unit_of(field))
        for part, (field, name) in MAP_NAMES.items()
        if (value := getattr(getattr(measurements.maps, part), field)) is not None
    ]
    site = sr.FindingSite(codes.LV_MYOCARDIUM)
    return _container("T1, T2 and ECV maps, whole wall", measurements=items, finding_sites=[site]) if items else None


def _segment(segment: Segment, maps: Maps) -> sr.MeasurementsAndQualitativeEvaluations | None:
    """One of the 17 segments of the AHA."""
    items = [
        _measurement(name, value, unit_of(field), method=method, phase=phase)
        for field, (name, method, phase) in SEGMENT_NAMES.items()
        if (value := getattr(segment, field)) is not None
    ]
    items += [
        _measurement(name, value, unit_of(field))
        for part, (field, name) in MAP_NAMES.items()
        for row in getattr(maps, part).segments
        if row.segment == segment.segment and (value := getattr(row, field)) is not None
    ]
    if not items:
        return None
    site = sr.FindingSite(AHA_SITES[segment.segment])
    return _container(f"AHA segment {segment.segment}, {segment.name}", measurements=items, finding_sites=[site])


def _class(series: str, found: SeriesDiagnosis) -> sr.MeasurementsAndQualitativeEvaluations:
    """The class proposed from one series, with probabilities; in a scheme of our own, for it is no coded diagnosis."""
    meanings = {name: own(name, class_words(name)) for name in found.probabilities}
    probabilities = [
        _measurement(codes.PROBABILITY, value, codes.RATIO, of_class=meanings[name])
        for name, value in found.probabilities.items()
    ]
    proposed = sr.QualitativeEvaluation(codes.PROPOSED_CLASS, meanings[found.prediction])
    return _container(
        f"Proposed class from {series}, research use only",
        measurements=probabilities,
        qualitative_evaluations=[proposed],
    )


def _measurement(
    name: Code,
    value: float,
    unit: Code,
    ends: tuple[float, float] | None = None,
    phase: Code | None = None,
    of_class: Code | None = None,
    **how: Any,
) -> sr.Measurement:
    """A number with its unit; how far it is to the `ends` of its interval is a property of it (TID 310); `phase` of the
    cycle and the class it is the probability of go with its concept."""
    item = sr.Measurement(name=name, value=sensible(value), unit=unit, **how)
    more: list[sr.ContentItem] = [
        sr.CodeContentItem(modifier, code, sr.RelationshipTypeValues.HAS_CONCEPT_MOD)
        for modifier, code in ((codes.CYCLE_PHASE, phase), (codes.PROPOSED_CLASS, of_class))
        if code is not None
    ]
    for concept, end in zip((codes.LOWER_UNCERTAINTY, codes.UPPER_UNCERTAINTY), ends or (), strict=False):
        how_far = sensible(abs(end - value))
        more.append(
            sr.NumContentItem(concept, how_far, unit, relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES)
        )
    if more:
        item[0].ContentSequence = sr.ContentSequence([*item[0].get("ContentSequence", ()), *more])
    return item


def sensible(value: float) -> float:
    """A measurement with four digits: no contour is more exact.

    >>> sensible(138.323975482624), sensible(0.87654321)
    (138.3, 0.8765)
    """
    return float(f"{value:.4g}")


def _container(title: str, **content: Any) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(sr.TrackingIdentifier(hd.UID(), title), **content)


def _remarks(measurements: Measurements) -> sr.ContainerContentItem:
    """Notice, flags and conventions as text."""
    provenance = measurements.provenance
    flags = [f"{flag.level}: {flag.message}" for flag in measurements.quality.flags]
    remarks = sr.ContainerContentItem(codes.QUALITATIVE, relationship_type=sr.RelationshipTypeValues.CONTAINS)
    remarks.ContentSequence = sr.ContentSequence(
        [
            sr.TextContentItem(codes.COMMENT, text, sr.RelationshipTypeValues.CONTAINS)
            for text in (provenance.notice, *flags, *provenance.conventions)
        ]
    )
    return remarks


def _algorithm(origin: SeriesProvenance, version: str) -> sr.AlgorithmIdentification | None:
    """What made the labels; None where a person did."""
    if origin.weights_sha256 is None:
        return None
    parameters = [f"system={origin.labels_from}", f"weights_sha256={origin.weights_sha256}"]
    return sr.AlgorithmIdentification("myoscope", version, parameters)


def _observer(maker: Mapping[str, Any]) -> sr.ObserverContext:
    """The program: one UID for every installation of one version."""
    version = maker["software_versions"]
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["myoscope", version]),
        name="myoscope",
        manufacturer_name=maker["manufacturer"],
        model_name=maker["manufacturer_model_name"],
    )
    return sr.ObserverContext(dicom.DCM.Device, device)
