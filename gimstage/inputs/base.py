"""What a stage reads, as one kind of batch, wherever it comes from and whatever it is of.

    raw source         pixels or samples, memory-mapped or sought in files
    feature source     features.zarr of the stage before
    recomputed source  the stage before, run again, frozen, on its own source (`store = "none"`)

Reading has two halves: `fill` puts raw values into a reused CPU buffer, on a worker thread;
`prepare` turns the buffer into module input on the device, on the main thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import decode, encode
from gimstage.chain import Chain
from gimstage.draws import generator
from gimstage.errors import DataError
from gimstage.modules import EncoderModule
from gimstage.specs import DataSpec, OutputSpec
from gimstage.stack import TILE_UNITS
from gimstage.views import Crops, Ints, Spans, StoredSpans, StoredViews, Windows

Where = Crops | Windows | Spans


class Source(ABC):
    """Batches of module input, raw on the CPU first, then on a device.

    Attributes:
        recomputes: whether `prepare` runs frozen modules, and so is dear.
    """

    recomputes: bool = False

    @abstractmethod
    def buffer(self, count: int, size: int) -> Tensor:
        """An uninitialised raw CPU buffer for `count` places of a size, in patches or rows."""

    @abstractmethod
    def fill(self, buffer: Tensor, where: Any) -> Tensor:
        """Read the raw values of B places into a buffer; the part of it that they fill."""

    @abstractmethod
    def prepare(self, raw: Tensor, where: Any) -> Tensor:
        """Module input, float32, of what `fill` returned for these places, on any device."""


@torch.no_grad()
def encoded_again(
    module: EncoderModule, run: Callable[[Tensor], Tensor], units: Tensor, output: OutputSpec
) -> Tensor:
    """What a frozen module hands on when nothing is stored, tile by tile.

    Args:
        module: the module.
        run: its features of a few units, with or without padding.
        units: (n, …) of its input.
        output: how it would have stored them: through ReLU, rounded.
    """
    size, made = TILE_UNITS[module.unit_axes], units.new_empty(0)
    for first in range(0, len(units), size):
        features = run(units[first : first + size])
        if output.relu and not module.rectified:
            features.relu_()
        if not first:
            made = features.new_empty(len(units), *features.shape[1:])
        made[first : first + size] = decode(encode(features, output.encoding), output.encoding)
    return made


def pinned(buffer: Tensor) -> Tensor:
    """Page-locked where a GPU will copy from it."""
    return buffer.pin_memory() if torch.cuda.is_available() else buffer


@dataclass(frozen=True)
class TrainingDraws:
    """Which places each training step sees: a pure function of the step.

    Args:
        num_samples: N of the split.
        batch_size: B.
        seed: of order and views.
        size: of a place, in patches per side or rows.
        draw: a random view of each of the samples it is given.
        labels: of the samples at such places, for an objective that needs them.
    """

    num_samples: int
    batch_size: int
    seed: int
    size: int
    draw: Callable[[torch.Generator, Ints], Where]
    labels: Callable[[Where], Tensor | None] = lambda where: None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the split; the incomplete last one is dropped."""
        return self.num_samples // self.batch_size

    def __call__(self, step: int) -> Where:
        """The batch of one step, counted from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        order = _epoch_order(self.num_samples, self.seed, epoch)
        samples = order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.draw(generator(self.seed, "view", epoch, index), samples)


@lru_cache(maxsize=4)
def _epoch_order(num_samples: int, seed: int, epoch: int) -> Ints:
    order = torch.randperm(num_samples, generator=generator(seed, "order", epoch))
    return np.asarray(order.numpy(), dtype=np.int64)


class DataSet(ABC):
    """The data of a recipe, found on disk, and what depends on its kind.

    Args:
        spec: the recipe's data.toml.
        root: the folder it lies in.
    """

    def __init__(self, spec: DataSpec, root: Path) -> None:
        self.root = root

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Samples of the split trained on, N."""

    @property
    @abstractmethod
    def labels(self) -> Ints | None:
        """The label of everything stored of the split trained on, int64, where it has any."""

    @property
    @abstractmethod
    def stored(self) -> StoredViews | StoredSpans:
        """What features.zarr holds of the split trained on."""

    @abstractmethod
    def fingerprint(self, split: str, runs: Path) -> str:
        """SHA-256 of a split's content, remembered below the runs folder."""

    @abstractmethod
    def draws(self, chain: Chain) -> TrainingDraws:
        """What each step of the last stage's training sees."""

    @abstractmethod
    def source(self) -> Source:
        """The raw data."""

    @abstractmethod
    def feature_source(self, path: Path) -> Source:
        """What lies in a features.zarr."""

    @abstractmethod
    def recomputed_source(self, below: Source, module: EncoderModule, output: OutputSpec) -> Source:
        """What a frozen module makes of the source below."""


def given_folder(data: Path | None, files: str, fetch: str) -> Path:
    """The folder `--data` names.

    Raises:
        DataError: a recipe on real data without `--data`; says which files it needs.
    """
    if data is None:
        raise DataError("--data", "not given", f"the folder that holds {files}", fetch)
    return data


def prefetched(
    source: Source, places: Iterable[Where], *, buffers: list[Tensor], workers: int
) -> Iterator[tuple[Tensor, Where]]:
    """Filled buffers and their places, in order, read ahead by a few threads into a ring.

    A yielded tensor holds until the next one is asked for.
    """
    todo = iter(places)
    free = deque(buffers)
    filling: deque[tuple[Future[Tensor], Tensor, Where]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        try:
            while True:
                while free and (where := next(todo, None)) is not None:
                    buffer = free.popleft()
                    filling.append((pool.submit(source.fill, buffer, where), buffer, where))
                if not filling:
                    return
                future, buffer, place = filling.popleft()
                yield future.result(), place
                free.append(buffer)
        finally:
            for future, _, _ in filling:
                future.cancel()


def to_device(raw: Tensor, device: torch.device) -> Tensor:
    """The raw batch on the device; the CPU buffer may be refilled once this returns."""
    moved = raw.to(device, non_blocking=True)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return moved
