"""What every part of `measurements.json` is: frozen, without unknown keys, its units in the schema."""

from pydantic import BaseModel, ConfigDict

from myoscope.measure.units import with_units


class Part(BaseModel):
    """A part of the contract; its numbers carry their unit in their name."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=with_units)
