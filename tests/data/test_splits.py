"""Windows are cut from images as they lie, mirrored or not, whatever their size and dtype."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gimstage.data.splits import ImageSplit
from gimstage.errors import DataError


class Held(ImageSplit):
    """Images in memory."""

    ids: list[str] = []
    root, name = Path("held"), "train"

    def __init__(self, images: NDArray[Any]) -> None:
        self.images, self.dtype = images, images.dtype
        self.channels, self.size_px = images.shape[1:3]

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> NDArray[Any]:
        return self.images[index]


@pytest.mark.parametrize("px", [7, 8, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("by_columns", [False, True])
def test_a_mirrored_window_is_the_window_read_backwards(
    px: int, dtype: Any, by_columns: bool
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 2, 20, 20)).astype(dtype)
    split = Held(images.transpose(0, 1, 3, 2) if by_columns else images)
    at = np.array([2, 0])
    made = split.crops(at, np.array([1, 3]), np.array([4, 2]), np.array([True, False]), px).numpy()
    assert (made[0] == split.images[2, :, 1 : 1 + px, 4 : 4 + px][..., ::-1]).all()
    assert (made[1] == split.images[0, :, 3 : 3 + px, 2 : 2 + px]).all()


def test_a_window_outside_is_refused() -> None:
    split, zero = Held(np.zeros((2, 1, 20, 20), np.uint8)), np.zeros(1, np.int64)
    with pytest.raises(DataError) as info:
        split.crops(zero, zero + 5, zero, zero, 16)
    assert str(info.value) == (
        "held, split 'train': window edge 5; expected 0 to 4; correct the recipe or the caller"
    )
