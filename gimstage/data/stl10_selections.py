"""Images of STL-10's splits in other company: train and unlabeled together, and ten folds of train.

    train+unlabeled    the images of both, one after the other; the latter have no label
    fold0 … fold9      those of train whose numbers, from 0 on, a line of fold_indices.txt holds

Imports `errors` and its neighbours only.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import reading
from gimstage.data.splits import NO_LABEL, Column, ImageSplit, Ints
from gimstage.data.stl10 import CLASS, Stl10Split, files
from gimstage.errors import DataError
from gimstage.files import read_regular

JOINED = "train+unlabeled"
FOLDS = tuple(f"fold{number}" for number in range(10))

_INDICES = "fold_indices.txt"
_INDICES_BYTES = 1 << 24
_RESTORE = "fetch the set again, or probe on train"


class Stl10Selection(ImageSplit):
    """Images of one split or of two, opened when it is made.

    Args:
        root: the folder.
        name: "train+unlabeled", or "fold0" to "fold9".
        open_one: opens a split by its name.

    Raises:
        DataError: a split cannot be opened, or there is no such fold.
    """

    size_px, channels = Stl10Split.size_px, Stl10Split.channels
    dtype, scale = Stl10Split.dtype, Stl10Split.scale

    def __init__(self, root: Path, name: str, open_one: Callable[[str], Stl10Split]) -> None:
        self.root, self.name = root, name
        self._parts = [open_one(part) for part in _parts(name)]
        counts = [len(part) for part in self._parts]
        self._part = np.repeat(np.arange(len(counts)), counts)
        self._at = np.concatenate([np.arange(count) for count in counts])
        if name in FOLDS:
            chosen = fold(root, FOLDS.index(name), len(self._parts[0]))
            self._part, self._at = self._part[chosen], self._at[chosen]

    def __len__(self) -> int:
        """The number of images, N."""
        return len(self._at)

    @property
    def ids(self) -> Sequence[str]:
        """The split and the number of every image in it, counted from 0."""
        names = _parts(self.name)
        pairs = zip(self._part.tolist(), self._at.tolist(), strict=True)
        return [f"{names[part]}/{at}" for part, at in pairs]

    @property
    def columns(self) -> Sequence[str]:
        """The class: of a fold, and of those images of both that are of train."""
        return (CLASS,)

    def column(self, name: str) -> Column:
        """The class of every image that has one; raises as `Split`."""
        if name != CLASS:
            raise self.no_column(name)
        none = np.full(len(self), NO_LABEL, np.int64)
        for number, part in enumerate(self._parts):
            if part.labels is not None:
                own = self._part == number
                none[own] = part.labels[self._at[own]]
        return Column(CLASS, self._parts[0].class_names, none)

    def image(self, index: int) -> NDArray[Any]:
        """One image, (3, 96, 96) uint8, mapped."""
        image: NDArray[Any] = self._parts[self._part[index]].image(self._at[index])
        return image


def selection_files(root: Path, name: str) -> dict[str, Path]:
    """The files of the splits, and of a fold the numbers of its images; see `stl10.files`.

    Args:
        root: a folder in STL-10's layout.
        name: "train+unlabeled", or "fold0" to "fold9".

    Raises:
        DataError: the images of a split are missing.
    """
    every = {key: path for part in _parts(name) for key, path in files(root, part).items()}
    return every | ({_INDICES: root / _INDICES} if name in FOLDS else {})


def fold(root: Path, number: int, images: int) -> Ints:
    """The images of a fold, ascending indices into train.

    Args:
        root: a folder in STL-10's layout.
        number: which fold, counted from 0.
        images: how many there are in train.

    Raises:
        DataError: fold_indices.txt is missing, has no such line, or holds something else.
    """
    path = root / _INDICES
    with reading(path):
        lines = read_regular(path, most_bytes=_INDICES_BYTES).split(b"\n")
    words = lines[number].split() if number < len(lines) else []
    if not words:
        found, expected = f"no line {number + 1}, so no fold{number}", "a line for every fold"
        raise DataError(str(path), found, expected, _RESTORE)
    wrong = next((w for w in words if not w.isdigit() or int(w) >= images), None)
    if wrong is not None:
        where, found = f"{path}, line {number + 1}", f"'{wrong.decode(errors='replace')}'"
        raise DataError(where, found, f"numbers of images, 0 to {images - 1}", _RESTORE)
    return np.unique(np.array([int(word) for word in words], np.int64))


def _parts(name: str) -> list[str]:
    return name.split("+") if name == JOINED else ["train"]
