"""What a stage on speech reads: samples, stored rows, or rows encoded again.

A source gives stretches of rows of stored entries (views/spans.py); where a stretch reaches beyond
its entry it gives zeros, which is what padding puts there. So encoding a stretch together with its
reach gives, row for row, what encoding the whole entry gives.

Shape letters: E entries, B batch, T rows in time, C channels.
"""

from __future__ import annotations

import logging
import math
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gimstage.cache import FeatureReader
from gimstage.chain import Chain
from gimstage.data.librispeech import SpeechSplit, fingerprint, open_split, phones_fingerprint
from gimstage.errors import DamagedCacheError, DataError
from gimstage.inputs.base import (
    DataSet,
    Source,
    TrainingDraws,
    encoded_again,
    given_folder,
    pinned,
)
from gimstage.modules import EncoderModule, SequenceModule
from gimstage.specs import OutputSpec, SpeechDataSpec
from gimstage.views import FRAME_SAMPLES, Ints, LiveSpans, Spans, StoredSpans

_log = logging.getLogger(__name__)


class SequenceSource(Source):
    """Rows of entries.

    Attributes:
        lengths: rows of every entry, (E,) int64.
    """

    lengths: Ints


class WaveSource(SequenceSource):
    """Normalised samples of utterances, (B, T, 1).

    Args:
        split: the files.
        kept: the utterances trained on, indices into the split, (N,) int64.
        stored: the entries to cut from them.
        mean: of samples on the scale -1 … 1.
        std: likewise.
    """

    def __init__(
        self, split: SpeechSplit, kept: Ints, stored: StoredSpans, *, mean: float, std: float
    ) -> None:
        self.split, self.kept, self.stored = split, kept, stored
        self.mean, self.std = np.float32(mean), np.float32(std)
        self.lengths = stored.entry_frames * FRAME_SAMPLES

    def buffer(self, count: int, size: int) -> Tensor:
        """Samples, (count, size, 1) float32."""
        return pinned(torch.empty(count, size, 1))

    def fill(self, buffer: Tensor, where: Spans) -> Tensor:
        """Seek, read and normalise; `LiveSpans` count from the beginning of the utterance."""
        filled = buffer[: len(where), : where.count]
        live = isinstance(where, LiveSpans)
        for row, entry, first in zip(filled.numpy(), where.entry, where.first, strict=True):
            sample = entry if live else self.stored.source[entry]
            start = 0 if live else int(self.stored.start[entry]) * FRAME_SAMPLES
            frames = self.stored.frames if live else self.stored.entry_frames
            inside = inside_rows(int(first), where.count, int(frames[entry]) * FRAME_SAMPLES)
            row[: inside.start], row[inside.stop :] = 0, 0
            wave = row[inside, 0]
            self.split.read(int(self.kept[sample]), start + int(first) + inside.start, wave)
            wave -= self.mean
            wave /= self.std
        return filled

    def prepare(self, raw: Tensor, where: Spans) -> Tensor:
        """The samples as they are."""
        return raw


class RowSource(SequenceSource):
    """Rows of the stage before's features.zarr.

    Raises:
        DamagedCacheError: its offsets do not fit its rows.
    """

    def __init__(self, path: Path) -> None:
        self.reader = FeatureReader(path)
        self.layout = self.reader.array("features")
        self.offsets = self.reader.small("offsets")
        self.lengths = np.diff(self.offsets)
        rows = self.layout.shape[0]
        if self.offsets[0] != 0 or self.offsets[-1] != rows or (self.lengths < 1).any():
            raise DamagedCacheError(
                str(path),
                f"offsets from {self.offsets[0]} to {self.offsets[-1]}",
                f"ascending from 0 to the {rows} rows of features",
                "delete the store and extract again",
            )

    def buffer(self, count: int, size: int) -> Tensor:
        """Raw rows, (count, size, C) of the stored dtype."""
        shape = (count, size, self.layout.shape[1])
        return pinned(torch.empty(shape, dtype=self.layout.torch_dtype))

    def fill(self, buffer: Tensor, where: Spans) -> Tensor:
        """Read exactly the rows' bytes; rows outside an entry are left as they come."""
        filled = buffer[: len(where), : where.count]
        starts = self.offsets[where.entry] + where.first
        if not overhangs(where, self.lengths):
            self.reader.read("features", filled, starts[:, None])
            return filled
        for row, entry, first, start in zip(filled, where.entry, where.first, starts, strict=True):
            inside = inside_rows(int(first), where.count, int(self.lengths[entry]))
            at = np.array([[start + inside.start]])
            self.reader.read("features", row[None, inside], at)
        return filled

    def prepare(self, raw: Tensor, where: Spans) -> Tensor:
        """The rows as float32, zeros outside their entries."""
        return zero_outside(self.reader.decode("features", raw), where, self.lengths)


