"""Maps in DICOM: values by real-world mappings, one slice alone. Each is made from the images of the LGE beside it."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from dicom_writer import change, files, save, tiny_study, write_dicom
from myoscope.io.read import read_study, sort_dicom
from myoscope.study import Role, Study

LGE = 8
"""The series number that LGE of the tiny study is written with."""


def _mapping(unit: str, slope: float | None, intercept: float = 0.0, ends: tuple[int, int] = (0, 65535)) -> Dataset:
    item, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
    item.MeasurementUnitsCodeSequence = Sequence([code])
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = ends
    item["RealWorldValueFirstValueMapped"].VR = item["RealWorldValueLastValueMapped"].VR = "US"
    if slope is not None:
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    return item


def _as_map(
    study: Path, kind: str, *mappings: Dataset, slices: slice = slice(None), number: int = 20, **tags: object
) -> None:
    """Put a map into a study: the images of its LGE under another number, with other words and mappings."""
    uid = generate_uid()
    for i, path in enumerate(files(study, LGE)[slices]):
        d = dcmread(path)
        d.SeriesInstanceUID, d.SeriesNumber, d.SOPInstanceUID = uid, number, generate_uid()
        d.ImageType, d.SeriesDescription, d.ProtocolName = ["DERIVED", "PRIMARY", f"{kind} MAP", kind], "map", "map"
        if mappings and "SharedFunctionalGroupsSequence" in d:
            d.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = Sequence(mappings)
        elif mappings:
            d.RealWorldValueMappingSequence = Sequence(mappings)
        for key, value in tags.items():
            setattr(d, key, value)
        save(d, study / f"map{number}-{i}.dcm")


def _read(study: Path, role: Role) -> tuple[np.ndarray, np.ndarray | None]:
    """Voxels of the LGE, and of the map where it is read."""
    found: Study = read_study(study)
    late, mapped = found.get(Role.LGE), found.get(role)
    assert late is not None
    return late.image.frames[0], mapped and mapped.image.frames[0]


@pytest.mark.parametrize("shape", ["classic", "enhanced"])
@pytest.mark.parametrize(
    ("kind", "role", "unit", "slope", "intercept", "factor"),
    [
        ("T1", Role.MAP_T1_POST, "ms", 0.5, 100.0, 1.0),
        ("T1", Role.MAP_T1_POST, "s", 0.001, 0.1, 1000.0),
        ("T2", Role.MAP_T2, "ms", 0.1, 0.0, 1.0),
        ("ECV", Role.MAP_ECV, "%", 0.02, 0.0, 1.0),
        ("ECV", Role.MAP_ECV, "1", 0.0002, 0.0, 100.0),
    ],
)
def test_a_real_world_mapping_says_the_values(
    shape: str, kind: str, role: Role, unit: str, slope: float, intercept: float, factor: float, tmp_path: Path
) -> None:
    write_dicom(tiny_study(), tmp_path, shape)
    rescale = {"RescaleSlope": 7.0, "RescaleIntercept": 3.0, "RescaleType": "US"} if shape == "classic" else {}
    late_is_first = {"AcquisitionTime": "235900"} if shape == "classic" else {}
    description = {"SeriesDescription": "map post gd" if kind == "T1" else "map"}
    _as_map(tmp_path, kind, _mapping(unit, slope, intercept), **rescale, **late_is_first, **description)
    late, mapped = _read(tmp_path, role)
    assert mapped is not None
    np.testing.assert_allclose(mapped, factor * (slope * late + intercept), rtol=1e-5)


@pytest.mark.parametrize(
    "mappings",
    [
        (_mapping("Hz", 1.0),),
        (_mapping("ms", None),),  # a table, no line
        (_mapping("ms", 0.5), _mapping("ms", 0.7)),  # two that do not agree
        (_mapping("%", 1.0),),
    ],
)
def test_a_mapping_that_gives_no_time_is_not_read(mappings: tuple[Dataset, ...], tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    _as_map(tmp_path, "T1", *mappings)
    assert not {s.role for s in read_study(tmp_path).series} & {Role.MAP_T1, Role.MAP_T1_NATIVE, Role.MAP_T1_POST}
    assert {row.verdict.what for row in sort_dicom(tmp_path).rows if row.group.first.facts.series_number == 20} == {
        "map"
    }


def test_pixels_outside_of_what_is_mapped_have_no_value(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    _as_map(tmp_path, "T2", _mapping("ms", 0.1, 5.0, (100, 500)))
    late, mapped = _read(tmp_path, Role.MAP_T2)
    assert mapped is not None
    inside = (late >= 100) & (late <= 500)
    assert 0 < inside.mean() < 1
    np.testing.assert_allclose(mapped, np.where(inside, 0.1 * late + 5, 0), rtol=1e-5)


def test_one_slice_of_a_map_lies_where_it_was_taken(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    _as_map(tmp_path, "T2", slices=slice(3, 4))
    study = read_study(tmp_path)
    late, mapped = study.get(Role.LGE), study.get(Role.MAP_T2)
    assert late is not None and mapped is not None
    (z,) = (z for z, plane in enumerate(late.image.frames[0]) if (plane == mapped.image.frames[0, 0]).all())
    moved = late.image.affine @ [0, 0, z, 1]
    np.testing.assert_allclose(mapped.image.affine[:3, 3], moved[:3], atol=1e-3)
    assert mapped.image.spacing_mm[0] == pytest.approx(0.8 * late.image.spacing_mm[0])  # its thickness


def test_one_slice_taken_twice_is_the_later_and_of_unknown_thickness_none(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    _as_map(tmp_path, "T2", slices=slice(3, 4))
    first = tmp_path / "map20-0.dcm"
    again = dcmread(first)
    again.SeriesInstanceUID, again.SeriesNumber, again.SOPInstanceUID = generate_uid(), 21, generate_uid()
    again.AcquisitionTime = "235900"
    again.PixelData = (again.pixel_array + 1).astype(np.uint16).tobytes()
    save(again, tmp_path / "again.dcm")
    study = read_study(tmp_path)
    found = study.get(Role.MAP_T2)
    assert found is not None
    assert found.source is not None and found.source.series_number == 21
    assert "Series 20 was left out" in str(study.notes)
    for path in (first, tmp_path / "again.dcm"):
        change(path, SliceThickness=None)
    assert read_study(tmp_path).get(Role.MAP_T2) is None


def test_two_t1_maps_and_one_of_another_frame_of_reference(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    early, late = {"AcquisitionTime": "080000"}, {"AcquisitionTime": "235900"}
    _as_map(tmp_path, "T1", number=20, SeriesDescription="T1map_native", **early)
    _as_map(tmp_path, "T1", number=30, SeriesDescription="T1map", ContrastBolusAgent="Gadobutrol", **late)
    maps = {s.role: s for s in read_study(tmp_path).series if s.role.startswith("map")}
    numbers = {role: s.source and s.source.series_number for role, s in maps.items()}
    assert numbers == {Role.MAP_T1_NATIVE: 20, Role.MAP_T1_POST: 30}
    assert len({s.source and s.source.reference_uid for s in maps.values()}) == 1
    for path in files(tmp_path, 30):
        change(path, FrameOfReferenceUID="1.2.3")
    assert read_study(tmp_path).get(Role.MAP_T1_POST) is None
    chosen = read_study(tmp_path, series={Role.MAP_T1_POST: [30]}).get(Role.MAP_T1_POST)
    assert chosen is not None and chosen.source is not None
    assert chosen.source.reference_uid == "1.2.3"  # by which ECV is refused
