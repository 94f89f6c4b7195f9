"""Which bytes of which chunks make up a window, and where they go: pure arithmetic.

A window is a hyper-rectangle. Reading it means fetching, from every chunk it touches, the runs of
bytes that lie together both in the chunk and in the window.
"""

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

Shape = tuple[int, ...]


class Run(NamedTuple):
    """`nbytes` from byte `source` of a chunk go to byte `target` of a window."""

    source: int
    target: int
    nbytes: int


class Piece(NamedTuple):
    """What a window takes from one chunk: the one `step` after the chunk it begins in."""

    step: int
    runs: tuple[Run, ...]


class _Segment(NamedTuple):
    """Along one axis: `length` elements from `source` in a chunk to `target` in the window."""

    chunk: int
    source: int
    target: int
    length: int


@lru_cache(maxsize=4096)
def pieces(
    *, window: Shape, chunk: Shape, phase: Shape, strides: Shape, itemsize: int
) -> tuple[Piece, ...]:
    """What a window takes from each chunk, in C order of the chunks.

    Args:
        window: its shape.
        chunk: the shape of a chunk.
        phase: where the window starts in its first chunk, below `chunk` along each axis.
        strides: how many chunks lie between neighbours along each axis.
        itemsize: bytes of one element.
    """
    axes = [_segments(*axis) for axis in zip(window, chunk, phase, strict=True)]
    return tuple(
        Piece(
            sum(s.chunk * stride for s, stride in zip(box, strides, strict=True)),
            _runs(box, window, chunk, itemsize),
        )
        for box in itertools.product(*axes)
    )


def _segments(window: int, chunk: int, phase: int) -> list[_Segment]:
    segments = []
    target = 0
    while target < window:
        number, source = divmod(phase + target, chunk)
        length = min(chunk - source, window - target)
        segments.append(_Segment(number, source, target, length))
        target += length
    return segments


def _runs(box: tuple[_Segment, ...], window: Shape, chunk: Shape, itemsize: int) -> tuple[Run, ...]:
    """The runs of one box; as long as they can be, so a whole chunk is a single one."""
    lengths = [segment.length for segment in box]
    # Up to here elements lie apart: past it, whole axes follow one another on both sides.
    cut = max((i for i, n in enumerate(lengths) if not n == window[i] == chunk[i]), default=0)
    nbytes = math.prod(lengths[cut:]) * itemsize
    sources = _steps(chunk, [s.source for s in box], lengths, cut)
    targets = _steps(window, [s.target for s in box], lengths, cut)
    return tuple(
        Run(source * itemsize, target * itemsize, nbytes)
        for source, target in zip(sources, targets, strict=True)
    )


def _steps(shape: Shape, start: list[int], lengths: list[int], cut: int) -> list[int]:
    """Flat positions, within `shape`, of a box's elements along the axes before `cut`."""
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    origin = sum(a * b for a, b in zip(start, strides, strict=True))
    axes = [range(0, n * s, s) for n, s in zip(lengths[:cut], strides[:cut], strict=True)]
    return [origin + sum(steps) for steps in itertools.product(*axes)]
