"""The feature cache against memcpy, plain files and zarr-python, on the same bytes in one run.

Takes about a minute and 3 GB of the temporary folder's disk.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import zarr
from common import Row, medians

from gimstage.cache import ArrayLayout, FeatureReader, FeatureWriter, StoreLayout
from gimstage.cache.shards import open_shard

DIMS = ("sample", "view", "row", "column", "channel", "y", "x")
LARGE = (128, 1, 7, 7, 1024, 8, 8)  # 6.4 MB a sample
SMALL = (8192, 1, 7, 7, 1024)  # 100 KB a sample
BATCH, FEW = 32, 4
APPENDED = 8  # rows per append


def layout(shape: tuple[int, ...], encoding: str, shard_rows: int) -> StoreLayout:
    """One array called features, a chunk per sample."""
    array = ArrayLayout(
        name="features",
        shape=shape,
        dims=DIMS[: len(shape)],
        encoding=encoding,
        chunk=(1, *shape[1:]),
        shard_rows=shard_rows,
    )
    return StoreLayout(arrays=(array,))


def write(path: Path, store: StoreLayout, values: np.ndarray) -> None:
    """A store of `values`, repeated as often as its rows ask for."""
    writer = FeatureWriter(path, store)
    for shard in writer.missing_shards():
        with writer.shard(shard) as file:
            rows = store.arrays[0].rows(shard)
            for start in range(rows.start, rows.stop, APPENDED):
                first = start % len(values)
                file.append({"features": values[first : first + APPENDED]})


def rows() -> Iterator[Row]:
    """Every row of the cache."""
    with TemporaryDirectory(prefix="gimstage-bench-") as folder:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((64, *LARGE[1:]), dtype=np.float32).astype(np.float16)
        yield writing(Path(folder), values)
        large, small = Path(folder, "large.zarr"), Path(folder, "small.zarr")
        write(large, layout(LARGE, "float16", 64), values)
        write(small, layout(SMALL, "float16", 2048), values.reshape(-1, *SMALL[1:])[:1024])
        yield from warm(large, np.concatenate([values, values]))
        yield cold(large)
        yield little(small)
    yield from (extra_memory(encoding) for encoding in ("float16", "round5"))


def writing(folder: Path, values: np.ndarray) -> Row:
    """The writer against one plain file, both synced."""
    store, turn = layout(values.shape, "float16", len(values)), iter(range(1000))

    def raw() -> None:
        with open(folder / "raw", "wb", buffering=0) as file:
            for start in range(0, len(values), APPENDED):
                file.write(values[start : start + APPENDED].data)
            os.fsync(file.fileno())
        os.unlink(folder / "raw")

    def ours() -> None:
        path = folder / f"written-{next(turn)}.zarr"
        write(path, store, values)
        os.unlink(path / store.arrays[0].path(0))

    ours_s, raw_s = medians(ours, raw, rounds=7)
    note = f"{rate(values.nbytes, ours_s)}, raw {rate(values.nbytes, raw_s)}"
    return Row("cache: writer / raw file write, both with fsync", raw_s / ours_s, 0.8, False, note)


def warm(path: Path, values: np.ndarray) -> Iterator[Row]:
    """The reader against memcpy and against zarr-python, from the page cache."""
    reader, array = FeatureReader(path), zarr.open_group(path, mode="r")["features"]
    out = torch.empty((BATCH, 1, *LARGE[1:]), dtype=torch.float16)
    batches = draws(len(values))
    copied = out.numpy()[:, 0]

    def memcpy() -> None:
        for row, sample in enumerate(next(batches)):
            copied[row] = values[sample]

    def ours() -> None:
        reader.read("features", out, next(batches)[:, None])

    def few() -> None:
        reader.read("features", out[:FEW], next(batches)[:FEW, None])

    def oindex() -> None:
        array.oindex[next(batches)[:FEW]]

    def loop() -> None:
        for row, sample in enumerate(next(batches)[:FEW]):
            copied[row] = array[sample]

    ours_s, memcpy_s = medians(ours, memcpy, rounds=15)
    note = f"{rate(out.nbytes, ours_s)}, memcpy {rate(out.nbytes, memcpy_s)}"
    yield Row("cache: reader, warm, 6.4 MB samples / memcpy", memcpy_s / ours_s, 0.6, False, note)
    # Some versions of zarr take seconds a sample here: few samples, one round.
    few_s, loop_s, oindex_s = medians(few, loop, oindex, rounds=1)
    nbytes = out[:FEW].nbytes
    note = f"{rate(nbytes, oindex_s)} by oindex, {rate(nbytes, loop_s)} sample by sample"
    yield Row("cache: reader, warm / zarr-python oindex", oindex_s / few_s, 5, False, note)


def cold(path: Path) -> Row:
    """The reader against threads that pread the same bytes, neither from the page cache."""
    reader = FeatureReader(path)
    array = reader.array("features")
    shards = [open_shard(path, array, shard) for shard in range(array.shards)]
    out = torch.empty((BATCH, 1, *LARGE[1:]), dtype=torch.float16)
    target = out.view(BATCH, -1).view(torch.uint8).numpy()
    batches = draws(LARGE[0])

    def evict() -> None:
        for shard in shards:
            os.posix_fadvise(shard.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def one(row: int, sample: int) -> None:
        shard = shards[sample // array.shard_rows]
        os.preadv(shard.fd, [target[row].data], shard.index[sample % array.shard_rows][0])

    def pread(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(BATCH), next(batches).tolist()))

    def ours() -> None:
        reader.read("features", out, next(batches)[:, None])

    subjects = [ours, *(partial(pread, threads) for threads in (2, 4, 8))]
    turns = [step for subject in subjects for step in (evict, subject)]
    ours_s, *others_s = medians(*turns, rounds=11)[1::2]
    others = ", ".join(rate(out.nbytes, seconds) for seconds in others_s)
    note = f"{rate(out.nbytes, ours_s)}, with 2, 4, 8 threads {others}"
    return Row("cache: reader, cold / best pread", min(others_s) / ours_s, 0.85, False, note)


def little(path: Path) -> Row:
    """What a sample of 100 KB takes."""
    reader, batches = FeatureReader(path), draws(SMALL[0])
    out = torch.empty((BATCH, 1, *SMALL[1:]), dtype=torch.float16)
    (seconds,) = medians(
        lambda: reader.read("features", out, next(batches)[:, None]), rounds=200, warmup=50
    )
    each_ms = 1e3 * seconds / BATCH
    return Row("cache: reader, ms per 100 KB sample", each_ms, 0.1, True, f"{each_ms:.3f} ms")


def extra_memory(encoding: str) -> Row:
    """The writer's peak memory beyond its caller's, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, encoding], check=True, capture_output=True, text=True
    )
    extra, allowed = map(int, done.stdout.split())
    note = f"{extra / 1e6:.1f} MB of {allowed / 1e6:.1f} MB"
    what = f"cache: writer's extra memory / (batch + 2 samples), {encoding}"
    return Row(what, extra / allowed, 1, True, note)


