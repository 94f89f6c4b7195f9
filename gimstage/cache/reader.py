"""Read windows of a store straight into the caller's tensor.

    starts ─► which bytes of which chunks (windows.py) ─► preadv into `out`, a few threads

Uncompressed chunks are read in place: exactly the bytes wanted, no memory of our own. Compressed
ones are read whole, checked and decoded. The engine "zarr" gives the same values through
zarr-python, far slower.

A store that is written anew has another layout, be it only in its attributes, which hold the digest
of the weights behind it. Whenever a reader has opened a further file it looks whether zarr.json is
what it was, so that no two stores are ever mixed.

Nothing is opened at import, and what is open belongs to one process: a reader that finds itself
in another, forked or spawned, opens its files anew. Shape letters: B batch; C channels.
"""

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gimstage.cache.encodings import ENCODINGS, Affine
from gimstage.cache.format import CRC_BYTES, ArrayLayout, StoreLayout
from gimstage.cache.shards import Shard, crc32c, crc_bytes, open_shard
from gimstage.cache.store import read_layout, read_small
from gimstage.cache.windows import Piece, Shape, pieces
from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError, nearest
from gimstage.errors.commands import inherited, making_anew
from gimstage.files import Stamp, stamp_of

T = TypeVar("T")
Engine = Literal["direct", "zarr"]

OPEN_SHARDS = 128
# Below this, handing a sample to a thread costs more than the thread brings.
THREADED_BYTES = 1_000_000


