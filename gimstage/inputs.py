"""What a stage reads, as one kind of batch, wherever it comes from.

    PixelSource       memory-mapped images: fresh crops for stage 1, stored views for the rest
    FeatureSource     features.zarr of the stage before
    RecomputedSource  the stage before, run again, frozen, on its own source (`store = "none"`)

Reading has two halves: `fill` puts raw bytes into a reused CPU buffer, on a worker thread;
`prepare` turns the buffer into module input on the device, on the main thread.

Shape letters: B batch, G patches per side of a window, C channels, y x map inside a patch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import FeatureReader, decode, encode
from gimstage.data.demo import write_demo
from gimstage.data.stl10 import ImageSplit, fingerprint, normalise, open_split
from gimstage.device import placed
from gimstage.draws import generator
from gimstage.errors import DataError
from gimstage.recipe import Chain
from gimstage.runs import Runs, features_usable
from gimstage.specs import DataSpec, OutputSpec
from gimstage.stack import Stack, trained_stack
from gimstage.views import Crops, Ints, LiveViews, StoredViews, Windows, patch_grid

Where = Crops | Windows


class Source(ABC):
    """Batches of module input (B, G, G, C, y, x), raw on the CPU first, then on a device."""

    @abstractmethod
    def buffer(self, count: int, size: int) -> Tensor:
        """An uninitialised raw CPU buffer for `count` windows of `size` × `size` patches."""

    @abstractmethod
    def fill(self, buffer: Tensor, where: Where) -> None:
        """Read the raw bytes of B crops or windows into the first B rows of a buffer."""

    @abstractmethod
    def prepare(self, raw: Tensor) -> Tensor:
        """Module input, (B, G, G, C, y, x) float32, of a raw tensor on any device."""


class PixelSource(Source):
    """Patches of normalised images.

    Args:
        split: the memory-mapped images.
        channels: "gray" or "rgb".
        mean: per channel, for pixels in [0, 1].
        std: likewise.
        stored: the stored views, to find the pixels of a window.
    """

    def __init__(
        self,
        split: ImageSplit,
        *,
        channels: Literal["gray", "rgb"],
        mean: list[float],
        std: list[float],
        stored: StoredViews,
    ) -> None:
        self.split, self.stored = split, stored
        self.channels, self.mean, self.std = channels, mean, std

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw pixels, (count, 3, px, px) uint8."""
        px = self.stored.live.grid_px(size)
        return _pinned(torch.empty(count, 3, px, px, dtype=torch.uint8))

    def fill(self, buffer: Tensor, where: Where) -> None:
        """Copy the crops; a window is first turned into the crop it was encoded from."""
        crops = self.stored.crops(where) if isinstance(where, Windows) else where
        cut = self.split.crops(crops.sample, crops.y, crops.x, crops.flip, crops.size_px)
        # NumPy copies on this thread alone; torch would start a second team of threads for it,
        # whose waiting takes the cores from the training step.
        buffer.numpy()[: len(cut)] = cut.numpy()

    def prepare(self, raw: Tensor) -> Tensor:
        """The patch grid of the normalised pixels."""
        live = self.stored.live
        return patch_grid(self.normalised(raw), live.patch_px, live.stride_px)

    def normalised(self, raw: Tensor) -> Tensor:
        """Images (B, channels, px, px) float32 of raw pixels (B, 3, px, px) uint8."""
        return normalise(raw, channels=self.channels, mean=self.mean, std=self.std)


class FeatureSource(Source):
    """Windows of the stage before's features.zarr."""

    def __init__(self, path: Path) -> None:
        self.reader = FeatureReader(path)
        self.layout = self.reader.array("features")

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw features, (count, 1, size, size, C, y, x) of the stored dtype, one view each."""
        shape = (count, 1, 1, size, size, *self.layout.shape[4:])
        return _pinned(torch.empty(shape, dtype=self.layout.torch_dtype))

    def fill(self, buffer: Tensor, where: Where) -> None:
        """Read exactly the windows' bytes."""
        assert isinstance(where, Windows)
        self.reader.read("features", buffer[: len(where.sample)], where.starts)

    def prepare(self, raw: Tensor) -> Tensor:
        """The features as float32."""
        return self.reader.decode("features", raw.flatten(0, 2))


