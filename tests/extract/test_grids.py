"""Grids of images, stored."""

from pathlib import Path

import numpy as np
import tensorstore
import torch
import xarray
import zarr

import gimstage


def test_stored_features_open_alike_in_zarr_xarray_and_tensorstore(finished: Path) -> None:
    path = finished / "runs/tiny/2/features.zarr"
    group = zarr.open_group(path, mode="r")
    data = xarray.open_zarr(path, consolidated=False)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "features")}}
    values = group["features"][:]
    assert np.array_equal(values, data["features"].values)
    assert np.array_equal(values, tensorstore.open(spec).result().read().result())
    assert data["features"].dims == ("sample", "view", "row", "column", "channel", "y", "x")
    assert group.attrs["gimstage"] == "features of module tiny/2"
    reader = gimstage.open_features(path.parent)
    raw = torch.empty(48, 1, 8, 8, 16, 4, 4, dtype=torch.float16)
    reader.read("features", raw.unsqueeze(1), np.arange(48)[:, None])
    assert np.array_equal(values, raw.numpy())
