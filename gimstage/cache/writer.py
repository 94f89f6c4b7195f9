"""Write a store, shard by shard, so that a killed writer leaves nothing but whole files.

Progress is the set of whole shards on disk: no journal that could disagree with it. What is damaged
is set aside, said so, and written anew. One shard on its way to its file is in openshards.py.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gimstage.cache.format import (
    CRC_BYTES,
    ArrayLayout,
    SmallLayout,
    StoreLayout,
    document,
)
from gimstage.cache.openshards import PART, OpenShards, ShardWriter
from gimstage.cache.parse import first_difference
from gimstage.cache.shards import open_shard, shard_digest, with_crc
from gimstage.cache.store import content_digest, file_digest, read_document
from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError
from gimstage.errors.commands import pasted, removing
from gimstage.files import DAMAGED, appearing, set_aside, sync_folder

Array = NDArray[Any]

_ANEW = "it is written anew"


class FeatureWriter:
    """Creates a store, or resumes one of the same layout and attributes.

    Args:
        path: the store.
        layout: the layout of the whole store.
        small: the values of every small array.
        listed: what a manifest says of the files here, as `finish` gave it; if it names this very
            store, whatever differs is damage and no other store.

    Raises:
        StaleCacheError: another store lies there.
        CacheError: a small array is not as the layout says.
    """

    def __init__(
        self,
        path: str | Path,
        layout: StoreLayout,
        *,
        small: Mapping[str, Array] | None = None,
        listed: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.path, self.layout = Path(path), layout
        self._digests: dict[str, str] = {}
        documents = {name: document(metadata) for name, metadata in layout.metadata().items()}
        files = _small_files(layout, small or {})
        self._listed = _naming({entry["path"]: entry["crc32c"] for entry in listed}, documents)
        self._clear_the_way()
        if not self._listed:
            self._refuse_another(files)
        for leftover in self.path.rglob(f"*{PART}"):
            leftover.unlink()
        for name, data in (documents | files).items():
            if not _holds(self.path / name, data):
                self._set_aside(name, "its content is not what belongs here")
                _write_whole(self.path / name, data)

    def missing_shards(self) -> list[int]:
        """The shards not whole on disk in every array, ascending; damaged files are set aside."""
        whole = [all(self._whole(shard)) for shard in range(self.layout.shards)]
        return [shard for shard, is_whole in enumerate(whole) if not is_whole]

    @contextmanager
    def shards(self) -> Iterator[OpenShards]:
        """Shards to write one after another; on leaving, what was not published is removed."""
        opened = OpenShards(self.path, self.layout, self._digests)
        try:
            yield opened
        finally:
            opened.discard()

    @contextmanager
    def shard(self, shard: int) -> Iterator[ShardWriter]:
        """A shard of every array to append rows to; it appears on leaving, not on an exception."""
        with self.shards() as shards:
            writer = shards.begin(shard)
            yield writer
            shards.publish(writer)

    def finish(self) -> list[dict[str, Any]]:
        """Path, bytes and crc32c of every file of the whole store, for the manifest.

        Raises:
            CacheError: shards are missing.
        """
        missing = self.missing_shards()
        if missing:
            found = f"{len(missing)} of {self.layout.shards} shards missing, first {missing[0]}"
            raise CacheError(str(self.path), found, "all of them", "write the missing ones")
        return [
            {
                "path": name,
                "bytes": (self.path / name).stat().st_size,
                "crc32c": self._digests.get(name) or file_digest(self.path / name),
            }
            for name in self.layout.paths
        ]

    def _whole(self, shard: int) -> list[bool]:
        """Whether each array's file of a shard is whole; every one that is not is set aside."""
        are_whole = []
        for array in self.layout.arrays:
            try:
                self._check_chunks(array, shard)
                are_whole.append(True)
            except DamagedCacheError as error:
                self._set_aside(array.path(shard), error.found)
                are_whole.append(False)
        return are_whole

    def _check_chunks(self, array: ArrayLayout, shard: int) -> None:
        """Check every chunk of a shard that lay there already, once: the manifest will name it.

        Raises:
            DamagedCacheError: the file is missing, cut, or a checksum does not hold.
        """
        path = array.path(shard)
        opened = open_shard(self.path, array, shard)
        if path not in self._digests:
            digest = shard_digest(opened)
            if digest != self._listed.get(path, digest):
                found, expected = f"content of digest {digest}", self._listed[path]
                raise DamagedCacheError(str(self.path / path), found, expected)
            self._digests[path] = digest

    def _set_aside(self, name: str, reason: str) -> None:
        """Set aside a file that is damaged; one that is missing is damage where it is listed."""
        path = self.path / name
        if os.path.lexists(path):
            set_aside(path, reason, _ANEW)
        elif name in self._listed:
            set_aside(path, "the file is missing", _ANEW)

    def _clear_the_way(self) -> None:
        """Set aside what lies where the folders of the store and of its arrays should be."""
        for folder in (self.path, *(self.path / part.name for part in self.layout.parts)):
            if os.path.lexists(folder) and not folder.is_dir():
                set_aside(folder, "no folder", _ANEW)

    def _refuse_another(self, small: Mapping[str, bytes]) -> None:
        wanted = self.layout.metadata()
        another = f"run {pasted(*removing(self.path))} to write another"
        # A writer killed before its first file had its name leaves only that file's .part.
        whole = [p for p in self.path.glob("*") if p.suffix not in (PART, DAMAGED)]
        if whole and self.path / "zarr.json" not in whole:
            raise StaleCacheError(
                str(self.path),
                "arrays without their group's zarr.json",
                cure=another,
            )
        present = {p.relative_to(self.path).as_posix() for p in self.path.glob("**/zarr.json")}
        for name in sorted(present):
            if name not in wanted:
                raise StaleCacheError(str(self.path / name), "an array not asked for", cure=another)
            difference = first_difference(read_document(self.path / name), wanted[name])
            if difference:
                key, found, other = difference
                where = f"{self.path / name}: {key}"
                raise StaleCacheError(where, repr(found), repr(other), another)
        for name, data in small.items():
            path = self.path / name
            if path.is_file() and not _holds(path, data) and _is_whole(path, len(data)):
                raise StaleCacheError(str(path), "other values", "those given", another)


