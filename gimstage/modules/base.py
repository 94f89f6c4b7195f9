"""What every encoder module offers to those who train, freeze and plan it.

This file imports nothing of gimstage.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

Shape = tuple[int, ...]
Reads = Literal["patch", "sequence", "grid"]

_AXES: dict[Reads, int] = {"patch": 3, "sequence": 2, "grid": 5}


class Outputs(NamedTuple):
    """What a module makes of its input: features to hand on, codes and contexts for its loss."""

    features: Tensor
    codes: Tensor
    contexts: Tensor


class EncoderModule(nn.Module, ABC):
    """The network part of one stage; no gradient enters or leaves it but through its own loss.

    Attributes:
        reads: what one unit of its input is; units are encoded alone, and their axes are the last
            ones. A "patch" is (C, y, x), a "sequence" (T, C), a "grid" of patches (G, G, C, y, x).
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

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The features of an input."""

    def __call__(self, x: Tensor) -> Tensor:
        """As `forward`; says its type, which nn.Module does not."""
        features: Tensor = super().__call__(x)
        return features

    @abstractmethod
    def pool(self, features: Tensor) -> Tensor:
        """The codes of features, one per position."""

    def unpadded(self, x: Tensor) -> Tensor:
        """The features of an input that holds all they depend on, so that nothing is padded.

        Those of the input itself, but for a stretch of a sequence together with its neighbours.
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

    @abstractmethod
    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a forward pass over one unit, biases left out."""
