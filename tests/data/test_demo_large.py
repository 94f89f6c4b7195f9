"""Large synthetic images: the same bytes from the same seed, classes that only a window tells."""

from pathlib import Path

import numpy as np
import pytest

from gimstage.data.demo_large import CLASS_NAMES, LargeSplit, draw_large, large_labels
from gimstage.errors import DataError, NoLabelsError

COUNTS = {"train": 12, "test": 5}


def split(name: str) -> LargeSplit:
    return LargeSplit(Path("runs/x"), name, seed=3, counts=COUNTS, size_px=64, store=None)


def test_the_same_numbers_give_the_same_picture_and_others_another() -> None:
    one = draw_large(1, "train", 0, label=2, size_px=300)
    assert (one.shape, one.dtype) == ((1, 300, 300), np.uint8)
    assert np.array_equal(one, draw_large(1, "train", 0, label=2, size_px=300))
    for other in (
        draw_large(2, "train", 0, label=2, size_px=300),
        draw_large(1, "test", 0, label=2, size_px=300),
        draw_large(1, "train", 1, label=2, size_px=300),
        draw_large(1, "train", 0, label=3, size_px=300),
    ):
        assert not np.array_equal(one, other)


def test_no_class_is_brighter_or_stronger_than_another() -> None:
    drawn = [
        [draw_large(5, "train", n, label=label, size_px=256) for n in range(8)]
        for label in range(len(CLASS_NAMES))
    ]
    means = [np.mean(pictures) for pictures in drawn]
    assert max(means) - min(means) < 2


def test_every_class_is_as_frequent_as_can_be() -> None:
    counts = np.bincount(large_labels(1, "train", 12))
    assert sorted(counts.tolist()) == [2, 2, 2, 3, 3]


def test_a_planned_split_knows_its_labels_and_no_pixel() -> None:
    planned = split("train")
    assert len(planned) == 12
    assert planned.ids[11] == "train/11"
    assert planned.column("class").classes == CLASS_NAMES
    assert planned.column("class").values.tolist() == large_labels(3, "train", 12).tolist()
    with pytest.raises(DataError) as error:
        planned.image(0)
    assert str(error.value) == (
        "runs/x: not written yet; expected pictures, which the first command that works on them "
        "draws"
    )


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError) as error:
        split("unlabeled")
    assert str(error.value) == ("runs/x: there is no split 'unlabeled'; choose from: test, train")


def test_labels_of_another_name_are_refused() -> None:
    with pytest.raises(NoLabelsError) as error:
        split("test").column("pattern")
    assert str(error.value) == (
        "runs/x, split 'test': no labels 'pattern'; expected one of class; choose from: class"
    )
