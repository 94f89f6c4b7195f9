"""Probes of one label a sample: what is read of crops, and what classifiers tell from it.

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
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gimstage.data.splits import NO_LABEL, Split
from gimstage.draws import generator
from gimstage.inputs import DataSet, Places, Source, prefetched, to_device
from gimstage.probe.base import RANDOM, Floats, Probe, Row, Stacks, every_stack, input_name
from gimstage.probe.classifiers import converged_accuracy, hidden_accuracy, paper_accuracy
from gimstage.probe.told import (
    refuse_untold,
    say_unseen,
    share_of_commonest,
    title_of,
    unseen_classes,
)
from gimstage.progress import Progress
from gimstage.specs import ConvergedProtocol, CropProbeSpec, HiddenProtocol, PaperProtocol
from gimstage.views import Ints

Codes = dict[str, Floats]  # by role: "train" (V, N, F), "test" (1, N, F)
Protocol = PaperProtocol | ConvergedProtocol | HiddenProtocol
Reading = Callable[[Tensor], Tensor]  # codes of a batch of crops (B, …, C) ─► (B, F)

PIXELS, MFCCS = "pixels", "mfcc"
ROLES = ("train", "test")
BATCH_CROPS = 16
BATCH_POSITIONS = 1 << 22  # of whole maps: fewer crops, where they are large


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
        data: the data.
        settings: device, workers and watch.

    Attributes:
        splits: the splits that are read, by role.
        kept: the samples of each that have a label and a crop, indices into it, by role.
        labels: their labels, (N,) int64, by role.
        chance: accuracy of guessing.
        baseline: name of the untrained input, None where the probe has none.

    Raises:
        NoLabelsError: a split has no such labels, or no class of the one is in the other.
        DataError: all labels are the same, or too many to tell apart.
    """

    labels: Mapping[str, Ints]
    chance: float
    baseline: str | None

    def __init__(self, spec: CropProbeSpec, data: DataSet, **settings: Any) -> None:
        super().__init__(**settings)
        self.spec, self.baseline = spec, None
        names = {role: getattr(spec, f"{role}_split") for role in ROLES}
        self.splits = {role: data.split(name) for role, name in names.items()}
        columns = {role: split.column(spec.label) for role, split in self.splits.items()}
        self.classes = columns["train"].classes
        self.kept, self.labels = {}, {}
        for role, split in self.splits.items():
            held = columns[role].values != NO_LABEL
            self.kept[role] = kept = np.array([i for i in self.usable(split) if held[i]], np.int64)
            self.labels[role] = columns[role].values[kept]
        self.refuse()
        self.chance = share_of_commonest(self.labels["train"], self.labels["test"])

    @property
    def unseen(self) -> Ints:
        """The classes tested that training lacks, ascending."""
        return unseen_classes(self.labels["train"], self.labels["test"])

    def refuse(self) -> None:
        """Refuse labels of which nothing could be learned and told; raises as the constructor."""
        refuse_untold(self.spec.label, self.splits, self.labels)

    def usable(self, split: Split) -> Ints:
        """The samples of a split that a crop can be cut from, ascending indices."""
        return np.arange(len(split), dtype=np.int64)

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
        say_unseen(self.spec.label, self.classes, unseen=self.unseen, tested=self.labels["test"])
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
            "task": title_of(self.spec),
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
        most = max(map(len, batches))
        buffers = [source.buffer(most, size) for _ in range(3)]
        for raw, places in prefetched(source, batches, buffers=buffers, workers=self.workers):
            self.watch.leave_if_asked()
            yield source.prepare(to_device(raw, self.device), places)


def drawn_views(protocol: Protocol | None) -> list[torch.Generator]:
    """What draws the crops of each view of the training split."""
    assert protocol is not None
    return [generator(protocol.seed, "probe-view", view) for view in range(protocol.views)]


def by_view(parts: list[Floats], views: int) -> Floats:
    """Batches of all views, end to end, as (V, N, F)."""
    return np.concatenate(parts).reshape(views, -1, parts[0].shape[-1])


def in_batches(crops: Places, count: int = BATCH_CROPS) -> list[Places]:
    """Crops in batches as large as a stack encodes at once."""
    return [crops.entries(at, at + count) for at in range(0, len(crops), count)]
