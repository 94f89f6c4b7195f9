"""Probes of one label a sample: the class of an image, the speaker of an utterance.

    samples ─► crops ─► frozen stack ─► codes, averaged over the crop ─► linear classifier

Shape letters: N samples, V crops of each, F features of a crop, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from gimstage.data.librispeech import refuse_unseen_speakers
from gimstage.draws import generator
from gimstage.errors import DataError
from gimstage.inputs import Images, PixelSource, Source, Speech, Where, prefetched, to_device
from gimstage.probe.base import RANDOM, Floats, Probe, Row, Stacks, every_stack
from gimstage.probe.classifiers import converged_accuracy, paper_accuracy
from gimstage.probe.mfcc import MFCC
from gimstage.progress import Progress
from gimstage.specs import ClassProbeSpec, ConvergedProtocol, PaperProtocol, SpeakerProbeSpec
from gimstage.views import FRAME_SAMPLES, Crops, Ints, LiveSpans

Codes = dict[str, Floats]  # by role: "train" (V, N, F), "test" (1, N, F)
C = TypeVar("C", Crops, LiveSpans)
Protocol = PaperProtocol | ConvergedProtocol

PIXELS, MFCCS = "pixels", "mfcc"
ROLES = ("train", "test")
BATCH_CROPS = 16


class CropProbe(Probe, ABC):
    """One label a sample, told from the mean code of a crop.

    Args:
        spec: its TOML.
        settings: device, workers and watch.

    Attributes:
        labels: of both splits, by role, (N,) int64.
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
        protocols = [each for each in (self.spec.converged, self.spec.paper) if each is not None]
        return sum(protocol.views * train + test for protocol in protocols)

    @abstractmethod
    def codes(self, protocol: Protocol, stacks: Stacks) -> dict[str, Codes]:
        """Mean codes of both splits, by input, by "random " + input, and of the baseline."""

    def rows(self, recipe: str, name: str, stacks: Stacks) -> list[Row]:
        """One row per protocol and input, the baseline last."""
        rows: list[Row] = []
        for kind, protocol in {"converged": self.spec.converged, "paper": self.spec.paper}.items():
            if protocol is None:
                continue
            codes = self.codes(protocol, stacks)
            inputs = [*stacks, *([self.baseline] if self.baseline else [])]
            for done, key in enumerate(inputs, start=1):
                self.watch.leave_if_asked()
                rows.append(self._row(recipe, key, kind, protocol, codes))
                self.watch.report(Progress(f"{name} {kind}", done, len(inputs), "inputs"))
        return rows

    def _row(
        self, recipe: str, key: str, kind: str, protocol: Protocol, codes: Mapping[str, Codes]
    ) -> Row:
        def accuracy(name: str) -> float:
            train, test = codes[name]["train"], codes[name]["test"][0]
            labels = self.labels["train"], self.labels["test"]
            if isinstance(protocol, PaperProtocol):
                return paper_accuracy(train, labels[0], test, labels[1], protocol=protocol)
            return converged_accuracy(train, labels[0], test, labels[1], protocol=protocol)

        return {
            "stage": key.removeprefix(f"{recipe}/"),
            "task": self.spec.task,
            "protocol": kind,
            "accuracy": accuracy(key),
            "chance": self.chance,
            "random_init": accuracy(RANDOM + key) if RANDOM + key in codes else None,
            "train_samples": len(self.labels["train"]),
            "test_samples": len(self.labels["test"]),
            "settings": protocol.model_dump(),
        }

    def _mean_codes(
        self, source: Source, size: int, crops: Sequence[Sequence[Where]], stacks: Stacks
    ) -> dict[str, Floats]:
        """Mean codes of every crop, (V, N, C) by name, of crops view by view, batch by batch."""
        found: dict[str, list[Floats]] = {}
        for prefix, stack in every_stack(stacks):
            for x in self._read(source, size, crops):
                for name, codes in stack.codes(x).items():
                    mean = codes.flatten(1, -2).mean(1)
                    found.setdefault(prefix + name, []).append(mean.cpu().numpy())
        return {name: by_view(parts, len(crops)) for name, parts in found.items()}

    def _read(
        self, source: Source, size: int, crops: Sequence[Sequence[Where]]
    ) -> Iterator[Tensor]:
        places = [batch for view in crops for batch in view]
        buffers = [source.buffer(BATCH_CROPS, size) for _ in range(3)]
        for raw, where in prefetched(source, places, buffers=buffers, workers=self.workers):
            self.watch.leave_if_asked()
            yield source.prepare(to_device(raw, self.device), where)


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
        self.labels = {role: split.require_labels() for role, split in self.splits.items()}
        self.chance = 1 / self.splits["train"].num_classes
        if len(np.unique(self.labels["train"])) < 2:
            raise DataError(
                f"{images.root}, split '{spec.train_split}'",
                "images of one class only",
                "at least two classes",
                "probe on labelled data",
            )

    def codes(self, protocol: Protocol, stacks: Stacks) -> dict[str, Codes]:
        """Of random crops for training, of centre crops for the test."""
        codes: dict[str, Codes] = {}
        for role, split in self.splits.items():
            samples, live = np.arange(len(split), dtype=np.int64), self.images.live()
            crops = [live.centre(samples)]
            if role == "train":
                views = range(protocol.views)
                rngs = [generator(protocol.seed, "probe-view", view) for view in views]
                crops = [live.draw(rng, samples) for rng in rngs]
            source, batches = self.images.pixels(split), [_in_batches(view) for view in crops]
            found = self._mean_codes(source, live.crop_patches, batches, stacks)
            if self.baseline:
                found[PIXELS] = self._pixels(source, batches)
            for name, values in found.items():
                codes.setdefault(name, {})[role] = values
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

    def codes(self, protocol: Protocol, stacks: Stacks) -> dict[str, Codes]:
        """Of random crops for training, of centre crops for the test."""
        codes: dict[str, Codes] = {}
        frames = self.speech.spec.views.crop_frames
        for role, split in self.splits.items():
            stored = self.speech.spec.whole_utterances(
                split.samples[self.kept[role]] // FRAME_SAMPLES
            )
            samples = np.arange(len(stored.frames), dtype=np.int64)
            # GIM: audio/linear_classifiers/logistic_regression_speaker.py tests on random crops.
            starts = [(stored.frames - frames) // 2]
            if role == "train":
                views = range(protocol.views)
                rngs = [generator(protocol.seed, "probe-view", view) for view in views]
                starts = [stored.draw(rng, samples, frames)[1] for rng in rngs]
            source = self.speech.waves(split, self.kept[role], stored)
            count = frames * FRAME_SAMPLES
            batches = [
                _in_batches(LiveSpans(samples, start * FRAME_SAMPLES, count)) for start in starts
            ]
            found = self._mean_codes(source, frames * FRAME_SAMPLES, batches, stacks)
            if self.mfcc:
                means = [
                    self.mfcc(x[..., 0]).mean(1).cpu().numpy()
                    for x in self._read(source, frames * FRAME_SAMPLES, batches)
                ]
                found[MFCCS] = by_view(means, len(batches))
            for name, values in found.items():
                codes.setdefault(name, {})[role] = values
        return codes


def by_view(parts: list[Floats], views: int) -> Floats:
    """Batches of all views, end to end, as (V, N, F)."""
    return np.concatenate(parts).reshape(views, -1, parts[0].shape[-1])


def _in_batches(crops: C) -> list[C]:
    return [crops.part(at, at + BATCH_CROPS) for at in range(0, len(crops), BATCH_CROPS)]
