"""The cine: its phases found, then ventricles, wall thickness by segment and by slice read from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from myoscope.labels import Structure
from myoscope.measure.anatomy import NAMES, Anatomy, find_anatomy, share_insertion
from myoscope.measure.counted import Counted, count, no_count
from myoscope.measure.function import (
    Phases,
    find_phases,
    label_volume_ml,
    left_ventricle,
    lv_mass_g,
    mass_only,
    no_ventricle,
    right_ventricle,
)
from myoscope.measure.results import LeftVentricle, SliceWall, Ventricle
from myoscope.measure.segments import segment_thickening_percent, segment_thickness_mm
from myoscope.measure.slices import slice_rows, wall_max_mm
from myoscope.measure.strain import measure_strain
from myoscope.measure.values import Value
from myoscope.study import Series
from myoscope.volume import Volume


@dataclass(frozen=True)
class CineAnatomy:
    """A labelled cine: the LV's volume in every frame (T,), in ml, and the heart in the two phases, or why not."""

    labels: Volume
    lv_ml: np.ndarray
    phases: Phases
    ed: Anatomy | str
    es: Anatomy | str

    @cached_property
    def shown(self) -> tuple[Anatomy, ...]:
        """The phases that are known, end-diastole first; without any, the first two frames."""
        known = tuple(heart for heart in (self.ed, self.es) if not isinstance(heart, str))
        return known or tuple(find_anatomy(f, self.labels.spacing_mm) for f in self.labels.frames[:2])

    @property
    def shown_frames(self) -> tuple[int, ...]:
        """Which frames these are."""
        return self.phases.frames or tuple(range(len(self.shown)))

    @property
    def shown_phases(self) -> tuple[str, ...]:
        """What each of these shows: "ed", "es", or "" where nobody knows."""
        known = tuple(name for name, heart in (("ed", self.ed), ("es", self.es)) if not isinstance(heart, str))
        return known or ("",) * len(self.shown)


@dataclass(frozen=True)
class CineValues:
    """What the cine gives (without one: LV mass of a still bSSFP stack); segments' thickness in mm, thickening in %."""

    lv: tuple[LeftVentricle, dict[str, str]]
    rv: tuple[Ventricle, dict[str, str]]
    ed_mm: Mapping[int, Value]
    es_mm: Mapping[int, Value]
    thickening: Mapping[int, Value]
    slices: tuple[list[SliceWall], dict[str, str]]
    counted: Counted


def find_cine(series: Series, labels: Volume, fallback_insertion: float | None) -> CineAnatomy:
    """Find the phases of a labelled cine, and the heart in them; a phase without RV follows the other one."""
    lv_ml = label_volume_ml(labels.frames, [Structure.LV], labels.spacing_mm)
    phases = find_phases(lv_ml, series.ed_frame, series.es_frame)
    ed, es = (
        frame if isinstance(frame, str) else find_anatomy(labels.frames[frame], labels.spacing_mm, fallback_insertion)
        for frame in (phases.ed, phases.es)
    )
    if isinstance(ed, Anatomy) and isinstance(es, Anatomy):
        ed, es = share_insertion(ed, es)
    return CineAnatomy(labels, lv_ml, phases, ed, es)


def measure_cine(cine: CineAnatomy, image: Volume, bsa_m2: Value, patient_bpm: float | None) -> CineValues:
    """Ventricles in the phases, strain, and the wall by segment and by slice."""
    frames, spacing_mm = cine.labels.frames, cine.labels.spacing_mm
    ed_mm, es_mm = (
        dict.fromkeys(NAMES, heart) if isinstance(heart, str) else segment_thickness_mm(heart)
        for heart in (cine.ed, cine.es)
    )
    lv, missing = left_ventricle(
        frames,
        spacing_mm,
        cine.phases,
        bsa_m2,
        patient_bpm=patient_bpm,
        frame_time_ms=image.frame_time_ms,
        wall_max_mm=wall_max_mm(cine.ed),
        wall_max_es_mm=wall_max_mm(cine.es),
    )
    strain, no_strain = measure_strain(cine.labels, image, cine.phases)
    return CineValues(
        (lv.model_copy(update=strain), missing | no_strain),
        right_ventricle(frames, spacing_mm, cine.phases, bsa_m2),
        ed_mm,
        es_mm,
        segment_thickening_percent(cine.ed, cine.es),
        slice_rows(cine.ed, cine.es),
        count(cine.ed, cine.es),
    )


def without_cine(reason: str, still: Anatomy | None, bsa_m2: Value) -> CineValues:
    """Nothing for one reason, but for the mass where a still bSSFP stack shows the wall."""
    nothing: dict[int, Value] = dict.fromkeys(NAMES, reason)
    mass: Value = reason
    if still:
        mass = lv_mass_g(still.labels[None], still.spacing_mm, Phases(reason, reason))
    slices: tuple[list[SliceWall], dict[str, str]] = [], {"slices": reason}
    lv, rv = mass_only(mass, bsa_m2, reason), no_ventricle(reason)
    return CineValues(lv, rv, nothing, nothing, nothing, slices, no_count(reason))
