"""Windows of a store, read into the caller's tensor."""

import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import stores
from hypothesis import given
from hypothesis import strategies as st

from gimstage.cache import ArrayLayout, FeatureReader, StoreLayout
from gimstage.cache import reader as reader_module
from gimstage.errors import CacheError, DamagedCacheError

ENGINES = ("direct", "zarr")


@st.composite
def layouts(draw: st.DrawFn) -> StoreLayout:
    """One array of 1 to 4 axes, of any shape, chunk and shard that fit together."""
    chunk = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    counts = [draw(st.integers(1, 3)) for _ in chunk[1:]]
    shape = (draw(st.integers(1, 13)), *(n * c for n, c in zip(counts, chunk[1:], strict=True)))
    array = ArrayLayout(
        name="features",
        shape=shape,
        dims=("a", "b", "c", "d")[: len(shape)],
        encoding=draw(st.sampled_from(["float16", "round5", "float32"])),
        chunk=chunk,
        shard_rows=chunk[0] * draw(st.integers(1, 3)),
    )
    return StoreLayout(arrays=(array,))


@given(layout=layouts(), data=st.data(), engine=st.sampled_from(ENGINES))
def test_windows_are_numpy_slices(
    tmp_path_factory: pytest.TempPathFactory, layout: StoreLayout, data: st.DataObject, engine: Any
) -> None:
    path, shape = tmp_path_factory.mktemp("store"), layout.arrays[0].shape
    rows = stores.write(path, layout)["features"]
    axes = data.draw(st.integers(1, len(shape)))
    size = [data.draw(st.integers(1, n)) for n in shape[:axes]]
    start = st.tuples(*(st.integers(0, n - k) for n, k in zip(shape, size, strict=False)))
    starts = data.draw(st.lists(start, min_size=1, max_size=4))
    out = torch.empty((len(starts), *size, *shape[axes:]), dtype=layout.arrays[0].torch_dtype)
    FeatureReader(path, engine=engine).read("features", out, np.array(starts))
    for window, at in zip(out.numpy(), starts, strict=True):
        cut = tuple(slice(i, i + n) for i, n in zip(at, size, strict=True))
        assert np.array_equal(window, rows[cut])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("encoding", stores.ENCODINGS)
def test_every_encoding_reads_what_was_written(tmp_path: Path, encoding: str, engine: Any) -> None:
    rows = stores.write(tmp_path, stores.vision(encoding))
    reader = FeatureReader(tmp_path, engine=engine)
    assert np.array_equal(stores.read_all(reader, "features"), rows["features"])
    assert np.array_equal(stores.read_all(reader, "codes"), rows["codes"])


def test_samples_come_in_any_order_and_more_than_once(tmp_path: Path) -> None:
    rows = stores.write(tmp_path, stores.audio())["features"]
    out = torch.empty(4, 6, 5, dtype=torch.float16)
    FeatureReader(tmp_path).read("features", out, torch.tensor([[23], [0], [9], [23]]))
    assert np.array_equal(out, [rows[at : at + 6] for at in (23, 0, 9, 23)])


def test_large_samples_are_read_by_threads_to_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stores.write(tmp_path, stores.vision())["features"]
    monkeypatch.setattr(reader_module, "THREADED_BYTES", 1)
    reader = FeatureReader(tmp_path, threads=3)
    assert np.array_equal(stores.read_all(reader), rows)
    assert reader._process.pool is not None


def test_an_error_in_a_thread_reaches_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout)
    monkeypatch.setattr(reader_module, "THREADED_BYTES", 1)
    (tmp_path / layout.arrays[0].path(0)).unlink()
    with pytest.raises(DamagedCacheError):
        stores.read_all(FeatureReader(tmp_path))


def test_an_empty_batch_reads_nothing(tmp_path: Path) -> None:
    stores.write(tmp_path, stores.audio())
    out = torch.empty(0, 6, 5, dtype=torch.float16)
    FeatureReader(tmp_path).read("features", out, np.empty((0, 1), np.int64))


def test_a_whole_chunk_is_one_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.write(tmp_path, stores.vision())
    reader, calls, preadv = FeatureReader(tmp_path), [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *args: calls.append(args) or preadv(*args))
    reader.read("features", torch.empty(1, 1, 1, 3, 3, 4, 2, 2).half(), np.array([[4, 1, 0, 0]]))
    assert len(calls) == 1


def test_a_window_reads_only_its_own_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.write(tmp_path, stores.vision())
    reader, sizes, preadv = FeatureReader(tmp_path), [], os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda fd, to, at: sizes.append(len(to[0])) or preadv(fd, to, at)
    )
    reader.read("features", torch.empty(1, 1, 1, 2, 2, 4, 2, 2).half(), np.array([[4, 1, 1, 0]]))
    assert sizes == [2 * 16 * 2] * 2  # two rows of two patches of 16 halves


def test_a_read_cut_short_by_the_system_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stores.write(tmp_path, stores.audio())["features"]
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, to, at: preadv(fd, [to[0][:3]], at))
    assert np.array_equal(stores.read_all(FeatureReader(tmp_path)), rows)


def test_uint8_is_decoded_by_the_stored_scale(tmp_path: Path) -> None:
    rows = stores.write(tmp_path, stores.vision("uint8"))["features"]
    reader = FeatureReader(tmp_path)
    scale, offset = (reader.small(f"features_{p}")[:, None, None] for p in ("scale", "offset"))
    raw = torch.from_numpy(rows[:2]).flatten(0, 1)
    wanted = rows[:2].reshape(raw.shape) * scale + offset
    np.testing.assert_allclose(reader.decode("features", raw), wanted, rtol=1e-6)


