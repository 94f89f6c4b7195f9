"""Cuts against plain loops: patches, squares, windows of grids, crops of utterances."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gimstage.views import LiveViews, Spans, StoredSpans, StoredViews, Windows, cut_out, patch_grid

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 4), st.integers(0, 3))


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(patch=st.integers(1, 4), stride=st.integers(1, 3), rows=st.integers(1, 4))
def test_a_patch_is_the_square_of_pixels_at_its_place(patch: int, stride: int, rows: int) -> None:
    columns = rows + 1
    height, width = (patch + (count - 1) * stride for count in (rows, columns))
    images = torch.arange(2 * 3 * height * width).reshape(2, 3, height, width)
    grid = patch_grid(images, patch, stride)
    assert grid.shape == (2, rows, columns, 3, patch, patch)
    for row in range(rows):
        for column in range(columns):
            y, x = row * stride, column * stride
            assert torch.equal(grid[:, row, column], images[..., y : y + patch, x : x + patch])


@given(squares=st.lists(st.tuples(*[st.integers(-4, 9)] * 2, *[st.integers(0, 9)] * 2), min_size=1))
def test_squares_of_zeros_are_clipped_at_the_borders(squares: list[tuple[int, ...]]) -> None:
    edges = np.array([(y, x, y + h, x + w) for y, x, h, w in squares], np.int64)
    images = torch.ones(len(edges), 2, 6, 6)
    expected = images.clone()
    for image, (top, left, bottom, right) in zip(expected, edges, strict=True):
        image[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 0
    assert torch.equal(cut_out(images, edges), expected)
    assert images.min() == 1


def stored(crop: int, room: int, more: int, *, flip: bool) -> StoredViews:
    """Grids of patches of 4 px every 2 px, `room` patches larger than a crop."""
    crop_px, patches = 4 + 2 * (crop - 1), crop + room
    live = LiveViews(
        image_px=4 + 2 * (patches - 1) + more,
        crop_px=crop_px,
        patch_px=4,
        stride_px=2,
        flip=flip,
    )
    return StoredViews(live=live, patches=patches, count=3, seed=2, num_samples=5)


@given(size=SIZES, flip=st.booleans(), seed=st.integers(0, 99))
def test_a_window_of_a_grid_shows_what_its_crop_of_the_picture_shows(
    size: tuple[int, ...], flip: bool, seed: int
) -> None:
    crop, room, more, _ = size
    views = stored(crop, room, more, flip=flip)
    px = views.live.image_px
    pictures = torch.arange(5 * px * px).reshape(5, 1, px, px)
    windows = views.draw(rng(seed), np.arange(5))
    whole, cut = views.crops(views.whole(np.arange(5))), views.crops(windows)

    def patches_of(crops: object, at: int) -> torch.Tensor:
        y, x, side = crops.y[at], crops.x[at], crops.size_px
        pixels = pictures[crops.sample[at], :, y : y + side, x : x + side]
        return patch_grid((pixels.flip(-1) if crops.flip[at] else pixels)[None], 4, 2)[0]

    for at, (sample, view, row, column) in enumerate(windows.starts):
        grid = patches_of(whole, sample * 3 + view)
        assert torch.equal(grid[row : row + crop, column : column + crop], patches_of(cut, at))


@given(size=SIZES, flip=st.booleans())
def test_every_stored_view_lies_inside_its_picture(size: tuple[int, ...], flip: bool) -> None:
    crop, room, more, _ = size
    views = stored(crop, room, more, flip=flip)
    crops = views.crops(views.whole(np.arange(5)))
    for first in (crops.y, crops.x):
        assert first.min() >= 0
        assert first.max() + crops.size_px <= views.live.image_px
    mirrored = views.origins[..., 2]
    assert (np.diff(mirrored, axis=1) != 0).all() == flip


def test_entries_of_windows_are_those_of_their_places() -> None:
    starts = np.arange(20).reshape(5, 4)
    windows = Windows(*starts.T, size=3)
    part = windows.entries(1, 3)
    assert part.starts.tolist() == starts[1:3].tolist()
    assert (len(windows), len(part), part.size) == (5, 2, 3)


FRAMES = st.lists(st.integers(6, 40), min_size=1, max_size=5)


@given(frames=FRAMES, count=st.integers(1, 3), seed=st.integers(0, 99), crop=st.integers(1, 6))
def test_a_crop_of_a_stored_crop_lies_within_its_utterance(
    frames: list[int], count: int, seed: int, crop: int
) -> None:
    lengths = np.array(frames, np.int64)
    spans = StoredSpans(frames=lengths, crop_frames=6, count=count, seed=seed)
    samples = np.arange(len(frames))
    entry, first = spans.draw(rng(seed), samples, crop)
    assert (spans.source[entry] == samples).all()
    assert (first >= 0).all()
    assert (first + crop <= 6).all()
    assert (spans.start[entry] + first + crop <= lengths).all()


@given(frames=FRAMES, seed=st.integers(0, 99))
def test_stored_crops_of_an_utterance_are_drawn_whatever_is_drawn_later(
    frames: list[int], seed: int
) -> None:
    def starts() -> list[int]:
        spans = StoredSpans(frames=np.array(frames), crop_frames=5, count=2, seed=seed)
        return spans.start.tolist()

    before = starts()
    torch.rand(3)
    assert starts() == before
    assert all(
        0 <= at <= length - 5 for at, length in zip(before, np.repeat(frames, 2), strict=True)
    )


@pytest.mark.parametrize(
    ("frames", "crop", "first"), [(9, 9, 0), (10, 9, 0), (11, 9, 1), (20, 4, 8)]
)
def test_the_centre_of_an_utterance_has_as_much_on_either_side(
    frames: int, crop: int, first: int
) -> None:
    spans = StoredSpans(frames=np.array([frames]), crop_frames=None, count=1, seed=0)
    entry, at = spans.centre(np.array([0]), crop)
    assert (entry.tolist(), at.tolist()) == ([0], [first])


def test_parts_of_spans_are_those_of_their_places() -> None:
    spans = Spans(np.arange(5), np.arange(5) * 10, count=7)
    part = spans.entries(1, 3)
    assert (part.entry.tolist(), part.first.tolist(), part.count) == ([1, 2], [10, 20], 7)
    assert (len(spans), len(part)) == (5, 2)
