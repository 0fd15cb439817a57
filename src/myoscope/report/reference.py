"""Reference ranges of adults, sex-specific, each with its source, and how a value compares with its range.

Volumes of `REFERENCES` follow one convention: short-axis bSSFP cine, papillary muscles and trabeculae in the blood
pool; where a source does not tell its convention, its text says so. Those of `IN_MASS` have them in the LV's mass. A
range is held under the dotted name of the measurement it belongs to, so that a value can never meet another one's
range.
"""

from dataclasses import dataclass
from typing import Literal

from myoscope.measure.part import Papillary

Sex = Literal["F", "M"]
EN_DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
SEX_WORDS: dict[Sex, str] = {"F": "women", "M": "men"}

AGE_YEARS = (45, 74)
"""Ages of the volunteers behind the volume ranges (Petersen 2017)."""


@dataclass(frozen=True)
class Source:
    """Where a range comes from. `second_hand` says that the number was read in a text that quotes the source."""

    text: str
    second_hand: bool
    doi: str | None = None


LIMITS = Source(
    "Limits beyond which a value is abnormal, after Petersen 2017: UK Biobank, 368 men and 432 women of 45-74 years, "
    "papillary muscles in the blood pool",
    second_hand=True,
    doi="10.1186/s12968-017-0327-9",
)
MEANS = Source(
    "Mean ± 2 SD from the means and SDs of Petersen 2017 (same volunteers and convention)",
    second_hand=False,
    doi="10.1186/s12968-017-0327-9",
)
RV_EF = Source(
    "Lower limit after the SCMR reference values 2025 (JCMR 27:101853), papillary muscles in the blood pool",
    second_hand=True,
)
WALL = Source(
    "Mean of the maximum in mid short-axis slices, Kawel 2012; no limits given, so the value is not marked",
    second_hand=False,
    doi="10.1161/CIRCIMAGING.112.973560",
)

BALANCE = Source(
    "Aquaro 2017, abstract: right to left ventricular end-diastolic volume 0.85-1.15 in 308 healthy people, turned "
    "round",
    second_hand=False,
    doi="10.1002/jmri.25450",
)
HOLLOW = Source(
    "Aquaro 2017, abstract: end-diastolic volume to mass 1.0-1.8 ml/g in healthy men, 1.0-2.1 in women, turned round "
    "with 1.05 g/ml; how papillary muscles were counted is not said there",
    second_hand=False,
    doi="10.1002/jmri.25450",
)


@dataclass(frozen=True)
class Range:
    """A range of one sex; a side that is None is open. `text` stands instead of limits where a source gives none."""

    low: float | None
    high: float | None
    source: Source
    text: str | None = None

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        if self.high is None:
            return f"≥ {self.low:g}"
        return f"{self.low:g}{EN_DASH}{self.high:g}"

    def compare(self, value: float) -> Literal["low", "high"] | None:
        """Whether a value lies below or above the range; on a limit it lies within.

        >>> REFERENCES["lv.edv_ml"]["M"].compare(240)
        'high'
        """
        if self.low is not None and value < self.low:
            return "low"
        if self.high is not None and value > self.high:
            return "high"
        return None


def _limits(men: tuple[float, float | None], women: tuple[float, float | None], source: Source) -> dict[Sex, Range]:
    return {"M": Range(*men, source), "F": Range(*women, source)}


REFERENCES: dict[str, dict[Sex, Range]] = {
    "lv.edv_ml": _limits((93, 232), (80, 175), LIMITS),
    "lv.edv_index_ml_m2": _limits((52, 117), (50, 101), LIMITS),
    "lv.esv_ml": _limits((34, 103), (25, 73), LIMITS),
    "lv.esv_index_ml_m2": _limits((19, 52), (16, 43), LIMITS),
    "lv.sv_ml": _limits((49, 140), (47, 110), LIMITS),
    "lv.sv_index_ml_m2": _limits((28, 70), (29, 63), LIMITS),
    "lv.ejection_fraction_percent": _limits((48, 68), (51, 71), MEANS),
    "lv.mass_index_g_m2": _limits((35, 71), (28, 56), MEANS),
    "lv.wall_thickness_max_mm": {"M": Range(None, None, WALL, "mean 8"), "F": Range(None, None, WALL, "mean 7")},
    "lv.edv_to_rv_ratio": _limits((0.87, 1.18), (0.87, 1.18), BALANCE),
    "lv.myocardium_to_edv_ratio": _limits((0.53, 0.95), (0.45, 0.95), HOLLOW),
    "rv.edv_ml": _limits((99, 260), (83, 192), LIMITS),
    "rv.edv_index_ml_m2": _limits((55, 128), (51, 110), LIMITS),
    "rv.esv_ml": _limits((34, 135), (26, 95), LIMITS),
    "rv.esv_index_ml_m2": _limits((19, 67), (16, 55), LIMITS),
    "rv.sv_ml": _limits((54, 140), (47, 107), LIMITS),
    "rv.sv_index_ml_m2": _limits((30, 69), (29, 61), LIMITS),
    "rv.ejection_fraction_percent": _limits((44, None), (47, None), RV_EF),
}
"""Range of each measurement that has one, by its dotted name and the patient's sex."""


