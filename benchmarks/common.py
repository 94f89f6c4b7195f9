"""What every benchmark shares: interleaved timing in one process, and the row it reports.

Absolute times move with the machine; ratios of things measured turn by turn in one run do not. So
a benchmark times its subject and its yardstick in alternation and reports the ratio of medians.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gimstage.modules import EncoderModule
from gimstage.objectives import Objective
from gimstage.recipe.chain import Chain
from gimstage.stack import Learner, new_learners
from gimstage.train.step import Batch, Load, training_step


@dataclass(frozen=True)
class Row:
    """One line of the table `make bench` prints.

    Args:
        what: the subject and its yardstick, in words.
        measured: the ratio or amount measured.
        reach: the bound to reach.
        at_most: True where `measured` must not exceed `reach`, False where it must not fall below.
        note: absolute figures behind the ratio.
    """

    what: str
    measured: float
    reach: float
    at_most: bool
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the bound holds."""
        return self.measured <= self.reach if self.at_most else self.measured >= self.reach


def medians(*subjects: Callable[[], object], rounds: int, warmup: int = 1) -> list[float]:
    """Median seconds of each subject, timed in turn: first A B C, then A B C again."""
    times: list[list[float]] = [[] for _ in subjects]
    for turn in range(warmup + rounds):
        for subject, seconds in zip(subjects, times, strict=True):
            start = time.perf_counter()
            subject()
            if turn >= warmup:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def parts_of(chain: Chain) -> tuple[EncoderModule, Objective]:
    """Module and objective of a stage that has one of each."""
    (learner,) = new_learners(chain)
    return learner.module, learner.objective


def step_with(
    module: EncoderModule,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    *,
    load: Load,
    count: int,
    rng: torch.Generator,
    precision: str = "float32",
    micro_batch: int | None = None,
) -> None:
    """Gimstage's training step of one module, plain without a micro-batch."""
    training_step(
        [Learner(module, objective, position=1, update_every=1)],
        Batch(load=load, count=count, labels=None, rngs=[rng]),
        optimiser=optimiser,
        precision=precision,
        micro_batch=micro_batch or count,
        due=[True],
    )
