"""One shard file as bytes: its checksums, its index, and whether it is whole.

The writer, the reader and `verify` all judge a shard by `open_shard`, so they agree on what is
damaged.
"""

import os
import weakref
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from gimstage.cache.format import ABSENT, CRC_BYTES, ArrayLayout
from gimstage.errors import DamagedCacheError

REBUILD = "delete the file and extract again"
_BLOCK_BYTES = 1 << 22


def crc32c(data: NDArray[Any] | bytes, crc: int = 0) -> int:
    """The crc32c of `data`, or of what `crc` covers followed by `data`; contiguous arrays only."""
    extended: int = google_crc32c.extend(crc, data)
    return extended


def crc_bytes(crc: int) -> bytes:
    """A crc as Zarr's codec appends it."""
    return crc.to_bytes(CRC_BYTES, "little")


def with_crc(data: bytes) -> bytes:
    """Data followed by its crc."""
    return data + crc_bytes(crc32c(data))


def without_crc(data: bytes, *, where: str) -> bytes:
    """Data whose trailing crc has been checked and cut off.

    Raises:
        DamagedCacheError: the crc does not match.
    """
    body, stored = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if crc_bytes(crc32c(body)) != stored:
        raise DamagedCacheError(where, "checksum does not match", cure=REBUILD)
    return body


def file_crc32c(path: Path) -> int:
    """The crc32c of a whole file, read in blocks."""
    crc, block = 0, np.empty(_BLOCK_BYTES, np.uint8)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block.data):
            crc = crc32c(block[:count], crc)
    return crc


class Shard:
    """An open shard whose index has been checked; the file closes with its last reference.

    So a reader may forget a shard while one of its threads is still reading from it.
    """

    def __init__(self, path: Path, fd: int, index: NDArray[np.uint64]) -> None:
        """Take over an open file descriptor and the (chunks, 2) index of offsets and bytes."""
        self.path, self.fd = path, fd
        self.index: list[list[int]] = index.tolist()
        weakref.finalize(self, os.close, fd)


def open_shard(store: Path, array: ArrayLayout, shard: int) -> Shard:
    """A shard, opened for reading, whose size, index checksum and every index entry are right.

    Raises:
        DamagedCacheError: the file is missing, cut, or its index does not hold.
    """
    path = store / array.path(shard)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DamagedCacheError(str(path), "the file is missing", cure="extract again") from None
    try:
        return Shard(path, fd, _read_index(path, fd, array, shard))
    except BaseException:
        os.close(fd)
        raise


def _read_index(path: Path, fd: int, array: ArrayLayout, shard: int) -> NDArray[np.uint64]:
    """The (chunks, 2) offsets and bytes of the chunks present; refused unless all are."""
    size, wanted = os.fstat(fd).st_size, array.shard_bytes(shard)
    if not (size == wanted if array.exact else array.index_bytes < size <= wanted):
        bound = "" if array.exact else "at most "
        raise DamagedCacheError(str(path), f"{size} bytes", f"{bound}{wanted}", REBUILD)
    end = size - array.index_bytes
    tail = os.pread(fd, array.index_bytes, end)
    index = np.frombuffer(without_crc(tail, where=f"{path}, index"), "<u8").reshape(-1, 2)
    present = index[: array.chunks(shard)]
    offsets, lengths = present.T
    fits = lengths == array.chunk_bytes + CRC_BYTES if array.exact else lengths > CRC_BYTES
    # An absent chunk would read as zeros in every Zarr tool; here it is damage like any other.
    # Its entry, like every wild one, points past the end; the sum of such numbers could wrap.
    fits &= (offsets < end) & (lengths <= end) & (offsets + lengths <= end)
    if not fits.all():
        bad = int(np.flatnonzero(~fits)[0])
        offset, length = present[bad].tolist()
        found = "is absent" if offset == ABSENT else f"has {length} bytes at {offset}"
        whole = f"{array.chunks(shard)} whole chunks in the first {end} bytes"
        raise DamagedCacheError(str(path), f"chunk {bad} {found}", whole, REBUILD)
    return present
