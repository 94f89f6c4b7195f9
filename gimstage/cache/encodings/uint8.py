"""One of 256 steps between the least and the largest value of each channel."""

import torch
from torch import Tensor

from gimstage.cache.encodings.base import Affine, Encoding


class UInt8(Encoding):
    """Stores the number of the step; value = q · scale + offset, by channel."""

    def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
        """The nearest steps; values outside the ranges are clipped, and `fidelity` counts them."""
        return self.needed(affine).steps_of(values).clamp_(0, 255).to(torch.uint8)

    def decode(self, raw: Tensor, affine: Affine | None = None) -> Tensor:
        """The values of the steps, float32."""
        scale, offset = self.needed(affine).along(raw)
        return raw.to(torch.float32).mul_(scale).add_(offset)


UINT8 = UInt8(
    name="uint8",
    dtype=torch.uint8,
    limit=torch.finfo(torch.float32).max,  # clipped, and the clipping reported
    steps=255,
)
