"""What a feature store looks like on disk, down to the byte: pure arithmetic, no input or output.

A store is a Zarr v3 group. Its *streamed arrays* (features, codes) grow along axis 0 and are cut at
the same rows into shards, one file each; a shard holds chunks, the smallest units a reader can
fetch, then an index of where each chunk lies. Its *small arrays* (index, labels, scales) are one
chunk each. Every chunk, and the index, is followed by its crc32c, so any Zarr tool notices damage.

A shard file: chunk 0, crc, chunk 1, crc, …, (offset, bytes) of every chunk as little-endian
uint64, crc. Rows past the end of the array have no chunk; the index marks them with 2**64 - 1
twice. Chunk and shard are zarr-python's words: the specification says inner chunk and chunk.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gimstage.cache.encodings import ENCODINGS
from gimstage.errors import CacheError

Metadata = dict[str, Any]

CRC_BYTES = 4
ENTRY_BYTES = 16
ABSENT = 2**64 - 1
SHARD_TARGET_BYTES = 256_000_000


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """A streamed array: its shape, its chunks, and the files it fills.

    Args:
        name: its place in the group.
        shape: the shape of the whole array; axis 0 is the one shards cut.
        dims: the name of each axis; an encoding with ranges needs one called "channel".
        encoding: how values are stored: a name in `ENCODINGS`.
        chunk: shape of one chunk; divides the array's on every axis but the first.
        shard_rows: rows along axis 0 in every shard but the last; whole chunks.
    """

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    encoding: str
    chunk: tuple[int, ...]
    shard_rows: int

    def __post_init__(self) -> None:
        """Refuse what could not be written."""
        _check_shape(self.name, self.shape, self.dims)
        if self.encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise CacheError(self.name, f"encoding {self.encoding!r}", f"one of {known}")
        whole = (self.shard_rows, *self.shape[1:])
        if len(self.chunk) != len(self.shape) or any(
            c < 1 or n < 1 or n % c for n, c in zip(whole, self.chunk, strict=False)
        ):
            raise CacheError(
                self.name, f"chunk {self.chunk}", f"a shape that divides a shard's, {whole}"
            )

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values on disk."""
        return ENCODINGS[self.encoding].numpy_dtype

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of the values on disk, as torch names it."""
        return ENCODINGS[self.encoding].dtype

    @cached_property
    def exact(self) -> bool:
        """Whether file sizes are known beforehand; compressed ones are only bounded."""
        return ENCODINGS[self.encoding].compression is None

    @property
    def channel_axis(self) -> int:
        """The channel axis, counted from the end so that leading batch axes do not move it."""
        return self.dims.index("channel") - len(self.dims)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row along axis 0, before compression."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk, before compression and without its crc."""
        return math.prod(self.chunk) * self.dtype.itemsize

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """How many chunks a shard has along each axis; they are counted in C order."""
        whole = (self.shard_rows, *self.shape[1:])
        return tuple(n // c for n, c in zip(whole, self.chunk, strict=True))

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """How many chunks, so counted, lie between neighbours along each axis."""
        return tuple(math.prod(self.grid[i + 1 :]) for i in range(len(self.grid)))

    @cached_property
    def shard_chunks(self) -> int:
        """How many chunks a shard has room for."""
        return math.prod(self.grid)

    @property
    def index_bytes(self) -> int:
        """Bytes of the index at the end of a shard, with its crc."""
        return self.shard_chunks * ENTRY_BYTES + CRC_BYTES

    @property
    def shards(self) -> int:
        """The number of shard files."""
        return -(-self.shape[0] // self.shard_rows)

    def rows(self, shard: int) -> range:
        """The rows a shard holds; the last may be short."""
        start = shard * self.shard_rows
        return range(start, min(start + self.shard_rows, self.shape[0]))

    def path(self, shard: int) -> str:
        """The file of a shard, relative to the store."""
        return ".".join([f"{self.name}/c", str(shard), *["0"] * (len(self.shape) - 1)])

    def chunks(self, shard: int) -> int:
        """How many chunks a shard really holds: these come first in its index."""
        return -(-len(self.rows(shard)) // self.chunk[0]) * self.strides[0]

    def shard_bytes(self, shard: int) -> int:
        """The size of a shard's file, or a bound where the array is not `exact`."""
        chunk = self.chunk_bytes
        if not self.exact:  # the worse of zstd's and blosc's own bounds
            chunk += chunk // 256 + 64
        return self.chunks(shard) * (chunk + CRC_BYTES) + self.index_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of all shards, or a bound where the array is not `exact`."""
        whole = (self.shards - 1) * self.shard_bytes(0)
        return whole + self.shard_bytes(self.shards - 1)

    def metadata(self) -> Metadata:
        """The content of the array's zarr.json."""
        encoding = ENCODINGS[self.encoding]
        compression = [encoding.compression.metadata] if encoding.compression else []
        crc = {"name": "crc32c"}
        endian = {"name": "bytes", "configuration": {"endian": "little"}}
        sharding = {
            "chunk_shape": list(self.chunk),
            "codecs": [_bytes_codec(self.dtype), *compression, crc],
            "index_codecs": [endian, crc],
            "index_location": "end",
        }
        attributes: Metadata = {"encoding": self.encoding}
        if encoding.steps:
            attributes["values"] = f"{self.name} * {self.name}_scale + {self.name}_offset"
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
        outer = (self.shard_rows, *self.shape[1:])
        return _array_metadata(self, outer=outer, codecs=codecs, attributes=attributes)


@dataclass(frozen=True, kw_only=True)
class SmallLayout:
    """A small array, stored whole as one chunk.

    Args:
        name: its place in the group.
        shape: not empty along any axis.
        dtype: a number type's name, such as "int64".
        dims: the name of each axis.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what could not be written."""
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        _check_shape(self.name, self.shape, self.dims)
        if self.dtype.kind not in "biuf":
            raise CacheError(self.name, f"dtype {self.dtype}", "a boolean or real number type")

    @property
    def path(self) -> str:
        """Its only file, relative to the store."""
        return ".".join([f"{self.name}/c", *["0"] * len(self.shape)])

    @property
    def nbytes(self) -> int:
        """The size of its file in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize + CRC_BYTES

    def metadata(self) -> Metadata:
        """The content of the array's zarr.json."""
        codecs = [_bytes_codec(self.dtype), {"name": "crc32c"}]
        return _array_metadata(self, outer=self.shape, codecs=codecs, attributes={})


@dataclass(frozen=True, kw_only=True)
class StoreLayout:
    """A whole store: streamed arrays that share their shard boundaries, small arrays, attributes.

    Args:
        arrays: the streamed arrays.
        small: the small arrays; an array `x` whose encoding has ranges needs `x_scale` and
            `x_offset`, (C,) float32.
        attributes: the attributes of the group: anything JSON can say.
    """

    arrays: tuple[ArrayLayout, ...]
    small: tuple[SmallLayout, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        first = self.arrays[0]
        for array in self.arrays:
            if (array.shape[0], array.shard_rows) != (first.shape[0], first.shard_rows):
                raise CacheError(
                    array.name,
                    f"{array.shape[0]} rows in shards of {array.shard_rows}",
                    f"{first.shape[0]} rows in shards of {first.shard_rows} as in {first.name}",
                )
            if ENCODINGS[array.encoding].steps:
                self._check_affine(array)

    def _check_affine(self, array: ArrayLayout) -> None:
        if "channel" not in array.dims:
            found = f"{array.encoding} with dims {array.dims}"
            raise CacheError(array.name, found, expected='one called "channel"')
        channels = (array.shape[array.channel_axis],)
        for name in (f"{array.name}_scale", f"{array.name}_offset"):
            small = next((s for s in self.small if s.name == name), None)
            if small is None or (small.shape, small.dtype) != (channels, np.dtype(np.float32)):
                what = f"{small.shape} {small.dtype}" if small else "no such small array"
                expected = f"{channels} float32, for the {array.encoding} of {array.name}"
                raise CacheError(name, what, expected=expected)

    @cached_property
    def exact(self) -> bool:
        """Whether `nbytes` is exact; with a compressed array it is a bound."""
        return all(array.exact for array in self.arrays)

    @property
    def shards(self) -> int:
        """The number of shards of every streamed array."""
        return self.arrays[0].shards

    @property
    def parts(self) -> tuple[ArrayLayout | SmallLayout, ...]:
        """All arrays of the group, large and small."""
        return (*self.arrays, *self.small)

    @property
    def nbytes(self) -> int:
        """Bytes of every file in the store, its zarr.json included."""
        documents = sum(len(document(metadata)) for metadata in self.metadata().values())
        return documents + sum(array.nbytes for array in self.parts)

    @property
    def paths(self) -> list[str]:
        """The path of every file of a whole store."""
        shards = [array.path(shard) for array in self.arrays for shard in range(array.shards)]
        return [*self.metadata(), *(small.path for small in self.small), *shards]

    def metadata(self) -> dict[str, Metadata]:
        """Every zarr.json, by its path in the store; the group's comes first."""
        group = {"zarr_format": 3, "node_type": "group", "attributes": dict(self.attributes)}
        return {"zarr.json": group} | {f"{p.name}/zarr.json": p.metadata() for p in self.parts}


def document(metadata: Metadata) -> bytes:
    """A zarr.json as it stands in its file."""
    return (json.dumps(metadata, indent=2, allow_nan=False) + "\n").encode()


def pick_shard_rows(rows: int, *, row_bytes: int, chunk_rows: int) -> int:
    """Rows per shard that cut `rows` evenly into shards of about 256 MB, in whole chunks.

    So a shard stays within 64–512 MB unless all rows are fewer or one chunk's rows are more.

    Args:
        rows: along axis 0, of all streamed arrays.
        row_bytes: the bytes of one row of the largest array.
        chunk_rows: a multiple of every array's rows per chunk.
    """
    count = max(1, round(rows * row_bytes / SHARD_TARGET_BYTES))
    return -(-rows // (count * chunk_rows)) * chunk_rows


def _check_shape(name: str, shape: tuple[int, ...], dims: tuple[str, ...]) -> None:
    if any(n < 1 for n in shape):
        raise CacheError(name, f"shape {shape}", "at least one element")
    if len(dims) != len(shape):
        raise CacheError(name, f"dims {dims}", f"one name for each axis of {shape}")


def _bytes_codec(dtype: np.dtype[Any]) -> Metadata:
    if dtype.itemsize == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


def _array_metadata(
    array: ArrayLayout | SmallLayout,
    *,
    outer: tuple[int, ...],
    codecs: list[Metadata],
    attributes: Metadata,
) -> Metadata:
    """The zarr.json of an array whose files each cover a block of shape `outer`."""
    zeros: dict[str, Any] = {"b": False, "f": 0.0}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(outer)}},
        # One flat folder per array: the default separator would nest a folder per axis.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": zeros.get(array.dtype.kind, 0),
        "codecs": codecs,
        "attributes": attributes,
        "dimension_names": list(array.dims),
    }