def _small_files(layout: StoreLayout, small: Mapping[str, Array]) -> dict[str, bytes]:
    """The file of each small array, by path, from values that fit the layout."""
    wanted = {array.name for array in layout.small}
    if small.keys() != wanted:
        found, expected = (", ".join(sorted(names)) or "none" for names in (small, wanted))
        raise CacheError("small arrays", found, expected)
    return {array.path: _small_file(array, small[array.name]) for array in layout.small}


def _small_file(array: SmallLayout, values: Array) -> bytes:
    if (values.shape, values.dtype) != (array.shape, array.dtype):
        raise CacheError(
            f"small array {array.name}",
            f"{values.shape} {values.dtype}",
            f"{array.shape} {array.dtype}",
        )
    return with_crc(values.astype(array.dtype.newbyteorder("<")).tobytes())


def _naming(listed: Mapping[str, str], documents: Mapping[str, bytes]) -> Mapping[str, str]:
    """The digests by path, if they are of a store with this metadata; else none."""
    wanted = {name: content_digest(data) for name, data in documents.items()}
    named = {name: digest for name, digest in listed.items() if name.endswith("zarr.json")}
    return listed if named == wanted else {}


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _is_whole(path: Path, nbytes: int) -> bool:
    data = path.read_bytes()
    return len(data) == nbytes and with_crc(data[:-CRC_BYTES]) == data


def _write_whole(path: Path, data: bytes) -> None:
    """Make a small file appear whole or not at all, in a folder that may be new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as part:
        part.write_bytes(data)
    sync_folder(path.parent.parent)
