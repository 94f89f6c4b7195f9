"""The data sets that torchvision reads from a disk: CIFAR, MNIST and others like it, SVHN, USPS.

Its readers check what they unpickle against known checksums. Imports `errors` and its neighbours
only; torchvision when a data set is opened.
"""

import inspect
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gimstage.data.foreign.base import Foreign, Sample
from gimstage.errors import DataError, nearest

# A file of each data set, below the folder that torchvision calls its root.
_FILES = {
    "CIFAR10": "cifar-10-batches-py/data_batch_1",
    "CIFAR100": "cifar-100-python/train",
    "MNIST": "MNIST/raw/train-images-idx3-ubyte",
    "FashionMNIST": "FashionMNIST/raw/train-images-idx3-ubyte",
    "KMNIST": "KMNIST/raw/train-images-idx3-ubyte",
    "SVHN": "train_32x32.mat",
    "USPS": "usps.bz2",
}
_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val"}
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_FILE_BYTES = 4096  # that the file of an image takes beside its pixels, at most


class Torchvision(Foreign):
    """A data set of torchvision's, decoded by torchvision and written as PNG.

    Args:
        source: torchvision's root of it, or the folder of its files.
        name: its class; told by the names of the files where None.
        column: nothing here, for a sample is one image.
    """

    def __init__(self, source: Path, *, name: str | None = None, column: str | None = None) -> None:
        super().__init__(source, column=column)
        self.name, self.root = (name, source) if name else _found(source) or ("", source)
        self.title = f"{self.name} of torchvision"
        self._parts = self._opened()
        self.total = sum(len(part) for part in self._parts.values())
        first = next(iter(self._parts.values()))[0][0]
        self.bytes = self.total * (first.width * first.height * len(first.getbands()) + _FILE_BYTES)

    @classmethod
    def lies_in(cls, source: Path) -> bool:
        """Whether a file of one of them lies there."""
        return _found(source) is not None

    def samples(self) -> Iterator[Sample]:
        """Every image as PNG, and the name of its class as the label "class"."""
        for split, part in self._parts.items():
            classes = getattr(part, "classes", None)
            for index in range(len(part)):
                image, target = part[index]
                content = io.BytesIO()
                image = image if image.mode in _PNG_MODES else image.convert("RGB")
                image.save(content, "PNG", compress_level=1)
                self.done += 1
                labels = {"class": str(classes[target] if classes else target)}
                yield Sample(content.getvalue(), split=split, labels=labels)

    def _opened(self) -> dict[str, Any]:
        """The splits by the names they are given here; at least one, each with an image.

        Raises:
            DataError: torchvision does not find them, or they are not images with one class each.
        """
        from torchvision import datasets

        made = getattr(datasets, self.name, None)
        if not (inspect.isclass(made) and issubclass(made, datasets.VisionDataset)):
            cure = nearest(self.name, datasets.__all__)
            raise DataError(
                "--torchvision", f"'{self.name}'", "a class of torchvision.datasets", cure
            )
        try:
            parts = {name: part for name, part in _parts(made, self.root) if len(part)}
            image, target = next(iter(parts.values()))[0]
            image.getbands(), int(target)
        except Exception as error:  # torchvision raises of every kind, and so do its readers
            found = f"torchvision cannot read it ({str(error) or type(error).__name__})"
            expected = f"the files of {self.title}, below its root; images of one class each"
            raise DataError(str(self.source), found, expected, "fetch the set again") from error
        return parts


def _parts(made: Callable[..., Any], root: Path) -> Iterator[tuple[str, Any]]:
    """The splits of a class of data sets, opened, by the names they are given here."""
    keys = inspect.signature(made).parameters
    # Some would fetch their files unasked.
    settings = {"download": False} if "download" in keys else {}
    if "train" in keys:
        for name in ("train", "test"):
            yield name, made(root, train=name == "train", **settings)
    elif "split" in keys:
        for name, split in _SPLITS.items():
            with suppress(ValueError):  # it knows no split of this name
                yield split, made(root, split=name, **settings)
    else:
        yield "", made(root, **settings)


def _found(source: Path) -> tuple[str, Path] | None:
    """The data set whose files lie in a place, and what torchvision calls its root."""
    source = source.absolute()
    for name, file in _FILES.items():
        for root in (source, *source.parents[: file.count("/")]):
            if (root / file).is_file() and (root / file).is_relative_to(source):
                return name, root
    return None
