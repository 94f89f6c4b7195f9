"""Images in an array of somebody's own, as squares: cut from in place, or read block by block.

    sample channel y x    images of one size, each a square or cut into squares; axes in any order
    channel y x           one image, however large
    t channel z y x       as of microscopes: axes of other names are samples, too

The squares of an image lie side by side and cover it, the last ones of a row or a column moved back
to end where the image does. Shapes: S images of the array, N squares, C channels, y x pixels.
Imports `errors` and its neighbours only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.arraylabels import Told
from gimstage.data.arrays import OpenArray
from gimstage.data.pixels import edges
from gimstage.data.rawstore import RawStore
from gimstage.data.splits import Column, ImageSplit, Ints
from gimstage.errors import DataError, nearest

AXES = ("channel", "y", "x")  # those of an image; all others are samples

# What torch reads as it is; all other numbers are read as float32, which is what modules are given.
_KEPT = ("uint8", "int8", "uint16", "int16", "float16", "float32")
_SCALES = {"uint8": 255.0, "uint16": 65535.0}  # others are on the scale that they lie in
_BLOCK_BYTES = 1 << 24  # of rows of squares that are read at once, at most, unless one is larger


@dataclass(frozen=True)
class Squares:
    """Which squares there are in an array of images.

    Args:
        array: the array.
        axes: the names of its axes, in its order.
        size_px: the side of a square.
        told: what is told of the images.
    """

    array: OpenArray
    axes: tuple[str, ...]
    size_px: int
    told: Told

    @property
    def size(self) -> dict[str, int]:
        """The length of every axis by its name."""
        return dict(zip(self.axes, self.array.shape, strict=True))

    @property
    def channels(self) -> int:
        """The channels of an image, C; one where there is no such axis."""
        return self.size.get("channel", 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that pixels are read as."""
        stored = self.array.dtype.newbyteorder("=")
        whole = np.dtype(np.uint8) if stored.kind == "b" else stored
        return whole if whole.name in _KEPT else np.dtype(np.float32)

    @property
    def scale(self) -> float:
        """What pixels are divided by, to lie in 0 … 1 where they are bytes or 16 bits."""
        return _SCALES.get(self.dtype.name, 1.0)

    @cached_property
    def places(self) -> Ints:
        """The image, the upper and the left edge of every square, (N, 3) int64, in their order."""
        up, left = (edges(self.size[name], self.size_px) for name in ("y", "x"))
        grid = np.meshgrid(np.arange(self.told.count), up, left, indexing="ij")
        return np.stack([axis.ravel() for axis in grid], 1).astype(np.int64)

    @cached_property
    def splits(self) -> dict[str, Ints]:
        """The squares of every split, ascending."""
        return self.told.splits(self.places[:, 0])

    def square(self, number: int) -> NDArray[Any]:
        """One square, (C, size_px, size_px), a view where the array is mapped; raises as `read`."""
        image, up, left = self.places[number].tolist()
        size = self.size_px
        window = slice(up, up + size), slice(left, left + size)
        found: NDArray[Any] = self.read(slice(image, image + 1), *window)[0]
        return found

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All squares in their order, (n, C, size_px, size_px), each chunk read few times."""
        size = self.size_px
        for images, rows in self._reads():
            low, high = rows[0], rows[-1] + size
            pixels = self.read(images, slice(low, high), slice(0, self.size["x"]))
            left = edges(self.size["x"], size)
            for row in (image[:, y - low :][:, :size] for image in pixels for y in rows):
                yield np.stack([row[..., x : x + size] for x in left])
            del pixels, row  # before the next are read

    def _reads(self) -> Iterator[tuple[slice, list[int]]]:
        """The images, and the upper edges of the rows of their squares, that are read at once."""
        up, axis = edges(self.size["y"], self.size_px), self._samples[0] if self._samples else ""
        chunks = dict(zip(self.axes, getattr(self.array.values, "chunks", ()), strict=False))
        row_bytes = self.channels * self.size["x"] * self.size_px * self.dtype.itemsize
        most = max(1, _BLOCK_BYTES // row_bytes)  # rows of squares
        if len(up) > most or len(self._samples) != 1:
            high = max(1, min(most, chunks.get("y", 1) // self.size_px))
            for image in range(self.told.count):
                for at in range(0, len(up), high):
                    yield slice(image, image + 1), up[at : at + high]
            return
        step = max(1, min(most // len(up), chunks.get(axis, 1)))
        for first in range(0, self.told.count, step):
            yield slice(first, first + step), up

    @property
    def _samples(self) -> list[str]:
        """The axes that are samples."""
        return [name for name in self.axes if name not in AXES]

    def read(self, images: slice, y: slice, x: slice) -> NDArray[Any]:
        """A window of some images, (n, C, y, x) of `dtype`.

        Args:
            images: which; one alone where several axes are samples.
            y: its rows.
            x: its columns.

        Raises:
            DataError: a chunk is damaged, or a value is not finite.
        """
        chosen: dict[str, Any] = {"channel": slice(None), "y": y, "x": x}
        if len(self._samples) == 1:
            chosen[self._samples[0]] = images
        else:
            lengths = [self.size[name] for name in self._samples]
            at = np.unravel_index(images.start, lengths) if lengths else []
            chosen |= {
                name: slice(int(n), int(n) + 1) for name, n in zip(self._samples, at, strict=True)
            }
        try:
            found = np.asarray(self.array.values[tuple(chosen[name] for name in self.axes)])
        except Exception as error:  # of whatever kind a damaged chunk makes its codec raise
            why = f"its pixels cannot be read ({type(error).__name__})"
            raise DataError(self._where(images.start), why, cure="copy the array again") from error
        order = [*self._samples, *(name for name in AXES if name in self.axes)]
        turned = found.transpose([self.axes.index(name) for name in order])
        shape = (-1, self.channels, *turned.shape[-2:])
        with np.errstate(over="ignore"):
            pixels = turned.reshape(shape).astype(self.dtype, copy=False)
        self._refuse_gaps(pixels, images.start)
        return pixels

    def _refuse_gaps(self, pixels: NDArray[Any], first: int) -> None:
        if self.dtype.kind != "f" or (finite := np.isfinite(pixels)).all():
            return
        image, channel = np.argwhere(~finite)[0].tolist()[:2]
        found = f"{pixels[~finite][0]} in channel {channel}"
        cure = "fill the gaps: numpy.nan_to_num(x, copy=False), then save the array again"
        raise DataError(self._where(first + image), found, "finite numbers", cure)

    def _where(self, image: int) -> str:
        return f"{self.array.where}, image {image}"


def require_fit(squares: Squares, channels: int) -> None:
    """Refuse an array that is not as the recipe says.

    Args:
        squares: of the array.
        channels: that the recipe asks for.

    Raises:
        DataError: it has other channels, or its images are smaller than a square.
    """
    where, size = squares.array.where, squares.size
    if squares.channels != channels:
        found, cure = f"{squares.channels} channels", f"channels = {squares.channels} in data.toml"
        raise DataError(where, found, f"{channels}", f"{cure}, and so many of mean and std")
    if min(size["y"], size["x"]) < squares.size_px:
        found, least = f"images of {size['y']} × {size['x']} px", squares.size_px
        cure = f"lower size_px to {min(size['y'], size['x'])} in data.toml, and crop_px with it"
        raise DataError(where, found, f"at least {least} × {least}", cure)


class ArrayImageSplit(ImageSplit):
    """Some squares of an array of images.

    Args:
        squares: all of them.
        name: of the split.
        store: what they were imported to; None where they are cut from in place, or not imported.
        planned: whether there are no pixels to be had yet.

    Raises:
        DataError: there is no such split; names those there are.
    """

    def __init__(
        self, squares: Squares, name: str, *, store: RawStore | None, planned: bool
    ) -> None:
        if name not in squares.splits:
            found, known = f"there is no split '{name}'", ", ".join(squares.splits)
            cure = f"{nearest(name, squares.splits)}; {squares.told.division}"
            raise DataError(squares.array.where, found, f"one of {known}", cure)
        self.squares, self.root, self.name = squares, squares.told.root, name
        self.size_px, self.channels = squares.size_px, squares.channels
        self.dtype, self.scale = squares.dtype, squares.scale
        self.numbers = squares.splits[name]
        self._store, self._planned = store, planned

    def __len__(self) -> int:
        """The number of squares, N."""
        return len(self.numbers)

    @cached_property
    def ids(self) -> Sequence[str]:
        """The number of the image in the array; of several squares, with its edges: "0:96,0"."""
        places = self.squares.places[self.numbers].tolist()
        if len(self.squares.places) == self.squares.told.count:
            return [str(image) for image, _, _ in places]
        return [f"{image}:{y},{x}" for image, y, x in places]

    @property
    def columns(self) -> Sequence[str]:
        """The names of what is told of every image."""
        return self.squares.told.columns

    def column(self, name: str) -> Column:
        """One label of every square, which is that of its image; raises as `Split.column`."""
        if name not in self.columns:
            raise self.no_column(name)
        return self.squares.told.column(name, self.squares.places[self.numbers, 0])

    def image(self, index: int) -> NDArray[Any]:
        """One square, (C, size_px, size_px), mapped where it can be.

        Raises:
            DataError: the array is not imported yet, or not as it should be.
        """
        number = int(self.numbers[index])
        if self._store is not None:
            return self._store.row(number)
        if self._planned:
            cure = "any command that trains or probes imports them"
            raise DataError(str(self.root), "the images are not imported yet", cure=cure)
        return self.squares.square(number)