MEAN_SD: dict[str, dict[Sex, tuple[float, float]]] = {
    "lv.edv_ml": {"M": (166, 32), "F": (124, 21)},
    "lv.esv_ml": {"M": (69, 16), "F": (49, 11)},
    "lv.sv_ml": {"M": (96, 20), "F": (75, 14)},
    "lv.sv_index_ml_m2": {"M": (49, 10), "F": (45, 8)},
    "lv.ejection_fraction_percent": {"M": (58, 5), "F": (61, 5)},
    "lv.mass_index_g_m2": {"M": (53, 9), "F": (42, 7)},
}
"""Mean and SD of healthy people by sex, of the measurements of which Petersen 2017 gives them (see `LIMITS`)."""

Z_NOTE = (
    "z: distance from the mean of Petersen 2017 in its standard deviations; 95 % of healthy people lie within 2. Given "
    "where mean and deviation were at hand."
)


def z_score(name: str, sex: Sex | None, value: float, papillary: Papillary = "blood") -> float | None:
    """How many standard deviations a value lies from the mean of its sex; None where that is not known.

    >>> z_score("lv.edv_ml", "M", 230.0)
    2.0
    """
    other = papillary == "muscle" and name.startswith("lv.")
    found = MEAN_SD.get(name, {}).get(sex) if sex and not other else None
    return None if found is None else (value - found[0]) / found[1]


SCMR = Source(
    "2.5 to 97.5 % after the SCMR reference values 2025 (JCMR 27:101853), papillary muscles in the mass",
    second_hand=True,
)
HUDSMITH = Source(
    "Mean ± 2 SD from the means and SDs of Hudsmith 2005 (abstract): 63 men and 45 women, papillary muscles in "
    "the mass",
    second_hand=False,
    doi="10.1080/10976640500295516",
)

IN_MASS: dict[str, dict[Sex, Range]] = {
    "lv.edv_ml": _limits((102, 218), (83, 187), HUDSMITH),
    "lv.esv_ml": _limits((18, 82), (18, 66), HUDSMITH),
    "lv.edv_index_ml_m2": _limits((46, 104), (46, 91), SCMR),
    "lv.esv_index_ml_m2": _limits((11, 41), (11, 34), SCMR),
    "lv.sv_index_ml_m2": {"M": Range(30, 69, SCMR)},
    "lv.ejection_fraction_percent": _limits((53, 79), (55, 80), SCMR),
    "lv.wall_thickness_max_mm": REFERENCES["lv.wall_thickness_max_mm"],
    **{name: both for name, both in REFERENCES.items() if name.startswith("rv.")},
}
"""Ranges where the LV's papillary muscles are in its mass; the RV's stay in its blood. No range of its mass."""


def ranges_for(name: str, sex: Sex | None, papillary: Papillary = "blood") -> dict[Sex, Range]:
    """The ranges to show for a measurement: the patient's, or both where sex is unknown; {} where there is none.

    `papillary` is what the LV's papillary muscles count as.

    >>> {sex: str(r) for sex, r in ranges_for("lv.esv_ml", None).items()}
    {'M': '34–103', 'F': '25–73'}
    """
    both = (IN_MASS if papillary == "muscle" else REFERENCES).get(name, {})
    return both if sex is None else {s: r for s, r in both.items() if s == sex}


def mark(value: float, ranges: dict[Sex, Range]) -> tuple[Literal["low", "high"], str] | None:
    """How a value is marked against the ranges shown: the direction and the words, or None within all of them.

    >>> mark(110, ranges_for("lv.edv_index_ml_m2", None))
    ('high', 'high for women')
    """
    sides = [(sex, side) for sex, r in ranges.items() if (side := r.compare(value)) is not None]
    if not sides:
        return None
    sex, side = sides[0]
    return side, side if len(sides) == len(ranges) else f"{side} for {SEX_WORDS[sex]}"


def age_note(age_years: float | None) -> str | None:
    """What a reader must know about the ranges at this age, or None where they fit."""
    low, high = AGE_YEARS
    if age_years is None:
        return f"Age unknown: the volume ranges were found at {low}-{high} years."
    if not low <= age_years < high + 1:
        return f"Age {age_years:g} lies outside the {low}-{high} years at which the volume ranges were found."
    return None


INFARCT_SIZE = "Size words after the ACC/ESC 2000 definition: below 10 % of the LV is small."
INFARCT_SIZE_UNCHECKED = "The border at 30 % between medium and large was not checked against the source."


def infarct_size(percent: float) -> str:
    """Size word of an infarct, per cent of the LV myocardium.

    Source:
        After ACC/ESC 2000: small below 10 %, medium to 30 %, large above (only the first border was read).

    >>> infarct_size(12.0)
    'medium'
    """
    if percent <= 0:
        return "none"
    if percent < 10:
        return "small"
    return "medium" if percent <= 30 else "large"
