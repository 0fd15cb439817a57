"""Maps: the median that was drawn comes back from every segment, or nothing does, with the reason."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from myoscope.analysis import judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.measure.anatomy import find_anatomy
from myoscope.measure.results import Measurements
from myoscope.report import render
from myoscope.study import Case, Role, Series
from myoscope.volume import Volume

DRAWN = {n: 900.0 + 25 * n for n in range(1, 18)}
"""What each segment is drawn with, in ms."""

BLOOD, LUNG = 1900.0, 300.0


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(3, KEPT_ASIDE, "MINF"), (Role.LGE,))


def _drawn(case: Case, step: float, shrink: float, shift_mm: float, scale: float = 1.0) -> Volume:
    """A map over the whole heart on a grid of its own, drawn from where its voxels lie in the patient.

    `step` and `shrink` are its slice distance and voxel size as shares of the LGE's, `shift_mm` its place along the
    slices. Blurred in plane, as a scanner's point spread does.
    """
    labels = case.labels[Role.LGE]
    codes = find_anatomy(labels.voxels, labels.spacing_mm).codes
    quantity = np.full(codes.shape, LUNG)
    quantity[labels.voxels == 1] = BLOOD
    for n, ms in DRAWN.items():
        quantity[codes == n] = ms
    z, y, x = codes.shape
    shape = int((z - 1) / step), int((y - 1) / shrink), int((x - 1) / shrink)
    affine = labels.affine @ np.diag([shrink, shrink, step, 1.0])
    normal = labels.affine[:3, 2] / np.linalg.norm(labels.affine[:3, 2])
    affine[:3, 3] += shift_mm * normal
    k, j, i = np.indices(shape)
    there = np.linalg.inv(labels.affine) @ affine @ np.stack([a.ravel() for a in (i, j, k, np.ones(shape))])
    places = np.rint(there[[2, 1, 0]]).astype(int)
    inside = ((places >= 0) & (places < np.array([[z], [y], [x]]))).all(axis=0)
    values = np.full(places.shape[1], LUNG)
    values[inside] = quantity[tuple(places[:, inside])]
    blurred = ndimage.gaussian_filter(values.reshape(shape), (0, 0.4, 0.4))
    return Volume((blurred * scale).astype(np.float32), affine)


def _report(case: Case, image: Volume, role: Role) -> str:
    study = replace(case.study, series=(*case.study.series, Series(role, "a map", image)))
    return render(study, case.labels, judge(study, case.labels, {}).measurements)


def _measured(case: Case, image: Volume, role: Role = Role.MAP_T1) -> Measurements:
    study = replace(case.study, series=(*case.study.series, Series(role, "a map", image)))
    return judge(study, case.labels, {}).measurements


@pytest.mark.parametrize(("step", "shrink", "shift_mm"), [(1, 1, 0), (1, 0.8, 2), (2, 1.3, 1), (0.5, 0.7, -1.5)])
def test_each_segments_median_is_what_was_drawn(case: Case, step: float, shrink: float, shift_mm: float) -> None:
    found = _measured(case, _drawn(case, step, shrink, shift_mm)).maps.t1
    assert found.wall_from == "lge"
    medians = {s.segment: s.median_ms for s in found.segments if s.median_ms is not None}
    assert len(medians) >= 16
    assert medians == {n: pytest.approx(DRAWN[n], rel=0.01) for n in medians}


def test_one_slice_gives_its_segments_and_reasons_for_the_others(case: Case) -> None:
    whole = _drawn(case, 1, 1, 0)
    middle = len(whole.voxels) // 2
    affine = whole.affine.copy()
    affine[:3, 3] += middle * affine[:3, 2]
    measured = _measured(case, Volume(whole.voxels[middle : middle + 1], affine))
    found = measured.maps.t1.segments
    there = [s.segment for s in found if s.median_ms is not None]
    assert 4 <= len(there) <= 6
    for segment in {*DRAWN} - {*there}:
        assert "0 voxels of the map" in measured.quality.missing[f"maps.t1.segments.{segment}"]


@pytest.mark.parametrize(
    ("role", "scale", "part"), [(Role.MAP_T1, 1e-3, "t1"), (Role.MAP_T2, 1.0, "t2"), (Role.MAP_ECV, 1.0, "ecv")]
)
def test_values_in_another_unit_are_not_given(case: Case, role: Role, scale: float, part: str) -> None:
    measured = _measured(case, _drawn(case, 1, 1, 0, scale), role)
    assert getattr(measured.maps, part).segments == []
    assert "not in ms or per cent" in measured.quality.missing[f"maps.{part}"]


def test_ecv_is_in_per_cent(case: Case) -> None:
    found = _measured(case, _drawn(case, 1, 1, 0, 0.03), Role.MAP_ECV).maps.ecv
    assert found.segments[0].median_percent == pytest.approx(0.03 * DRAWN[1], rel=0.01)


def test_a_map_that_lies_otherwise_is_not_measured(case: Case) -> None:
    image = _drawn(case, 1, 1, 0)
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]]
    for affine in (image.affine @ turn, np.diag([-1.3, -1.3, 8.0, 1.0])):
        measured = _measured(case, Volume(image.voxels, affine))
        assert measured.maps.t1.median_ms is None
        assert "do not lie in the same way" in measured.quality.missing["maps.t1"]


def test_failed_fits_do_not_count(case: Case) -> None:
    image = _drawn(case, 1, 1, 0)
    rng = np.random.default_rng(0)
    holes = np.where(rng.random(image.voxels.shape) < 0.3, rng.choice([0, np.nan], image.voxels.shape), image.voxels)
    found = _measured(case, image.with_voxels(holes)).maps.t1
    assert found.segments[0].median_ms == pytest.approx(DRAWN[1], rel=0.01)


def test_without_a_map_or_a_wall_the_reason_stands(case: Case) -> None:
    assert judge(case.study, case.labels, {}).measurements.quality.missing["maps.t2"] == "no T2 map"
    study = replace(case.study, series=(*case.study.series, Series(Role.MAP_T1, "a map", _drawn(case, 1, 1, 0))))
    assert "no LGE" in judge(study, {}, {}).measurements.quality.missing["maps.t1"]


def test_the_report_has_a_section_of_what_there_is(case: Case) -> None:
    image = _drawn(case, 1, 1, 0)
    shown = _report(case, image, Role.MAP_T1)
    median = _measured(case, image).maps.t1.segments[2].median_ms
    assert f'3 basal inferoseptal</th><td class="figure">{median:.0f}</td>' in shown
    assert "before or after contrast agent" in shown
    assert "Contours carried over by geometry from: Late gadolinium enhancement" in shown
    other = _report(case, Volume(image.voxels, np.diag([-1.3, -1.3, 8.0, 1.0])), Role.MAP_T1)
    assert "do not lie in the same way" in other and "Contours carried over" not in other
    assert "T2 map not measured: the wall&#39;s median is" in _report(case, image, Role.MAP_T2)
    assert 'id="maps"' not in render(case.study, case.labels, judge(case.study, case.labels, {}).measurements)


def test_a_wall_drawn_on_the_map_itself_counts(case: Case) -> None:
    labels, image = case.labels[Role.LGE], _drawn(case, 1, 1, 0)
    z, y, x = image.voxels.shape
    drawn = image.with_voxels(labels.voxels[:z, :y, :x])
    study = replace(case.study, series=(Series(Role.MAP_T1, "a map", image),))
    found = judge(study, {Role.MAP_T1: drawn}, {}).measurements.maps.t1
    assert found.wall_from == "map_t1"
    assert found.segments[0].median_ms == pytest.approx(DRAWN[1], rel=0.01)