def measure_memory(encoding: str) -> tuple[int, int]:
    """Bytes the writer adds to the peak resident set, and those it may."""
    values = np.ones((APPENDED, *LARGE[1:]), np.float16)
    values += np.random.default_rng(0).standard_normal(values.shape, dtype=np.float32)
    with TemporaryDirectory(prefix="gimstage-bench-") as folder:
        tiny = layout((2, 1, 1, 1, 8), encoding, 2)
        write(Path(folder, "tiny.zarr"), tiny, np.ones((2, 1, 1, 1, 8), np.float16))
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        before = resident("VmRSS")
        write(Path(folder, "features.zarr"), layout(LARGE, encoding, 64), values)
        return resident("VmHWM") - before, values.nbytes + 2 * values[0].nbytes


def resident(field: str) -> int:
    """A line of this process's memory status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def draws(samples: int) -> Iterator[np.ndarray]:
    """Endless random batches."""
    rng = np.random.default_rng(1)
    while True:
        yield rng.integers(0, samples, BATCH)


def rate(nbytes: int, seconds: float) -> str:
    """Bytes per second in words."""
    return f"{nbytes / seconds / 1e9:.2f} GB/s"


if __name__ == "__main__":
    sys.stdout.write("{} {}\n".format(*measure_memory(sys.argv[1])))
