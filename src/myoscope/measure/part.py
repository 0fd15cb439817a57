"""What parts of `measurements.json` are made of: frozen, without unknown keys, their units in the schema."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from myoscope.measure.units import with_units

Grade = Literal["0", "1-25", "26-50", "51-75", "76-100"]

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
    wall_thickening_percent: float | None = Field(None, description="Thickening from ED to ES, of that at ED")
    scar_percent: float | None = Field(None, description="Scar, of the segment's wall")
    edema_percent: float | None = Field(None, description="Edema, of the segment's wall")
    scar_depth_percent: float | None = Field(None, description="Scar, of the wall's thickness where there is scar")
    transmurality_grade: Grade | None = Field(None, description="Grade of `scar_percent`, in per cent")
    transmurality_grade_interval: list[Grade] | None = Field(
        None, description="Grades that an expert's may be, in 90 % of segments with this grade"
    )
