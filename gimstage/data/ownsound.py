"""Splits of a folder of sound: imported, and read from the store; or planned, with nothing to read.

Shapes: N files, n rows, C channels. Imports `errors` and its neighbours only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gimstage.data.intervals import Intervals, read_intervals
from gimstage.data.listing import Listing
from gimstage.data.rawstore import RawStore
from gimstage.data.splits import Column, FrameLabels, Ints, SequenceSplit
from gimstage.errors import DataError, NoLabelsError

FRAMES_PER_S = 100


@dataclass(frozen=True)
class SoundFolder:
    """What is the same for all splits of a folder of sound.

    Args:
        listing: its files.
        rate_hz: samples a second, of all.
        channels: of all.
    """

    listing: Listing
    rate_hz: int
    channels: int

    @cached_property
    def intervals(self) -> Intervals:
        """The labels of stretches of time, read once; raises as `read_intervals`."""
        return read_intervals(self.listing.root, self.listing.files)


@dataclass(frozen=True)
class Placed:
    """Where files lie in a store.

    Args:
        store: the store.
        first: the first row of every file, (N,) int64.
    """

    store: RawStore
    first: Ints

    @cached_property
    def scale(self) -> np.float32:
        """What stored samples are multiplied with to lie in -1 … 1."""
        stored = np.dtype(self.store.layout.dtype)
        return np.float32(-1 / np.iinfo(stored).min if stored.kind == "i" else 1)


class SoundSplit(SequenceSplit):
    """Files of one split that could be read.

    Args:
        folder: in which they lie.
        name: of the split.
        kept: which files, ascending indices into those of the listing, (N,) int64.
        samples: how many each has at the rate of the recipe, (N,) int64.
        placed: where they lie; None until they are imported.
    """

    def __init__(
        self, folder: SoundFolder, name: str, *, kept: Ints, samples: Ints, placed: Placed | None
    ) -> None:
        self.folder, self.listing, self.root = folder, folder.listing, folder.listing.root
        self.name, self.channels = name, folder.channels
        self.kept, self.samples, self.placed = kept, samples, placed
        names = tuple(self.listing.files)
        self._ids = tuple(names[index] for index in kept)

    def __len__(self) -> int:
        """The number of files, N."""
        return len(self._ids)

    @property
    def ids(self) -> Sequence[str]:
        """The paths of the files below the folder."""
        return self._ids

    @property
    def columns(self) -> Sequence[str]:
        """The names of what table, pattern or folders say of every file."""
        return tuple(self.listing.columns)

    def column(self, name: str) -> Column:
        """One label of every file; raises as `Split.column`."""
        whole = self.listing.column(name, self.name)
        known = np.isin(self.listing.split(self.name), self.kept)
        return Column(name, whole.classes, whole.values[known])

    def interval_columns(self) -> Sequence[str]:
        """The names of what intervals.csv, .ctm files or TextGrids say of stretches of time."""
        return tuple(self.folder.intervals.columns)

    def frame_labels(self, name: str) -> FrameLabels:
        """A label of every frame of 10 ms; raises as `SequenceSplit.frame_labels`."""
        intervals = self.folder.intervals
        if name not in intervals.columns:
            raise self.no_intervals(name)
        frames = self.samples // (self.folder.rate_hz // FRAMES_PER_S)
        labels = intervals.of_split(name, self._ids, frames, 1 / FRAMES_PER_S)
        if not labels.values:
            raise NoLabelsError(
                f"{self.root}, split '{self.name}'",
                f"no file has labels '{name}' of stretches",
                "one at least",
                "label some, or choose another split",
            )
        return labels

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill `out` (n, C) with consecutive samples of a file, on the scale -1 … 1.

        Raises:
            DataError: the request lies outside, or nothing is imported yet.
            DamagedCacheError: the store has become shorter.
        """
        if not 0 <= index < len(self):
            raise self._refused(f"file {index}", f"0 to {len(self) - 1}")
        if start < 0 or start + len(out) > self.samples[index]:
            found = f"samples {start:,} to {start + len(out):,} of {self._ids[index]}"
            raise self._refused(found, f"within 0 to {self.samples[index]:,}")
        if self.placed is None:
            cure = "any command that trains or probes imports it"
            raise self._refused("the sound is not imported yet", cure=cure)
        self.placed.store.read(int(self.placed.first[index]) + start, out)
        if self.placed.scale != 1:
            out *= self.placed.scale

    def _refused(self, found: str, expected: str = "", cure: str = "") -> DataError:
        return DataError(f"{self.root}, split '{self.name}'", found, expected, cure)