class RecomputedRows(SequenceSource):
    """The stage before, run again on its own source, rounded as its features would have been.

    Args:
        source: what the module reads.
        module: frozen, on its device.
        output: how it would have stored its rows.
    """

    recomputes = True

    def __init__(self, source: SequenceSource, module: SequenceModule, output: OutputSpec) -> None:
        self.source, self.module, self.output = source, module, output
        self.lengths = np.array([module.length(int(n)) for n in source.lengths], np.int64)

    def below(self, where: Spans) -> Spans:
        """The rows of the source below that decide these."""
        return reach(self.module, where)

    def buffer(self, count: int, size: int) -> Tensor:
        """A buffer of the source below."""
        return self.source.buffer(count, self.module.reach(0, size).rows)

    def fill(self, buffer: Tensor, where: Spans) -> Tensor:
        """Read what these rows depend on."""
        return self.source.fill(buffer, self.below(where))

    def prepare(self, raw: Tensor, where: Spans) -> Tensor:
        """The frozen module's rows, rounded, zeros outside their entries."""
        x = self.source.prepare(raw, self.below(where))
        return zero_outside(rows_again(self.module, x, self.output), where, self.lengths)


def rows_again(module: SequenceModule, x: Tensor, output: OutputSpec) -> Tensor:
    """What a frozen module hands on of stretches (B, T, C) that hold their reach."""
    return encoded_again(module, lambda tile: module.advance(tile, None)[0], x, output)


def reach(module: SequenceModule, where: Spans) -> Spans:
    """The stretches of a module's input that decide these stretches of its output."""
    first, count = module.reach(0, where.count)
    return type(where)(where.entry, where.first * module.stride + first, count)


def inside_rows(first: int, count: int, length: int) -> slice:
    """Which of `count` rows from `first` lie within an entry of `length` rows."""
    return slice(min(max(-first, 0), count), max(min(length - first, count), 0))


def overhangs(where: Spans, lengths: Ints) -> bool:
    """Whether a stretch reaches beyond its entry."""
    return bool(((where.first < 0) | (where.first + where.count > lengths[where.entry])).any())


def zero_outside(rows: Tensor, where: Spans, lengths: Ints) -> Tensor:
    """Rows (B, T, C), those outside their entries made zeros."""
    if not overhangs(where, lengths):
        return rows
    number = torch.from_numpy(where.first)[:, None] + torch.arange(where.count)
    outside = (number < 0) | (number >= torch.from_numpy(lengths[where.entry])[:, None])
    return rows.masked_fill(outside[..., None].to(rows.device), 0)


