"""The cine as a moving picture in the page, and z-scores beside the ranges."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from myoscope.report import render
from myoscope.report.film import LARGEST_BYTES, film
from myoscope.report.reference import MEAN_SD, REFERENCES, z_score
from myoscope.study import Role
from report_pages import make_measurements, make_study

SPACING = (10.0, 1.5, 1.0)


def frames_of(uri):
    picture = Image.open(BytesIO(base64.b64decode(uri.split(",")[1])))
    return picture, [picture.seek(n) or np.asarray(picture.convert("L")) for n in range(picture.n_frames)]


def test_three_slices_play_over_the_cycle_in_true_proportions():
    grey = np.zeros((10, 9, 40, 60), np.uint8)
    grey[:, :, :, :] = (20 * np.arange(10))[:, None, None, None] + 5 * np.arange(9)[None, :, None, None]
    made = film(grey, list(range(8, -1, -1)), np.arange(9) > 1, SPACING, 40.0)
    assert made.caption == "Slices 2, 4, 6 from the base; 10 frames, 40 ms a frame."
    picture, frames = frames_of(made.uri)
    assert (picture.n_frames, picture.info["loop"], picture.size) == (10, 0, (made.width, made.height))
    assert made.width / made.height == pytest.approx(180 * 1.0 / (40 * 1.5), rel=0.01)
    assert np.diff([frame.mean() for frame in frames]) == pytest.approx(np.full(9, 20), abs=3)
    thirds = [frames[0][:, n * made.width // 3 + made.width // 6].mean() for n in range(3)]
    assert thirds == pytest.approx([35, 25, 15], abs=4)


def test_without_a_time_a_beat_takes_a_second_and_two_phases_are_no_film():
    grey = np.zeros((20, 1, 30, 30), np.uint8)
    assert "Slice 1 from the base; 20 frames, 50 ms a frame, for a beat" in film(grey, [0], None, SPACING, None).caption
    assert film(grey[:2], [0], None, SPACING, None) is None


def test_a_film_is_small_or_is_not_there():
    noise = np.random.default_rng(0).integers(0, 255, (50, 3, 200, 200), np.uint8)
    made = film(noise, [0, 1, 2], None, (10.0, 1.0, 1.0), 30.0)
    assert made is None or len(made.uri) < 2_000_000
    assert 4 / 3 * LARGEST_BYTES < 2_000_000


def test_the_page_plays_a_cine_and_nothing_else():
    study, labels = make_study()
    html = render(study, labels, make_measurements())
    assert html.count("<img ") == 1 and "The cine, playing" in html
    study, labels = make_study(roles=(Role.LGE,))
    assert "<img " not in render(study, labels, make_measurements())


def test_z_scores_stand_beside_ranges_of_the_same_sex():
    study, labels = make_study(roles=(Role.LGE,))
    html = render(study, labels, make_measurements())
    row = html.split('<th scope="row">Ejection fraction</th>')[1].split("</tr>")[0]
    assert "z \N{MINUS SIGN}4.1" in row
    unknown = make_measurements(patient=make_measurements().patient.model_copy(update={"sex": None}))
    assert 'class="z"' not in render(study, labels, unknown)
    assert z_score("lv.edv_ml", "F", 124) == 0
    for name, sexes in MEAN_SD.items():
        for sex, (mean, sd) in sexes.items():
            found = REFERENCES[name][sex]
            assert found.low < mean < found.high
            assert (found.high - found.low) / 4 == pytest.approx(sd, rel=0.25)
