"""Damage to a store that reading finds: shards, indexes, chunks and small arrays."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import stores

from gimstage.cache import ArrayLayout, FeatureReader, verify
from gimstage.cache.format import ABSENT, document
from gimstage.cache.shards import with_crc
from gimstage.cache.store import file_digest
from gimstage.errors import CacheError, DamagedCacheError

ENGINES = ("direct", "zarr")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_shard_is_an_error_not_zeros(tmp_path: Path, engine: Any) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(1)
    path.unlink()
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path, engine=engine))
    assert str(caught.value) == f"{path}: the file is missing; run the stage again"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_window_that_ends_in_a_missing_shard_is_an_error(tmp_path: Path, engine: Any) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(1)
    path.unlink()
    reader = FeatureReader(tmp_path, engine=engine)
    with pytest.raises(DamagedCacheError) as caught:
        reader.read("features", torch.empty(1, 9, 5).half(), np.array([[8]]))
    assert str(caught.value) == f"{path}: the file is missing; run the stage again"


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
        "run the stage again"
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
        "expected 3 whole chunks in the first 132 bytes; run the stage again"
    )


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(0)
    stores.flip(path, -9)
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path))
    assert str(caught.value) == (f"{path}, index: checksum does not match; run the stage again")


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(0)
    os.truncate(path, 100)
    with pytest.raises(DamagedCacheError) as caught:
        stores.read_all(FeatureReader(tmp_path))
    assert str(caught.value) == (f"{path}: 100 bytes; expected 184; run the stage again")


def test_a_shard_cut_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    reader, path = FeatureReader(tmp_path), tmp_path / layout.arrays[0].path(0)
    stores.read_all(reader)
    os.truncate(path, 3)
    with pytest.raises(DamagedCacheError) as caught:
        reader.read("features", torch.empty(1, 1, 5).half(), np.array([[0]]))
    assert str(caught.value) == (
        f"{path}: the file ends at byte 3; expected 7 more; run the stage again"
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
        f"{path}, chunk {0 if byte >= 0 else 2}: checksum does not match; run the stage again"
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
        f"{tmp_path}/label/c.0: checksum does not match; run the stage again"
    )


def test_a_missing_small_array_is_an_error_not_zeros(tmp_path: Path) -> None:
    stores.write(tmp_path, stores.vision())
    (tmp_path / "label" / "c.0").unlink()
    with pytest.raises(DamagedCacheError) as caught:
        FeatureReader(tmp_path).small("label")
    assert str(caught.value) == f"{tmp_path}/label/c.0: the file is missing; run the stage again"


@pytest.mark.parametrize("name", ["zarr.json", "codes/zarr.json"])
@pytest.mark.parametrize("value", [[1], "x", 7, None])
def test_attributes_that_are_no_table_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    stores.write(tmp_path, stores.vision())
    path = tmp_path / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attributes": value}))
    with pytest.raises(CacheError) as caught:
        FeatureReader(tmp_path)
    assert caught.value.where.startswith(str(tmp_path))


def test_a_store_that_claims_more_shards_than_are_listed_is_damage(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    claimed = replace(layout.arrays[0], shape=(10**15, 5)).metadata()
    (tmp_path / "features/zarr.json").write_bytes(document(claimed))
    listed = [
        {"path": path, "bytes": (tmp_path / path).stat().st_size, "crc32c": digest}
        for path in ("zarr.json", "features/zarr.json")
        for digest in [file_digest(tmp_path / path)]
    ]
    with pytest.raises(DamagedCacheError) as caught:
        verify(tmp_path, listed)
    assert str(caught.value) == (
        f"{tmp_path}: 2 files; expected as many as its metadata says; run the stage again"
    )
