"""Sequences of a recipe, whichever source they are of: which crops are trained on, which stored.

Shape letters: N sequences, E entries, B batch, T rows in time, C channels.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from gimstage.data.splits import NO_LABEL, SequenceSplit
from gimstage.errors import DataError, NoLabelsError
from gimstage.inputs.base import DataSet, Source
from gimstage.inputs.draws import Places, TrainingDraws
from gimstage.inputs.handoff import HandOff
from gimstage.inputs.labels import refuse_unknown_classes
from gimstage.inputs.rows import RecomputedRows, RowSource, SequenceSource, WaveSource
from gimstage.modality.base import StoreForm
from gimstage.modality.sequences import rows_per_frame, sequence_modules, sequence_store
from gimstage.modules import EncoderModule
from gimstage.recipe.chain import Chain
from gimstage.specs import SequenceDataSpec
from gimstage.views import Ints, LiveSpans, Spans, StoredSpans

NAMED = 10  # sequences that are too short, in a message

_log = logging.getLogger(__name__)


S = TypeVar("S", bound=SequenceSplit)


class Sequences(DataSet, Generic[S]):
    """Sequences of a recipe: speech, sound, or any channels in time.

    Args:
        spec: the recipe's data.toml.
        root: where they lie.
        more: what other bases of the source take.

    Attributes:
        frame_label: what labels of frames tell, such as "phone", in messages.
    """

    spec: SequenceDataSpec
    frame_label: ClassVar[str] = "frame"

    def __init__(self, spec: SequenceDataSpec, root: Path, **more: Any) -> None:
        super().__init__(spec, root, **more)
        self._splits: dict[str, S] = {}
        self._kept: dict[str, Ints] = {}

    @abstractmethod
    def open(self, name: str) -> S:
        """Open a split; of what is not made, what is planned of it.

        Raises:
            DataError: there is no such split, or it cannot be read.
        """

    def split(self, name: str) -> S:
        """One split, opened once; raises as `open`."""
        if name not in self._splits:
            self._splits[name] = self.open(name)
        return self._splits[name]

    @property
    def train(self) -> S:
        """The split that stages are trained on."""
        return self.split(self.spec.train_split)

    @cached_property
    def kept(self) -> Ints:
        """The sequences long enough for a crop, indices into the split trained on."""
        return self.long_enough(self.train)

    def long_enough(self, split: SequenceSplit) -> Ints:
        """The sequences of a split that hold a crop; the others are named aloud.

        Raises:
            DataError: there is none.
        """
        if split.name in self._kept:
            return self._kept[split.name]
        crop, noun = self.spec.views.crop_frames, self.spec.sample_name
        fits = split.samples // self.spec.frame_rows >= crop
        kept, short = np.flatnonzero(fits), np.flatnonzero(~fits)
        if not len(kept):
            raise DataError(
                f"{self.root}, split '{split.name}'",
                f"all {len(split)} {noun}s are shorter than a crop of {crop} frames",
                "at least one that is as long",
                f"lower crop_frames in [views], or use longer {noun}s",
            )
        if len(short):
            _log.warning(
                "split '%s': %d of %d %ss are shorter than a crop of %d frames and are "
                "left out: %s%s",
                split.name,
                len(short),
                len(split),
                noun,
                crop,
                ", ".join(split.ids[int(i)] for i in short[:NAMED]),
                f" and {len(short) - NAMED:,} more" if len(short) > NAMED else "",
            )
        self._kept[split.name] = kept
        return kept

    @property
    def num_samples(self) -> int:
        """The number of sequences trained on."""
        return len(self.kept)

    @cached_property
    def stored(self) -> StoredSpans:
        """What features.zarr holds of them."""
        return self.spec.cached_views(self.train.samples[self.kept] // self.spec.frame_rows)

    @property
    def sample_labels(self) -> Ints:
        """The label of every sequence of the split trained on, (N,) int64.

        Raises:
            NoLabelsError: they have none.
        """
        return self.train.column(self.label).values

    @property
    def labels(self) -> Ints | None:
        """The label of every entry, (E,) int64; None where the recipe names none of sequences."""
        if self.spec.label_column not in self.train.columns:
            return None
        return self.sample_labels[self.kept][self.stored.source]

    @cached_property
    def frame_labels(self) -> dict[int, Ints]:
        """The labels of frames by sequence of the split trained on.

        A frame without a label is given that of the nearest frame that has one.

        Raises:
            NoLabelsError: they have none.
        """
        told = self.train.frame_labels(self.label).values
        return {at: _filled(own) for at, own in told.items() if (own != NO_LABEL).any()}

    def store_form(self, chain: Chain) -> StoreForm:
        """Rows of the stored entries, in chunks of a crop of data.toml."""
        return sequence_store(
            self.spec,
            self.stored,
            modules=chain.modules(),
            output=chain.last.spec.output,
            labels=None if self.labels is None else len(self.labels),
        )

    def usable(self, chain: Chain) -> Ints:
        """The sequences with labels where those are needed, else all.

        Numbers count the sequences kept.
        """
        every = np.arange(self.num_samples, dtype=np.int64)
        if not chain.label_kinds:
            return every
        where = f"{self.root}, split '{self.train.name}'"
        if "frame" in chain.label_kinds:
            labels, noun = self.frame_labels, self.spec.sample_name
            labelled = np.array([i for i in every if int(self.kept[i]) in labels], np.int64)
            if not len(labelled):
                raise NoLabelsError(
                    where,
                    f"no {noun} with {self.frame_label} labels is as long as a crop",
                    "one of that length at least",
                    f"lower crop_frames in [views], or label longer {noun}s",
                )
            refuse_unknown_classes(np.concatenate(list(labels.values())), chain, where)
            return labelled
        own = self.sample_labels[self.kept]
        labelled = np.flatnonzero(own != NO_LABEL)
        if not len(labelled):
            found, cure = f"no sequence has a label '{self.label}'", "name another in data.toml"
            raise NoLabelsError(where, found, "one at least that is as long as a crop", cure)
        refuse_unknown_classes(own[labelled], chain, where)
        return labelled

    def draws(self, chain: Chain) -> TrainingDraws:
        """Crops of the sequences for a first stage, of the stored entries for the others."""
        train, rows = chain.last.spec.train, chain.shapes()[-2][0]
        frames = chain.modality.unit_shape[0] // self.spec.frame_rows
        per_frame = rows_per_frame(self.spec, chain.modules()[:-1])
        live = self.spec.whole_utterances(self.stored.frames)
        stored, kind = (self.stored, Spans) if chain.upstream else (live, LiveSpans)

        def spans(entry: Ints, frame: Ints) -> Spans:
            return kind(entry, frame * per_frame, rows)

        def labels(places: Places) -> Tensor | None:
            assert isinstance(places, Spans)
            if "frame" in chain.label_kinds:
                return self._labels_in_time(chain, stored, places.entry, places.first // per_frame)
            if not chain.label_kinds:
                return None
            return torch.from_numpy(self.sample_labels[self.kept[stored.source[places.entry]]])

        return TrainingDraws(
            samples=self.samples(chain).trained,
            batch_size=train.batch_size,
            seed=train.seed,
            size=rows,
            draw=lambda rng, samples: spans(*stored.draw(rng, samples, frames)),
            labels=labels,
            warm_up=chain.modality.warm_up_rows(chain.modules()),
            held_out=[
                spans(*stored.centre(batch, frames)) for batch in self.held_out_batches(chain)
            ],
        )

    def _labels_in_time(
        self, chain: Chain, stored: StoredSpans, entry: Ints, frame: Ints
    ) -> Tensor:
        """The label of every frame of crops, (B, frames) int64.

        Frame t has label t − offset. The first frames and the last have none; they are given that
        of the nearest frame that has one.
        """
        made = []
        offset = next(
            loss.offset for loss in filter(None, chain.objectives) if loss.label_kind == "frame"
        )
        for one, first in zip(entry, frame + stored.start[entry] - offset, strict=True):
            labels = self.frame_labels[int(self.kept[stored.source[one]])]
            at = np.arange(first, first + (chain.modality.crop_frames or 0))
            made.append(labels[at.clip(0, len(labels) - 1)])
        return torch.from_numpy(np.stack(made))

    def source(self) -> WaveSource:
        """The raw rows of the sequences trained on."""
        return self.waves(self.train, self.kept, self.stored)

    def waves(self, split: SequenceSplit, kept: Ints, stored: StoredSpans) -> WaveSource:
        """The raw rows of some sequences of a split."""
        return WaveSource(split, kept, stored=stored, spec=self.spec)

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


def _filled(labels: Ints) -> Ints:
    """Labels of frames (L,), of which one at least is there, without gaps."""
    held = np.flatnonzero(labels != NO_LABEL)
    middles = (held[1:] + held[:-1] + 1) // 2
    nearest: Ints = labels[held[np.searchsorted(middles, np.arange(len(labels)), side="right")]]
    return nearest
