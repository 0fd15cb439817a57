"""Segmentations written as DICOM: on the right pixels of the right frames, under the right patient."""

import json
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_results import SHA256, Sent, measured, phantom, present, sent, write_dicom
from dicom_writer import BIRTH_DATE, NAME, change
from dicom_writer import write_dicom as send
from myoscope.analysis import judge
from myoscope.io.dicom.write import dicom_results
from myoscope.io.read import read_study
from myoscope.labels import Structure
from myoscope.study import Case, Role

ROLES = (Role.CINE, Role.LGE, Role.T2)


@pytest.fixture(scope="module", params=["classic", "enhanced", "separate"])
def case(request: pytest.FixtureRequest) -> Sent:
    return sent(request.param)


def _segmentation(case: Sent, role: Role) -> hd.seg.Segmentation:
    return hd.seg.segread(case.out / f"{role}_seg.dcm")


def _source(group: Dataset) -> tuple[str, int | None]:
    source = group.DerivationImageSequence[0].SourceImageSequence[0]
    return source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber")


@pytest.mark.parametrize("role", ROLES)
def test_each_frame_is_the_labels_drawn_on_the_source_frame_it_names(case: Sent, role: Role) -> None:
    segmentation, drawn = _segmentation(case, role), case.drawn(role)
    labels = case.labels[role]
    assert len(drawn) == len(labels.frames) * labels.frames.shape[1]
    titles = {segment.SegmentNumber: segment.SegmentLabel for segment in segmentation.SegmentSequence}
    assert sorted(titles.values()) == sorted(structure.title for structure in present(labels))
    structures = {structure.title: structure for structure in Structure}
    seen = set()
    for group, pixels in zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True):
        structure = structures[titles[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]]
        t, z, expected = drawn[_source(group)]
        assert np.array_equal(pixels.astype(bool), expected == structure)
        seen.add((structure, t, z))
    filled = {
        (s, t, z) for s in present(labels) for t, z in zip(*(labels.frames == s).any((2, 3)).nonzero(), strict=True)
    }
    assert seen == filled and len(segmentation.PerFrameFunctionalGroupsSequence) == len(filled)


@pytest.mark.parametrize("role", ROLES)
def test_each_frame_lies_where_its_source_frame_lies(case: Sent, role: Role) -> None:
    headers = {h.SOPInstanceUID: h for h in map(dcmread, case.source.rglob("*.dcm"))}
    segmentation = _segmentation(case, role)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        uid, number = _source(group)
        header = headers[uid]
        place, plane, pixels = header, header, header
        if number is not None:
            place = header.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0]
            plane = header.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
            pixels = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert group.PlanePositionSequence[0].ImagePositionPatient == place.ImagePositionPatient
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == plane.ImageOrientationPatient
        assert shared.PixelMeasuresSequence[0].PixelSpacing == pixels.PixelSpacing
        assert segmentation.FrameOfReferenceUID == header.FrameOfReferenceUID
    distance = case.labels[role].spacing_mm[0]
    assert float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices) == pytest.approx(distance, abs=1e-5)


