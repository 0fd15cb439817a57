"""A trained network: from images to labels, to and from its file."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from myoscope.lab.export import Plain, add_to_card, clinic_facts, write_network
from myoscope.lab.slices import normalise, resample_slices
from myoscope.lab.unet import UNet
from myoscope.labels import SCAR, Structure
from myoscope.prediction import Prediction
from myoscope.segment.alignment import alignment_notes
from myoscope.segment.confidence import calibrate_all
from myoscope.segment.joint import joint_channels, without_scar
from myoscope.study import Note, Role, Series, Study
from myoscope.systems import compact
from myoscope.systems.compact.confidence import heart_features
from myoscope.systems.compact.model import drop_traces, keep_heart, shares_of
from myoscope.systems.compact.myops.recipe import _WALL, RECIPES, ROLES, Recipe
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, write_weights


class Model:
    """A trained network and its recipe."""

    familiar = None

    def __init__(self, recipe: Recipe, network: UNet, card: dict | None = None, sha256: str | None = None) -> None:
        self.recipe = recipe
        self.name, self.roles = recipe.name, recipe.roles
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
        self.export(path)

    def export(self, path: Path) -> None:
        """Write the network file (ONNX) that `analyze` runs beside the weights, and what it must know into the card."""
        side = 8 * self.network.multiple
        write_network(
            path.with_suffix(".onnx"),
            Plain(copy.deepcopy(self.network)),
            torch.zeros(2, len(self.recipe.roles), side, side),
        )
        add_to_card(path, clinic_facts(self.recipe, self.network.multiple, self.recipe.spacing_mm))

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
