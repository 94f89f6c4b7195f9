"""Sequences in time: which stretch of an utterance is looked at, at any rate of rows.

A *frame* is a whole number of rows of the raw data: of speech 10 ms, 160 samples. Every crop begins
at a frame, and a frame is a whole number of rows at every level of the encoder (of speech 160, then
32, 8, 4, 2, 1), so one and the same crop is a range of raw rows and, exactly, a range of rows of
any cached level.

features.zarr holds *entries* laid end to end: whole utterances, or crops of them that never move.
Rows before an entry's first or after its last count as zeros, as padding has it.

Shape letters: N utterances of a split, E entries, B batch. This file imports nothing of gimstage
but errors, draws and the integers of grids.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch

from gimstage.draws import generator
from gimstage.errors import DataError
from gimstage.views.grids import Ints


@dataclass(frozen=True)
class Spans:
    """`count` rows of each of B entries, from row `first`; rows outside an entry are zeros.

    Args:
        entry: index among the stored entries, (B,) int64.
        first: first row, (B,) int64, negative where it lies before the entry's beginning.
        count: rows of each.
    """

    entry: Ints
    first: Ints
    count: int

    def __len__(self) -> int:
        return len(self.entry)

    def entries(self, first: int, last: int) -> Self:
        """The entries from `first` to before `last`."""
        return type(self)(self.entry[first:last], self.first[first:last], self.count)


class LiveSpans(Spans):
    """The same of whole utterances, whatever is stored of them: fresh crops for a first stage."""


@dataclass(frozen=True, kw_only=True)
class StoredSpans:
    """The entries of a split that features.zarr holds, and the crops cut from them.

    Args:
        frames: whole frames of every utterance, (N,) int64.
        crop_frames: frames of a stored crop; None where whole utterances are stored.
        count: stored crops per utterance, V; 1 where whole utterances are.
        seed: the seed of the places of stored crops.

    Raises:
        DataError: an utterance is shorter than a stored crop.
    """

    frames: Ints
    crop_frames: int | None
    count: int
    seed: int

    def __post_init__(self) -> None:
        if self.crop_frames is not None and self.frames.min() < self.crop_frames:
            raise DataError(
                "utterances", f"one of {self.frames.min()} frames", f"at least {self.crop_frames}"
            )

    @cached_property
    def source(self) -> Ints:
        """The utterance of every entry, (E,) int64."""
        return np.repeat(np.arange(len(self.frames), dtype=np.int64), self.count)

    @cached_property
    def start(self) -> Ints:
        """The utterance's frame at which every entry begins, (E,) int64."""
        if self.crop_frames is None:
            return np.zeros(len(self.frames), np.int64)
        room = self.frames[self.source] - self.crop_frames
        return _uniform(generator(self.seed, "stored-views"), room)

    @cached_property
    def entry_frames(self) -> Ints:
        """The frames of every entry, (E,) int64."""
        if self.crop_frames is None:
            return self.frames
        return np.full(len(self.source), self.crop_frames, np.int64)

    def draw(self, rng: torch.Generator, samples: Ints, frames: int) -> tuple[Ints, Ints]:
        """A random crop of `frames` out of a random entry of each utterance.

        Returns:
            Entries (B,) and the frame of the entry at which each crop begins, (B,) int64; uniform
            over all that fit.
        """
        view = torch.randint(self.count, (len(samples),), generator=rng).numpy()
        entry = samples * self.count + view
        # GIM: audio/data/librispeech.py never begins at frame 0 nor at the last frame that fits.
        return entry, _uniform(rng, self.entry_frames[entry] - frames)

    def centre(self, samples: Ints, frames: int) -> tuple[Ints, Ints]:
        """The crop of `frames` in the middle of each utterance's first entry, as `draw` has it."""
        entry = samples * self.count
        return entry, (self.entry_frames[entry] - frames) // 2


def _uniform(rng: torch.Generator, highest: Ints) -> Ints:
    """An integer from 0 to `highest`, both included, for each of them."""
    share = torch.rand(len(highest), generator=rng, dtype=torch.float64).numpy()
    return np.floor(share * (highest + 1)).astype(np.int64)
