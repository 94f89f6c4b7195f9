"""How images are cut for stages and probes: into grids of patches, or as whole maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gimstage.data.pixels import normalise
from gimstage.data.splits import ImageSplit
from gimstage.inputs.base import Source, pinned
from gimstage.inputs.draws import Places
from gimstage.inputs.handoff import HandOff
from gimstage.modality.base import StoreForm
from gimstage.modules import EncoderModule
from gimstage.recipe.chain import Chain
from gimstage.specs import ImageDataSpec
from gimstage.views import Ints, StoredMaps, StoredViews


class Pixels(Source):
    """Normalised images.

    Args:
        split: the images.
        spec: the recipe's data.toml.
    """

    def __init__(self, split: ImageSplit, spec: ImageDataSpec) -> None:
        self.split, self.spec = split, spec

    def square_buffer(self, count: int, px: int) -> Tensor:
        """Raw pixels, (count, C, px, px) of the stored dtype."""
        dtype = torch.from_numpy(np.empty(0, self.split.dtype)).dtype
        return pinned(torch.empty(count, self.split.channels, px, px, dtype=dtype))

    def normalised(self, raw: Tensor) -> Tensor:
        """Images (B, channels, px, px) float32 of raw pixels (B, C, px, px) as they are stored."""
        spec, scale = self.spec, self.split.scale
        return normalise(raw, channels=spec.channels, mean=spec.mean, std=spec.std, scale=scale)


class Views(Protocol):
    """Crops of one size, drawn or in the middle of each sample."""

    @property
    def size(self) -> int:
        """Patches or positions a side."""

    def draw(self, rng: torch.Generator, samples: Ints) -> Places:
        """A random crop of each sample."""

    def centre(self, samples: Ints) -> Places:
        """The crop in the middle of each sample, not mirrored."""


class Cuts(ABC):
    """One way to cut the images of a recipe.

    Args:
        spec: the recipe's data.toml.
        train: the split that stages are trained on.
    """

    def __init__(self, spec: ImageDataSpec, train: ImageSplit) -> None:
        self.spec, self.train = spec, train

    @property
    @abstractmethod
    def stored(self) -> StoredViews | StoredMaps:
        """What features.zarr holds of the split trained on."""

    @abstractmethod
    def store_form(self, chain: Chain, labels: int | None) -> StoreForm:
        """What features.zarr of the last stage holds; of so many labels, None for none."""

    @abstractmethod
    def views(self, chain: Chain) -> Views:
        """What training of the last stage sees."""

    @abstractmethod
    def probed(self) -> Views:
        """What probes see, of pixels."""

    @abstractmethod
    def pixels(self, split: ImageSplit) -> Pixels:
        """A source of the pixels of a split."""

    @abstractmethod
    def feature_source(self, path: Path) -> Source:
        """A source of the features in a features.zarr."""

    @abstractmethod
    def recomputed_source(self, below: Source, module: EncoderModule, handoff: HandOff) -> Source:
        """What a frozen module makes of the source below."""
