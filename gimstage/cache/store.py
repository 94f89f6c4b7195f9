"""A store as a folder of files: what its metadata says, and whether every file is whole."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.cache.format import ArrayLayout, Metadata, SmallLayout, StoreLayout
from gimstage.cache.parse import parse_store
from gimstage.cache.shards import (
    Digest,
    crc32c,
    open_shard,
    require_file,
    shard_digest,
    without_crc,
)
from gimstage.errors import CacheError, DamagedCacheError
from gimstage.errors.commands import making_anew
from gimstage.files import UnreadableError, read_json

METADATA_BYTES = 1 << 24  # of a zarr.json, far more than any has


def read_document(path: Path) -> Metadata:
    """One zarr.json.

    Raises:
        DamagedCacheError: it is missing, or not a JSON object.
    """
    try:
        metadata = read_json(path, most_bytes=METADATA_BYTES)
    except FileNotFoundError as error:
        raise DamagedCacheError(str(path), "the file is missing", cure=making_anew(path)) from error
    except UnreadableError as error:
        raise DamagedCacheError(
            str(path), f"not readable: {error}", cure=making_anew(path)
        ) from error
    if not isinstance(metadata, dict):
        raise DamagedCacheError(str(path), "not a JSON object", cure=making_anew(path))
    return metadata


def read_layout(store: Path) -> StoreLayout:
    """The layout that the zarr.json files of a store describe.

    Raises:
        CacheError: there is no store, or not one of gimstage's form.
        DamagedCacheError: its metadata is not JSON.
    """
    if not (store / "zarr.json").is_file():
        raise CacheError(str(store), "no zarr.json", "a store of features", making_anew(store))
    paths = [store / "zarr.json", *sorted(store.glob("*/zarr.json"))]
    documents = {path.relative_to(store).as_posix(): read_document(path) for path in paths}
    return parse_store(documents, where=str(store))


def read_small(store: Path, small: SmallLayout) -> NDArray[Any]:
    """The values of a small array.

    Raises:
        DamagedCacheError: its file is missing, cut or altered.
    """
    path = store / small.path
    _check_size(path, small.nbytes)
    body = without_crc(path.read_bytes(), path)
    values = np.frombuffer(body, small.dtype.newbyteorder("<")).reshape(small.shape)
    return values.astype(small.dtype)  # a copy: the buffer itself is read-only


def verify(
    path: str | Path,
    shards: Iterable[Mapping[str, Any]],
    *,
    full: bool = True,
    read: Callable[[int], None] = lambda count: None,
) -> None:
    """Compare a store with the files its manifest lists.

    Args:
        path: the store.
        shards: what `FeatureWriter.finish` returned: path, bytes and crc32c of every file.
        full: read every byte; else, of each shard, only its size and index.
        read: told the bytes of every file of the store once it has been checked.

    Raises:
        DamagedCacheError: names the first file that is missing, cut, altered or not listed.
    """
    for damage in damage_of(path, shards, full=full, read=read):
        raise damage


def damage_of(
    path: str | Path,
    shards: Iterable[Mapping[str, Any]],
    *,
    full: bool = True,
    read: Callable[[int], None] = lambda count: None,
) -> Iterator[DamagedCacheError]:
    """What is wrong with each file that `verify` would not let pass; the same arguments.

    Where metadata is damaged nobody can tell what the other files are: of them, only their sizes
    are looked at.
    """
    store, listed = Path(path), {entry["path"]: entry for entry in shards}
    metadata = [name for name in listed if name.endswith("zarr.json")]
    checks = [partial(_check_file, store / name, listed[name]) for name in metadata]
    damage = list(_failures(checks))
    yield from damage
    try:
        layout = read_layout(store) if not damage else None
    except CacheError as error:
        layout = None
        yield DamagedCacheError(error.where, error.found, error.expected, making_anew(store))
    if layout is None:
        rest = [name for name in listed if name not in metadata]
        yield from _failures(partial(_check_size, store / n, listed[n]["bytes"]) for n in rest)
        return
    if sum(array.shards for array in layout.arrays) > len(listed):  # or counting could take all day
        found = f"{len(listed)} files"
        expected = "as many as its metadata says"
        yield DamagedCacheError(str(store), found, expected, making_anew(store))
        return
    sharded = {array.path(i): (array, i) for array in layout.arrays for i in range(array.shards)}
    for name in dict.fromkeys((*layout.paths, *listed)):
        check = partial(_check, store, name, listed.get(name), sharded.get(name), full=full)
        yield from _failures([check])
        read(listed.get(name, {}).get("bytes", 0))


def _failures(checks: Iterable[Callable[[], None]]) -> Iterator[DamagedCacheError]:
    for check in checks:
        try:
            check()
        except DamagedCacheError as error:
            yield error


def _check(
    store: Path,
    name: str,
    entry: Mapping[str, Any] | None,
    shard: tuple[ArrayLayout, int] | None,
    *,
    full: bool,
) -> None:
    """Compare one file with its entry in the manifest, by size and index or every byte."""
    if entry is None:
        raise DamagedCacheError(
            str(store / name), "not in the manifest", cure=making_anew(store / name)
        )
    if shard is None:
        _check_file(store / name, entry)
        return
    _check_size(store / name, entry["bytes"])
    opened = open_shard(store, *shard)
    if full:
        _check_digest(store / name, entry, shard_digest(opened))


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    """Compare a small file with its entry in the manifest."""
    _check_size(path, entry["bytes"])
    _check_digest(path, entry, file_digest(path))


def _check_digest(path: Path, entry: Mapping[str, Any], digest: str) -> None:
    if digest != entry["crc32c"]:
        found, expected = f"content of digest {digest}", entry["crc32c"]
        raise DamagedCacheError(str(path), found, expected, making_anew(path))


def _check_size(path: Path, nbytes: int) -> None:
    size = require_file(path).st_size
    if size != nbytes:
        raise DamagedCacheError(str(path), f"{size} bytes", str(nbytes), making_anew(path))


def file_digest(path: Path) -> str:
    """The digest of a small file: a small array, which ends in its crc, or a zarr.json.

    Raises:
        DamagedCacheError: an array's crc does not hold.
    """
    data = path.read_bytes()
    return content_digest(data if path.name == "zarr.json" else without_crc(data, path))


def content_digest(data: bytes) -> str:
    """The digest of a small file's content, its own crc cut off."""
    digest = Digest()
    digest.add(crc32c(data))
    return str(digest)
