"""The evaluation of jdl by hand: scores, pairs of the same patients, box plots, contours."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from myoscope.lab.statistics import interval, paired, wilcoxon_p
from myoscope.labels import SCAR, Structure
from myoscope.study import Case, Role
from myoscope.systems.jdl import evaluation
from myoscope.systems.jdl import page as pages
from myoscope.systems.jdl.network import METHODS
from myoscope.systems.jdl.page import _by_case, slice_values, write_phantom
from myoscope.volume import Volume, plain_affine


def test_contours_are_drawn_on_a_phantom(tmp_path: Path) -> None:
    def masks(frame: np.ndarray, _: object) -> tuple[np.ndarray, np.ndarray]:
        return frame > 300, frame > 600

    write_phantom({"unet-joint": SimpleNamespace(masks=masks)}, tmp_path / "contours.svg")
    drawn = (tmp_path / "contours.svg").read_text()
    assert all(f"<!-- {title} -->" in drawn for title in ("image", "true", "unet-joint"))


def test_scores_by_hand() -> None:
    truth = np.zeros((3, 4, 4), np.uint8)
    truth[:2, 1] = Structure.MYOCARDIUM
    truth[0, 1, :2] = Structure.NO_REFLOW
    labels = np.zeros_like(truth)
    labels[0, 1, 1:] = Structure.INFARCT
    labels[1, 1, :1] = Structure.INFARCT
    case = Case(None, {Role.LGE: Volume(truth, plain_affine((10.0, 1.0, 1.0)))})  # type: ignore[arg-type]
    wall, scar = truth > 0, np.isin(labels, SCAR)
    wall[1, 1, :2] = False
    first, second = evaluation.score_slices((wall, scar), case)  # the third slice shows no heart
    assert (first["wall dice"], second["wall dice"]) == (1.0, pytest.approx(4 / 6))
    assert evaluation.score_slices((None, scar), case)[0]["wall dice"] is None
    assert (first["dice"], first["precision"], first["recall"]) == pytest.approx((0.4, 1 / 3, 0.5))
    assert (second["dice"], second["precision"], second["recall"]) == (0.0, 0.0, None)
    assert slice_values([first, second]) == {"dice": [0.4], "precision": [1 / 3], "recall": [0.5]}
    wall, scar = np.isin(labels, SCAR), np.ones(truth.shape, bool)
    scores = evaluation.score((wall, scar), (wall, scar), case)
    assert scores["infarction dice"] == pytest.approx(2 * 1 / (4 + 2))
    assert scores["printed scar"] == pytest.approx(2 * 2 / (48 + 2))
    assert evaluation.score((None, scar), (None, scar), case)["myocardium dice"] is None


def test_pairs_are_of_the_same_patients() -> None:
    rows = [
        {"variant": v, "case": c, "infarction true ml": ml, "infarction dice": d, "myocardium dice": None}
        for v, c, ml, d in (
            ("unet-joint", "a", 3, 0.7), ("unet-joint", "b", 3, 0.5), ("unet-joint", "c", 0, 1.0),
            ("unet-direct", "b", 3, 0.4), ("unet-direct", "a", 3, 0.5), ("unet-direct", "c", 0, 0.0),
            ("unet-direct", "d", 3, 0.1),
        )
    ]  # fmt: skip
    scar = [_by_case(rows, f"unet-{method}", "infarction dice") for method in ("joint", "direct")]
    assert paired(*scar).tolist() == pytest.approx([0.2, 0.1])
    assert not len(paired(*(_by_case(rows, f"unet-{method}", "myocardium dice") for method in ("joint", "direct"))))
    differences = np.array([0.1, 0.2, 0.15, 0.3, 0.05, 0.12, 0.22, 0.18])
    assert wilcoxon_p(differences) == pytest.approx(2 / 2**8)
    assert wilcoxon_p(np.zeros(5)) == 1
    low, high = interval(differences)
    assert 0.05 < low < differences.mean() < high < 0.3


def test_box_plots_have_both_readings_of_every_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures 2 and 4: by slices where the expert drew scar, the paper's reading above ours."""
    drawn = []
    monkeypatch.setattr(pages, "save_svg", lambda figure, _: drawn.append(figure))
    some = {"scar pixels": 4, "found pixels": 4, "dice": 0.5, "precision": 0.25, "recall": 0.75}
    clean = some | {"scar pixels": 0, "dice": 0.0, "precision": 0.0, "recall": None}
    kinds = [{"variant": f"unet-{m}", "reading": r} for r in ("ours", "paper's") for m in METHODS]
    pages.write_boxes([kind | row for kind in kinds for row in (some, clean)], tmp_path / "boxes.svg")
    axes = drawn[0].axes
    assert [a.get_title() for a in axes] == [f"{k} of scar, slice by slice" for k in ("Dice", "precision", "recall")]
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names == [f"unet-{m}, {r}" for r in ("paper's", "ours") for m in METHODS]
    for a, middle in zip(axes, (0.5, 0.25, 0.75), strict=True):
        assert {x for line in a.lines[4::7] for x in line.get_xdata()} == {middle}  # the clean slice counts nothing
