"""The module that changes nothing, so that a loss may read what the module before hands on.

A network's output layer is a linear classifier on its last hidden layer. Where modules are trained
side by side, each on its own loss, that classifier is the loss of a module without weights.

This file imports nothing of gimstage but the base of modules.
"""

from torch import Tensor

from gimstage.modules.base import EncoderModule, Shape


class Identity(EncoderModule, kind="identity"):
    """Features as they come in, of patches or whole images (C, y, x).

    Args:
        in_channels: C.
    """

    reads = "patch"
    algorithm = 1
    code_layout = "none"

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        self.in_channels = self.out_channels = self.code_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """The input itself, unchanged."""
        return x

    def pool(self, features: Tensor) -> Tensor:
        """The code of every patch, (…, C): the spatial mean of its features (…, C, y, x)."""
        return features.mean((-2, -1))

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the input, (C, y, x)."""
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        """It computes nothing, so 0."""
        return 0
