"""Values cast to float16 and rounded to 5 of its 10 mantissa bits, which makes them compress."""

import numcodecs
import torch
from torch import Tensor

from gimstage.cache.encodings.base import Affine, Compression, Encoding

# Blosc's own threads would fight the loader's; without them its output is also always the same.
numcodecs.blosc.use_threads = False

_DROPPED_BITS = 5


class Round5(Encoding):
    """Stores float16 whose last mantissa bits are zeros."""

    def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
        """Values rounded to nearest, ties to even, in the integer view of float16.

        Sign and magnitude are apart in a float, so adding to the integer rounds the magnitude; a
        carry out of the mantissa raises the exponent, as it should.
        """
        bits = values.to(torch.float16).view(torch.int16)
        odd = (bits >> _DROPPED_BITS) & 1
        half = (1 << (_DROPPED_BITS - 1)) - 1
        rounded: Tensor = (bits + odd + half) & -(1 << _DROPPED_BITS)
        return rounded.view(torch.float16)

    def decode(self, raw: Tensor, affine: Affine | None = None) -> Tensor:
        """The stored values as float32, without loss."""
        return raw.to(torch.float32)


ROUND5 = Round5(
    name="round5",
    dtype=torch.float16,
    limit=64512.0,  # the largest with 5 mantissa bits; rounding may carry past it to infinity
    compression=Compression(
        "blosc",
        dict(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle", blocksize=0),
        lambda: numcodecs.Blosc(cname="lz4", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE),
    ),
)
