"""What every encoder module offers to those who train, freeze and plan it.

An encoder is one class in one file. What others must know of it stands on the class: its kind and
algorithm version, what it reads, what codes it has for a loss. Its constructor's keyword arguments
are the keys of its TOML table, their annotations the types and ranges of those.

This file imports nothing of gimstage but `bounds`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from gimstage.sizes.bounds import Positive as Positive  # where classes outside look for it

Shape = tuple[int, ...]
Reads = Literal["patch", "sequence", "grid", "map"]
CodeLayout = Literal["positions", "local and global", "map", "none"]

_AXES: dict[Reads, int] = {"patch": 3, "sequence": 2, "grid": 5, "map": 3}


class Outputs(NamedTuple):
    """What a module makes of its input: features to hand on, codes and contexts for its loss."""

    features: Tensor
    codes: Tensor
    contexts: Tensor


class EncoderModule(nn.Module, ABC):
    """The network part of one stage; no gradient enters or leaves it but through its own loss.

    `class Mine(EncoderModule, kind="mine")` registers a class under a kind that recipes can name.

    Attributes:
        kinds: every registered class by its kind.
        kind: what a recipe calls it.
        algorithm: raised whenever the same table gives other numbers than before, so that old
            results turn stale; part of every fingerprint.
        code_layout: what codes it has for a loss: one at every position; local and global ones of a
            grid; one at every place of an image's map; or none of its own, where it only hands on
            what the module before made.
        reads: what one unit of its input is; units are encoded alone, and their axes are the last
            ones. A "patch" is (C, y, x), a "sequence" (T, C), a "grid" of patches (G, G, C, y, x),
            a "map" of a whole image (y, x, C).
        in_channels: channels of its input.
        out_channels: channels of its features.
        code_channels: channels of the codes its objective predicts.
        reads_through_relu: whether negative inputs are without effect, so that ReLU of them may be
            stored and handed on in their place.
        recurrent: whether a position of its output depends on all before it.
        rectified: whether its features are never negative, so that ReLU leaves them as they are.
        uses_batch_statistics: whether units meet after all, as in batch normalisation; then a batch
            cannot be cut into micro-batches.
        uses_dropout: whether training passes draw from torch's global generator.
        checkpointing: whether blocks are computed again in backward instead of kept; the gradient
            is the same.
        checkpoints: how many blocks there are to do that with.
    """

    kinds: ClassVar[dict[str, "type[EncoderModule]"]] = {}
    kind: ClassVar[str]
    algorithm: ClassVar[int]
    code_layout: ClassVar[CodeLayout] = "positions"
    reads: ClassVar[Reads]

    in_channels: int
    out_channels: int
    code_channels: int
    recurrent: bool = False
    reads_through_relu: bool = False
    rectified: bool = False
    uses_batch_statistics: bool = False
    uses_dropout: bool = False
    checkpointing: bool = False
    checkpoints: int = 0

    def __init_subclass__(cls, kind: str | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if kind is not None:
            cls.kind = register(cls.kinds, kind, cls)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The features of an input."""

    def __call__(self, x: Tensor) -> Tensor:
        """Run `forward`; says its type, which nn.Module does not."""
        features: Tensor = super().__call__(x)
        return features

    @abstractmethod
    def pool(self, features: Tensor) -> Tensor:
        """The codes of features, one per position."""

    def unpadded(self, x: Tensor) -> Tensor:
        """The features of an input that holds all they depend on, so that nothing is padded.

        Those of the input itself, but for a stretch of a sequence, or a part of a map, together
        with its neighbours.
        """
        return self(x)

    @property
    def unit_axes(self) -> int:
        """How many axes one unit of its input has."""
        return _AXES[self.reads]

    @property
    def parts(self) -> "tuple[EncoderModule, ...]":
        """The modules it consists of, in a row: itself, or those that were joined to one."""
        return (self,)

    def outputs(self, x: Tensor) -> Outputs:
        """The features, and what its objective reads: codes z to predict, contexts c to do it from.

        Codes and contexts are one and the same tensor but where the module makes contexts of codes.
        """
        features = self(x)
        codes = self.pool(features)
        return Outputs(features, codes, codes)

    def codes_and_contexts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The codes and the contexts alone; nothing holds the features any more."""
        _, codes, contexts = self.outputs(x)
        return codes, contexts

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one unit's features, for one unit's input."""

    @property
    def context_channels(self) -> int:
        """Channels of the contexts its objective predicts from."""
        return self.out_channels

    def code_shape(self, shape: Shape) -> Shape:
        """The shape of one unit's codes, for one unit's input: (C',) for a patch."""
        return (self.code_channels,)

    def multiply_adds(self, shape: Shape) -> int | None:
        """Multiply-adds of a forward pass over one unit, biases left out.

        None, which is what a module says that does not know, lets `counted_multiply_adds` tell.
        """
        return None


P = TypeVar("P")

# What an objective may put between codes and itself, to make contexts of them; by kind.
CONTEXTS: dict[str, Any] = {}


def context_module(kind: str) -> Callable[[type[P]], type[P]]:
    """Registers a class as a context module, which `[objective.context]` may name by its kind."""

    def enter(context: type[P]) -> type[P]:
        register(CONTEXTS, kind, context)
        return context

    return enter


def register(kinds: dict[str, Any], kind: str, part: type[Any]) -> str:
    """Enter a class under its kind; the kind.

    Raises:
        ValueError: another class has that kind.
    """
    taken = kinds.get(kind, part)
    names = [f"{one.__module__}.{one.__qualname__}" for one in (taken, part)]
    if names[0] != names[1]:
        raise ValueError(f"kind {kind!r} of {names[1]}; expected one that {names[0]} has not")
    kinds[kind] = part
    return kind


def multiply_adds(module: EncoderModule, shape: Shape) -> int:
    """Multiply-adds of a module's forward pass over one unit: as it says, or else counted."""
    known = module.multiply_adds(shape)
    return counted_multiply_adds(module.outputs, (1, *shape)) if known is None else known


def counted_multiply_adds(run: Callable[[Tensor], Any], shape: Shape) -> int:
    """Multiply-adds that torch counts in a pass over an input of `shape`, without its numbers.

    At least one for every value of the input: what torch does not count is not free.

    Args:
        run: the pass; its weights lie on the "meta" device.
        shape: the shape of the input, with an axis for the batch.
    """
    # Imported here alone: it brings the Triton compiler along, 50 MB that few runs need.
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run(torch.empty(shape, device="meta"))
    return max(int(counter.get_total_flops()) // 2, math.prod(shape))
