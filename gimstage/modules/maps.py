"""Modules on whole maps: strided convolutions over images, the 2-D twin of the audio encoder.

A map is (…, y, x, C): rows from the top, columns from the left, C channels at every position. Seen
so it lies in memory as it is stored and as a loss reads it, (B, L, S, C), and no tensor is moved.

A square of a module's output depends on a square of its input: `reach` names it and `unpadded`
computes from it alone. So any part of a large image can be encoded by itself, exactly: positions
outside the image count as the zeros that padding would have put there.

Shape letters: B batch, y x positions of a map, C channels; a prime marks what comes out.
This file imports nothing of gimstage but the base of modules.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from gimstage.modules.base import EncoderModule, Outputs, Shape, context_module
from gimstage.sizes.bounds import Kernel, Padding, Positive


class MapReach(NamedTuple):
    """A square of `size` positions a side, from row `y` and column `x`; partly outside maybe."""

    y: int
    x: int
    size: int


class MapModule(EncoderModule, ABC):
    """A module on maps (…, y, x, C); its features are its codes, one per position.

    Attributes:
        stride: input positions per output position, along both axes.
    """

    reads = "map"
    stride: int

    @abstractmethod
    def side(self, positions: int) -> int:
        """How many positions a side come out for a whole map of `positions` a side."""

    @abstractmethod
    def reach(self, size: int) -> MapReach:
        """The square of input that decides the first `size` × `size` positions of the output.

        The one that decides a square from another position on lies `stride` further for each.
        """

    @abstractmethod
    def unpadded(self, x: Tensor) -> Tensor:
        """The output whose reach is exactly x (B, y, x, C); nothing is padded."""

    def pool(self, features: Tensor) -> Tensor:
        """The features (…, y, x, C) themselves."""
        return features

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (y', x', C') of the features of a map (y, x, C)."""
        return self.side(shape[0]), self.side(shape[1]), self.out_channels

    def code_shape(self, shape: Shape) -> Shape:
        """The shape (y', x', C of codes) of the codes of a map (y, x, C)."""
        return self.side(shape[0]), self.side(shape[1]), self.code_channels


class Conv2dModule(MapModule, kind="conv2d"):
    """A strided convolution over whole maps, then ReLU.

    Args:
        in_channels: channels read.
        channels: channels that come out.
        kernel: positions a side that one output position sees.
        stride: input positions per output position.
        padding: positions of zeros at each edge of a whole map.
    """

    algorithm = 1
    rectified = True

    def __init__(
        self,
        *,
        in_channels: int,
        channels: Positive,
        kernel: Kernel,
        stride: Kernel,
        padding: Padding,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = self.code_channels = channels
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding)

    def side(self, positions: int) -> int:
        """How many positions a side come out for a whole map of `positions` a side."""
        return (positions + 2 * self.padding - self.kernel) // self.stride + 1

    def reach(self, size: int) -> MapReach:
        """The positions under the kernel, those in the padding included."""
        return MapReach(-self.padding, -self.padding, (size - 1) * self.stride + self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        """The features (…, y', x', C') of whole maps (…, y, x, C), zeros around them."""
        return self._convolved(x, self.padding)

    def unpadded(self, x: Tensor) -> Tensor:
        """The features (…, y', x', C') whose reach is exactly x."""
        return self._convolved(x, 0)

    def _convolved(self, x: Tensor, padding: int) -> Tensor:
        planes = _channels_first(x)
        made = F.conv2d(planes, self.conv.weight, self.conv.bias, self.stride, padding)
        return _channels_last(made.relu_(), x)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a whole map (y, x, C), biases left out."""
        return self.side(shape[0]) * self.side(shape[1]) * self.conv.weight.numel()


@context_module("masked_conv2d")
class MaskedConv2dModule(MapModule, kind="masked_conv2d"):
    """Contexts of a map of codes, from the rows above and the row itself, never from below.

    What a GRU is on sequences: the codes it predicts are those it reads, and what it hands on are
    the contexts. One convolution looks up, ReLU and a linear map of every position follow, so what
    a position depends on is bounded and any part of a large map has exact contexts.

    Args:
        in_channels: channels of the codes.
        channels: channels of the contexts.
        kernel: rows that a context sees, its own the lowest, and columns, its own in the middle.

    Raises:
        ValueError: the kernel is even, so that no column is in the middle.
    """

    algorithm = 1
    stride = 1

    def __init__(self, *, in_channels: int, channels: Positive, kernel: Kernel) -> None:
        super().__init__()
        self.check_keys(kernel=kernel)
        # The codes it predicts are those it reads.
        self.in_channels = self.code_channels = in_channels
        self.out_channels, self.kernel = channels, kernel
        self.conv = nn.Conv2d(in_channels, channels, kernel)
        self.out = nn.Conv2d(channels, channels, 1)

    @classmethod
    def check_keys(cls, *, kernel: int, **_: int) -> None:
        """Refuse kernels without a column in the middle.

        Raises:
            ValueError: says what there is; expected what there should be.
        """
        if kernel % 2 == 0:
            raise ValueError(f"kernel = {kernel}; expected an odd number")

    def side(self, positions: int) -> int:
        """The number of positions that come in; as many go out."""
        return positions

    def reach(self, size: int) -> MapReach:
        """The rows above, and columns on both sides."""
        return MapReach(1 - self.kernel, -(self.kernel // 2), size + self.kernel - 1)

    def outputs(self, x: Tensor) -> Outputs:
        """Its input as codes, its output as features and contexts."""
        contexts = self(x)
        return Outputs(contexts, x, contexts)

    def forward(self, x: Tensor) -> Tensor:
        """The contexts (…, y, x, C') of whole maps of codes (…, y, x, C)."""
        beside = self.kernel // 2
        return self.unpadded(F.pad(x, (0, 0, beside, beside, self.kernel - 1, 0)))

    def unpadded(self, x: Tensor) -> Tensor:
        """The contexts (…, y', x', C') whose reach is exactly x."""
        return _channels_last(self.out(self.conv(_channels_first(x)).relu_()), x)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a whole map (y, x, C), biases left out."""
        return shape[0] * shape[1] * (self.conv.weight.numel() + self.out.weight.numel())


def _channels_first(maps: Tensor) -> Tensor:
    """Maps (…, y, x, C) as torch's convolutions read them, (n, C, y, x); nothing is copied."""
    return maps.flatten(0, -4).permute(0, 3, 1, 2)


def _channels_last(planes: Tensor, like: Tensor) -> Tensor:
    """What a convolution made, (n, C', y', x'), as maps (…, y', x', C') in the batch of `like`."""
    maps: Tensor = planes.permute(0, 2, 3, 1).unflatten(0, like.shape[:-3])
    return maps
