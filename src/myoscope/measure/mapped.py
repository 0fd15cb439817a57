"""The part of the contract on maps: T1, T2 and ECV by segment, and ECV from two T1 maps."""

from pydantic import Field

from myoscope.measure.part import Part as _Part


class TimeSegment(_Part):
    """A relaxation time in one AHA segment: median and interquartile range over `voxels` of the map."""

    segment: int = Field(description="Number of the AHA segment, 1 to 17")
    name: str = Field(description="The AHA's name of the segment")
    voxels: int = Field(description="Voxels of the map in the segment")
    median_ms: float | None = Field(None, description="Median of the relaxation time")
    iqr_ms: float | None = Field(None, description="Interquartile range of the relaxation time")


class TimeMap(_Part):
    """A T1 or T2 map in the LV's wall, which was carried over from the series `wall_from`.

    After Messroghli et al. 2017, doi:10.1186/s12968-017-0389-8.
    """

    wall_from: str | None = Field(None, description="Role of the series whose labels give the wall")
    voxels: int = Field(0, description="Voxels of the map in the wall")
    median_ms: float | None = Field(None, description="Median of the relaxation time in the wall")
    iqr_ms: float | None = Field(None, description="Interquartile range of the relaxation time")
    segments: list[TimeSegment] = Field([], description="The same by AHA segment")


class EcvSegment(_Part):
    """The extracellular volume fraction in one AHA segment, as `TimeSegment`."""

    segment: int = Field(description="Number of the AHA segment, 1 to 17")
    name: str = Field(description="The AHA's name of the segment")
    voxels: int = Field(description="Voxels of the map in the segment")
    median_percent: float | None = Field(None, description="Median of the extracellular volume fraction")
    iqr_percent: float | None = Field(None, description="Interquartile range of the extracellular volume fraction")


class EcvMap(_Part):
    """A map of the extracellular volume fraction that a scanner made, as `TimeMap`."""

    wall_from: str | None = Field(None, description="Role of the series whose labels give the wall")
    voxels: int = Field(0, description="Voxels of the map in the wall")
    median_percent: float | None = Field(None, description="Median of the extracellular volume fraction")
    iqr_percent: float | None = Field(None, description="Interquartile range of the extracellular volume fraction")
    segments: list[EcvSegment] = Field([], description="The same by AHA segment")


class EcvFromT1Segment(_Part):
    """The extracellular volume fraction of one AHA segment, from the medians of its T1 in both maps."""

    segment: int = Field(description="Number of the AHA segment, 1 to 17")
    name: str = Field(description="The AHA's name of the segment")
    ecv_percent: float | None = Field(None, description="Extracellular volume fraction")


class EcvFromT1(_Part):
    """The extracellular volume fraction computed from a native and a post-contrast T1 map and the hematocrit.

    ECV = (1 - hematocrit) * (1/T1 post - 1/T1 native of the wall) / (the same of the LV's blood), from medians
    (Messroghli et al. 2017, doi:10.1186/s12968-017-0389-8).
    """

    ecv_percent: float | None = Field(None, description="Extracellular volume fraction of the wall seen in both maps")
    blood_native_ms: float | None = Field(None, description="Median native T1 of the LV's blood")
    blood_post_ms: float | None = Field(None, description="Median T1 of the LV's blood after contrast agent")
    segments: list[EcvFromT1Segment] = Field([], description="The same by AHA segment")


class Maps(_Part):
    """Maps that a scanner made, as far as the study has them, and the ECV computed from two of them."""

    t1: TimeMap = Field(TimeMap(), description="T1 map; nothing says whether before or after contrast agent")
    t1_native: TimeMap = Field(TimeMap(), description="T1 map before contrast agent")
    t1_post: TimeMap = Field(TimeMap(), description="T1 map after contrast agent")
    t2: TimeMap = Field(TimeMap(), description="T2 map")
    ecv: EcvMap = Field(EcvMap(), description="Map of the extracellular volume fraction that a scanner made")
    ecv_from_t1: EcvFromT1 = Field(EcvFromT1(), description="ECV computed from native and post-contrast T1 maps")
