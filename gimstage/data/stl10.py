"""Images in STL-10's binary layout, memory-mapped.

The first step of the vision pipeline: a folder of files becomes uint8 crops. In the folder

    train_X.bin  test_X.bin  unlabeled_X.bin    images of 27,648 bytes laid end to end
    train_y.bin  test_y.bin                     one byte per image, 1 … number of classes
    class_names.txt                             one name per line; where absent, ten classes

An image is three planes (red, green, blue) of 96×96 uint8, each stored column by column.
Shapes: N samples on disk. Imports `errors` and its neighbours only.
"""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import reading, require_file
from gimstage.data.kinds import PICTURES, Left, data_kind, ending, no_data
from gimstage.data.splits import Column, ImageSplit
from gimstage.errors import DataError, NoLabelsError, nearest
from gimstage.files import read_regular

IMAGE_PX = 96
IMAGE_BYTES = 3 * IMAGE_PX * IMAGE_PX
LABELLED = {"train": True, "test": True, "unlabeled": False}

CLASS = "class"  # what the labels are called
_NAMES = "class_names.txt"
_DEFAULT_CLASSES = 10
_MOST_CLASSES = 255
_NAMES_BYTES = 1 << 20
_RESTORE = "restore the file from its source"


class Stl10Split(ImageSplit):
    """One split of a folder in STL-10's layout; pickling carries its path, not its pixels.

    Args:
        root: the folder.
        name: "train", "test" or "unlabeled".

    Attributes:
        images: (N, 3, 96, 96) uint8 in reading order (rows, then columns), mapped from the file.
        labels: (N,) int64, 0 … num_classes - 1; None for "unlabeled".
        class_names: one per class; the numbers on disk where the folder gives no names.
        num_classes: how many.
    """

    size_px, channels, dtype, scale = IMAGE_PX, 3, np.dtype(np.uint8), 255.0

    def __init__(self, root: Path, name: str) -> None:
        _refuse_unknown(root, name)
        self.root, self.name = root, name
        self.class_names = _class_names(self.root)
        self.num_classes = len(self.class_names)
        self.images = _map_images(_images_path(root, name))
        self.labels = self._read_labels() if LABELLED[name] else None
        self._pixels = self.images.view(np.ndarray)  # indexing a memmap costs several µs more

    def __len__(self) -> int:
        """The number of images, N."""
        return len(self.images)

    def __reduce__(self) -> tuple[type["Stl10Split"], tuple[Path, str]]:
        """What pickle stores: the way to open the split again, in whichever process."""
        return Stl10Split, (self.root, self.name)

    def require_labels(self) -> NDArray[np.int64]:
        """The labels, (N,) int64.

        Raises:
            NoLabelsError: the split is "unlabeled".
        """
        if self.labels is None:
            raise NoLabelsError(
                str(self.root),
                f"the split '{self.name}' has no labels",
                "a labelled split",
                "choose train or test",
            )
        return self.labels

    @property
    def ids(self) -> Sequence[str]:
        """The numbers of the images, counted from 0, as they lie on disk."""
        return [str(number) for number in range(len(self))]

    @property
    def columns(self) -> Sequence[str]:
        """The class, where the split is labelled."""
        return () if self.labels is None else (CLASS,)

    def column(self, name: str) -> Column:
        """The class of every image; raises as `Split`."""
        if name != CLASS:
            raise self.no_column(name)
        return Column(CLASS, self.class_names, self.require_labels())

    def image(self, index: int) -> NDArray[Any]:
        """One image, (3, 96, 96) uint8, mapped."""
        image: NDArray[Any] = self._pixels[index]
        return image

    def _read_labels(self) -> NDArray[np.int64]:
        path = self.root / f"{self.name}_y.bin"
        if not path.exists():
            found = "there is no such file or folder"
            raise NoLabelsError(str(path), found, "one byte per image", "fetch the set again")
        with reading(path):
            require_file(path)
            size = path.stat().st_size
            stored = np.fromfile(path, np.uint8, count=len(self.images))
        if size != len(self.images):
            found = f"{size:,} labels for {len(self.images):,} images"
            raise DataError(str(path), found, "one byte per image", _RESTORE)
        wrong = np.flatnonzero((stored < 1) | (stored > self.num_classes))
        if len(wrong):
            found = f"label {stored[wrong[0]]} at index {wrong[0]:,}"
            cure = f"{_RESTORE}, or list every class in class_names.txt"
            if stored.max() < self.num_classes:
                found = f"labels {stored.min()} to {stored.max()}, counted from 0"
                add = 'import numpy, sys; (numpy.fromfile(p := sys.argv[1], "u1") + 1).tofile(p)'
                cure = f"add 1 to each: python -c '{add}' {shlex.quote(str(path))}"
            raise DataError(str(path), found, f"1 to {self.num_classes}", cure)
        return stored.astype(np.int64) - 1


