"""doc-net's evaluation by hand: splits, summary, what is compared."""

import pytest
import torch

from myoscope.systems.doc_net import evaluation as own
from myoscope.systems.doc_net.page import summarise
from myoscope.systems.doc_net.recipe import MANUAL


def test_splits_are_stratified_and_differ() -> None:
    classes = torch.tensor([0] * 26 + [1] * 54)
    rest, test = own.split(classes, 0)
    assert sorted([*rest.tolist(), *test.tolist()]) == list(range(80))
    assert torch.bincount(classes[test]).tolist() == [5, 11]
    assert test.tolist() != own.split(classes, 1)[1].tolist()
    assert test.tolist() == own.split(classes, 0)[1].tolist()


def test_summary_by_hand() -> None:
    known = {"a": True, "b": True, "c": False, "d": False}
    found = summarise([{"a": 0.9, "c": 0.2}, {"a": 0.8, "d": 0.7}, {"b": 0.1, "c": 0.3}], known)
    assert (found["tp"], found["fn"], found["fp"], found["tn"]) == (2, 1, 1, 2)
    assert found["accuracy"] == pytest.approx(100 * 4 / 6)
    assert found["sensitivity"] == pytest.approx(100 * 2 / 3)
    assert found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"]
    assert found["split_best"] == 100
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.04 + 0.49 + 0.81 + 0.09) / 6)
    assert [b["n"] for b in found["calibration"]] == [1, 2, 1, 2]


def test_the_evaluation_compares_what_the_paper_does() -> None:
    titles = {(e.title, e.table, e.labels) for e in own.entries(True)}
    assert ("Clinic-NET", 1, "") in titles
    for network in ("DOC-NET", "Clinic-NET+", "DOC-NET+"):
        assert (network, 1, "expert") in titles
    for network in ("Clinic-NET+", "DOC-NET+"):
        assert {(network, 2, "doc-net-segmentation"), (network, 2, "cascade.small")} <= titles
    expert = next(e for e in own.entries(False) if e.title == "DOC-NET+" and e.labels == "expert")
    assert expert.recipe.volumes == MANUAL
    assert (expert.recipe.learning_rate, expert.recipe.epochs, expert.recipe.batch) == (1e-5, 170, 1)
    assert not any(e.labels == "cascade.small" for e in own.entries(False))
    printed = own.entries(True, as_printed=True)  # the paper's Tables 1 and 2, and nothing of ours
    assert [(e.title, e.table) for e in printed] == [
        ("Clinic-NET", 1), ("DOC-NET", 1), ("Clinic-NET+", 1), ("DOC-NET+", 1), ("Clinic-NET+", 2), ("DOC-NET+", 2),
    ]  # fmt: skip
    assert all(e.recipe and e.recipe.learning_rate == 1e-5 and e.labels != "cascade.small" for e in printed)
    assert {e.recipe.crop for e in printed if e.recipe and e.recipe.channels} == {128}
