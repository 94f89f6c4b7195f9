"""Sources of sequences: rows of raw data, stored rows, or rows encoded again.

A source gives stretches of rows of stored entries (views/spans.py); where a stretch reaches beyond
its entry it gives zeros, which is what padding puts there. So encoding a stretch together with its
reach gives, row for row, what encoding the whole entry gives.

Shape letters: E entries, B batch, T rows in time, C channels.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import FeatureReader
from gimstage.data.splits import SequenceSplit
from gimstage.errors import DamagedCacheError
from gimstage.errors.commands import making_anew
from gimstage.inputs.base import Source, encoded_again, pinned
from gimstage.inputs.handoff import HandOff
from gimstage.modules import SequenceModule
from gimstage.specs import SequenceDataSpec
from gimstage.views import Ints, LiveSpans, Spans, StoredSpans

_log = logging.getLogger(__name__)


class SequenceSource(Source):
    """Rows of entries.

    Attributes:
        lengths: rows of every entry, (E,) int64.
    """

    gives = "sequence"
    lengths: Ints


class WaveSource(SequenceSource):
    """Normalised rows of raw data, such as samples of sound, (B, T, C).

    Args:
        split: the sequences.
        kept: those that are cut from, indices into the split, (N,) int64.
        stored: the entries to cut from them.
        spec: the recipe's data.toml, which says how long a frame is and how rows are normalised.
    """

    def __init__(
        self, split: SequenceSplit, kept: Ints, *, stored: StoredSpans, spec: SequenceDataSpec
    ) -> None:
        self.split, self.kept, self.stored, self.spec = split, kept, stored, spec
        self.lengths = stored.entry_frames * spec.frame_rows

    def buffer(self, count: int, size: int) -> Tensor:
        """Rows of raw data, (count, size, C) float32."""
        return pinned(torch.empty(count, size, self.spec.in_channels))

    def fill(self, buffer: Tensor, places: Spans) -> Tensor:
        """Seek, read and normalise; `LiveSpans` count from the beginning of the utterance."""
        filled, frame_rows = buffer[: len(places), : places.count], self.spec.frame_rows
        live = isinstance(places, LiveSpans)
        for row, entry, first in zip(filled.numpy(), places.entry, places.first, strict=True):
            sample = entry if live else self.stored.source[entry]
            start = 0 if live else int(self.stored.start[entry]) * frame_rows
            frames = self.stored.frames if live else self.stored.entry_frames
            inside = inside_rows(int(first), places.count, int(frames[entry]) * frame_rows)
            row[: inside.start], row[inside.stop :] = 0, 0
            self.split.read(int(self.kept[sample]), start + int(first) + inside.start, row[inside])
            self.spec.normalise(row[inside])
        return filled

    def prepare(self, raw: Tensor, places: Spans) -> Tensor:
        """The rows as they are, float32."""
        return raw


class RowSource(SequenceSource):
    """Rows of the stage before's features.zarr.

    Raises:
        DamagedCacheError: its offsets do not fit its rows.
    """

    def __init__(self, path: Path) -> None:
        self.reader = FeatureReader(path)
        self.layout = self.reader.array("features")
        self.offsets = self.reader.small("offsets")
        self.lengths = np.diff(self.offsets)
        rows = self.layout.shape[0]
        if self.offsets[0] != 0 or self.offsets[-1] != rows or (self.lengths < 1).any():
            raise DamagedCacheError(
                str(path),
                f"offsets from {self.offsets[0]} to {self.offsets[-1]}",
                f"ascending from 0 to the {rows} rows of features",
                making_anew(path),
            )

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw rows, (count, size, C) of the stored dtype."""
        shape = (count, size, self.layout.shape[1])
        return pinned(torch.empty(shape, dtype=self.layout.torch_dtype))

    def fill(self, buffer: Tensor, places: Spans) -> Tensor:
        """Read exactly the rows' bytes; rows outside an entry are left as they come."""
        filled = buffer[: len(places), : places.count]
        starts = self.offsets[places.entry] + places.first
        # The reader wants whole buffers; rows of a longer one are read one by one.
        if filled.is_contiguous() and not overhangs(places, self.lengths):
            self.reader.read("features", filled, starts[:, None])
            return filled
        for row, entry, first, start in zip(
            filled, places.entry, places.first, starts, strict=True
        ):
            inside = inside_rows(int(first), places.count, int(self.lengths[entry]))
            at = np.array([[start + inside.start]])
            self.reader.read("features", row[None, inside], at)
        return filled

    def prepare(self, raw: Tensor, places: Spans) -> Tensor:
        """The rows as float32, zeros outside their entries."""
        return zero_outside(self.reader.decode("features", raw), places, self.lengths)


class RecomputedRows(SequenceSource):
    """The stage before, run again on its own source, rounded as its features would have been.

    Args:
        source: what the module reads.
        module: frozen, on its device.
        handoff: how it would have stored its rows.
    """

    recomputes = True

    def __init__(self, source: SequenceSource, module: SequenceModule, handoff: HandOff) -> None:
        self.source, self.module, self.handoff = source, module, handoff
        self.lengths = np.array([module.length(int(n)) for n in source.lengths], np.int64)

    def below(self, places: Spans) -> Spans:
        """The rows of the source below that decide these."""
        return reach(self.module, places)

    def buffer(self, count: int, size: int) -> Tensor:
        """A buffer of the source below, which is what is read."""
        return self.source.buffer(count, self.module.reach(0, size).rows)

    def fill(self, buffer: Tensor, places: Spans) -> Tensor:
        """Read what these rows depend on."""
        return self.source.fill(buffer, self.below(places))

    def prepare(self, raw: Tensor, places: Spans) -> Tensor:
        """The frozen module's rows, rounded, zeros outside their entries."""
        x = self.source.prepare(raw, self.below(places))
        return zero_outside(encoded_again(self.module, x, self.handoff), places, self.lengths)


def reach(module: SequenceModule, places: Spans) -> Spans:
    """The stretches of a module's input that decide these stretches of its output."""
    first, count = module.reach(0, places.count)
    return type(places)(places.entry, places.first * module.stride + first, count)


def inside_rows(first: int, count: int, length: int) -> slice:
    """Which of `count` rows from `first` lie within an entry of `length` rows."""
    return slice(min(max(-first, 0), count), max(min(length - first, count), 0))


def overhangs(places: Spans, lengths: Ints) -> bool:
    """Whether a stretch reaches beyond its entry."""
    return bool(((places.first < 0) | (places.first + places.count > lengths[places.entry])).any())


def zero_outside(rows: Tensor, places: Spans, lengths: Ints) -> Tensor:
    """Rows (B, T, C), those outside their entries made zeros."""
    if not overhangs(places, lengths):
        return rows
    number = torch.from_numpy(places.first)[:, None] + torch.arange(places.count)
    outside = (number < 0) | (number >= torch.from_numpy(lengths[places.entry])[:, None])
    return rows.masked_fill(outside[..., None].to(rows.device), 0)
