"""`data.toml` of sequences in an array of somebody's own, and of synthetic ones."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from gimstage.data.demo_series import RATE_HZ, SIGNALS
from gimstage.data.series import AXES, SeriesFiles
from gimstage.sizes.bounds import MOST_UTTERANCES, Level, Positive, Seed, Spread, Voices
from gimstage.specs.base import FINDING, TRAINING, Spec
from gimstage.specs.data import DATA_SPECS, SequenceDataSpec

Name = Annotated[str, Field(min_length=1, max_length=1_000)]


class SeriesSpec(SequenceDataSpec):
    """Sequences of any channels, whichever array they lie in.

    A frame, in which crops are counted, is `frame_rows` rows. `rate_hz` is for axes of figures.
    `mean` and `std` are one number a channel.
    """

    layout = "array"
    frame_name: ClassVar[str] = "frame"
    frame_text: ClassVar[str] = "a frame"
    is_sound: ClassVar[bool] = False
    row_name: ClassVar[str] = "rows"
    sample_bytes: ClassVar[int] = 4
    frame_rows: Positive
    mean: Annotated[list[Level], Field(min_length=1)]
    std: Annotated[list[Spread], Field(min_length=1)]
    label: Annotated[Name | None, FINDING] = None

    @model_validator(mode="after")
    def _as_many_stds_as_means(self) -> SeriesSpec:
        if len(self.mean) != len(self.std):
            found = f"mean has {len(self.mean)} numbers, std {len(self.std)}"
            raise ValueError(f"{found}; expected one of each a channel")
        return self

    @property
    def in_channels(self) -> int:
        """Channels of every row, C."""
        return len(self.mean)

    @abstractmethod
    def files(self, root: Path) -> SeriesFiles:
        """Where the array lies in what `--data` names, and how it is read."""


class SeriesDataSpec(SeriesSpec):
    """`source = "array"`: sequences in a Zarr array, npy or npz, cut from in place.

    `array` is its place below `--data`, "." for that itself; `axes` names its axes in order, of
    "sample", "time" and "channel". `offsets` is the place of an array with the first row of every
    sequence where sequences of any lengths lie end to end; `entry_frames` cuts long ones into
    pieces. `table` is the path of a table of labels, a line a sequence.
    """

    source: Literal["array"]
    train_split: str
    array: Name
    axes: str
    offsets: Name | None = None
    entry_frames: Positive | None = None
    rate_hz: Annotated[float, Field(gt=0, le=1e9)] | None = None
    table: Annotated[Name | None, FINDING] = None

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, axes: str) -> str:
        names = axes.split()
        if "time" not in names or len({*names}) < len(names) or {*names} - {*AXES}:
            raise ValueError(f"{', '.join(AXES)}, each once at most, in the order of the array")
        return axes

    @model_validator(mode="after")
    def _fits(self) -> SeriesDataSpec:
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

    def files(self, root: Path) -> SeriesFiles:
        """Where the array lies in what `--data` names, and how it is read."""
        return SeriesFiles(
            root=root,
            array=self.array,
            axes=self.names,
            offsets=self.offsets,
            entry_rows=self.entry_frames and self.entry_frames * self.frame_rows,
            frame_rows=self.frame_rows,
            table=self.table,
        )


class SeriesDemoSpec(Spec):
    """`[demo]`: how many synthetic subjects and recordings of each are written, from which seed."""

    seed: Seed
    subjects: Voices
    train: Voices
    test: Voices

    @model_validator(mode="after")
    def _not_too_many(self) -> SeriesDemoSpec:
        recordings = self.subjects * (self.train + self.test)
        if recordings > MOST_UTTERANCES:
            raise ValueError(f"{recordings:,} recordings; expected at most {MOST_UTTERANCES:,}")
        return self


class DemoSeriesSpec(SeriesSpec):
    """`source = "demo_series"`: synthetic signals of eight channels, see data/demo_series.py."""

    layout = "demo_series"
    untold = {"demo": {"seed": 0, "subjects": 1, "train": 1, "test": 1}}
    source: Literal["demo_series"]
    train_split: Literal["train", "test"]
    demo: Annotated[SeriesDemoSpec, TRAINING]
    rate_hz: ClassVar[float] = RATE_HZ

    def files(self, root: Path) -> SeriesFiles:
        """Where the demo writes its signals, and how they are read."""
        return SeriesFiles(root, SIGNALS, AXES, frame_rows=self.frame_rows)


DATA_SPECS["array"] = SeriesDataSpec
DATA_SPECS["demo_series"] = DemoSeriesSpec
