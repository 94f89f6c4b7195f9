"""The order of things in every extraction.

    source ─► frozen module ─► [ReLU] ─► encoding ─► shard writer (its own thread)
                         └───► codes (pooled before the ReLU)

Only missing shards are computed, always in the same tiles, so a resumed extraction writes the bytes
the interrupted one would have written.
"""

import logging
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gimstage.cache import (
    FeatureWriter,
    Fidelity,
    StoreLayout,
    fidelity,
)
from gimstage.device import module_to_device
from gimstage.errors import CacheError, DamagedCacheError
from gimstage.errors.commands import inherited
from gimstage.inputs import HandOff
from gimstage.modules import EncoderModule
from gimstage.progress import Progress, Watch
from gimstage.recipe.chain import Chain
from gimstage.views import Ints

READ_AHEAD = 2

_log = logging.getLogger(__name__)

Block = dict[str, Tensor]


class Extraction(ABC):
    """The features of one stage, on their way to disk.

    Attributes:
        unit: what blocks are counted in on screen, such as the rows of features.zarr.
        by_chunk: whether blocks are of chunks, for rows are too large to be held.

    Args:
        chain: the stage, last of its chain.
        module: its frozen module.
        channel_axis: the axis of channels in its features, counted from the end.
        device: where to compute.
        workers: reading threads.
    """

    unit: str
    by_chunk: bool = False

    def __init__(
        self,
        chain: Chain,
        module: EncoderModule,
        *,
        channel_axis: int,
        device: torch.device,
        workers: int,
    ) -> None:
        self.output, self.key = chain.last.spec.output, chain.last.key
        self.handoff = HandOff.of(self.output, module)
        module_to_device(module, device).eval()
        self.channel_axis, self.device, self.workers = channel_axis, device, workers
        self._pair: list[Block] = []

    @abstractmethod
    def sample(self) -> Tensor:
        """Features of some spread-out samples, to measure an encoding on."""

    @abstractmethod
    def blocks(self, rows: range) -> Iterator[Block]:
        """Encoded rows, or chunks, of every array, on the CPU, in order, a block at a time.

        A block holds until the next but one is asked for.
        """

    @abstractmethod
    def places(self) -> dict[str, NDArray[Any]]:
        """The small arrays that say where each stored view comes from."""

    def measure(self) -> Fidelity:
        """Fix the ranges of the channels, where there are any, and measure what encoding loses."""
        values, encoding, axis = self.sample(), self.handoff.encoding, self.channel_axis
        where = f"stage {self.key}, the samples it is measured on"
        self.handoff.check(values, where=where, first_row=0)
        affine = encoding.ranges(values, channel_axis=axis)
        self.handoff = replace(self.handoff, affine=affine)
        return fidelity(values, encoding, channel_axis=axis, affine=affine)

    def small_arrays(self, labels: Ints | None) -> dict[str, NDArray[Any]]:
        """Where each stored view comes from; ranges of channels and labels where there are any."""
        arrays = self.places()
        if affine := self.handoff.affine:
            arrays["features_scale"] = affine.scale.numpy()
            arrays["features_offset"] = affine.offset.numpy()
        return arrays if labels is None else {**arrays, "label": labels}

    def write(
        self,
        path: Path,
        layout: StoreLayout,
        *,
        labels: Ints | None,
        listed: Iterable[Mapping[str, Any]] = (),
        watch: Watch,
    ) -> Any:
        """Write the missing shards of features.zarr; the checksums of all of them.

        Args:
            path: the path of the Zarr group.
            layout: the layout of the whole store.
            labels: the labels of everything stored, int64, where it has any.
            listed: what a manifest says of the files that lie there, if there is one.
            watch: hears of progress, asks to stop.

        Raises:
            Interrupted: a stop was asked for; whole shards stay.
            CacheError: a feature is not finite or out of the encoding's range.
        """
        small = self.small_arrays(labels)
        shutil.rmtree(_trash(path), ignore_errors=True)
        try:
            writer = FeatureWriter(path, layout, small=small, listed=listed)
        except CacheError as error:  # of other weights, of another recipe, or not a store at all
            if isinstance(error, DamagedCacheError):
                _log.warning("%s: %s; all of %s is written anew", error.where, error.found, path)
            _remove(path)
            writer = FeatureWriter(path, layout, small=small)
        missing = writer.missing_shards()
        ranges = [layout.arrays[0].rows(shard) for shard in missing]
        units = layout.arrays[0].strides[0] if self.by_chunk else 1  # of a row
        report = self._reporting(layout, sum(map(len, ranges)), units, watch)
        with writer.shards() as shards, _one_at_a_time() as submit:
            for shard, rows in zip(missing, ranges, strict=True):
                file = shards.begin(shard)
                for block in self.blocks(rows):
                    watch.leave_if_asked()
                    submit(file.append_chunks if self.by_chunk else file.append, block)
                    report(len(block["features"]))
                # Made durable by the other thread, while the next shard is being computed.
                submit(shards.publish, file)
        return writer.finish()

    def _reporting(
        self, layout: StoreLayout, rows: int, units: int, watch: Watch
    ) -> Callable[[int], None]:
        """Tells the watch of blocks as they come; `rows` of so many `units` are to be computed."""
        total, fresh = layout.arrays[0].shape[0] * units, rows * units
        began, done = time.perf_counter(), 0
        unit_bytes = sum(array.row_bytes for array in layout.arrays) / units

        def report(count: int) -> None:
            nonlocal done
            done += count
            if watch.due() or done == fresh:
                speed = done / (time.perf_counter() - began)
                watch.report(
                    Progress(
                        task=f"{self.key} extract",
                        done=total - fresh + done,
                        total=total,
                        unit=self.unit,
                        samples_per_s=speed,
                        bytes_per_s=speed * unit_bytes,
                    )
                )

        return report

    def _encode(self, block: Block, rows: slice, features: Tensor, *, first_row: int) -> None:
        """Check features and put them into rows of a block as they are stored."""
        where, out = f"stage {self.key}", block["features"][rows]
        self.handoff.store(out, features, where=where, first_row=first_row)

    def _block(self, turn: int, make: Callable[[torch.dtype], Block]) -> Block:
        """One of two reused blocks: one is filled while the other is written."""
        if not self._pair:
            dtype = self.handoff.encoding.dtype
            self._pair = [make(dtype), make(dtype)]
        return self._pair[turn % 2]


def _remove(folder: Path) -> None:
    """Remove a folder so that a kill on the way never leaves half of it under its name."""
    folder.rename(_trash(folder))
    shutil.rmtree(_trash(folder))


def _trash(folder: Path) -> Path:
    return folder.with_name(folder.name + ".part")


@contextmanager
def _one_at_a_time() -> Iterator[Callable[..., None]]:
    """A way to submit a job to a thread once the one before is done; leaving waits for the last."""
    running: list[Future[None]] = []

    def submit(job: Callable[..., None], *arguments: Any) -> None:
        if running:
            running.pop().result()
        running.append(pool.submit(job, *arguments))

    with ThreadPoolExecutor(1, "write", **inherited()) as pool:
        try:
            yield submit
        finally:  # no file must be closed while the other thread writes to it
            wait(running)
        for job in running:
            job.result()


def spread(count: int, wanted: int) -> Ints:
    """Indices below `count`, evenly spaced, repeated where there are fewer than wanted."""
    return np.linspace(0, count - 1, wanted).astype(np.int64)
