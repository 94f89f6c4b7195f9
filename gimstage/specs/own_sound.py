"""`data.toml` of somebody's own files of sound."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import field_validator

from gimstage.data.ownsound import FRAMES_PER_S
from gimstage.sizes.bounds import Level, Positive, Rate, Spread
from gimstage.specs.base import FINDING
from gimstage.specs.data import DATA_SPECS, SequenceDataSpec


class SoundDataSpec(SequenceDataSpec):
    """`source = "sound"`: files of any kind, rate and length, decoded once at one rate.

    A frame is 10 ms. `channels = 1` mixes all channels of a file down to one; with another number
    every file must have as many. `table` and `pattern` tell labels and splits, see data/listing.py;
    `label` names the one that supervised losses learn.
    """

    layout = "sound"
    data_name: ClassVar[str] = "sound"
    source: Literal["sound"]
    train_split: str
    rate_hz: Rate
    channels: Positive
    mean: Level
    std: Spread
    on_bad: Annotated[Literal["refuse", "skip"], FINDING] = "refuse"
    table: Annotated[str | None, FINDING] = None
    pattern: Annotated[str | None, FINDING] = None
    label: Annotated[str | None, FINDING] = None

    @field_validator("rate_hz")
    @classmethod
    def _whole_frames(cls, rate_hz: int) -> int:
        if rate_hz % FRAMES_PER_S:
            near = max(1, round(rate_hz / FRAMES_PER_S)) * FRAMES_PER_S
            raise ValueError(f"a multiple of {FRAMES_PER_S}, as a frame is 10 ms; such as {near}")
        return rate_hz

    @property
    def frame_rows(self) -> int:
        """Samples in a frame of 10 ms."""
        return self.rate_hz // FRAMES_PER_S

    @property
    def in_channels(self) -> int:
        """Channels of every sample, C."""
        return self.channels


DATA_SPECS["sound"] = SoundDataSpec
