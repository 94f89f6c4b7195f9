"""A raw store: data that was decoded once, as plain Zarr v3 that is cut from in place.

    NAME.zarr/
      zarr.json                the group; what was imported, and how
      ARRAY/zarr.json c/0/0 …  one array, uncompressed, chunked along its first axis alone
      COLUMN/…                 small arrays beside it, such as offsets
      import.json              the commit record, last: the array, what came of every item, digests
      import.jsonl             an import under way: a line for every chunk that is on the disk

A chunk is a file that any window of it can be mapped from, and whose SHA-256 the record knows.

Written by `rawwriter`. Imports `errors`, `files` and `data.files` only.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import reading
from gimstage.errors import DamagedCacheError
from gimstage.errors.commands import pasted, removing
from gimstage.files import (
    UnreadableError,
    document_sha256,
    read_json,
)

CHUNK_BYTES = 1 << 24  # about so many; a row that is larger is a chunk of its own
RECORD_BYTES = 1 << 30
KEPT_BYTES = 1 << 24  # of rows that were looked at, which may stay mapped
MOST_OPEN = 200  # chunks mapped at a time; a process may open about a thousand files
FORMAT = 1

Item = dict[str, Any]  # what an import says of one item: its id, its rows, why it was left out


@dataclass(frozen=True)
class RawLayout:
    """One array of a raw store, but for its length, which is known when all is imported.

    Args:
        name: its name in the group, such as "images" or "sound".
        row_shape: the shape of one row: (channel, y, x) of an image, (channel,) of sound.
        dtype: its dtype as numpy names it, little-endian.
        dims: the names of all its axes, the first axis included.
    """

    name: str
    row_shape: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...]

    @cached_property
    def row_bytes(self) -> int:
        """The bytes that one row takes."""
        return math.prod(self.row_shape) * np.dtype(self.dtype).itemsize

    @property
    def chunk_rows(self) -> int:
        """How many rows a chunk holds."""
        return max(1, CHUNK_BYTES // self.row_bytes)

    def chunk_path(self, folder: Path, number: int) -> Path:
        """The file of a chunk, counted from 0."""
        return folder.joinpath(self.name, "c", str(number), *("0" for _ in self.row_shape))


class RawStore:
    """A finished raw store.

    Args:
        folder: the store.

    Attributes:
        record: import.json.
        layout: its array.
        rows: the length of the array.

    Raises:
        DataError: there is no finished store.
        DamagedCacheError: its record, or the size of a chunk, is not what it was.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.record = folder, read_record(folder)
        self.layout = layout = layout_of(self.record)
        self.rows = int(self.record["rows"])
        self._touched: dict[int, mmap.mmap] = {}
        self._touched_bytes = 0
        self._chunk_rows = layout.chunk_rows
        self._chunk_bytes = self._chunk_rows * layout.row_bytes
        for chunk, path in enumerate(self.chunk_files.values()):
            if not path.is_file():
                raise damaged(folder, path, "missing", f"{self._chunk_bytes:,} bytes")
            self._refuse_cut(chunk, path.stat().st_size)

    @cached_property
    def chunk_files(self) -> dict[str, Path]:
        """The files of the chunks by their names in the store, in order."""
        paths = (
            self.layout.chunk_path(self.folder, number)
            for number in range(len(self.record["sha256_of_chunks"]))
        )
        return {str(path.relative_to(self.folder)): path for path in paths}

    @property
    def written_sha256(self) -> dict[Path, str]:
        """The digest of every chunk as it was written."""
        return dict(zip(self.chunk_files.values(), self.record["sha256_of_chunks"], strict=True))

    def row(self, number: int) -> NDArray[Any]:
        """One row, mapped and not copied; raises as `read`."""
        chunk, at = divmod(number, self._chunk_rows)
        row: NDArray[Any] = self._looked_at(chunk, 1)[at]
        return row

    def release(self) -> None:
        """Give back the memory that rows were mapped to, once it is some; those in use stay whole.

        To map pages again costs as much as to copy them, so a few stay.
        """
        if self._touched_bytes < KEPT_BYTES:
            return
        self._touched_bytes = 0
        while self._touched:
            with suppress(KeyError):  # another thread was faster
                self._touched.popitem()[1].madvise(mmap.MADV_DONTNEED)

    def read(self, first: int, out: NDArray[Any]) -> None:
        """Fill `out` (n, …) with the rows from `first`, converted to its dtype.

        Raises:
            DamagedCacheError: a chunk has become shorter.
            DataError: a chunk cannot be opened.
        """
        done = 0
        while done < len(out):
            chunk, at = divmod(first + done, self._chunk_rows)
            count = min(len(out) - done, self._chunk_rows - at)
            out[done : done + count] = self._looked_at(chunk, count)[at : at + count]
            done += count
            self.release()

    def _looked_at(self, chunk: int, rows: int) -> NDArray[Any]:
        """A chunk, mapped, of which so many rows will be looked at."""
        mapped, pages = self._mapped(chunk)
        # To look at pages behind the end of a file ends the process, with no word of why.
        self._refuse_cut(chunk, pages.size())
        self._touched[chunk] = pages
        self._touched_bytes += rows * self.layout.row_bytes
        return mapped

    @cached_property
    def _mapped(self) -> Callable[[int], tuple[NDArray[Any], mmap.mmap]]:
        """Chunks by number; those mapped last stay so, as each one takes an open file."""
        return lru_cache(MOST_OPEN)(self._map)

    def _map(self, chunk: int) -> tuple[NDArray[Any], mmap.mmap]:
        path = self.layout.chunk_path(self.folder, chunk)
        shape = (self._chunk_rows, *self.layout.row_shape)
        with reading(path), path.open("rb") as file:
            self._refuse_cut(chunk, os.fstat(file.fileno()).st_size)
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(pages, self.layout.dtype).reshape(shape), pages

    def _refuse_cut(self, chunk: int, size: int) -> None:
        if size != self._chunk_bytes:
            path = self.layout.chunk_path(self.folder, chunk)
            found, expected = f"{size:,} bytes", f"{self._chunk_bytes:,} bytes"
            raise damaged(self.folder, path, found, expected)


def read_record(folder: Path) -> dict[str, Any]:
    """The commit record of a raw store.

    Raises:
        DataError: there is none.
        DamagedCacheError: it is not what was written.
    """
    path = folder / "import.json"
    with reading(path):
        try:
            record = read_json(path, most_bytes=RECORD_BYTES)
            sha256 = record.pop("sha256")
            if sha256 != document_sha256(record) or record["format"] != FORMAT:
                raise UnreadableError("another digest than its own")
        except (UnreadableError, KeyError, TypeError, AttributeError) as error:
            found = str(error) if isinstance(error, UnreadableError) else "no such record"
            raise damaged(folder, path, found, "what the import wrote") from error
    return dict(record)


def layout_of(record: Mapping[str, Any]) -> RawLayout:
    """The array of a raw store, as its commit record says."""
    told = record["layout"]
    return RawLayout(told["name"], tuple(told["row_shape"]), told["dtype"], tuple(told["dims"]))


def damaged(folder: Path, path: Path, found: str, expected: str) -> DamagedCacheError:
    """What to say of a file of a raw store that is not as it was written."""
    cure = f"run {pasted(*removing(folder))}: the next command imports it again"
    return DamagedCacheError(str(path), found, expected, cure)
