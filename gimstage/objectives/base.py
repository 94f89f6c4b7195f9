"""What every objective offers to the training loop, and to those who check and plan it.

An objective is one class in one file. Its constructor's keyword arguments are the keys of its TOML
table, but for those that say what it reads, which its module decides (`GIVEN`).

This file imports nothing of gimstage but the base of modules.
"""

from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gimstage.modules.base import CodeLayout, Shape, counted_multiply_adds, register

# Arguments of a constructor that are no keys: channels of codes z, and of contexts c as the module
# makes them; the shape of one unit's codes; frames of 10 ms in a crop of speech, else None.
GIVEN = frozenset({"code_channels", "context_channels", "code_shape", "frames"})
Labels = Literal["sample", "frame"]


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

    `class Mine(Objective, kind="mine")` registers a class under a kind that recipes can name.

    Attributes:
        kinds: every registered class by its kind.
        kind: what a recipe calls it.
        algorithm: raised whenever the same table gives other numbers than before, so that old
            results turn stale; part of every fingerprint.
        code_layouts: the layouts of the codes it can read, as modules say it of theirs.
        whole_images: whether it is of whole images, so that a crop must be a single patch.
        isolates: whether its module must be trained by it alone, never end to end.
        label_kind: the labels it needs: "sample" for one a sample, "frame" for one every 10 ms,
            None for none.
        num_classes: how many classes the labels tell apart; None without labels.
        offset: the offset of labels per frame: label t is that of frame t + offset.
    """

    kinds: ClassVar[dict[str, "type[Objective]"]] = {}
    kind: ClassVar[str]
    algorithm: ClassVar[int]
    code_layouts: ClassVar[Set[CodeLayout]] = frozenset({"positions"})
    whole_images: ClassVar[bool] = False
    isolates: ClassVar[bool] = False

    label_kind: Labels | None = None
    num_classes: int | None = None
    offset: int = 0

    def __init_subclass__(cls, kind: str | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if kind is not None:
            cls.kind = register(cls.kinds, kind, cls)

    @classmethod
    def check_keys(cls, **keys: Any) -> None:
        """Refuse keys of a table that do not go together.

        Raises:
            ValueError: says what there is; expected what there should be.
        """

    @classmethod
    def labels_for(cls, **keys: Any) -> Labels | None:
        """The labels that an objective with these keys needs, as `label_kind` says it of one."""
        return cls.label_kind

    @classmethod
    def chance_loss_for(cls, **keys: Any) -> float | None:
        """What guessing costs under these keys, in nats; None where it has no fixed price."""
        return None

    @abstractmethod
    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Any:
        """Everything random in one evaluation, for codes of `shape`, from a CPU generator."""

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor, draws: Any, labels: Tensor | None = None) -> Result:
        """The loss of codes z and contexts c under what `draw` returned."""

    def __call__(self, z: Tensor, c: Tensor, draws: Any, labels: Tensor | None = None) -> Result:
        """Run `forward`; says its type, which nn.Module does not."""
        result: Result = super().__call__(z, c, draws, labels)
        return result

    @property
    def classifier(self) -> nn.Module | None:
        """What classifies the mean code of a sample, for probes of own classifiers; else None."""
        return None

    def too_short(self, length: int) -> tuple[str, int] | None:
        """What needs more than `length` positions in a row, and how many; None if they suffice."""
        return None

    def multiply_adds(self, shape: Shape) -> int | None:
        """Multiply-adds for the codes of one sample, of `shape`: (L, S, C) or (T, C).

        What the samples of a batch cost one another is left out. None, which is what an objective
        says that does not know, lets its cost be counted.
        """
        return None


def empty_labels(
    objective: Objective, shape: tuple[int, ...], frames: int | None = None
) -> Tensor | None:
    """Labels that an objective could be given with codes of `shape`, all 0; None if it needs none.

    Args:
        objective: the objective.
        shape: the shape of its codes, (B, …).
        frames: frames of 10 ms in a crop; None for as many as there are codes in a row.
    """
    if objective.label_kind is None:
        return None
    per_sample = objective.label_kind == "sample"
    return torch.zeros(
        shape[:1] if per_sample else (shape[0], frames or shape[1]), dtype=torch.int64
    )


def objective_multiply_adds(
    objective: Objective, shape: Shape, context_channels: int, *, frames: int | None = None
) -> int:
    """Multiply-adds of an objective for the codes of one sample: as it says, or else counted.

    Args:
        objective: the objective, on the "meta" device where its cost has to be counted.
        shape: the shape of one sample's codes.
        context_channels: channels of its contexts, which lie as the codes do.
        frames: as `empty_labels`.
    """
    known = objective.multiply_adds(shape)
    if known is not None:
        return known

    def judge(z: Tensor) -> Result:
        c = z if context_channels == z.shape[-1] else z.new_empty(*z.shape[:-1], context_channels)
        draws = objective.draw(z.shape, torch.Generator())
        return objective(z, c, draws, empty_labels(objective, z.shape, frames))

    # Two samples, for a loss may compare them, or take statistics over them.
    return -(-counted_multiply_adds(judge, (2, *shape)) // 2)
