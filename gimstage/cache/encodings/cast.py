"""Values cast to a float type: `float16`, the same compressed, and `float32`."""

from typing import ClassVar

import numcodecs
import torch
from torch import Tensor

from gimstage.cache.encodings.base import Affine, Compression, Encoding


class Cast(Encoding):
    """Stores values as its dtype holds them."""

    casts: ClassVar[bool] = True

    def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
        """Values of the dtype, rounded to nearest."""
        return values.to(self.dtype)

    def decode(self, raw: Tensor, affine: Affine | None = None) -> Tensor:
        """The stored values as float32, without loss."""
        return raw.to(torch.float32)


ZSTD = Compression("zstd", {"level": 1, "checksum": False}, lambda: numcodecs.Zstd(level=1))

FLOAT16 = Cast(name="float16", dtype=torch.float16, limit=65504.0)
FLOAT16_ZSTD = Cast(name="float16_zstd", dtype=torch.float16, limit=65504.0, compression=ZSTD)
FLOAT32 = Cast(name="float32", dtype=torch.float32, limit=torch.finfo(torch.float32).max)
