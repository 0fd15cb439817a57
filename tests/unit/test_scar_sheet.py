"""The scar sheet against a few lines of its own and counts by hand."""

import numpy as np
import pytest

from myoscope.analysis import judge
from myoscope.labels import Structure
from myoscope.measure.anatomy import UPRIGHT_INSERTION, find_anatomy
from myoscope.measure.scar_sheet import scar_sheet
from myoscope.measure.thresholds import remote_mask, remote_signal
from myoscope.report import render
from myoscope.report.figures import contour_path, crop
from myoscope.report.remote import remote_panels
from myoscope.study import Patient, Role, Series, Study
from myoscope.volume import Volume, plain_affine
from report_pages import make_measurements, make_study

SPACING = (8.0, 1.5, 1.5)
GRAM = 8 * 1.5 * 1.5 / 1000 * 1.05


def heart_and_image(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six rings with a graded infarct at the lower right in slices 1 to 3 and no-reflow inside it in slice 2."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((64, 64)) - 32
    radius = np.hypot(y, x)
    labels = np.zeros((6, 64, 64), np.uint8)
    labels[:, radius < 24] = Structure.MYOCARDIUM
    labels[:, radius < 15] = Structure.LV
    image = rng.normal(100, 8, labels.shape)
    scar = (radius >= 15) & (radius < 22) & (x > 0) & (y > 0)
    for z, bright in ((1, 420), (2, 500), (3, 600)):
        labels[z, scar] = Structure.INFARCT
        image[z, scar] = np.linspace(130, bright, int(scar.sum()))
    dark = scar & (radius < 17)
    labels[2, dark] = Structure.NO_REFLOW
    image[2, dark] = 40
    return labels, image


def sheet_of(labels: np.ndarray, image: np.ndarray):
    return scar_sheet(find_anatomy(labels, SPACING, UPRIGHT_INSERTION), image)


@pytest.mark.parametrize("seed", range(3))
def test_core_border_and_thresholds_equal_an_independent_count(seed: int) -> None:
    labels, image = heart_and_image(seed)
    sheet, missing = sheet_of(labels, image)
    assert missing == {}
    core, border, above = {}, {}, {}
    for z in (1, 2, 3):
        where = np.argwhere(np.isin(labels[z], (2, 3)))
        signal = np.array([image[z, i, j] for i, j in where])
        turn = np.degrees(np.arctan2(*(where - where.mean(0)).T)) + 180
        sectors = [signal[(turn >= 60 * k) & (turn < 60 * k + 60)] for k in range(6)]
        remote = min(sectors, key=lambda part: part.sum() / len(part))
        k = next(k for k in range(6) if sectors[k] is remote)
        of_remote = where[(turn >= 60 * k) & (turn < 60 * k + 60)]
        beside = ((0, 1), (0, -1), (1, 0), (-1, 0))
        inner = [image[z, i, j] for i, j in of_remote if all(labels[z, i + a, j + b] in (2, 3, 4) for a, b in beside)]
        peak = image[z][labels[z] == 3].max()
        mean, sd = np.mean(remote), np.std(remote)
        limits = {"sd_2_5": (mean + 2 * sd, mean + 5 * sd), "fwhm": (max(inner), peak / 2)}
        limits["percent_40_60"] = (0.4 * peak, 0.6 * peak)
        for name, (low, high) in limits.items():
            core[name] = core.get(name, 0) + sum(s > high for s in signal) + np.sum(labels[z] == 4)
            border[name] = border.get(name, 0) + sum(low < s <= high for s in signal)
        for n in (2, 3, 5, 6):
            above[n] = above.get(n, 0) + sum(s > mean + n * sd for s in signal)
    myocardium = np.isin(labels, (2, 3, 4)).sum()
    for name, count in core.items():
        zone = getattr(sheet, name)
        assert zone.core_g == pytest.approx(count * GRAM)
        assert zone.border_g == pytest.approx(border[name] * GRAM)
        assert zone.core_percent == pytest.approx(100 * count / myocardium)
        assert zone.border_percent == pytest.approx(100 * border[name] / myocardium)
        assert border[name] > 0
    for n, count in above.items():
        assert getattr(sheet, f"sd_{n}_percent") == pytest.approx(100 * count / myocardium)


def test_territories_sum_to_the_infarct_and_no_reflow_is_its_share() -> None:
    labels, image = heart_and_image()
    sheet, _ = sheet_of(labels, image)
    infarct, dark = np.isin(labels, (3, 4)).sum(), (labels == 4).sum()
    parts = (sheet.infarct_lad_g, sheet.infarct_rca_g, sheet.infarct_lcx_g, sheet.infarct_outside_segments_g)
    assert sum(parts) == pytest.approx(infarct * GRAM)
    assert sheet.infarct_lcx_g > sheet.infarct_lad_g
    assert sheet.no_reflow_of_infarct_percent == pytest.approx(100 * dark / infarct)


def test_every_segment_seen_has_one_viability() -> None:
    labels, image = heart_and_image()
    labels[1:4][np.isin(labels[1:4], (2, 3, 4)) & (np.indices((64, 64))[1] > 32)] = Structure.INFARCT
    sheet, _ = sheet_of(labels, image)
    lists = (
        sheet.viability_likely_segments,
        sheet.viability_intermediate_segments,
        sheet.viability_unlikely_segments,
    )
    assert sorted(n for part in lists for n in part) == list(range(1, 17))  # no tip in these labels
    assert sheet.segments_over_50_percent == len(lists[1]) + len(lists[2]) > 0


def test_silent_with_a_reason() -> None:
    labels, image = heart_and_image()
    healthy = np.where(np.isin(labels, (3, 4)), 2, labels).astype(np.uint8)
    assert sheet_of(healthy, image) == (None, {"scar_sheet": "no enhanced infarct in the labels"})
    broken = np.where(labels == 3, np.nan, image)
    assert sheet_of(labels, broken)[1] == {"scar_sheet": "voxels of the LV myocardium have no number"}
    sheet, missing = sheet_of(labels, image + 2000)  # little contrast over a high floor
    assert sheet.fwhm is None
    assert sheet.percent_40_60 is None
    assert sheet.fwhm_percent is None
    assert "scar_sheet.fwhm_percent" in missing
    assert sheet.sd_2_5 is not None
    assert "3 of 3 slices" in missing["scar_sheet.fwhm"]


def test_without_segments_the_rest_is_measured() -> None:
    labels, image = heart_and_image()
    sheet, missing = scar_sheet(find_anatomy(labels, SPACING, None), image)
    assert sheet.infarct_lad_g is None
    assert sheet.fwhm.core_g > 0
    assert "no right ventricle" in missing["scar_sheet.infarct_lad_g"]


def test_the_report_shows_numbers_and_reasons() -> None:
    labels, image = heart_and_image()
    study, drawn = make_study()
    sheet, missing = sheet_of(labels, image + 2000)
    plain = make_measurements()
    measured = plain.model_copy(
        update={
            "lge": plain.lge.model_copy(update={"scar_sheet": sheet}),
            "quality": plain.quality.model_copy(update={"missing": {f"lge.{k}": v for k, v in missing.items()}}),
        }
    )
    html = render(study, drawn, measured)
    assert f"{sheet.sd_2_5.core_percent:.1f} %" in html
    assert f"not measured: {missing['scar_sheet.fwhm']}" in html
    assert f"No-reflow is {sheet.no_reflow_of_infarct_percent:.1f} %" in html


def test_a_slice_that_does_not_fit_is_left_out_and_told() -> None:
    labels, image = heart_and_image()
    whole, _ = sheet_of(labels, image)
    few = (labels[4] == Structure.MYOCARDIUM) & (np.indices((64, 64)).sum(0) > 94)
    labels[4, few] = Structure.INFARCT  # as bright as the wall: nothing to be told there
    sheet, missing = sheet_of(labels, image)
    assert 0 < few.sum() < 0.1 * (labels == Structure.INFARCT).sum()
    assert missing == {}
    assert (whole.fwhm.slices_left_out, sheet.fwhm.slices_left_out) == (0, 1)
    assert sheet.fwhm.core_g == pytest.approx(whole.fwhm.core_g)
    assert sheet.percent_40_60.border_g == pytest.approx(whole.percent_40_60.border_g)
    assert sheet.fwhm_percent == pytest.approx(whole.fwhm_percent)
    image[3] += 2000  # and one that holds a third of the infarct: then nothing
    sheet, missing = sheet_of(labels, image)
    assert sheet.fwhm is None
    share = 100 * (labels[3:5] == Structure.INFARCT).sum() / (labels == Structure.INFARCT).sum()
    assert f"in 2 of 4 slices, which hold {share:.0f} % of the infarct" in missing["scar_sheet.fwhm"]


def test_remote_myocardium_is_outlined_where_it_was_found() -> None:
    labels, image = heart_and_image()
    image[2, (labels[2] == Structure.MYOCARDIUM) & (np.indices((64, 64))[1] < 20)] -= 60  # on the left
    mask = remote_mask(image[2], np.isin(labels[2], (2, 3)))
    assert mask[32, 12] and not mask[:, 32:].any()
    assert remote_signal(image[2], np.isin(labels[2], (2, 3))).mean() == pytest.approx(image[2][mask].mean())
    series = Series(Role.LGE, "lge", Volume(image.astype(np.float32), plain_affine(SPACING)))
    study, drawn = Study("s", Patient(), (series,)), Volume(labels, plain_affine(SPACING))
    m = judge(study, {Role.LGE: drawn}, {}).measurements
    panels = remote_panels(study, {Role.LGE: drawn}, m)
    assert len(panels) == 3  # the slices with infarct
    outline = contour_path(mask[crop(labels[None], (64, 64), (1.5, 1.5))])
    assert [outline in panel.svg for panel in panels] == [False, True, False]
    assert all(Structure.INFARCT.colour in panel.svg and "&lt;" not in panel.svg for panel in panels)
    html = render(study, {Role.LGE: drawn}, m)
    assert html.count("Remote myocardium, slice") == 3
    healthy = drawn.with_voxels(np.where(labels > 2, 2, labels).astype(np.uint8))
    assert "Remote myocardium, slice" not in render(
        study, {Role.LGE: healthy}, judge(study, {Role.LGE: healthy}, {}).measurements
    )
