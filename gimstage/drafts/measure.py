"""What a source gives of the samples in some data: how many, which labels, mean and deviation.

Shapes: C channels, n rows in time.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.data.files import BadFileError
from gimstage.data.moments import Moments
from gimstage.data.pixels import normalise
from gimstage.data.splits import NO_LABEL, ImageSplit, SequenceSplit, Split
from gimstage.errors import DataError
from gimstage.inputs import DataSet
from gimstage.inputs.imported import Imported

SPLITS = ("unlabeled", "train", "test", "val", "valid")
MEASURED = 256  # samples that mean and deviation are taken over
MOST_ROWS = 1 << 24  # of sequences, in all
BLOCKS = 8  # of each file, at most
SOUND_SCALE = 32768.0  # of sound in 16 bits
MOST_CLASSES = 1_000  # of a label that a probe is written for


def splits_of(data: DataSet) -> dict[str, Split]:
    """The splits there are, by their names.

    Raises:
        DataError: there is none; what the source says of the split named "train".
    """
    found: dict[str, Split] = {}
    for name in SPLITS:
        try:
            found[name] = data.split(name)
        except DataError:
            continue
    return found or {"train": data.split("train")}


def told_apart(train: Split, test: Split) -> tuple[str, ...]:
    """The columns of two splits that have classes to learn in one and to tell in the other."""
    return tuple(name for name in train.columns if _tells(train, test, name))


def _tells(train: Split, test: Split, name: str) -> bool:
    known, asked = (np.unique(split.column(name).values) for split in (train, test))
    learned = np.intersect1d(known, asked)
    return len(learned[learned != NO_LABEL]) >= 2 and len(known) <= MOST_CLASSES


def measured(data: DataSet, split: Split) -> tuple[Moments, str]:
    """Mean and deviation of each channel over some samples, and which those were in words.

    Pixels are on the scale 0 to 1 and sound on that of -1 to 1, as `mean` and `std` mean them.
    What would be imported first is decoded here for as many files, and kept nowhere.
    """
    chosen = _spread(len(split), MEASURED)
    if isinstance(split, SequenceSplit):
        chosen = _spread(len(split), max(1, int(MOST_ROWS / split.samples.mean())))[:MEASURED]
    if isinstance(data, Imported) and not data.is_made:
        pieces = _decoded(data, split, chosen)
    else:
        pieces = _read(data, split, chosen)
    moments = Moments()
    for values in pieces:
        moments.add(values)
    what = "images" if isinstance(split, ImageSplit) else "sequences"
    return moments, f"{len(chosen):,} of {len(split):,} {what}"


def _spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices below `count`, evenly spaced."""
    places = np.linspace(0, count - 1, min(count, wanted))
    return sorted(set(map(int, places)))


def _decoded(data: Imported, split: Split, chosen: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The values of the files of some samples, (C, …), as far as they can be read."""
    files, ids = data.originals, split.ids
    names = [ids[at] if ids[at] in files else ids[at].rpartition("#")[0] for at in chosen]  # a tile
    # The chunks of an array are not called as its samples are: all are looked at then.
    paths = [files[name] for name in dict.fromkeys(names) if name in files] or [*files.values()]
    scale = split.scale if isinstance(split, ImageSplit) else SOUND_SCALE
    for blocks in data.decoded(paths):
        with suppress(BadFileError):
            for block in islice(blocks, BLOCKS):
                yield _pixels(data, block, scale) if block.ndim > 2 else _sound(block)


def _sound(block: NDArray[Any]) -> NDArray[Any]:
    """Stored rows (n, C) on the scale -1 to 1, (C, n)."""
    return block.T / (SOUND_SCALE if np.issubdtype(block.dtype, np.integer) else 1)


def _read(data: DataSet, split: Split, chosen: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The values of some samples, (C, …)."""
    for index in chosen:
        if isinstance(split, ImageSplit):
            zero = np.zeros(1, np.int64)
            image = split.crops(np.array([index]), zero, zero, zero, split.size_px)
            yield _pixels(data, image.numpy(), split.scale)
        elif isinstance(split, SequenceSplit):
            count = min(MOST_ROWS // MEASURED, int(split.samples[index]))
            rows = np.empty((count, split.channels), np.float32)
            split.read(index, 0, rows)
            yield rows.T


def _pixels(data: DataSet, stored: NDArray[Any], scale: float) -> NDArray[Any]:
    """Images (n, C, y, x) as a first stage is given them before `mean` and `std`, (C, n, y, x)."""
    spec: Any = data.spec
    still = {"mean": [0.0] * len(spec.mean), "std": [1.0] * len(spec.mean)}
    pixels = normalise(torch.from_numpy(stored), channels=spec.channels, scale=scale, **still)
    return pixels.transpose(0, 1).numpy()
