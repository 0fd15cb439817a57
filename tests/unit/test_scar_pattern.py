"""Pattern of scar in the depth of the wall, on hearts drawn with a compass."""

import numpy as np
import pytest

from myoscope.labels import Structure
from myoscope.measure.anatomy import find_anatomy
from myoscope.measure.segments import segment_scar
from myoscope.measure.wall import find_ring, scar_thirds
from myoscope.study import Role

SPACING = (8.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("depth", "pattern"),
    [
        ((0.0, 1.01), "transmural"),
        ((0.0, 0.4), "endocardial"),
        ((0.0, 0.2), "endocardial"),
        ((0.35, 0.65), "mid-wall"),
        ((0.6, 1.01), "epicardial"),
    ],
)
def test_pattern_of_a_scar_by_its_depth(ring_heart, measure_labels, depth, pattern) -> None:
    labels = ring_heart(scar=(range(3), (130.0, 170.0), depth)).labels()  # the middle of segment 4
    m = measure_labels({Role.LGE: labels})
    rows = {row.segment: row for row in m.segments}
    assert rows[4].scar_percent > 5
    assert rows[4].scar_pattern == pattern
    assert {n for n, row in rows.items() if row.scar_pattern} == {4}
    assert m.quality.missing["segments.5.scar_pattern"] == "no scar in this segment"


def test_thirds_of_the_wall_by_hand() -> None:
    """On the ray to the right the wall is 9 pixels thick, and the inner 4 of them are scar."""
    labels = np.zeros((41, 61), np.uint8)
    y, x = np.indices(labels.shape) - np.array([20, 30])[:, None, None]
    radius = np.hypot(y, x)
    labels[radius < 19] = Structure.MYOCARDIUM
    labels[(radius < 14) & (x > 0)] = Structure.INFARCT
    labels[radius < 10] = Structure.LV
    shares, pixels = scar_thirds(labels, find_ring(labels, (1.0, 1.0)), (1.0, 1.0))
    assert shares.shape == (360, 3)
    assert shares[0] == pytest.approx([1, 1 / 3, 0], abs=0.12)
    assert pixels[0] == pytest.approx(9, abs=0.6)
    assert not shares[180].any()


def test_silent_where_there_is_too_little(ring_heart, measure_labels) -> None:
    small = ring_heart(scar=(range(1), (130.0, 140.0), (0.0, 0.3))).labels()
    m = measure_labels({Role.LGE: small})
    assert 0 < m.segments[3].scar_percent < 5
    assert m.segments[3].scar_pattern is None
    assert "too little scar for a pattern" in m.quality.missing["segments.scar_pattern"]
    thin = ring_heart(wall_mm=2.5, scar=(range(3), (130.0, 170.0), (0.0, 0.5))).labels()
    assert "less than 3 pixels" in measure_labels({Role.LGE: thin}).quality.missing["segments.scar_pattern"]
    both = ring_heart(scar=(range(3), (130.0, 170.0), (0.0, 0.3))).labels()
    outer = ring_heart(scar=(range(3), (130.0, 170.0), (0.7, 1.01))).labels()
    both[outer == Structure.INFARCT] = Structure.INFARCT
    found = measure_labels({Role.LGE: both}).segments[3]
    reason = measure_labels({Role.LGE: both}).quality.missing["segments.scar_pattern"]
    assert found.scar_pattern is None and "about as much" in reason
    nowhere = segment_scar(find_anatomy(ring_heart(rv=False).labels(), SPACING))[4]
    assert nowhere.pattern.pattern is None and "right ventricle" in nowhere.pattern.reason
