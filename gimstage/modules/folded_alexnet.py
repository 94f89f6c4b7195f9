"""The encoder of Deep InfoMax: a small AlexNet on every patch, folded to a grid, then two more.

Five convolutions take a 16-pixel patch to one vector, the local code of its place; two more over
the grid of local codes make the global codes, each of which sees 3×3 places (Hjelm et al. 2019).
All are trained together from one loss. Every convolution goes without bias into batch normalisation
and ReLU, max-pooling last; so while training, a patch's code depends on the whole batch.

Shape letters: B batch, G patches per side of the grid, C channels, y x pixels of a patch.
This file imports nothing of gimstage but the base of modules.
"""

import math
from typing import Annotated

from annotated_types import MaxLen, MinLen
from torch import Tensor, nn

from gimstage.modules.base import EncoderModule, Outputs, Shape
from gimstage.sizes.bounds import Positive

# Which of the five convolutions on a patch end in max-pooling; 16 pixels become 7, 3, 1.
_POOLED = (True, True, False, False, True)
_WINDOW, _STEP = 3, 2


class FoldedAlexNet(EncoderModule, kind="folded_alexnet"):
    """Local codes of a patch grid, and global codes of their 3×3 neighbourhoods.

    A unit is a whole grid, as the global codes span places. What is handed on are the local codes,
    in the layout of a grid of patches.

    Args:
        in_channels: channels of the patches.
        widths: channels after each of the five convolutions on a patch; the last are those of the
            local codes.
        global_channels: channels of both convolutions on the grid.
    """

    reads = "grid"
    algorithm = 1
    code_layout = "local and global"
    rectified = True  # a maximum over ReLU
    uses_batch_statistics = True

    def __init__(
        self,
        *,
        in_channels: int,
        widths: Annotated[list[Positive], MinLen(5), MaxLen(5)],
        global_channels: Positive,
    ) -> None:
        super().__init__()
        if len(widths) != len(_POOLED):
            raise ValueError(f"{len(widths)} widths; expected {len(_POOLED)}")
        self.in_channels = in_channels
        self.out_channels = self.code_channels = widths[-1]
        self.global_channels = global_channels
        parts, channels = [], in_channels
        for width, pooled in zip(widths, _POOLED, strict=True):
            parts += _normalised(channels, width, kernel=3, padding=1)
            parts += [nn.MaxPool2d(_WINDOW, _STEP)] if pooled else []
            channels = width
        self.patches = nn.Sequential(*parts)
        self.grid = nn.Sequential(
            *_normalised(channels, global_channels, kernel=3, padding=0),
            *_normalised(global_channels, global_channels, kernel=1, padding=0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The features (…, G, G, C', y', x') of grids of patches (…, G, G, C, y, x).

        y' and x' are 1 for patches of 15 to 22 pixels.
        """
        features: Tensor = self.patches(x.flatten(0, -4)).unflatten(0, x.shape[:-3])
        return features

    def pool(self, features: Tensor) -> Tensor:
        """The local code of every patch, (…, G, G, C'): the mean of its features."""
        return features.mean((-2, -1))

    def outputs(self, x: Tensor) -> Outputs:
        """Local codes (B, G, G, C'), and global codes (B, G − 2, G − 2, C'') as contexts."""
        features = self(x)
        codes = self.pool(features)
        contexts: Tensor = self.grid(codes.permute(0, 3, 1, 2))
        return Outputs(features, codes, contexts.permute(0, 2, 3, 1))

    @property
    def context_channels(self) -> int:
        """Channels of the global codes."""
        return self.global_channels

    def code_shape(self, shape: Shape) -> Shape:
        """The shape (G, G, C') of the local codes of one grid (G, G, C, y, x)."""
        return (*shape[:2], self.code_channels)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (G, G, C', y', x') of the features of one grid (G, G, C, y, x)."""
        return (*shape[:2], self.out_channels, *self._trace(shape)[0])

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of local and global codes of one grid (G, G, C, y, x)."""
        on_grid = math.prod(side - 2 for side in shape[:2])
        return math.prod(shape[:2]) * self._trace(shape)[1] + on_grid * sum(
            part.weight.numel() for part in self.grid if isinstance(part, nn.Conv2d)
        )

    def _trace(self, shape: Shape) -> tuple[Shape, int]:
        """The size (y', x') that one patch comes down to, and its multiply-adds."""
        if shape[2] != self.in_channels:
            raise ValueError(f"patches of {shape[2]} channels; expected {self.in_channels}")
        size, work = shape[3:], 0
        for part in self.patches:
            if isinstance(part, nn.Conv2d):
                work += math.prod(size) * part.weight.numel()
            elif isinstance(part, nn.MaxPool2d):
                size = tuple((side - _WINDOW) // _STEP + 1 for side in size)
        return size, work


def _normalised(in_channels: int, channels: int, *, kernel: int, padding: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, kernel, padding=padding, bias=False)
    # In place is exact here: the gradient of normalisation needs its input, not its output.
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
