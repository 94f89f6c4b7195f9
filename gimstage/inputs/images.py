"""What a stage on images reads: pixels, stored patch grids, or grids encoded again.

Shape letters: B batch, G patches per side of a window, C channels, y x map inside a patch.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import FeatureReader
from gimstage.data.pixels import Channels, normalise
from gimstage.data.splits import NO_LABEL, ImageSplit
from gimstage.errors import NoLabelsError
from gimstage.inputs.base import (
    DataSet,
    Source,
    encoded_again,
    looked_at,
    no_labels,
    pinned,
    refuse_unknown_classes,
)
from gimstage.inputs.draws import Places, TrainingDraws
from gimstage.inputs.handoff import HandOff
from gimstage.modality.base import StoreForm
from gimstage.modality.images import grid_store
from gimstage.modules import EncoderModule
from gimstage.recipe.chain import Chain
from gimstage.specs import ImageDataSpec
from gimstage.views import Crops, Ints, LiveViews, StoredViews, Windows, cut_out, patch_grid


class PixelSource(Source):
    """Patches of normalised images.

    Args:
        split: the memory-mapped images.
        channels: "gray", "rgb", or how many; see `normalise`.
        mean: the mean of each channel, for pixels in [0, 1].
        std: the standard deviation of each channel, for the same.
        stored: the stored views, to find the pixels of a window.
    """

    def __init__(
        self,
        split: ImageSplit,
        *,
        channels: Channels,
        mean: list[float],
        std: list[float],
        stored: StoredViews,
    ) -> None:
        self.split, self.stored = split, stored
        self.channels, self.mean, self.std = channels, mean, std

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw pixels, (count, C, px, px) of the stored dtype."""
        px = self.stored.live.grid_px(size)
        dtype = torch.from_numpy(np.empty(0, self.split.dtype)).dtype
        return pinned(torch.empty(count, self.split.channels, px, px, dtype=dtype))

    def fill(self, buffer: Tensor, places: Crops | Windows) -> Tensor:
        """Copy the crops; a window is first turned into the crop it was encoded from."""
        crops = self.stored.crops(places) if isinstance(places, Windows) else places
        cut = self.split.crops(crops.sample, crops.y, crops.x, crops.flip, crops.size_px)
        # NumPy copies on this thread alone; torch would start a second team of threads for it,
        # whose waiting takes the cores from the training step.
        buffer.numpy()[: len(cut)] = cut.numpy()
        return buffer[: len(cut)]

    def prepare(self, raw: Tensor, places: Crops | Windows) -> Tensor:
        """The patch grid (B, G, G, C, P, P) of the normalised pixels, less what is cut out."""
        live, images = self.stored.live, self.normalised(raw)
        if isinstance(places, Crops) and places.cutout is not None:
            images = cut_out(images, places.cutout)
        return patch_grid(images, live.patch_px, live.stride_px)

    def normalised(self, raw: Tensor) -> Tensor:
        """Images (B, channels, px, px) float32 of raw pixels (B, C, px, px) as they are stored."""
        scale = self.split.scale
        return normalise(raw, channels=self.channels, mean=self.mean, std=self.std, scale=scale)


class GridSource(Source):
    """Windows of the stage before's features.zarr."""

    def __init__(self, path: Path) -> None:
        self.reader = FeatureReader(path)
        self.layout = self.reader.array("features")

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw features, (count, 1, size, size, C, y, x) of the stored dtype, one view each."""
        shape = (count, 1, 1, size, size, *self.layout.shape[4:])
        return pinned(torch.empty(shape, dtype=self.layout.torch_dtype))

    def fill(self, buffer: Tensor, places: Windows) -> Tensor:
        """Read exactly the windows' bytes."""
        filled = buffer[: len(places)]
        self.reader.read("features", filled, places.starts)
        return filled

    def prepare(self, raw: Tensor, places: Windows) -> Tensor:
        """The features (B, G, G, C, y, x) as float32."""
        return self.reader.decode("features", raw.flatten(0, 2))


