"""Shards being written: chunks on their way to a file that appears whole or not at all.

    append ─► [compress] ─► crc ─► c.7.0.part ─► index, fsync, rename ─► c.7.0

Chunks go to the file as they come; nothing of a shard is kept but its index.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gimstage.cache.encodings import ENCODINGS
from gimstage.cache.format import ABSENT, ArrayLayout, StoreLayout
from gimstage.cache.shards import Digest, crc32c, crc_bytes, with_crc
from gimstage.errors import CacheError
from gimstage.files import naming, sync_folder

Array = NDArray[Any]

PART = ".part"
_WRITEBACK_BYTES = 1 << 23


class OpenShards:
    """The shards that a writer has begun and not yet published."""

    def __init__(self, path: Path, layout: StoreLayout, digests: dict[str, str]) -> None:
        """Take note of the digests of what is published in `digests`."""
        self._path, self._layout, self._digests = path, layout, digests
        self._begun: list[ShardWriter] = []

    def begin(self, shard: int) -> "ShardWriter":
        """A shard of every array to append rows to; it appears once it is published."""
        self._begun.append(ShardWriter(self._path, self._layout, shard))
        return self._begun[-1]

    def publish(self, writer: "ShardWriter") -> None:
        """Give a shard's files their names.

        Raises:
            CacheError: rows are lacking.
        """
        self._digests.update(writer.publish())
        self._begun.remove(writer)

    def discard(self) -> None:
        """Remove the file that was begun."""
        for writer in self._begun:
            writer.discard()


class ShardWriter:
    """One shard of every array, being written."""

    def __init__(self, path: Path, layout: StoreLayout, shard: int) -> None:
        """Open a temporary file for each array."""
        self._where, self._rows = f"{path}, shard {shard}", layout.arrays[0].rows(shard)
        self._written = 0
        self._files = {array.name: _ShardFile(path, array, shard) for array in layout.arrays}

    def append(self, rows: Mapping[str, Array | Tensor]) -> None:
        """Add the next n rows of every array.

        Args:
            rows: by array, (n, …) of the stored dtype; tensors may be on any device.

        Raises:
            CacheError: arrays, shapes, dtypes or the number of rows are not the layout's.
        """
        arrays = {name: _as_numpy(values) for name, values in rows.items()}
        self._check_names(arrays)
        count = len(next(iter(arrays.values())))
        for name, values in arrays.items():
            array = self._files[name].array
            self._check_shape(array, values, (count, *array.shape[1:]))
        if self._written + count > len(self._rows):
            found = f"{self._written + count} rows appended"
            raise CacheError(self._where, found, f"{len(self._rows)}")
        for name, values in arrays.items():
            self._files[name].append(values)
        self._written += count

    def append_chunks(self, chunks: Mapping[str, Array | Tensor]) -> None:
        """Add the next n chunks of every array, in C order: rows too large to come in one piece.

        Args:
            chunks: by array, (n, *chunk) of the stored dtype; tensors may be on any device. A chunk
                is of one row, and all arrays have as many chunks a row.

        Raises:
            CacheError: arrays, shapes, dtypes or the number of chunks are not the layout's.
        """
        arrays = {name: _as_numpy(values) for name, values in chunks.items()}
        self._check_names(arrays)
        for name, values in arrays.items():
            file = self._files[name]
            self._check_shape(file.array, values, (len(values), *file.array.chunk))
            most, count = len(self._rows) * file.array.strides[0], file.chunks + len(values)
            if count > most:
                raise CacheError(self._where, f"{count} chunks appended", f"{most}")
            for chunk in values:
                file.append_chunk(chunk)
            self._written = file.chunks // file.array.strides[0]

    def _check_names(self, arrays: Mapping[str, Array]) -> None:
        if arrays.keys() != self._files.keys():
            found, expected = ", ".join(sorted(arrays)), ", ".join(sorted(self._files))
            raise CacheError(self._where, f"rows of {found}", f"rows of {expected}")

    def _check_shape(self, array: ArrayLayout, values: Array, wanted: tuple[int, ...]) -> None:
        if (values.shape, values.dtype) != (wanted, array.dtype):
            raise CacheError(
                f"{self._where}, {array.name}",
                f"{values.shape} {values.dtype}",
                f"{wanted} {array.dtype}",
            )

    def publish(self) -> dict[str, str]:
        """Complete the files and give them their names; their crc32c by path.

        Raises:
            CacheError: rows are lacking.
        """
        if self._written < len(self._rows):
            found = f"{self._written} rows appended"
            raise CacheError(self._where, found, f"{len(self._rows)}")
        return {file.path: file.publish() for file in self._files.values()}

    def discard(self) -> None:
        """Remove what was not published."""
        for file in self._files.values():
            file.discard()


class _ShardFile:
    """One shard of one array, being written to its temporary file."""

    def __init__(self, store: Path, array: ArrayLayout, shard: int) -> None:
        self.array, self.path = array, array.path(shard)
        self._final = store / self.path
        self._part = self._final.with_name(self._final.name + PART)
        compression = ENCODINGS[array.encoding].compression
        self._codec = compression.codec() if compression else None
        self._index = np.full((array.shard_chunks, 2), ABSENT, "<u8")
        self.chunks, self._bytes, self._started = 0, 0, 0
        self._digest = Digest()
        self._waiting = 0
        self._file = open(self._part, "wb")  # noqa: SIM115 - closed by publish or discard

    @cached_property
    def _block(self) -> Array:
        """Room for rows that do not fill a chunk yet; chunks of one row never wait here."""
        return np.zeros((self.array.chunk[0], *self.array.shape[1:]), self.array.dtype)

    def append(self, rows: Array) -> None:
        size = self.array.chunk[0]
        while len(rows):
            if not self._waiting and len(rows) >= size:
                count = size
                self._write_block(rows[:size])
            else:
                count = min(size - self._waiting, len(rows))
                self._block[self._waiting : self._waiting + count] = rows[:count]
                self._waiting += count
                if self._waiting == size:
                    self._write_block(self._block)
                    self._waiting = 0
            rows = rows[count:]

    def publish(self) -> str:
        """Write the index, make the file durable, give it its name; its crc32c."""
        if self._waiting:
            self._block[self._waiting :] = 0  # rows past the end of the array
            self._write_block(self._block)
        index = self._index.tobytes()
        self._digest.add(crc32c(index))
        self._write(with_crc(index))
        with naming(self._final):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        os.replace(self._part, self._final)
        sync_folder(self._final.parent)
        return str(self._digest)

    def discard(self) -> None:
        with suppress(OSError):  # the disk is full, and that has been said
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _write_block(self, block: Array) -> None:
        """Write the chunks of as many rows as a chunk has."""
        sizes = self.array.chunk[1:]
        for corner in np.ndindex(self.array.grid[1:]):
            cut = tuple(slice(i * n, (i + 1) * n) for i, n in zip(corner, sizes, strict=True))
            self.append_chunk(block[(slice(None), *cut)])

    def append_chunk(self, chunk: Array) -> None:
        """Write the next chunk in C order."""
        self._write_chunk(np.ascontiguousarray(chunk).reshape(-1))

    def _write_chunk(self, values: Array) -> None:
        body = self._codec.encode(values) if self._codec else values.view(np.uint8)
        start, crc = self._bytes, crc32c(body)
        self._digest.add(crc)
        self._write(body)
        self._write(crc_bytes(crc))
        self._index[self.chunks] = start, self._bytes - start
        self.chunks += 1
        self._start_writeback()

    def _write(self, data: Array | bytes) -> None:
        with naming(self._final):
            self._file.write(data.data if isinstance(data, np.ndarray) else data)
        self._bytes += len(data)

    def _start_writeback(self) -> None:
        """Let the disk begin now; else it idles until fsync, which then takes all the time."""
        if sys.platform == "linux" and self._bytes - self._started >= _WRITEBACK_BYTES:
            length = self._bytes - self._started
            os.posix_fadvise(self._file.fileno(), self._started, length, os.POSIX_FADV_DONTNEED)
            self._started = self._bytes


def _as_numpy(values: Array | Tensor) -> Array:
    return values.numpy(force=True) if isinstance(values, Tensor) else values
