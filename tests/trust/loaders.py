"""torch's DataLoader under fork, spawn and forkserver, after the parent has read with threads.

What the workers read is what the parent read, and nobody waits for ever.
"""

import hashlib
import multiprocessing
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trust.bench import Attempt, Bench, Campaign, Result
from trust.homes import IMAGES, SPEECH
from trust.references import Reference, finished_reference
from trust.warm import call

_ROUNDS = {"fork": 10, "forkserver": 10, "spawn": 2}  # with one parent; starting is what takes long


class Samples(Dataset[Tensor]):
    """Windows of a finished stage's features, every one of them.

    Args:
        stage: the folder of the stage.
    """

    def __init__(self, stage: Path) -> None:
        import gimstage

        self.reader = gimstage.open_features(stage)
        self.shape = self.reader.array("features").shape
        self.axes = 1 if len(self.shape) == 2 else 4  # frames, or samples, views, rows, columns
        self.step = 500 if self.axes == 1 else 1

    def __len__(self) -> int:
        return int(self.shape[0] // self.step)

    def __getitem__(self, index: int) -> Tensor:
        out = torch.empty((1, self.step, *self.shape[1:]), dtype=torch.float16)
        starts = torch.zeros(1, self.axes, dtype=torch.int64)
        starts[0, 0] = index * self.step
        self.reader.read("features", out, starts)
        return out[0]


def attempts(bench: Bench, seed: int) -> Iterator[Attempt]:
    """Some rounds under each way to start workers in turn, for ever."""
    finished = [finished_reference(bench, name) for name in (IMAGES, SPEECH)]
    number = 0
    while True:
        for method in _ROUNDS:
            yield partial(loaded, finished[number % 2], method)
            number += 1


def loaded(reference: Reference, method: str, bench: Bench, folder: Path) -> Result:
    """Let workers read what their parent has read."""
    rounds = _ROUNDS[method] if bench.patience else 1
    stage = reference.home / "runs" / reference.recipe / "1"
    outcome = call(partial(_rounds, stage, method, rounds), folder=folder, patience=bench.patience)
    wrong = [outcome.stopped] if outcome.stopped else []
    if outcome.out.split() != ["same"] * rounds:
        wrong.append(f"{outcome.out.split()}, exit {outcome.code}: {outcome.err[-300:]}")
    return Result([f"{method}: {each}" for each in wrong], tried=rounds)


def _rounds(stage: Path, method: str, rounds: int) -> None:
    """Read with threads, then through workers; say each time whether that is the same."""
    import gimstage.cache.reader

    gimstage.cache.reader.THREADED_BYTES = 0
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["torch", "gimstage.cache"])
    for _ in range(rounds):
        samples = Samples(stage)
        batch = range(min(4, len(samples)))
        for _ in range(3):
            samples.reader.read("features", *_together(samples, batch))
        expected = _digest(samples[index] for index in range(len(samples)))
        loader = DataLoader(
            samples, batch_size=None, num_workers=2, multiprocessing_context=context
        )
        sys.stdout.write("same\n" if _digest(loader) == expected else "different\n")


def _together(samples: Samples, batch: range) -> tuple[Tensor, Tensor]:
    """Room for several samples, and where they start: enough for threads to share."""
    out = torch.empty((len(batch), samples.step, *samples.shape[1:]), dtype=torch.float16)
    starts = torch.zeros(len(batch), samples.axes, dtype=torch.int64)
    starts[:, 0] = torch.tensor([index * samples.step for index in batch])
    return out, starts


def _digest(tensors: Iterator[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


LOADERS = Campaign("loaders", "fork, spawn, forkserver after threads", 300, 1, attempts)
