"""Probes of labels of frames, such as phones: of whole sequences, each from its frame's code.

    utterance ─► frozen stack ─► codes, averaged over each frame ─► linear classifier

Utterances are encoded again whenever they are needed and never kept, and long ones come in pieces,
so neither the length of a corpus nor that of an utterance costs memory; the heads of all inputs
learn from one pass.

Shape letters: T rows in time, L labels of an utterance, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gimstage.data.splits import NO_LABEL, SequenceSplit
from gimstage.draws import generator, initialising
from gimstage.errors import NoLabelsError
from gimstage.inputs import Sequences
from gimstage.probe.base import RANDOM, Probe, Row, Stacks, input_name
from gimstage.probe.classifiers import converged_classifier
from gimstage.probe.crops import MFCCS, ROLES
from gimstage.probe.mfcc import mfcc_of
from gimstage.probe.pieces import codes_of_frames, mfccs_of_frames, reader
from gimstage.probe.told import (
    refuse_untold,
    say_unseen,
    share_of_commonest,
    title_of,
    unseen_classes,
)
from gimstage.progress import Progress
from gimstage.specs import FrameConverged, FramePaper, TimeProbeSpec
from gimstage.views import Ints

Predict = Mapping[str, Any]  # by input: codes (L, C) ─► labels (L,)


class Stretch(NamedTuple):
    """Labelled frames of one sequence: all of them, or a piece of a long one.

    Args:
        codes: codes (L, C) of every input, on the CPU.
        labels: labels (L,) of the same frames.
        number: the number of the sequence among those that are labelled.
        share: of the labelled frames of the sequence, which of them these are, above 0.
        ends: whether they are the last of the sequence.
    """

    codes: dict[str, Tensor]
    labels: Tensor
    number: int
    share: float
    ends: bool


class FrameProbe(Probe):
    """Which label every frame has, such as the phone that is spoken.

    Args:
        spec: its TOML.
        data: the data.
        settings: device, workers and watch.

    Attributes:
        labels: the labels (L,) of those sequences of each split that have any, by role and index;
            `NO_LABEL` where a frame has none.

    Raises:
        NoLabelsError: a split has no such labels, or no class of the one is in the other.
    """

    def __init__(self, spec: TimeProbeSpec, data: Sequences[Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.spec, self.data, self.mfcc = spec, data, mfcc_of(spec.mfcc, data.spec)
        self.splits = {role: data.split(getattr(spec, f"{role}_split")) for role in ROLES}
        told = {role: split.frame_labels(spec.label) for role, split in self.splits.items()}
        self.classes = told["train"].classes
        self.labels = {role: self._usable(self.splits[role], told[role].values) for role in ROLES}
        self.frames = {role: self._held(own.values()) for role, own in self.labels.items()}
        refuse_untold(spec.label, self.splits, self.frames)
        self.unseen = unseen_classes(self.frames["train"], self.frames["test"])

    @staticmethod
    def _held(labels: Iterable[Ints]) -> Ints:
        """The labels of all frames that have one, (M,)."""
        every: Ints = np.concatenate([*labels, np.zeros(0, np.int64)])
        held: Ints = every[every != NO_LABEL]
        return held

    def _usable(self, split: SequenceSplit, told: Mapping[int, Ints]) -> dict[int, Ints]:
        """The labels that have a code, (L,) of each sequence that has any.

        Raises:
            NoLabelsError: there is none in the split.
        """
        data, frame_rows = self.data.spec, self.data.spec.frame_rows
        cut = {
            index: labels[: int(split.samples[index]) // frame_rows - self.spec.offset]
            for index, labels in told.items()
        }
        labelled = {index: labels for index, labels in cut.items() if (labels != NO_LABEL).any()}
        if not labelled:
            raise NoLabelsError(
                f"{self.data.root}, split '{split.name}'",
                f"no labelled {data.sample_name} is long enough for a label and its code",
                f"one of {'25 ms' if data.is_sound else f'{self.spec.offset + 1} frames'} at least",
                f"label longer {data.sample_name}s, or lower offset",
            )
        return labelled

    @property
    def crops(self) -> float:
        """How many crops would be as long as all utterances a stack encodes, in every epoch."""
        train, test = (
            int(self.splits[role].samples[list(self.labels[role])].sum()) for role in ROLES
        )
        samples = 0 if self.spec.converged is None else train + test
        samples += 0 if self.spec.paper is None else self.spec.paper.epochs * train + test
        spec = self.data.spec
        return samples / (spec.views.crop_frames * spec.frame_rows)

    def rows(self, recipe: str, name: str, stacks: Stacks) -> list[Row]:
        """One row per protocol and input, MFCCs last."""
        rows: list[Row] = []
        say_unseen(self.spec.label, self.classes, unseen=self.unseen, tested=self.frames["test"])
        for kind, protocol in {"converged": self.spec.converged, "paper": self.spec.paper}.items():
            if protocol is None:
                continue
            if isinstance(protocol, FramePaper):
                predict = self._train_heads(protocol, f"{name} {kind}", stacks)
            else:
                predict = self._fit(protocol, f"{name} {kind}", stacks)
            accuracies = self._accuracies(predict, stacks)
            for key in [*stacks, *([MFCCS] if self.mfcc else [])]:
                rows.append(self._row(recipe, key, kind, protocol, accuracies))
        return rows

    def _row(
        self,
        recipe: str,
        key: str,
        kind: str,
        protocol: FramePaper | FrameConverged,
        accuracies: Mapping[str, float],
    ) -> Row:
        return {
            "stage": input_name(key, recipe),
            "task": title_of(self.spec),
            "protocol": kind,
            "accuracy": accuracies[key],
            "chance": share_of_commonest(self.frames["train"], self.frames["test"]),
            "random_init": accuracies.get(RANDOM + key),
            "train_samples": len(self.labels["train"]),
            "test_samples": len(self.labels["test"]),
            "settings": protocol.model_dump() | {"offset": self.spec.offset},
        }

    def _train_heads(self, protocol: FramePaper, task: str, stacks: Stacks) -> Predict:
        """Linear heads of all inputs, trained with Adam, an utterance a step, in fixed order."""
        heads: dict[str, nn.Linear] = {}
        optimisers: dict[str, torch.optim.Adam] = {}
        for epoch in range(protocol.epochs):
            for codes, labels, _, share, ends in self._stretches("train", stacks):
                for name, x in codes.items():
                    if name not in heads:
                        heads[name] = _head(x.shape[1], len(self.classes), protocol.seed)
                        optimisers[name] = torch.optim.Adam(
                            heads[name].parameters(), lr=protocol.learning_rate
                        )
                    loss = nn.functional.cross_entropy(heads[name](x), labels)
                    (loss * share).backward()
                    if ends:
                        optimisers[name].step()
                        optimisers[name].zero_grad()
            self.watch.report(Progress(task, epoch + 1, protocol.epochs, "epochs"))
        return {name: _Argmax(head) for name, head in heads.items()}

    def _fit(self, protocol: FrameConverged, task: str, stacks: Stacks) -> Predict:
        """Logistic regressions of all inputs, on frames drawn from the training split."""
        total = len(self.frames["train"])
        rng = generator(protocol.seed, "probe-frames")
        chosen = np.zeros(total, bool)
        chosen[torch.randperm(total, generator=rng)[: protocol.frames].numpy()] = True
        # One tensor for all that is kept: small ones, a few of every piece, would lie in the
        # holes that large ones leave, which then are too small for the next piece.
        size, rows = int(chosen.sum()), dict[str, Tensor]()
        y, samples = np.empty(size, np.int64), np.empty(size, np.int64)
        done = at = 0
        for codes, phones, number, _, _ in self._stretches("train", stacks):
            kept = torch.from_numpy(chosen[done : done + len(phones)])
            here = slice(at, at + int(kept.sum()))
            for name, x in codes.items():
                if name not in rows:
                    rows[name] = x.new_empty(size, x.shape[1])
                rows[name][here] = x[kept]
            y[here], samples[here] = phones[kept], number
            done, at = done + len(phones), here.stop
        fitted = {}
        for number, (name, x) in enumerate(rows.items(), start=1):
            self.watch.leave_if_asked()
            fitted[name] = converged_classifier(x.numpy(), y, samples, protocol=protocol).predict
            self.watch.report(Progress(task, number, len(rows), "inputs"))
        return fitted

    def _accuracies(self, predict: Predict, stacks: Stacks) -> dict[str, float]:
        """Share of all test frames that each classifier names right."""
        hits, frames = dict.fromkeys(predict, 0), 0
        for codes, labels, *_ in self._stretches("test", stacks):
            frames += len(labels)
            for name, x in codes.items():
                hits[name] += int((predict[name](x.numpy()) == labels.numpy()).sum())
        return {name: count / frames for name, count in hits.items()}

    def _stretches(self, role: str, stacks: Stacks) -> Iterator[Stretch]:
        """All labelled frames of a split, a sequence or a piece of one at a time."""
        split, spec = self.splits[role], self.data.spec
        for number, (index, labels) in enumerate(self.labels[role].items()):
            read = reader(split, index, spec)
            how = {"samples": int(split.samples[index]), "frame_rows": spec.frame_rows}
            held, told, first = np.flatnonzero(labels != NO_LABEL), 0, -self.spec.offset
            for count, codes in codes_of_frames(stacks, read, device=self.device, **how):
                self.watch.leave_if_asked()
                here = held[(held >= first) & (held < first + count)]
                if len(here):
                    found = {name: x[here - first] for name, x in codes.items()}
                    if self.mfcc:  # their windows are the labels' own
                        vectors = mfccs_of_frames(self.mfcc, read, here, **how)
                        found[MFCCS] = vectors
                    told += len(here)
                    share, ends = len(here) / len(held), told == len(held)
                    yield Stretch(found, torch.from_numpy(labels[here]), number, share, ends)
                first += count


def _head(channels: int, classes: int, seed: int) -> nn.Linear:
    with initialising(seed):
        head = nn.Linear(channels, classes)
        nn.init.xavier_normal_(head.weight)
    return head


class _Argmax:
    """A linear head that names the most likely label."""

    def __init__(self, head: nn.Linear) -> None:
        self.head = head

    @torch.no_grad()
    def __call__(self, x: Any) -> Any:
        return self.head(torch.from_numpy(x)).argmax(1).numpy()
