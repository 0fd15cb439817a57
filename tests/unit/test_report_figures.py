"""The pictures of the report: contours, crops, grey levels."""

import base64
import re
from io import BytesIO

import numpy as np
from PIL import Image

from myoscope.labels import Structure
from myoscope.report.figures import contour_path, crop, data_uri, slice_svg, slice_windows, to_grey
from report_pages import SIZE, heart, image_of


def test_structures_have_their_own_dashes():
    svg = slice_svg(np.zeros((SIZE, SIZE), np.uint8), heart(scar=True)[3], (1.5, 1.5), "x")
    strokes = re.findall(r'stroke="(#\w+)"(?: stroke-dasharray="([^"]+)")?', svg)
    structures = (Structure.MYOCARDIUM, Structure.RV, Structure.LV, Structure.INFARCT, Structure.NO_REFLOW)
    assert {colour for colour, _ in strokes} == {s.colour for s in structures}
    assert len({dash for _, dash in set(strokes)}) == len(structures)


def test_contour_lies_on_the_border_of_the_mask():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:6] = True  # edges, in half voxels: x from 6 to 12, y from 4 to 8
    numbers = [int(n) for n in re.findall(r"-?\d+", contour_path(mask))]
    points = np.cumsum(np.array(numbers).reshape(-1, 2), axis=0)
    assert points.min(axis=0).tolist() == [6, 4] and points.max(axis=0).tolist() == [12, 8]


def test_crop_keeps_a_margin_and_stays_in_the_image():
    mask = np.zeros((1, 2, 60, 50), np.uint8)
    mask[0, 0, 1:4, 25] = 1
    rows, columns = crop(mask, (60, 50), (2.0, 3.0))
    assert (rows.start, rows.stop, columns.start, columns.stop) == (0, 13, 19, 32)


def test_pictures_are_grey_and_a_constant_image_is_black():
    uri = data_uri(to_grey(image_of(heart())[0]))
    picture = Image.open(BytesIO(base64.b64decode(uri.split(",")[1])))
    assert picture.mode == "L" and picture.size == (SIZE, SIZE)
    assert to_grey(np.full((3, 3), 7.0)).max() == 0


def test_the_window_is_the_hearts():
    image = np.concatenate([np.arange(100.0, 201.0), [0.0] * 50, [900.0] * 50])
    heart_of = np.arange(len(image)) < 101
    grey = to_grey(image, heart_of)
    assert grey[:101].min() == 0 and grey[:101].max() == 255 and 120 < grey[50] < 135
    assert to_grey(image)[:101].max() < 64
    assert (to_grey(image, heart_of & False) == to_grey(image)).all()


def test_every_slice_has_its_own_window_the_same_in_all_frames():
    rng = np.random.default_rng(0)
    heart_of = np.zeros((2, 3, 40, 40), bool)
    heart_of[:, :2, 15:25, 15:25] = True  # none in the last slice, as beyond the base
    image = 50 + 100 * rng.random(heart_of.shape)
    image[1] = image[0] / 2  # a second frame, darker
    shaded = image * np.array([10.0, 1.0, 0.1])[:, None, None]  # a coil's light, from apex to base
    grey = slice_windows(shaded, heart_of, (2.0, 2.0))
    assert (grey == slice_windows(image, heart_of, (2.0, 2.0))).mean() > 0.99
    for z in range(3):
        assert grey[:, z, 13:27, 13:27].max() > 240
        assert grey[0, z].mean() > 1.5 * grey[1, z].mean()
    assert (slice_windows(shaded, None, (2.0, 2.0))[0, 0] == to_grey(shaded[:, 0])[0]).all()
