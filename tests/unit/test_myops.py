"""compact-myops, and what `analyze` makes of several sequences."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from myoscope import analysis
from myoscope.errors import InputError
from myoscope.lab.augment import Strength
from myoscope.lab.augment_sequences import Sequences, sequence_batch, shown
from myoscope.lab.loop import Budget
from myoscope.labels import Structure
from myoscope.measure.anatomy import NAMES, find_anatomy
from myoscope.measure.segments import segment_share
from myoscope.measure.t2 import t2_extent
from myoscope.segment.alignment import LARGEST_SHIFT_MM, alignment_notes, shift_mm
from myoscope.segment.joint import ROLES, WALL, JointModel, codes_of, joint_channels, scar_from_lge, without_scar
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.systems import compact
from myoscope.systems.compact import myops as compact_myops
from myoscope.systems.compact.myops.model import Trained, UNet
from myoscope.systems.compact.myops.training import collect_sequences, region_loss, train
from myoscope.volume import Volume, onto_grid, plain_affine

RECIPE = dataclasses.replace(
    compact_myops.RECIPES["compact-myops"], widths=(4, 8), crop=32, batch=2, phantoms=0, phantom_share=0.0
)
STILL = Strength(
    gamma=0, contrast=0, noise=0, shading=0, elastic_mm=0, spike=0, rotation_degrees=0, mirror=0, scale=(1, 1),
    anywhere=0, shift_mm=0,
)  # fmt: skip


def heart(shift_x: int = 0, slices: int = 4) -> np.ndarray:
    """Labels: a ring with scar inside edema, and an RV on its left."""
    y, x = np.mgrid[:80, :90]
    radius, angle = np.hypot(y - 40, x - 50 - shift_x), np.arctan2(y - 40, x - 50 - shift_x)
    labels = np.where(radius < 12, Structure.LV, np.where(radius < 20, Structure.MYOCARDIUM, 0)).astype(np.uint8)
    wall = labels == Structure.MYOCARDIUM
    labels[wall & (np.abs(angle) < 1.0)] = Structure.EDEMA
    labels[wall & (np.abs(angle) < 0.5)] = Structure.INFARCT
    labels[(labels == 0) & (np.hypot(y - 40, x - 25 - shift_x) < 12)] = Structure.RV
    return np.stack([labels] * slices)


def myops_case(roles: tuple[Role, ...] = ROLES, name: str = "case") -> Case:
    codes = heart()
    grid = plain_affine((10, 1.4, 1.4))
    shades = {Role.LGE: [1, 60, 20, 95, 0, 20, 60], Role.T2: [1, 10, 40, 80, 0, 80, 10]}
    series, labels = [], {}
    for role in roles:
        shade = np.array(shades.get(role, [1, 90, 30, 30, 0, 30, 85]), np.float32)
        image = Volume(shade[codes] + np.indices(codes.shape)[0] % 2, grid)
        series.append(Series(role, str(role), image))
        labels[role] = image.with_voxels(codes)
    return Case(Study(name, Patient(), tuple(series)), labels, scan=name)


def test_an_image_comes_onto_another_grid_by_geometry() -> None:
    affine = plain_affine((10.0, 2.0, 2.0))
    image = Volume(np.random.default_rng(0).uniform(1, 9, (4, 20, 24)).astype(np.float32), affine)
    assert (onto_grid(image, image) == image.voxels).all()
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ [3, 2, 1]  # starts three columns, two rows, one slice later
    part = onto_grid(image, Volume(np.zeros((4, 20, 24)), shifted))
    assert part[:3, :18, :21] == pytest.approx(image.voxels[1:, 2:, 3:], abs=1e-3)
    assert not part[3].any() and not part[:, 18:].any()
    fine = plain_affine((5.0, 2.0, 2.0))  # slabs: thinner slices repeat the one they lie in
    assert (onto_grid(image, Volume(np.zeros((7, 20, 24)), fine))[[0, 2, 4, 6]] == image.voxels).all()


def test_the_joint_map_lies_on_lge_else_t2_else_bssfp() -> None:
    for roles, first in ((ROLES, Role.LGE), ((Role.BSSFP, Role.T2), Role.T2), ((Role.BSSFP,), Role.BSSFP)):
        series, images = joint_channels(myops_case(roles).study)
        assert series.role is first
        assert set(images) == set(roles)
    with pytest.raises(InputError, match="expected LGE, T2 or bSSFP"):
        joint_channels(Study("none", Patient(), ()))


def test_what_does_not_overlap_is_left_out_and_said(untrained: JointModel) -> None:
    study = myops_case().study
    away = study.get(Role.T2).image.affine.copy()
    away[2, 3] = 500
    moved = Series(Role.T2, "t2", Volume(study.get(Role.T2).image.voxels, away))
    study = dataclasses.replace(study, series=(*(s for s in study.series if s.role is not Role.T2), moved))
    assert set(joint_channels(study)[1]) == {Role.LGE, Role.BSSFP}
    assert ("not_overlapping", Role.T2) in [(n.code, n.role) for n in untrained.alignment(study)]


def test_any_subset_keeps_a_sequence() -> None:
    present = torch.tensor([[True, False, False], [True, True, True], [False, True, True]] * 60)
    kept = shown(present, 0.3, torch.Generator().manual_seed(0))
    assert kept.any(1).all()
    assert not (kept & ~present).any()
    assert len({tuple(row) for row in kept[1::3].tolist()}) == 7
    assert (shown(present, 1.0, torch.Generator()) == present).all()


def test_shifted_sequences_leave_labels_on_the_first() -> None:
    slices = collect_sequences(RECIPE, [myops_case()])
    images, labels, _ = sequence_batch(slices, 6, 64, 1.4, STILL, Sequences(1.0, 1.0, 4.0), seed=1)
    bright = images[:, 0] > 0.9  # scar on LGE
    assert (labels[bright] == RECIPE.classes.index(Structure.INFARCT)).float().mean() > 0.9
    blood = images[:, 2] > 0.9  # on bSSFP, somewhere else
    assert (labels[blood] == RECIPE.classes.index(Structure.LV)).float().mean() < 0.9
    again = sequence_batch(slices, 6, 64, 1.4, STILL, Sequences(1.0, 1.0, 4.0), seed=1)[0]
    assert torch.equal(images, again)


def test_missing_sequences_are_blank() -> None:
    slices = collect_sequences(RECIPE, [myops_case((Role.LGE,)), myops_case((Role.CINE,), "cine")])
    assert slices.weights.sum() == pytest.approx(RECIPE.lge_share + 1 - RECIPE.lge_share - RECIPE.t2_share)
    images, _, merges = sequence_batch(slices, 16, 32, 1.4, Strength(), Sequences(), seed=0)
    there = images.flatten(2).any(2)
    assert there.sum(1).tolist() == [1] * 16
    assert not there[:, 1].any()
    edema, infarct, wall = (RECIPE.classes.index(s) for s in (Structure.EDEMA, Structure.INFARCT, Structure.MYOCARDIUM))
    assert (merges[:, wall, edema] == 1).all()  # nobody draws edema without T2
    assert ((merges[:, wall, infarct] == 1) == there[:, 2]).all()  # nor scar on cine


def test_region_loss_counts_only_what_is_drawn() -> None:
    labels = torch.randint(6, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    truth = torch.nn.functional.one_hot(labels, 6).movedim(-1, 1).float()
    regions = torch.tensor([[float(s in region) for s in RECIPE.classes] for region in RECIPE.regions])
    every = torch.eye(6).expand(2, 6, 6)
    assert region_loss(truth, truth, every, regions) == pytest.approx(0, abs=1e-6)
    assert region_loss(truth.roll(1, 0), truth, every, regions) > 0.3
    slices = collect_sequences(RECIPE, [myops_case((Role.LGE,))])
    unsure = slices.merges[:1]  # normal myocardium here may be edema
    merged = torch.einsum("bij,bjhw->bihw", unsure, truth[:1])
    assert region_loss(merged, merged, unsure, regions) == pytest.approx(0, abs=1e-6)


def saved(trained: Trained, folder: Path) -> JointModel:
    """What predicts, of what was trained."""
    folder.mkdir(exist_ok=True)
    trained.save(folder / "w.safetensors", {"system": "compact-myops", "widths": RECIPE.widths, "licence": "none"})
    return JointModel.load(folder / "w.safetensors")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> JointModel:
    torch.manual_seed(0)
    return saved(Trained(RECIPE, UNet(3, 6, RECIPE.widths)), tmp_path_factory.mktemp("untrained"))


def test_every_subset_of_sequences_runs(tmp_path: Path) -> None:
    case = myops_case()
    model = saved(train(RECIPE, [case, myops_case((Role.LGE,), "lge")], Budget(steps=2), tmp_path), tmp_path)
    for bits in range(1, 8):
        kept = tuple(series for i, series in enumerate(case.study.series) if bits >> i & 1)
        found = model.predict(dataclasses.replace(case.study, series=kept))
        first = next(role for role in ROLES if role in [s.role for s in kept])
        assert list(found) == [first]
        assert found[first].same_grid(case.study.get(first).image)
    assert model.predict(Study("none", Patient(), ())) == {}


def test_scar_and_edema_are_told_from_shares() -> None:
    order = RECIPE.classes
    pixels = {
        Structure.LV: {Structure.LV: 0.6, Structure.MYOCARDIUM: 0.4},
        Structure.MYOCARDIUM: {Structure.LV: 0.4, Structure.MYOCARDIUM: 0.35, Structure.INFARCT: 0.25},
        Structure.INFARCT: {Structure.MYOCARDIUM: 0.4, Structure.INFARCT: 0.35, Structure.EDEMA: 0.25},
        Structure.EDEMA: {Structure.MYOCARDIUM: 0.4, Structure.INFARCT: 0.25, Structure.EDEMA: 0.35},
    }
    shares = {s: np.array([[[p.get(s, 0.0) for p in pixels.values()]]]) for s in order}
    assert codes_of(shares).ravel().tolist() == list(pixels)


def test_misalignment_is_measured_in_mm_and_said() -> None:
    spacing = (10.0, 1.4, 1.4)
    assert shift_mm(heart(), heart(5), spacing) == pytest.approx(7.0)
    assert shift_mm(heart(), np.zeros_like(heart()), spacing) is None
    alone = {Role.LGE: heart(), Role.T2: heart(2), Role.BSSFP: heart(5)}
    notes = alignment_notes(alone, Role.LGE, spacing)
    assert [(n.code, n.level, n.role) for n in notes] == [("poor_alignment", "warning", Role.BSSFP)]
    assert "7 mm apart" in notes[0].message and LARGEST_SHIFT_MM > 2 * 1.4
    unknown = alignment_notes({Role.LGE: heart(), Role.T2: 0 * heart()}, Role.LGE, spacing)
    assert [n.code for n in unknown] == ["alignment_unknown"]


def test_edema_is_measured_whole_and_by_segment() -> None:
    labels, spacing = heart(), (10.0, 1.4, 1.4)
    ml = 10 * 1.4 * 1.4 / 1000
    edema, infarct = np.isin(labels, [Structure.EDEMA, Structure.INFARCT]).sum(), (labels == Structure.INFARCT).sum()
    t2, missing = t2_extent(labels, spacing, with_lge=True)
    assert t2.edema_ml == pytest.approx(edema * ml)
    assert t2.salvage_index_percent == pytest.approx(100 * (edema - infarct) / edema)
    assert not missing
    t2, missing = t2_extent(labels, spacing, with_lge=False)
    assert t2.salvage_index_percent is None and "LGE" in missing["salvage_index_percent"]
    where = find_anatomy(labels, spacing)
    share = segment_share(where, (Structure.EDEMA, Structure.INFARCT))
    by_hand = {n: where.codes == n for n in NAMES if (where.codes == n).any()}
    ill = np.isin(labels, [Structure.EDEMA, Structure.INFARCT])
    assert {n: share[n] for n in by_hand} == pytest.approx({n: 100 * ill[m].mean() for n, m in by_hand.items()})
    assert max(share[n] for n in by_hand) > 60 and share[17] == "no slice shows the tip of the LV"


class DarkCore:
    """A network of LGE alone: all of the wall is scar, and no-reflow in the upper half."""

    classes = compact.RECIPES["compact-lge"].classes
    card: ClassVar[dict] = {"confidence": {"unusual_distance": 2.0}}

    def shares(self, frame: np.ndarray, _: Volume) -> tuple[np.ndarray, np.ndarray]:
        shares = np.full((len(frame), 6, *frame.shape[1:]), 1e-3)
        upper = np.arange(frame.shape[1])[:, None] < 40
        shares[:, self.classes.index(Structure.NO_REFLOW)] = np.where(upper, 0.9, 0.1)
        shares[:, self.classes.index(Structure.INFARCT)] = np.where(upper, 0.1, 0.9)
        return shares, np.full(len(frame), 1.5)

    def draw(self, shares: np.ndarray, _: float) -> np.ndarray:
        return np.array(self.classes, np.uint8)[shares.argmax(1)]


def sure(codes: np.ndarray, share: float) -> dict[Structure, np.ndarray]:
    """Class probabilities of a network that gives its own class `share`, and the rest evenly to the others."""
    classes = compact_myops.RECIPES["compact-myops"].classes
    rest = (1 - share) / (len(classes) - 1)
    return {s: np.where(codes == s, share, rest) for s in classes}


def test_scar_is_what_the_lge_shows_of_the_wall() -> None:
    codes = heart()
    ours, lge = sure(codes, 0.6), {s: np.zeros(codes.shape) for s in compact.RECIPES["compact-lge"].classes}
    left = np.broadcast_to(np.arange(codes.shape[2]) < 50, codes.shape)
    lge[Structure.MYOCARDIUM], lge[Structure.INFARCT] = np.where(left, 0.1, 0.9), np.where(left, 0.9, 0.1)
    both = scar_from_lge(ours, lge, share=1.0)
    assert np.allclose(sum(both.values()), sum(ours.values()))
    found, wall = codes_of(both), np.isin(codes, WALL)
    assert np.array_equal(found == Structure.INFARCT, wall & left)
    kept = ~np.isin(codes, (Structure.INFARCT,)) & ~(wall & left)
    assert np.array_equal(found[kept], codes[kept])


def test_scar_is_a_mean_of_both_and_no_reflow_as_the_lge_divides_it() -> None:
    ours = {
        s: np.full((1, 1, 1), v)
        for s, v in zip(compact_myops.RECIPES["compact-myops"].classes, [0.1, 0, 0.3, 0.4, 0.2, 0], strict=True)
    }
    lge = {Structure.MYOCARDIUM: 0.2, Structure.INFARCT: 0.3, Structure.NO_REFLOW: 0.1}
    both = scar_from_lge(ours, {s: np.full((1, 1, 1), v) for s, v in lge.items()}, share=0.25)
    scar = 0.25 * 0.9 * 4 / 6 + 0.75 * 0.4
    wanted = {Structure.INFARCT: scar * 3 / 4, Structure.NO_REFLOW: scar / 4}
    wanted |= {Structure.MYOCARDIUM: (0.9 - scar) * 3 / 5, Structure.EDEMA: (0.9 - scar) * 2 / 5}
    assert {s: both[s].item() for s in wanted} == pytest.approx({s: wanted[s] for s in wanted})
    assert sum(both.values()).item() == pytest.approx(1.0)


def test_without_scar_on_lge_little_edema_is_a_mistake() -> None:
    codes = heart()
    ill = np.isin(codes, (Structure.INFARCT, Structure.EDEMA))
    assert np.array_equal(without_scar(codes, 20.0, 1.0), np.where(ill, Structure.EDEMA, codes))
    assert np.array_equal(without_scar(codes, 20.0, 19.0 / ill.sum()), np.where(ill, Structure.MYOCARDIUM, codes))


def test_phantoms_draw_edema_on_the_lge() -> None:
    infarct, normal = compact_myops.training._phantoms(2)
    for case in (infarct, normal):
        lge, t2 = (case.study.get(role).image for role in (Role.LGE, Role.T2))
        assert lge.same_grid(t2)
    codes = infarct.labels[Role.LGE].voxels
    edema = infarct.study.get(Role.T2).image.voxels[codes == Structure.EDEMA]
    assert edema.mean() > 1.2 * infarct.study.get(Role.T2).image.voxels[codes == Structure.MYOCARDIUM].mean()
    slices = collect_sequences(dataclasses.replace(RECIPE, phantom_share=0.2), [myops_case(), infarct])
    assert slices.weights[4:].sum() / slices.weights.sum() == pytest.approx(0.2 / (0.2 + 0.8 * RECIPE.t2_share))


def test_a_study_with_t2_gets_one_joint_map(
    untrained: JointModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = myops_case().study
    monkeypatch.setattr(analysis, "is_installed", lambda name: name == "compact-myops")

    model = JointModel(untrained.network)
    model.card = {"licence": "none", "confidence": {"lines": {"infarct": (0.0, 1.0), "edema": (0.0, 1.0)}}}
    answer = np.stack([*sure(heart(), 0.9).values()], 1), np.zeros(4)  # knows it
    monkeypatch.setattr(model, "_shares", lambda *_: answer)
    monkeypatch.setattr(analysis, "_model", lambda name, _: model if name == "compact-myops" else DarkCore())
    result = analysis.analyze(study)
    assert set(result.labels) == {Role.LGE}
    m = result.measurements
    volume = result.labels[Role.LGE].voxel_ml
    scar = np.isin(heart(), WALL)  # the LGE's network has no doubt
    assert m.lge.infarct_ml == pytest.approx(scar.sum() * volume)
    core = scar & (np.indices(heart().shape)[1] < 40)
    assert m.lge.no_reflow_ml == pytest.approx(core.sum() * volume) and core.any()
    assert m.t2.edema_ml == pytest.approx(scar.sum() * volume)
    assert m.t2.salvage_index_percent is not None
    assert m.lv.mass_g == pytest.approx(m.lge.myocardium_g)
    assert {p.role: p.labels_from for p in m.provenance.series} == dict.fromkeys(
        ("bssfp", "lge", "t2"),
        "compact-myops, one map on the grid of lge; infarct by it and compact-lge, no-reflow by compact-lge",
    )
    assert set(m.quality.confidence["lge"]) == {"infarct"}  # all that is ill is infarct here; the rest has no line
    page = result.save(tmp_path).read_text()
    assert "Salvage index" in page and "Research only." in page and "Edema, infarct included" in page


def test_a_joint_map_corrected_by_hand_is_measured_again() -> None:
    case = myops_case((Role.LGE,))
    m = analysis.judge(case.study, case.labels, {}).measurements
    assert m.t2.edema_percent > m.lge.infarct_percent > 0
    assert any(row.edema_percent for row in m.segments)
