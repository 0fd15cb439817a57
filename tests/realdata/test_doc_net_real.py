"""Predictions on real patients see neither labels nor the letter in the name, wherever it stands."""

import csv
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from myoscope import cli
from myoscope.analysis import analyze
from myoscope.datasets import case_folders
from myoscope.datasets.clinical import of_patient
from myoscope.datasets.emidec import read_case, read_study
from myoscope.labels import SCAR
from myoscope.overlap import dice
from myoscope.study import Role
from myoscope.systems.doc_net.segmentation import Model as Segmentation
from myoscope.weights import weights_of

DATA = Path(os.environ.get("MYOSCOPE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "emidec"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data set at {DATA}; set MYOSCOPE_DATA")

CASES = ("Case_N042", "Case_P019", "Case_P085")


def _hidden(root: Path) -> dict[str, str]:
    """Copies without labels, under names that tell nothing, in the text files too; gives new name by old."""
    names = {}
    for i, name in enumerate(reversed(CASES)):
        new = names[name] = f"Case_{100 + i}"
        (root / new / "Images").mkdir(parents=True)
        shutil.copy(DATA / name / "Images" / f"{name}.nii.gz", root / new / "Images" / f"{new}.nii.gz")
        old_words, new_words = name.replace("_", " "), new.replace("_", " ")
        text = (DATA / f"{old_words}.txt").read_bytes()
        assert old_words[5:].encode() in text
        text = text.replace(old_words[5:].encode(), new_words[5:].encode())
        (root / f"{new_words}.txt").write_bytes(text)
    return names


def _predict(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str | Path) -> dict[str, dict[str, str]]:
    monkeypatch.setattr(sys, "argv", ["myoscope", "predict", "doc-net", *map(str, arguments), "-o", str(out)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "prediction", "normal", "pathological"]
    return {row.pop("case"): row for row in rows}


@pytest.mark.parametrize("variant", ["linear+", "clinic-net"])
def test_neither_labels_nor_names_are_seen(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _hidden(tmp_path / "hidden")
    option = ("--variant", variant)
    shown = _predict(monkeypatch, tmp_path / "a", *(DATA / name for name in CASES), *option)
    hidden = _predict(monkeypatch, tmp_path / "b", tmp_path / "hidden", *option)
    assert {names[name]: row for name, row in shown.items()} == hidden
    for row in hidden.values():
        assert float(row["normal"]) + float(row["pathological"]) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(("normal", "pathological"), key=lambda name: float(row[name]))


def test_the_papers_two_steps_find_scar_in_a_patient_they_have_not_seen() -> None:
    """The installed ones are of fold 1."""
    case = read_case(DATA / "Case_P059")
    found, truth = Segmentation.load(weights_of("doc-net-segmentation")).predict(case.study), case.labels
    a, b = (np.isin(labels[Role.LGE].voxels, SCAR) for labels in (found, truth))
    assert dice(a, b) > 0.45


def test_every_case_has_its_twelve_values() -> None:
    for folder in case_folders(DATA):
        study = read_study(folder)
        assert not of_patient(study.patient, study.id).missing


def test_analysis_and_prediction_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = _predict(monkeypatch, tmp_path / "out", DATA / CASES[1])[CASES[1]]
    diagnosis = analyze(read_study(DATA / CASES[1])).measurements.diagnosis
    assert diagnosis.prediction == predicted["prediction"] == "pathological"
    assert diagnosis.probabilities["pathological"] == pytest.approx(float(predicted["pathological"]), abs=1e-5)
    assert any(e.measurement.startswith("Troponin") for e in diagnosis.evidence)
