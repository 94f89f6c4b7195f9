"""One hidden layer of VGG8B, the network that Predsim trains layer by layer.

    x ─► convolution ─► batch norm ─► leaky ReLU ─► h ─► dropout ─► max-pool ─► handed on
                                                    └─► its own loss

The published net for 96-pixel RGB images has seven: a 7×7 convolution of stride 2,
five of 3×3, and one linear layer, with max-pooling behind the 2nd, 4th, 5th and 6th. A linear layer
over a flattened map is a convolution whose kernel covers the map, so it needs no class of its own.

Max-pooling stands between two layers: the loss reads h before it. That the inputs of the auxiliary
classifiers are 1152, 1536, 1536, 2048, 2048 and 2048 wide would hold behind it as well.

Shape letters: B batch, C channels, y x map; a prime marks what comes out.
This file imports nothing of gimstage but the base of modules.
"""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from gimstage.modules.base import (
    EncoderModule,
    Outputs,
    Shape,
)
from gimstage.sizes.bounds import DropoutShare, Kernel, Padding, Positive

_SLOPE = 0.01  # of leaky ReLU below zero


class VGGLayer(EncoderModule, kind="vgg_layer"):
    """A convolution, batch normalisation, leaky ReLU; what is handed on may be thinned out.

    A unit is a whole image or its map. Its codes are h, one per position: before dropout and
    max-pooling, which only those who read its features see.

    Args:
        in_channels: channels read.
        channels: channels that come out.
        kernel: side of the kernel; that of the map, without padding, for a linear layer.
        stride: the stride of the convolution.
        padding: rows and columns of zeros at each side.
        max_pool: whether to hand on the maxima of 2×2 positions.
        dropout: share of whole channels set to zero in what is handed on while training. It draws
            from torch's global generator.
    """

    reads = "patch"
    algorithm = 1
    code_layout = "map"
    uses_batch_statistics = True

    def __init__(
        self,
        *,
        in_channels: int,
        channels: Positive,
        kernel: Kernel,
        stride: Kernel,
        padding: Padding,
        max_pool: bool,
        dropout: DropoutShare,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = self.code_channels = channels
        self.max_pool, self.dropout = max_pool, dropout
        self.uses_dropout = dropout > 0
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """What is handed on, (…, C', y', x'), for maps (…, C, y, x)."""
        return self.hand_on(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        """The layer's own output h, (…, C', y, x), that its loss reads."""
        y = self.norm(self.conv(x.flatten(0, -4)))
        # In place is exact here: the gradient of normalisation needs its input, not its output.
        h: Tensor = F.leaky_relu(y, _SLOPE, inplace=True).unflatten(0, x.shape[:-3])
        return h

    def hand_on(self, h: Tensor) -> Tensor:
        """The features made of h, (…, C', y', x')."""
        y = h.flatten(0, -4)
        # Whole channels are dropped, so that doing it behind max-pooling is the same, and cheaper.
        y = F.max_pool2d(y, 2) if self.max_pool else y
        thinned = F.dropout2d(y, self.dropout, self.training)
        features: Tensor = thinned.unflatten(0, h.shape[:-3])
        return features

    def pool(self, features: Tensor) -> Tensor:
        """The code of every image, (…, C'): the spatial mean of its features (…, C', y', x')."""
        return features.mean((-2, -1))

    def outputs(self, x: Tensor) -> Outputs:
        """Features, and h as codes and contexts (…, y, x, C'), one and the same tensor."""
        h = self.hidden(x)
        codes = h.movedim(-3, -1)
        return Outputs(self.hand_on(h), codes, codes)

    def code_shape(self, shape: Shape) -> Shape:
        """The shape (y', x', C') of h, the code of every place of one image (C, y, x)."""
        return (*self.hidden_size(shape), self.code_channels)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (C', y', x') of the features of one image (C, y, x)."""
        y, x = self.hidden_size(shape)
        return (self.out_channels, y // 2, x // 2) if self.max_pool else (self.out_channels, y, x)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of one image (C, y, x), biases and normalisation left out."""
        y, x = self.hidden_size(shape)
        return y * x * self.conv.weight.numel()

    def hidden_size(self, shape: Shape) -> tuple[int, int]:
        """The rows and columns of the hidden layer h."""
        if shape[0] != self.in_channels:
            raise ValueError(f"image of {shape[0]} channels; expected {self.in_channels}")
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        padding: int = self.conv.padding[0]  # type: ignore[assignment]  # never a word here
        y, x = ((side + 2 * padding - kernel) // stride + 1 for side in shape[1:])
        return y, x
