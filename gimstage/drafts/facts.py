"""What a folder of data is found to hold, as far as a recipe depends on it.

Imports nothing of gimstage but moments.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.moments import Moments

TEST_SPLITS = ("test", "val", "valid")  # the first that there is

Ints = NDArray[np.int64]
Keys = dict[str, tuple[Any, str]]  # of data.toml: a value, and why it is that


@dataclass(frozen=True)
class Choice:
    """What was chosen for a source.

    Args:
        channels: of a sample.
        why: what told the source.
        keys: of data.toml, each with its reason.
        listed: whether mean and std are lists, one number a channel.
    """

    channels: int
    why: str
    keys: Keys = field(default_factory=dict)
    listed: bool = True


@dataclass(frozen=True)
class Task:
    """Something that a probe can tell.

    Args:
        name: what it is called in the name of the probe's file.
        keys: of that file, that say it: `task`, and `label` where it is a column.
        like: the tasks of a base recipe's probe that this one is made after, the best first.
    """

    name: str
    keys: dict[str, str]
    like: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What images and sequences have in common.

    Args:
        folder: where the data lies.
        source: what reads it, and why that.
        splits: samples of every split, by its name.
        moments: mean and standard deviation of each channel, as the source gives it.
        measured: what those were taken over, in words.
        tasks: what can be told of the samples.
        keys: of data.toml, that only this source has, each with its reason.
        listed: whether mean and std are lists, one number a channel.
    """

    folder: Path
    source: tuple[str, str]
    splits: dict[str, int]
    moments: Moments
    measured: str
    tasks: tuple[Task, ...] = ()
    keys: Keys = field(default_factory=dict)
    listed: bool = True

    @property
    def mean_and_std(self) -> dict[str, float | list[float]]:
        """Both keys of data.toml, to four digits of the deviation; 1 for that of no change."""
        digits = [3 - math.floor(math.log10(each)) if each else 6 for each in self.moments.std]
        mean, std = (
            [round(float(each), places) + 0.0 for each, places in zip(own, digits, strict=True)]
            for own in (self.moments.mean, self.moments.std)
        )
        std = [each or 1.0 for each in std]
        return {"mean": mean, "std": std} if self.listed else {"mean": mean[0], "std": std[0]}

    @property
    def train_split(self) -> str:
        """The split to train on: the unlabelled one where it is the larger, else "train"."""
        return train_split_of(self.splits)

    @property
    def test_split(self) -> str | None:
        """The split to probe on; None where there is but one."""
        names = [name for name in TEST_SPLITS if self.splits.get(name)]
        return names[0] if names else None

    @property
    def trained(self) -> int:
        """The samples of the split to train on."""
        return self.splits[self.train_split]


@dataclass(frozen=True, kw_only=True)
class ImageFacts(Facts):
    """What a recipe of images depends on besides: `size_px`, side of the squares it gives."""

    size_px: int


@dataclass(frozen=True, kw_only=True)
class SequenceFacts(Facts):
    """What a recipe of sequences depends on besides.

    Args:
        frame_rows: rows of a frame, at the rate that the source gives.
        frames: whole frames of sequences of the split to train on, (N,) int64.
        rate_hz: rows of a second; None where nobody knows.
    """

    frame_rows: int
    frames: Ints
    rate_hz: float | None


def train_split_of(splits: dict[str, int]) -> str:
    """The split to train on: the unlabelled one where it is the larger, else "train"."""
    unlabeled, train = splits.get("unlabeled", 0), splits.get("train", 0)
    if not unlabeled and not train:
        return max(splits, key=splits.__getitem__)
    return "unlabeled" if unlabeled > train else "train"
