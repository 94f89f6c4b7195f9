"""The store is plain Zarr: other tools open it unmodified, and gimstage reads theirs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray
import zarr
from helpers import stores

from gimstage.cache import FeatureReader


@pytest.fixture(params=stores.ENCODINGS)
def stored(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, stores.Arrays]:
    """A store of every encoding and the arrays in it."""
    layout = stores.vision(request.param)
    return tmp_path, {**stores.write(tmp_path, layout), **stores.values(layout)[1]}


def test_zarr_python_reads_every_array(stored: tuple[Path, stores.Arrays]) -> None:
    path, wanted = stored
    group = zarr.open_group(path, mode="r")
    assert sorted(group) == sorted(wanted)
    for name, values in wanted.items():
        assert np.array_equal(group[name][...], values)
        assert group[name].dtype == values.dtype
    assert dict(group.attrs) == {"fingerprint": "abc", "after_relu": True}


def test_xarray_reads_every_array_and_its_dimensions(stored: tuple[Path, stores.Arrays]) -> None:
    path, wanted = stored
    with xarray.open_zarr(path, consolidated=False) as data:
        assert data["features"].dims == stores.DIMS
        for name, values in wanted.items():
            assert np.array_equal(data[name].values, values)
            assert data[name].dtype == values.dtype


def test_tensorstore_reads_every_array(stored: tuple[Path, stores.Arrays]) -> None:
    path, wanted = stored
    for name, values in wanted.items():
        kvstore = {"driver": "file", "path": str(path / name)}
        array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()
        assert np.array_equal(array.read().result(), values)


def test_xarray_decodes_uint8_by_dimension_name(tmp_path: Path) -> None:
    rows = stores.write(tmp_path, stores.vision("uint8"))["features"]
    with xarray.open_zarr(tmp_path, consolidated=False) as data:
        decoded = data["features"] * data["features_scale"] + data["features_offset"]
        ours = FeatureReader(tmp_path).decode("features", stores.torch.from_numpy(rows))
        np.testing.assert_allclose(decoded.transpose(*stores.DIMS), ours, rtol=1e-6)


@pytest.mark.parametrize("encoding", ["float16", "round5", "float16_zstd"])
def test_an_array_that_zarr_python_wrote_is_read(tmp_path: Path, encoding: Any) -> None:
    layout = stores.vision(encoding)
    rows, _ = stores.values(layout)
    group = zarr.create_group(tmp_path)
    compressors = {
        "round5": [zarr.codecs.BloscCodec(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle")],
        "float16_zstd": [zarr.codecs.ZstdCodec(level=1)],
    }
    array = group.create_array(
        "features",
        shape=stores.SHAPE,
        dtype="float16",
        chunks=layout.arrays[0].chunk,
        shards=(3, *stores.SHAPE[1:]),
        compressors=[*compressors.get(encoding, []), zarr.codecs.Crc32cCodec()],
        dimension_names=stores.DIMS,
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    array[...] = rows["features"]
    assert np.array_equal(stores.read_all(FeatureReader(tmp_path)), rows["features"])
