"""Data that cannot be cut in place, decoded once into a raw store below the runs folder.

    runs/data/FOLDER-SETTINGS.zarr    see data/rawstore.py; SETTINGS is told from the recipe's keys

Looking never imports: until then the splits are planned, from names and headers. An import that was
stopped goes on where it stopped; one whose files have changed since is made again in its place.
"""

from __future__ import annotations

import hashlib
import logging
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import BadFileError, reading, require_room
from gimstage.data.rawstore import Item, RawLayout, RawStore, read_record
from gimstage.data.rawwriter import RawWriter
from gimstage.data.splits import Ints, Split
from gimstage.device import release_freed_memory
from gimstage.errors import DataError
from gimstage.files import document_sha256, free_bytes
from gimstage.inputs.base import DataSet
from gimstage.progress import Watch, counted_bytes
from gimstage.runs.locks import exclusive
from gimstage.sizes import format_bytes

NAMED = 3  # files that a message names of those that cannot be read for the same reason

_log = logging.getLogger(__name__)


class Imported(DataSet):
    """Data of somebody's own, imported when it is first worked on.

    A subclass says which files there are, what rows they become, and what its splits are.

    Args:
        spec: the recipe's data.toml.
        root: the folder that `--data` names; it is only read.
        runs: the runs folder.
    """

    keeps_labels = False

    def __init__(self, spec: Any, root: Path, *, runs: Path) -> None:
        super().__init__(spec, root)
        name = f"{root.absolute().name}-{document_sha256(self.settings)[:8]}.zarr"
        self.folder = runs / "data" / name

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All of the recipe that decides what is imported, as plain JSON values."""

    @property
    @abstractmethod
    def originals(self) -> Mapping[str, Path]:
        """The files to import by their ids, in the order of the rows; a cached property."""

    @property
    @abstractmethod
    def layout(self) -> RawLayout:
        """The array that they become."""

    @property
    @abstractmethod
    def rows_expected(self) -> int:
        """About how many rows there will be, told without decoding anything."""

    @abstractmethod
    def decoded(self, paths: Sequence[Path]) -> Iterator[Iterator[NDArray[Any]]]:
        """The rows of every file, in order, in blocks (n, …) of the layout's dtype.

        The blocks of one file are all asked for before the next file.

        Raises:
            BadFileError: while the blocks of a file are asked for: it cannot be read.
        """

    @abstractmethod
    def split(self, name: str) -> Split:
        """A split: a planned one until the data is made, then one that reads `store`."""

    @property
    def refuses_bad(self) -> bool:
        """Whether a file that cannot be read is a reason to stop."""
        return bool(self.spec.model_dump().get("on_bad", "refuse") == "refuse")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The settings, and a digest over id, size and time of change of every file."""
        digest = hashlib.sha256()
        for id_, path in self.originals.items():
            with reading(path):
                status = _status(path)
            line = f"{status.st_size} {status.st_mtime_ns} {id_}\0"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return {**self.settings, "files_sha256": digest.hexdigest()}

    @property
    def is_made(self) -> bool:
        """Whether the files as they are now have been imported."""
        return self.record is not None

    @property
    def is_outdated(self) -> bool:
        """Whether files were imported that have changed since; see `DataSet`."""
        return not self.is_made and (self.folder / "import.json").exists()

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """The record of the import of these very files; None where there is none.

        Raises:
            DamagedCacheError: it is not what was written.
        """
        if not (self.folder / "import.json").exists():
            return None
        record = read_record(self.folder)
        return record if record["identity"] == self.identity else None

    @cached_property
    def store(self) -> RawStore:
        """The finished store; there is none before the data is made."""
        return RawStore(self.folder)

    @cached_property
    def items(self) -> list[Item]:
        """What came of every file, in order: its id, its rows, and why it is bad if it is."""
        return list(self.store.record["items"])

    @cached_property
    def starts(self) -> Ints:
        """The first row of every file and, last, the number of all rows, (files + 1,) int64."""
        return first_rows(self.items)

    @property
    def foreseen(self) -> dict[str, str]:
        """Why files cannot be read as far as it is known before they are, by id."""
        return {}

    @property
    def bad(self) -> dict[str, str]:
        """Why files cannot be read, by id; what is foreseen until the data is made."""
        if not self.is_made:
            return self.foreseen
        return {item["id"]: item["bad"] for item in self.items if "bad" in item}

    def make(self, watch: Watch) -> None:
        """Import the files unless they are, and refuse those that cannot be read; see `DataSet`.

        What is foreseen is refused before the hours that an import may take.
        """
        self._refuse_bad()
        super().make(watch)
        self._refuse_bad()

    def _refuse_bad(self) -> None:
        if self.bad and self.refuses_bad:
            raise self.bad_files()

    def write(self, watch: Watch) -> None:
        """Import the files, or go on with it; a row of progress says how far it is."""
        with exclusive(self.folder.parent):
            self.__dict__.pop("record", None)  # another process may have been faster
            if not self.is_made:
                self._say_what_is_imported()
                self._import(watch)
                release_freed_memory()
                self.__dict__.pop("record", None)

    def _say_what_is_imported(self) -> None:
        """Say what will take how much of the disk, and refuse what it has no room for."""
        if not self.originals:
            raise DataError(str(self.root), "no file to import", "one at least")
        needed, place = self.rows_expected * self.layout.row_bytes, self.folder.parent
        # What lies there already is written over, or need not be written again.
        needed = max(
            0,
            needed
            - sum(path.stat().st_size for path in self.folder.rglob("c/**/*") if path.is_file()),
        )
        require_room(place, needed, "the import")
        again = (self.folder / "import.json").exists()
        _log.warning(
            "%s: %d files are imported %sinto %s: about %s of %s that are free",
            *(self.root, len(self.originals)),
            "again, as files have changed since, " if again else "",
            *(self.folder, format_bytes(needed), format_bytes(free_bytes(place))),
        )

    def _import(self, watch: Watch) -> None:
        ids, paths = list(self.originals), list(self.originals.values())
        sizes = [_status(path).st_size for path in paths]
        heard = counted_bytes(watch, "data import", sum(sizes))
        writer = RawWriter(self.folder, self.layout, self.identity)
        first = len(writer.items)
        heard(sum(sizes[:first]))
        decoded = self.decoded(paths[first:])
        for id_, blocks, size in zip(ids[first:], decoded, sizes[first:], strict=True):
            writer.end_item(self._imported(writer, id_, blocks, watch))
            heard(size)
        self.__dict__.pop("identity", None)
        if self.identity != writer.identity:
            found, cure = "files changed while they were imported", "run the same command again"
            raise DataError(str(self.root), found, "files that stay as they are", cure)
        writer.finish(
            self.columns(writer.all_items),
            {"source": self.spec.source},
            source=self.spec.source,
            root=str(self.root.absolute()),
            finding=self.spec.finding(),
        )

    def _imported(
        self, writer: RawWriter, id_: str, blocks: Iterator[NDArray[Any]], watch: Watch
    ) -> Item:
        item: Item = {"id": id_, "rows": 0}
        try:
            for rows in blocks:
                watch.leave_if_asked()
                writer.append(rows)
                item["rows"] += len(rows)
        except BadFileError as error:
            item["bad"] = str(error)
        return item

    def columns(self, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """Small arrays to store beside the rows, for people; none as a rule."""
        return {}

    def bad_files(self) -> DataError:
        """What to say of files that cannot be read."""
        none_left = len(self.bad) == len(self.originals)
        return DataError(
            str(self.root),
            f"{len(self.bad):,} of {len(self.originals):,} files cannot be read: "
            f"{', '.join(self._bad_by_reason())}",
            "files that are whole",
            "see whether data.toml asks for what they are, or give other files: --data DIR"
            if none_left
            else 'write on_bad = "skip" into data.toml to leave them out, or remove them',
        )

    def notes(self) -> list[str]:
        """How many files cannot be read, by reason, with the first of them; see `DataSet`."""
        return [f"left out: {each}" for each in self._bad_by_reason()]

    def _bad_by_reason(self) -> list[str]:
        """Such as "3 × cut short or damaged (a.png, b.png, …)", the most frequent first."""
        ids: dict[str, list[str]] = {}
        for id_, why in self.bad.items():
            ids.setdefault(why, []).append(id_)
        return [
            f"{len(own):,} × {why} ({', '.join([*own[:NAMED], *(['…'] if own[NAMED:] else [])])})"
            for why, own in sorted(ids.items(), key=lambda each: -len(each[1]))
        ]

    def files(self, split: str) -> dict[str, Path]:
        """The chunks of the store, whichever split is asked for."""
        return self.store.chunk_files

    @property
    def written_sha256(self) -> Mapping[Path, str]:
        """What the chunks held when they were written."""
        return self.store.written_sha256

    def told(self, split: str) -> dict[str, str]:
        """Which samples the split has, and in which order: a digest over their ids."""
        ids = "\0".join(self.split(split).ids)
        return {"samples": hashlib.sha256(ids.encode("utf-8", "surrogateescape")).hexdigest()}

    @property
    def remade(self) -> tuple[Path, str]:
        """The store, which the next command imports again once it is removed."""
        return self.folder, "imports"


def _status(path: Path) -> os.stat_result:
    """What the system says of a file, or of a link that leads nowhere, which is a bad file."""
    return path.stat() if path.exists() else path.lstat()


def first_rows(items: Sequence[Item]) -> Ints:
    """The first row of every item and, last, the number of all rows, (items + 1,) int64."""
    return np.cumsum([0, *(item["rows"] for item in items)], dtype=np.int64)
