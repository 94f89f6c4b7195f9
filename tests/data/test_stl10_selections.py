"""Train and unlabeled images together, and the folds of train."""

import numpy as np
import pytest

from gimstage.data.stl10 import open_split
from gimstage.data.stl10_selections import JOINED, Stl10Selection, fold, selection_files
from gimstage.errors import DataError


def opened(folder, name: str) -> Stl10Selection:
    return Stl10Selection(folder, name, lambda part: open_split(folder, part))


def test_train_and_unlabeled_follow_each_other_and_the_latter_have_no_label(folder, pixels) -> None:
    split = opened(folder, JOINED)
    every = np.concatenate([pixels["train"], pixels["unlabeled"]])
    assert len(split) == len(every) == 11
    assert all(np.array_equal(split.image(index), every[index]) for index in range(11))
    column = split.column("class")
    assert column.classes == ("cat", "dog", "owl")
    assert column.values.tolist() == [0, 1, 2, 0, 1, 2] + [-1] * 5
    assert split.ids[5:7] == ["train/5", "unlabeled/0"]
    zeros = np.zeros(2, np.int64)
    crops = split.crops(np.array([5, 6]), zeros, zeros + 3, zeros, 8)
    assert np.array_equal(crops.numpy(), every[5:7, :, :8, 3:11])


def test_a_fold_is_the_images_of_train_that_a_line_names(folder, pixels) -> None:
    (folder / "fold_indices.txt").write_text("4 0 2\n1 3 5\n")
    split = opened(folder, "fold0")
    assert split.column("class").values.tolist() == [0, 2, 1]
    assert np.array_equal(split.image(2), pixels["train"][4])
    assert opened(folder, "fold1").ids == ["train/1", "train/3", "train/5"]


def test_a_selection_counts_the_files_of_its_splits(folder) -> None:
    train = ["train_X.bin", "train_y.bin", "class_names.txt"]
    assert [*selection_files(folder, JOINED)] == [*train, "unlabeled_X.bin"]
    assert [*selection_files(folder, "fold3")] == [*train, "fold_indices.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            None,
            "fold_indices.txt: there is no such file or folder; "
            "check the path of the data set, or fetch the set again",
        ),
        (
            "1 2\n",
            "fold_indices.txt: no line 2, so no fold1; expected a line for every fold; "
            "fetch the set again, or probe on train",
        ),
        (
            "1\n2 6\n",
            "fold_indices.txt, line 2: '6'; expected numbers of images, 0 to 5; "
            "fetch the set again, or probe on train",
        ),
        (
            "1\n2 x\n",
            "fold_indices.txt, line 2: 'x'; expected numbers of images, 0 to 5; "
            "fetch the set again, or probe on train",
        ),
    ],
)
def test_folds_that_are_none_are_refused(folder, text, message) -> None:
    if text is not None:
        (folder / "fold_indices.txt").write_text(text)
    with pytest.raises(DataError) as error:
        fold(folder, 1, 6)
    assert str(error.value) == f"{folder}/{message}"
