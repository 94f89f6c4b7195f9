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
from gimstage.cache.format import ABSENT
from gimstage.cache.shards import with_crc
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
        f"{tmp_path}: no zarr.json; expected a store of features; extract first"
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


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_shard_is_an_error_not_zeros(tmp_path: Path, engine: Any) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(1)
    path.unlink()
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path, engine=engine))
    assert str(caught.value) == f"{path}: the file is missing; extract again"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_window_that_ends_in_a_missing_shard_is_an_error(tmp_path: Path, engine: Any) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(1)
    path.unlink()
    reader = FeatureReader(tmp_path, engine=engine)
    with pytest.raises(DamagedCacheError) as caught:
        reader.read("features", torch.empty(1, 9, 5).half(), np.array([[8]]))
    assert str(caught.value) == f"{path}: the file is missing; extract again"


def rewrite_entry(path: Path, layout: ArrayLayout, entry: tuple[int, int]) -> int:
    """Change the index's second entry, its checksum with it; where the chunks end."""
    data = path.read_bytes()
    end = len(data) - layout.index_bytes
    index = np.frombuffer(data[end:-4], "<u8").reshape(-1, 2).copy()
    index[1] = entry
    path.write_bytes(data[:end] + with_crc(index.tobytes()))
    return end


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("encoding", ["float16", "round5"])
def test_an_absent_chunk_is_an_error_not_zeros(tmp_path: Path, encoding: Any, engine: Any) -> None:
    layout = stores.audio(encoding=encoding)
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(0)
    end = rewrite_entry(path, layout.arrays[0], (ABSENT, ABSENT))
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path, engine=engine))
    assert str(caught.value) == (
        f"{path}: chunk 1 is absent; expected 3 whole chunks in the first {end} bytes; "
        "delete the file and extract again"
    )


@pytest.mark.parametrize(
    "entry", [(125, 44), (2**63, 44), (2**64 - 44, 44), (44, 43), (44, ABSENT)]
)
def test_an_index_entry_that_points_astray_is_refused(
    tmp_path: Path, entry: tuple[int, int]
) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(0)
    rewrite_entry(path, layout.arrays[0], entry)
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path))
    assert str(caught.value) == (
        f"{path}: chunk 1 has {entry[1]} bytes at {entry[0]}; "
        "expected 3 whole chunks in the first 132 bytes; delete the file and extract again"
    )


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(0)
    stores.flip(path, -9)
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path))
    assert str(caught.value) == (
        f"{path}, index: checksum does not match; delete the file and extract again"
    )


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(0)
    os.truncate(path, 100)
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path))
    assert str(caught.value) == (
        f"{path}: 100 bytes; expected 184; delete the file and extract again"
    )


def test_a_shard_cut_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    reader, path = FeatureReader(tmp_path), tmp_path / layout.arrays[0].path(0)
    stores.read_all(reader)
    os.truncate(path, 3)
    with pytest.raises(DamagedCacheError) as caught:
        reader.read("features", torch.empty(1, 1, 5).half(), np.array([[0]]))
    assert str(caught.value) == (
        f"{path}: the file ends at byte 3; expected 7 more; delete the file and extract again"
    )


@pytest.mark.parametrize("byte", [0, 17, -1])
@pytest.mark.parametrize("encoding", ["float16_zstd", "round5"])
def test_a_flipped_bit_in_a_compressed_chunk_is_found_while_reading(
    tmp_path: Path, encoding: Any, byte: int
) -> None:
    layout = stores.audio(encoding=encoding)
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(0)
    end = path.stat().st_size - layout.arrays[0].index_bytes
    stores.flip(path, byte % end, bit=5)
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path))
    assert str(caught.value) == (
        f"{path}, chunk {0 if byte >= 0 else 2}: checksum does not match; "
        "delete the file and extract again"
    )


def test_zarr_python_reports_a_flipped_bit_of_an_uncompressed_chunk(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    stores.flip(tmp_path / layout.arrays[0].path(0), 0)
    reader = FeatureReader(tmp_path, engine="zarr")
    with pytest.raises(DamagedCacheError, match=r"features, window at \[0, 0\]: zarr-python: .*"):
        reader.read("features", torch.empty(1, 1, 5).half(), np.array([[0]]))


def test_a_damaged_small_array_is_refused(tmp_path: Path) -> None:
    stores.write(tmp_path, stores.vision())
    stores.flip(tmp_path / "label" / "c.0", 8)
    with pytest.raises(DamagedCacheError) as caught:
        FeatureReader(tmp_path).small("label")
    assert str(caught.value) == (
        f"{tmp_path}/label/c.0: checksum does not match; delete the file and extract again"
    )


def test_a_missing_small_array_is_an_error_not_zeros(tmp_path: Path) -> None:
    stores.write(tmp_path, stores.vision())
    (tmp_path / "label" / "c.0").unlink()
    with pytest.raises(DamagedCacheError) as caught:
        FeatureReader(tmp_path).small("label")
    assert str(caught.value) == f"{tmp_path}/label/c.0: the file is missing; extract again"


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
    child.join(60)
    child.kill()  # where it hangs; one that is done does not mind
    assert child.exitcode == 0
