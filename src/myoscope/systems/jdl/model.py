"""jdl: myocardium and scar on LGE, learned together; the scar network sees image x probability of myocardium.

After Xing et al. 2022, Joint deep learning for improved myocardial scar detection from cardiac MRI, arXiv:2211.06247,
with the three methods that it is compared with (`network`), each on one of four backbones; a variant is
BACKBONE-METHOD:

- `unet`: the compact U-Net. `small`: with a transformer on its deepest level. Both start from compact-cine, which has
  seen no LGE, as the paper starts from ImageNet (the wall's network with the output for myocardium, the scar's without
  any), and see 96x96 pixels of 1.4 mm and the neighbouring slices.
- `published`: TransUNet on 224x224 pixels with the paper's numbers, from scratch; wants a GPU.
- `pretrained`: the same, from timm's ImageNet-21k weights, where its hub can be reached.

Where this departs from the paper, also in `published`: weight decay is AdamW's, the learning rate follows a cosine over
the budget, a moving average is kept; augmentation stretches along a turned axis instead of shearing, and changes
brightness and sharpness a little. Dice is taken over the batch, so that slices without scar teach too. The weight of
the Dice term and pixel size are not given there: 1 and 1.5 mm.

Slices are read whole, in overlapping squares of the training size. Scar is what the scar network finds inside the
myocardium found; `direct` has none, so there scar is all that is found. Both are asked for less than a half where there
may be scar (`SCAR_ABOVE`, chosen on an inner split). The LV's blood pool is not segmented, and no-reflow counts as
infarct.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.errors import InputError
from myoscope.lab.augment import Strength
from myoscope.lab.loop import Budget, Optimisation, mixed
from myoscope.lab.slices import SliceSet, normalise, resample_slices
from myoscope.lab.unet import UNet
from myoscope.labels import Structure
from myoscope.measure.wall import largest_piece
from myoscope.study import Case, Role, Study
from myoscope.systems.compact.model import MILD
from myoscope.systems.jdl.network import METHODS, Method, WallAndScar
from myoscope.systems.jdl.transunet import SmallTransUNet, TransUNet
from myoscope.volume import Volume
from myoscope.weights import half, load_into, read_weights, refusing, weights_of, write_weights

Backbone = Literal["unet", "small", "published", "pretrained"]
SQUARES_AT_ONCE = 16
SCAR_ABOVE = 0.3
"""Least probability of scar..."""
WALL_IN_SCAR_ABOVE = 0.25
"""... and there of the wall, which elsewhere needs a half: either network is wary at the other's border."""
SMALLEST_ML = 1.0
"""Less scar than this in the whole stack is taken for a mistake."""
LIMITS = (SCAR_ABOVE, WALL_IN_SCAR_ABOVE, SMALLEST_ML)
"""What masks depend on besides the weights."""
SMOOTHING = 1e-6


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a method becomes on a backbone, given the cases."""

    name: str
    method: Method = "joint"
    backbone: Backbone = "unet"
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Of the U-Net; TransUNet has its own."""
    crop: int = 96
    """Side of the squares that the networks see, in pixels."""
    spacing_mm: float = 1.4
    batch: int = 12
    dropout: float = 0.1
    """In the transformer; of the U-Net, on its deepest features."""
    wall_weight: float = 1.0
    """Weight of the myocardium's loss beside the scar's: the paper's lambda."""
    dice_weight: float = 1.0
    """Weight of the Dice term beside cross-entropy: the paper's w."""
    strength: Strength = MILD
    start_from: str | None = "compact-cine"
    """Installed U-Net whose features training starts from."""
    roles: tuple[Role, ...] = (Role.LGE,)
    classes: tuple[Structure, ...] = (Structure.BACKGROUND, Structure.MYOCARDIUM, Structure.INFARCT)
    stand_ins: dict[Structure, Structure] = field(
        default_factory=lambda: {
            Structure.LV: Structure.BACKGROUND,
            Structure.RV: Structure.BACKGROUND,
            Structure.EDEMA: Structure.MYOCARDIUM,
            Structure.NO_REFLOW: Structure.INFARCT,
        }
    )
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1 or min(self.wall_weight, self.dice_weight) < 0:
            raise InputError(
                f"{self.name}: expected dropout in [0, 1) and weights of 0 or more, found {self.dropout}, "
                f"{self.wall_weight} and {self.dice_weight}"
            )


_AFFINE = Strength(
    shift_mm=20.0, rotation_degrees=30.0, mirror=0.0, elastic_mm=0.0, gamma=0.0, contrast=0.0, noise=0.0, shading=0.0,
    spike=0.0, lone_slice=1.0,
)  # fmt: skip
_PUBLISHED = Recipe(
    "jdl.published",
    backbone="published",
    crop=224,
    spacing_mm=1.5,
    batch=40,
    dropout=0.39,
    wall_weight=1.02,
    strength=_AFFINE,
    start_from=None,
    optimisation=Optimisation(learning_rate=4.73e-4, weight_decay=5.58e-6, checkpoint_seconds=300),
)
_BACKBONES = (
    Recipe("jdl.unet"),
    Recipe("jdl.small", backbone="small"),
    _PUBLISHED,
    replace(_PUBLISHED, name="jdl.pretrained", backbone="pretrained"),
)
"""The first one ships."""

