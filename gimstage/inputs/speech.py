"""The speech data of a recipe: utterances, their speakers and phones, and the crops trained on.

Shape letters: E entries, B batch, T rows in time, C channels.
"""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gimstage.data.demo_speech import write_demo_speech
from gimstage.data.librispeech import SpeechSplit, files, open_split, phone_file
from gimstage.data.planned import PlannedSpeech
from gimstage.data.titles import SYNTHETIC, speech_title
from gimstage.errors import DataError, NoLabelsError
from gimstage.inputs.base import (
    DataSet,
    Places,
    Source,
    TrainingDraws,
    given_folder,
    looked_at,
    refuse_unknown_classes,
)
from gimstage.inputs.handoff import HandOff
from gimstage.inputs.rows import RecomputedRows, RowSource, SequenceSource, WaveSource
from gimstage.modality.base import StoreForm
from gimstage.modality.sequences import samples_per_row, sequence_modules, sequence_store
from gimstage.modules import EncoderModule
from gimstage.progress import Watch
from gimstage.recipe.chain import Chain
from gimstage.specs import SpeechDataSpec
from gimstage.views import FRAME_SAMPLES, Ints, LiveSpans, Spans, StoredSpans

_log = logging.getLogger(__name__)


class Speech(DataSet):
    """The speech data of a recipe.

    Args:
        spec: the recipe's data.toml.
        root: folder with a LibriSpeech tree below it.
        own: whether it is the demo's own, written when it is first worked on.
    """

    spec: SpeechDataSpec

    def __init__(self, spec: SpeechDataSpec, root: Path, *, own: bool = False) -> None:
        super().__init__(spec, root, own=own)
        self._splits: dict[str, SpeechSplit] = {}
        self._files: dict[str, dict[str, Path]] = {}
        self._kept: dict[str, Ints] = {}

    @classmethod
    def find(cls, spec: SpeechDataSpec, data: Path | None, runs: Path) -> Speech:
        """The folder `--data` names, or the demo's own below the runs folder.

        Raises:
            DataError: a recipe on real speech without `--data`.
        """
        if spec.demo is None:
            files = "a LibriSpeech tree, SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac"
            return cls(spec, given_folder(data, files, "add --data DIR"))
        if data is not None:
            return cls(spec, data)
        name = "demo-speech-{speakers}-{train}-{test}-{seed}".format(**spec.demo.model_dump())
        if spec.demo.seconds:
            name += "-{:g}-{:g}s".format(*spec.demo.seconds)
        return cls(spec, runs / "data" / name, own=True)

    def write(self, watch: Watch) -> None:
        """Write the demo's speech, as much as the recipe says."""
        assert self.spec.demo is not None, "only a demo's own data is not made"
        write_demo_speech(self.root, **self.spec.demo.model_dump())

    def split(self, name: str) -> SpeechSplit:
        """One split, its files' headers read, once; of what is not made, lengths and labels."""
        if name not in self._splits:
            self._splits[name] = self._open(name)
        return self._splits[name]

    def _open(self, name: str) -> SpeechSplit:
        demo = self.spec.demo
        if demo is None or self.is_made:
            return open_split(self.root, name, self.spec.subsets)
        return PlannedSpeech(self.root, name, **demo.model_dump())

    @property
    def title(self) -> str:
        """Synthetic, LibriSpeech by its utterances and speakers, or somebody's own."""
        if self.own:
            return SYNTHETIC["speech"]
        utterances = len(self.train.tree.audio) - self.train.unlisted
        return speech_title(utterances, self.train.num_speakers)

    @cached_property
    def train(self) -> SpeechSplit:
        """The split that stages are trained on."""
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
        """The number of utterances trained on."""
        return len(self.kept)

    @cached_property
    def stored(self) -> StoredSpans:
        """What features.zarr holds of them."""
        return self.spec.cached_views(self.train.samples[self.kept] // FRAME_SAMPLES)

    @property
    def labels(self) -> Ints:
        """The speaker of every entry, (E,)."""
        return self.train.labels[self.kept][self.stored.source]

    def store_form(self, chain: Chain) -> StoreForm:
        """Rows of the stored entries, in chunks of a crop of data.toml."""
        return sequence_store(
            self.stored,
            chain.modules(),
            chain.last.spec.output,
            chunk_frames=self.spec.views.crop_frames,
            labels=len(self.labels),
        )

    def files(self, split: str) -> dict[str, Path]:
        """The audio files of a split by utterance, looked for once."""
        if split not in self._files:
            self._files[split] = files(self.root, split, self.spec.subsets)
        return self._files[split]

    def notes(self) -> list[str]:
        """Sound that is not read, and whether that which is holds anything; see `DataSet`."""
        chosen = looked_at(len(self.train))
        silent = sum(all(self.train.silence(index)) for index in chosen)
        what = f"{silent} of {len(chosen)} utterances looked at are silent"
        return self.train.tree.notes() + [f"split '{self.train.name}': {what}"] * (silent > 0)

    @cached_property
    def phone_file(self) -> Path | None:
        """Where the phone labels are; None where the folder has none."""
        return phone_file(self.root, self.spec.subsets)

    @cached_property
    def phones(self) -> dict[int, Ints]:
        """Phone labels by utterance of the split trained on; raises as `SpeechSplit.phones`."""
        return self.train.phones()

    def usable(self, chain: Chain) -> Ints:
        """The utterances with phone labels where those are needed, else all.

        Numbers count the utterances kept.
        """
        every = np.arange(self.num_samples, dtype=np.int64)
        if not chain.label_kinds:
            return every
        where = f"{self.root}, split '{self.train.name}'"
        if "frame" in chain.label_kinds:
            phones = self.phones
            labelled = np.array([i for i in every if int(self.kept[i]) in phones], np.int64)
            if not len(labelled):
                raise NoLabelsError(
                    where,
                    "no utterance with phone labels is as long as a crop",
                    "one of that length at least",
                    "lower crop_frames in [views], or label longer utterances",
                )
            refuse_unknown_classes(np.concatenate(list(phones.values())), chain, where)
            return labelled
        refuse_unknown_classes(self.train.labels[self.kept], chain, where)
        return every

    def draws(self, chain: Chain) -> TrainingDraws:
        """Crops of the utterances for a first stage, of the stored entries for the others."""
        train, rows = chain.last.spec.train, chain.shapes()[-2][0]
        frames = chain.modality.unit_shape[0] // FRAME_SAMPLES
        rows_per_frame = FRAME_SAMPLES // samples_per_row(chain.modules()[:-1])
        live = self.spec.whole_utterances(self.stored.frames)
        stored, kind = (self.stored, Spans) if chain.upstream else (live, LiveSpans)

        def spans(entry: Ints, frame: Ints) -> Spans:
            return kind(entry, frame * rows_per_frame, rows)

        def labels(places: Places) -> Tensor | None:
            assert isinstance(places, Spans)
            if "frame" in chain.label_kinds:
                return self._phones(chain, stored, places.entry, places.first // rows_per_frame)
            speakers = self.train.labels[self.kept[stored.source[places.entry]]]
            return torch.from_numpy(speakers) if chain.label_kinds else None

        return TrainingDraws(
            samples=self.samples(chain).trained,
            batch_size=train.batch_size,
            seed=train.seed,
            size=rows,
            draw=lambda rng, samples: spans(*stored.draw(rng, samples, frames)),
            labels=labels,
            held_out=[
                spans(*stored.centre(batch, frames)) for batch in self.held_out_batches(chain)
            ],
        )

    def _phones(self, chain: Chain, stored: StoredSpans, entry: Ints, frame: Ints) -> Tensor:
        """The phone at every frame of crops, (B, frames) int64.

        Frame t has label t − offset. The first frames and the last have none; they are given that
        of the nearest frame that has one.
        """
        made = []
        offset = next(
            loss.offset for loss in filter(None, chain.objectives) if loss.label_kind == "frame"
        )
        for one, first in zip(entry, frame + stored.start[entry] - offset, strict=True):
            labels = self.phones[int(self.kept[stored.source[one]])]
            at = np.arange(first, first + (chain.modality.crop_frames or 0))
            made.append(labels[at.clip(0, len(labels) - 1)])
        return torch.from_numpy(np.stack(made))

    def source(self) -> WaveSource:
        """The samples of the utterances trained on."""
        return self.waves(self.train, self.kept, self.stored)

    def waves(self, split: SpeechSplit, kept: Ints, stored: StoredSpans) -> WaveSource:
        """The samples of some utterances of a split."""
        return WaveSource(split, kept, stored, mean=self.spec.mean, std=self.spec.std)

    def feature_source(self, path: Path) -> RowSource:
        """A source of the rows in a features.zarr."""
        return RowSource(path)

    def recomputed_source(
        self, below: Source, module: EncoderModule, handoff: HandOff
    ) -> RecomputedRows:
        """What a frozen module makes of the source below."""
        assert isinstance(below, SequenceSource)
        (sequence,) = sequence_modules([module])
        return RecomputedRows(below, sequence.eval(), handoff)