def open_split(root: Path, split: str) -> Stl10Split:
    """One split of the folder, checked and mapped; no pixel is read yet.

    Args:
        root: a folder in STL-10's layout.
        split: "train", "test" or "unlabeled".

    Raises:
        DataError: the split is unknown, a file is missing, unreadable, empty or of the wrong
            length, or a label lies outside the classes.
    """
    return Stl10Split(root, split)


def present_splits(root: Path) -> list[str]:
    """The names of the splits whose images are there, at least one.

    Raises:
        DataError: there is none.
    """
    present = [name for name in LABELLED if (root / f"{name}_X.bin").exists()]
    if not present:
        _images_path(root, "unlabeled")
    return present


def pictures_left(root: Path) -> Left:
    """How many files of pictures, or of splits of other names, lie there and are not read."""
    left: Left = Counter()
    known = {f"{name}_X.bin" for name in LABELLED}
    for folder, _, names in os.walk(root):
        for name in names:
            inside = "/".join(Path(folder).relative_to(root).parts[:1]) or "."
            if ending(name) in PICTURES:
                left[inside, f"{ending(name)}, not STL-10's layout"] += 1
            elif name.endswith("_X.bin") and (name not in known or inside != "."):
                left[inside, f"{name}, no split of STL-10's layout here"] += 1
    return left


def files(root: Path, split: str) -> dict[str, Path]:
    """The files whose names and contents are the identity of a split.

    The labelled splits count images, labels and class names; "unlabeled" only its images, so that
    naming a class leaves what was learned without labels valid.

    Args:
        root: a folder in STL-10's layout; its own place and name do not count.
        split: "train", "test" or "unlabeled".

    Raises:
        DataError: the split is unknown.
    """
    _refuse_unknown(root, split)
    paths = [_images_path(root, split)]
    if LABELLED[split]:
        paths.append(root / f"{split}_y.bin")
        paths += [path for path in [root / _NAMES] if path.exists()]
    return {path.name: path for path in paths}


def _refuse_unknown(root: Path, split: str) -> None:
    if split not in LABELLED:
        raise DataError(str(root), f"there is no split '{split}'", cure=nearest(split, LABELLED))


def _images_path(root: Path, split: str) -> Path:
    """The path of a split's images.

    Raises:
        NoLabelsError: it is missing, while other splits are there.
        DataError: it is missing, and nothing is right about the folder.
    """
    path = root / f"{split}_X.bin"
    if path.exists() or path.is_symlink():
        return path
    with reading(root):
        names = sorted(os.listdir(root))  # says whether the folder itself is the trouble
    if data_kind(root) != "images":
        raise no_data(root, "images")
    found, cure = "there is no such file or folder", "fetch the set again"
    here = ", ".join(name for name in names if name.endswith("_X.bin"))
    if alike := next((name for name in names if name.lower() == path.name.lower()), None):
        cure = f"rename it: mv {shlex.quote(str(root / alike))} {shlex.quote(str(path))}"
    kind = NoLabelsError if LABELLED[split] else DataError
    raise kind(str(path), found, f"it beside {here}", cure)


def _class_names(root: Path) -> tuple[str, ...]:
    path = root / _NAMES
    if not path.exists():
        return tuple(str(number) for number in range(1, _DEFAULT_CLASSES + 1))
    with reading(path):
        stored = read_regular(path, most_bytes=_NAMES_BYTES)
        lines = stored.decode("utf-8", errors="replace").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise DataError(str(path), "it names no class", "one name per line", _RESTORE)
    if len(names) > _MOST_CLASSES:
        found = f"it names {len(names):,} classes"
        raise DataError(str(path), found, f"at most {_MOST_CLASSES}: a label is a byte", _RESTORE)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(str(path), f"it names '{twice[0]}' twice", "one name per class", _RESTORE)
    return names


def _map_images(path: Path) -> np.memmap[Any, np.dtype[np.uint8]]:
    with reading(path):
        require_file(path)
        size = path.stat().st_size
        if size == 0:
            raise DataError(str(path), "it is empty", "at least one image", _RESTORE)
        if size % IMAGE_BYTES:
            found = f"{size % IMAGE_BYTES:,} bytes too many after {size // IMAGE_BYTES:,} images"
            raise DataError(str(path), found, f"{IMAGE_BYTES:,} bytes per image", _RESTORE)
        stored = np.memmap(path, np.uint8, "r", shape=(size // IMAGE_BYTES, 3, IMAGE_PX, IMAGE_PX))
    return stored.transpose(0, 1, 3, 2)
