"""What a stage on patches of images reads: pixels, stored patch grids, or grids encoded again.

Shape letters: B batch, G patches per side of a window, C channels, y x map inside a patch.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from gimstage.cache import FeatureReader
from gimstage.data.splits import ImageSplit
from gimstage.inputs.base import Source, encoded_again, pinned
from gimstage.inputs.cuts import Cuts, Pixels
from gimstage.inputs.handoff import HandOff
from gimstage.modality.base import StoreForm
from gimstage.modality.images import grid_store
from gimstage.modules import EncoderModule
from gimstage.recipe.chain import Chain
from gimstage.specs import ImageDataSpec
from gimstage.views import Crops, LiveViews, StoredViews, Windows, cut_out, patch_grid


class PixelSource(Pixels):
    """Patches of normalised images.

    Args:
        split: the images.
        spec: the recipe's data.toml.
    """

    def __init__(self, split: ImageSplit, spec: ImageDataSpec) -> None:
        super().__init__(split, spec)
        self.stored = spec.cached_views(len(split))  # to find the pixels of a window

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw pixels, (count, C, px, px) of the stored dtype."""
        return self.square_buffer(count, self.stored.live.grid_px(size))

    def fill(self, buffer: Tensor, places: Crops | Windows) -> Tensor:
        """Copy the crops; a window is first turned into the crop it was encoded from."""
        crops = self.stored.crops(places) if isinstance(places, Windows) else places
        filled = buffer[: len(crops)]
        # NumPy copies on this thread alone; torch would start a second team of threads for it,
        # whose waiting takes the cores from the training step.
        self.split.cut(filled.numpy(), crops.sample, crops.y, crops.x, crops.flip)
        return filled

    def prepare(self, raw: Tensor, places: Crops | Windows) -> Tensor:
        """The patch grid (B, G, G, C, P, P) of the normalised pixels, less what is cut out."""
        live, images = self.stored.live, self.normalised(raw)
        if isinstance(places, Crops) and places.cutout is not None:
            images = cut_out(images, places.cutout)
        return patch_grid(images, live.patch_px, live.stride_px)


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


class PatchCuts(Cuts):
    """Images as grids of patches."""

    @cached_property
    def stored(self) -> StoredViews:
        """The stored views of every image."""
        return self.spec.cached_views(len(self.train))

    def store_form(self, chain: Chain, labels: int | None) -> StoreForm:
        """Patch grids of the stored views."""
        return grid_store(self.stored, chain.shapes()[-1], chain.last.spec.output, labels=labels)

    def views(self, chain: Chain) -> LiveViews | StoredViews:
        """Fresh crops for a first stage, windows of stored views for the others."""
        return self.stored if chain.upstream else self.spec.live_views()

    def probed(self) -> LiveViews:
        """Crops whole and uncut, whatever training does with them."""
        return self.spec.live_views().uncut()

    def pixels(self, split: ImageSplit) -> PixelSource:
        """A source of the pixels of a split."""
        return PixelSource(split, self.spec)

    def feature_source(self, path: Path) -> GridSource:
        """A source of the patch grids in a features.zarr."""
        return GridSource(path)

    def recomputed_source(
        self, below: Source, module: EncoderModule, handoff: HandOff
    ) -> RecomputedGrids:
        """What a frozen module makes of the source below."""
        return RecomputedGrids(below, module, handoff)
