"""Data that was imported once: whole, in one order, checked, and continued where it was stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from gimstage.data import rawstore
from gimstage.data.rawstore import RawLayout, RawStore
from gimstage.data.rawwriter import RawWriter
from gimstage.errors import DamagedCacheError, DataError

LAYOUT = RawLayout("sound", (2,), "<i2", ("frame", "channel"))
ITEMS = [np.arange(2 * n, dtype="<i2").reshape(n, 2) + n for n in (5, 8, 1, 30, 3)]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rawstore, "CHUNK_BYTES", 8 * LAYOUT.row_bytes)


class Killed(Exception):
    """In place of the end of a process."""


def import_all(folder: Path, *, killed_after: int = 1000, piece: int = 3) -> None:
    """Import ITEMS, a few rows at a time, ended after so many pieces."""
    writer = RawWriter(folder, LAYOUT, {"kind": "test"})
    pieces = 0
    for number in range(len(writer.items), len(ITEMS)):
        item = ITEMS[number]
        for first in range(0, len(item), piece):
            if pieces == killed_after:
                raise Killed
            writer.append(item[first : first + piece])
            pieces += 1
        writer.end_item({"id": number, "rows": len(item)})
    offsets = np.cumsum([0, *(item["rows"] for item in writer.all_items)])
    writer.finish({"offsets": offsets}, {"title": "test"})


def whole(folder: Path) -> NDArray[np.int16]:
    store = RawStore(folder)
    rows = np.empty((store.rows, 2), "<i2")
    store.read(0, rows)
    return rows


def test_rows_come_back_and_any_zarr_reader_finds_them(tmp_path: Path) -> None:
    import_all(tmp_path / "x.zarr")
    expected = np.concatenate(ITEMS)
    assert (whole(tmp_path / "x.zarr") == expected).all()
    group = zarr.open_group(tmp_path / "x.zarr", mode="r")
    assert (group["sound"][:] == expected).all()
    assert group["offsets"][:].tolist() == [0, 5, 13, 14, 44, 47]
    assert (RawStore(tmp_path / "x.zarr").row(21) == expected[21]).all()


@pytest.mark.parametrize("killed_after", range(20))
def test_an_import_that_was_killed_goes_on_to_the_same_bytes(
    tmp_path: Path, killed_after: int
) -> None:
    import_all(tmp_path / "once.zarr")
    try:
        import_all(tmp_path / "x.zarr", killed_after=killed_after)
    except Killed:
        import_all(tmp_path / "x.zarr", piece=2)
    for path in (tmp_path / "once.zarr").rglob("*"):
        if path.is_file():
            again = tmp_path / "x.zarr" / path.relative_to(tmp_path / "once.zarr")
            assert again.read_bytes() == path.read_bytes()
    assert not (tmp_path / "x.zarr/import.jsonl").exists()


def test_a_chunk_that_lost_a_bit_before_the_import_goes_on_is_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "x.zarr"
    with pytest.raises(Killed):
        import_all(folder, killed_after=14)
    chunk = folder / "sound/c/1/0"
    content = bytearray(chunk.read_bytes())
    content[3] ^= 1
    chunk.write_bytes(content)
    import_all(folder)
    assert (whole(folder) == np.concatenate(ITEMS)).all()


def test_a_store_says_what_its_array_is(tmp_path: Path) -> None:
    import_all(tmp_path)
    assert RawStore(tmp_path).layout == LAYOUT


def test_rows_are_read_across_chunks_and_converted(tmp_path: Path) -> None:
    import_all(tmp_path)
    rows = np.empty((20, 2), np.float32)
    RawStore(tmp_path).read(6, rows)
    assert (rows == np.concatenate(ITEMS)[6:26]).all()


def test_more_chunks_are_cut_from_than_stay_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rawstore, "MOST_OPEN", 2)
    import_all(tmp_path)
    store = RawStore(tmp_path)
    rows = [store.row(number) for number in range(store.rows)]
    assert (np.stack(rows) == np.concatenate(ITEMS)).all()
    assert (whole(tmp_path) == np.concatenate(ITEMS)).all()


def test_rows_in_use_outlast_the_release_of_their_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rawstore, "KEPT_BYTES", 0)
    import_all(tmp_path)
    store = RawStore(tmp_path)
    row = store.row(3)
    store.release()
    assert (row == np.concatenate(ITEMS)[3]).all()


def mapped_bytes() -> int:
    """The pages of files that count as this process's memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssFile:")[2].split()[0]) * 1024


def test_released_rows_count_as_no_memory_of_the_process(tmp_path: Path) -> None:
    layout = RawLayout("images", (1 << 24,), "uint8", ("image", "byte"))
    writer = RawWriter(tmp_path / "x.zarr", layout, {"made": 1})
    writer.append(np.ones((1, 1 << 24), np.uint8))
    writer.end_item({"id": "a", "rows": 1})
    writer.finish({}, {})
    store = RawStore(tmp_path / "x.zarr")
    assert store.row(0).sum() == 1 << 24
    looked = mapped_bytes()
    store.release()
    assert looked - mapped_bytes() > 1 << 23


@pytest.mark.parametrize("was_mapped", [False, True])
def test_a_chunk_that_is_cut_while_it_is_read_is_named(tmp_path: Path, *, was_mapped: bool) -> None:
    import_all(tmp_path / "x.zarr")
    store, chunk = RawStore(tmp_path / "x.zarr"), tmp_path / "x.zarr/sound/c/1/0"
    if was_mapped:
        store.read(8, np.empty((1, 2), "<i2"))
    chunk.write_bytes(chunk.read_bytes()[:12])
    with pytest.raises(DamagedCacheError) as caught:
        store.read(10, np.empty((6, 2), "<i2"))
    cure = f"run `rm -r {tmp_path}/x.zarr`: the next command imports it again"
    assert str(caught.value) == f"{chunk}: 12 bytes; expected 32 bytes; {cure}"


def test_an_import_of_something_else_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        import_all(tmp_path, killed_after=14)
    assert RawWriter(tmp_path, LAYOUT, {"kind": "other"}).items == []


def test_a_chunk_that_is_missing_or_cut_is_named(tmp_path: Path) -> None:
    import_all(tmp_path / "x.zarr")
    chunk = tmp_path / "x.zarr/sound/c/2/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(DamagedCacheError) as caught:
        RawStore(tmp_path / "x.zarr")
    cure = f"run `rm -r {tmp_path}/x.zarr`: the next command imports it again"
    assert str(caught.value) == f"{chunk}: 31 bytes; expected 32 bytes; {cure}"


def test_a_record_that_was_edited_is_not_believed(tmp_path: Path) -> None:
    import_all(tmp_path / "x.zarr")
    path = tmp_path / "x.zarr/import.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": 3}))
    with pytest.raises(DamagedCacheError, match="another digest than its own"):
        RawStore(tmp_path / "x.zarr")


def test_a_store_that_is_not_finished_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        RawStore(tmp_path)
