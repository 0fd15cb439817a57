"""compact-myops: scar and edema from any of LGE, T2 and bSSFP, by one 2-D U-Net with a channel for each.

In training sequences are left out at random and shifted a little against each other, so that any that are there will
do. EMIDEC (LGE alone), ACDC (cine alone) and phantoms (LGE and T2 on one grid) help: what a case does not draw (edema
without T2, scar without LGE) is added to the normal myocardium before the loss is taken. The Dice part of the loss is
taken over the regions that the MyoPS challenge scores: scar, and scar with edema. Not from a paper; trained from
scratch, so that what a fold is tested on was never seen.

Where there is LGE, a network of LGE alone (compact-lge, trained on more of it for longer) may say what of the wall is
scar and no-reflow, and whether there is any: `scar_from_lge`, `without_scar`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.lab.augment import Strength
from myoscope.lab.augment_sequences import Sequences, sequence_batch
from myoscope.lab.loop import Budget, Optimisation, mixed
from myoscope.lab.slices import CANVAS, SliceSet, merge_matrix, normalise, one_frame, resample_slices
from myoscope.lab.unet import UNet
from myoscope.labels import SCAR, Structure
from myoscope.prediction import Prediction
from myoscope.study import Case, Note, Role, Series, Study
from myoscope.systems.compact import model as compact
from myoscope.systems.compact.alignment import alignment_notes
from myoscope.systems.compact.confidence import calibrate_all, heart_features
from myoscope.systems.compact.model import drop_traces, keep_heart, shares_of
from myoscope.volume import Volume, onto_grid
from myoscope.weights import half, load_into, read_weights, refusing, write_weights

ROLES = (Role.LGE, Role.T2, Role.BSSFP)
"""The network's channels. Of those that a study has, the joint map lies on the grid of the first."""

PHANTOM = "phantom"
_WALL = (Structure.MYOCARDIUM, Structure.INFARCT, Structure.EDEMA)
_LESION = (Structure.INFARCT, Structure.EDEMA)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the model becomes, given the cases."""

    name: str = "compact-myops"
    roles: tuple[Role, ...] = ROLES
    classes: tuple[Structure, ...] = (Structure.BACKGROUND, Structure.LV, *_WALL, Structure.RV)
    regions: tuple[tuple[Structure, ...], ...] = (
        (Structure.LV,),
        (Structure.RV,),
        _WALL,
        (Structure.INFARCT,),
        _LESION,
    )
    """What the Dice part of the loss is taken over."""
    spacing_mm: float = 1.4
    crop: int = 96
    batch: int = 12
    widths: tuple[int, ...] = (32, 64, 128, 256)
    t2_share: float = 0.6
    """Share of the slices drawn that come from cases with T2..."""
    lge_share: float = 0.28
    """... from those with LGE but no T2; the rest are bSSFP (or cine) alone."""
    phantoms: int = 60
    phantom_share: float = 0.15
    """Share of all slices drawn that come from phantoms."""
    strength: Strength = field(
        default_factory=lambda: Strength(
            shift_mm=32, anywhere=0.2, rotation_degrees=25, mirror=0.1, scale=(0.85, 1.2), gamma=0.3, contrast=0.2,
            noise=0.04, shading=0.3, spike=0.06,
        )
    )  # fmt: skip
    sequences: Sequences = field(default_factory=Sequences)
    smallest_ml: dict[Structure, float] = field(
        default_factory=lambda: {Structure.INFARCT: 1.0, Structure.NO_REFLOW: 1.0, Structure.EDEMA: 20.0}
    )
    """Less is taken for a mistake; of edema only where a network of LGE alone finds no scar."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0


RECIPES = {"compact-myops": Recipe()}


