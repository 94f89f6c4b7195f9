"""Small stores that the tests of the cache write, and what child processes do with them."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.cache import (
    ENCODINGS as REGISTERED,
)
from gimstage.cache import (
    Affine,
    ArrayLayout,
    FeatureReader,
    FeatureWriter,
    SmallLayout,
    StoreLayout,
)

ENCODINGS = ("float16", "float16_zstd", "round5", "uint8", "float32")
DIMS = ("sample", "view", "row", "column", "channel", "y", "x")
SHAPE = (7, 2, 3, 3, 4, 2, 2)

Arrays = dict[str, NDArray[Any]]


def vision(encoding: str = "float16", *, samples: int = SHAPE[0]) -> StoreLayout:
    """Features and codes of some samples in shards of 3, with labels."""
    shape = (samples, *SHAPE[1:])
    channels = {"dtype": np.dtype(np.float32), "shape": SHAPE[4:5], "dims": ("channel",)}
    affine = [SmallLayout(name=f"features_{part}", **channels) for part in ("scale", "offset")]
    label = SmallLayout(name="label", shape=shape[:1], dtype=np.dtype(np.int64), dims=DIMS[:1])
    return StoreLayout(
        arrays=(streamed("features", shape, encoding), streamed("codes", shape[:5], "float32")),
        small=(label, *(affine if REGISTERED[encoding].steps else ())),
        attributes={"fingerprint": "abc", "after_relu": True},
    )


def streamed(name: str, shape: tuple[int, ...], encoding: str) -> ArrayLayout:
    """An array of the vision form: a chunk is one view of one sample."""
    return ArrayLayout(
        name=name,
        shape=shape,
        dims=DIMS[: len(shape)],
        encoding=encoding,
        chunk=(1, 1, *shape[2:]),
        shard_rows=3,
    )


def audio(frames: int = 29, encoding: str = "float16") -> StoreLayout:
    """Features (frame, channel): chunks of 4 frames, shards of 12."""
    array = ArrayLayout(
        name="features",
        shape=(frames, 5),
        dims=("frame", "channel"),
        encoding=encoding,
        chunk=(4, 5),
        shard_rows=12,
    )
    return StoreLayout(arrays=(array,))


def values(layout: StoreLayout, seed: int = 3) -> tuple[Arrays, Arrays]:
    """Encoded rows of every streamed array, and the small arrays."""
    generator = torch.Generator().manual_seed(seed)
    rows: Arrays = {}
    small = {part.name: np.arange(part.shape[0], dtype=part.dtype) for part in layout.small}
    for array in layout.arrays:
        plain = torch.randn(array.shape, generator=generator)
        encoding = REGISTERED[array.encoding]
        affine: Affine | None = None
        if encoding.steps:
            affine = encoding.ranges(plain, channel_axis=array.channel_axis)
            assert affine
            small[f"{array.name}_scale"] = affine.scale.numpy()
            small[f"{array.name}_offset"] = affine.offset.numpy()
        rows[array.name] = encoding.encode(plain, affine).numpy()
    return rows, small


def write(
    path: Path,
    layout: StoreLayout,
    *,
    shards: list[int] | None = None,
    append: int = 2,
    pause_s: float = 0,
    seed: int = 3,
) -> Arrays:
    """Write the missing shards, or some; the rows of the whole store."""
    rows, small = values(layout, seed)
    writer = FeatureWriter(path, layout, small=small)
    for number in writer.missing_shards() if shards is None else shards:
        with writer.shard(number) as shard:
            span = layout.arrays[0].rows(number)
            for start in range(span.start, span.stop, append):
                stop = min(start + append, span.stop)
                shard.append({name: found[start:stop] for name, found in rows.items()})
                time.sleep(pause_s)
    return rows


def manifest(path: Path, layout: StoreLayout) -> list[dict[str, Any]]:
    """What the manifest says of a whole store."""
    return FeatureWriter(path, layout, small=values(layout)[1]).finish()


def files(path: Path) -> dict[str, bytes]:
    """Every file of a store, by its relative path."""
    found = (p for p in sorted(path.rglob("*")) if p.is_file())
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in found}


def flip(path: Path, byte: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def read_all(reader: FeatureReader, name: str = "features") -> NDArray[Any]:
    """The whole array, window by window of one row, last row first."""
    array = reader.array(name)
    out = torch.empty((array.shape[0], 1, *array.shape[1:]), dtype=array.torch_dtype)
    reader.read(name, out, np.arange(array.shape[0])[::-1, None])
    return out.numpy()[::-1, 0]


def expect_rows(reader: FeatureReader, wanted: NDArray[Any]) -> None:
    """In a child: fail unless the reader gives these rows."""
    if not np.array_equal(read_all(reader), wanted):
        raise SystemExit(1)


def forkserver() -> Any:
    """Cheap child processes that inherit nothing: torch is imported once, for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gimstage.cache"])
    return context
