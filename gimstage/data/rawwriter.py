"""Writing a raw store, chunk by chunk; see `rawstore` for what lies where.

An import that was stopped goes on after its last whole chunk, once that has been read again. The
record comes last of all: what has none is not finished. Imports `rawstore` and its neighbours only;
zarr when a store is finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.rawstore import FORMAT, Item, RawLayout
from gimstage.files import appearing, document_sha256, remove, write_json


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