class RecomputedSource(Source):
    """The stage before, run again on its own source, rounded as its features would have been."""

    def __init__(self, source: Source, stack: Stack, output: OutputSpec) -> None:
        self.source, self.stack, self.output = source, stack, output

    def buffer(self, count: int, size: int) -> Tensor:
        """A buffer of the source below."""
        return self.source.buffer(count, size)

    def fill(self, buffer: Tensor, where: Where) -> None:
        """Read what the source below reads."""
        self.source.fill(buffer, where)

    def prepare(self, raw: Tensor) -> Tensor:
        """The frozen module's output, through ReLU and rounding where the recipe says so."""
        return handed_on(self.stack(self.source.prepare(raw)), self.output)


def handed_on(features: Tensor, output: OutputSpec) -> Tensor:
    """Features as the next stage sees them when nothing is stored."""
    features = features.relu() if output.relu else features
    return decode(encode(features, output.encoding), output.encoding)


def _pinned(buffer: Tensor) -> Tensor:
    """Page-locked where a GPU will copy from it."""
    return buffer.pin_memory() if torch.cuda.is_available() else buffer


@dataclass(frozen=True)
class Images:
    """The image data of a recipe, found on disk (the demo's is written on first use).

    Args:
        spec: the recipe's data.toml.
        root: folder in STL-10's binary layout.
    """

    spec: DataSpec
    root: Path

    @classmethod
    def find(cls, spec: DataSpec, data: Path | None, runs: Path) -> Images:
        """The folder `--data` names, or the demo's own below the runs folder.

        Raises:
            DataError: a recipe on real images without `--data`.
        """
        if spec.demo is None:
            if data is None:
                raise DataError(
                    "--data",
                    "not given",
                    "the folder that holds unlabeled_X.bin, train_X.bin, …",
                    "add --data DIR, or fetch the images: gimstage data download stl10 DIR",
                )
            return cls(spec, data)
        counts = spec.demo.model_dump()
        root = runs / "data" / "demo-{unlabeled}-{train}-{test}-{seed}".format(**counts)
        if data is None and not root.exists():
            write_demo(root, **counts)
        return cls(spec, data or root)

    def split(self, name: str) -> ImageSplit:
        """One split, memory-mapped."""
        return open_split(self.root, name)

    def fingerprint(self, split: str, runs: Path) -> str:
        """SHA-256 of a split's content, remembered below the runs folder."""
        return fingerprint(self.root, split, runs / "data" / "fingerprints.json")

    def live(self) -> LiveViews:
        """Fresh crops."""
        return self.spec.live_views()

    def stored(self, split: ImageSplit) -> StoredViews:
        """The stored views of a split."""
        return self.spec.cached_views(len(split))

    def source(self, split: ImageSplit) -> PixelSource:
        """Its pixels."""
        spec = self.spec
        return PixelSource(
            split,
            channels=spec.channels,
            mean=spec.mean,
            std=spec.std,
            stored=self.stored(split),
        )


def output_source(runs: Runs, images: Images, chain: Chain | None, device: torch.device) -> Source:
    """What the chain's last stage hands on: read where it lies on disk, else recomputed.

    Raises:
        StaleCacheError: the stage is not done.
        DamagedCacheError: its files are damaged.
    """
    if chain is None:
        return images.source(images.split(images.spec.train_split))
    manifest, folder = runs.require(chain), runs.stage_folder(chain)
    if features_usable(folder, manifest):
        return FeatureSource(folder.features)
    below = output_source(runs, images, chain.upstream, device)
    stack = trained_stack(runs, chain)
    alone = placed(Stack([stack.parts[-1]], [chain.last.key]), device)
    return RecomputedSource(below, alone, chain.last.spec.output)


@dataclass(frozen=True)
class TrainingDraws:
    """Which crops or windows each training step sees: a pure function of the step.

    Args:
        num_samples: N of the split.
        batch_size: B.
        seed: of order and views.
        size: side length of a crop in patches.
        draw: `LiveViews.draw` or `StoredViews.draw`.
    """

    num_samples: int
    batch_size: int
    seed: int
    size: int
    draw: Callable[[torch.Generator, Ints], Where]

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


def prefetched(
    source: Source, places: Iterable[Where], *, buffers: list[Tensor], workers: int
) -> Iterator[Tensor]:
    """Filled buffers in the order of `places`, read ahead by a few threads into a ring.

    A yielded tensor holds until the next one is asked for. The last batch may be shorter.
    """
    todo = iter(places)
    free = deque(buffers)
    filling: deque[tuple[Future[None], Tensor, int]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        try:
            while True:
                while free and (where := next(todo, None)) is not None:
                    buffer = free.popleft()
                    filling.append(
                        (pool.submit(source.fill, buffer, where), buffer, len(where.sample))
                    )
                if not filling:
                    return
                future, buffer, count = filling.popleft()
                future.result()
                yield buffer[:count]
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
