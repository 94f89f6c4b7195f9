"""A raw store: data that was decoded once, as plain Zarr v3 that is cut from in place.

    NAME.zarr/
      zarr.json                the group; what was imported, and how
      ARRAY/zarr.json c/0/0 …  one array, uncompressed, chunked along its first axis alone
      COLUMN/…                 small arrays beside it, such as offsets
      import.json              the commit record, last: the array, what came of every item, digests
      import.jsonl             an import under way: a line for every chunk that is on the disk

A chunk is a file that any window of it can be mapped from, and whose SHA-256 the record knows. An
import that was stopped goes on after its last whole chunk, once that has been read again.

Imports `errors`, `files` and `data.files` only; zarr when a store is finished.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
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
    appearing,
    document_sha256,
    read_json,
    remove,
    write_json,
)

CHUNK_BYTES = 1 << 24  # about so many; a row that is larger is a chunk of its own
RECORD_BYTES = 1 << 30
MOST_OPEN = 200  # chunks at a time, and as many mapped; a process may open about a thousand
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

    @cached_property
    def chunk_rows(self) -> int:
        """How many rows a chunk holds."""
        return max(1, CHUNK_BYTES // self.row_bytes)

    def chunk_path(self, folder: Path, number: int) -> Path:
        """The file of a chunk, counted from 0."""
        return folder.joinpath(self.name, "c", str(number), *("0" for _ in self.row_shape))


class RawWriter:
    """Appends rows to a raw store, item by item; a new one on the same folder goes on.

    `items` is what had been said of items all of whose rows are on the disk: the import goes on
    with item `len(items)`, and `append` drops the `within` first rows of that, which are there too.

    Args:
        folder: the store, which is not finished.
        layout: its array.
        identity: all that decides what is imported; what lies there of another one is removed.
    """

    def __init__(self, folder: Path, layout: RawLayout, identity: Mapping[str, Any]) -> None:
        self.folder, self.layout, self.identity = folder, layout, dict(identity)
        self._sha256 = document_sha256(self.identity)
        self._log = folder / "import.jsonl"
        self.items: list[Item] = []
        self.within = 0
        self._digests: list[str] = []
        self._new: list[Item] = []
        self._take_up()
        self._written = self._skipped = 0  # rows of the present item: given, and dropped
        self._buffer = np.zeros((layout.chunk_rows, *layout.row_shape), layout.dtype)
        self._filled = 0

    @property
    def rows(self) -> int:
        """Rows that were appended so far."""
        return len(self._digests) * self.layout.chunk_rows + self._filled

    @property
    def all_items(self) -> list[Item]:
        """What was said of all items so far, on the disk or not yet."""
        return self.items + self._new

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows (n, …) of the present item; written whenever a chunk is full.

        Raises:
            OSError: the chunk cannot be written; those before it stay.
        """
        drop = min(self.within - self._skipped, len(rows))
        self._skipped += drop
        self._written += drop
        rows = rows[drop:]
        while len(rows):
            count = min(len(rows), self.layout.chunk_rows - self._filled)
            self._buffer[self._filled : self._filled + count] = rows[:count]
            self._filled, rows = self._filled + count, rows[count:]
            self._written += count
            if self._filled == self.layout.chunk_rows:
                self._flush()

    def end_item(self, item: Item) -> None:
        """Say what came of the present item; the next `append` is of the next one."""
        self._new.append(item)
        self.within = self._written = self._skipped = 0

    def finish(
        self, columns: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any], **facts: Any
    ) -> None:
        """Write the last chunk, the small arrays, the group, and the record last of all.

        Args:
            columns: small arrays by name, one entry a sample or a boundary.
            attributes: of the group, for people.
            facts: what the record holds beside identity, items and digests.
        """
        length = self.rows
        if self._filled:  # not logged: an import that is stopped from here on fills it again
            self._buffer[self._filled :] = 0
            self._put_chunk()
        _write_group(self.folder, self.layout, length=length, columns=columns, more=attributes)
        record = {
            "format": FORMAT,
            "identity": self.identity,
            "layout": asdict(self.layout),
            "rows": length,
            "items": self.all_items,
            "sha256_of_chunks": self._digests,
            **facts,
        }
        path = self.folder / "import.json"
        write_json(path, record | {"sha256": document_sha256(record)})
        self._log.unlink(missing_ok=True)

    def _flush(self) -> None:
        """Put a full chunk on the disk, then the line that vouches for it and for what it ends."""
        self._put_chunk()
        line = {"sha256": self._digests[-1], "items": self._new, "within": self._written}
        self.items, self._new, self._filled = self.items + self._new, [], 0
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
            log.flush()

    def _put_chunk(self) -> None:
        path = self.layout.chunk_path(self.folder, len(self._digests))
        path.parent.mkdir(parents=True, exist_ok=True)
        content = self._buffer.data.cast("B")
        with appearing(path) as partial:
            partial.write_bytes(content)
        self._digests.append(hashlib.sha256(content).hexdigest())

    def _take_up(self) -> None:
        """Go on after the chunks that are whole; begin anew where another import lies there."""
        lines = self._lines()
        if not lines:
            remove(self.folder)
            self.folder.mkdir(parents=True)
            self._log.write_text(json.dumps({"identity": self._sha256}) + "\n", "utf-8")
            return
        for number, line in enumerate(lines[1:]):
            path = self.layout.chunk_path(self.folder, number)
            if not path.is_file() or _file_sha256(path) != line["sha256"]:
                break
            self._digests.append(line["sha256"])
            self.items += line["items"]
            self.within = line["within"]
        with appearing(self._log) as partial:
            kept = lines[: 1 + len(self._digests)]
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")

    def _lines(self) -> list[Any]:
        """The lines of the log, the first of which names this import; none of another import."""
        lines: list[Any] = []
        try:
            with self._log.open(encoding="utf-8") as log:
                for text in log:
                    lines.append(json.loads(text))
        except FileNotFoundError:
            return []
        except ValueError:  # the line that was being written when the process was killed
            pass
        return lines if lines and lines[0] == {"identity": self._sha256} else []


