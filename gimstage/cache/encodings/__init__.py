"""How feature values become stored values and back, and what each encoding loses.

    base      what an encoding is; the ranges of each channel
    cast      float16, float16_zstd, float32: as they are, compressed or not
    round5    float16 with 5 of its 10 mantissa bits, which makes it compress
    uint8     256 steps between each channel's least and largest value
    fidelity  which values an encoding can hold, and what it loses of them

An encoding is one file here and one name below; recipes choose from `ENCODINGS`. One that lives
elsewhere calls `register` itself. Everything works on the device its tensors are on; compression
comes after, on bytes of the CPU. Shape letters: C channels; `…` any axes.
"""

from gimstage.cache.encodings.base import ENCODINGS, Affine, Compression, Encoding, register
from gimstage.cache.encodings.cast import FLOAT16, FLOAT16_ZSTD, FLOAT32
from gimstage.cache.encodings.fidelity import Fidelity, check_values, fidelity
from gimstage.cache.encodings.round5 import ROUND5
from gimstage.cache.encodings.uint8 import UINT8

__all__ = [
    "ALGORITHM",
    "ENCODINGS",
    "Affine",
    "Compression",
    "Encoding",
    "Fidelity",
    "check_values",
    "fidelity",
    "register",
]

# Raised whenever an encoding gives other numbers than before, so that old results turn stale.
ALGORITHM = 1

for _encoding in (FLOAT16, FLOAT16_ZSTD, ROUND5, UINT8, FLOAT32):
    register(_encoding)
