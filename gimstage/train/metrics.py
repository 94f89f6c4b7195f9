"""metrics.jsonl: one line of means for every logging interval of a stage's training."""

import json
import math
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gimstage.errors import TrainingError
from gimstage.files import UnreadableError, appearing, naming, parse_json, read_regular

LINES = 200  # of a whole training, about
METRICS_BYTES = 1 << 26  # of a file, far more than any has

Line = dict[str, Any]


class Metrics:
    """Running means of loss and accuracy, of one learner or of several trained side by side.

    The loss of several is the sum of theirs, the accuracy the mean; `modules` tells them apart.

    Values stay on the device until they are needed, then are summed one by one, in order: the means
    depend neither on when they were fetched nor on whether training was interrupted.

    Args:
        path: the file.
        stage: `RECIPE/NUMBER`, for messages.
        batch_size: samples of a step.
        total_steps: steps of the whole training.
        evaluations: how often validation is looked at after the first step, at most, and with a
            line; 0 for never.
    """

    def __init__(
        self, path: Path, *, stage: str, batch_size: int, total_steps: int, evaluations: int
    ) -> None:
        self.path, self.stage = path, stage
        self.batch_size, self.total_steps = batch_size, total_steps
        self.interval = max(1, total_steps // LINES)
        intervals = total_steps // self.interval
        self._between = self.interval * -(-intervals // evaluations) if evaluations else 0
        self._sizes: list[int] = []
        self.lines: list[Line] = []
        self._sums: list[float] = []
        self._count = 0
        self._waiting: list[tuple[int, Tensor]] = []
        self._validation: Sequence[tuple[float, float]] = ()
        self._since = time.perf_counter()
        self._idle_s = 0.0

    def validates(self, step: int) -> bool:
        """Whether the validation loss is due after a step, with one of the lines."""
        if not self._between:
            return False
        return step in (1, self.total_steps) or step % self._between == 0

    def add(
        self,
        step: int,
        values: Sequence[Tensor],
        idle_s: float,
        validation: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Take up the values of one step, counted from 1.

        Args:
            step: its number.
            values: for each learner its loss, accuracy, then the loss of each prediction step, on
                any device.
            idle_s: seconds the step waited for its data.
            validation: for each learner its loss and accuracy on what was held out, where it was
                due.
        """
        self._idle_s += idle_s
        self._sizes = [len(each) for each in values]
        self._validation = validation
        self._waiting.append((step, torch.cat(list(values))))
        if self._ends_interval(step) or len(self._waiting) >= 256:
            self.settle()

    def _ends_interval(self, step: int) -> bool:
        return step == 1 or step % self.interval == 0 or step == self.total_steps

    def settle(self) -> None:
        """Fetch what waits on the device and write the lines that are complete.

        Raises:
            TrainingError: a loss is not finite.
        """
        if not self._waiting:
            return
        steps, tensors = zip(*self._waiting, strict=True)
        self._waiting = []
        for step, values in zip(steps, torch.stack(tensors).cpu().double().tolist(), strict=True):
            for learner in self._split(values):
                if not math.isfinite(learner[0]):
                    raise not_finite(self.stage, step, f"loss is {learner[0]}")
            self._sums = [
                a + b for a, b in zip(self._sums or [0.0] * len(values), values, strict=True)
            ]
            self._count += 1
            if self._ends_interval(step):
                self._write(step)

    @property
    def loss(self) -> float | None:
        """The latest mean loss of the stage."""
        if self._count:
            return sum(learner[0] for learner in self._split(self._sums)) / self._count
        return self.lines[-1]["loss"] if self.lines else None

    def _split(self, values: Sequence[float]) -> list[Sequence[float]]:
        """The values of every learner, one by one."""
        ends = list(accumulate(self._sizes))
        return [values[end - size : end] for end, size in zip(ends, self._sizes, strict=True)]

    def _write(self, step: int) -> None:
        means = self._split([value / self._count for value in self._sums])
        seconds = time.perf_counter() - self._since
        line = {
            "step": step,
            **_summary(means, self._validation),
            "samples_per_s": round(self._count * self.batch_size / seconds, 2),
            "waiting_share": round(self._idle_s / seconds, 4),
            "seconds": round(seconds + (self.lines[-1]["seconds"] if self.lines else 0.0), 3),
        }
        self.lines.append(line)
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._sums, self._count, self._idle_s = [], 0, 0.0
        self._since = time.perf_counter()

    def finish(self) -> None:
        """Write the file anew and durable, as the weights beside it will be.

        What became of it on the disk in the meantime does not matter.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(self.path) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in self.lines), "utf-8")

    def state(self) -> dict[str, Any]:
        """What `resume` needs, as JSON: every line, and the sums of the interval under way."""
        sums = {"sums": self._sums, "count": self._count, "sizes": self._sizes}
        return {"lines": self.lines, **sums}

    def resume(self, state: dict[str, Any] | None) -> None:
        """Go on from a `state`, or from the start: the file holds its lines then, and no later."""
        if state is not None:
            self.lines, self._sizes = state["lines"], state["sizes"]
            self._sums, self._count = state["sums"], state["count"]
        self.finish()
        self._since = time.perf_counter()


def _summary(means: Sequence[Sequence[float]], validation: Sequence[tuple[float, float]]) -> Line:
    """What a line says of losses and accuracies."""
    each: list[Line] = [
        {"loss": loss, "accuracy": accuracy, "loss_per_step": list(steps)}
        for loss, accuracy, *steps in means
    ]
    for entry, (loss, accuracy) in zip(each, validation, strict=False):
        entry |= {"validation_loss": loss, "validation_accuracy": accuracy}
    if len(each) == 1:
        return each[0]
    keys = ["loss", "accuracy"] + (["validation_loss", "validation_accuracy"] if validation else [])
    joint = {key: sum(entry[key] for entry in each) for key in keys}
    joint |= {key: joint[key] / len(each) for key in keys if "accuracy" in key}
    return {**joint, "loss_per_step": [], "modules": each}


def read_lines(path: Path) -> list[Line]:
    """The lines of a metrics file; none where there is no such file."""
    try:
        data = read_regular(path, most_bytes=METRICS_BYTES)
    except (FileNotFoundError, UnreadableError):
        return []
    return [line for line in map(_parsed, data.splitlines()) if line]


def _parsed(text: bytes) -> Line | None:
    """A line of the file; None for one that was cut off when the process was killed."""
    try:
        line = parse_json(text)
    except UnreadableError:
        return None
    return line if isinstance(line, dict) else None


def not_finite(stage: str, step: int, found: str) -> TrainingError:
    """The error for NaN or infinity in training."""
    return TrainingError(
        f"stage {stage}, step {step}",
        found,
        "finite numbers",
        "the last good checkpoint and what the stage was before are kept; lower learning_rate or "
        'use precision = "float32"',
    )