def test_float16_is_decoded_to_float32(tmp_path: Path) -> None:
    rows = stores.write(tmp_path, stores.audio())["features"]
    decoded = FeatureReader(tmp_path).decode("features", torch.from_numpy(rows))
    assert decoded.dtype == torch.float32
    assert np.array_equal(decoded, rows.astype(np.float32))


def test_a_reader_describes_its_store(tmp_path: Path) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout)
    reader = FeatureReader(tmp_path)
    assert reader.array("features") == layout.arrays[0]
    assert reader.attributes == layout.attributes
    assert reader.nbytes == layout.nbytes
    assert np.array_equal(reader.small("label"), np.arange(7))


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError) as caught:
        FeatureReader(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no zarr.json; expected a store of features; run the stage again"
    )


def test_an_unknown_array_is_refused(tmp_path: Path) -> None:
    stores.write(tmp_path, stores.vision())
    with pytest.raises(CacheError) as caught:
        FeatureReader(tmp_path).array("feature")
    assert str(caught.value) == f"{tmp_path}: no array 'feature'; did you mean 'features'?"


@pytest.mark.parametrize(
    ("out", "starts", "message"),
    [
        (
            torch.empty(1, 6, 5),
            [[0]],
            "features, out: contiguous torch.float32 on cpu; "
            "expected contiguous torch.float16 on cpu",
        ),
        (
            torch.empty(1, 5, 6).half().mT,
            [[0]],
            "features, out: strided torch.float16 on cpu; expected contiguous torch.float16 on cpu",
        ),
        (
            torch.empty(1, 6, 4).half(),
            [[0]],
            "features, out: (1, 6, 4) for starts (1, 1); "
            "expected B windows within (29, 5), whole on its last axes (5)",
        ),
        (
            torch.empty(2, 6, 5).half(),
            [[0]],
            "features, out: (2, 6, 5) for starts (1, 1); "
            "expected B windows within (29, 5), whole on its last axes (5)",
        ),
        (
            torch.empty(1, 30).half(),
            [[0]],
            "features, out: (1, 30) for starts (1, 1); "
            "expected B windows within (29, 5), whole on its last axes (5)",
        ),
        (
            torch.empty(2, 6, 5).half(),
            [[0], [24]],
            "features, starts[1]: (24,); expected 0 … (23,)",
        ),
        (
            torch.empty(1, 6, 5).half(),
            [[-1]],
            "features, starts[0]: (-1,); expected 0 … (23,)",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    tmp_path: Path, out: torch.Tensor, starts: Any, message: str
) -> None:
    stores.write(tmp_path, stores.audio())
    with pytest.raises(CacheError) as caught:
        FeatureReader(tmp_path).read("features", out, np.array(starts))
    assert str(caught.value) == message


def open_files() -> int:
    """File descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def test_open_files_are_few_and_close_with_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stores.write(tmp_path, stores.vision())["features"]
    monkeypatch.setattr(reader_module, "OPEN_SHARDS", 2)
    before = open_files()
    reader = FeatureReader(tmp_path)
    assert np.array_equal(stores.read_all(reader), rows)
    assert open_files() == before + 2
    del reader
    assert open_files() == before


def test_the_shard_opened_first_is_closed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.write(tmp_path, stores.audio())
    opened, open_shard = [], reader_module.open_shard
    monkeypatch.setattr(reader_module, "OPEN_SHARDS", 2)
    monkeypatch.setattr(
        reader_module, "open_shard", lambda *args: opened.append(args[2]) or open_shard(*args)
    )
    rows = np.array([[0], [12], [0], [24], [0]])
    FeatureReader(tmp_path).read("features", torch.empty(5, 1, 5).half(), rows)
    assert opened == [0, 1, 2, 0]


def test_an_index_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.write(tmp_path, stores.vision())
    reader = FeatureReader(tmp_path)
    stores.read_all(reader)
    monkeypatch.setattr(reader_module, "open_shard", None)
    stores.read_all(reader)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pickled_reader_reads_the_same(tmp_path: Path, engine: Any) -> None:
    rows = stores.write(tmp_path, stores.audio())["features"]
    reader = FeatureReader(tmp_path, engine=engine, threads=5)
    stores.read_all(reader)
    again = pickle.loads(pickle.dumps(reader))
    assert (again.engine, again.threads) == (engine, 5)
    stores.expect_rows(again, rows)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_forked_child_of_a_busy_reader_reads_the_same(
    tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stores.write(tmp_path, stores.vision())["features"]
    monkeypatch.setattr(reader_module, "THREADED_BYTES", 1)
    reader = FeatureReader(tmp_path, engine=engine, threads=2)
    stores.read_all(reader)
    expect_success(multiprocessing.get_context("fork"), reader, rows)
    stores.expect_rows(reader, rows)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_fresh_child_reads_the_same(tmp_path: Path, method: str) -> None:
    rows = stores.write(tmp_path, stores.audio())["features"]
    context = stores.forkserver() if method == "forkserver" else multiprocessing.get_context(method)
    reader = FeatureReader(tmp_path)
    stores.read_all(reader)
    expect_success(context, reader, rows)


def expect_success(context: Any, reader: FeatureReader, rows: np.ndarray) -> None:
    """A child of this kind must read these rows."""
    child = context.Process(target=stores.expect_rows, args=(reader, rows))
    child.start()
    child.join(600)
    child.kill()  # where it hangs; one that is done does not mind
    assert child.exitcode == 0
