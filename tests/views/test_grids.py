"""Views: what is cut from a stored grid is what would have been cut from the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gimstage.draws import generator
from gimstage.errors import RecipeError
from gimstage.views import Crops, LiveViews, StoredViews, Windows, cut_out, patch_grid

LIVE = LiveViews(image_px=96, crop_px=64, patch_px=16, stride_px=8, flip=True)


def stored(patches: int = 10, count: int = 3) -> StoredViews:
    """Three views of ten pictures."""
    return StoredViews(live=LIVE, patches=patches, count=count, seed=5, num_samples=10)


def cut(pictures: torch.Tensor, crops: Crops) -> torch.Tensor:
    """The crops, written as plainly as can be."""
    parts = []
    for n, y, x, flip in zip(crops.sample, crops.y, crops.x, crops.flip, strict=True):
        part = pictures[n, :, y : y + crops.size_px, x : x + crops.size_px]
        parts.append(part.flip(-1) if flip else part)
    return torch.stack(parts)


def windows(views: StoredViews, rng: torch.Generator) -> Windows:
    """Two hundred windows of random samples."""
    return views.draw(rng, torch.randint(10, (200,), generator=rng).numpy())


def test_patches_run_row_by_row_from_the_top_left() -> None:
    picture = torch.arange(32 * 24).view(1, 1, 32, 24)
    grid = patch_grid(picture, 16, 8)
    assert grid.shape == (1, 3, 2, 1, 16, 16)
    assert torch.equal(grid[0, 2, 1, 0], picture[0, 0, 16:32, 8:24])


@pytest.mark.parametrize("patches", [7, 9, 10, 11])
def test_a_window_of_the_stored_grid_is_the_crop_it_stands_for(patches: int) -> None:
    views, rng = stored(patches), generator(1, "test")
    pictures = torch.rand(10, 1, 96, 96, generator=rng)
    chosen = windows(views, rng)
    whole = views.whole(np.arange(10))
    grids = patch_grid(cut(pictures, views.crops(whole)), 16, 8).unflatten(0, (10, 3))
    expected = patch_grid(cut(pictures, views.crops(chosen)), 16, 8)
    for b, (n, v, r, c) in enumerate(chosen.starts):
        assert torch.equal(grids[n, v, r : r + 7, c : c + 7], expected[b])


@pytest.mark.parametrize(("row", "column"), [(1, 0), (0, 1)])
def test_a_window_one_patch_off_is_another_crop(row: int, column: int) -> None:
    views, rng = stored(11), generator(1, "test")
    pictures = torch.rand(10, 1, 96, 96, generator=rng)
    w = views.draw(rng, np.arange(10))
    off = Windows(w.sample, w.view, (w.row + row) % 5, (w.column + column) % 5, w.size)
    assert not torch.equal(cut(pictures, views.crops(w)), cut(pictures, views.crops(off)))


@pytest.mark.parametrize("patches", [7, 10, 11])
def test_every_crop_of_a_stored_view_lies_inside_the_picture(patches: int) -> None:
    crops = stored(patches).crops(windows(stored(patches), generator(2, "test")))
    assert crops.size_px == 64
    assert min(crops.y.min(), crops.x.min()) >= 0
    assert max(crops.y.max(), crops.x.max()) <= 96 - 64


def test_ten_patches_a_side_still_reach_every_offset() -> None:
    views = StoredViews(live=LIVE, patches=10, count=1, seed=0, num_samples=3000)
    crops = views.crops(views.draw(generator(3, "test"), np.arange(3000)))
    assert set(crops.y) == set(crops.x) == set(range(33))


def test_neighbouring_views_are_mirrored_against_each_other() -> None:
    flips = stored(count=4).origins[..., 2]
    assert (flips[:, :-1] != flips[:, 1:]).all()


def test_without_flip_nothing_is_mirrored() -> None:
    live = LiveViews(image_px=96, crop_px=64, patch_px=16, stride_px=8, flip=False)
    views = StoredViews(live=live, patches=10, count=2, seed=5, num_samples=10)
    assert not views.origins[..., 2].any()
    assert not live.draw(generator(1, "test"), np.arange(100)).flip.any()


def test_live_crops_reach_every_offset_and_both_flips() -> None:
    crops = LIVE.draw(generator(1, "test"), np.zeros(3000, np.int64))
    assert set(crops.y) == set(crops.x) == set(range(33))
    assert 0.4 < crops.flip.mean() < 0.6


def test_the_same_generator_draws_the_same_crops() -> None:
    first, second = (LIVE.draw(generator(1, "a", 7), np.arange(9)) for _ in range(2))
    assert np.array_equal(first.y, second.y)
    assert not np.array_equal(first.y, LIVE.draw(generator(1, "a", 8), np.arange(9)).y)


def test_the_centre_crop_is_central_and_not_mirrored() -> None:
    crops = LIVE.centre(np.arange(2))
    assert (crops.y == 16).all()
    assert (crops.x == 16).all()
    assert not crops.flip.any()


CUT = replace(LIVE, cutout_px=10)


@pytest.mark.parametrize(
    ("square", "rows", "columns"),
    [
        ((2, 3, 5, 6), (2, 3, 4), (3, 4, 5)),
        ((-2, -1, 1, 2), (0,), (0, 1)),
        ((6, 7, 9, 10), (6, 7), (7,)),
        ((-1, 6, 2, 9), (0, 1), (6, 7)),
        ((-3, -3, 11, 11), tuple(range(8)), tuple(range(8))),
    ],
)
def test_a_square_is_cut_out_and_clipped_at_the_borders(
    square: tuple[int, ...], rows: tuple[int, ...], columns: tuple[int, ...]
) -> None:
    images = torch.rand(2, 3, 8, 8, generator=generator(1, "test")) + 1
    before, expected = images.clone(), images.clone()
    for row in rows:
        for column in columns:
            expected[1, :, row, column] = 0
    assert torch.equal(cut_out(images, np.array([(0, 0, 0, 0), square])), expected)
    assert torch.equal(images, before)


def test_a_cutout_leaves_the_other_draws_as_they_are() -> None:
    rng = generator(1, "a", 7)
    offsets = torch.randint(33, (2, 9), generator=rng).numpy()
    coin = torch.randint(2, (9,), generator=rng).numpy().astype(bool)
    for live in (LIVE, CUT):
        crops = live.draw(generator(1, "a", 7), np.arange(9))
        assert np.array_equal(crops.y, offsets[0])
        assert np.array_equal(crops.x, offsets[1])
        assert np.array_equal(crops.flip, coin)


def test_without_a_cutout_nothing_more_is_drawn() -> None:
    states = []
    for live in (LIVE, CUT.uncut(), CUT):
        rng = generator(1, "a", 7)
        live.draw(rng, np.arange(9))
        states.append(rng.get_state())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("size", [1, 9, 10, 64])
def test_squares_are_centred_on_every_pixel_of_the_crop(size: int) -> None:
    cutout = replace(LIVE, cutout_px=size).draw(generator(1, "test"), np.zeros(3000, int)).cutout
    assert cutout is not None
    centres = cutout[:, :2] + size // 2
    assert set(centres[:, 0]) == set(centres[:, 1]) == set(range(64))
    assert (cutout[:, 2:] - cutout[:, :2] == size).all()


def test_whether_crops_are_flipped_does_not_move_their_squares() -> None:
    one, other = (
        replace(CUT, flip=flip).draw(generator(1, "test"), np.arange(9)).cutout
        for flip in (True, False)
    )
    assert np.array_equal(one, other)


def test_a_part_of_the_crops_has_its_own_squares() -> None:
    crops = CUT.draw(generator(1, "test"), np.arange(9))
    assert np.array_equal(crops.entries(3, 5).cutout, crops.cutout[3:5])
    assert LIVE.draw(generator(1, "test"), np.arange(9)).entries(3, 5).cutout is None


def test_centre_crops_and_stored_views_have_no_cutout() -> None:
    views = StoredViews(live=CUT, patches=10, count=3, seed=5, num_samples=10)
    chosen = windows(views, generator(2, "test"))
    assert np.array_equal(chosen.starts, windows(stored(), generator(2, "test")).starts)
    assert np.array_equal(views.origins, stored().origins)
    for crops in (views.crops(chosen), views.crops(views.whole(np.arange(10)))):
        assert crops.cutout is None
    assert CUT.centre(np.arange(9)).cutout is None


@pytest.mark.parametrize("size", [0, 65])
def test_a_square_that_fits_no_crop_is_refused(size: int) -> None:
    with pytest.raises(RecipeError) as error:
        replace(LIVE, cutout_px=size)
    assert str(error.value) == (
        f"data.toml [views] cutout_px: a square of {size} px cannot be cut out of a crop of 64 px; "
        "expected 1 to 64; choose another size, or leave the key out to cut out nothing"
    )


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(RecipeError) as error:
        LiveViews(image_px=96, crop_px=104, patch_px=16, stride_px=8, flip=True)
    assert str(error.value) == (
        "data.toml [views] crop_px: 104 px is larger than the image; expected at most 96; "
        "choose a smaller crop"
    )


def test_patches_that_do_not_divide_the_crop_are_refused() -> None:
    with pytest.raises(RecipeError) as error:
        LiveViews(image_px=96, crop_px=60, patch_px=16, stride_px=8, flip=True)
    assert str(error.value) == (
        "data.toml [views] stride_px: patches of 16 px every 8 px do not divide a crop of 60 px; "
        "expected crop_px - patch_px to be a multiple of stride_px; try crop_px = 56"
    )


@pytest.mark.parametrize("patches", [6, 12])
def test_a_stored_grid_smaller_than_a_crop_or_larger_than_the_image_is_refused(
    patches: int,
) -> None:
    with pytest.raises(RecipeError) as error:
        stored(patches)
    assert str(error.value) == (
        f"data.toml [stored_views] patches: a grid of {patches} × {patches} patches; expected "
        "7 (one crop) to 11 (the whole image); change patches, or the sizes in [views]"
    )
