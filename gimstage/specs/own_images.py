"""`data.toml` of somebody's own image files."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le

from gimstage.sizes.bounds import Positive
from gimstage.specs.base import FINDING
from gimstage.specs.data import CHANNELS, DATA_SPECS, ChannelNames, ImageDataSpec


class SquaresSpec(ImageDataSpec):
    """Images of somebody's own as squares of `size_px`; `label` names what losses learn."""

    size_px: Positive
    label: str | None = None

    @property
    def image_px(self) -> int:
        """The side of every square in pixels."""
        return self.size_px

    @property
    def raw_channels(self) -> int:
        """The channels that squares are stored in, which are those of the input."""
        return CHANNELS.get(self.channels, self.in_channels)

    @property
    def label_column(self) -> str | None:
        """Which label supervised losses learn, and features.zarr keeps; None for none."""
        return self.label


class OwnImagesSpec(SquaresSpec):
    """`source = "images"`: image files of any kind and size, decoded once to squares.

    `fit = "crop"` resizes the shorter side to `size_px` and cuts the centre; `"tile"` cuts large
    images into squares of `size_px` and resizes nothing. `channels` are "gray", "rgb", or a number:
    2 and 4 keep the alpha channel. `table` tells labels and splits, see data/listing.py; `label`
    names the one that supervised losses learn.
    """

    layout = "images"
    source: Literal["images"]
    fit: Literal["crop", "tile"]
    channels: ChannelNames | Annotated[int, Ge(1), Le(4)]
    on_bad: Annotated[Literal["refuse", "skip"], FINDING] = "refuse"
    table: Annotated[str | None, FINDING] = None
    label: Annotated[str | None, FINDING] = None


DATA_SPECS["images"] = OwnImagesSpec
