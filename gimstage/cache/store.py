"""A store as a folder of files: what its metadata says, and whether every file is whole."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.cache.format import Metadata, SmallLayout, StoreLayout
from gimstage.cache.parse import parse_store
from gimstage.cache.shards import (
    REBUILD,
    Digest,
    crc32c,
    open_shard,
    shard_digest,
    without_crc,
)
from gimstage.errors import CacheError, DamagedCacheError
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
        raise DamagedCacheError(str(path), "the file is missing", cure="extract again") from error
    except UnreadableError as error:
        raise DamagedCacheError(str(path), f"not readable: {error}", cure=REBUILD) from error
    if not isinstance(metadata, dict):
        raise DamagedCacheError(str(path), "not a JSON object", cure=REBUILD)
    return metadata


def read_layout(store: Path) -> StoreLayout:
    """The layout that the zarr.json files of a store describe.

    Raises:
        CacheError: there is no store, or not one of gimstage's form.
        DamagedCacheError: its metadata is not JSON.
    """
    if not (store / "zarr.json").is_file():
        raise CacheError(str(store), "no zarr.json", "a store of features", "extract first")
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
    body = without_crc(path.read_bytes(), where=str(path))
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
    store, listed = Path(path), {entry["path"]: entry for entry in shards}
    for name in listed:  # metadata first: it says what the other files are
        if name.endswith("zarr.json"):
            _check_file(store / name, listed[name])
    layout = read_layout(store)
    sharded = {array.path(i): (array, i) for array in layout.arrays for i in range(array.shards)}
    for name in layout.paths:
        if name not in listed:
            raise DamagedCacheError(str(store / name), "not in the manifest", cure="extract again")
        if name in sharded:
            _check_size(store / name, listed[name]["bytes"])
            shard = open_shard(store, *sharded[name])
            if full:
                _check_digest(store / name, listed[name], shard_digest(shard))
        else:
            _check_file(store / name, listed[name])
        read(listed[name]["bytes"])


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    """Compare a small file with its entry in the manifest."""
    _check_size(path, entry["bytes"])
    _check_digest(path, entry, file_digest(path))


def _check_digest(path: Path, entry: Mapping[str, Any], digest: str) -> None:
    if digest != entry["crc32c"]:
        found, expected = f"content of digest {digest}", entry["crc32c"]
        raise DamagedCacheError(str(path), found, expected, REBUILD)


def _check_size(path: Path, nbytes: int) -> None:
    if not path.is_file():
        raise DamagedCacheError(str(path), "the file is missing", cure="extract again")
    if path.stat().st_size != nbytes:
        raise DamagedCacheError(str(path), f"{path.stat().st_size} bytes", str(nbytes), REBUILD)


def file_digest(path: Path) -> str:
    """The digest of a small file: a small array, which ends in its crc, or a zarr.json.

    Raises:
        DamagedCacheError: an array's crc does not hold.
    """
    data, digest = path.read_bytes(), Digest()
    whole = path.name == "zarr.json"
    digest.add(crc32c(data if whole else without_crc(data, where=str(path))))
    return str(digest)