RECIPES = {
    f"{base.name}-{method}": replace(base, name=f"{base.name}-{method}", method=method)
    for base, method in product(_BACKBONES, METHODS)
}


class Model:
    """A trained method and its recipe."""

    def __init__(
        self, recipe: Recipe, network: WallAndScar, card: dict | None = None, sha256: str | None = None
    ) -> None:
        self.recipe = recipe
        self.network = network.eval()
        self.card = card or {}
        self.sha256 = sha256

    def predict(self, study: Study) -> dict[Role, Volume]:
        """Segment every LGE series of a study.

        Returns:
            Label maps of `Structure` codes (myocardium and infarct), uint8, on each series' grid and with its frames.
        """
        found = {}
        for series in (s for s in study.series if s.role in self.recipe.roles):
            frames = np.stack([labels_of(*self.masks(frame, series.image)) for frame in series.image.frames])
            found[series.role] = series.image.with_voxels(frames if series.image.voxels.ndim == 4 else frames[0])
        return found

    def masks(self, frame: np.ndarray, grid: Volume) -> tuple[np.ndarray | None, np.ndarray]:
        """Wall (its largest body; None: not looked for) and scar as the networks find them, in a frame (Z, Y, X)."""
        *wall, scar = self.probabilities(frame, grid).movedim(1, 0).numpy(force=True)
        diseased = scar > SCAR_ABOVE
        drawn = largest_piece((wall[0] > 0.5) | (diseased & (wall[0] > WALL_IN_SCAR_ABOVE))) if wall else None
        within = diseased if drawn is None else diseased & drawn
        return drawn, diseased & (within.sum() * grid.voxel_ml >= SMALLEST_ML)

    def probabilities(self, frame: np.ndarray, grid: Volume) -> Tensor:
        """Probabilities (Z, 2 or 1, Y, X) of wall (if it is looked for) and scar in a frame (Z, Y, X)."""
        device = next(self.network.parameters()).device
        slices = normalise(torch.from_numpy(frame.astype(np.float32)).to(device))
        slices = resample_slices(slices, grid.spacing_mm[1:], self.recipe.spacing_mm)
        before, after = torch.cat([slices[:1], slices[:-1]]), torch.cat([slices[1:], slices[-1:]])
        if self.recipe.strength.lone_slice == 1:
            before = after = slices
        with torch.inference_mode():
            shares = in_squares(self.look, torch.stack([before, slices, after], 1), self.recipe.crop)
        return F.interpolate(shares, frame.shape[1:], mode="bilinear", align_corners=False)

    def look(self, squares: Tensor) -> Tensor:
        """Probabilities of wall (if it is looked for) and scar, (B, 2 or 1, crop, crop), of squares (B, 3, ...)."""
        logits = self.network(squares.contiguous(memory_format=torch.channels_last))
        return torch.cat([x for x in logits if x is not None], 1).sigmoid()

    def save(self, path: Path, card: dict) -> None:
        """Write the weights (float16 safetensors) and the card (json) beside them."""
        facts = {"widths": list(self.recipe.widths), "crop": self.recipe.crop}
        write_weights(path, half(self.network.state_dict()), card | facts)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read weights and card.

        Raises:
            InputError: a file is missing or does not fit the recipe named in the card.
        """
        with refusing(path, "a jdl model"):
            card, tensors, sha256 = read_weights(path)
            recipe = replace(RECIPES[card["system"]], widths=tuple(card["widths"]), crop=card["crop"])
            network = build(replace(recipe, start_from=None), device, fetch=False)
            load_into(network, tensors)
        return cls(recipe, network, card, sha256)


def labels_of(wall: np.ndarray | None, scar: np.ndarray) -> np.ndarray:
    """`Structure` codes of masks of one shape, uint8: scar inside the wall, all scar where there is no wall."""
    if wall is None:
        return np.where(scar, Structure.INFARCT, Structure.BACKGROUND).astype(np.uint8)
    return np.where(wall, np.where(scar, Structure.INFARCT, Structure.MYOCARDIUM), 0).astype(np.uint8)


def in_squares(look: Callable[[Tensor], Tensor], stack: Tensor, side: int) -> Tensor:
    """What a network of fixed input size says of whole slices.

    Args:
        look: From squares (B, C, side, side) to maps (B, K, side, side).
        stack: Slices (Z, C, H, W) of any size.
        side: Of the squares, in pixels.

    Returns:
        (Z, K, H, W), mean over squares that overlap by half or more, weighted towards their centres.
    """
    height, width = stack.shape[2:]
    stack = F.pad(stack, (0, max(0, side - width), 0, max(0, side - height)))
    ramp = torch.hann_window(side + 2, periodic=False, device=stack.device)[1:-1]
    weight = torch.outer(ramp, ramp)
    places = list(product(*(_starts(n, side) for n in stack.shape[2:])))
    squares = torch.cat([stack[:, :, y : y + side, x : x + side] for y, x in places])
    found = torch.cat([look(part) for part in squares.split(SQUARES_AT_ONCE)]) * weight
    total = found.new_zeros(len(stack), found.shape[1] + 1, *stack.shape[2:])
    for (y, x), square in zip(places, found.split(len(stack)), strict=True):
        total[:, :-1, y : y + side, x : x + side] += square
        total[:, -1, y : y + side, x : x + side] += weight
    return (total[:, :-1] / total[:, -1:])[:, :, :height, :width]


def _starts(length: int, side: int) -> list[int]:
    """Where squares begin along an axis.

    >>> _starts(96, 96), _starts(200, 96)
    ([0], [0, 35, 69, 104])
    """
    count = -(-(length - side) // (side // 2)) + 1
    return [round((length - side) * i / max(1, count - 1)) for i in range(count)]


def build(recipe: Recipe, device: str = "cpu", fetch: bool = True) -> WallAndScar:
    """The untrained networks of a recipe; `fetch`: where it starts from ImageNet, get these weights."""
    network = WallAndScar(recipe.method, partial(_backbone, recipe, fetch))
    if recipe.start_from:
        from myoscope.systems.compact import model as compact

        known = wall_against_rest(compact.Model.load(weights_of(recipe.start_from)))
        features = {name: tensor for name, tensor in known.items() if not name.startswith("head.")}
        for part, tensors in ((network.wall, known), (network.scar, features)):
            if part is not None:
                own = part.state_dict()
                part.load_state_dict({k: v for k, v in tensors.items() if k in own}, strict=False)
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def wall_against_rest(start: Any) -> dict[str, Tensor]:
    """Weights of a compact model with one output: its logit of myocardium minus the mean of its other logits."""
    tensors, classes = start.network.state_dict(), start.recipe.classes
    share = torch.full((len(classes),), -1 / (len(classes) - 1))
    share[classes.index(Structure.MYOCARDIUM)] = 1.0
    for name in ("head.weight", "head.bias"):
        tensors[name] = torch.einsum("c,c...->...", share, tensors[name].unflatten(0, (len(classes), -1)))
    return tensors


def _backbone(recipe: Recipe, fetch: bool) -> nn.Module:
    if recipe.backbone in ("published", "pretrained"):
        return TransUNet(1, recipe.crop, recipe.dropout, fetch and recipe.backbone == "pretrained")
    if recipe.backbone == "small":
        return SmallTransUNet(3, 1, recipe.widths, recipe.crop, recipe.dropout)
    network = UNet(3, 1, recipe.widths)
    network.encoder[-1].append(nn.Dropout(recipe.dropout))  # type: ignore[operator]
    return network


def train(recipe: Recipe, cases: Sequence[Case], budget: Budget, folder: Path, device: str = "cpu") -> Model:
    """Train on labelled cases until the budget is spent; two-step's networks are trained at once, without a message.

    Args:
        recipe: What to train.
        cases: Training cases only.
        budget: When to stop.
        folder: Where checkpoint, curve and recipe are kept; a killed run goes on from there.
        device: "cpu" or "cuda".
    """
    from myoscope.lab.loop import train as run
    from myoscope.lab.slices import collect

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))
    torch.manual_seed(recipe.seed)
    network = build(recipe, device)
    weighted = [(case, 1.0) for case in cases]
    slices = collect(weighted, recipe.roles, recipe.classes, recipe.stand_ins, recipe.spacing_mm)
    loss = _loss(recipe, slices.to(torch.device(device)))
    average = run(network, loss, budget, folder, recipe.optimisation, recipe.name)
    return Model(recipe, average)  # type: ignore[arg-type]


def mask_loss(logits: Tensor, truth: Tensor, dice_weight: float) -> Tensor:
    """Cross-entropy + dice_weight x (1 - soft Dice of the batch); logits and truth (0 or 1) of one shape, float.

    The paper prints the second term with a minus, which would reward the worst Dice.
    """
    shares = logits.sigmoid()
    overlap = (2 * (shares * truth).sum() + SMOOTHING) / (shares.sum() + truth.sum() + SMOOTHING)
    return F.binary_cross_entropy_with_logits(logits, truth) + dice_weight * (1 - overlap)


def _loss(recipe: Recipe, slices: SliceSet) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a step: lambda x the wall's + the scar's."""
    from myoscope.lab.augment import batch

    def loss_of(network: nn.Module, step: int) -> Tensor:
        seed = recipe.seed * 1_000_003 + step
        images, labels, _ = batch(slices, recipe.batch, recipe.crop, recipe.spacing_mm, recipe.strength, seed)
        drawn, diseased = ((labels >= k)[:, None].float() for k in (1, 2))  # infarct is part of the wall
        torch.manual_seed(seed)  # dropout draws from torch's own generator
        with mixed(images.device.type):
            wall, scar = network(images.contiguous(memory_format=torch.channels_last), drawn)
        loss = mask_loss(scar.float(), diseased, recipe.dice_weight)
        return loss if wall is None else recipe.wall_weight * mask_loss(wall.float(), drawn, recipe.dice_weight) + loss

    return loss_of