def test_highdicom_finds_the_labels_of_source_instances() -> None:
    case = sent("classic")
    for role in ROLES:
        segmentation = _segmentation(case, role)
        drawn = {uid: labels for (uid, _), (_, _, labels) in case.drawn(role).items()}
        numbers = segmentation.get_pixels_by_source_instance(
            list(drawn), combine_segments=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(numbers, _numbered(segmentation, np.stack(list(drawn.values()))))


def test_highdicom_finds_the_labels_of_source_frames() -> None:
    case = sent("enhanced")
    for role in ROLES:
        segmentation = _segmentation(case, role)
        drawn = {number: labels for (_, number), (_, _, labels) in case.drawn(role).items()}
        ((uid, _), *_) = case.drawn(role)
        numbers = segmentation.get_pixels_by_source_frame(
            uid, list(drawn), combine_segments=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(numbers, _numbered(segmentation, np.stack(list(drawn.values()))))


def _numbered(segmentation: hd.seg.Segmentation, labels: np.ndarray) -> np.ndarray:
    numbers = np.zeros_like(labels)
    for segment in segmentation.SegmentSequence:
        (structure,) = (s for s in Structure if s.title == segment.SegmentLabel)
        numbers[labels == structure] = segment.SegmentNumber
    return numbers


def test_a_cine_is_indexed_by_segment_phase_and_place(case: Sent) -> None:
    segmentation, drawn = _segmentation(case, Role.CINE), case.drawn(Role.CINE)
    contents = [group.FrameContentSequence[0] for group in segmentation.PerFrameFunctionalGroupsSequence]
    indices = [tuple(content.DimensionIndexValues) for content in contents]
    assert len(segmentation.DimensionIndexSequence) == 3
    assert max(Counter(indices).values()) == 1
    assert indices == sorted(indices)
    for group, content in zip(segmentation.PerFrameFunctionalGroupsSequence, contents, strict=True):
        assert content.TemporalPositionIndex == drawn[_source(group)][0] + 1
        assert content.DimensionIndexValues[1] == content.TemporalPositionIndex


def test_an_archive_files_it_with_the_study(case: Sent) -> None:
    source = [dcmread(path, stop_before_pixels=True) for path in case.source.rglob("*.dcm")]
    written = [dcmread(path) for path in case.out.iterdir()]
    assert len(written) == 4
    for found in written:
        assert (str(found.PatientName), found.PatientID, found.PatientBirthDate) == (NAME, "PID-0815", BIRTH_DATE)
        for keyword in ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientSex"):
            assert found[keyword].value == source[0][keyword].value
        assert (found.Manufacturer, found.ManufacturerModelName) == ("myoscope", "myoscope")
        assert "research use only" in found.SeriesDescription
    for keyword in ("SeriesNumber", "SeriesInstanceUID", "SOPInstanceUID"):
        values = [found[keyword].value for found in written]
        assert len(set(values)) == 4 and not set(values) & {header[keyword].value for header in source}


def test_all_source_instances_are_referenced_by_their_series(case: Sent) -> None:
    for role in ROLES:
        uids = {uid for uid, _ in case.drawn(role)}
        headers = [dcmread(path, stop_before_pixels=True) for path in case.source.rglob("*.dcm")]
        expected = {(h.SeriesInstanceUID, h.SOPClassUID, h.SOPInstanceUID) for h in headers if h.SOPInstanceUID in uids}
        found = {
            (series.SeriesInstanceUID, item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
            for series in _segmentation(case, role).ReferencedSeriesSequence
            for item in series.ReferencedInstanceSequence
        }
        assert found == expected


def test_structures_are_coded() -> None:
    coded = {
        segment.SegmentLabel: (
            segment.segmented_property_category.meaning,
            segment.segmented_property_type.scheme_designator,
            segment.segmented_property_type.value,
            segment.anatomic_regions[0].value,
        )
        for role in ROLES
        for segment in _segmentation(sent("classic"), role).SegmentSequence
    }
    assert coded == {
        "LV blood pool": ("Body Substance", "SCT", "87612001", "87878005"),
        "LV myocardium": ("Anatomical Structure", "SCT", "49848007", "87878005"),
        "infarct": ("Morphologically Abnormal Structure", "SCT", "55641003", "49848007"),
        "no-reflow": ("Morphologically Abnormal Structure", "99MYOSCOPE", "NO_REFLOW", "49848007"),
        "edema": ("Morphologically Abnormal Structure", "SCT", "79654002", "49848007"),
        "RV blood pool": ("Body Substance", "SCT", "87612001", "53085002"),
    }
    (scheme,) = _segmentation(sent("classic"), Role.LGE).CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99MYOSCOPE"


def test_the_algorithm_is_named_with_its_weights() -> None:
    for segment in _segmentation(sent("classic"), Role.LGE).SegmentSequence:
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert algorithm.AlgorithmName == "myoscope"
        assert "compact-lge" in algorithm.AlgorithmParameters and SHA256 in algorithm.AlgorithmParameters


def test_labels_of_a_person_claim_no_algorithm() -> None:
    case = sent("classic", automatic=False)
    for segment in _segmentation(case, Role.LGE).SegmentSequence:
        assert segment.SegmentAlgorithmType == "MANUAL"
        assert "SegmentAlgorithmName" not in segment


def test_saved_with_the_rest_and_nothing_of_an_older_result_left(tmp_path: Path) -> None:
    result = sent("classic").result
    result.save(tmp_path)
    assert {path.name for path in (tmp_path / "dicom").iterdir()} == {f"{r}_seg.dcm" for r in ROLES} | {"report_sr.dcm"}
    texts = [(tmp_path / name).read_text() for name in ("report.html", "measurements.json", "measurements.csv")]
    assert not any(secret in text for text in texts for secret in ("Muster", BIRTH_DATE))
    study = replace(result.study, series=tuple(s for s in result.study.series if s.role is Role.T2))
    nothing = study.series[0].image.with_voxels(np.zeros(study.series[0].image.voxels.shape, np.uint8))
    judge(study, {Role.T2: nothing}, {}).save(tmp_path)
    assert [path.name for path in (tmp_path / "dicom").iterdir()] == ["report_sr.dcm"]


def test_headers_that_are_poor_or_odd(tmp_path: Path) -> None:
    case = _only(phantom(), Role.T2)
    odd = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "PatientSex": "X", "StudyTime": None}
    odd |= {"AccessionNumber": None, "SliceThickness": None, "SpacingBetweenSlices": None, "StudyDate": "2026.13.40"}
    for path in send(case.study, tmp_path / "source"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, on the date
            change(path, **odd)
    result = measured(read_study(tmp_path / "source"), case)
    for path in write_dicom(tmp_path / "dicom", result.study, result.labels, result.measurements):
        found = dcmread(path)
        assert str(found.PatientName) == "Müller^Jörg"
        assert (found.PatientSex, found.StudyDate, found.StudyTime, found.AccessionNumber) == ("", "", "", "")


def flags_of(out: Path) -> dict[str, str]:
    flags = json.loads((out / "measurements.json").read_text())["quality"]["flags"]
    return {f["code"]: f["message"] for f in flags if f["level"] == "warning"}


def test_a_source_that_is_gone_costs_the_dicom_only(tmp_path: Path) -> None:
    case = _only(phantom(), Role.T2)
    files = send(case.study, tmp_path / "source")
    result = measured(read_study(tmp_path / "source"), case)
    files[3].unlink()
    objects, (flag,) = dicom_results(result.study, result.labels, result.measurements)
    assert objects == {}
    assert (flag.code, flag.level) == ("dicom_not_written", "warning")
    assert flag.message.startswith("Not written as DICOM: segmentations and report (the source's files are gone")


def test_images_that_share_a_uid_cost_the_dicom_only(tmp_path: Path) -> None:
    case = _only(phantom(), Role.T2)
    for path in send(case.study, tmp_path / "source"):
        change(path, SOPInstanceUID="1.2.3.4")
    measured(read_study(tmp_path / "source"), case).save(tmp_path / "out")
    assert "dicom_not_written" in flags_of(tmp_path / "out")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", b"Doe\\Jane "),
        ("PatientName", "\u8a31^\u5fd7\u660e".encode("big5")),
        ("PatientID", b"A1\\A2 "),
        ("PatientID", b"x" * 90),
        ("StudyID", b"S" * 40),
        ("StudyTime", b"unknown "),
        ("StudyDate", b"unknown "),
        ("PatientSex", b"F\\M "),
        ("SliceThickness", b"8,0 "),
        ("FrameOfReferenceUID", b"no.uid"),
        ("InstitutionName", b"a\\b "),
    ],
)
def test_a_malformed_field_never_costs_the_result(
    keyword: str, value: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = _only(phantom(), Role.T2)
    tag = Tag(keyword)
    for path in send(case.study, tmp_path / "source"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path)
            dataset.pop(tag, None)
            del dataset.SpecificCharacterSet
            dataset._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
            dataset.save_as(path, enforce_file_format=True)
    measured(read_study(tmp_path / "source"), case).save(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out" / "dicom").iterdir()) == ["report_sr.dcm", "t2_seg.dcm"]
    assert capfd.readouterr() == ("", "")
    left_out = flags_of(tmp_path / "out").get("dicom_fields_left_out", "")
    required = keyword.startswith(("Patient", "Study"))
    assert (keyword in left_out) == required
    assert "Doe" not in left_out


def _only(case: Case, role: Role) -> Case:
    series = tuple(s for s in case.study.series if s.role is role)
    return replace(case, study=replace(case.study, series=series), labels={role: case.labels[role]})
