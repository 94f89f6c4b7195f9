"""What a data.toml must say of arrays: which one it is, what its axes are, how long a frame is.

Axes have no names in most files: they are told from their lengths, and the reason says so. Nothing
but shapes and small arrays is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gimstage.data.arraykinds import largest_of, numbers_in
from gimstage.data.arrays import OpenArray
from gimstage.drafts.facts import Choice, Keys
from gimstage.drafts.page import Table
from gimstage.errors import DataError

MOST_CHANNELS = 64  # an axis of as many at most may be channels
ENOUGH_FRAMES = 64  # of a sequence, for predictions of a dozen frames
LONGEST_FRAME = 8  # rows
PIECES = 20  # at least, that one long recording is cut into
PIECE_FRAMES = 512  # of those, at most


@dataclass(frozen=True)
class Axes:
    """What the axes of an array are taken for.

    Args:
        names: in order, of "sample", "time" and "channel".
        why: what told them.
    """

    names: tuple[str, ...]
    why: str


def choose_array(folder: Path, base: Table) -> Choice:
    """The largest array of numbers in a place, taken for sequences of rows in time."""
    found = numbers_in(folder)
    inside = largest_of(found, folder)
    array = found[inside]
    ends = _offsets(found, array.shape)
    axes = axes_of(array.shape, labelled=_as_long(found, inside), joined=ends is not None)
    size = dict(zip(axes.names, array.shape, strict=True))
    shape = " × ".join(f"{each:,}" for each in array.shape)
    keys: Keys = {"array": (inside, f"{array.dtype} of {shape}, the largest there is")}
    keys["axes"] = (" ".join(axes.names), axes.why)
    rows = size["time"]
    if ends:
        keys["offsets"] = (ends, "the first row of every sequence")
        rows = int(np.median(np.diff(np.asarray(found[ends].values[...]))))
    frame = frame_of(rows)
    keys["frame_rows"] = (frame, "rows that convolutions make one of; crops are counted in these")
    if not ends and "sample" not in axes.names:
        piece = max(1, min(PIECE_FRAMES, rows // frame // PIECES))
        keys["entry_frames"] = (piece, f"frames of the pieces that {rows:,} rows are cut into")
    return Choice(size.get("channel", 1), f"an array of {shape}", keys)


def _offsets(found: dict[str, OpenArray], shape: tuple[int, ...]) -> str | None:
    """The array that says where sequences begin, which lie end to end along some axis."""
    for name, array in found.items():
        if "offsets" in name.rpartition("/")[2] and len(array.shape) == 1 and array.shape[0] > 1:
            values = np.asarray(array.values[...])
            if values[0] == 0 and values[-1] in shape and (np.diff(values) > 0).all():
                return name
    return None


def _as_long(found: dict[str, OpenArray], inside: str) -> bool:
    """Whether another array has one number for each along the first axis of this one."""
    count = found[inside].shape[:1]
    return any(array.shape == count for name, array in found.items() if name != inside)


def axes_of(shape: tuple[int, ...], *, labelled: bool, joined: bool) -> Axes:
    """What the axes of a shape are most likely.

    Args:
        shape: of one to three axes.
        labelled: whether another array has a number for each along the first axis.
        joined: whether sequences lie end to end.

    Raises:
        DataError: it has more axes, or none.
    """
    if len(shape) == 3:
        first = ("time", "channel") if shape[1] >= shape[2] else ("channel", "time")
        return Axes(("sample", *first), "samples first, and more rows than channels")
    if len(shape) == 2 and labelled and not joined and shape[1] > MOST_CHANNELS:
        return Axes(("sample", "time"), "a label for each along the first; one channel")
    if len(shape) == 2:
        names = ("time", "channel") if shape[0] >= shape[1] else ("channel", "time")
        return Axes(names, "more rows than channels")
    if len(shape) == 1:
        return Axes(("time",), "one channel")
    found, expected = f"an array of {len(shape)} axes", "sequences, of one to three"
    raise DataError("--data", found, expected, "name its axes in a data.toml of your own")


def frame_of(rows: int) -> int:
    """Rows of a frame: so few that a sequence has frames enough, a power of two."""
    frame = LONGEST_FRAME
    while frame > 1 and rows // frame < ENOUGH_FRAMES:
        frame //= 2
    return frame
