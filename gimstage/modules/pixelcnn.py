"""The context module of CPC on images: gated convolutions that look up the grid, never down.

A vertical and a horizontal stream both start as the codes. The vertical one gathers what lies at or
above a position, the horizontal one what lies beside it, and takes from the vertical one on the
way. Context row r depends on code rows 0 … r over all columns: legitimate where the first target
lies below row r (after van den Oord et al. 2016).

Shape letters: B batch, L rows of the patch grid, S its columns, C channels.
This file imports nothing of gimstage but the base of modules.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from gimstage.modules.base import (
    EncoderModule,
    Outputs,
    Reads,
    Shape,
    context_module,
)
from gimstage.sizes.bounds import Blocks


@context_module("pixelcnn")
class PixelCNN(nn.Module):
    """Contexts of a grid of codes, one per position, from the rows down to its own.

    The original stores a 3×3 vertical kernel and sets its bottom row to zero at every pass. Here
    that row does not exist: two rows are convolved with the grid and the row above it. Nor does the
    1×1 convolution which the original adds to the last vertical stream, that nobody reads: it never
    learns. Of its 127,961,088 weights for 4 layers of 1,024 channels that leaves 100,696,064; both
    counts without the last 1×1 convolution.

    Args:
        in_channels: C, of the codes and of the contexts.
        layers: gated layers, at least 1.
    """

    algorithm: ClassVar[int] = 1
    reads: ClassVar[Reads] = "grid"

    def __init__(self, in_channels: int, layers: Blocks) -> None:
        super().__init__()
        self.in_channels = self.out_channels = channels = in_channels
        self.layers = nn.ModuleList(
            _GatedLayer(channels, first=number == 0, last=number == layers - 1)
            for number in range(layers)
        )
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, codes: Tensor) -> Tensor:
        """The contexts (B, L, S, C) of codes (B, L, S, C)."""
        vertical = horizontal = codes.permute(0, 3, 1, 2)
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        contexts: Tensor = self.out(horizontal)
        return contexts.permute(0, 2, 3, 1)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a forward pass over one grid (L, S, C), biases left out."""
        rows, columns, channels = shape
        if channels != self.out_channels:
            raise ValueError(f"codes of {channels} channels; expected {self.out_channels}")
        # Every kernel is applied once at every position.
        return rows * columns * sum(w.numel() for w in self.parameters() if w.ndim == 4)


class PixelCNNModule(EncoderModule, kind="pixelcnn"):
    """A PixelCNN over the codes of the module before: contexts for predicting those codes.

    What a GRU is on speech: the codes it predicts are those it reads, and no gradient leaves it. A
    unit is a whole grid of patches.

    Args:
        in_channels: C, of the patches' features, and so of codes and contexts.
        layers: gated layers, at least 1.
    """

    reads = "grid"
    algorithm = PixelCNN.algorithm

    def __init__(self, *, in_channels: int, layers: Blocks) -> None:
        super().__init__()
        self.in_channels = self.out_channels = self.code_channels = in_channels
        self.net = PixelCNN(in_channels, layers)

    def forward(self, x: Tensor) -> Tensor:
        """The contexts (…, G, G, C, 1, 1) of grids of features (…, G, G, C, y, x)."""
        codes = self.pool(x)
        contexts: Tensor = self.net(codes.flatten(0, -4)).view(codes.shape)
        return contexts[..., None, None]

    def pool(self, features: Tensor) -> Tensor:
        """The mean of every patch's features, (…, G, G, C)."""
        return features.mean((-2, -1))

    def outputs(self, x: Tensor) -> Outputs:
        """The mean features of every patch as codes, the PixelCNN's output as contexts."""
        contexts = self(x)
        return Outputs(contexts, self.pool(x), contexts[..., 0, 0])

    def code_shape(self, shape: Shape) -> Shape:
        """The shape (G, G, C) of the codes of a grid (G, G, C, y, x)."""
        return shape[:3]

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (G, G, C, 1, 1) of the contexts of a grid (G, G, C, y, x)."""
        return (*shape[:3], 1, 1)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a forward pass over one grid (G, G, C, y, x), biases left out."""
        return self.net.multiply_adds(shape[:3])


class _GatedLayer(nn.Module):
    """One step of both streams, (B, C, L, S) each.

    Args:
        channels: C.
        first: whether it reads the codes, and so adds nothing of them to what it makes.
        last: whether its vertical stream ends here.
    """

    def __init__(self, channels: int, *, first: bool, last: bool) -> None:
        super().__init__()
        self.first, wide = first, 2 * channels
        self.vertical = nn.Conv2d(channels, wide, (2, 3), padding=(0, 1))
        self.across = nn.Conv2d(wide, wide, 1)
        self.horizontal = nn.Conv2d(channels, wide, (1, 3), padding=(0, 1))
        self.residual = None if first or last else nn.Conv2d(channels, wide, 1)
        self.output = nn.Conv2d(channels, channels, 1)
        # The original initialises three rows before it masks one.
        bound = 1 / math.sqrt(9 * channels)
        for weight in self.vertical.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams after this layer."""
        above = self.vertical(F.pad(vertical, (0, 0, 1, 0)))
        beside = self.output(_gated(self.horizontal(horizontal) + self.across(above)))
        if self.residual is not None:
            above = above + self.residual(vertical)
        return _gated(above), beside if self.first else horizontal + beside


def _gated(x: Tensor) -> Tensor:
    """Half of the channels: tanh of the first half times sigmoid of the last."""
    signal, gate = x.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(gate)
