"""The LV wall in one short-axis slice: its ring, its thickness, its rays from the centre.

Angles are in radians as seen on screen: 0 to the right, growing anticlockwise (upwards is pi / 2), measured in mm
around the centre of the cavity. Ray k of `RAYS` lies at (k + 0.5) degrees.
"""

from dataclasses import dataclass
from typing import NamedTuple

import contourpy
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from myoscope.labels import LV_WALL, SCAR, Structure

RAYS = 360
"""Rays cast from the centre, one a degree."""

GAP_DEGREES = 10
"""A ring counts as full when no more than this is open: a voxel or two missed, not an outflow tract."""

CONTACT_MM = 4.0
"""The RV's blood touches the LV wall when it begins within this distance outside the epicardium."""

GRAZE_STEPS = 3
"""Steps of a quarter of a pixel that a ray must run in scar to count as crossing it."""

MAX_SECTORS = 12
"""The largest wall thickness is the largest mean over one of this many sectors of a slice."""


@dataclass(frozen=True)
class Ring:
    """LV in one slice: `cavity` and `disc` (with the wall), (Y, X) bool without holes; `is_full`: wall all round.

    `around` is the share of the way round on which there is wall, 0 to 1.
    """

    cavity: np.ndarray
    disc: np.ndarray
    centre_yx: tuple[float, float]
    is_full: bool
    around: float = 1.0


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask (diagonals connect), same shape; an empty mask stays empty.

    >>> largest_piece(np.array([[1, 1, 0, 1]], bool)).astype(int).tolist()
    [[1, 1, 0, 0]]
    """
    pieces, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if count < 2:
        return mask
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """A mask (Y, X) with all that it encloses; what touches it only diagonally does not leak out.

    As scipy's binary_fill_holes, but by labelling the outside of the mask's bounding box: ten times as fast.

    >>> fill_holes(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)).astype(int).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    if not mask.any():
        return mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    gaps, _ = ndimage.label(np.pad(~mask[box], 1, constant_values=True))
    filled = mask.copy()
    filled[box] = (gaps != gaps[0, 0])[1:-1, 1:-1]
    return filled


def find_ring(labels: np.ndarray, spacing_yx: tuple[float, float]) -> Ring | None:
    """The LV's ring in a slice of labels (Y, X), or None where the slice lacks cavity or wall.

    Holes in the cavity (papillary muscles) count as cavity, holes in the wall as wall; stray pieces are left out.
    """
    cavity, wall = labels == Structure.LV, np.isin(labels, LV_WALL)
    if not cavity.any() or not wall.any():
        return None
    disc = fill_holes(largest_piece(cavity | wall))
    cavity = fill_holes(largest_piece(cavity & disc))
    if not cavity.any() or not (wall & disc & ~cavity).any():
        return None
    row, column = (float(i.mean()) for i in np.nonzero(cavity))
    ring = Ring(cavity, disc, (row, column), False)
    closed = along_rays(wall & disc & ~cavity, ring, spacing_yx).any(axis=1)
    return Ring(cavity, disc, (row, column), bool((~closed).sum() <= GAP_DEGREES * RAYS / 360), float(closed.mean()))


def pixel_angles(shape: tuple[int, int], centre_yx: tuple[float, float], spacing_yx: tuple[float, float]) -> np.ndarray:
    """Angle of every pixel around a centre, in [0, 2 pi), shape (Y, X).

    >>> np.degrees(pixel_angles((3, 3), (1.0, 1.0), (1.0, 1.0))).round().astype(int).tolist()
    [[135, 90, 45], [180, 0, 0], [225, 270, 315]]
    """
    rows, columns = np.indices(shape)
    up, right = (centre_yx[0] - rows) * spacing_yx[0], (columns - centre_yx[1]) * spacing_yx[1]
    return np.arctan2(up, right) % (2 * np.pi)


def along_rays(mask: np.ndarray, ring: Ring, spacing_yx: tuple[float, float], beyond_mm: float = 0.0) -> np.ndarray:
    """A mask (Y, X) read along the rays from a ring's centre to its outermost point, and `beyond_mm` further.

    Returns:
        Shape (RAYS, R) bool; radii grow in steps of a quarter of a pixel. Outside of the image is False.
    """
    step = min(spacing_yx) / 4
    rows, columns = np.nonzero(ring.disc)
    reach = np.hypot(
        (rows - ring.centre_yx[0]) * spacing_yx[0], (columns - ring.centre_yx[1]) * spacing_yx[1]
    ).max() + max(spacing_yx)
    radii = np.arange(0, reach + beyond_mm, step)
    angles = np.radians((np.arange(RAYS) + 0.5) * 360 / RAYS)[:, None]
    y = np.rint(ring.centre_yx[0] - radii * np.sin(angles) / spacing_yx[0]).astype(int)
    x = np.rint(ring.centre_yx[1] + radii * np.cos(angles) / spacing_yx[1]).astype(int)
    inside = (y >= 0) & (y < mask.shape[0]) & (x >= 0) & (x < mask.shape[1])
    return mask[y.clip(0, mask.shape[0] - 1), x.clip(0, mask.shape[1] - 1)] & inside


