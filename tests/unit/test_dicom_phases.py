"""Phases of DICOM cines: missing ones, times that differ or contradict, and what orders them."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_seen import cine, codes
from dicom_writer import change, files, save, tiny_study, write_dicom
from myoscope.io.read import read_study
from myoscope.study import Role

PHASES = 3
"""Of the study that `classic` writes."""


def test_phases_without_trigger_times(classic: Path) -> None:
    expected = cine(classic).image.voxels
    for i, path in enumerate(files(classic, 5)):
        change(path, TriggerTime=None, TemporalPositionIdentifier=i % PHASES + 1, InstanceNumber=100 - i)
    assert np.array_equal(cine(classic).image.voxels, expected)
    for i, path in enumerate(files(classic, 5)):
        change(path, TemporalPositionIdentifier=None, InstanceNumber=i + 1)
    series = cine(classic)
    assert np.array_equal(series.image.voxels, expected)
    assert series.image.frame_time_ms is None


def test_a_missing_phase_is_left_out_everywhere(tmp_path: Path) -> None:
    write_dicom(tiny_study(frames=10), tmp_path)
    expected = cine(tmp_path).image.voxels
    files(tmp_path, 5)[2 * 10 + 4].unlink()
    series = cine(tmp_path)
    assert np.array_equal(series.image.voxels, np.delete(expected, 4, axis=0))
    assert "1 of 10 phases were left out of all slices" in codes(tmp_path)["phases_missing"]


def test_many_missing_phases_in_the_middle(tmp_path: Path) -> None:
    write_dicom(tiny_study(frames=10), tmp_path)
    expected = cine(tmp_path).image.voxels
    for path in files(tmp_path, 5)[2 * 10 : 2 * 10 + 4]:
        path.unlink()
    assert np.array_equal(cine(tmp_path).image.voxels, expected[4:])
    assert "Slice 3 (6) of 6 lacks phases; 4 of 10 phases were left out" in codes(tmp_path)["phases_missing"]


def test_a_broken_upload_costs_the_last_slice(tmp_path: Path) -> None:
    write_dicom(tiny_study(frames=10), tmp_path)
    expected = cine(tmp_path)
    for path in files(tmp_path, 5)[-7:]:
        path.unlink()
    series = cine(tmp_path)
    assert series.source is not None
    lost = expected.image.voxels.shape[1] - 1
    assert series.image.voxels.shape[1] == lost
    assert np.array_equal(series.image.voxels, expected.image.voxels[:, :lost]) or np.array_equal(
        series.image.voxels, expected.image.voxels[:, 1:]
    )
    assert "volumes and mass are too small" in codes(tmp_path)["slices_missing"]


def test_phases_at_other_times_are_matched_in_time(tmp_path: Path) -> None:
    write_dicom(tiny_study(frames=20), tmp_path)
    expected = cine(tmp_path).image.voxels
    slice_2 = files(tmp_path, 5)[2 * 20 : 3 * 20]
    for path in slice_2[15:]:
        path.unlink()
    for path in slice_2[:15]:
        change(path, TriggerTime=float(dcmread(path).TriggerTime) * 20 / 15)
    voxels = cine(tmp_path).image.voxels
    assert np.array_equal(np.delete(voxels, [2, 3], axis=1), np.delete(expected, [2, 3], axis=1))
    assert np.array_equal(voxels[0], expected[0])
    assert "nearest in time" in codes(tmp_path)["phases_at_other_times"]


def test_a_slice_that_begins_at_another_time_is_told(tmp_path: Path) -> None:
    """A trigger delay that was set for one breath-hold: its first image is not at end-diastole."""
    write_dicom(tiny_study(frames=20), tmp_path)
    assert "phases_at_other_times" not in codes(tmp_path)
    for path in files(tmp_path, 5)[2 * 20 : 3 * 20]:
        change(path, TriggerTime=float(dcmread(path).TriggerTime) + 300)
    assert "slice 3 of 6 begin +300 ms" in codes(tmp_path)["phases_at_other_times"]


def test_the_order_of_phases_is_what_any_header_tells(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path)
    expected = cine(tmp_path).image.voxels
    for i, path in enumerate(files(tmp_path, 5)):
        change(path, TriggerTime=None, InstanceNumber=None)
        path.rename(path.with_name(f"{i * 7919 % 104729:08X}.dcm"))
    assert np.array_equal(cine(tmp_path).image.voxels, expected)  # by content time
    for path in files(tmp_path, 5):
        change(path, ContentTime="101500")
    study = read_study(tmp_path)
    assert study.get(Role.CINE) is None
    assert "nothing tells the order of its phases" in codes(tmp_path)["series_unusable"]


def test_numbers_that_times_contradict(tmp_path: Path) -> None:
    write_dicom(tiny_study(frames=4), tmp_path)
    for path in files(tmp_path, 5):
        number = dcmread(path).InstanceNumber
        change(path, TriggerTime=None, InstanceNumber=[2, 1, 4, 3][(number - 1) % 4] + 10 * ((number - 1) // 4))
    assert "order the phases differently" in codes(tmp_path)["order_contradicted"]


def test_enhanced_frames_without_times_are_ordered_by_their_index(tmp_path: Path) -> None:
    write_dicom(tiny_study(), tmp_path, "enhanced")
    expected = cine(tmp_path).image.voxels
    path = next((tmp_path / "series000").iterdir())
    header = dcmread(path)
    for frame in header.PerFrameFunctionalGroupsSequence:
        del frame.CardiacSynchronizationSequence
        del frame.FrameContentSequence[0].TemporalPositionIndex
    pointers = [dcmread(path).PerFrameFunctionalGroupsSequence, 0x00209057, 0x00209153][1:]
    header.DimensionIndexSequence = [Dataset() for _ in pointers]
    for item, pointer in zip(header.DimensionIndexSequence, pointers, strict=True):
        item.DimensionIndexPointer = pointer
    save(header, path)
    assert np.array_equal(cine(tmp_path).image.voxels, expected)
    for frame in header.PerFrameFunctionalGroupsSequence:
        del frame.FrameContentSequence[0].DimensionIndexValues
    save(header, path)
    assert "nothing tells the order" in codes(tmp_path)["series_unusable"]


@pytest.mark.parametrize("round_ms", [600, 1])
def test_two_numbers_at_one_trigger_time_are_two_phases(round_ms: int, tmp_path: Path) -> None:
    write_dicom(tiny_study(frames=6), tmp_path)
    expected = cine(tmp_path).image.voxels
    for path in files(tmp_path, 5):
        time = float(dcmread(path).TriggerTime)
        change(path, TriggerTime=time // round_ms * round_ms)
    assert np.array_equal(cine(tmp_path).image.voxels, expected)
