"""Infarcts carried from one heart's wall into another's: more kinds of scar in more hearts than patients have had.

A place in the wall of a slice is its angle around the cavity and its depth from endocardium (0) to epicardium (1).
There an infarct, with its no-reflow, is taken from one heart and laid into another; its grey values go along, scaled so
that the first heart's remote wall and blood come to lie where the other's are. An infarct that was there before is
covered with that heart's own remote wall first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from myoscope.labels import LV_WALL, SCAR, Structure
from myoscope.study import Case, Role, Series

NEAR = 4
"""So many voxels of the donor's wall make the grey value of one voxel."""

EDGE_VOXELS = 0.6
"""Width of the seam between what was laid in and what was there."""

TURNS = 12
"""So many angles, each also mirrored, are tried for the remote wall that covers a scar."""

LEAST_REMOTE = 0.4
"""Share of a wall that must be free of scar for the rest to be covered with it."""

CONTRAST = (0.4, 2.5)
"""The donor's contrast of blood to wall is changed by no more than this."""


@dataclass(frozen=True)
class Wall:
    """The LV wall of one slice: `where` its voxels (N, 2), `places` (N, 2) on a ring of radius 1 to 2, `values` their
    grey values and `codes` their labels; `remote` and `blood` the middle grey value of each."""

    where: np.ndarray
    places: np.ndarray
    values: np.ndarray
    codes: np.ndarray
    remote: float
    blood: float

    @property
    def scar(self) -> np.ndarray:
        """Which voxels are infarct or no-reflow."""
        return np.isin(self.codes, SCAR)


def wall_of(image: np.ndarray, labels: np.ndarray, spacing_yx: tuple[float, float]) -> Wall | None:
    """The wall of a slice (Y, X), or None where there is no cavity, no wall, or no wall without scar."""
    wall, cavity = np.isin(labels, LV_WALL), labels == Structure.LV
    if wall.sum() < NEAR or not cavity.any():
        return None
    where = np.argwhere(wall)
    codes = labels[wall]
    if np.isin(codes, SCAR).mean() > 1 - LEAST_REMOTE:
        return None
    inner = ndimage.distance_transform_edt(~cavity, spacing_yx)[wall]
    outer = ndimage.distance_transform_edt(wall | cavity, spacing_yx)[wall]
    y, x = ((where - np.argwhere(cavity).mean(0)) * spacing_yx).T
    radius = 1 + inner / (inner + outer)
    places = np.stack([y, x], 1) / np.hypot(y, x).clip(1e-6)[:, None] * radius[:, None]
    values = image[wall].astype(np.float64)
    remote = np.median(values[~np.isin(codes, SCAR)])
    return Wall(where, places, values, codes, float(remote), float(np.median(image[cavity])))