def scar_depth(labels: np.ndarray, ring: Ring, spacing_yx: tuple[float, float]) -> np.ndarray:
    """Share of the wall that is scar (infarct or no-reflow) on every ray, shape (RAYS,), from 0 to 1.

    The wall is what lies between cavity and epicardium on the ray. A ray without any gives 0, and so does one that
    only grazes scar, over less than 3/4 of a pixel: such rays at the sides of a scar say nothing about its depth.
    """
    wall = along_rays(ring.disc & ~ring.cavity, ring, spacing_yx)
    scar = along_rays(np.isin(labels, SCAR) & ring.disc & ~ring.cavity, ring, spacing_yx)
    length = scar.sum(axis=1)
    return np.where(length >= GRAZE_STEPS, length, 0) / np.maximum(wall.sum(axis=1), 1)


def scar_thirds(labels: np.ndarray, ring: Ring, spacing_yx: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the wall's inner, middle and outer third that is scar on every ray, shape (RAYS, 3), from 0 to 1.

    Rays without wall, and those that only graze scar (see `scar_depth`), give 0.

    Returns:
        The shares, and how many pixels (the smaller side) the wall is thick on every ray, shape (RAYS,).
    """
    wall = along_rays(ring.disc & ~ring.cavity, ring, spacing_yx)
    scar = along_rays(np.isin(labels, SCAR), ring, spacing_yx) & wall
    length = wall.sum(axis=1)
    depth = (wall.cumsum(axis=1) - 0.5) / np.maximum(length, 1)[:, None]
    third = np.minimum((3 * depth).astype(int), 2)
    shares = [(scar & (third == k)).sum(axis=1) / np.maximum((wall & (third == k)).sum(axis=1), 1) for k in range(3)]
    return np.stack(shares, axis=1) * (scar.sum(axis=1) >= GRAZE_STEPS)[:, None], length / 4


def rv_contact(labels: np.ndarray, ring: Ring, spacing_yx: tuple[float, float]) -> np.ndarray:
    """Rays on which the RV's blood begins within CONTACT_MM outside of the epicardium, shape (RAYS,) bool."""
    reach_mm = max(CONTACT_MM, 2 * max(spacing_yx))
    disc = along_rays(ring.disc, ring, spacing_yx, reach_mm)
    rv = along_rays((labels == Structure.RV) & ~ring.disc, ring, spacing_yx, reach_mm)
    steps = np.arange(disc.shape[1])
    edge = np.where(disc, steps, 0).max(axis=1)[:, None]
    near = steps - edge <= reach_mm / (min(spacing_yx) / 4)
    return (rv & (steps > edge) & near).any(axis=1)


def contour_mm(mask: np.ndarray, spacing_yx: tuple[float, float]) -> np.ndarray:
    """Outline of a mask as points (N, 2), y and x in mm from voxel (0, 0), a quarter of a pixel apart.

    The outline runs halfway between pixels in and out, and is averaged over 3 pixels along itself, which takes
    away the stairs and moves a circle of 5 pixels inwards by less than a tenth of a pixel.
    """
    lines = contourpy.contour_generator(z=np.pad(mask, 1).astype(float)).lines(0.5)
    outline = max((np.asarray(line) for line in lines), key=len)[:, ::-1] - 1
    outline = outline * spacing_yx
    lengths = np.concatenate([[0], np.hypot(*np.diff(outline, axis=0).T).cumsum()])
    step = min(spacing_yx) / 4
    places = np.linspace(0, lengths[-1], max(int(lengths[-1] / step), 8), endpoint=False)
    even = np.column_stack([np.interp(places, lengths, outline[:, i]) for i in (0, 1)])
    return ndimage.uniform_filter1d(even, min(13, len(even)), axis=0, mode="wrap")


def wall_thickness(ring: Ring, spacing_yx: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Thickness of the wall at points evenly spaced along the endocardium: distance to the nearest epicardium.

    Returns:
        Angle of each point around the cavity's centre in [0, 2 pi), and thickness in mm; both shape (N,).
    """
    endocardium, epicardium = (contour_mm(mask, spacing_yx) for mask in (ring.cavity, ring.disc))
    thickness, _ = cKDTree(epicardium).query(endocardium)
    y, x = (endocardium - np.multiply(ring.centre_yx, spacing_yx)).T
    return np.arctan2(-y, x) % (2 * np.pi), thickness


class Thickness(NamedTuple):
    """Wall thickness of a ring in mm: mean over the endocardium, largest mean of a sector, standard deviation."""

    mean: float
    largest: float
    spread: float


def ring_thickness_mm(ring: Ring, spacing_yx: tuple[float, float]) -> Thickness:
    """How thick a ring's wall is, and how evenly; a sector is one of `MAX_SECTORS`."""
    angles, thickness = wall_thickness(ring, spacing_yx)
    sector = (angles / (2 * np.pi) * MAX_SECTORS).astype(int) % MAX_SECTORS
    points = np.bincount(sector, minlength=MAX_SECTORS)
    means = np.bincount(sector, thickness, MAX_SECTORS) / np.maximum(points, 1)
    return Thickness(float(thickness.mean()), float(means.max()), float(thickness.std()))
