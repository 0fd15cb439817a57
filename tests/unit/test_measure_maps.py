"""Maps: the median that was drawn comes back from every segment, or nothing does, with the reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from myoscope.analysis import judge
from myoscope.correction import read_before, remeasure
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.measure.anatomy import find_anatomy
from myoscope.measure.results import Measurements
from myoscope.report import render
from myoscope.study import MAPS, Case, DicomSource, Role, Series, Study
from myoscope.volume import Volume

DRAWN = {n: 900.0 + 25 * n for n in range(1, 18)}
"""What each segment is drawn with, in ms."""

BLOOD, LUNG = 1900.0, 300.0

HEMATOCRIT, BLOOD_POST = 0.4, 320.0
ECV = {n: 20.0 + 1.5 * n for n in DRAWN}
POST = {n: 1 / (1 / DRAWN[n] + ECV[n] / 100 / (1 - HEMATOCRIT) * (1 / BLOOD_POST - 1 / BLOOD)) for n in DRAWN}
"""What each segment is drawn with after contrast agent, so that its ECV is the one above, in per cent."""


@pytest.fixture(scope="module")
def case() -> Case:
    return draw(sample(3, KEPT_ASIDE, "MINF"), (Role.LGE,))


def _drawn(
    case: Case,
    step: float,
    shrink: float,
    shift_mm: float,
    scale: float = 1.0,
    drawn: dict[int, float] = DRAWN,
    blood: float = BLOOD,
) -> Volume:
    """A map over the whole heart on a grid of its own, drawn from where its voxels lie in the patient.

    `step` and `shrink` are its slice distance and voxel size as shares of the LGE's, `shift_mm` its place along the
    slices. Blurred in plane, as a scanner's point spread does.
    """
    labels = case.labels[Role.LGE]
    codes = find_anatomy(labels.voxels, labels.spacing_mm).codes
    quantity = np.full(codes.shape, LUNG)
    quantity[labels.voxels == 1] = blood
    for n, ms in drawn.items():
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


def test_three_slices_far_apart_give_what_they_show(case: Case) -> None:
    whole = _drawn(case, 0.5, 1.2, 1)
    kept = whole.voxels[3::5][:3]
    affine = whole.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 5, 3], [0, 0, 0, 1]])
    measured = _measured(case, Volume(kept, affine))
    there = {s.segment: s.median_ms for s in measured.maps.t1.segments if s.median_ms is not None}
    assert 10 <= len(there) < 17
    assert there == {n: pytest.approx(DRAWN[n], rel=0.01) for n in there}
    lacking = {int(name.rsplit(".", 1)[1]) for name in measured.quality.missing if name.startswith("maps.t1.segments")}
    assert lacking == {*DRAWN} - {*there}


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


def _pair(case: Case, post: Volume, hematocrit: float | None = HEMATOCRIT) -> Study:
    """The study with its native map, and another after contrast agent."""
    maps = (
        Series(Role.MAP_T1_NATIVE, "before", _drawn(case, 2, 1.3, 1)),
        Series(Role.MAP_T1_POST, "after", post),
    )
    patient = replace(case.study.patient, hematocrit=hematocrit)
    return replace(case.study, patient=patient, series=(*case.study.series, *maps))


@pytest.mark.parametrize(("step", "shrink", "shift_mm"), [(2, 1.3, 1), (1, 0.8, -1)])
def test_ecv_from_two_t1_maps_is_what_was_drawn(case: Case, step: float, shrink: float, shift_mm: float) -> None:
    study = _pair(case, _drawn(case, step, shrink, shift_mm, 1.0, POST, BLOOD_POST))
    maps = judge(study, case.labels, {}).measurements.maps
    found = {s.segment: s.ecv_percent for s in maps.ecv_from_t1.segments if s.ecv_percent is not None}
    assert len(found) >= 16
    assert found == {n: pytest.approx(ECV[n], rel=0.01) for n in found}
    assert min(found.values()) < maps.ecv_from_t1.ecv_percent < max(found.values())
    assert (maps.ecv_from_t1.blood_native_ms, maps.ecv_from_t1.blood_post_ms) == pytest.approx((BLOOD, BLOOD_POST))
    assert maps.t1_post.segments[0].median_ms == pytest.approx(POST[1], rel=0.01)
    assert maps.t1.median_ms is None


def test_ecv_is_given_where_both_maps_show_the_segment_alone(case: Case) -> None:
    whole = _drawn(case, 1, 1, 0, 1.0, POST, BLOOD_POST)
    affine, middle = whole.affine.copy(), len(whole.voxels) // 2
    affine[:3, 3] += middle * affine[:3, 2]
    study = _pair(case, Volume(whole.voxels[middle : middle + 1], affine))
    measured = judge(study, case.labels, {}).measurements
    found = {s.segment: s.ecv_percent for s in measured.maps.ecv_from_t1.segments}
    there = [n for n, value in found.items() if value is not None]
    assert 4 <= len(there) <= 6
    assert [found[n] for n in there] == [pytest.approx(ECV[n], rel=0.01) for n in there]
    for n in {*DRAWN} - {*there}:
        assert "voxels of one of the T1 maps" in measured.quality.missing[f"maps.ecv_from_t1.segments.{n}"]


def test_without_what_ecv_needs_the_reason_stands(case: Case) -> None:
    post = _drawn(case, 2, 1.3, 1, 1.0, POST, BLOOD_POST)
    whole = _pair(case, post)
    source = DicomSource((), 1, "1.1", "1.0", "9.1")
    away = tuple(
        replace(s, source=replace(source, reference_uid=f"9.{s.role}")) if s.role in MAPS else s for s in whole.series
    )
    native_alone = tuple(s for s in whole.series if s.role is not Role.MAP_T1_POST)
    untold = tuple(replace(s, role=Role.MAP_T1) if s.role is Role.MAP_T1_POST else s for s in whole.series)
    for study, why in (
        (_pair(case, post, None), "no hematocrit was given"),
        (_pair(case, _drawn(case, 2, 1.3, 1)), "no contrast agent there, or the two are swapped"),
        (replace(whole, series=away), "do not share a frame of reference"),
        (replace(whole, series=native_alone), "no T1 map after contrast agent"),
        (replace(whole, series=untold), "nothing says whether the T1 map was taken before or after"),
    ):
        measured = judge(study, case.labels, {}).measurements
        assert measured.maps.ecv_from_t1.ecv_percent is None
        assert why in measured.quality.missing["maps.ecv_from_t1"]


def test_the_hematocrit_stays_when_labels_are_corrected(case: Case, tmp_path: Path) -> None:
    study = _pair(case, _drawn(case, 2, 1.3, 1, 1.0, POST, BLOOD_POST))
    first = judge(study, case.labels, {})
    first.save(tmp_path)
    again = replace(study, patient=case.study.patient)
    found = remeasure(again, case.labels, read_before(tmp_path, again)).measurements
    assert found.maps.ecv_from_t1 == first.measurements.maps.ecv_from_t1
    rows = (tmp_path / "segments.csv").read_text().splitlines()
    assert "map_ecv_from_t1_ecv_percent" in rows[0] and "map_t1_native_median_ms" in rows[0]


def test_the_report_says_what_ecv_was_computed_from(case: Case) -> None:
    study = _pair(case, _drawn(case, 2, 1.3, 1, 1.0, POST, BLOOD_POST))
    result = judge(study, case.labels, {})
    shown = render(study, case.labels, result.measurements)
    ecv = result.measurements.maps.ecv_from_t1.segments[4].ecv_percent
    assert f'<td class="figure">{ecv:.1f}</td></tr>' in shown
    assert "hematocrit 0.40 as given, LV blood 1900 ms native and 320 ms after contrast agent" in shown
    assert "T1 after contrast <span" in shown and "is not known to the program" not in shown
    study = _pair(case, study.series[-1].image, None)
    without = render(study, case.labels, judge(study, case.labels, {}).measurements)
    assert "ECV not computed: no hematocrit was given (--hematocrit)." in without


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
