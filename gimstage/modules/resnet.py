"""One gradient-isolated module of the vision encoder: pre-activation residual blocks, no norm.

The encoder of Greedy InfoMax on images is a ResNet-50 (or -34) v2 cut after its third group of
blocks, without normalisation, max-pooling or a last ReLU. Each module is a run of blocks of one
width; the first also has a stem. Patches are encoded alone: every leading axis is a batch axis.

Shape letters: C channels, y x map inside a patch; a prime marks what comes out.
This file imports nothing of gimstage but the base of modules.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gimstage.modules.base import EncoderModule, Shape
from gimstage.sizes.bounds import Blocks, Positive


class _PreActivationBlock(nn.Module, ABC):
    """A residual block: each convolution reads through ReLU, and the sum is left raw.

    Args:
        in_channels: channels read.
        out_channels: channels of the sum.
        stride: the stride of the block as a whole.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        needs_projection = stride != 1 or in_channels != out_channels
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride) if needs_projection else None
        )

    @property
    @abstractmethod
    def convs(self) -> Sequence[nn.Conv2d]:
        """The convolutions of the residual path, in order."""

    def forward(self, x: Tensor) -> Tensor:
        """The raw output, (patches, C', y', x'), for the raw input (patches, C, y, x)."""
        # Not in place: x may belong to the caller, and an identity shortcut adds it raw.
        active = F.relu(x)
        first, *others = self.convs
        y = first(active)
        for conv in others:
            # In place is exact here: a convolution's gradient does not need its own output.
            y = conv(F.relu(y, inplace=True))
        around = x if self.shortcut is None else self.shortcut(active)
        result: Tensor = y.add_(around)
        return result


class BottleneckBlock(_PreActivationBlock):
    """The block of ResNet-50: 1×1, 3×3 with the stride, 1×1 to four times the width."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__(in_channels, 4 * width, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)

    @property
    def convs(self) -> Sequence[nn.Conv2d]:
        """The convolutions of the residual path, in order."""
        return self.conv1, self.conv2, self.conv3


class BasicBlock(_PreActivationBlock):
    """The block of ResNet-34: 3×3 with the stride, 3×3."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__(in_channels, width, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    @property
    def convs(self) -> Sequence[nn.Conv2d]:
        """The convolutions of the residual path, in order."""
        return self.conv1, self.conv2


_BLOCKS = {"bottleneck": BottleneckBlock, "basic": BasicBlock}


class ResNetModule(EncoderModule, kind="resnet"):
    """A run of pre-activation blocks of one width, after a 5×5 stem where there is one.

    Weights start from torch's own initialisers, as in the original.

    Args:
        in_channels: channels of the input.
        width: channels inside a block; a bottleneck ends in four times as many, a basic in these.
        blocks: how many blocks, at least 1.
        stride: the stride of the first block; the others have 1.
        block: the kind of block.
        stem_channels: channels after the stem; None for no stem.
    """

    reads = "patch"
    algorithm = 1

    def __init__(
        self,
        *,
        in_channels: int,
        width: Positive,
        blocks: Blocks,
        stride: Annotated[int, Ge(1), Le(2)],
        block: Literal["bottleneck", "basic"],
        stem_channels: Positive | None,
    ) -> None:
        super().__init__()
        self.in_channels = channels = in_channels
        self.stem = None
        if stem_channels is not None:
            self.stem = nn.Conv2d(in_channels, stem_channels, 5, padding=2)
            channels = stem_channels
        self.blocks = nn.ModuleList()
        for number in range(blocks):
            made = _BLOCKS[block](channels, width, stride if number == 0 else 1)
            self.blocks.append(made)
            channels = made.out_channels
        self.out_channels = self.code_channels = channels
        self.checkpoints = blocks
        # Every path out of the input starts in ReLU, also the one round the first block.
        self.reads_through_relu = self.stem is None and self._blocks[0].shortcut is not None

    def forward(self, x: Tensor) -> Tensor:
        """The features of every patch, before ReLU.

        Args:
            x: raw features of the module before, or pixels, (…, C, y, x).

        Returns:
            (…, C', y', x') of x's leading axes.
        """
        y = x.flatten(0, -4)
        if self.stem is not None:
            y = self.stem(y)
        for block in self._blocks:
            if self.checkpointing and torch.is_grad_enabled():
                y = checkpoint(block, y, use_reentrant=False, preserve_rng_state=False)
            else:
                y = block(y)
        return y.view(*x.shape[:-3], *y.shape[1:])

    def pool(self, features: Tensor) -> Tensor:
        """The code of every patch, (…, C'): the spatial mean of its features (…, C', y', x')."""
        return features.mean((-2, -1))

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (C', y', x') of a patch's features, for a patch (C, y, x)."""
        return self._trace(shape)[0]

    def multiply_adds(self, shape: Shape) -> int:
        """How many multiply-adds one forward pass of a patch (C, y, x) takes, biases left out."""
        return self._trace(shape)[1]

    @property
    def _blocks(self) -> Sequence[_PreActivationBlock]:
        return tuple(self.blocks)  # type: ignore[arg-type]  # a ModuleList forgets its type

    def _trace(self, shape: Shape) -> tuple[Shape, int]:
        if shape[0] != self.in_channels:
            raise ValueError(f"patch of {shape[0]} channels; expected {self.in_channels}")
        work = 0
        if self.stem is not None:
            shape, work = _conv_cost(self.stem, shape)
        for block in self._blocks:
            if block.shortcut is not None:
                work += _conv_cost(block.shortcut, shape)[1]
            for conv in block.convs:
                shape, more = _conv_cost(conv, shape)
                work += more
        return shape, work


def _conv_cost(conv: nn.Conv2d, shape: Shape) -> tuple[Shape, int]:
    """What comes out of a convolution for `shape`, and its multiply-adds."""
    # All padding here keeps the size at stride 1, so a stride only thins the positions out.
    y, x = (-(-size // step) for size, step in zip(shape[1:], conv.stride, strict=True))
    weights_per_output = conv.weight.numel() // conv.out_channels
    return (conv.out_channels, y, x), conv.out_channels * y * x * weights_per_output