class _Process:
    """What a reader holds open in one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.shards: dict[tuple[str, int], Shard] = {}
        self.pool: ThreadPoolExecutor | None = None
        self.zarr: Any = None


class FeatureReader:
    """A store, opened for reading; safe to share between threads, to pickle, and under fork.

    Args:
        path: the store.
        engine: "direct", or "zarr" for zarr-python; the values are the same.
        threads: how many read at once where samples are large.

    Raises:
        CacheError: there is no store of gimstage's form.
    """

    def __init__(self, path: str | Path, *, engine: Engine = "direct", threads: int = 8) -> None:
        self.path, self.engine, self.threads = Path(path), engine, threads
        self._stamp = _stamp(self.path)  # first: a change while reading is a change since
        self.layout = read_layout(self.path)
        self._arrays = {array.name: array for array in self.layout.arrays}
        self._small = {small.name: small for small in self.layout.small}
        self._affines: dict[str, Affine] = {}
        self._process = _Process()

    def __reduce__(
        self,
    ) -> tuple[Callable[[Path, StoreLayout], "FeatureReader"], tuple[Path, StoreLayout]]:
        """Pickles as its path and layout; nothing open crosses to another process."""
        build = partial(_reopened, engine=self.engine, threads=self.threads)
        return build, (self.path, self.layout)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes in the group's zarr.json."""
        return self.layout.attributes

    @property
    def rows_per_frame(self) -> int:
        """Rows of sequences in a frame, which is 10 ms of sound; see `SequenceDataSpec`."""
        rows: int = self.attributes.get("rows_per_frame") or self.attributes["rows_per_10_ms"]
        return rows

    @property
    def nbytes(self) -> int:
        """Bytes of every file in the store."""
        return sum((self.path / name).stat().st_size for name in self.layout.paths)

    def array(self, name: str) -> ArrayLayout:
        """The layout of a streamed array: shape, dims, dtype, encoding.

        Raises:
            CacheError: there is none of that name.
        """
        return _named(self.path, self._arrays, name)

    def small(self, name: str) -> NDArray[Any]:
        """The values of a small array.

        Raises:
            CacheError: there is none of that name.
            DamagedCacheError: its file is missing, cut or altered.
            StaleCacheError: another store has taken the place of this one.
        """
        with self._of_one_store():
            return read_small(self.path, _named(self.path, self._small, name))

    def read(self, name: str, out: Tensor, starts: NDArray[np.int64] | Tensor) -> None:
        """Fill `out` with B windows of a streamed array, as stored.

        A chunk's own checksum is checked where it is decompressed. Checking raw bytes would cost
        two fifths of the speed, so those rest on `verify`.

        Args:
            name: the name of the array.
            out: (B, window…, rest…) of the stored dtype, contiguous, on the CPU.
            starts: where each window begins on the array's first axes, (B, window axes) int64,
                in any order, repeated or not; the axes after these are read whole.

        Raises:
            CacheError: `out` or `starts` does not fit the array.
            DamagedCacheError: a shard is missing, cut or altered.
            StaleCacheError: another store has taken the place of this one.
        """
        array = self.array(name)
        window, corners = _checked(array, out, np.asarray(starts))
        size = math.prod(window) * array.dtype.itemsize
        flat = out.view(-1).view(torch.uint8).numpy().data
        targets = (flat[i * size : (i + 1) * size] for i in range(len(out)))
        numbers, phases = np.divmod(corners, array.chunk)
        first = (numbers @ array.strides).tolist()
        fill = self._fill_zarr if self.engine == "zarr" else self._fill_direct
        jobs = zip(first, map(tuple, phases.tolist()), targets, strict=True)
        if len(out) > 1 and size >= THREADED_BYTES and self.engine == "direct":
            for _ in self._pool().map(lambda job: fill(array, window, *job), jobs):
                pass
        else:
            for job in jobs:
                fill(array, window, *job)

    def decode(self, name: str, raw: Tensor) -> Tensor:
        """Stored values as float32, on whatever device they are.

        Args:
            name: the name of the array.
            raw: (…, the array's axes from its channels on) of the stored dtype.
        """
        array = self.array(name)
        encoding = ENCODINGS[array.encoding]
        if not encoding.steps:
            return encoding.decode(raw)
        if name not in self._affines:
            scale, offset = (
                torch.from_numpy(self.small(f"{name}_{part}")) for part in ("scale", "offset")
            )
            self._affines[name] = Affine(scale, offset, array.channel_axis)
        return encoding.decode(raw, self._affines[name])

    def _here(self) -> _Process:
        """What is open in this process; nothing yet after a fork."""
        if self._process.pid != os.getpid():
            self._process = _Process()
        return self._process

    @contextmanager
    def _of_one_store(self) -> Iterator[None]:
        """Inside, a file is opened that must belong to the store that this reader began with.

        Raises:
            StaleCacheError: by now it may be another's, which explains damage too.
        """
        try:
            yield
        except DamagedCacheError:
            self._require_same()
            raise
        self._require_same()

    def _require_same(self) -> None:
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        try:
            layout = read_layout(self.path)
        except CacheError:  # gone, or not all there yet
            layout = None
        if layout != self.layout:
            raise _replaced(self.path)
        self._stamp = stamp  # the same store, written again to the same bits

    def _pool(self) -> ThreadPoolExecutor:
        process = self._here()
        with process.lock:
            if process.pool is None:
                process.pool = ThreadPoolExecutor(self.threads, "features", **inherited())
            return process.pool

    def _shard(self, array: ArrayLayout, number: int) -> Shard:
        """An open shard; where too many are, the first opened is forgotten for it."""
        process, key = self._here(), (array.name, number)
        shard = process.shards.get(key)
        if shard is None:
            with self._of_one_store():
                shard = open_shard(self.path, array, number)
            with process.lock:
                process.shards[key] = shard
                if len(process.shards) > OPEN_SHARDS:
                    process.shards.pop(next(iter(process.shards)))
        return shard

    def _chunks(
        self, array: ArrayLayout, window: Shape, first: int, phase: Shape
    ) -> Iterator[tuple[Shard, int, Piece]]:
        """The shard, number in its index, and wanted bytes of every chunk a window touches.

        Args:
            array: which one is read.
            window: the window's shape.
            first: the chunk it begins in, counted through the array.
            phase: where in that chunk it begins.
        """
        held, shard = -1, None
        for piece in pieces(
            window=window,
            chunk=array.chunk,
            phase=phase,
            strides=array.strides,
            itemsize=array.dtype.itemsize,
        ):
            at, number = divmod(first + piece.step, array.shard_chunks)
            if shard is None or at != held:
                held, shard = at, self._shard(array, at)
            yield shard, number, piece

    def _fill_direct(
        self, array: ArrayLayout, window: Shape, first: int, phase: Shape, target: memoryview
    ) -> None:
        for shard, number, piece in self._chunks(array, window, first, phase):
            if array.exact:
                offset = shard.index[number][0]
                for source, start, nbytes in piece.runs:
                    _read_into(shard, target[start : start + nbytes], offset + source)
            else:
                chunk = _decompressed(array, shard, number)
                for source, start, nbytes in piece.runs:
                    target[start : start + nbytes] = chunk[source : source + nbytes]

    def _fill_zarr(
        self, array: ArrayLayout, window: Shape, first: int, phase: Shape, target: memoryview
    ) -> None:
        for _ in self._chunks(array, window, first, phase):
            pass  # opening the shards finds absent chunks, which zarr-python would read as zeros
        process = self._here()
        if process.zarr is None:
            import zarr  # half a second, which only this engine pays

            process.zarr = zarr.open_group(self.path, mode="r")
        chunks = np.unravel_index(first, (array.shards * array.grid[0], *array.grid[1:]))
        corner = [int(at) * n + p for at, n, p in zip(chunks, array.chunk, phase, strict=True)]
        cut = tuple(slice(at, at + size) for at, size in zip(corner, window, strict=True))
        with self._of_one_store():
            try:
                values = process.zarr[array.name][cut]
            except ValueError as error:  # a checksum
                where = f"{self.path / array.name}, window at {corner}"
                raise DamagedCacheError(
                    where, f"zarr-python: {error}", cure=making_anew(self.path)
                ) from error
        np.frombuffer(target, array.dtype).reshape(window)[...] = values


