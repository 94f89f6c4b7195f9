"""What a stage or a probe asks of a split, whichever source it is of.

Two kinds: square images of one size, and sequences of any lengths. Labels are columns with names;
which one is told, a recipe says. Shapes: N samples, B batch, C channels, n rows in time.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gimstage.errors import DataError, NoLabelsError, nearest

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]
NO_LABEL = -1
_MIRRORED_EIGHT = np.dtype(np.uint64).newbyteorder("S")
READ_ROWS = 1 << 20  # at a time, by who looks at all of a sequence


@dataclass(frozen=True)
class Column:
    """One label of every sample.

    Args:
        name: what it tells, such as "class" or "speaker".
        classes: the names of the classes, the same and in the same order for every split.
        values: (N,) int64, indices into `classes`; `NO_LABEL` where a sample has none.
    """

    name: str
    classes: tuple[str, ...]
    values: Ints

    def sha256(self, ids: Sequence[str]) -> str:
        """What it tells of samples of these ids, (N,), as one digest."""
        return _told_sha256(self.name, self.classes, zip(ids, self.values, strict=True))


@dataclass(frozen=True)
class FrameLabels:
    """One label of every frame of some sequences.

    Args:
        name: what it tells, such as "phone".
        classes: the names of the classes, the same and in the same order for every split.
        values: (L,) int64 by the number of a sequence in its split, indices into `classes`;
            `NO_LABEL` where a frame has none. Sequences without a label are not in it.
    """

    name: str
    classes: tuple[str, ...]
    values: dict[int, Ints]

    def sha256(self, ids: Sequence[str]) -> str:
        """What it tells of the frames of sequences of these ids, as one digest."""
        told = ((ids[index], own) for index, own in self.values.items())
        return _told_sha256(self.name, self.classes, told)


def _told_sha256(
    name: str, classes: tuple[str, ...], told: Iterable[tuple[str, Ints | np.int64]]
) -> str:
    digest = hashlib.sha256(json.dumps([name, classes]).encode())
    for id_, values in told:
        digest.update(json.dumps(id_).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


class Split(ABC):
    """Some samples of a data set, such as those to train on.

    Attributes:
        root: the folder of the data set.
        name: "train", "test", or whatever the source calls it.
    """

    root: Path
    name: str

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples, N."""

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """What each sample is called: unique within the data set, and the same on every disk."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the labels there are; none as a rule."""
        return ()

    def column(self, name: str) -> Column:
        """One label of every sample.

        Raises:
            NoLabelsError: there is no such column; names those there are.
        """
        raise self.no_column(name)

    def no_column(self, name: str) -> NoLabelsError:
        """What to say where there is no such column."""
        where, found = f"{self.root}, split '{self.name}'", f"no labels '{name}'"
        if not self.columns:
            return NoLabelsError(where, found, "a labelled split", "choose one that has labels")
        cure = nearest(name, self.columns)
        return NoLabelsError(where, found, f"one of {', '.join(self.columns)}", cure)


