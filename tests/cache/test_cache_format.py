"""The layout of a store: pure arithmetic."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from helpers import stores
from hypothesis import given
from hypothesis import strategies as st

from gimstage.cache import ArrayLayout, SmallLayout, StoreLayout, pick_shard_rows
from gimstage.cache.parse import parse_store
from gimstage.errors import CacheError


def test_the_last_shard_may_be_short() -> None:
    array = stores.vision().arrays[0]
    assert array.shards == 3
    assert [array.rows(i) for i in range(3)] == [range(0, 3), range(3, 6), range(6, 7)]


def test_every_shard_is_one_file_in_the_arrays_folder() -> None:
    assert stores.vision().arrays[0].path(2) == "features/c.2.0.0.0.0.0.0"


def test_sizes_follow_from_distinct_primes() -> None:
    array = ArrayLayout(
        name="a",
        shape=(11, 6, 7),
        dims=("x", "y", "z"),
        encoding="float16",
        chunk=(5, 2, 7),
        shard_rows=10,
    )
    chunk = 5 * 2 * 7 * 2 + 4
    index = (2 * 3) * 16 + 4
    assert array.shard_bytes(0) == 2 * 3 * chunk + index
    assert array.shard_bytes(1) == 1 * 3 * chunk + index  # one row, padded to a whole chunk
    assert array.nbytes == array.shard_bytes(0) + array.shard_bytes(1)


def test_only_uncompressed_sizes_are_exact() -> None:
    exact = {encoding: stores.vision(encoding).exact for encoding in stores.ENCODINGS}
    assert exact == {
        "float16": True,
        "float16_zstd": False,
        "round5": False,
        "uint8": True,
        "float32": True,
    }


@pytest.mark.parametrize("encoding", stores.ENCODINGS)
def test_metadata_read_back_gives_the_same_layout(encoding: str) -> None:
    layout = stores.vision(encoding)
    parsed = parse_store(layout.metadata(), where="s")
    assert parsed.attributes == layout.attributes
    assert {a.name: a for a in parsed.arrays} == {a.name: a for a in layout.arrays}
    assert {a.name: a for a in parsed.small} == {a.name: a for a in layout.small}


def test_metadata_is_what_zarr_python_writes(tmp_path: Path) -> None:
    layout = stores.audio(encoding="round5").arrays[0]
    blosc = zarr.codecs.BloscCodec(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle")
    zarr.create_array(
        tmp_path,
        shape=layout.shape,
        dtype="float16",
        chunks=layout.chunk,
        shards=(12, 5),
        compressors=[blosc, zarr.codecs.Crc32cCodec()],
        dimension_names=layout.dims,
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"encoding": "round5"},
    )
    theirs = json.loads((tmp_path / "zarr.json").read_text())
    assert {**layout.metadata(), "storage_transformers": []} == theirs


def test_an_array_of_another_codec_is_refused() -> None:
    documents = stores.audio().metadata()
    inner = documents["features/zarr.json"]["codecs"][0]["configuration"]["codecs"]
    inner.insert(1, {"name": "gzip", "configuration": {"level": 5}})
    with pytest.raises(CacheError) as caught:
        parse_store(documents, where="s")
    assert str(caught.value) == (
        "s/features/zarr.json: float16 through bytes, gzip, crc32c; "
        "expected an encoding of float16, float16_zstd, round5, uint8, float32"
    )


def test_an_array_with_other_keys_is_refused() -> None:
    documents = stores.audio().metadata()
    documents["features/zarr.json"]["chunk_key_encoding"] = {"name": "v2"}
    with pytest.raises(CacheError) as caught:
        parse_store(documents, where="s")
    assert str(caught.value) == (
        's/features/zarr.json: chunk_key_encoding.name: "v2"; expected "default"'
    )


def test_metadata_without_dimension_names_is_refused() -> None:
    documents = stores.audio().metadata()
    del documents["features/zarr.json"]["dimension_names"]
    with pytest.raises(CacheError) as caught:
        parse_store(documents, where="s")
    assert str(caught.value) == (
        "s/features/zarr.json: metadata gimstage cannot read (KeyError('dimension_names'))"
    )


def test_a_group_without_streamed_arrays_is_refused() -> None:
    with pytest.raises(CacheError) as caught:
        parse_store({"zarr.json": {}}, where="s")
    assert str(caught.value) == (
        "s: a Zarr group without a sharded array; expected a store of features"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"encoding": "bfloat16"},
            "features: encoding 'bfloat16'; "
            "expected one of float16, float16_zstd, round5, uint8, float32",
        ),
        (
            {"chunk": (5, 5)},
            "features: chunk (5, 5); expected a shape that divides a shard's, (12, 5)",
        ),
        (
            {"chunk": (4,)},
            "features: chunk (4,); expected a shape that divides a shard's, (12, 5)",
        ),
        (
            {"dims": ("frame",)},
            "features: dims ('frame',); expected one name for each axis of (29, 5)",
        ),
        (
            {"shape": (0, 5)},
            "features: shape (0, 5); expected at least one element",
        ),
    ],
)
def test_an_impossible_array_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(CacheError) as caught:
        replace(stores.audio().arrays[0], **change)
    assert str(caught.value) == message


def test_text_is_no_small_array() -> None:
    with pytest.raises(CacheError) as caught:
        SmallLayout(name="t", shape=(1,), dtype=np.dtype("U3"), dims=("x",))
    assert str(caught.value) == "t: dtype <U3; expected a boolean or real number type"


def test_streamed_arrays_share_their_shards() -> None:
    first, second = stores.vision().arrays
    with pytest.raises(CacheError) as caught:
        StoreLayout(arrays=(first, replace(second, shard_rows=4)))
    assert str(caught.value) == (
        "codes: 7 rows in shards of 4; expected 7 rows in shards of 3 as in features"
    )


def test_uint8_without_its_scale_is_refused() -> None:
    layout = stores.vision("uint8")
    small = tuple(part for part in layout.small if part.name != "features_scale")
    with pytest.raises(CacheError) as caught:
        replace(layout, small=small)
    assert str(caught.value) == (
        "features_scale: no such small array; expected (4,) float32, for the uint8 of features"
    )


def test_uint8_needs_a_channel_axis() -> None:
    layout = stores.audio()
    array = replace(layout.arrays[0], encoding="uint8", dims=("a", "b"))
    with pytest.raises(CacheError) as caught:
        StoreLayout(arrays=(array,))
    assert str(caught.value) == (
        "features: uint8 with dims ('a', 'b'); expected one called \"channel\""
    )


@given(
    rows=st.integers(1, 10**6),
    row_bytes=st.integers(1, 60_000_000),
    chunk_rows=st.integers(1, 50),
)
def test_picked_shards_are_whole_chunks_of_64_to_512_mb(
    rows: int, row_bytes: int, chunk_rows: int
) -> None:
    picked = pick_shard_rows(rows, row_bytes=row_bytes, chunk_rows=chunk_rows)
    assert picked % chunk_rows == 0
    if rows * row_bytes >= 64e6 and chunk_rows * row_bytes <= 64e6:
        assert 64e6 <= picked * row_bytes <= 512e6


def test_105_000_samples_of_6_4_mb_lie_in_shards_of_256_mb() -> None:
    picked = pick_shard_rows(105_000, row_bytes=6_422_528, chunk_rows=1)
    assert picked == 40
    assert math.isclose(picked * 6_422_528, 256e6, rel_tol=0.01)
