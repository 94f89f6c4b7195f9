"""Stored rows of sequences, laid end to end: encoded in tiles, so length costs no memory.

Tiles are cut from the beginning of each entry, and each is computed from its reach alone (a
recurrent module also from its state at the tile before), so a recording of hours gives the rows it
would give in one piece. A shard that begins inside a tile computes the whole tile and drops what
belongs to the shard before; a recurrent module goes on from its state before that tile, or, where
the shard before was not computed just now, from the beginning of the entry.

Shape letters: E entries, T rows in time, C channels.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gimstage.extract.base import READ_AHEAD, Block, Extraction, spread
from gimstage.inputs import SequenceSource, prefetched, to_device
from gimstage.inputs.rows import reach
from gimstage.modality import rows_per_frame, samples_per_row
from gimstage.modules import SequenceModule
from gimstage.recipe.chain import Chain
from gimstage.views import Spans, StoredSpans

# Rows of raw data, in whole frames: 4 s of speech; the first module's output of such a tile takes
# 26 MB at full width.
TILE_ROWS = 64_000
# What the ranges of channels and the loss of an encoding are measured on: 0.32 s of 96 entries,
# early in some and late in others, for speech begins and ends in silence; of a recurrent module,
# which must begin at the beginning, within the first tile.
MEASURED_ENTRIES, MEASURED_ROWS = 96, 5_120


class SequenceExtraction(Extraction):
    """Features (frame, channel) of one stage.

    Args:
        chain: the stage, last of its chain.
        module: its frozen module.
        source: what the stage reads.
        stored: the entries to store.
        device: where to compute.
        workers: reading threads.
    """

    unit = "rows"

    def __init__(
        self,
        chain: Chain,
        module: SequenceModule,
        *,
        source: SequenceSource,
        stored: StoredSpans,
        device: torch.device,
        workers: int,
    ) -> None:
        super().__init__(chain, module, channel_axis=-1, device=device, workers=workers)
        self.module, self.source, self.stored = module, source, stored
        per_row = samples_per_row(chain.modules())
        frame_rows = per_row * rows_per_frame(chain.data, chain.modules())
        self.tile_rows, self.measured_rows = (
            max(1, count // frame_rows) * frame_rows // per_row
            for count in (TILE_ROWS, MEASURED_ROWS)
        )
        self.lengths = np.array([module.length(int(n)) for n in source.lengths], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        # The state at the beginning of the last tile computed and of the one after it, by entry and
        # first row: where the next shard can go on.
        self._states: dict[tuple[int, int], Tensor | None] = {}

    def sample(self) -> Tensor:
        """Features (n, C) of places all over the split, early and late in their entries."""
        tiles, kept = [], []
        for turn, entry in enumerate(spread(len(self.lengths), MEASURED_ENTRIES)):
            length = int(self.lengths[entry])
            count = min(self.measured_rows, length)
            # Steps of the golden ratio spread places evenly, however many there are.
            first = int((length - count) * (turn * 0.618034 % 1))
            if self.module.recurrent:
                first = min(first, self.tile_rows - count)
                tiles.append(_tile(entry, 0, first + count))
            else:
                tiles.append(_tile(entry, first, count))
            kept.append(count)
        encoded = zip(self._encoded(tiles, fresh=True), kept, strict=True)
        return torch.cat([values[-count:].cpu() for (_, values), count in encoded])

    def places(self) -> dict[str, NDArray[Any]]:
        """Where each entry begins in the rows, and which stretch of which utterance it is."""
        return {
            "offsets": self.offsets,
            "source_sample": self.stored.source,
            "start_frame": self.stored.start,
            "frames": self.stored.entry_frames,
        }

    def blocks(self, rows: range) -> Iterator[Block]:
        """Encoded features (n, C) of consecutive rows."""
        for turn, (tile, values) in enumerate(self._encoded(self._tiles(rows))):
            first = int(self.offsets[tile.entry[0]] + tile.first[0])
            cut = slice(max(rows.start - first, 0), min(rows.stop - first, tile.count))
            if cut.stop <= cut.start:  # run through only for the state after it
                continue
            block = self._block(turn, self._make)
            values = values[cut]
            self._encode(block, slice(0, len(values)), values, first_row=first + cut.start)
            yield {"features": block["features"][: len(values)]}

    def _make(self, dtype: torch.dtype) -> Block:
        shape = (min(self.tile_rows, int(self.lengths.max())), self.module.out_channels)
        return {"features": torch.empty(shape, dtype=dtype)}

    def _tiles(self, rows: range) -> list[Spans]:
        """The tiles to compute for some of the rows, in order."""
        first, last = np.searchsorted(self.offsets, [rows.start, rows.stop - 1], side="right") - 1
        tiles = []
        for entry in range(first, last + 1):
            length, offset = int(self.lengths[entry]), int(self.offsets[entry])
            begin = max(rows.start - offset, 0) // self.tile_rows * self.tile_rows
            if self.module.recurrent and (entry, begin) not in self._states:
                begin = 0
            for start in range(begin, min(length, rows.stop - offset), self.tile_rows):
                tiles.append(_tile(entry, start, min(self.tile_rows, length - start)))
        return tiles

    @torch.no_grad()
    def _encoded(
        self, tiles: Sequence[Spans], *, fresh: bool = False
    ) -> Iterator[tuple[Spans, Tensor]]:
        """Every tile and its features (n, C) float32 on the device, as they are handed on.

        A recurrent module goes on from the tile before, unless a tile begins an entry, or all are
        `fresh`.
        """
        reaches = [reach(self.module, tile) for tile in tiles]
        size = max(each.count for each in reaches)
        buffers = [self.source.buffer(1, size) for _ in range(min(len(tiles), READ_AHEAD + 1))]
        reading = prefetched(self.source, reaches, buffers=buffers, workers=self.workers)
        for tile, (raw, places) in zip(tiles, reading, strict=True):
            x = self.source.prepare(to_device(raw, self.device), places)
            entry, first = int(tile.entry[0]), int(tile.first[0])
            before = None if fresh or not first else self._states[entry, first]
            features, after = self.module.advance(x, before)
            self._states = {(entry, first): before, (entry, first + self.tile_rows): after}
            yield tile, self.handoff.apply(features[0])


def _tile(entry: int, first: int, count: int) -> Spans:
    return Spans(np.array([entry], np.int64), np.array([first], np.int64), count)
