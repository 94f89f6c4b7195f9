"""A frozen stack becomes features.zarr: read, encode in tiles, round, write, all at once.

    source ─► frozen module ─► [ReLU] ─► encoding ─► shard writer (its own thread)
                         └───► codes (pooled before the ReLU)

Only missing shards are computed, always in the same batches, so a resumed extraction writes the
bytes the interrupted one would have written.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import (
    Affine,
    FeatureWriter,
    Fidelity,
    StoreLayout,
    calibrate,
    check_values,
    encode,
    encode_into,
    fidelity,
)
from gimstage.device import laid_out, placed
from gimstage.errors import CacheError
from gimstage.inputs import Source, prefetched, to_device
from gimstage.modules import EncoderModule
from gimstage.progress import Progress, Watch
from gimstage.recipe import Chain
from gimstage.stack import TILE_PATCHES
from gimstage.views import Ints, StoredViews, Windows

READ_AHEAD = 2
# What the ranges of `uint8` and the loss of an encoding are measured on: 96 times 2 × 2 patches.
MEASURED_SAMPLES, MEASURED_PATCHES = 96, 2

Block = dict[str, Tensor]


def _remove(folder: Path) -> None:
    """Remove a folder so that a kill on the way never leaves half of it under its name."""
    trash = folder.with_name(folder.name + ".part")
    shutil.rmtree(trash, ignore_errors=True)
    folder.rename(trash)
    shutil.rmtree(trash)


@contextmanager
def _one_at_a_time(pool: ThreadPoolExecutor) -> Iterator[Callable[..., None]]:
    """A way to submit a job once the one before is done; on leaving, the last one is done too."""
    running: list[Future[None]] = []

    def submit(job: Callable[..., None], *arguments: Any) -> None:
        if running:
            running.pop().result()
        running.append(pool.submit(job, *arguments))

    try:
        yield submit
    finally:  # the file must not be closed while the other thread writes to it
        wait(running)
    for job in running:
        job.result()


class Extraction:
    """The features of one stage, on their way to disk.

    Args:
        chain: the stage, last of its chain.
        module: its frozen module.
        source: what the stage reads.
        stored: the views to store.
        device: where to compute.
        workers: reading threads.
    """

    def __init__(
        self,
        chain: Chain,
        module: EncoderModule,
        *,
        source: Source,
        stored: StoredViews,
        device: torch.device,
        workers: int,
    ) -> None:
        self.output, self.key = chain.last.spec.output, chain.last.key
        self.module = placed(module, device).eval()
        self.source, self.stored = source, stored
        self.device, self.workers = device, workers
        self.affine: Affine | None = None
        # Tiles of whole samples, so that a message can name the sample; batches of two tiles.
        self.tile_samples = max(1, TILE_PATCHES // (stored.count * stored.patches**2))
        self.batch_samples = 2 * self.tile_samples
        self._buffers: list[Block] = []

    def measure(self) -> Fidelity:
        """Fix the ranges of `uint8`, and measure what the encoding loses, on spread-out samples."""
        spread = np.linspace(0, self.stored.num_samples - 1, MEASURED_SAMPLES).astype(np.int64)
        zero = np.zeros_like(spread)
        corner = spread % (self.stored.patches - MEASURED_PATCHES + 1)
        windows = Windows(spread, zero, corner, corner, MEASURED_PATCHES)
        tiles = self._forward(next(self._read([windows])), TILE_PATCHES // MEASURED_PATCHES**2)
        values = torch.cat([features.cpu() for features, _ in tiles])
        if self.output.encoding == "uint8":
            self.affine = calibrate(values, channel_axis=-3)
        return fidelity(values, self.output.encoding, channel_axis=-3, affine=self.affine)

    def small_arrays(self, labels: Ints | None) -> dict[str, np.ndarray[Any, Any]]:
        """Where each stored view comes from, and the ranges of `uint8`."""
        origins = self.stored.origins
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "source_sample": np.arange(self.stored.num_samples, dtype=np.int64),
            "origin_y": origins[..., 0],
            "origin_x": origins[..., 1],
            "flip": origins[..., 2].astype(bool),
        }
        if self.affine is not None:
            arrays["features_scale"] = self.affine.scale.numpy()
            arrays["features_offset"] = self.affine.offset.numpy()
        return arrays if labels is None else {**arrays, "label": labels}

    def write(self, path: Path, layout: StoreLayout, labels: Ints | None, watch: Watch) -> Any:
        """Write the missing shards of features.zarr; the checksums of all of them.

        Args:
            path: of the Zarr group.
            layout: of the whole store.
            labels: of the split, (N,) int64, where it has any.
            watch: hears of progress, asks to stop.

        Raises:
            Interrupted: a stop was asked for; whole shards stay.
            CacheError: a feature is not finite or out of the encoding's range.
        """
        small = self.small_arrays(labels)
        try:
            writer = FeatureWriter(path, layout, small=small)
        except CacheError:  # of other weights, of another recipe, or not a store at all
            _remove(path)
            writer = FeatureWriter(path, layout, small=small)
        missing = writer.missing_shards()
        rows = [layout.arrays[0].rows(shard) for shard in missing]
        total, fresh = self.stored.num_samples, sum(map(len, rows))
        done, began = total - fresh, time.perf_counter()
        with ThreadPoolExecutor(1, thread_name_prefix="write") as background:
            for shard, samples in zip(missing, rows, strict=True):
                with writer.shard(shard) as file, _one_at_a_time(background) as submit:
                    for block in self._blocks(samples):
                        watch.leave_if_asked()
                        submit(file.append, block)
                        done += len(block["features"])
                        if watch.due() or done == total:
                            seconds = time.perf_counter() - began
                            self._report(watch, done, done - total + fresh, seconds, layout)
        return writer.finish()

    def _report(
        self, watch: Watch, done: int, fresh: int, seconds: float, layout: StoreLayout
    ) -> None:
        row_bytes = sum(array.row_bytes for array in layout.arrays)
        watch.report(
            Progress(
                task=f"{self.key} extract",
                done=done,
                total=self.stored.num_samples,
                unit="samples",
                samples_per_s=fresh / seconds,
                bytes_per_s=fresh * row_bytes / seconds,
            )
        )

    def _blocks(self, samples: range) -> Iterator[Block]:
        """Encoded features and codes, (n, V, G, G, …) on the CPU, of consecutive samples.

        A block holds until the next but one is asked for.
        """
        cuts = range(samples.start, samples.stop, self.batch_samples)
        batches = [
            np.arange(cut, min(cut + self.batch_samples, samples.stop), dtype=np.int64)
            for cut in cuts
        ]
        batches_read = self._read([self.stored.whole(batch) for batch in batches])
        for turn, (first_row, raw) in enumerate(zip(cuts, batches_read, strict=True)):
            done, count = 0, len(raw) // self.stored.count
            for features, codes in self._forward(raw, self.tile_samples * self.stored.count):
                features = features.unflatten(0, (-1, self.stored.count))
                check_values(
                    features,
                    self.output.encoding,
                    where=f"stage {self.key}",
                    first_row=first_row + done,
                )
                block = self._buffer(turn, features, codes)
                rows = slice(done, done + len(features))
                encode_into(
                    block["features"][rows], features, self.output.encoding, affine=self.affine
                )
                if codes is not None:
                    block["codes"][rows].copy_(codes.unflatten(0, (-1, self.stored.count)))
                done = rows.stop
            yield {name: values[:count] for name, values in block.items()}

    def _buffer(self, turn: int, features: Tensor, codes: Tensor | None) -> Block:
        """One of two reused blocks: one is filled while the other is written."""
        if not self._buffers:
            dtype = encode(features[:0], self.output.encoding, affine=self.affine).dtype
            shape = (self.batch_samples, *features.shape[1:])
            for _ in range(2):
                block = {"features": torch.empty(shape, dtype=dtype)}
                if codes is not None:
                    block["codes"] = torch.empty(shape[:4] + codes.shape[-1:])
                self._buffers.append(block)
        return self._buffers[turn % 2]

    def _read(self, windows: Sequence[Windows]) -> Iterator[Tensor]:
        most, size = max(len(w.sample) for w in windows), windows[0].size
        buffers = [self.source.buffer(most, size) for _ in range(min(len(windows), READ_AHEAD + 1))]
        yield from prefetched(self.source, windows, buffers=buffers, workers=self.workers)

    @torch.no_grad()
    def _forward(self, raw: Tensor, tile: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What is handed on, (n, G, G, C, y, x) float32, and codes (n, G, G, C), tile by tile."""
        for views in self.source.prepare(to_device(raw, self.device)).split(tile):
            features = self.module(laid_out(views))
            codes = self.module.pool(features).float() if self.output.codes else None
            yield features.relu_() if self.output.relu else features, codes