class _OpenFile:
    """A file that is closed when nobody reads it any more, whichever thread was the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


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
        self._dtype = np.dtype(layout.dtype)
        self._touched: dict[int, mmap.mmap] = {}
        chunk_bytes = layout.chunk_rows * layout.row_bytes
        for path in self.chunk_files.values():
            size = path.stat().st_size if path.is_file() else None
            if size != chunk_bytes:
                found = "missing" if size is None else f"{size:,} bytes"
                raise damaged(folder, path, found, f"{chunk_bytes:,} bytes")

    @cached_property
    def chunk_files(self) -> dict[str, Path]:
        """The files of the chunks by their names in the store, in order."""
        paths = (
            self.layout.chunk_path(self.folder, number)
            for number in range(len(self.record["sha256_of_chunks"]))
        )
        return {str(path.relative_to(self.folder)): path for path in paths}

    def row(self, number: int) -> NDArray[Any]:
        """One row, mapped and not copied."""
        chunk, at = divmod(number, self.layout.chunk_rows)
        rows, pages = self._mapped(chunk)
        self._touched[chunk] = pages
        row: NDArray[Any] = rows[at]
        return row

    def release(self) -> None:
        """Give back the memory that rows were mapped to; a row in use is mapped again."""
        while self._touched:
            with suppress(KeyError):  # another thread was faster
                self._touched.popitem()[1].madvise(mmap.MADV_DONTNEED)

    def read(self, first: int, out: NDArray[Any]) -> None:
        """Fill `out` (n, …) with the rows from `first`, converted to its dtype.

        The files are read and not mapped: pages that are mapped count as memory of this process,
        however many of them it has long done with.

        Raises:
            DamagedCacheError: a chunk has become shorter.
            DataError: a chunk cannot be read.
        """
        done = 0
        while done < len(out):
            chunk, at = divmod(first + done, self.layout.chunk_rows)
            count = min(len(out) - done, self.layout.chunk_rows - at)
            out[done : done + count] = self._read(chunk, at, count)
            done += count

    def _read(self, chunk: int, at: int, count: int) -> NDArray[Any]:
        """So many rows of a chunk, as they are stored."""
        rows = np.empty((count, *self.layout.row_shape), self._dtype)
        file = self._opened(chunk)  # a name, so that it stays open while it is read
        try:
            size = os.preadv(file.descriptor, [rows.data], at * self.layout.row_bytes)
        except OSError as error:
            with reading(file.path):
                raise error
        if size != rows.nbytes:
            found, expected = f"{size:,} bytes at row {at:,}", f"{rows.nbytes:,}"
            raise damaged(self.folder, file.path, found, expected)
        return rows

    @cached_property
    def _opened(self) -> Callable[[int], _OpenFile]:
        """Chunks by number, those read last, as opening takes longer than reading a crop."""
        return lru_cache(MOST_OPEN)(lambda n: _OpenFile(self.layout.chunk_path(self.folder, n)))

    @cached_property
    def _mapped(self) -> Callable[[int], tuple[NDArray[Any], mmap.mmap]]:
        """Chunks by number; those mapped last stay so, as each one takes an open file."""
        return lru_cache(MOST_OPEN)(self._map)

    def _map(self, chunk: int) -> tuple[NDArray[Any], mmap.mmap]:
        path = self.layout.chunk_path(self.folder, chunk)
        shape = (self.layout.chunk_rows, *self.layout.row_shape)
        with reading(path), path.open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(pages, self.layout.dtype).reshape(shape), pages


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


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_group(
    folder: Path,
    layout: RawLayout,
    *,
    length: int,
    columns: Mapping[str, NDArray[Any]],
    more: Mapping[str, Any],
) -> None:
    import zarr

    group = zarr.open_group(folder, mode="a", zarr_format=3)
    group.attrs.update(dict(more))
    group.create_array(
        layout.name,
        shape=(length, *layout.row_shape),
        chunks=(layout.chunk_rows, *layout.row_shape),
        dtype=layout.dtype,
        compressors=None,
        filters=None,
        fill_value=0,
        dimension_names=layout.dims,
        overwrite=False,
    )
    for name, values in columns.items():
        group.create_array(name, data=values, overwrite=True)
