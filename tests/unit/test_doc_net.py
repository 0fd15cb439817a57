"""Clinic-NET and DOC-NET on synthetic hearts: shapes, what is read and what is not, training, the page's numbers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.test_clinical import FACTS

from myoscope.analysis import judge
from myoscope.datasets.clinical import TITLES, parse
from myoscope.datasets.phantom import TRAINING, draw, sample
from myoscope.diagnose import clinical as with_clinic
from myoscope.diagnose.clinical_values import read_values, value_names
from myoscope.errors import InputError
from myoscope.io.save import write_predictions
from myoscope.lab.augment_stacks import Ranges, apply, middle
from myoscope.lab.augment_stacks import draw as draw_stacks
from myoscope.lab.crossval import weights_path
from myoscope.lab.loop import Budget
from myoscope.lab.pages import render
from myoscope.labels import Structure
from myoscope.prediction import Classification
from myoscope.segment.images import normalise
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.systems import SYSTEMS, full_name
from myoscope.systems.doc_net import evaluation as own
from myoscope.systems.doc_net.inputs import Inputs, collect, read_stack
from myoscope.systems.doc_net.model import CLASSES, Model, build
from myoscope.systems.doc_net.network import DocNet, ImageBranch
from myoscope.systems.doc_net.page import TEMPLATE, maps_facts, page_facts, summarise
from myoscope.systems.doc_net.recipe import RECIPES, retuned
from myoscope.systems.doc_net.training import fit, train
from myoscope.volume import Volume, plain_affine
from myoscope.weights import weights_of

LINEAR = RECIPES["doc-net.linear+"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _case(i: int) -> Case:
    """A ring with or without scar; the pathological half has ST elevation."""
    y, x = np.mgrid[:100, :110]
    radius = np.hypot(y - 45 - i % 5, x - 60)
    labels = np.where(radius < 16, Structure.LV, np.where(radius < 24, Structure.MYOCARDIUM, 0)).astype(np.uint8)
    ill = i % 2 == 1
    if ill:
        labels[(labels == Structure.MYOCARDIUM) & (x > 70)] = Structure.INFARCT
    labels = np.stack([labels] * 7)
    rng = np.random.default_rng(i)
    image = np.choose(labels, [20.0, 90.0, 40.0, 200.0, 0.0]) + rng.normal(0, 5, labels.shape)
    grid = Volume(image.astype(np.float32), plain_affine((10, 1.5, 1.5)))
    facts = {**FACTS, "ECG (ST +)": "Y" if ill else "N", "Age": str(50 + i % 20), "Troponin": str(1 + i)}
    study = Study(f"c{i}", Patient(clinical=facts), (Series(Role.LGE, "lge", grid),))
    return Case(study, {Role.LGE: grid.with_voxels(labels)}, CLASSES[ill], f"c{i}")


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [_case(i) for i in range(20)]


def _without_scar(labels: Volume) -> Volume:
    return labels.with_voxels(np.where(labels.voxels == Structure.INFARCT, Structure.MYOCARDIUM, labels.voxels))


def test_published_sizes() -> None:
    branch = ImageBranch((10, 128, 128), (4, 8, 16, 32, 64, 16, 8), 0.2)
    assert branch(torch.rand(2, 1, 10, 128, 128)).shape == (2, 8)
    sizes = {
        name: [m.out_features for m in build(recipe).modules() if isinstance(m, torch.nn.Linear)]
        for name, recipe in RECIPES.items()
    }
    assert sizes["doc-net.clinic-net"] == sizes["doc-net.clinic-net+"] == [20, 30, 10, 2]
    assert sizes["doc-net.doc-net"] == sizes["doc-net.doc-net+"] == [33, 50, 16, 2]
    assert build(RECIPES["doc-net.doc-net"]).body[0].in_features == 8 + 12
    assert build(RECIPES["doc-net.clinic-net+"]).body[0].in_features == 12 + 3
    with pytest.raises(ValueError, match="one voxel"):
        ImageBranch((10, 128, 128), (4, 8), 0.2)


@pytest.mark.parametrize(
    "wrong",
    [{"learning_rate": 0.0}, {"hidden": (20, 0)}, {"dropout": 1.0}, {"volumes": ("fat",)}, {"crop": -1}, {"batch": 0}],
)
def test_recipes_are_validated(wrong: dict) -> None:
    with pytest.raises(InputError, match="doc-net"):
        replace(LINEAR, **wrong)


def test_values_are_read_by_hand(cases: list[Case]) -> None:
    labels = cases[1].labels[Role.LGE]
    found = dict(zip(value_names(LINEAR.volumes), read_values(LINEAR.volumes, parse(FACTS, "x"), labels), strict=True))
    assert found["Sex"] == 0
    assert found["Tobacco"] == 0
    assert found["ECG (ST +)"] == 1
    assert found["Troponin"] == pytest.approx(np.log10(7.5))
    scar_ml = (labels.voxels == Structure.INFARCT).sum() * 10 * 1.5 * 1.5 / 1000
    assert np.expm1(found["scar (ml)"]) == pytest.approx(scar_ml)
    empty = labels.with_voxels(np.zeros_like(labels.voxels))
    assert np.isnan(read_values(LINEAR.volumes, parse(FACTS, "x"), empty)[12:]).all()
    assert np.isnan(read_values(LINEAR.volumes, parse({}, "x"), labels)[:12]).all()


def test_stack_follows_the_heart_and_hides_the_spacing(cases: list[Case]) -> None:
    recipe = RECIPES["doc-net.doc-net"]
    case = cases[1]
    image, labels = case.study.series[0].image, case.labels[Role.LGE]
    stack = read_stack(recipe, image, labels)
    assert stack.shape == (10, 80, 80)
    assert [bool(z.any()) for z in stack] == [False] + [True] * 7 + [False] * 2
    moved = [v.with_voxels(np.roll(v.voxels, (8, -12), (1, 2))) for v in (image, labels)]
    inner = (slice(1, 8), slice(24, 56), slice(24, 56))
    assert (read_stack(recipe, *moved)[inner] - stack[inner]).abs().mean() < 0.01
    other = Volume(image.voxels, plain_affine((13, 1.5, 1.5)))
    assert torch.equal(read_stack(recipe, other, labels), stack)


def test_published_reads_the_papers_stack_and_loses_one_norm(cases: list[Case]) -> None:
    recipe, image = RECIPES["doc-net.published"], cases[1].study.series[0].image
    stack = read_stack(recipe, image, cases[1].labels[Role.LGE])
    assert stack.shape == (10, 128 + 16, 128 + 16)
    shown = stack[1:8, 26:126, 11:121]  # pixels as acquired: the ring around (46, 60) in the middle
    assert torch.equal(shown, torch.from_numpy(normalise(image.voxels.astype(np.float32))))
    for name, lost in (("doc-net.published+", 1), ("doc-net.doc-net+", 2)):
        branch = build(RECIPES[name]).branch
        assert sum(isinstance(layer, torch.nn.InstanceNorm3d) for layer in branch) == 7 - lost


def test_every_kind_of_augmentation_changes_and_padding_stays(cases: list[Case]) -> None:
    recipe = RECIPES["doc-net.doc-net"]
    stacks = collect(recipe, cases[:4]).stacks
    assert stacks is not None
    still = Ranges(1.0, 0.0, 0.0, (1.0, 1.0), 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    kinds = {
        "rotation": {"rotation_degrees": 40.0},
        "cropping": {"shift": 0.2, "zoom": (0.8, 0.9), "lost_slices": 2},
        "noise": {"noise": 0.1},
        "k-space": {"lines": 0.3, "line_error": 1.0},
        "deformation": {"bend": 0.1},
        "contrast": {"gamma": 0.5, "contrast": 0.3},
    }
    for name, change in kinds.items():
        rng = torch.Generator().manual_seed(1)
        parameters = draw_stacks(4, 10, recipe.crop, recipe.margin, replace(still, **change), rng)
        if name != "rotation":
            parameters.affine[:, :, 0] *= parameters.affine[:, :1, 0].sign()  # without the flip
        found = apply(parameters, stacks, recipe.crop)
        assert found.shape == (4, 10, 64, 64)
        assert torch.isfinite(found).all()
        assert (found - middle(stacks, recipe.crop)).abs().mean() > 0.005, name
        assert not found[:, 0].any()
    none = draw_stacks(4, 10, recipe.crop, recipe.margin, Ranges(share=0.0), torch.Generator().manual_seed(1))
    assert torch.allclose(apply(none, stacks, recipe.crop), middle(stacks, recipe.crop), atol=1e-4)


def test_lost_slices_are_those_of_the_stack() -> None:
    stacks = torch.zeros(1, 10, 80, 80)
    stacks[:, 2:9] = 0.5
    ranges = Ranges(1.0, 0.0, 0.0, (1.0, 1.0), 2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    seen = set()
    for seed in range(60):
        parameters = draw_stacks(1, 10, 64, 8, ranges, torch.Generator().manual_seed(seed))
        shown = apply(parameters, stacks, 64).flatten(2).any(2)[0].nonzero()[:, 0]
        seen.add((int(shown.min()) - 2, 8 - int(shown.max())))
    assert seen == {(a, b) for a in range(3) for b in range(3)}


@pytest.mark.parametrize("name", RECIPES)
def test_trains_predicts_saves_and_loads(name: str, cases: list[Case], tmp_path: Path) -> None:
    recipe = replace(retuned(RECIPES[name]), spacing_mm=4.0, crop=32, margin=4)
    model = train(replace(recipe, epochs=1), cases[:8], Budget(minutes=1), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["name"] == name
    model.save(tmp_path / "w.safetensors", {"system": name})
    found = model.predict(cases[1].study, cases[1].labels[Role.LGE])
    assert list(found.probabilities) == list(CLASSES)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    if recipe.channels:  # its stack has another size than the recipe of this name
        return
    again = Model.load(tmp_path / "w.safetensors").predict(cases[1].study, cases[1].labels[Role.LGE])
    assert again == found


def test_learns_what_tells_the_classes_apart(cases: list[Case]) -> None:
    for recipe in (LINEAR, replace(retuned(RECIPES["doc-net.clinic-net"]), epochs=30)):
        inputs = collect(recipe, cases)
        model = fit(recipe, inputs, Budget(minutes=1), None)
        right = model.probabilities(inputs).argmax(1) == inputs.classes.numpy()
        assert right.mean() == 1


def test_a_killed_run_ends_as_one_that_was_not(cases: list[Case], tmp_path: Path) -> None:
    recipe = replace(retuned(RECIPES["doc-net.clinic-net"]), epochs=6)
    inputs = collect(recipe, cases)
    whole = fit(recipe, inputs, Budget(minutes=1), tmp_path / "whole") if (tmp_path / "whole").mkdir() is None else None
    (tmp_path / "parts").mkdir()
    fit(replace(recipe, epochs=3), inputs, Budget(minutes=1), tmp_path / "parts")
    resumed = fit(recipe, inputs, Budget(minutes=1), tmp_path / "parts")
    assert (whole.probabilities(inputs) == resumed.probabilities(inputs)).all()


def test_unknown_values_are_average_and_said(cases: list[Case]) -> None:
    model = fit(LINEAR, collect(LINEAR, cases), Budget(minutes=1), None)
    labels = cases[1].labels[Role.LGE]
    facts = {key: value for key, value in cases[1].study.patient.clinical.items() if key != "Troponin"}
    found = model.predict(replace(cases[1].study, patient=Patient(clinical=facts)), labels)
    assert any(note.startswith("Troponin: not given") for note in found.notes)
    assert not any(name.startswith("Troponin") for name, _, _ in found.evidence)
    nobody = model.predict(replace(cases[1].study, patient=Patient()), labels)
    assert len(nobody.evidence) == 3
    far = model.predict(replace(cases[1].study, patient=Patient(clinical={**facts, "Troponin": "9000"})), labels)
    assert any("Troponin: far from any training case" in note for note in far.notes)


def test_evidence_adds_up_to_the_odds(cases: list[Case]) -> None:
    model = fit(LINEAR, collect(LINEAR, cases), Budget(minutes=1), None)
    for case in cases[:4]:
        found = model.predict(case.study, case.labels[Role.LGE])
        p = found.probabilities
        assert list(p.values()) == pytest.approx(model.probabilities(collect(LINEAR, [case]))[0], abs=1e-5)
        best, other = sorted(p, key=p.get, reverse=True)
        bias = model.network.last.bias.tolist()
        base = bias[CLASSES.index(best)] - bias[CLASSES.index(other)]
        assert sum(weight for *_, weight in found.evidence) + base == pytest.approx(
            np.log(p[best] / p[other]), abs=1e-3
        )
        assert {name: value for name, value, _ in found.evidence}["Troponin (likely ng/ml)"] == pytest.approx(
            float(case.study.patient.clinical["Troponin"]), rel=1e-4
        )


def test_the_clinic_has_the_numbers_of_the_installed_network() -> None:
    assert with_clinic._model() == Model.load(weights_of("doc-net.linear+")).linear()


def test_what_a_variant_cannot_do_without_is_named(cases: list[Case], tmp_path: Path) -> None:
    inputs = collect(RECIPES["doc-net.clinic-net"], cases)
    clinic = fit(replace(retuned(RECIPES["doc-net.clinic-net"]), epochs=1), inputs, Budget(minutes=1), None)
    assert clinic.predict(replace(cases[0].study, series=())).prediction in CLASSES
    with pytest.raises(InputError, match="expected clinical values, found none"):
        clinic.predict(replace(cases[0].study, patient=Patient()))
    linear = fit(LINEAR, collect(LINEAR, cases), Budget(minutes=1), None)
    with pytest.raises(InputError, match="expected an LGE image, found none"):
        linear.predict(replace(cases[0].study, series=()))
    with pytest.raises(InputError, match="expected a case that is normal or pathological"):
        collect(LINEAR, [replace(cases[0], group="DCM")])
    with pytest.raises(InputError, match="expected weights"):
        Model.load(tmp_path / "none.safetensors")


def test_variants_have_names() -> None:
    assert full_name("doc-net", None) == "doc-net.linear+"
    assert full_name("doc-net", "clinic-net") == "doc-net.clinic-net"
    assert full_name("compact-lge", None) == "compact-lge"
    with pytest.raises(InputError, match=r"a variant of doc-net \(linear\+, clinic-net"):
        full_name("doc-net", "docnet")
    with pytest.raises(InputError, match="none: leave out"):
        full_name("compact-cine", "small")
    assert "doc-net" in SYSTEMS


def test_predictions_have_one_column_a_class(tmp_path: Path) -> None:
    path = write_predictions(tmp_path, {"a": Classification({"normal": 0.25, "pathological": 0.75})})
    assert path.read_text() == "case,prediction,normal,pathological\na,pathological,0.250000,0.750000\n"


def test_baselines_and_page_from_a_small_run(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "SEEDS", {"values": 2, "images": 1})
    rows = []
    for entry in own.entries(True):
        if entry.recipe and entry.recipe.hidden:
            continue
        predicted = own._predictions(entry, cases, tmp_path, "cpu", lambda _: None)
        assert [len(one) for one in predicted] == [4, 4]
        row = {"title": entry.title, "table": entry.table, "labels": entry.labels, "recipe": None}
        rows.append(row | summarise(predicted, {case.id: case.group == CLASSES[1] for case in cases}))
    by_title = {row["title"]: row for row in rows}
    assert by_title["ST elevation alone"]["accuracy"] == 100
    assert by_title["automatic scar volume above a threshold"]["accuracy"] == 100
    blind = [replace(c, labels={Role.LGE: _without_scar(c.labels[Role.LGE])}) for c in cases]
    maps = [maps_facts("cascade.small", cases, cases), maps_facts("doc-net-segmentation", blind, cases)]
    page = render(TEMPLATE, page_facts(rows, ["emidec"], True, maps=maps))
    assert "cascade.small | 100.0 ± 0.0 | 100.0 ± 0.0 | 100.0 ± 0.0 (10) | 0.0 ± 0.0 | 10 of 10 | 10 of 10 |" in page
    assert "two steps | 100.0 ± 0.0 | 100.0 ± 0.0 | 0.0 ± 0.0 (10)" in page
    assert "| 0 of 10 | 10 of 10 |" in page
    tuned = [retuned(RECIPES[f"doc-net.{name}"]) for name in ("clinic-net", "doc-net")]
    assert {(r.learning_rate, r.weight_decay, r.batch) for r in tuned} == {(1e-3, 1e-2, 8)}
    assert [r.epochs for r in tuned] == [100, 60]
    assert "AdamW at 1e-3 with weight decay 1e-2, batch 8, 100 epochs (60 with images)" in page
    assert "| ST elevation alone | none | 2 | 100.0 % (100.0 to 100.0)" in page
    assert "myoscope evaluate doc-net --data emidec -o RUNS --segmentations LGE_RUNS" in page


def test_folds_dealt_otherwise_are_refused(cases: list[Case], tmp_path: Path) -> None:
    runs = tmp_path / "lge"
    for k in range(5):
        weights = weights_path("cascade.small", k, runs)
        weights.parent.mkdir(parents=True)
        weights.write_bytes(b"")
        weights.with_name("scores.json").write_text(json.dumps([{"case": "other"}]))
    with pytest.raises(InputError, match="expected c0 among the cases of this fold"):
        own.relabelled(cases, tmp_path, runs, "cpu")


def test_analysis_uses_clinical_values(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    phantom = draw(sample(3, TRAINING, "MINF"), (Role.LGE,), frames=2)
    model = fit(LINEAR, collect(LINEAR, cases), Budget(minutes=1), None)
    monkeypatch.setattr(with_clinic, "_model", model.linear)

    def judged(**clinical: str):
        study = replace(phantom.study, patient=Patient(clinical=clinical))
        return judge(study, phantom.labels, {}).measurements

    known, unknown = judged(**FACTS), judged()
    assert any(e.measurement.startswith("ST elevation on the ECG") for e in known.diagnosis.evidence)
    assert known.diagnosis.prediction in CLASSES
    assert not any(e.measurement.startswith("ECG") for e in unknown.diagnosis.evidence)
    assert unknown.diagnosis.prediction == "pathological"
    assert any("does not give their units" in f.message for f in known.quality.flags)
    bad = judged(**{**FACTS, "Killip Max": "7"})
    assert any(f.level == "warning" and "Killip Max: expected a whole number" in f.message for f in bad.quality.flags)
    assert bad.diagnosis == unknown.diagnosis
    some = judged(**{key: FACTS[key] for key in list(TITLES.values())[:3]})
    assert some.diagnosis == unknown.diagnosis
    drawn = phantom.labels[Role.LGE]  # walls and infarct alone, as some readers draw
    wall = drawn.with_voxels(np.where(drawn.voxels == Structure.LV, 0, drawn.voxels).astype(np.uint8))
    monkeypatch.setitem(phantom.labels, Role.LGE, wall)
    bare = judged(**FACTS)
    assert bare.diagnosis == judged().diagnosis and bare.diagnosis.prediction == "pathological"
    assert any(f.level == "warning" and "no cavity of the LV" in f.message for f in bare.quality.flags)


def test_network_takes_the_mean_for_unknown() -> None:
    network = DocNet(2, ())
    network.mean.copy_(torch.tensor([3.0, 5.0]))
    assert torch.equal(network(torch.tensor([[torch.nan, 7.0]])), network(torch.tensor([[3.0, 7.0]])))


def test_inputs_of_some(cases: list[Case]) -> None:
    inputs = collect(RECIPES["doc-net.doc-net"], cases[:3])
    some = inputs.some(torch.tensor([2]))
    assert isinstance(some, Inputs)
    assert some.values.shape == (1, 12)
    assert some.stacks is not None and torch.equal(some.stacks[0], inputs.stacks[2])


def test_training_a_variant_leaves_weights_and_card(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [replace(case, data_set="emidec") for case in cases]
    monkeypatch.setattr(own.crossval, "read_cases", lambda _: named)
    monkeypatch.setattr(own, "relabelled", lambda some, *_: list(some))
    path = own.train_fold("doc-net.linear+", [], 0, Budget(minutes=1), tmp_path, tmp_path, "cpu")
    assert path == tmp_path / "fold-1" / "doc-net.linear+.safetensors"
    model = Model.load(path)
    assert model.card["trained_on"] == {"emidec": 16}
    assert (model.card["segmentation"], model.card["repeated_splits"]) == ("cascade.small", None)
    assert "CC BY-NC-SA" in model.card["licence"]
