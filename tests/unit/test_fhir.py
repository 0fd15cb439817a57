"""fhir/observations.json: a Bundle of FHIR R4, with the numbers of measurements.json and nobody's name."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fhirclient.models.bundle import Bundle
from fhirclient.models.fhirabstractbase import FHIRValidationError
from jsonschema import Draft6Validator

from dicom_results import sent, with_maps
from dicom_writer import BIRTH_DATE
from myoscope.analysis import Result
from myoscope.io.fhir import OWN_SYSTEM, fhir_bundle
from myoscope.measure.results import NOTICE, Flag

SCHEMA_VARIABLE = "MYOSCOPE_FHIR_SCHEMA"
SCHEMA = os.environ.get(SCHEMA_VARIABLE, "")
"""HL7's JSON schema of R4, which no Python package carries."""


@pytest.fixture(scope="module")
def result() -> Result:
    return sent("classic").result


def _observations(result: Result) -> list[dict[str, Any]]:
    return [e["resource"] for e in json.loads(fhir_bundle(result.measurements, "1.2.3"))["entry"]]


def _coded(result: Result) -> dict[tuple[str, str, str], tuple[float, str]]:
    """(system, code, site) to value and unit, of every Observation."""
    return {
        (
            (coding := one["code"]["coding"][0])["system"],
            coding["code"],
            one.get("bodySite", {"coding": [{"code": ""}]})["coding"][0]["code"],
        ): (one["valueQuantity"]["value"], one["valueQuantity"]["code"])
        for one in _observations(result)
    }


def test_the_bundle_is_r4(result: Result) -> None:
    """fhirclient's models are made from R4's definitions: types, cardinalities, no unknown property."""
    whole = json.loads(fhir_bundle(result.measurements, "1.2.3"))
    assert len(Bundle(whole).entry) > 60
    del whole["entry"][0]["resource"]["code"]
    with pytest.raises(FHIRValidationError):
        Bundle(whole)


def test_values_stand_under_their_codes(result: Result) -> None:
    m, coded = result.measurements, _coded(result)
    assert coded["http://loinc.org", "8821-1", "87878005"] == (pytest.approx(m.lv.edv_ml, rel=1e-3), "ml")
    ef = coded["http://loinc.org", "8811-2", "87878005"]
    assert ef == (pytest.approx(m.lv.ejection_fraction_percent, rel=1e-3), "%")
    assert coded["http://snomed.info/sct", "90096001", "87878005"] == (pytest.approx(m.lv.sv_ml, rel=1e-3), "ml")
    scar = coded[OWN_SYSTEM, "SEGMENT_SCAR", "264849008"]  # apical inferior
    assert scar == (pytest.approx(m.segments[14].scar_percent, rel=1e-3), "%")


def test_no_value_no_observation(result: Result) -> None:
    lv = result.measurements.lv.model_copy(update={"edv_ml": None})
    fewer = replace(result, measurements=result.measurements.model_copy(update={"lv": lv}))
    gone = _coded(result).keys() - _coded(fewer).keys()
    assert gone == {("http://loinc.org", "8821-1", "87878005")}


@pytest.fixture(scope="module")
def mapped(result: Result) -> Result:
    return with_maps(result)


if SCHEMA:  # HL7's own file, which no Python package carries: docs/decisions.md, FHIR

    def test_the_bundle_is_valid_by_the_specifications_json_schema(mapped: Result) -> None:
        schema = json.loads(Path(SCHEMA).read_text())
        assert schema["id"] == "http://hl7.org/fhir/json-schema/4.0"
        validator = Draft6Validator(schema)
        whole = json.loads(fhir_bundle(mapped.measurements, "1.2.3"))
        assert list(validator.iter_errors(whole)) == []
        whole["entry"][0]["resource"]["valueQuantity"]["value"] = "five"
        assert list(validator.iter_errors(whole))


def test_maps_stand_by_segment_and_the_bundle_stays_r4(result: Result, mapped: Result) -> None:
    coded = _coded(mapped)
    for name in ("T1_UNTOLD", "T1_NATIVE", "T1_POST", "T2_TIME"):
        assert coded[OWN_SYSTEM, name, "49848007"] == (1004, "ms")
        assert coded[OWN_SYSTEM, name, "396646008"] == (991, "ms")
    assert coded[OWN_SYSTEM, "ECV", "49848007"] == (27.31, "%")
    assert coded[OWN_SYSTEM, "ECV", "264849008"] == (61, "%")
    assert coded[OWN_SYSTEM, "ECV_MAP", "49848007"] == (26, "%")
    found = _observations(mapped)
    assert len(found) == len(_observations(result)) + 11 == len({one["code"]["text"] for one in found})
    assert len(Bundle(json.loads(fhir_bundle(mapped.measurements, "1.2.3"))).entry) == len(found)


def test_every_observation_is_told_apart_and_preliminary(result: Result) -> None:
    found = _observations(result)
    assert len({one["id"] for one in found}) == len(found) == len({one["code"]["text"] for one in found})
    assert {one["status"] for one in found} == {"preliminary"}
    assert {one["note"][0]["text"] for one in found} == {NOTICE}
    assert {one["derivedFrom"][0]["identifier"]["value"] for one in found} == {"urn:oid:1.2.3"}


def test_warnings_and_convention_go_with_every_number(result: Result) -> None:
    m = result.measurements
    flags = [
        Flag(code="slice_gap", level="warning", series="cine", message="Volumes are too small."),
        Flag(code="heart_not_found", level="error", series="lge", message="No heart."),
        Flag(code="stack_ends_at_base", level="info", series="cine", message="Perhaps short."),
    ]
    provenance = m.provenance.model_copy(update={"conventions": ["Discs.", "Papillary muscles count as myocardium."]})
    m = m.model_copy(update={"quality": m.quality.model_copy(update={"flags": flags}), "provenance": provenance})
    expected = [NOTICE, "warning: Volumes are too small.", "error: No heart.", "Papillary muscles count as myocardium."]
    for one in _observations(replace(result, measurements=m)):
        assert [note["text"] for note in one["note"]] == expected


def test_it_lies_in_out_without_a_name_and_goes_with_its_result(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path)
    text = (tmp_path / "fhir" / "observations.json").read_text()
    assert result.study.id in text
    assert not any(word in text for word in ("Muster", "Erika", "PID-0815", BIRTH_DATE))
    nifti = replace(
        result,
        study=replace(result.study, series=tuple(replace(s, source=None, files=()) for s in result.study.series)),
    )
    nifti.save(tmp_path)
    assert not (tmp_path / "fhir").exists()
