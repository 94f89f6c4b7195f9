"""`data.toml` of images in an array of somebody's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from gimstage.data.image_arrays import AXES
from gimstage.specs.base import FINDING
from gimstage.specs.data import DATA_SPECS
from gimstage.specs.own_images import SquaresSpec

Name = Annotated[str, Field(min_length=1, max_length=1_000)]


class ImageArraySpec(SquaresSpec):
    """`source = "image_array"`: images in a Zarr array, npy or npz, as squares of `size_px`.

    `array` is its place below `--data`, "." for that itself; `axes` names its axes in order:
    "channel", "y" and "x" are those of an image, all others are samples. Images larger than
    `size_px` are cut into squares, and nothing is resized. `mean` and `std` are on the scale 0 to 1
    for unsigned bytes and 16 bits, else on that of the array. `table` tells labels and splits, a
    line an image, as do arrays beside this one; `label` names the one that supervised losses learn.
    """

    layout = "image_array"
    source: Literal["image_array"]
    array: Name
    axes: Annotated[str, Field(max_length=1_000)]
    table: Annotated[Name | None, FINDING] = None
    label: Name | None = None

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, axes: str) -> str:
        names = axes.split()
        if {"y", "x"} - {*names} or len({*names}) < len(names):
            raise ValueError(f"{', '.join(AXES)} and axes of samples, each once, y and x at least")
        return axes

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes of the array, in its order."""
        return tuple(self.axes.split())


DATA_SPECS["image_array"] = ImageArraySpec
