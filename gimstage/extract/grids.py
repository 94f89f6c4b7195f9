"""Stored patch grids of images: whole samples, all of their patches encoded alone.

Shape letters: V stored views, G patches per side of the stored grid, C channels, y x map inside a
patch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gimstage.device import to_fastest_layout
from gimstage.extract.base import READ_AHEAD, Block, Extraction, spread
from gimstage.inputs import Source, prefetched, to_device
from gimstage.modules import EncoderModule
from gimstage.recipe.chain import Chain
from gimstage.stack import TILE_UNITS
from gimstage.views import StoredViews, Windows

# What the ranges of channels and the loss of an encoding are measured on: 96 times 2 × 2 patches.
MEASURED_SAMPLES, MEASURED_PATCHES = 96, 2
TILE_PATCHES = TILE_UNITS["patch"]


class GridExtraction(Extraction):
    """Features (sample, view, row, column, channel, y, x) of one stage.

    Args:
        chain: the stage, last of its chain.
        module: its frozen module.
        source: what the stage reads.
        stored: the views to store.
        device: where to compute.
        workers: reading threads.
    """

    unit = "samples"

    def __init__(
        self,
        chain: Chain,
        module: EncoderModule,
        *,
        source: Source,
        stored: StoredViews,
        device: torch.device,
        workers: int,
    ) -> None:
        super().__init__(chain, module, channel_axis=-3, device=device, workers=workers)
        self.module, self.source, self.stored = module, source, stored
        # Tiles of whole samples, so that a message can name the sample; batches of two tiles.
        self.tile_samples = max(1, TILE_PATCHES // (stored.count * stored.patches**2))
        self.batch_samples = 2 * self.tile_samples

    def sample(self) -> Tensor:
        """Features (n, G, G, C, y, x) of a few patches of samples all over the split."""
        samples = spread(self.stored.num_samples, MEASURED_SAMPLES)
        side = min(MEASURED_PATCHES, self.stored.patches)
        corner = samples % (self.stored.patches - side + 1)
        windows = Windows(samples, np.zeros_like(samples), corner, corner, side)
        tiles = self._forward(*next(self._read([windows])), TILE_PATCHES // side**2)
        return torch.cat([features.cpu() for features, _ in tiles])

    def places(self) -> dict[str, NDArray[Any]]:
        """The image of every sample, origin and flip of every view."""
        origins = self.stored.origins
        return {
            "source_sample": np.arange(self.stored.num_samples, dtype=np.int64),
            "origin_y": origins[..., 0],
            "origin_x": origins[..., 1],
            "flip": origins[..., 2].astype(bool),
        }

    def blocks(self, rows: range) -> Iterator[Block]:
        """Encoded features and codes, (n, V, G, G, …), of consecutive samples."""
        cuts = range(rows.start, rows.stop, self.batch_samples)
        batches = [
            np.arange(cut, min(cut + self.batch_samples, rows.stop), dtype=np.int64) for cut in cuts
        ]
        reading = self._read([self.stored.whole(batch) for batch in batches])
        for turn, (first_row, (raw, windows)) in enumerate(zip(cuts, reading, strict=True)):
            done = 0
            for features, codes in self._forward(
                raw, windows, self.tile_samples * self.stored.count
            ):
                features = features.unflatten(0, (-1, self.stored.count))
                block = self._filled(turn, features, codes)
                tile = slice(done, done + len(features))
                self._encode(block, tile, features, first_row=first_row + done)
                if codes is not None:
                    block["codes"][tile].copy_(codes.unflatten(0, (-1, self.stored.count)))
                done = tile.stop
            yield {name: values[:done] for name, values in block.items()}

    def _filled(self, turn: int, features: Tensor, codes: Tensor | None) -> Block:
        def make(dtype: torch.dtype) -> Block:
            shape = (self.batch_samples, *features.shape[1:])
            block = {"features": torch.empty(shape, dtype=dtype)}
            if codes is not None:
                block["codes"] = torch.empty(shape[:4] + codes.shape[-1:])
            return block

        return self._block(turn, make)

    def _read(self, windows: Sequence[Windows]) -> Iterator[tuple[Tensor, Any]]:
        most, size = max(map(len, windows)), windows[0].size
        buffers = [self.source.buffer(most, size) for _ in range(min(len(windows), READ_AHEAD + 1))]
        yield from prefetched(self.source, windows, buffers=buffers, workers=self.workers)

    @torch.no_grad()
    def _forward(
        self, raw: Tensor, windows: Windows, tile: int
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What is handed on, (n, G, G, C, y, x) float32, and codes (n, G, G, C), tile by tile."""
        for views in self.source.prepare(to_device(raw, self.device), windows).split(tile):
            features = self.module(to_fastest_layout(views))
            codes = self.module.pool(features).float() if self.output.codes else None
            yield self.handoff.apply(features), codes