def lay(
    image: np.ndarray, labels: np.ndarray, wall: Wall, donor: Wall, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One slice (Y, X) with the donor's infarct in its wall.

    Args:
        image: Grey values.
        labels: Codes of `Structure`; must have the `wall`.
        wall: Of this slice.
        donor: Another heart's wall.
        turn: (2, 2) rotation or reflection of the wall's places, the same for all slices of a heart.
    """
    image, labels = image.astype(np.float64), labels.copy()
    if wall.scar.any():
        _cover(image, labels, wall)
    distance, near = cKDTree(donor.places @ turn.T).query(wall.places, NEAR)
    codes = donor.codes[near[:, 0]]
    contrast = np.clip(abs(wall.blood - wall.remote) / max(abs(donor.blood - donor.remote), 1e-6), *CONTRAST)
    values = (_mean_near(donor.values, distance, near) - donor.remote) * contrast + wall.remote
    scar = np.isin(codes, SCAR)
    _blend(image, wall.where, scar, values)
    labels[tuple(wall.where[scar].T)] = codes[scar]
    return image, labels


def _cover(image: np.ndarray, labels: np.ndarray, wall: Wall) -> None:
    """Lay the same heart's remote wall over its scar, turned by the angle that leaves the least to be stretched."""
    hidden, remote = wall.places[wall.scar], wall.places[~wall.scar]
    turned = [remote @ _turn(angle, side).T for angle in np.arange(TURNS) * 2 * np.pi / TURNS for side in (1.0, -1.0)]
    found = [cKDTree(places).query(hidden, NEAR) for places in turned]
    distance, near = min(found, key=lambda one: float(one[0].sum()))
    values = np.full(len(wall.codes), np.nan)
    values[wall.scar] = _mean_near(wall.values[~wall.scar], distance, near)
    _blend(image, wall.where, wall.scar, values)
    labels[tuple(wall.where[wall.scar].T)] = Structure.MYOCARDIUM


def _turn(angle: float, side: float) -> np.ndarray:
    """(2, 2) rotation by an angle in radians; with a side of -1 a reflection too."""
    return np.array([[np.cos(angle), -np.sin(angle) * side], [np.sin(angle), np.cos(angle) * side]])


def _mean_near(values: np.ndarray, distance: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Mean of the nearest values (N, NEAR), the nearer the more."""
    weights = 1 / (distance + 0.02)
    return (values[near] * weights).sum(1) / weights.sum(1)


def _blend(image: np.ndarray, where: np.ndarray, chosen: np.ndarray, values: np.ndarray) -> None:
    """Lay values into the chosen voxels of an image, in place, with a soft seam where there are values
    (NaN: none) beyond."""
    given = np.isfinite(values)
    alpha = np.zeros(image.shape)
    alpha[tuple(where[chosen].T)] = 1
    alpha = np.maximum(0.85 * alpha, ndimage.gaussian_filter(alpha, EDGE_VOXELS))[tuple(where.T)]
    at = tuple(where[given].T)
    image[at] += alpha[given] * (values[given] - image[at])


def transplant(case: Case, donor: Case, rng: np.random.Generator) -> Case | None:
    """A case whose LGE shows another's infarct, turned and mirrored at random; None where there is none to lay in."""
    series, others = case.study.get(Role.LGE), donor.study.get(Role.LGE)
    if series is None or others is None:
        return None
    walls, donors = (_walls(c, s) for c, s in ((case, series), (donor, others)))
    if not walls or not any(wall.scar.any() for wall in donors.values()):
        return None
    turn = _turn(rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0]))
    voxels, codes = series.image.frames[0].astype(np.float64), case.labels[Role.LGE].frames[0].copy()
    there, order = list(walls), list(donors)
    for i, z in enumerate(there):
        of = donors[order[round(i / max(len(there) - 1, 1) * (len(order) - 1))]]
        voxels[z], codes[z] = lay(voxels[z], codes[z], walls[z], of, turn)
    return _with(case, series, voxels, codes, donor)


def _walls(case: Case, series: Series) -> dict[int, Wall]:
    stack = zip(series.image.frames[0], case.labels[Role.LGE].frames[0], strict=True)
    spacing = series.image.spacing_mm[1], series.image.spacing_mm[2]
    found = {z: wall_of(image, labels, spacing) for z, (image, labels) in enumerate(stack)}
    return {z: wall for z, wall in found.items() if wall}


def _with(case: Case, series: Series, voxels: np.ndarray, codes: np.ndarray, donor: Case) -> Case:
    shown = replace(series, image=series.image.with_voxels(voxels.astype(np.float32)))
    labels = {Role.LGE: case.labels[Role.LGE].with_voxels(codes)}
    return replace(
        case, study=replace(case.study, series=(shown,)), labels=labels, drawn_as={**donor.drawn_as, **case.drawn_as}
    )


def transplants(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """So many cases with another's infarct; every heart is as likely to receive one, every infarct to be given."""
    rng = np.random.default_rng(seed)
    drawn: list[Case] = []
    for _ in range(4 * count):
        if len(drawn) == count or not cases:
            break
        case, donor = (cases[i] for i in rng.integers(0, len(cases), 2))
        if case.scan != donor.scan and (new := transplant(case, donor, rng)):
            drawn.append(new)
    return drawn
