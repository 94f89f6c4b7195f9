"""What a stage on whole maps reads: pixels, stored maps, or maps computed again.

A source gives squares of positions (views/maps.py); where a square reaches beyond its map it gives
zeros, which is what padding puts there. So encoding a square together with its reach gives,
position for position, what encoding the whole image gives.

Shape letters: B batch, n positions per side of a square, C channels.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import FeatureReader
from gimstage.data.splits import ImageSplit
from gimstage.inputs.base import Source, encoded_again, pinned
from gimstage.inputs.cuts import Cuts, Pixels
from gimstage.inputs.handoff import HandOff
from gimstage.modality.base import StoreForm
from gimstage.modality.maps import map_modules, map_side, map_store
from gimstage.modules import EncoderModule, MapModule
from gimstage.recipe.chain import Chain
from gimstage.views import MapViews, Squares, StoredMaps


class MapSource(Source):
    """Squares of maps.

    Attributes:
        side: positions per side of every map.
    """

    gives = "map"
    side: int


class PixelMaps(Pixels, MapSource):
    """Normalised images, whose positions are their pixels."""

    @property
    def side(self) -> int:  # type: ignore[override]  # told, not kept
        """Pixels per side of every image."""
        return self.spec.image_px

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw pixels, (count, C, size, size) of the stored dtype."""
        return self.square_buffer(count, size)

    def fill(self, buffer: Tensor, places: Squares) -> Tensor:
        """Copy the pixels; what lies outside an image is left as it comes."""
        filled = buffer[: len(places), :, : places.size, : places.size]
        size = min(places.size, self.side)
        y, x = places.y.clip(0, self.side - size), places.x.clip(0, self.side - size)
        mirrored = places.view == 1
        left = np.where(mirrored, self.side - size - x, x)
        cut = self.split.crops(places.sample, y, left, mirrored, size).numpy()
        for out, pixels, down, right in zip(
            filled.numpy(), cut, y - places.y, x - places.x, strict=True
        ):
            rows, columns = (_shared(int(at), size, places.size) for at in (down, right))
            out[:, rows[0], columns[0]] = pixels[:, rows[1], columns[1]]
        return filled

    def prepare(self, raw: Tensor, places: Squares) -> Tensor:
        """The normalised pixels (B, n, n, C), zeros outside their images."""
        return places.zero_outside(self.normalised(raw).permute(0, 2, 3, 1), self.side)


class FeatureMaps(MapSource):
    """Squares of the stage before's features.zarr."""

    def __init__(self, path: Path) -> None:
        self.reader = FeatureReader(path)
        self.layout = self.reader.array("features")
        self.side = self.layout.shape[2]

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw features, (count, 1, 1, size, size, C) of the stored dtype, one view each."""
        shape = (count, 1, 1, size, size, self.layout.shape[4])
        return pinned(torch.empty(shape, dtype=self.layout.torch_dtype))

    def fill(self, buffer: Tensor, places: Squares) -> Tensor:
        """Read exactly the squares' bytes; what lies outside a map is left as it comes."""
        shape = (len(places), 1, 1, places.size, places.size, buffer.shape[-1])
        filled = buffer.view(-1)[: np.prod(shape)].view(shape)
        if not places.overhang(self.side):
            self.reader.read("features", filled, places.starts)
            return filled
        for out, (sample, view, y, x) in zip(filled[:, 0, 0], places.starts, strict=True):
            rows, columns = (_shared(-int(at), self.side, places.size) for at in (y, x))
            part = out[rows[0], columns[0]]
            read = part.new_empty(1, 1, 1, *part.shape)
            start = np.array([[sample, view, rows[1].start, columns[1].start]])
            if part.numel():
                self.reader.read("features", read, start)
            part.copy_(read[0, 0, 0])
        return filled

    def prepare(self, raw: Tensor, places: Squares) -> Tensor:
        """The features (B, n, n, C) as float32, zeros outside their maps."""
        maps = self.reader.decode("features", raw.flatten(0, 2))
        return places.zero_outside(maps, self.side)


class RecomputedMaps(MapSource):
    """The stage before, run again on its own source, rounded as its features would have been.

    Args:
        source: what the module reads.
        module: frozen, on its device.
        handoff: how it would have stored its maps.
    """

    recomputes = True

    def __init__(self, source: MapSource, module: MapModule, handoff: HandOff) -> None:
        self.source, self.module, self.handoff = source, module.eval(), handoff
        self.side = module.side(source.side)

    def buffer(self, count: int, size: int) -> Tensor:
        """A buffer of the source below, which is what is read."""
        return self.source.buffer(count, self.module.reach(size).size)

    def fill(self, buffer: Tensor, places: Squares) -> Tensor:
        """Read what these positions depend on."""
        return self.source.fill(buffer, reach(self.module, places))

    def prepare(self, raw: Tensor, places: Squares) -> Tensor:
        """The frozen module's positions, rounded, zeros outside their maps."""
        x = self.source.prepare(raw, reach(self.module, places))
        return places.zero_outside(encoded_again(self.module, x, self.handoff), self.side)


def reach(module: MapModule, places: Squares) -> Squares:
    """The squares of a module's input that decide these squares of its output."""
    y, x, size = module.reach(places.size)
    stride = module.stride
    return Squares(places.sample, places.view, places.y * stride + y, places.x * stride + x, size)


def _shared(offset: int, count: int, room: int) -> tuple[slice, slice]:
    """Where `count` positions, laid from `offset` on, meet `room` positions from 0 on.

    Returns:
        The stretch of the room, and that of what is laid; both empty where they do not meet.
    """
    first = min(max(offset, 0), room)
    last = max(first, min(offset + count, room))
    return slice(first, last), slice(first - offset, last - offset)


class MapCuts(Cuts):
    """Images as whole maps, cut into squares."""

    @cached_property
    def stored(self) -> StoredMaps:
        """Whole maps of every image and, with `flip`, of its mirror image."""
        return StoredMaps(num_samples=len(self.train), views=1 + self.spec.views.flip)

    def store_form(self, chain: Chain, labels: int | None) -> StoreForm:
        """Maps of the stored views, in square chunks."""
        output = chain.last.spec.output
        return map_store(self.stored, self.spec, chain.modules(), output, labels=labels)

    def views(self, chain: Chain) -> MapViews:
        """Squares of what the last stage reads, as large as its [views] say."""
        side = map_side(self.spec.image_px, chain.modules()[:-1])
        return MapViews(side=side, size=chain.shapes()[-2][0], flip=self.spec.views.flip)

    def probed(self) -> MapViews:
        """Squares of pixels, as large as the crops of data.toml."""
        views = self.spec.views
        return MapViews(side=self.spec.image_px, size=views.crop_px, flip=views.flip)

    def pixels(self, split: ImageSplit) -> PixelMaps:
        """A source of the pixels of a split."""
        return PixelMaps(split, self.spec)

    def feature_source(self, path: Path) -> FeatureMaps:
        """A source of the maps in a features.zarr."""
        return FeatureMaps(path)

    def recomputed_source(
        self, below: Source, module: EncoderModule, handoff: HandOff
    ) -> RecomputedMaps:
        """What a frozen module makes of the source below."""
        assert isinstance(below, MapSource)
        (known,) = map_modules([module])
        return RecomputedMaps(below, known, handoff)
