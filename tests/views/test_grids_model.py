"""Views of images of any size, held against plain loops over pixels."""

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gimstage.draws import generator
from gimstage.views import Crops, LiveViews, StoredViews, Windows, cut_out, patch_grid


@st.composite
def lives(draw: Any, **fixed: Any) -> LiveViews:
    """Views whose patches divide the crop, and whose crop fits the image."""
    stride, patch = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    crop = patch + stride * draw(st.integers(0, 4))
    image = crop + draw(st.integers(0, 9))
    flip = draw(st.booleans())
    sizes = {"image_px": image, "crop_px": crop, "patch_px": patch, "stride_px": stride}
    return LiveViews(**sizes | {"flip": flip} | fixed)


@st.composite
def stored(draw: Any) -> StoredViews:
    live = draw(lives())
    most = (live.image_px - live.patch_px) // live.stride_px + 1
    patches = draw(st.integers(live.crop_patches, most))
    count, seed = draw(st.integers(1, 3)), draw(st.integers(0, 99))
    return StoredViews(live=live, patches=patches, count=count, seed=seed, num_samples=4)


def picture(px: int, count: int = 1) -> torch.Tensor:
    """Pictures no two pixels of which are alike."""
    return torch.arange(count * px * px).view(count, 1, px, px)


@given(lives())
def test_patches_are_those_of_a_loop_over_rows_and_columns(live: LiveViews) -> None:
    image = picture(live.crop_px)
    grid = patch_grid(image, live.patch_px, live.stride_px)
    assert grid.shape[1:3] == (live.crop_patches, live.crop_patches)
    for row in range(live.crop_patches):
        for column in range(live.crop_patches):
            y, x = row * live.stride_px, column * live.stride_px
            patch = image[0, :, y : y + live.patch_px, x : x + live.patch_px]
            assert torch.equal(grid[0, row, column], patch)


@given(lives(), st.integers(1, 9))
def test_a_grid_of_patches_spans_from_the_first_to_the_end_of_the_last(
    live: LiveViews, patches: int
) -> None:
    starts = [number * live.stride_px for number in range(patches)]
    assert live.grid_px(patches) == starts[-1] + live.patch_px


@given(lives(), st.integers(0, 99))
def test_live_crops_lie_inside_the_image(live: LiveViews, seed: int) -> None:
    crops = live.draw(generator(seed, "test"), np.arange(20))
    for corner in (crops.y, crops.x):
        assert corner.min() >= 0
        assert (corner + crops.size_px).max() <= live.image_px
    assert live.flip or not crops.flip.any()


@given(stored(), st.integers(0, 99))
def test_windows_lie_inside_the_stored_grid(views: StoredViews, seed: int) -> None:
    found = views.draw(generator(seed, "test"), np.arange(4))
    for corner in (found.row, found.column):
        assert corner.min() >= 0
        assert (corner + found.size).max() <= views.patches
    assert found.view.max() < views.count


@given(stored(), st.integers(0, 99))
def test_a_window_of_patches_is_the_crop_of_pixels_it_stands_for(
    views: StoredViews, seed: int
) -> None:
    live, pictures = views.live, picture(views.live.image_px, 4)
    found = views.draw(generator(seed, "test"), np.arange(4))
    crops, whole = views.crops(found), views.crops(views.whole(np.arange(4)))
    for n in range(len(found)):
        grid = patch_grid(cut(pictures, whole, n * views.count + int(found.view[n])), *sizes(live))
        row, column = int(found.row[n]), int(found.column[n])
        window = grid[:, row : row + found.size, column : column + found.size]
        assert torch.equal(window, patch_grid(cut(pictures, crops, n), *sizes(live)))


def sizes(live: LiveViews) -> tuple[int, int]:
    return live.patch_px, live.stride_px


def cut(pictures: torch.Tensor, crops: Crops, n: int) -> torch.Tensor:
    """One crop, written as plainly as can be, (1, 1, px, px)."""
    y, x, px = int(crops.y[n]), int(crops.x[n]), crops.size_px
    part = pictures[[int(crops.sample[n])], :, y : y + px, x : x + px]
    assert part.shape[-2:] == (px, px)
    return part.flip(-1) if crops.flip[n] else part


@given(stored())
def test_whole_views_come_sample_by_sample_and_view_by_view(views: StoredViews) -> None:
    found = views.whole(np.array([2, 0]))
    wanted = [(sample, view, 0, 0) for sample in (2, 0) for view in range(views.count)]
    assert [tuple(each) for each in found.starts] == wanted
    assert found.size == views.patches


@given(stored())
def test_the_window_in_the_middle_is_of_the_first_view(views: StoredViews) -> None:
    found = views.centre(np.arange(4))
    margin = (views.patches - views.live.crop_patches) // 2
    assert [tuple(each) for each in found.starts] == [(n, 0, margin, margin) for n in range(4)]


@given(stored())
def test_stored_views_never_move(views: StoredViews) -> None:
    again = StoredViews(
        live=views.live, patches=views.patches, count=views.count, seed=views.seed, num_samples=4
    )
    assert np.array_equal(views.origins, again.origins)


@given(stored())
def test_both_flips_are_stored_as_often_where_views_are_even(views: StoredViews) -> None:
    flips = views.origins[:, :, 2]
    if not views.live.flip:
        assert not flips.any()
    elif views.count % 2 == 0:
        assert (flips.sum(1) == views.count // 2).all()


@given(st.integers(1, 8), st.lists(st.integers(-3, 9), min_size=4, max_size=4))
def test_what_is_cut_out_is_zero_and_the_rest_is_as_it_was(px: int, square: list[int]) -> None:
    images = 1 + picture(px).float()
    top, left, bottom, right = square
    found = cut_out(images, np.array([square]))
    for y in range(px):
        for x in range(px):
            inside = top <= y < bottom and left <= x < right
            assert found[0, 0, y, x] == (0 if inside else images[0, 0, y, x])


@given(lives(cutout_px=1), st.integers(0, 99))
def test_a_square_of_one_pixel_lies_inside_the_crop(live: LiveViews, seed: int) -> None:
    squares = live.draw(generator(seed, "test"), np.arange(20)).cutout
    assert squares is not None
    assert squares.min() >= 0
    assert squares.max() <= live.crop_px
    assert ((squares[:, 2:] - squares[:, :2]) == 1).all()


@given(st.integers(0, 6), st.integers(0, 6))
def test_some_entries_of_windows_are_their_slice(first: int, last: int) -> None:
    columns = np.arange(24).reshape(4, 6)
    found = Windows(*columns, 3).entries(first, last)
    assert np.array_equal(found.starts, columns.T[first:last])
    assert len(found) == len(range(6)[first:last])
