"""The blocks of the MyoPS ensemble: what each network sees and is to find; the linear encoder and decoder.

Source: papers/systems.md, `myops-ensemble` (MyoPS 2020 challenge, STACOM).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from myoscope.labels import Structure
from myoscope.study import Role

S = Structure


@dataclass(frozen=True)
class Block:
    """The sequences that are a network's input, and the structures that make up each of its targets."""

    name: str
    roles: tuple[Role, ...]
    targets: tuple[tuple[Structure, ...], ...]
    pathology: bool = False
    """Whether all three kinds of network are averaged here, not the U-Net alone."""


def encoded_blocks(edema: tuple[Role, ...], scar: tuple[Role, ...]) -> tuple[Block, ...]:
    """Five blocks with one nested target each; `edema` and `scar` say which sequences the last two see."""
    return (
        Block("lvbp", (Role.BSSFP,), ((S.LV,),)),
        Block("rvbp", (Role.BSSFP,), ((S.RV,),)),
        Block("epicardium", (Role.BSSFP,), ((S.LV, S.MYOCARDIUM, S.EDEMA, S.INFARCT),)),
        Block("lvmems", edema, ((S.EDEMA, S.INFARCT),), pathology=True),
        Block("lvms", scar, ((S.INFARCT,),), pathology=True),
    )


PLAIN = ((S.LV,), (S.RV,), (S.MYOCARDIUM,), (S.EDEMA,), (S.INFARCT,))
"""Targets without encoder: the five structures themselves."""

DIRECT_BLOCKS = (
    Block("anatomy", (Role.BSSFP, Role.LGE, Role.T2), PLAIN[:3]),
    Block("pathology", (Role.BSSFP, Role.LGE, Role.T2), PLAIN[3:], pathology=True),
)
"""Without encoder and decoder: every network sees all sequences. The paper does not say more."""


def masks_of(labels: np.ndarray, targets: tuple[tuple[Structure, ...], ...]) -> np.ndarray:
    """Masks (targets, ...) of `Structure` codes (...), bool."""
    return np.stack([np.isin(labels, structures) for structures in targets])


def encode(labels: np.ndarray) -> np.ndarray:
    """The linear encoder: `Structure` codes (...) to the nested masks (5, ...) of the five blocks, bool."""
    return masks_of(labels, tuple(block.targets[0] for block in encoded_blocks((), ())))


def decode(masks: np.ndarray) -> np.ndarray:
    """The linear decoder, formula 1 of the paper: nested masks (5, ...) to `Structure` codes (...), uint8.

    Normal myocardium is epicardium - blood pool - (edema and scar); edema is the myocardium where edema-and-scar - scar
    is; scar the myocardium where scar is; each above 0.5. What two masks claim is the LV's before the RV's.
    """
    cavity, rv, epicardium, mems, scar = masks.astype(np.float32)
    wall = epicardium - cavity > 0.5
    return paint(
        {
            S.RV: rv > 0.5,
            S.LV: cavity > 0.5,
            S.MYOCARDIUM: epicardium - cavity - mems > 0.5,
            S.EDEMA: wall & (mems - scar > 0.5),
            S.INFARCT: wall & (scar > 0.5),
        }
    )


def decode_plain(masks: np.ndarray) -> np.ndarray:
    """Without decoder: masks (5, ...) of `PLAIN` to codes; scar before edema before all else."""
    lv, rv, *wall = masks > 0.5
    return paint({S.RV: rv, S.LV: lv, **dict(zip((S.MYOCARDIUM, S.EDEMA, S.INFARCT), wall, strict=True))})


def paint(masks: dict[Structure, np.ndarray]) -> np.ndarray:
    """Codes from masks; a later one covers the ones before."""
    codes = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for structure, mask in masks.items():
        codes[mask] = structure
    return codes


def tidy(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of each slice (Z, Y, X), its holes filled."""
    result = np.zeros_like(mask)
    for z, plane in enumerate(mask):
        pieces, count = ndimage.label(plane)
        if count:
            largest = 1 + np.bincount(pieces.ravel())[1:].argmax()
            result[z] = ndimage.binary_fill_holes(pieces == largest)
    return result
