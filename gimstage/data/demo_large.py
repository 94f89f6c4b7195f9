"""Large synthetic images with structure at several scales, for trying windows that grow.

A picture is two fine textures, a strong and a faint one, some 10 px from crest to crest, laid out
in a pattern some thirty times as coarse, and both fade in and out at a scale between. Its class is
the coarse pattern: bars, pillars, checks, rings or chevrons. Which textures, angles, contrasts and
places there are is drawn anew for every picture, so that no window of 64 px says anything of the
class, and one of a third of the picture does.

Shapes: y x pixels. Imports `draws` and its neighbours only.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gimstage.data.rawstore import RawLayout, RawStore
from gimstage.data.splits import Column, ImageSplit
from gimstage.draws import stream_seed
from gimstage.errors import DataError, nearest

Floats = NDArray[np.float32]
Pattern = Callable[[Floats, Floats], Floats]  # rows and columns, in crests ─► −1 … 1

STRIP_PX = 256  # rows drawn at once; part of what a seed means
SPLITS = ("train", "test")
CLASS = "class"
COARSE, MIDDLE = 0.15, 0.04  # crest to crest, as a share of the picture's side
FINE_PX = (8.0, 16.0)  # crest to crest
CONTRAST = ((50.0, 12.0), (80.0, 25.0))  # of both textures: the least and the most


def _wave(turns: Floats) -> Floats:
    wave: Floats = np.cos(np.float32(2 * np.pi) * turns)
    return wave


PATTERNS: dict[str, Pattern] = {
    "bars": lambda v, u: _wave(v),
    "pillars": lambda v, u: _wave(u),
    "checks": lambda v, u: _wave(v) * _wave(u),
    "rings": lambda v, u: _wave(np.hypot(v, u)),
    "chevrons": lambda v, u: _wave(np.float32(0.7) * (u + np.abs(v))),
}
CLASS_NAMES = tuple(PATTERNS)


class _Layer(NamedTuple):
    """A pattern on a picture: which, how coarse, how turned, and around which place."""

    pattern: Pattern
    period_px: float
    angle: float
    y: float
    x: float

    def at(self, rows: Floats, columns: Floats) -> Floats:
        """Its values at the crossings of rows and columns of pixels, (y, x)."""
        dy = (rows - np.float32(self.y))[:, None] / np.float32(self.period_px)
        dx = (columns - np.float32(self.x))[None] / np.float32(self.period_px)
        sin, cos = np.float32(np.sin(self.angle)), np.float32(np.cos(self.angle))
        return self.pattern(cos * dy - sin * dx, cos * dx + sin * dy)


def large_layout(size_px: int) -> RawLayout:
    """The array of gray pictures of `size_px` a side."""
    return RawLayout("images", (1, size_px, size_px), "uint8", ("sample", "channel", "y", "x"))


def large_labels(seed: int, split: str, count: int) -> NDArray[np.int64]:
    """The class of every picture of a split, (count,) int64, as many of each as can be."""
    order = np.random.default_rng(stream_seed(seed, f"large {split} labels")).permutation(count)
    labels: NDArray[np.int64] = order % len(CLASS_NAMES)
    return labels


def draw_large(seed: int, split: str, number: int, *, label: int, size_px: int) -> NDArray[Any]:
    """One picture, (1, size_px, size_px) uint8; the same numbers give the same bytes.

    Args:
        seed: the seed of every draw.
        split: "train" or "test".
        number: which picture of the split, from 0.
        label: its class.
        size_px: its side in pixels.
    """
    rng = np.random.default_rng(stream_seed(seed, f"large {split}", number))
    names = list(PATTERNS)
    coarse = _layer(rng, names[label], size_px * COARSE * rng.uniform(0.8, 1.25), size_px, lean=0.2)
    middle = [_layer(rng, rng.choice(names), size_px * MIDDLE, size_px) for _ in range(2)]
    fine = [_layer(rng, rng.choice(names), rng.uniform(*FINE_PX), size_px) for _ in range(2)]
    contrast = rng.uniform(*CONTRAST).astype(np.float32)
    picture = np.empty((1, size_px, size_px), np.uint8)
    columns = np.arange(size_px, dtype=np.float32)
    for first in range(0, size_px, STRIP_PX):
        rows = np.arange(first, min(first + STRIP_PX, size_px), dtype=np.float32)
        textures = [
            depth * texture.at(rows, columns) * (0.6 + 0.4 * fading.at(rows, columns))
            for depth, texture, fading in zip(contrast, fine, middle, strict=True)
        ]
        level = np.where(coarse.at(rows, columns) > 0, *textures)
        level += 6 * rng.standard_normal(level.shape, dtype=np.float32) + 128
        picture[0, first : first + len(rows)] = level.clip(0, 255)
    return picture


def _layer(
    rng: np.random.Generator, name: str, period_px: float, size_px: int, *, lean: float = np.pi
) -> _Layer:
    """A pattern somewhere near the middle, turned by no more than `lean` from upright."""
    y, x = rng.uniform(0.25 * size_px, 0.75 * size_px, 2)
    return _Layer(PATTERNS[name], period_px, rng.uniform(-lean, lean), y, x)


class LargeSplit(ImageSplit):
    """A split of such pictures, mapped from a raw store; planned where there is none yet.

    Args:
        root: the folder of the raw store.
        name: "train" or "test".
        seed: the seed of every draw.
        counts: pictures of every split; they lie in the store one split after the other.
        size_px: their side in pixels.
        store: the finished store; None before it is written.

    Raises:
        DataError: there is no such split.
    """

    channels, dtype, scale = 1, np.dtype(np.uint8), 255.0

    def __init__(
        self,
        root: Path,
        name: str,
        *,
        seed: int,
        counts: dict[str, int],
        size_px: int,
        store: RawStore | None,
    ) -> None:
        if name not in counts:
            raise DataError(str(root), f"there is no split '{name}'", cure=nearest(name, counts))
        self.root, self.name, self.size_px, self._store = root, name, size_px, store
        splits = list(counts)
        self._count = counts[name]
        self._first = sum(counts[each] for each in splits[: splits.index(name)])
        self._labels = large_labels(seed, name, self._count)

    def __len__(self) -> int:
        """The number of pictures."""
        return self._count

    @property
    def ids(self) -> list[str]:
        """The numbers of the pictures, counted from 0."""
        return [f"{self.name}/{number}" for number in range(len(self))]

    @property
    def columns(self) -> tuple[str, ...]:
        """The class, which is the coarse pattern."""
        return (CLASS,)

    def column(self, name: str) -> Column:
        """The coarse pattern of every picture; raises as `Split`."""
        if name != CLASS:
            raise self.no_column(name)
        return Column(CLASS, CLASS_NAMES, self._labels)

    def image(self, index: int) -> NDArray[Any]:
        """One picture, (1, y, x) uint8, mapped.

        Raises:
            DataError: none is written yet.
        """
        if self._store is None:
            expected = "pictures, which the first command that works on them draws"
            raise DataError(str(self.root), "not written yet", expected)
        return self._store.row(self._first + index)

    def release(self) -> None:
        """Give back the memory that pictures were mapped to."""
        if self._store is not None:
            self._store.release()
