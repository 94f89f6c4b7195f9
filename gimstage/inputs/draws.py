"""Which samples a training sees, and which places of them at every step: told from seeds alone.

Shape letters: N samples, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gimstage.draws import generator
from gimstage.specs import ValidationSpec
from gimstage.views import Crops, Ints, Spans, Squares, Windows

Places = Crops | Windows | Squares | Spans


@dataclass(frozen=True)
class Division:
    """The samples of the split trained on.

    Args:
        trained: indices of those a stage learns from, ascending, int64.
        held_out: indices of those its validation loss is taken on, in the same form; empty without
            [validation].
    """

    trained: Ints
    held_out: Ints


def divided(samples: Ints, validation: ValidationSpec | None) -> Division:
    """Hold a share of some samples out, drawn from its seed."""
    if validation is None:
        return Division(samples, samples[:0])
    rng = generator(validation.seed, "validation")
    order = torch.randperm(len(samples), generator=rng).numpy()
    held = round(len(samples) * validation.share)
    return Division(np.sort(samples[order[held:]]), np.sort(samples[order[:held]]))


@dataclass(frozen=True)
class TrainingDraws:
    """Which places each training step sees: a pure function of the step.

    Args:
        samples: trained on, (N,) int64.
        batch_size: B.
        seed: the seed of order and views.
        size: the size of a place, in patches per side or rows.
        draw: a random view of each of the samples it is given.
        labels: the labels of the samples at such places, on the CPU, for objectives that need them.
        held_out: the places that validation looks at, a batch each.
        warm_up: the rows before a place, in a recurrent module's output, that its state comes from.
    """

    samples: Ints
    batch_size: int
    seed: int
    size: int
    draw: Callable[[torch.Generator, Ints], Places]
    labels: Callable[[Places], Tensor | None]
    held_out: Sequence[Places]
    warm_up: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the split; the incomplete last one is dropped."""
        return len(self.samples) // self.batch_size

    def __call__(self, step: int) -> Places:
        """The batch of one step, counted from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        order = _epoch_order(len(self.samples), self.seed, epoch)
        samples = self.samples[order[index * self.batch_size : (index + 1) * self.batch_size]]
        return self.draw(generator(self.seed, "view", epoch, index), samples)


@lru_cache(maxsize=4)
def _epoch_order(num_samples: int, seed: int, epoch: int) -> Ints:
    order = torch.randperm(num_samples, generator=generator(seed, "order", epoch))
    return np.asarray(order.numpy(), dtype=np.int64)
