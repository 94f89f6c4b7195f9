"""Features on disk: a Zarr v3 store, its writer, its reader.

    format     what a store looks like, down to the byte
    parse      the same, read back from its metadata
    encodings  values as they are stored, and what that loses
    windows    which bytes of which chunks make up a window
    shards     one shard file: index and checksums
    store      all files of a store: metadata, small arrays, `verify`
    writer     rows ─► whole shards
    reader     windows ─► the caller's tensor

Chunk: the smallest unit a reader can fetch. Shard: a file of many chunks.
"""

from gimstage.cache.encodings import (
    Affine,
    Fidelity,
    calibrate,
    check_values,
    decode,
    encode,
    encode_into,
    fidelity,
)
from gimstage.cache.format import (
    ArrayLayout,
    Encoding,
    SmallLayout,
    StoreLayout,
    pick_shard_rows,
    torch_dtype,
)
from gimstage.cache.reader import FeatureReader
from gimstage.cache.store import verify
from gimstage.cache.writer import FeatureWriter

__all__ = [
    "Affine",
    "ArrayLayout",
    "Encoding",
    "FeatureReader",
    "FeatureWriter",
    "Fidelity",
    "SmallLayout",
    "StoreLayout",
    "calibrate",
    "check_values",
    "decode",
    "encode",
    "encode_into",
    "fidelity",
    "pick_shard_rows",
    "torch_dtype",
    "verify",
]
