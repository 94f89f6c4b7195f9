"""Whole maps, stored in tiles."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import zarr
from helpers.homes import at, unrun
from torch.testing import assert_close

from gimstage.modality.maps import chunk_side, map_side
from gimstage.modules import Conv2dModule


@pytest.fixture(scope="module")
def finished(finished_maps: Path) -> Path:
    """The small recipe is that of whole maps."""
    return finished_maps


def test_stored_maps_open_in_zarr_and_xarray(finished: Path) -> None:
    path = finished / "runs/tiny_maps/2/features.zarr"
    data = xarray.open_zarr(path, consolidated=False)
    assert data["features"].dims == ("sample", "view", "y", "x", "channel")
    assert data["features"].shape == (24, 2, 24, 24, 8)
    assert data["flip"].values.tolist() == [False, True]
    group = zarr.open_group(path, mode="r")
    assert np.array_equal(group["features"][:], data["features"].values)
    assert group.attrs["px_per_position"] == 4


def test_tiles_of_any_size_give_the_map_of_the_whole_image(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gimstage.modality.maps.CHUNK_SIDE", 8)
    again = unrun(finished, tmp_path)
    at(again).train_stage(1)
    small = zarr.open_group(again / "runs/tiny_maps/1/features.zarr", mode="r")["features"]
    whole = zarr.open_group(finished / "runs/tiny_maps/1/features.zarr", mode="r")["features"]
    assert (small.chunks, whole.chunks) == ((1, 1, 8, 8, 6), (1, 1, 24, 24, 6))
    assert_close(torch.from_numpy(small[:]), torch.from_numpy(whole[:]), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("side", "chunk"), [(1024, 32), (48, 24), (96, 32), (200, 40), (97, 97), (8191, 8191), (5, 5)]
)
def test_chunks_divide_a_map_and_are_about_32_positions_a_side(side: int, chunk: int) -> None:
    assert chunk_side(side) == chunk
    assert side % chunk == 0


def test_the_side_of_a_map_follows_from_that_of_the_image() -> None:
    rows = [
        Conv2dModule(in_channels=1, channels=1, kernel=k, stride=s, padding=p)
        for k, s, p in [(8, 4, 2), (4, 4, 0), (4, 2, 1), (4, 2, 1)]
    ]
    assert [map_side(2048, rows[:n]) for n in range(5)] == [2048, 512, 128, 64, 32]