class ImageSplit(Split):
    """Images, all square and of one size.

    Attributes:
        size_px: side of every image in pixels.
        channels: channels of the stored pixels; 3 are red, green, blue.
        dtype: of the stored pixels.
        scale: what pixels are divided by to lie in 0 … 1.
    """

    size_px: int
    channels: int
    dtype: np.dtype[Any]
    scale: float

    @abstractmethod
    def image(self, index: int) -> NDArray[Any]:
        """One image, (C, size_px, size_px) of `dtype`, mapped and not copied where that can be."""

    def crops(
        self, samples: Integers, y: Integers, x: Integers, flip: NDArray[Any], size_px: int
    ) -> torch.Tensor:
        """One square window per entry, (B, C, size_px, size_px) of `dtype`, contiguous.

        Args:
            samples: which images, (B,) integers below N; repeats are allowed.
            y: upper edge of each window, (B,) integers, 0 … self.size_px - size_px.
            x: left edge of each window, in the same form.
            flip: whether the window is mirrored left to right, (B,) bool or 0/1.
            size_px: side of the window in pixels.

        Raises:
            DataError: a sample or a window lies outside.
        """
        import torch

        out = np.empty((len(samples), self.channels, size_px, size_px), self.dtype)
        self.cut(out, samples, y, x, flip)
        return torch.from_numpy(out)

    def cut(
        self, out: NDArray[Any], samples: Integers, y: Integers, x: Integers, flip: NDArray[Any]
    ) -> None:
        """Fill `out` (B, C, px, px) of `dtype`, contiguous, with windows; else as `crops`."""
        px = out.shape[-1]
        self._refuse_outside("sample", samples, len(self) - 1)
        self._refuse_outside("window edge", y, self.size_px - px)
        self._refuse_outside("window edge", x, self.size_px - px)
        # Bytes are mirrored eight at a time: one by one it takes twenty times as long as to copy.
        words = self.dtype.itemsize == 1 and px % 8 == 0
        entries = zip(samples.tolist(), y.tolist(), x.tolist(), flip.tolist(), strict=True)
        for row, (sample, top, left, mirrored) in zip(out, entries, strict=True):
            window = self.image(sample)[:, top : top + px, left : left + px]
            if mirrored and not words:
                row[...] = window[..., ::-1]
                continue
            row[...] = window
            if mirrored:
                eights = row.view(np.uint64)
                eights[...] = eights.view(_MIRRORED_EIGHT)[..., ::-1]
        self.release()

    def release(self) -> None:  # noqa: B027  # nothing to do as a rule
        """Give back the memory that pixels were mapped to, if it counts as this process's."""

    def blank(self, index: int) -> bool:
        """Whether an image is of one colour all over."""
        image = self.image(index)
        blank = bool((image == image[:, :1, :1]).all())
        self.release()
        return blank

    def _refuse_outside(self, what: str, values: Integers, highest: int) -> None:
        # Without this a negative index would count from the end, and a window be cut short.
        if len(values) and (values.min() < 0 or values.max() > highest):
            bad = int(values[(values < 0) | (values > highest)][0])
            where = f"{self.root}, split '{self.name}'"
            cure = "correct the recipe or the caller"
            raise DataError(where, f"{what} {bad}", f"0 to {highest}", cure)


class SequenceSplit(Split):
    """Sequences of any lengths: sound, or any channels in time.

    Attributes:
        samples: rows of each, at the rate the recipe asks for, (N,) int64.
        channels: channels of every row, C.
    """

    samples: Ints
    channels: int

    @abstractmethod
    def read(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill `out` with consecutive rows of one sequence.

        Args:
            index: which sequence, 0 … N - 1.
            start: its first row.
            out: (n, C) float32.

        Raises:
            DataError: the request lies outside, or the rows cannot be read.
        """

    def silence(self, index: int) -> Iterator[bool]:
        """Whether all its rows are the same, for every stretch of a sequence as it is read.

        Raises:
            DataError: the rows cannot be read.
        """
        for start in range(0, int(self.samples[index]), READ_ROWS):
            count = min(READ_ROWS, int(self.samples[index]) - start)
            rows = np.empty((count, self.channels), np.float32)
            self.read(index, start, rows)
            yield bool((rows == rows[0]).all())

    def interval_columns(self) -> Sequence[str]:
        """The names of labels that hold for stretches of time, such as "phone"; none as a rule."""
        return ()

    def frame_labels(self, name: str) -> FrameLabels:
        """A label of every frame of the sequences that have it.

        Raises:
            NoLabelsError: there is no such label, or no sequence of the split has it.
        """
        raise self.no_intervals(name)

    def no_intervals(self, name: str) -> NoLabelsError:
        """What to say where there are no such labels of frames."""
        where, found = f"{self.root}, split '{self.name}'", f"no labels '{name}' of stretches"
        known = self.interval_columns()
        if not known:
            expected = "intervals.csv, a .ctm file or TextGrids"
            return NoLabelsError(where, found, expected, "add one of these, or probe other labels")
        return NoLabelsError(where, found, f"one of {', '.join(known)}", nearest(name, known))