class Speech(DataSet):
    """The speech data of a recipe.

    Args:
        spec: the recipe's data.toml.
        root: folder with a LibriSpeech tree below it.
    """

    def __init__(self, spec: SpeechDataSpec, root: Path) -> None:
        super().__init__(spec, root)
        self.spec = spec
        self._splits: dict[str, SpeechSplit] = {}
        self._kept: dict[str, Ints] = {}

    @classmethod
    def find(cls, spec: SpeechDataSpec, data: Path | None, runs: Path) -> Speech:
        """The folder `--data` names, or the demo's own below the runs folder, written if need be.

        Raises:
            DataError: a recipe on real speech without `--data`.
        """
        if spec.demo is None:
            files = "a LibriSpeech tree, SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac"
            return cls(spec, given_folder(data, files, "add --data DIR"))
        counts = spec.demo.model_dump()
        root = runs / "data" / "demo-speech-{speakers}-{train}-{test}-{seed}".format(**counts)
        if data is None and not root.exists():
            from gimstage.data.demo_speech import write_demo_speech  # brings scipy, half a second

            write_demo_speech(root, **counts)
        return cls(spec, data or root)

    def split(self, name: str) -> SpeechSplit:
        """One split, its files' headers read, once."""
        if name not in self._splits:
            self._splits[name] = open_split(self.root, name)
        return self._splits[name]

    @cached_property
    def train(self) -> SpeechSplit:
        """The split trained on."""
        return self.split(self.spec.train_split)

    @cached_property
    def kept(self) -> Ints:
        """The utterances long enough for a crop, indices into the split trained on."""
        return self.long_enough(self.train)

    def long_enough(self, split: SpeechSplit) -> Ints:
        """The utterances of a split that hold a crop; the others are named aloud.

        Raises:
            DataError: there is none.
        """
        if split.name in self._kept:
            return self._kept[split.name]
        crop = self.spec.views.crop_frames
        fits = split.samples // FRAME_SAMPLES >= crop
        kept, short = np.flatnonzero(fits), np.flatnonzero(~fits)
        if not len(kept):
            raise DataError(
                f"{self.root}, split '{split.name}'",
                f"all {len(split)} utterances are shorter than a crop of {crop} frames",
                "at least one that is as long",
                "lower crop_frames in [views], or use longer utterances",
            )
        if len(short):
            _log.warning(
                "split '%s': %d of %d utterances are shorter than a crop of %d frames and are "
                "left out: %s",
                split.name,
                len(short),
                len(split),
                crop,
                ", ".join(split.utterances[i].id for i in short),
            )
        self._kept[split.name] = kept
        return kept

    @property
    def num_samples(self) -> int:
        """Utterances trained on."""
        return len(self.kept)

    @cached_property
    def stored(self) -> StoredSpans:
        """What features.zarr holds of them."""
        return self.spec.cached_views(self.train.samples[self.kept] // FRAME_SAMPLES)

    @property
    def labels(self) -> Ints:
        """The speaker of every entry, (E,)."""
        return self.train.labels[self.kept][self.stored.source]

    def fingerprint(self, split: str, runs: Path) -> str:
        """SHA-256 of a split's content, remembered below the runs folder."""
        return fingerprint(self.root, split, runs / "data" / "fingerprints.json")

    def phones_fingerprint(self, runs: Path) -> str | None:
        """SHA-256 of the phone labels; None where there are none."""
        return phones_fingerprint(self.root, runs / "data" / "fingerprints.json")

    def draws(self, chain: Chain) -> TrainingDraws:
        """Crops of the utterances for a first stage, of the stored entries for the others."""
        train, rows = chain.last.spec.train, chain.shapes()[-2][0]
        frames = chain.unit_shape[0] // FRAME_SAMPLES
        rows_per_frame = FRAME_SAMPLES // strides(chain.modules()[:-1])
        live = self.spec.whole_utterances(self.stored.frames)
        stored, kind = (self.stored, Spans) if chain.upstream else (live, LiveSpans)

        def draw(rng: torch.Generator, samples: Ints) -> Spans:
            entry, frame = stored.draw(rng, samples, frames)
            return kind(entry, frame * rows_per_frame, rows)

        return TrainingDraws(
            num_samples=self.num_samples,
            batch_size=train.batch_size,
            seed=train.seed,
            size=rows,
            draw=draw,
        )

    def source(self) -> WaveSource:
        """The samples of the utterances trained on."""
        return self.waves(self.train, self.kept, self.stored)

    def waves(self, split: SpeechSplit, kept: Ints, stored: StoredSpans) -> WaveSource:
        """The samples of some utterances of a split."""
        return WaveSource(split, kept, stored, mean=self.spec.mean, std=self.spec.std)

    def feature_source(self, path: Path) -> RowSource:
        """What lies in a features.zarr."""
        return RowSource(path)

    def recomputed_source(
        self, below: Source, module: EncoderModule, output: OutputSpec
    ) -> RecomputedRows:
        """What a frozen module makes of the source below."""
        assert isinstance(below, SequenceSource)
        assert isinstance(module, SequenceModule)
        return RecomputedRows(below, module.eval(), output)


def strides(modules: list[EncoderModule]) -> int:
    """Samples per row of what comes out of a row of modules."""
    return math.prod(m.stride for m in modules if isinstance(m, SequenceModule))
