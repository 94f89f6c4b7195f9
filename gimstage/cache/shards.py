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
from gimstage.errors.commands import making_anew
from gimstage.files import UnreadableError, require_regular


def crc32c(data: NDArray[Any] | bytes, crc: int = 0) -> int:
    """The crc32c of `data`, or of what `crc` covers followed by `data`; contiguous arrays only."""
    extended: int = google_crc32c.extend(crc, data)
    return extended


def crc_bytes(crc: int) -> bytes:
    """A crc as Zarr's codec appends it."""
    return crc.to_bytes(CRC_BYTES, "little")


def with_crc(data: bytes) -> bytes:
    """The data followed by its checksum, crc32c, of four bytes."""
    return data + crc_bytes(crc32c(data))


def without_crc(data: bytes, path: Path, *, part: str = "") -> bytes:
    """Data whose trailing crc has been checked and cut off.

    Args:
        data: the content of a file, or of a part of it, and its crc.
        path: the file.
        part: such as ", index"; empty for the whole file.

    Raises:
        DamagedCacheError: the crc does not match.
    """
    body, stored = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if crc_bytes(crc32c(body)) != stored:
        raise DamagedCacheError(f"{path}{part}", "checksum does not match", cure=making_anew(path))
    return body


class Digest:
    """The crc32c of a file's content, of which every part is followed by its own crc.

    A crc over data and their crc is the same whatever the data are, so the digest is taken over the
    crcs alone: it tells a file from any other whole one.
    """

    def __init__(self) -> None:
        self._crc = 0

    def add(self, crc: int) -> None:
        """Take up the crc of the next part."""
        self._crc = crc32c(crc_bytes(crc), self._crc)

    def __str__(self) -> str:
        """As manifests spell it: eight hexadecimal digits."""
        return f"{self._crc:08x}"


class Shard:
    """An open shard whose index has been checked; the file closes with its last reference.

    So a reader may forget a shard while one of its threads is still reading from it.
    """

    def __init__(self, path: Path, fd: int, index: NDArray[np.uint64], index_crc: int) -> None:
        """Take over a file descriptor, the (chunks, 2) index of offsets and bytes, and its crc."""
        self.path, self.fd, self.index_crc = path, fd, index_crc
        self.index: list[list[int]] = index.tolist()
        weakref.finalize(self, os.close, fd)


def open_shard(store: Path, array: ArrayLayout, shard: int) -> Shard:
    """A shard, opened for reading, whose size, index checksum and every index entry are right.

    Raises:
        DamagedCacheError: the file is missing, cut, or its index does not hold.
    """
    path = store / array.path(shard)
    require_file(path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return Shard(path, fd, *_read_index(path, fd, array, shard))
    except BaseException:
        os.close(fd)
        raise


def require_file(path: Path) -> os.stat_result:
    """What the system says of a file of a store.

    Raises:
        DamagedCacheError: it is missing, or something else lies there.
    """
    try:
        return require_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedCacheError(str(path), "the file is missing", cure=making_anew(path)) from None
    except UnreadableError as error:
        raise DamagedCacheError(str(path), str(error), "a file", making_anew(path)) from error


def _read_index(
    path: Path, fd: int, array: ArrayLayout, shard: int
) -> tuple[NDArray[np.uint64], int]:
    """The (chunks, 2) offsets and bytes of the chunks present, refused unless all are; its crc."""
    size, wanted = os.fstat(fd).st_size, array.shard_bytes(shard)
    if not (size == wanted if array.exact else array.index_bytes < size <= wanted):
        bound = "" if array.exact else "at most "
        raise DamagedCacheError(str(path), f"{size} bytes", f"{bound}{wanted}", making_anew(path))
    end = size - array.index_bytes
    tail = os.pread(fd, array.index_bytes, end)
    body = without_crc(tail, path, part=", index")
    index = np.frombuffer(body, "<u8").reshape(-1, 2)
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
        raise DamagedCacheError(str(path), f"chunk {bad} {found}", whole, making_anew(path))
    return present, crc32c(body)


def shard_digest(shard: Shard) -> str:
    """The digest of a shard, every chunk read and held against its crc.

    Raises:
        DamagedCacheError: a checksum does not hold.
    """
    digest = Digest()
    for number, (offset, nbytes) in enumerate(shard.index):
        chunk = os.pread(shard.fd, nbytes, offset)
        digest.add(crc32c(without_crc(chunk, shard.path, part=f", chunk {number}")))
    digest.add(shard.index_crc)
    return str(digest)
