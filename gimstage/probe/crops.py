"""Probes of one label a sample: the class of an image, the speaker of an utterance.

    samples ─► crops ─► frozen stack ─► codes of every position ─► a reading ─► classifier

A protocol reads the mean of a crop's codes, or all of them side by side. What is read of all crops
lies in memory, V · N · F · 4 bytes of every input, and as much of it before training.

Shape letters: N samples, V crops of each, F features of a crop, B batch, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from gimstage.data.librispeech import refuse_unseen_speakers
from gimstage.draws import generator
from gimstage.errors import DataError
from gimstage.inputs import Images, PixelSource, Places, Source, Speech, prefetched, to_device
from gimstage.probe.base import RANDOM, Floats, Probe, Row, Stacks, every_stack, input_name
from gimstage.probe.classifiers import converged_accuracy, hidden_accuracy, paper_accuracy
from gimstage.probe.mfcc import MFCC
from gimstage.progress import Progress
from gimstage.specs import (
    ClassProbeSpec,
    ConvergedProtocol,
    HiddenProtocol,
    PaperProtocol,
    SpeakerProbeSpec,
)
from gimstage.views import Crops, Ints, LiveSpans

Codes = dict[str, Floats]  # by role: "train" (V, N, F), "test" (1, N, F)
C = TypeVar("C", Crops, LiveSpans)
Protocol = PaperProtocol | ConvergedProtocol | HiddenProtocol
Reading = Callable[[Tensor], Tensor]  # codes of a batch of crops (B, …, C) ─► (B, F)

PIXELS, MFCCS = "pixels", "mfcc"
ROLES = ("train", "test")
BATCH_CROPS = 16


def mean_code(codes: Tensor) -> Tensor:
    """The mean over all positions, (B, C), of codes (B, …, C)."""
    return codes.flatten(1, -2).mean(1)


def all_codes(codes: Tensor) -> Tensor:
    """The codes of all positions side by side, (B, positions · C), of codes (B, …, C)."""
    return codes.flatten(1)


@dataclass(frozen=True)
class Method:
    """What a protocol reads of a crop's codes, and how well it then tells labels.

    Args:
        reading: what it reads.
        accuracy: on the test split, given codes and labels of both.
    """

    reading: Reading
    accuracy: Callable[..., float]


METHODS = {
    "converged": Method(mean_code, converged_accuracy),
    "paper": Method(mean_code, paper_accuracy),
    "hidden": Method(all_codes, hidden_accuracy),
}


class CropProbe(Probe, ABC):
    """One label a sample, told from the codes of a crop.

    Args:
        spec: its TOML.
        settings: device, workers and watch.

    Attributes:
        labels: the labels of both splits, by role, (N,) int64.
        chance: accuracy of guessing.
        baseline: name of the untrained input, None where the probe has none.
    """

    labels: Mapping[str, Ints]
    chance: float
    baseline: str | None

    def __init__(self, spec: ClassProbeSpec | SpeakerProbeSpec, **settings: Any) -> None:
        super().__init__(**settings)
        self.spec = spec

    @property
    def crops(self) -> float:
        """How many crops a stack encodes: the views of each protocol, and its test."""
        train, test = (len(self.labels[role]) for role in ROLES)
        asked = [getattr(self.spec, kind, None) for kind in METHODS]
        fitted: int = sum(each.views * train + test for each in asked if each is not None)
        return fitted + (test if self.spec.own else 0)

    @abstractmethod
    def read(
        self, role: str, protocol: Protocol | None, stacks: Stacks, *, reading: Reading
    ) -> dict[str, Floats]:
        """What is read of one split, (V, N, F) by input, by "random " + input, and of the baseline.

        Of random crops for training, as the protocol draws them; of centre crops for the test.
        """

    def rows(self, recipe: str, name: str, stacks: Stacks) -> list[Row]:
        """One row per protocol and input, the baseline last."""
        rows: list[Row] = []
        for kind, method in METHODS.items():
            protocol = getattr(self.spec, kind, None)
            if protocol is None:
                continue
            codes = self.codes(protocol, stacks, reading=method.reading)
            inputs = [*stacks, *([self.baseline] if self.baseline else [])]
            for done, key in enumerate(inputs, start=1):
                self.watch.leave_if_asked()
                accuracy = partial(self._accuracy, method, protocol, codes)
                before = accuracy(RANDOM + key) if RANDOM + key in codes else None
                row = self._row(input_name(key, recipe), kind, accuracy(key), before)
                rows.append(row | {"settings": protocol.model_dump()})
                self.watch.report(Progress(f"{name} {kind}", done, len(inputs), "inputs"))
        return rows

    def _accuracy(
        self, method: Method, protocol: Protocol, codes: Mapping[str, Codes], key: str
    ) -> float:
        train, test = codes[key]["train"], codes[key]["test"][0]
        labels = self.labels["train"], self.labels["test"]
        return method.accuracy(train, labels[0], test, labels[1], protocol=protocol)

    def codes(self, protocol: Protocol, stacks: Stacks, *, reading: Reading) -> dict[str, Codes]:
        """What is read of both splits, by name and role."""
        codes: dict[str, Codes] = {}
        for role in ROLES:
            for name, values in self.read(role, protocol, stacks, reading=reading).items():
                codes.setdefault(name, {})[role] = values
        return codes

    def own_rows(
        self, recipe: str, stacks: Stacks, classifiers: Mapping[str, nn.Module]
    ) -> list[Row]:
        """What the classifiers that inputs were trained with get right, protocol own.

        Args:
            recipe: its name is left out of the rows' stages.
            stacks: the inputs, trained.
            classifiers: classifiers of mean codes (…, C), on the CPU, by input.
        """
        trained = {key: stacks[key][:1] for key in classifiers}
        codes = self.read("test", None, trained, reading=mean_code)
        rows = []
        for key, classifier in classifiers.items():
            told = classifier(torch.from_numpy(codes[key][0])).argmax(1).numpy()
            right = float((told == self.labels["test"]).mean())
            row = self._row(input_name(key, recipe), "own", right, None)
            rows.append(row | {"settings": {}})
        return rows

    def _row(self, stage: str, protocol: str, accuracy: float, before: float | None) -> Row:
        return {
            "stage": stage,
            "task": self.spec.task,
            "protocol": protocol,
            "accuracy": accuracy,
            "chance": self.chance,
            "random_init": before,
            "train_samples": len(self.labels["train"]),
            "test_samples": len(self.labels["test"]),
        }

    def _encoded(
        self,
        source: Source,
        size: int,
        crops: Sequence[Sequence[Places]],
        *,
        reading: Reading,
        stacks: Stacks,
    ) -> dict[str, Floats]:
        """What is read of every crop, (V, N, F) by name, of crops view by view, batch by batch."""
        gathered: dict[str, list[Floats]] = {}
        for prefix, stack, asked in every_stack(stacks):
            for x in self._read(source, size, crops):
                for name, codes in stack.codes(x).items():
                    if name in asked:
                        read = reading(codes).cpu().numpy()
                        gathered.setdefault(prefix + name, []).append(read)
        return {name: by_view(parts, len(crops)) for name, parts in gathered.items()}

    def _read(
        self, source: Source, size: int, crops: Sequence[Sequence[Places]]
    ) -> Iterator[Tensor]:
        batches = [batch for view in crops for batch in view]
        buffers = [source.buffer(BATCH_CROPS, size) for _ in range(3)]
        for raw, places in prefetched(source, batches, buffers=buffers, workers=self.workers):
            self.watch.leave_if_asked()
            yield source.prepare(to_device(raw, self.device), places)


class ClassProbe(CropProbe):
    """The class of an image.

    Args:
        spec: its TOML.
        images: the data.
        settings: device, workers and watch.

    Raises:
        DataError: a split has no labels, or all the same.
    """

    def __init__(self, spec: ClassProbeSpec, images: Images, **settings: Any) -> None:
        super().__init__(spec, **settings)
        self.images, self.baseline = images, PIXELS if spec.pixels else None
        self.splits = {role: images.split(getattr(spec, f"{role}_split")) for role in ROLES}
        columns = {role: split.column("class") for role, split in self.splits.items()}
        self.labels = {role: column.values for role, column in columns.items()}
        self.chance = 1 / len(columns["train"].classes)
        if len(np.unique(self.labels["train"])) < 2:
            raise DataError(
                f"{images.root}, split '{spec.train_split}'",
                "images of one class only",
                "at least two classes",
                "probe on labelled data",
            )

    def read(
        self, role: str, protocol: Protocol | None, stacks: Stacks, *, reading: Reading
    ) -> dict[str, Floats]:
        """Crops whole and uncut, whatever training does with them."""
        split, live = self.splits[role], self.images.live().uncut()
        samples = np.arange(len(split), dtype=np.int64)
        crops = [live.centre(samples)]
        if role == "train":
            crops = [live.draw(rng, samples) for rng in _draws(protocol)]
        source, batches = self.images.pixels(split), [_in_batches(view) for view in crops]
        size = live.crop_patches
        codes = self._encoded(source, size, batches, reading=reading, stacks=stacks)
        if self.baseline:
            codes[PIXELS] = self._pixels(source, batches)
        return codes

    def _pixels(self, source: PixelSource, crops: list[list[Crops]]) -> Floats:
        """Normalised pixels of every crop, (V, N, channels · px²)."""
        buffer = source.buffer(BATCH_CROPS, self.images.live().crop_patches)
        parts = [
            source.normalised(source.fill(buffer, batch)).flatten(1).numpy()
            for view in crops
            for batch in view
        ]
        return by_view(parts, len(crops))


class SpeakerProbe(CropProbe):
    """Who speaks.

    Args:
        spec: its TOML.
        speech: the data.
        settings: device, workers and watch.

    Raises:
        DataError: one speaker only, or one in the test split that training never saw.
    """

    def __init__(self, spec: SpeakerProbeSpec, speech: Speech, **settings: Any) -> None:
        super().__init__(spec, **settings)
        self.speech, self.mfcc = speech, spec.mfcc and MFCC(spec.mfcc)
        self.baseline = MFCCS if spec.mfcc else None
        self.splits = {role: speech.split(getattr(spec, f"{role}_split")) for role in ROLES}
        self.kept = {role: speech.long_enough(split) for role, split in self.splits.items()}
        self.labels = {role: split.labels[self.kept[role]] for role, split in self.splits.items()}
        kept = ([self.splits[role].utterances[i] for i in self.kept[role]] for role in ROLES)
        refuse_unseen_speakers(speech.root, *kept)
        speakers = len(np.unique(self.labels["train"]))
        self.chance = 1 / speakers
        if speakers < 2:
            raise DataError(
                f"{speech.root}, split '{spec.train_split}'",
                "utterances of one speaker only",
                "at least two speakers",
                "probe on more speakers",
            )

    def read(
        self, role: str, protocol: Protocol | None, stacks: Stacks, *, reading: Reading
    ) -> dict[str, Floats]:
        """Crops as long as those trained on."""
        split, spec = self.splits[role], self.speech.spec
        frames, frame_rows = spec.views.crop_frames, spec.frame_rows
        whole = split.samples[self.kept[role]] // frame_rows
        stored = spec.whole_utterances(whole)
        samples = np.arange(len(stored.frames), dtype=np.int64)
        # GIM: audio/linear_classifiers/logistic_regression_speaker.py tests on random crops.
        starts = [stored.centre(samples, frames)[1]]
        if role == "train":
            starts = [stored.draw(rng, samples, frames)[1] for rng in _draws(protocol)]
        source = self.speech.waves(split, self.kept[role], stored)
        count = frames * frame_rows
        batches = [_in_batches(LiveSpans(samples, start * frame_rows, count)) for start in starts]
        codes = self._encoded(source, count, batches, reading=reading, stacks=stacks)
        if self.mfcc:
            read = [
                reading(self.mfcc(x[..., 0])).cpu().numpy()
                for x in self._read(source, count, batches)
            ]
            codes[MFCCS] = by_view(read, len(batches))
        return codes


def _draws(protocol: Protocol | None) -> list[torch.Generator]:
    """What draws the crops of each view of the training split."""
    assert protocol is not None
    return [generator(protocol.seed, "probe-view", view) for view in range(protocol.views)]


def by_view(parts: list[Floats], views: int) -> Floats:
    """Batches of all views, end to end, as (V, N, F)."""
    return np.concatenate(parts).reshape(views, -1, parts[0].shape[-1])


def _in_batches(crops: C) -> list[C]:
    return [crops.entries(at, at + BATCH_CROPS) for at in range(0, len(crops), BATCH_CROPS)]
