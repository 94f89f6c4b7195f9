"""Squares of maps as a stage reads them: of pixels, cut from the store, or computed anew."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import CPU, at, edit
from torch.testing import assert_close

from gimstage.draws import generator
from gimstage.inputs import MapSource, output_source
from gimstage.inputs.maps import FeatureMaps, PixelMaps, RecomputedMaps
from gimstage.stack import trained_stack
from gimstage.views import MapViews, Squares
from gimstage.work.pipeline import Pipeline

BEYOND = (-3, 60, 90)  # rows and columns at which squares of 20 begin, two beyond the image


@pytest.fixture(scope="module")
def finished(finished_maps: Path) -> Path:
    """The small recipe is that of whole maps."""
    return finished_maps


def squares(size: int, corners: tuple[int, ...], view: int = 0) -> Squares:
    y, x = (grid.flatten() for grid in np.meshgrid(corners, corners, indexing="ij"))
    sample = np.arange(len(y), dtype=np.int64)
    return Squares(sample, np.full_like(sample, view), y, x, size)


def read(source: MapSource, places: Squares) -> torch.Tensor:
    return source.prepare(source.fill(source.buffer(len(places), places.size), places), places)


def padded(whole: torch.Tensor, places: Squares, room: int = 32) -> torch.Tensor:
    """The same squares, cut from whole maps (N, y, x, C) with zeros around them."""
    wide = torch.nn.functional.pad(whole, (0, 0, room, room, room, room))
    return torch.stack(
        [
            wide[n, y + room : y + room + places.size, x + room : x + room + places.size]
            for n, y, x in zip(places.sample, places.y, places.x, strict=True)
        ]
    )


def source_of(pipeline: Pipeline, number: int) -> MapSource:
    chain = pipeline.recipe.chain(number)
    source = output_source(pipeline.runs, pipeline.data, chain, CPU)
    assert isinstance(source, MapSource)
    return source


@pytest.mark.parametrize("view", [0, 1])
def test_pixels_beyond_an_image_are_zeros_after_normalising(finished: Path, view: int) -> None:
    source = at(finished).data.source()
    assert isinstance(source, PixelMaps)
    whole = read(source, squares(96, (0, 0, 0)))
    whole = whole.flip(2) if view else whole
    places = squares(20, BEYOND, view)
    assert_close(read(source, places), padded(whole, places), rtol=0, atol=0)


def test_a_square_larger_than_the_image_holds_all_of_it(finished: Path) -> None:
    source = at(finished).data.source()
    places = squares(104, (-4,))
    whole = read(source, squares(96, (0,)))
    assert_close(read(source, places), padded(whole, places), rtol=0, atol=0)


def test_stored_positions_beyond_a_map_are_zeros(finished: Path) -> None:
    source = source_of(at(finished), 1)
    assert isinstance(source, FeatureMaps)
    whole, places = read(source, squares(48, (0, 0, 0))), squares(12, (-3, 20, 44))
    assert_close(read(source, places), padded(whole, places), rtol=0, atol=0)


@pytest.mark.parametrize("encoding", ["float32", "float16"])
def test_recomputing_gives_the_maps_that_the_store_gives(home: Path, encoding: str) -> None:
    edit(home, "1_*.toml", '"float16"', f'"{encoding}"')
    pipeline = at(home)
    pipeline.train_stage(1)
    places = squares(12, (-3, 20, 44), view=1)
    stored = read(source_of(pipeline, 1), places)
    shutil.rmtree(home / "runs/tiny_maps/1/features.zarr")
    edit(home, "1_*.toml", '"features"', '"none"')
    again = source_of(at(home), 1)
    assert isinstance(again, RecomputedMaps)
    rounding = 1e-6 if encoding == "float32" else 2e-3
    assert_close(read(again, places), stored, rtol=rounding, atol=1e-6)


def test_stored_maps_are_the_frozen_modules_on_whole_images(finished: Path) -> None:
    pipeline = at(finished)
    images = read(pipeline.data.source(), squares(96, (0, 0, 0), view=1))
    for number in (1, 2):
        codes = trained_stack(pipeline.runs, pipeline.recipe.chain(number))(images)
        side = codes.shape[1]
        stored = read(source_of(pipeline, number), squares(side, (0, 0, 0), view=1))
        assert_close(stored, codes, rtol=5e-3, atol=1e-3)


def test_later_stages_draw_windows_as_large_as_they_say(finished: Path) -> None:
    pipeline, sizes = at(finished), []
    for number in (1, 2, 3):
        places = pipeline.data.draws(pipeline.recipe.chain(number))(0)
        assert isinstance(places, Squares)
        sizes.append(places.size)
    # 32 px; 48 px of which every second is a position; 64 px of which every fourth is one.
    assert sizes == [32, 24, 16]


def test_mirrored_windows_come_from_the_mirrored_image(finished: Path) -> None:
    source = source_of(at(finished), 1)
    drawn = MapViews(side=48, size=8, flip=True).draw(generator(1, "test"), np.arange(24))
    assert 0 < int(drawn.view.sum()) < 24
    whole = torch.cat(
        [
            read(source, Squares(*(np.array([v]) for v in (n, view, 0, 0)), 48))
            for n, view in zip(drawn.sample, drawn.view, strict=True)
        ]
    )
    drawn_at = Squares(np.arange(24), drawn.view, drawn.y, drawn.x, 8)
    assert_close(read(source, drawn), padded(whole, drawn_at), rtol=0, atol=0)
