"""Sizes that fit: crops and patches for images of a side, convolutions and crops for sequences."""

import math
from pathlib import Path

import numpy as np
import pytest

from gimstage.data.moments import Moments
from gimstage.drafts.facts import SequenceFacts
from gimstage.drafts.images import sizes_of
from gimstage.drafts.sequences import crop_of, strides_to
from gimstage.views import LiveViews, StoredViews


@pytest.mark.parametrize("image_px", [8, 9, 12, 16, 24, 28, 32, 33, 48, 64, 96, 100, 224, 512])
def test_images_of_any_side_are_cut_into_patches(image_px: int) -> None:
    sizes = sizes_of(image_px)
    live = LiveViews(
        image_px=image_px,
        crop_px=sizes.crop_px,
        patch_px=sizes.patch_px,
        stride_px=sizes.stride_px,
        flip=True,
    )
    stored = StoredViews(live=live, patches=sizes.stored, count=1, seed=1, num_samples=1)
    assert (live.crop_patches, stored.patches) == (sizes.grid, sizes.stored)


def test_images_of_the_papers_side_are_cut_as_in_the_paper() -> None:
    sizes = sizes_of(96)
    assert (sizes.crop_px, sizes.patch_px, sizes.stride_px, sizes.stored) == (64, 16, 8, 10)


@pytest.mark.parametrize(
    ("frame_rows", "strides"),
    [
        (160, [5, 4, 2, 2, 2]),
        (80, [5, 4, 2, 2]),
        (8, [4, 2]),
        (4, [2, 2]),
        (1, []),
        (100, [5, 5, 2, 2]),
    ],
)
def test_strides_make_one_row_of_a_frame(frame_rows: int, strides: list[int]) -> None:
    assert strides_to(frame_rows) == strides
    assert math.prod(strides) == frame_rows


def test_no_strides_make_a_row_of_a_frame_of_a_large_prime() -> None:
    assert strides_to(22) is None


def lasting(*frames: int, rate_hz: float | None = 16_000) -> SequenceFacts:
    """Sequences of so many frames of 160 rows."""
    return SequenceFacts(
        folder=Path("data"),
        source=("sound", ""),
        splits={"train": len(frames)},
        moments=Moments(),
        measured="",
        frame_rows=160,
        frames=np.array(frames),
        rate_hz=rate_hz,
    )


def test_a_crop_is_as_long_as_is_wanted_where_sequences_are() -> None:
    assert crop_of(lasting(500, 128), 128) == (128, "1.28 s; more shows a module more at once")


def test_a_crop_is_shorter_where_more_than_a_tenth_of_the_sequences_are() -> None:
    short = lasting(50, *[100] * 19)
    assert crop_of(short, 128) == (100, "1 s; 1 of 20 are shorter")
    assert crop_of(lasting(0, 0), 128) == (1, "0.01 s; 2 of 2 are shorter")


def test_a_crop_is_counted_in_rows_where_nobody_knows_the_rate() -> None:
    assert crop_of(lasting(200, rate_hz=None), 100)[1].startswith("16,000 rows; ")
