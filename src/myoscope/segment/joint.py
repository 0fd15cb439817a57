"""LGE, T2 and bSSFP segmented together into one map, by a network with a channel for each."""

from collections.abc import Mapping, Sequence

import numpy as np

from myoscope.errors import InputError
from myoscope.labels import SCAR, Structure
from myoscope.prediction import Prediction
from myoscope.segment.alignment import alignment_notes
from myoscope.segment.cine import SliceModel
from myoscope.segment.clean import drop_traces, keep_heart
from myoscope.segment.confidence import calibrate_all, unusual_distance
from myoscope.segment.images import normalise, resample_slices, resize, softmax
from myoscope.segment.model import NetworkModel
from myoscope.study import Note, Role, Series, Study
from myoscope.volume import Volume, onto_grid

ROLES = (Role.LGE, Role.T2, Role.BSSFP)
"""The network's channels. Of those that a study has, the joint map lies on the grid of the first."""

WALL = (Structure.MYOCARDIUM, Structure.INFARCT, Structure.EDEMA)

LGE_SHARE = 0.5
"""Share of the network of LGE alone in what is scar."""

SCAR_ML = 3.5
"""Less scar in a joint map with LGE is none: more than any healthy heart was given, see docs/decisions.md."""


class JointModel(NetworkModel):
    """compact-myops, or another network of the same channels and classes."""

    def predict(self, study: Study) -> dict[Role, Volume]:
        """The joint map of what the study has of LGE, T2 and bSSFP, under the role on whose grid it lies.

        Nothing where it has none of them.
        """
        if not any(study.get(role) for role in ROLES):
            return {}
        series, found = self.segment_joint(study)
        return {series.role: found.labels}

    def segment_joint(self, study: Study, lge: SliceModel | None = None) -> tuple[Series, Prediction]:
        """Segment a study's LGE, T2 and bSSFP together.

        Args:
            study: With one of these series at least.
            lge: A model of LGE alone that has a say in what is scar, where there is LGE.

        Returns:
            The series on whose grid the joint map lies, and the map (`Structure` codes) with how sure it is.

        Raises:
            InputError: the study has none of these series.
        """
        series, channels = joint_channels(study)
        image = series.image
        shares, distances = self._shares(channels, image)
        of = by_class(self.classes, shares)
        found, unusual = codes_of(of), np.inf
        with_lge = lge if series.role is Role.LGE else None
        if with_lge:
            theirs, distances = with_lge.shares(channels[Role.LGE], image)
            of = scar_from_lge(of, by_class(with_lge.classes, theirs))
            found, unusual = codes_of(of), unusual_distance(with_lge.card)
        found = drop_traces(keep_heart(found), self.smallest_ml, image.voxel_ml)
        if with_lge and np.isin(found, SCAR).sum() * image.voxel_ml < SCAR_ML:
            found = without_scar(found, self.smallest_ml[Structure.EDEMA], image.voxel_ml)
        masks = {s: found == s for s in of if s}
        raw = {s: float(of[s][mask].mean(dtype=float)) for s, mask in masks.items() if mask.any()}
        right, errors = (calibrate_all(raw, self.card), self.card.get("intervals")) if with_lge else ({}, None)
        labels = image.with_voxels(found if image.voxels.ndim == 3 else found[None])
        return series, Prediction(labels, raw, distances[None], right, unusual, errors or {})

    def alignment(self, study: Study) -> list[Note]:
        """Whether the sequences that `segment_joint` puts together are aligned, and which of them were left out.

        One member tells where the heart is.
        """
        first, channels = joint_channels(study)
        one = self.member(0)
        alone = {
            role: keep_heart(codes_of(by_class(one.classes, one._shares({role: image}, first.image)[0])))
            for role, image in channels.items()
        }
        left_out = [role for role in ROLES if study.get(role) and role not in channels]
        text = f"This sequence shows nothing of what the {first.role.upper()} slices show, and was not segmented."
        notes = [Note("not_overlapping", "warning", text, role) for role in left_out]
        return notes + alignment_notes(alone, first.role, first.image.spacing_mm)

    def _shares(self, channels: Mapping[Role, np.ndarray], grid: Volume) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities (Z, C, Y, X) and distances (Z,) of images (Z, Y, X) on one grid."""
        planes = {
            role: resample_slices(normalise(image), grid.spacing_mm[1:], self.network.spacing_mm)
            for role, image in channels.items()
        }
        blank = np.zeros_like(next(iter(planes.values())))
        logits, far = self.network.look(np.stack([planes.get(role, blank) for role in self.roles], 1))
        return softmax(resize(logits, grid.voxels.shape[-2:])), far


def by_class(classes: Sequence[Structure], shares: np.ndarray) -> dict[Structure, np.ndarray]:
    """Class probabilities (Z, C, Y, X) as (Z, Y, X) by class."""
    return dict(zip(classes, np.moveaxis(shares, 1, 0), strict=True))


def codes_of(shares: Mapping[Structure, np.ndarray]) -> np.ndarray:
    """Structure codes from class probabilities (Z, Y, X): first what is wall, in it what is ill, in that scar."""
    normal, infarct, edema = (shares[s] for s in WALL)
    dark = shares.get(Structure.NO_REFLOW, np.zeros_like(infarct))
    scar = infarct + dark
    outer = (Structure.BACKGROUND, Structure.LV, Structure.RV, Structure.MYOCARDIUM)
    merged = np.stack([*(shares[s] for s in outer[:3]), normal + edema + scar])
    found = np.array(outer, np.uint8)[merged.argmax(0)]
    ill = (found == Structure.MYOCARDIUM) & (scar + edema > normal)
    found[ill] = Structure.EDEMA
    found[ill & (scar > edema)] = Structure.INFARCT
    found[(found == Structure.INFARCT) & (dark > infarct)] = Structure.NO_REFLOW
    return found


def scar_from_lge(
    ours: Mapping[Structure, np.ndarray], lge: Mapping[Structure, np.ndarray], share: float = LGE_SHARE
) -> dict[Structure, np.ndarray]:
    """Class probabilities whose wall is this system's, and whose scar is a mean of both systems'.

    The rest of the wall stays divided between normal and edema as it was. What of the scar is no-reflow is asked of the
    network of LGE alone.

    Args:
        ours: This system's probabilities (Z, Y, X) by class.
        lge: Those of the network of LGE alone, which knows no edema.
        share: Its share in the mean.
    """
    wall = np.sum([ours[s] for s in WALL], 0)
    seen = lge[Structure.INFARCT] + lge[Structure.NO_REFLOW]
    theirs = wall * seen / (seen + lge[Structure.MYOCARDIUM]).clip(1e-6)
    scar = share * theirs + (1 - share) * ours[Structure.INFARCT]
    dark = scar * lge[Structure.NO_REFLOW] / seen.clip(1e-6)
    rest = (wall - scar) / (wall - ours[Structure.INFARCT]).clip(1e-6)
    divided = {s: ours[s] * rest for s in (Structure.MYOCARDIUM, Structure.EDEMA)}
    return {**ours, **divided, Structure.INFARCT: scar - dark, Structure.NO_REFLOW: dark}


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