class Model:
    """A trained network and its recipe."""

    familiar = None

    def __init__(self, recipe: Recipe, network: UNet, card: dict | None = None, sha256: str | None = None) -> None:
        self.recipe = recipe
        self.network = network.eval()
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study) -> dict[Role, Volume]:
        """The joint map of what the study has of LGE, T2 and bSSFP, under the role on whose grid it lies.

        Nothing where it has none of them.
        """
        if not any(study.get(role) for role in ROLES):
            return {}
        series, found = self.segment_joint(study)
        return {series.role: found.labels}

    def segment_joint(self, study: Study, lge: compact.Model | None = None) -> tuple[Series, Prediction]:
        """Segment a study's LGE, T2 and bSSFP together.

        Args:
            study: With one of these series at least.
            lge: A model of LGE alone that says what is scar, where there is LGE.

        Returns:
            The series on whose grid the joint map lies, and the map (`Structure` codes) with how sure it is.

        Raises:
            InputError: the study has none of these series.
        """
        series, channels = joint_channels(study)
        image = series.image
        shares, distances = self._shares(channels, image)
        of = by_class(self.recipe.classes, shares)
        found, unusual = codes_of(of), np.inf
        if lge and series.role is Role.LGE:
            theirs, distances = lge.shares(channels[Role.LGE], image)
            of = scar_from_lge(of, by_class(lge.recipe.classes, theirs))
            found = codes_of(of)
            if not np.isin(lge.draw(theirs, image.voxel_ml), SCAR).any():
                found = without_scar(found, self.recipe.smallest_ml[Structure.EDEMA], image.voxel_ml)
            unusual = (lge.card.get("confidence") or {}).get("unusual_distance", unusual)
        found = drop_traces(keep_heart(found), self.recipe.smallest_ml, image.voxel_ml)
        masks = {s: torch.from_numpy(found == s) for s in of if s}
        raw = {s: float(of[s].cpu()[mask].mean()) for s, mask in masks.items() if mask.any()}
        right = calibrate_all(raw, self.card) if lge and series.role is Role.LGE else {}
        labels = image.with_voxels(found if image.voxels.ndim == 3 else found[None])
        return series, Prediction(labels, raw, distances[None], right, unusual)

    def alignment(self, study: Study) -> list[Note]:
        """Whether the sequences that `segment_joint` puts together are aligned, and which of them were left out."""
        first, channels = joint_channels(study)
        alone = {
            role: keep_heart(codes_of(by_class(self.recipe.classes, self._shares({role: image}, first.image)[0])))
            for role, image in channels.items()
        }
        left_out = [role for role in ROLES if study.get(role) and role not in channels]
        text = f"This sequence shows nothing of what the {first.role.upper()} slices show, and was not segmented."
        notes = [Note("not_overlapping", "warning", text, role) for role in left_out]
        return notes + alignment_notes(alone, first.role, first.image.spacing_mm)

    def look(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the heart (B, C) and logits (B, classes, H, W) of slices (B, sequences, H, W)."""
        levels = self.network.encode(stack.contiguous(memory_format=torch.channels_last))
        logits = self.network.decode(levels)
        return heart_features(levels[-1], logits.argmax(1) > 0), logits

    def _shares(self, channels: Mapping[Role, np.ndarray], grid: Volume) -> tuple[Tensor, np.ndarray]:
        """Class probabilities (Z, C, Y, X) and distances (see `shares_of`) of images (Z, Y, X) on one grid.

        The input is 0 where a sequence is missing.
        """
        device = next(self.network.parameters()).device
        planes = {
            role: resample_slices(
                normalise(torch.from_numpy(image).to(device)), grid.spacing_mm[1:], self.recipe.spacing_mm
            )
            for role, image in channels.items()
        }
        blank = torch.zeros_like(next(iter(planes.values())))
        stack = torch.stack([planes.get(role, blank) for role in self.recipe.roles], 1)
        return shares_of(self, stack, grid.voxels.shape[-2:])

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        write_weights(path, half(self.network.state_dict()), card)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "compact-myops"):
            card, tensors, sha256 = read_weights(path)
            recipe = RECIPES[card["system"]]
            network = UNet(len(recipe.roles), len(recipe.classes), tuple(card["widths"]))
            load_into(network, tensors)
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(recipe, network, card, sha256)


def by_class(classes: Sequence[Structure], shares: Tensor) -> dict[Structure, Tensor]:
    """Class probabilities (Z, C, Y, X) as (Z, Y, X) by class."""
    return dict(zip(classes, shares.movedim(1, 0), strict=True))


def codes_of(shares: Mapping[Structure, Tensor]) -> np.ndarray:
    """Structure codes from class probabilities (Z, Y, X): first what is wall, in it what is ill, in that scar."""
    normal, infarct, edema = (shares[s] for s in _WALL)
    dark = shares.get(Structure.NO_REFLOW, torch.zeros_like(infarct))
    scar = infarct + dark
    outer = (Structure.BACKGROUND, Structure.LV, Structure.RV, Structure.MYOCARDIUM)
    merged = torch.stack([*(shares[s] for s in outer[:3]), normal + edema + scar])
    found = torch.tensor(outer, device=scar.device)[merged.argmax(0)]
    ill = (found == Structure.MYOCARDIUM) & (scar + edema > normal)
    found[ill] = Structure.EDEMA
    found[ill & (scar > edema)] = Structure.INFARCT
    found[(found == Structure.INFARCT) & (dark > infarct)] = Structure.NO_REFLOW
    return found.to(torch.uint8).numpy(force=True)


def scar_from_lge(ours: Mapping[Structure, Tensor], lge: Mapping[Structure, Tensor]) -> dict[Structure, Tensor]:
    """Class probabilities whose wall is this system's, and whose scar is what a network of LGE alone sees of it there.

    The rest of the wall stays divided between normal and edema as it was.

    Args:
        ours: This system's probabilities (Z, Y, X) by class.
        lge: Those of the network of LGE alone, which knows no edema.
    """
    wall = torch.stack([ours[s] for s in _WALL]).sum(0)
    scar = [lge[s] for s in SCAR]
    share = wall / (sum(scar) + lge[Structure.MYOCARDIUM]).clamp(min=1e-6)
    changed = {s: seen * share for s, seen in zip(SCAR, scar, strict=True)}
    rest = (wall - sum(changed.values())) / (wall - ours[Structure.INFARCT]).clamp(min=1e-6)
    return {**ours, **{s: ours[s] * rest for s in (Structure.MYOCARDIUM, Structure.EDEMA)}, **changed}


def without_scar(labels: np.ndarray, edema_ml: float, voxel_ml: float) -> np.ndarray:
    """Labels (Z, Y, X) where scar became edema, and edema of less than `edema_ml` normal myocardium.

    MyoPS has no patient without an infarct: whether there is one must be asked of who has seen healthy hearts.
    """
    result = np.where(np.isin(labels, SCAR), np.uint8(Structure.EDEMA), labels)
    if (result == Structure.EDEMA).sum() * voxel_ml < edema_ml:
        result[result == Structure.EDEMA] = Structure.MYOCARDIUM
    return result


def joint_channels(study: Study) -> tuple[Series, dict[Role, np.ndarray]]:
    """The series on whose grid a joint map lies, and all of LGE, T2 and bSSFP on it: float32 (Z, Y, X).

    A sequence that shows nothing of that grid is left out.

    Raises:
        InputError: the study has none of these series.
    """
    there = [series for role in ROLES if (series := study.get(role))]
    if not there:
        roles = ", ".join(series.role for series in study.series)
        raise InputError(f"{study.id}: expected LGE, T2 or bSSFP images, found {roles}; give one of them")
    first = there[0]
    images = {series.role: onto_grid(series.image, first.image) for series in there}
    return first, {role: image for role, image in images.items() if role is first.role or image.any()}


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on labelled cases until the budget is spent.

    Args:
        recipe: What to train.
        cases: Training cases only: any with LGE, T2 or bSSFP; of others the cine serves as bSSFP.
        budget: When to stop.
        folder: Where checkpoint, curve, recipe and the names of the cases are kept; a killed run goes on from there.
        device: "cpu" or "cuda".
    """
    from myoscope.lab.loop import train as run

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
    (folder / "cases.json").write_text(json.dumps([case.id for case in cases]))
    torch.manual_seed(recipe.seed)
    network = UNet(len(recipe.roles), len(recipe.classes), recipe.widths).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    slices = collect_sequences(recipe, [*cases, *_phantoms(recipe.phantoms)]).to(torch.device(device))
    return Model(recipe, run(network, _loss(recipe, slices), budget, folder, recipe.optimisation, recipe.name))  # type: ignore[arg-type]


def collect_sequences(recipe: Recipe, cases: Sequence[Case]) -> SliceSet:
    """All slices to train on, as `augment_sequences` takes them, each weighted by how often it is drawn."""
    images: list[Tensor] = [torch.zeros((1, CANVAS, CANVAS), dtype=torch.uint8)]
    rows: list[tuple[Tensor, ...]] = []
    kinds: list[int] = []
    count = 1
    for case in cases:
        for shown, labels in _stacks(case):
            indices = torch.zeros((len(labels.voxels), len(ROLES)), dtype=torch.long)
            for role, image in shown.items():
                pixels, codes, _, centres = one_frame(
                    labels, image, labels.voxels, recipe.classes,
                    {Structure.NO_REFLOW: Structure.INFARCT}, recipe.spacing_mm,
                )  # fmt: skip
                images.append(pixels)
                indices[:, recipe.roles.index(role)] = torch.arange(count, count + len(pixels))
                count += len(pixels)
            merge = merge_matrix(_undrawn(case, shown), recipe.classes).expand(len(codes), -1, -1)
            rows.append((codes, indices, centres, merge))
            kind = 3 if case.data_set == PHANTOM else 0 if Role.T2 in shown else 1 if Role.LGE in shown else 2
            kinds += [kind] * len(codes)
    codes, indices, centres, merges = (torch.cat(column) for column in zip(*rows, strict=True))
    found = torch.tensor(kinds)
    real = torch.tensor([recipe.t2_share, recipe.lge_share, 1 - recipe.t2_share - recipe.lge_share])
    shares = torch.cat([real * (1 - recipe.phantom_share), torch.tensor([recipe.phantom_share])])
    weights = shares[found] / torch.bincount(found, minlength=4)[found]
    return SliceSet(torch.cat(images), codes, indices, centres, merges, weights)


def _phantoms(count: int) -> list[Case]:
    """Training phantoms, every other one with an infarct, whose T2 lies on the grid of the LGE, as labels do."""
    from myoscope.datasets.phantom import TRAINING, draw, sample

    cases = []
    for seed in range(count):
        drawn = sample(seed, TRAINING, ("MINF", None)[seed % 2])
        lge, t2 = (drawn.scans[role] for role in (Role.LGE, Role.T2))
        together = replace(lge, signal=t2.signal, noise=t2.noise, offset=t2.offset, seed=t2.seed)
        case = draw(replace(drawn, scans={**drawn.scans, Role.T2: together}), (Role.LGE, Role.T2))
        scar, swollen = (case.labels[role].voxels for role in (Role.LGE, Role.T2))
        edema = (scar == Structure.MYOCARDIUM) & (swollen == Structure.EDEMA)
        joint = case.labels[Role.LGE].with_voxels(np.where(edema, np.uint8(Structure.EDEMA), scar))
        cases.append(replace(case, labels={Role.LGE: joint, Role.T2: joint}, data_set=PHANTOM))
    return cases


def _stacks(case: Case) -> list[tuple[dict[Role, np.ndarray], Volume]]:
    """What shows each labelled stack of a case: images (Z, Y, X) by role, and the labels on the same grid."""
    known = tuple(series for series in case.study.series if series.role in case.labels)
    if any(series.role in ROLES for series in known):
        first, images = joint_channels(replace(case.study, series=known))
        labels = case.labels[first.role]
        return [(images, labels.with_voxels(labels.frames[0]))]
    return [
        ({Role.BSSFP: image.astype(np.float32)}, series.image.with_voxels(codes))
        for series in known
        for image, codes in zip(series.image.frames, case.labels[series.role].frames, strict=True)
    ]


def _undrawn(case: Case, shown: Mapping[Role, np.ndarray]) -> dict[Structure, Structure]:
    """What a case does not draw, and what is drawn in its place: edema where there is no T2, scar where no LGE either.

    An expert without T2 drew edema as normal myocardium.
    """
    undrawn = dict(case.drawn_as)
    if Role.T2 not in shown:
        undrawn[Structure.EDEMA] = Structure.MYOCARDIUM
        if Role.LGE not in shown:
            undrawn[Structure.INFARCT] = Structure.MYOCARDIUM
    return undrawn


def _loss(recipe: Recipe, slices: SliceSet) -> Callable[[torch.nn.Module, int], Tensor]:
    """The loss of a step: cross-entropy over the classes and Dice over the regions that each case draws."""
    regions = torch.tensor([[float(s in region) for s in recipe.classes] for region in recipe.regions])
    regions = regions.to(slices.images.device)

    def loss_of(network: torch.nn.Module, step: int) -> Tensor:
        images, labels, merges = sequence_batch(
            slices, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.strength, recipe.sequences,
            recipe.seed * 1_000_003 + step,
        )  # fmt: skip
        with mixed(images.device.type):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        shares = torch.einsum("bij,bjhw->bihw", merges, logits.float().softmax(1))
        truth = F.one_hot(labels, len(recipe.classes)).movedim(-1, 1).float()
        return F.nll_loss(shares.clamp(min=1e-6).log(), labels) + region_loss(shares, truth, merges, regions)

    return loss_of


def region_loss(shares: Tensor, truth: Tensor, merges: Tensor, regions: Tensor) -> Tensor:
    """Mean over regions of 1 - Dice of the batch, each taken over the cases that draw all of the region.

    Args:
        shares: Class probabilities (B, K, H, W) after merging.
        truth: One-hot labels, same shape.
        merges: (B, K, K), see `SliceSet`.
        regions: (R, K), 1 for the classes of a region.
    """
    drawn = ((regions @ merges) == regions).all(2).float()
    p, t = (torch.einsum("rk,bkhw->brhw", regions, x) for x in (shares, truth))
    both, each = ((x.sum((2, 3)) * drawn).sum(0) for x in (p * t, p + t))
    return (1 - (2 * both + 1) / (each + 1)).mean()
