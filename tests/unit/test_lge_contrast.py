"""An image given as late enhancement that does not look like it is flagged; what looks like it is not."""

from dataclasses import replace

import numpy as np
import pytest

from myoscope.analysis import judge
from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.labels import Structure
from myoscope.measure.anatomy import find_anatomy
from myoscope.measure.contrast import contrast, contrast_flags
from myoscope.measure.results import Diagnosis
from myoscope.report.concerns import concerns
from myoscope.report.impression import impression
from myoscope.study import Role, Study
from myoscope.volume import Volume
from report_pages import SPACING, heart, make_measurements


def shown(wall, blood, around, scar=None):
    """A heart in a body, in these signals; air is 0."""
    labels = heart(scar=scar is not None)
    grey = np.full(len(Structure), wall, float)
    grey[[Structure.BACKGROUND, Structure.LV, Structure.RV]] = around, blood, blood
    if scar is not None:
        grey[[Structure.INFARCT, Structure.NO_REFLOW]] = scar
    image = grey[labels]
    image[:, :8] = 0
    return find_anatomy(labels, SPACING), image + np.random.default_rng(0).normal(0, 1, image.shape)


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        ((60, 150, 110, 200), None),  # late enhancement with scar
        ((90, 150, 120), None),  # without, the wall not quite nulled
        ((50, 180, 50), "as in a cine"),
        ((120, 40, 90), "as in a T2-weighted image"),
    ],
)
def test_only_what_looks_like_something_else_is_flagged(signals, words):
    flags = contrast_flags(*shown(*signals))
    assert [flag.level for flag in flags] == ["warning"] * bool(words)
    assert not words or words in flags[0].message


def test_signals_are_shares_of_the_bloods():
    found = contrast(*shown(60, 160, 110))
    assert found is not None
    assert (found.wall, found.bright, found.around) == pytest.approx((60 / 160, 60 / 160, 110 / 160), abs=0.03)


def test_without_enough_of_a_heart_nothing_is_said():
    anatomy, image = shown(60, 150, 110)
    assert contrast_flags(None, image) == []
    assert contrast_flags(anatomy, None) == []
    none = find_anatomy(np.zeros_like(anatomy.labels), SPACING)
    assert contrast(none, image) is None


def test_a_cine_given_as_lge_is_doubted_in_its_numbers_and_its_class():
    case = draw(sample(5, KEPT_ASIDE, "MINF"), (Role.CINE, Role.LGE), frames=2)
    cine, late = case.study.series
    given = replace(cine, role=Role.LGE, image=Volume(cine.image.frames[0], cine.image.affine), ed_frame=None)
    labels = Volume(case.labels[Role.CINE].frames[0], cine.image.affine)

    def flags(series, labels):
        found = judge(Study("x", case.study.patient, (series,)), {Role.LGE: labels}, {}).measurements.quality.flags
        return [flag for flag in found if flag.code == "not_like_lge"]

    assert not flags(late, case.labels[Role.LGE])
    (flag,) = flags(given, labels)
    assert concerns(flag) == ("lge.", "diagnosis")
    quality = make_measurements().quality.model_copy(update={"flags": [flag]})
    found = Diagnosis(prediction="pathological", probabilities={"pathological": 0.72, "normal": 0.28})
    said = impression(make_measurements(quality=quality, diagnosis=found)).sentences
    assert said[-1] == "Proposed diagnosis: infarct (72 %); next, no infarct (28 %); a warning is about it."
    assert not any("Infarct takes" in one for one in said)