class RecomputedGrids(Source):
    """The stage before, run again on its own source, rounded as its features would have been."""

    recomputes = True

    def __init__(self, source: Source, module: EncoderModule, handoff: HandOff) -> None:
        self.source, self.module, self.handoff = source, module.eval(), handoff

    def buffer(self, count: int, size: int) -> Tensor:
        """A buffer of the source below, which is what is read."""
        return self.source.buffer(count, size)

    def fill(self, buffer: Tensor, places: Windows) -> Tensor:
        """Read what the source below reads."""
        return self.source.fill(buffer, places)

    def prepare(self, raw: Tensor, places: Windows) -> Tensor:
        """The frozen module's output, through ReLU and rounding where the recipe says so."""
        return encoded_again(self.module, self.source.prepare(raw, places), self.handoff)


class Images(DataSet):
    """The image data of a recipe, whatever its source."""

    spec: ImageDataSpec

    @abstractmethod
    def split(self, name: str) -> ImageSplit:
        """A split of the data set; of what is not made, its counts and labels.

        Raises:
            DataError: there is no such split, or it cannot be read.
        """

    @cached_property
    def train(self) -> ImageSplit:
        """The split that stages are trained on."""
        return self.split(self.spec.train_split)

    @property
    def num_samples(self) -> int:
        """Images of the split trained on."""
        return len(self.train)

    @property
    def labels(self) -> Ints | None:
        """Their labels, (N,), where the split has any."""
        name = self.spec.label_column
        if name is None or name not in self.train.columns:
            return None
        return self.train.column(name).values

    @cached_property
    def _required_labels(self) -> Ints:
        """The labels that losses need; raises as `Split.column`."""
        if self.spec.label_column is None:
            found = "missing, and a loss of the recipe needs labels"
            cure = "name a column of labels, or choose a loss that needs none"
            raise NoLabelsError("data.toml label", found, cure=cure)
        return self.train.column(self.spec.label_column).values

    @cached_property
    def stored(self) -> StoredViews:
        """The stored views of the split trained on."""
        return self.spec.cached_views(len(self.train))

    def store_form(self, chain: Chain) -> StoreForm:
        """Patch grids of the stored views."""
        labels = None if self.labels is None else len(self.labels)
        return grid_store(self.stored, chain.shapes()[-1], chain.last.spec.output, labels=labels)

    def notes(self) -> list[str]:
        """Whether the pictures show anything; see `DataSet`."""
        chosen = looked_at(len(self.train))
        blank = sum(map(self.train.blank, chosen))
        what = f"{blank} of {len(chosen)} images looked at are of one colour"
        return [f"split '{self.train.name}': {what}"] * (blank > 0)

    def live(self) -> LiveViews:
        """The fresh crops that stage 1 is trained on."""
        return self.spec.live_views()

    def usable(self, chain: Chain) -> Ints:
        """Every image, or those that have a label where one is needed."""
        if not chain.label_kinds:
            return np.arange(self.num_samples, dtype=np.int64)
        labels = self._required_labels
        labelled = np.flatnonzero(labels != NO_LABEL)
        where = f"{self.root}, split '{self.train.name}'"
        refuse_unknown_classes(labels[labelled], chain, where)
        return labelled

    def draws(self, chain: Chain) -> TrainingDraws:
        """Fresh crops for a first stage, windows of stored views for the others."""
        train, live = chain.last.spec.train, self.live()
        views = self.stored if chain.upstream else live
        return TrainingDraws(
            samples=self.samples(chain).trained,
            batch_size=train.batch_size,
            seed=train.seed,
            size=live.crop_patches,
            draw=views.draw,
            labels=self._labels if chain.label_kinds else no_labels,
            held_out=[views.centre(batch) for batch in self.held_out_batches(chain)],
        )

    def _labels(self, places: Places) -> Tensor:
        assert isinstance(places, Crops | Windows)
        return torch.from_numpy(self._required_labels[places.sample])

    def source(self) -> PixelSource:
        """The pixels of the split trained on."""
        return self.pixels(self.train)

    def pixels(self, split: ImageSplit) -> PixelSource:
        """A source of the pixels of a split."""
        spec = self.spec
        return PixelSource(
            split,
            channels=spec.channels,
            mean=spec.mean,
            std=spec.std,
            stored=self.spec.cached_views(len(split)),
        )

    def feature_source(self, path: Path) -> GridSource:
        """A source of the patch grids in a features.zarr."""
        return GridSource(path)

    def recomputed_source(
        self, below: Source, module: EncoderModule, handoff: HandOff
    ) -> RecomputedGrids:
        """What a frozen module makes of the source below."""
        return RecomputedGrids(below, module, handoff)
