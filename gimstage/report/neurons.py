"""For every channel of a stage, the places of the data that excite it most: one pass, top k only.

    features.zarr ─► a block of rows ─► pooled activation ─► best place of each sample ─► running k

A pooled activation is a patch's code, or the mean over 10 ms of speech. A sample gives each channel
one place at most, so that k places are k samples. What is kept are k values and places per channel
and the sums behind their spread, however long the store is.

Shape letters: n samples of a block, P places of a sample, C channels, k places kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import FeatureReader
from gimstage.views import Ints

BLOCK_BYTES = 32_000_000
TILE_FRAMES = 400  # what of a sequence is looked at in one go

Read = Callable[[int, int], None]  # told of rows done, of how many


@dataclass(frozen=True)
class Exciting:
    """What excites each channel most.

    Args:
        values: pooled activations, descending, (k, C) float32; -inf where there are fewer samples.
        places: the places of each, (k, C, …) int64: sample, view, row, column, which are pixels
            where maps are whole, or entry and frame.
        spread: standard deviation of each channel's pooled activation over all places, (C,).
    """

    values: Tensor
    places: Ints
    spread: Tensor

    def varied(self, count: int) -> list[int]:
        """The channels whose pooled activation varies most, descending; none that never moves."""
        order = torch.argsort(self.spread, descending=True, stable=True)[:count]
        return [int(channel) for channel in order if self.spread[channel] > 0]


class TopK:
    """The k best places of every channel so far.

    Args:
        keep: k.
        channels: C.
    """

    def __init__(self, keep: int, *, channels: int) -> None:
        self.values = torch.full((keep, channels), -torch.inf)
        self.places = torch.zeros((keep, channels), dtype=torch.int64)
        self._count = 0
        self._sums = torch.zeros((2, channels), dtype=torch.float64)

    def measure(self, pooled: Tensor) -> None:
        """Take pooled activations (…, C) into the spread."""
        flat = pooled.flatten(0, -2).double()
        self._count += len(flat)
        self._sums += torch.stack([flat.sum(0), flat.square().sum(0)])

    def offer(self, values: Tensor, places: Tensor) -> None:
        """Let the best of n samples compete: values and places, (n, C)."""
        values, places = torch.cat([self.values, values]), torch.cat([self.places, places])
        # A stable sort: of equal activations the sample seen first stays, in blocks of any size.
        order = values.sort(stable=True, dim=0, descending=True).indices[: len(self.values)]
        self.values, self.places = values.gather(0, order), places.gather(0, order)

    def spread(self) -> Tensor:
        """Standard deviation per channel, (C,) float64."""
        mean, square = self._sums / max(self._count, 1)
        variance: Tensor = square - mean.square()
        return variance.clamp(min=0).sqrt()


def search(reader: FeatureReader, keep: int, read: Read = lambda done, total: None) -> Exciting:
    """What excites each channel of a store most.

    Args:
        reader: a reader of a stage's features.
        keep: places per channel, k.
        read: told of the rows read so far, and of all.

    Raises:
        DamagedCacheError: a shard is missing, cut or altered.
    """
    if "px_per_position" in reader.attributes:
        return _search_maps(reader, keep, read)
    if len(reader.array("features").shape) > 2:
        return _search_grids(reader, keep, read)
    return _search_rows(reader, keep, read)


def _search_grids(reader: FeatureReader, keep: int, read: Read) -> Exciting:
    """The most exciting patches of images; by their codes where these are stored."""
    name = "codes" if "codes" in {a.name for a in reader.layout.arrays} else "features"
    array = reader.array(name)
    total, grid, channels = array.shape[0], array.shape[1:4], array.shape[4]
    best = TopK(keep, channels=channels)
    count = max(1, BLOCK_BYTES // (array.row_bytes * 4 // array.dtype.itemsize))
    for first in range(0, total, count):
        rows = np.arange(first, min(first + count, total), dtype=np.int64)
        raw = torch.empty((len(rows), 1, *array.shape[1:]), dtype=array.torch_dtype)
        reader.read(name, raw, rows[:, None])
        pooled = reader.decode(name, raw[:, 0])
        pooled = pooled if name == "codes" else pooled.mean((-2, -1))
        pooled = pooled.reshape(len(rows), -1, channels)
        best.measure(pooled)
        values, at = pooled.max(1)
        best.offer(values, at + torch.from_numpy(rows)[:, None] * pooled.shape[1])
        read(int(rows[-1]) + 1, total)
    places = np.stack(np.unravel_index(best.places.numpy(), (total, *grid)), -1)
    return Exciting(best.values, places.astype(np.int64), best.spread())


def _search_maps(reader: FeatureReader, keep: int, read: Read) -> Exciting:
    """The most exciting positions of whole maps, strip by strip; places are in pixels."""
    array, stride = reader.array("features"), int(reader.attributes["px_per_position"])
    total, views, side, _, channels = array.shape
    best, strip = TopK(keep, channels=channels), array.chunk[2]
    raw = torch.empty((1, 1, 1, strip, side, channels), dtype=array.torch_dtype)
    for sample in range(total):
        values = torch.full((channels,), -torch.inf)
        places = torch.zeros(channels, dtype=torch.int64)
        for view, first in product(range(views), range(0, side, strip)):
            reader.read("features", raw, np.array([[sample, view, first]]))
            pooled = reader.decode("features", raw).reshape(-1, channels)
            best.measure(pooled)
            high, at = pooled.max(0)
            here = ((sample * views + view) * side + first) * side + at
            places = torch.where(high > values, here, places)
            values = torch.maximum(high, values)
        best.offer(values[None], places[None])
        read(sample + 1, total)
    found = np.stack(np.unravel_index(best.places.numpy(), (total, views, side, side)), -1)
    px = found.astype(np.int64) * np.array([1, 1, stride, stride])
    return Exciting(best.values, px, best.spread())


def _search_rows(reader: FeatureReader, keep: int, read: Read) -> Exciting:
    """The most exciting rows of sequences, one after another, each in tiles."""
    array, offsets = reader.array("features"), reader.small("offsets")
    channels, per_frame = array.shape[1], reader.rows_per_frame
    best = TopK(keep, channels=channels)
    longest = int(np.ceil(np.diff(offsets) / per_frame).max())
    for entry in range(len(offsets) - 1):
        values = torch.full((channels,), -torch.inf)
        frames = torch.zeros(channels, dtype=torch.int64)
        for frame, pooled in _tiles(reader, int(offsets[entry]), int(offsets[entry + 1])):
            best.measure(pooled)
            high, at = pooled.max(0)
            frames = torch.where(high > values, at + frame, frames)
            values = torch.maximum(high, values)
        best.offer(values[None], (entry * longest + frames)[None])
        read(int(offsets[entry + 1]), array.shape[0])
    places = np.stack(np.divmod(best.places.numpy(), longest), -1)
    return Exciting(best.values, places.astype(np.int64), best.spread())


def _tiles(reader: FeatureReader, start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
    """First frame and means over a frame, (frames, C), of the rows of an entry, tile by tile."""
    array, per_frame = reader.array("features"), reader.rows_per_frame
    for first in range(start, stop, TILE_FRAMES * per_frame):
        count = min(TILE_FRAMES * per_frame, stop - first)
        raw = torch.empty((1, count, array.shape[1]), dtype=array.torch_dtype)
        reader.read("features", raw, np.array([[first]]))
        rows = reader.decode("features", raw)[0]
        whole = count // per_frame * per_frame
        parts = [rows[:whole].unflatten(0, (-1, per_frame)).mean(1)] if whole else []
        if whole < count:  # padding left the last frame a few rows short
            parts.append(rows[whole:].mean(0, keepdim=True))
        yield (first - start) // per_frame, torch.cat(parts)
