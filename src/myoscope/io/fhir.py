"""Measurements as FHIR R4: a Bundle of Observations, for whoever takes numbers into a record.

Concepts, sites and units are those of the DICOM report (`io.dicom.codes`): LOINC, SNOMED CT, DCM, UCUM. What has no
public code has one in a system of our own. An Observation is `preliminary`: nobody has confirmed it; its notes have the
study's warnings, and how papillary muscles were counted, for an Observation is read alone. It names no patient; it is
derived from the imaging study, by the study's UID, and whoever files it adds the subject.

Source: HL7 FHIR R4 (4.0.1), http://hl7.org/fhir/R4/observation.html.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from pydicom.sr.coding import Code

from myoscope.io.dicom.codes import (
    AHA_SITES,
    BSA,
    GROUPS,
    HEART_RATE,
    LV_MYOCARDIUM,
    MAP_NAMES,
    MOSTELLER,
    SCHEME,
    SEGMENT_NAMES,
    unit_of,
)
from myoscope.io.dicom.sr import sensible
from myoscope.measure.results import Measurements

OWN_SYSTEM = f"urn:oid:2.25.{uuid5(NAMESPACE_OID, 'myoscope observation codes').int}"
"""Our own codes' system: an OID made of a UUID, as ITU-T X.667 allows without a register."""

_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    SCHEME: OWN_SYSTEM,
}
_PATIENT = {"bsa_m2": (BSA, MOSTELLER), "heart_rate_bpm": (HEART_RATE, None)}


def fhir_bundle(measurements: Measurements, study_uid: str) -> str:
    """Everything that was measured, as the JSON of a FHIR R4 Bundle (collection); what is missing is left out.

    Args:
        measurements: Of the study.
        study_uid: StudyInstanceUID of the DICOM study.
    """
    made = measurements.provenance
    warned = dict.fromkeys(
        f"{flag.level}: {flag.message}" for flag in measurements.quality.flags if flag.level != "info"
    )
    counted = [line for line in made.conventions if line.startswith("Papillary muscles")]
    shared = {
        "status": "preliminary",
        "category": [
            {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging"},
                ]
            }
        ],
        "issued": made.created_utc,
        "device": {"display": f"myoscope {made.myoscope_version}"},
        "derivedFrom": [
            {"type": "ImagingStudy", "identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"}}
        ],
        "note": [{"text": text} for text in (made.notice, *warned, *counted)],
    }
    entries = []
    for name, value, parts in _found(measurements):
        ident = uuid5(NAMESPACE_OID, f"{study_uid} {made.created_utc} {name}")
        unit = unit_of(name.split(".")[-1])
        quantity = {
            "value": sensible(value),
            "unit": unit.meaning if unit.value == "1" else unit.value,
            "system": "http://unitsofmeasure.org",
            "code": unit.value,
        }
        about = {"resourceType": "Observation", "id": str(ident), **shared, **parts, "valueQuantity": quantity}
        entries.append({"fullUrl": f"urn:uuid:{ident}", "resource": about})
    bundle = {"resourceType": "Bundle", "type": "collection", "timestamp": made.created_utc}
    return json.dumps(bundle | ({"entry": entries} if entries else {}), indent=1) + "\n"


def _found(measurements: Measurements) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Dotted name, value, and what its Observation says of it, for every value that has a concept."""
    for name, (code, method) in _PATIENT.items():
        if (value := getattr(measurements.patient, name)) is not None:
            yield f"patient.{name}", value, _about(code, None, method, None)
    for group in GROUPS:
        for name, code in group.names.items():
            if (value := getattr(getattr(measurements, group.part), name)) is not None:
                yield f"{group.part}.{name}", value, _about(code, group.site, None, group.title)
    for row in measurements.segments:
        for name, (code, method, phase) in SEGMENT_NAMES.items():
            if (value := getattr(row, name)) is not None:
                words = f"{row.name}: {phase.meaning if phase else 'of the segment'}"
                yield f"segments.{row.segment}.{name}", value, _about(code, AHA_SITES[row.segment], method, words)
    yield from _of_maps(measurements)


def _of_maps(measurements: Measurements) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """The same of maps, in the whole wall and in each segment."""
    for part, (field, code) in MAP_NAMES.items():
        found = getattr(measurements.maps, part)
        if (whole := getattr(found, field)) is not None:
            yield f"maps.{part}.{field}", whole, _about(code, LV_MYOCARDIUM, None, "whole wall")
        for row in found.segments:
            if (value := getattr(row, field)) is not None:
                name = f"maps.{part}.segments.{row.segment}.{field}"
                yield name, value, _about(code, AHA_SITES[row.segment], None, row.name)


def _about(code: Code, site: Code | None, method: Code | None, words: str | None) -> dict[str, Any]:
    """Concept, site and method; `words` say in the concept's text what its code alone does not."""
    text = f"{code.meaning} ({words})" if words else code.meaning
    parts: dict[str, Any] = {"code": {**_concept(code), "text": text}}
    parts |= {"bodySite": _concept(site)} if site else {}
    return parts | ({"method": _concept(method)} if method else {})


def _concept(code: Code) -> dict[str, Any]:
    return {"coding": [{"system": _SYSTEMS[code.scheme_designator], "code": code.value, "display": code.meaning}]}
