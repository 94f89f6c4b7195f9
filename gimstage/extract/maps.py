"""Stored maps of images, in square tiles, so that the size of an image costs no memory.

A tile is a chunk of features.zarr and is computed from its reach alone, zeros standing for what
lies outside the image, so an image of any size gives the map it would give in one piece.

Shape letters: t positions per side of a tile, C channels.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gimstage.extract.base import READ_AHEAD, Block, Extraction, spread
from gimstage.inputs import prefetched, to_device
from gimstage.inputs.maps import MapSource, reach
from gimstage.modality.maps import chunk_side
from gimstage.modules import MapModule
from gimstage.recipe.chain import Chain
from gimstage.views import Squares, StoredMaps

TILES = 2  # encoded at once
# What the ranges of channels and the loss of an encoding are measured on.
MEASURED_PLACES, MEASURED_SIDE = 96, 8


class MapExtraction(Extraction):
    """Features (sample, view, y, x, channel) of one stage.

    Args:
        chain: the stage, last of its chain.
        module: its frozen module.
        source: what the stage reads.
        stored: the maps to store.
        device: where to compute.
        workers: reading threads.
    """

    unit, by_chunk = "tiles", True

    def __init__(
        self,
        chain: Chain,
        module: MapModule,
        *,
        source: MapSource,
        stored: StoredMaps,
        device: torch.device,
        workers: int,
    ) -> None:
        super().__init__(chain, module, channel_axis=-1, device=device, workers=workers)
        self.module, self.source, self.stored = module, source, stored
        self.side = module.side(source.side)
        self.tile = chunk_side(self.side)

    def sample(self) -> Tensor:
        """Features (n, C) of places all over the samples."""
        side = min(MEASURED_SIDE, self.side)
        places = spread(self.stored.num_samples, MEASURED_PLACES)
        turns = np.arange(len(places))
        # Steps of irrational ratios spread places evenly, however many there are.
        y, x = (
            ((self.side - side) * (turns * ratio % 1)).astype(np.int64)
            for ratio in (0.618034, 0.414214)
        )
        squares = Squares(places, turns % self.stored.views, y, x, side)
        singly = [squares.entries(at, at + 1) for at in range(len(places))]
        return torch.cat([made.flatten(0, 2).cpu() for _, made in self._encoded(singly)])

    def places(self) -> dict[str, NDArray[Any]]:
        """The image of every sample, and which of the views are mirror images."""
        return {
            "source_sample": np.arange(self.stored.num_samples, dtype=np.int64),
            "flip": np.arange(self.stored.views) == 1,
        }

    def blocks(self, rows: range) -> Iterator[Block]:
        """Encoded features (n, 1, 1, t, t, C) of consecutive chunks."""
        corners = range(0, self.side, self.tile)
        tiles = iter(product(rows, range(self.stored.views), corners, corners))
        batches = [_squares(part, self.tile) for part in iter(lambda: [*islice(tiles, TILES)], [])]
        for turn, (places, features) in enumerate(self._encoded(batches)):
            block = self._block(turn, self._make)
            count = len(features)
            out = block["features"][:count, 0, 0]
            self._encode(
                {"features": out}, slice(0, count), features, first_row=int(places.sample[0])
            )
            yield {"features": block["features"][:count]}

    def _make(self, dtype: torch.dtype) -> Block:
        shape = (TILES, 1, 1, self.tile, self.tile, self.module.out_channels)
        return {"features": torch.empty(shape, dtype=dtype)}

    @torch.no_grad()
    def _encoded(self, squares: Sequence[Squares]) -> Iterator[tuple[Squares, Tensor]]:
        """Every batch of squares and its features (n, t, t, C) on the device, as handed on."""
        reaches = [reach(self.module, each) for each in squares]
        most, size = max(map(len, squares)), reaches[0].size
        buffers = [self.source.buffer(most, size) for _ in range(min(len(squares), READ_AHEAD + 1))]
        reading = prefetched(self.source, reaches, buffers=buffers, workers=self.workers)
        for each, (raw, places) in zip(squares, reading, strict=True):
            x = self.source.prepare(to_device(raw, self.device), places).contiguous()
            yield each, self.handoff.apply(self.module.unpadded(x))


def _squares(corners: Sequence[tuple[int, int, int, int]], size: int) -> Squares:
    sample, view, y, x = np.array(corners, np.int64).T
    return Squares(sample, view, y, x, size)
