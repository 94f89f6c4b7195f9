"""`data.toml` of sequences in an array of somebody's own, and of synthetic ones."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from gimstage.data.series import AXES
from gimstage.sizes.bounds import Level, Positive, Spread
from gimstage.specs.base import FINDING
from gimstage.specs.data import DATA_SPECS, SequenceDataSpec

Name = Annotated[str, Field(min_length=1, max_length=1_000)]


class SeriesDataSpec(SequenceDataSpec):
    """`source = "array"`: sequences in a Zarr array, npy or npz, cut from in place.

    `array` is its place below `--data`, "." for that itself; `axes` names its axes in order, of
    "sample", "time" and "channel". `offsets` is the place of an array with the first row of every
    sequence where sequences of any lengths lie end to end; `entry_frames` cuts long ones into
    pieces. A frame, in which crops are counted, is `frame_rows` rows. `rate_hz` is for axes of
    figures. `mean` and `std` are one number a channel.
    """

    layout = "array"
    frame_name: ClassVar[str] = "frame"
    frame_text: ClassVar[str] = "a frame"
    is_sound: ClassVar[bool] = False
    row_name: ClassVar[str] = "rows"
    sample_bytes: ClassVar[int] = 4
    source: Literal["array"]
    train_split: str
    array: Name
    axes: str
    offsets: Name | None = None
    entry_frames: Positive | None = None
    frame_rows: Positive
    rate_hz: Annotated[float, Field(gt=0)] | None = None
    mean: Annotated[list[Level], Field(min_length=1)]
    std: Annotated[list[Spread], Field(min_length=1)]
    table: Annotated[Name | None, FINDING] = None
    label: Annotated[Name | None, FINDING] = None

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, axes: str) -> str:
        names = axes.split()
        if "time" not in names or len({*names}) < len(names) or {*names} - {*AXES}:
            raise ValueError(f"{', '.join(AXES)}, each once at most, in the order of the array")
        return axes

    @model_validator(mode="after")
    def _fits(self) -> SeriesDataSpec:
        if len(self.mean) != len(self.std):
            found = f"mean has {len(self.mean)} numbers, std {len(self.std)}"
            raise ValueError(f"{found}; expected one of each a channel")
        if "sample" in self.names and self.offsets:
            raise ValueError('offsets with an axis "sample"; expected one of the two')
        if not ("sample" in self.names or self.offsets or self.entry_frames):
            found = "one long recording without entry_frames"
            raise ValueError(f"{found}; expected the frames of the pieces it is cut into")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes of the array, in its order."""
        return tuple(self.axes.split())

    @property
    def in_channels(self) -> int:
        """Channels of every row, C."""
        return len(self.mean)


DATA_SPECS["array"] = SeriesDataSpec
