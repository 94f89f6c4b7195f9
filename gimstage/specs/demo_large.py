"""`data.toml` of large synthetic images."""

from __future__ import annotations

from typing import Annotated, Literal

from gimstage.sizes.bounds import Images, Positive, Seed
from gimstage.specs.base import TRAINING, Spec
from gimstage.specs.data import DATA_SPECS, ImageDataSpec


class LargeDemoSpec(Spec):
    """`[demo]`: how many synthetic images of each split are drawn, from which seed."""

    seed: Seed
    train: Images
    test: Images


class DemoLargeSpec(ImageDataSpec):
    """`source = "demo_large"`: large gray images with structure at several scales."""

    layout = "demo_large"
    untold = {"demo": {"seed": 0, "train": 1, "test": 1}}
    source: Literal["demo_large"]
    train_split: Literal["train", "test"]
    size_px: Positive
    channels: Literal["gray"]
    demo: Annotated[LargeDemoSpec, TRAINING]

    @property
    def image_px(self) -> int:
        """The side of every image in pixels."""
        return self.size_px

    @property
    def raw_channels(self) -> int:
        """The one channel that pixels are stored in."""
        return 1


DATA_SPECS["demo_large"] = DemoLargeSpec