def _reopened(path: Path, layout: StoreLayout, *, engine: Engine, threads: int) -> FeatureReader:
    """A reader in another process, of the store that the first one reads."""
    reader = FeatureReader(path, engine=engine, threads=threads)
    if reader.layout != layout:
        raise _replaced(path)
    return reader


def _replaced(store: Path) -> StaleCacheError:
    found = "another store than when it was opened"
    return StaleCacheError(str(store), found, "the one that is read", "open it again")


def _stamp(store: Path) -> Stamp | None:
    """What tells the zarr.json of a store from any other; None where there is none."""
    try:
        return stamp_of((store / "zarr.json").stat())
    except OSError:
        return None


def _named(store: Path, parts: Mapping[str, T], name: str) -> T:
    if name not in parts:
        raise CacheError(str(store), f"no array {name!r}", cure=nearest(name, parts))
    return parts[name]


def _checked(
    array: ArrayLayout, out: Tensor, starts: NDArray[np.int64]
) -> tuple[Shape, NDArray[np.int64]]:
    """The window's whole shape, and where each one begins on all axes, (B, axes)."""
    if out.dtype != array.torch_dtype or out.device.type != "cpu" or not out.is_contiguous():
        contiguous = "contiguous" if out.is_contiguous() else "strided"
        raise CacheError(
            f"{array.name}, out",
            f"{contiguous} {out.dtype} on {out.device}",
            f"contiguous {array.torch_dtype} on cpu",
        )
    axes, window = starts.shape[-1], tuple(out.shape[1:])
    room = np.subtract(array.shape, window) if len(window) == len(array.shape) else np.array([-1])
    if starts.shape != (len(out), axes) or (room < 0).any() or room[axes:].any():
        whole = ", ".join(map(str, array.shape[axes:]))
        raise CacheError(
            f"{array.name}, out",
            f"{tuple(out.shape)} for starts {starts.shape}",
            f"B windows within {array.shape}, whole on its last axes ({whole})",
        )
    outside = ((starts < 0) | (starts > room[:axes])).any(axis=1)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise CacheError(
            f"{array.name}, starts[{at}]",
            f"{tuple(starts[at].tolist())}",
            f"0 … {tuple(room[:axes].tolist())}",
        )
    corners = np.zeros((len(out), len(window)), np.int64)  # np.pad takes as long as two reads
    corners[:, :axes] = starts
    return window, corners


def _read_into(shard: Shard, view: memoryview, offset: int) -> None:
    """Fill `view` from the file; one call, unless the system hands over less."""
    while (count := os.preadv(shard.fd, [view], offset)) < len(view):
        if count == 0:
            found, expected = f"the file ends at byte {offset}", f"{len(view)} more"
            raise DamagedCacheError(str(shard.path), found, expected, making_anew(shard.path))
        view, offset = view[count:], offset + count


def _decompressed(array: ArrayLayout, shard: Shard, number: int) -> memoryview:
    """The bytes of a whole compressed chunk, its checksum checked."""
    offset, nbytes = shard.index[number]
    raw = np.empty(nbytes, np.uint8)
    _read_into(shard, raw.data, offset)
    body, where = raw[:-CRC_BYTES], f"{shard.path}, chunk {number}"
    if crc_bytes(crc32c(body)) != raw[-CRC_BYTES:].tobytes():
        raise DamagedCacheError(where, "checksum does not match", cure=making_anew(shard.path))
    compression = ENCODINGS[array.encoding].compression
    assert compression is not None
    chunk = memoryview(compression.codec().decode(body))
    if len(chunk) != array.chunk_bytes:
        expected = f"{array.chunk_bytes}"
        raise DamagedCacheError(
            where, f"{len(chunk)} bytes decoded", expected, making_anew(shard.path)
        )
    return chunk
