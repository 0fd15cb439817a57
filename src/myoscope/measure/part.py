"""What parts of `measurements.json` are made of: frozen, without unknown keys, their units in the schema."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from myoscope.measure.units import with_units

Grade = Literal["0", "1-25", "26-50", "51-75", "76-100"]

Pattern = Literal["endocardial", "mid-wall", "epicardial", "transmural"]
"""Where in the depth of the wall scar lies."""

Papillary = Literal["blood", "muscle"]
"""What the LV's papillary muscles and trabeculae count as."""


class Part(BaseModel):
    """A part of the contract; its numbers carry their unit in their name."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=with_units)


class Segment(Part):
    """One of the 17 segments of the AHA (doi:10.1161/hc0402.102975).

    `scar_percent` is the share of the segment's wall that is scar, and what `transmurality_grade` grades (Kim et al.
    2000, doi:10.1056/NEJM200011163432003). `scar_depth_percent` is how much of the wall's thickness scar takes, on
    average over the rays from the cavity's centre that cross scar: None where no ray does.
    """

    segment: int = Field(description="Number of the AHA segment, 1 to 17")
    name: str = Field(description="The AHA's name of the segment")
    territory: Literal["LAD", "RCA", "LCX"] = Field(description="Coronary artery that usually supplies it")
    wall_thickness_ed_mm: float | None = Field(None, description="Mean wall thickness at end-diastole")
    wall_thickness_es_mm: float | None = Field(None, description="Mean wall thickness at end-systole")
    wall_thickening_percent: float | None = Field(
        None, description="Thickening from ED to ES, of that at ED, in the slices that show the segment at both"
    )
    scar_percent: float | None = Field(None, description="Scar, of the segment's wall")
    edema_percent: float | None = Field(None, description="Edema, of the segment's wall")
    scar_depth_percent: float | None = Field(None, description="Scar, of the wall's thickness where there is scar")
    scar_pattern: Pattern | None = Field(
        None, description="Where in the depth of the wall scar lies, see `measure.pattern`"
    )
    transmurality_grade: Grade | None = Field(None, description="Grade of `scar_percent`, in per cent")
    transmurality_grade_interval: list[Grade] | None = Field(
        None, description="Grades that an expert's may be, in 90 % of segments with this grade"
    )


class Strain(Part):
    """Global strain of the LV since end-diastole, see `measure.strain` (definitions: doi:10.1093/ehjci/jeu184).

    Peaks are of the whole cycle. What is followed in the image is followed through the slices too; contours alone are
    not, so that their shortening is less.
    """

    global_circumferential_strain_percent: float | None = Field(
        None, description="Peak change of length of the wall's middle line since end-diastole, followed in the image"
    )
    global_circumferential_strain_rate_per_s: float | None = Field(
        None, description="Fastest circumferential shortening before the peak"
    )
    global_circumferential_strain_time_to_peak_ms: float | None = Field(
        None, description="From end-diastole to the circumferential peak"
    )
    global_radial_strain_percent: float | None = Field(
        None, description="Peak change of the wall's mean thickness since end-diastole, followed in the image"
    )
    global_radial_strain_rate_per_s: float | None = Field(None, description="Fastest thickening before the peak")
    global_radial_strain_time_to_peak_ms: float | None = Field(None, description="From end-diastole to the radial peak")
    circumferential_uniformity: float | None = Field(
        None, description="CURE at the peak: 1 where all parts of a ring shorten alike, 0 where halves are opposed"
    )
    circumferential_strain_curve_percent: list[float] | None = Field(
        None, description="Followed circumferential strain in each frame"
    )
    radial_strain_curve_percent: list[float] | None = Field(None, description="Followed radial strain in each frame")
    global_circumferential_strain_from_contours_percent: float | None = Field(
        None, description="Peak circumferential strain of the contours alone, in slices that stand still"
    )
    global_radial_strain_from_contours_percent: float | None = Field(
        None, description="Peak radial strain of the contours alone, in slices that stand still"
    )
    end_systolic_circumferential_strain_from_contours_percent: float | None = Field(
        None, description="Circumferential strain of the contours alone at end-systole"
    )
    end_systolic_radial_strain_from_contours_percent: float | None = Field(
        None, description="Radial strain of the contours alone at end-systole"
    )
