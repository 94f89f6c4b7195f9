"""What excites neurons of whole maps: the positions, and the pixels around them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from helpers.homes import at

from gimstage.cache import FeatureReader
from gimstage.report.excerpts import Surroundings, excerpts_of
from gimstage.report.neurons import search


@pytest.fixture(scope="module")
def finished(finished_maps: Path) -> Path:
    """The small recipe is that of whole maps."""
    return finished_maps


def test_the_best_places_are_the_highest_positions_of_as_many_images(finished: Path) -> None:
    path = finished / "runs/tiny_maps/2/features.zarr"
    maps = zarr.open_group(path, mode="r")["features"][:].astype(np.float32)
    best = search(FeatureReader(path), 3)
    highest = np.sort(maps.max((1, 2, 3)), axis=0)[::-1][:3]
    assert np.array_equal(best.values.numpy(), highest)
    for channel in best.varied(8):
        sample, view, y, x = best.places[0, channel]
        assert maps[sample, view, y // 4, x // 4, channel] == best.values[0, channel]
    spread = torch.from_numpy(maps).double().flatten(0, 3).std(0, correction=0)
    torch.testing.assert_close(best.spread, spread, rtol=1e-6, atol=1e-9)


def test_an_excerpt_is_the_image_around_a_place_moved_inwards_at_its_edges(finished: Path) -> None:
    data = at(finished).data
    excerpts = excerpts_of(data)
    assert isinstance(excerpts, Surroundings)
    whole = excerpts.cut(np.array([5, 0, 48, 48]))
    corner = excerpts.cut(np.array([5, 0, 0, 0]))
    assert whole.shape == corner.shape == (64, 64)
    assert np.array_equal(whole[:48, :48], corner[16:, 16:])
    mirrored = excerpts.cut(np.array([5, 1, 48, 48]))
    assert np.array_equal(whole, mirrored[:, ::-1])
