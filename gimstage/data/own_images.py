"""Splits of a folder of image files: imported, and cut from in place; or planned, without pixels.

Shapes: N squares, F files of the split. Imports `errors` and its neighbours only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.listing import Listing
from gimstage.data.pictures import Cut
from gimstage.data.rawstore import RawStore
from gimstage.data.splits import Column, ImageSplit, Ints
from gimstage.errors import DataError


@dataclass(frozen=True)
class Squares:
    """Where the squares of the files of one split lie in a store.

    Args:
        first: the first row of every file, (F,) int64.
        count: how many rows it has, 0 where it could not be read, (F,) int64.
        store: the store; None until the files are imported.
    """

    first: Ints
    count: Ints
    store: RawStore | None


class OwnImageSplit(ImageSplit):
    """The squares of the files of one split, in the order of their ids.

    Args:
        listing: all files of the folder.
        name: of the split.
        cut: what is made of every file.
        squares: where that lies.

    Raises:
        DataError: there is no such split, or nothing in it.
    """

    def __init__(self, listing: Listing, name: str, *, cut: Cut, squares: Squares) -> None:
        self.listing, self.root, self.name = listing, listing.root, name
        self.size_px, self.channels, self.dtype = cut.size_px, cut.channels, cut.dtype
        self.scale, self._tiled = float(np.iinfo(cut.dtype).max), cut.fit == "tile"
        self._store = squares.store
        self._file = np.repeat(np.arange(len(squares.count)), squares.count)
        before = np.cumsum(squares.count) - squares.count
        self._nth = np.arange(len(self._file)) - before[self._file]
        self._rows = squares.first[self._file] + self._nth
        if not len(self):
            where, found = f"{self.root}, split '{name}'", "none of its files can be read"
            raise DataError(where, found, "one at least", "see what `gimstage data check` says")

    def __len__(self) -> int:
        """The number of squares, N."""
        return len(self._file)

    @cached_property
    def ids(self) -> Sequence[str]:
        """The path of the file below the folder; of tiles, with its number behind a "#"."""
        names = self.listing.ids(self.name)
        if not self._tiled:
            return [names[index] for index in self._file]
        return [f"{names[i]}#{n}" for i, n in zip(self._file, self._nth, strict=True)]

    @property
    def columns(self) -> Sequence[str]:
        """The names of what the table or the folders say of every file."""
        return tuple(self.listing.columns)

    def column(self, name: str) -> Column:
        """One label of every square, which is that of its file; raises as `Split.column`."""
        told = self.listing.column(name, self.name)
        return Column(name, told.classes, told.values[self._file])

    def image(self, index: int) -> NDArray[Any]:
        """One square, (C, size_px, size_px), mapped.

        Raises:
            DataError: the files are not imported yet.
        """
        if self._store is None:
            cure = "any command that trains or probes imports them"
            raise DataError(str(self.root), "the images are not imported yet", cure=cure)
        return self._store.row(int(self._rows[index]))

    def release(self) -> None:
        """Give back the memory that pixels were mapped to."""
        if self._store is not None:
            self._store.release()
