"""What phantom studies are drawn from: ranges for anatomy and images, checked, and two sets of them.

`TRAINING` may join training; `KEPT_ASIDE` differs in contrast, noise, spacing and shape and is for testing only.
Distances are in mm, volumes in ml, angles in degrees, signals relative to about 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, get_origin, get_type_hints

from myoscope.errors import InputError
from myoscope.study import Role

Range = tuple[float, float]

ROLES = (Role.CINE, Role.LGE, Role.T2)
"""What a phantom study holds."""


def _check_ranges(settings: object) -> None:
    for name, hint in get_type_hints(type(settings), include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        low, high = hint.__metadata__[0]
        value = getattr(settings, name)
        first, last = value if isinstance(value, tuple) else (value, value)
        if not low <= first <= last <= high:
            raise InputError(
                f"{type(settings).__name__}.{name}: expected low <= high within [{low}, {high}], found {value}"
            )


@dataclass(frozen=True)
class Shape:
    """Ranges of one diagnosis' heart: volumes in ml, wall in mm, fractions 0..1; `infarct` is a probability.

    Raises:
        InputError: a range is empty or outside what a heart can be.
    """

    edv_ml: Annotated[Range, (40, 500)]
    ef: Annotated[Range, (0.05, 0.85)]
    wall_mm: Annotated[Range, (4, 20)]
    rv_edv_ml: Annotated[Range, (40, 450)]
    rv_ef: Annotated[Range, (0.05, 0.8)]
    septal_ratio: Annotated[Range, (0.7, 2.5)] = (0.95, 1.15)
    flattening: Annotated[Range, (0, 0.35)] = (0.0, 0.05)
    infarct: Annotated[float, (0, 1)] = 0.0

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True)
class Look:
    """Ranges of one series: grid in mm, phase of the cycle, signals relative to about 1, noise's standard deviation.

    `offset` lifts all signals, as phase-sensitive LGE does, in a share `offset_probability` of studies.

    Raises:
        InputError: a range is empty or outside what a scanner makes.
    """

    spacing_mm: Annotated[Range, (0.5, 3)]
    slice_mm: Annotated[Range, (4, 20)]
    field_mm: Annotated[Range, (150, 500)]
    blood: Annotated[Range, (0, 2)]
    myocardium: Annotated[Range, (0, 2)]
    fat: Annotated[Range, (0, 3)]
    lung: Annotated[Range, (0, 1)]
    muscle: Annotated[Range, (0, 2)]
    liver: Annotated[Range, (0, 2)]
    organ: Annotated[Range, (0, 2)]
    noise: Annotated[Range, (0, 0.5)]
    infarct: Annotated[Range, (0, 2)] = (1.0, 1.0)
    edema: Annotated[Range, (0, 2)] = (1.0, 1.0)
    phase: Annotated[Range, (0, 1)] = (0.0, 0.0)
    offset: Annotated[Range, (0, 3)] = (0.0, 0.0)
    offset_probability: Annotated[float, (0, 1)] = 0.0

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True)
class PhantomSettings:
    """What a phantom's random parameters are drawn from: ranges (low, high), each drawn uniformly.

    `shapes` holds the diagnoses, drawn with equal chance; `looks` has one entry for each of `ROLES`. Lengths in mm,
    angles in degrees, `shading` and `slice_gain` as fractions, `blur` in voxels, extra slices in slices,
    `shift_mm` the standard deviation of a slice's breath-hold shift along x and y. `twist` and `texture` are those
    of `Heart`: none by default, so that studies drawn before there were any stay the same.

    Raises:
        InputError: a range is empty or outside what is possible, or a diagnosis or role is missing.
    """

    shapes: Mapping[str, Shape]
    looks: Mapping[Role, Look]
    aspect: Annotated[Range, (0.5, 1)] = (0.75, 1.0)
    position_mm: Annotated[Range, (-80, 80)] = (-30.0, 30.0)
    rotation: Annotated[Range, (-60, 60)] = (-20.0, 25.0)
    elongation: Annotated[Range, (1.8, 4.5)] = (2.5, 3.2)
    papillary_mm: Annotated[Range, (1, 10)] = (3.0, 6.0)
    trabeculation: Annotated[Range, (0, 0.6)] = (0.05, 0.35)
    epicardial_fat_mm: Annotated[Range, (0, 15)] = (0.0, 4.0)
    chest_fat_mm: Annotated[Range, (2, 60)] = (8.0, 26.0)
    es_phase: Annotated[Range, (0.25, 0.5)] = (0.34, 0.4)
    infarct_half_width: Annotated[Range, (10, 100)] = (38.0, 92.0)
    infarct_half_length: Annotated[Range, (0.1, 1)] = (0.32, 0.85)
    transmurality: Annotated[Range, (0.1, 1)] = (0.6, 1.0)
    akinesia: Annotated[Range, (0, 1)] = (0.6, 1.0)
    edema_margin: Annotated[Range, (1, 2)] = (1.15, 1.5)
    swelling: Annotated[Range, (-0.5, 1)] = (-0.1, 0.3)
    no_reflow_probability: Annotated[float, (0, 1)] = 0.6
    no_reflow: Annotated[Range, (0.1, 0.9)] = (0.2, 0.55)
    extra_basal: Annotated[Range, (0, 4)] = (0.3, 2.2)
    extra_apical: Annotated[Range, (-1, 3)] = (-0.6, 0.9)
    shift_mm: Annotated[Range, (0, 10)] = (0.0, 2.5)
    shading: Annotated[Range, (0, 0.8)] = (0.1, 0.55)
    slice_gain: Annotated[Range, (0, 0.5)] = (0.0, 0.12)
    blur: Annotated[Range, (0, 2)] = (0.3, 0.8)
    apex_first_probability: Annotated[float, (0, 1)] = 0.5
    twist: Annotated[Range, (0, 40)] = (0.0, 0.0)
    texture: Annotated[Range, (0, 0.5)] = (0.0, 0.0)

    def __post_init__(self) -> None:
        _check_ranges(self)
        if not self.shapes or set(self.looks) != set(ROLES):
            raise InputError(
                f"PhantomSettings: expected a diagnosis or more and a look for each of {[*map(str, ROLES)]}"
            )


TRAINING = PhantomSettings(
    shapes={
        "NOR": Shape((95, 180), (0.55, 0.70), (6.0, 8.5), (110, 200), (0.50, 0.66)),
        "MINF": Shape((120, 230), (0.20, 0.42), (7.0, 10.5), (90, 150), (0.45, 0.62), infarct=1.0),
        "DCM": Shape((200, 360), (0.10, 0.32), (6.0, 9.0), (120, 260), (0.20, 0.50)),
        "HCM": Shape((90, 170), (0.58, 0.78), (9.0, 12.5), (90, 150), (0.52, 0.70), septal_ratio=(1.2, 1.9)),
        "RV": Shape((75, 150), (0.48, 0.65), (5.5, 7.5), (160, 270), (0.20, 0.42), flattening=(0.03, 0.18)),
    },
    looks={
        Role.CINE: Look(
            spacing_mm=(1.1, 1.85),
            slice_mm=(7, 10.5),
            field_mm=(280, 390),
            blood=(0.7, 1.1),
            myocardium=(0.25, 0.45),
            fat=(0.75, 1.5),
            lung=(0.02, 0.1),
            muscle=(0.15, 0.35),
            liver=(0.18, 0.4),
            organ=(0.3, 0.6),
            noise=(0.012, 0.06),
        ),
        Role.LGE: Look(
            spacing_mm=(1.1, 1.75),
            slice_mm=(7, 11),
            field_mm=(220, 380),
            blood=(0.45, 0.95),
            myocardium=(0.03, 0.28),
            fat=(0.6, 1.3),
            lung=(0.05, 0.2),
            muscle=(0.1, 0.35),
            liver=(0.3, 0.6),
            organ=(0.25, 0.6),
            noise=(0.03, 0.11),
            infarct=(0.7, 1.2),
            phase=(0.6, 0.9),
            offset=(0.5, 1.8),
            offset_probability=0.5,
        ),
        Role.T2: Look(
            spacing_mm=(0.75, 1.6),
            slice_mm=(8, 13),
            field_mm=(250, 360),
            blood=(0.1, 0.35),
            myocardium=(0.4, 0.6),
            fat=(0.2, 0.9),
            lung=(0.03, 0.12),
            muscle=(0.2, 0.4),
            liver=(0.2, 0.45),
            organ=(0.25, 0.55),
            noise=(0.03, 0.08),
            edema=(0.75, 1.1),
            phase=(0.6, 0.9),
        ),
    },
)
"""What training may draw from."""

KEPT_ASIDE = replace(
    TRAINING,
    shapes={
        "NOR": Shape((85, 165), (0.57, 0.72), (5.5, 9.0), (100, 190), (0.52, 0.68)),
        "MINF": Shape((110, 250), (0.18, 0.40), (6.5, 11.0), (85, 160), (0.42, 0.62), infarct=1.0),
        "DCM": Shape((190, 340), (0.12, 0.35), (5.5, 8.5), (110, 240), (0.22, 0.52)),
        "HCM": Shape((80, 160), (0.60, 0.80), (9.5, 13.5), (85, 145), (0.54, 0.72), septal_ratio=(1.0, 2.1)),
        "RV": Shape((70, 140), (0.50, 0.66), (5.0, 8.0), (150, 290), (0.18, 0.40), flattening=(0.0, 0.2)),
    },
    looks={
        Role.CINE: replace(
            TRAINING.looks[Role.CINE],
            spacing_mm=(0.9, 1.1),
            slice_mm=(6, 8),
            blood=(0.65, 0.8),
            myocardium=(0.2, 0.3),
            fat=(0.9, 1.2),
            noise=(0.04, 0.065),
        ),
        Role.LGE: replace(
            TRAINING.looks[Role.LGE],
            spacing_mm=(0.9, 1.1),
            slice_mm=(6, 8),
            blood=(0.6, 0.8),
            myocardium=(0.02, 0.15),
            infarct=(0.8, 1.15),
            noise=(0.08, 0.12),
            offset_probability=0.3,
        ),
        Role.T2: replace(
            TRAINING.looks[Role.T2], spacing_mm=(1.6, 1.9), blood=(0.05, 0.2), edema=(0.7, 0.85), noise=(0.06, 0.1)
        ),
    },
    rotation=(-30.0, 35.0),
    elongation=(2.4, 3.5),
    position_mm=(-40.0, 40.0),
    shading=(0.4, 0.6),
    shift_mm=(1.5, 3.0),
)
"""Other contrast, noise, spacing and shape, for testing only: never train on it."""

MOVING = replace(KEPT_ASIDE, twist=(6.0, 18.0), texture=(0.05, 0.2))
"""Kept-aside studies whose wall twists and has a pattern that moves with it: for tests of strain."""
