"""What every objective offers to the training loop.

This file imports nothing of gimstage.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Result:
    """A loss, and what it is made of.

    Args:
        loss: scalar, with gradient; float32 or wider.
        loss_per_step: (K,), detached: the loss of each prediction step.
        accuracy: scalar float32 in [0, 1], detached.
    """

    loss: Tensor
    loss_per_step: Tensor
    accuracy: Tensor


class Objective(nn.Module, ABC):
    """A loss on codes, with weights of its own; drawing is apart from computing.

    Attributes:
        label_kind: the labels it needs: "sample" for one a sample, "frame" for one every 10 ms,
            None for none.
    """

    label_kind: str | None = None

    @abstractmethod
    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Any:
        """Everything random in one evaluation, for codes of `shape`, from a CPU generator."""

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor, draws: Any, labels: Tensor | None = None) -> Result:
        """The loss of codes z and contexts c under what `draw` returned."""

    def __call__(self, z: Tensor, c: Tensor, draws: Any, labels: Tensor | None = None) -> Result:
        """As `forward`; says its type, which nn.Module does not."""
        result: Result = super().__call__(z, c, draws, labels)
        return result
