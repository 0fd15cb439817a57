"""Clinical values and volumes of LGE labels as numbers, and a linear model over them: doc-net's default variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from myoscope.datasets import clinical
from myoscope.datasets.emidec import CLASSES
from myoscope.labels import SCAR, Structure
from myoscope.prediction import Classification
from myoscope.volume import Volume

VOLUMES: dict[str, tuple[Structure, ...]] = {
    "LV blood pool": (Structure.LV,),
    "healthy myocardium": (Structure.MYOCARDIUM,),
    "scar": SCAR,
    "enhanced scar": (Structure.INFARCT,),
    "no-reflow": (Structure.NO_REFLOW,),
}
"""Volumes that a network may read, and what they are made of."""

FAR = 4.0
"""A number so many standard deviations from the training mean is named: it may be in another unit."""


def value_names(volumes: Sequence[str]) -> list[str]:
    """Names of the values that are read, in order: all clinical ones, and some volumes."""
    return [*clinical.TITLES.values(), *(f"{name} (ml)" for name in volumes)]


def read_values(volumes: Sequence[str], values: clinical.ClinicalValues, labels: Volume | None) -> list[float]:
    """Clinical values and volumes as a network takes them; NaN where unknown."""
    numbers = []
    for name in type(values).model_fields:
        value = getattr(values, name)
        if value is None:
            numbers.append(np.nan)
        elif name in ("troponin", "nt_probnp"):
            numbers.append(float(np.log10(max(value, 0.01))))
        elif name == "tobacco":
            numbers.append(3.0 - int(value))
        else:
            numbers.append(float(value) if isinstance(value, float | int) else float(value in ("Y", "M")))
    if labels is None or not (labels.voxels == Structure.LV).any():
        return numbers + [np.nan] * len(volumes)
    return numbers + [float(np.log1p(np.isin(labels.voxels, VOLUMES[v]).sum() * labels.voxel_ml)) for v in volumes]


def as_read(volumes: Sequence[str], numbers: Sequence[float]) -> list[float]:
    """Values as a clinician wrote them, volumes in ml: `read_values` undone."""
    undo = {"troponin": lambda x: 10**x, "nt_probnp": lambda x: 10**x, "tobacco": lambda x: 3 - x}
    undo |= dict.fromkeys(volumes, np.expm1)
    names = [*clinical.TITLES, *volumes]
    return [float(f"{undo.get(name, float)(x):.6g}") for name, x in zip(names, numbers, strict=True)]


def notes_of(
    volumes: Sequence[str], values: clinical.ClinicalValues, labels: Volume | None, standard: Any
) -> list[str]:
    """What is doubtful about values; `standard` (V,) in standard deviations from training's mean."""
    notes = clinical.notes(values)
    if labels is not None and not (labels.voxels == Structure.LV).any():
        notes.append("no left ventricle was found on the LGE image: its volumes are taken as average")
    words = [*clinical.WORDS.items(), *((f"{name} (ml)",) * 2 for name in volumes)]
    far = [said for (n, said), z in zip(words, standard, strict=True) if abs(z) > FAR and n not in clinical.CODED]
    return [*notes, *([f"{', '.join(far)}: far from any training case; check value and unit"] if far else [])]


@dataclass(frozen=True)
class Linear:
    """Logistic regression of the two classes over standardised values; an unknown one counts as the mean.

    Args:
        volumes: Names of the volumes that it reads, beside all clinical values.
        mean: Of training's values, (V,), as `scale`.
        scale: Their standard deviations.
        weights: (2, V).
        bias: (2,).
    """

    volumes: Sequence[str]
    mean: Sequence[float]
    scale: Sequence[float]
    weights: Sequence[Sequence[float]]
    bias: Sequence[float]

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> "Linear":
        """From the card of its weights.

        Raises:
            KeyError, TypeError: it is the card of something else.
        """
        return cls(**card["linear"] | {"volumes": tuple(card["linear"]["volumes"])})

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.array(self.weights, float)

    def classify(self, values: clinical.ClinicalValues, labels: Volume | None) -> Classification:
        """Normal or pathological, with what each known value adds to the log-odds of the class, the largest first.

        Args:
            values: Clinical values.
            labels: `Structure` codes on the LGE's grid.
        """
        numbers = np.array(read_values(self.volumes, values, labels))
        standard = np.nan_to_num((numbers - np.array(self.mean)) / np.array(self.scale))
        logits = self._weights @ standard + np.array(self.bias)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = int(shares.argmax())
        added = (self._weights[best] - self._weights[1 - best]) * standard
        said = [words + clinical.MEANING.get(name, "") for name, words in clinical.WORDS.items()]
        names = [*said, *(f"{name} (ml)" for name in self.volumes)]
        rows = zip(names, as_read(self.volumes, numbers.tolist()), added.tolist(), strict=True)
        evidence = sorted((row for row in rows if not np.isnan(row[1])), key=lambda row: -abs(row[2]))
        notes = notes_of(self.volumes, values, labels, standard)
        return Classification(dict(zip(CLASSES, shares.tolist(), strict=True)), tuple(evidence), tuple(notes))
