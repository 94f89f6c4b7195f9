"""What every encoder module offers to those who train, freeze and plan it.

This file imports nothing of gimstage.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

Shape = tuple[int, int, int]


class EncoderModule(nn.Module, ABC):
    """The network part of one stage; no gradient enters or leaves it but through its own loss.

    Attributes:
        in_channels: channels of its input.
        out_channels: channels of its features and codes.
    """

    in_channels: int
    out_channels: int

    @property
    @abstractmethod
    def reads_through_relu(self) -> bool:
        """Whether negative inputs are without effect, so that ReLU of them may be stored."""

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

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one position's features, for one position's input."""

    @abstractmethod
    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a forward pass over one position, biases left out."""
