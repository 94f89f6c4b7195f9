"""Features on disk: a Zarr v3 store, its writer, its reader.

    format     what a store looks like, down to the byte
    parse      the same, read back from its metadata
    encodings  values as they are stored, and what that loses
    windows    which bytes of which chunks make up a window
    shards     one shard file: index and checksums
    store      all files of a store: metadata, small arrays, `verify`
    openshards rows ─► whole shards
    writer     whole shards ─► a whole store; what is damaged is set aside
    reader     windows ─► the caller's tensor

Chunk: the smallest unit a reader can fetch. Shard: a file of many chunks.
"""

from gimstage.cache.encodings import (
    ENCODINGS,
    Affine,
    Compression,
    Encoding,
    Fidelity,
    check_values,
    fidelity,
    register,
)
from gimstage.cache.format import ArrayLayout, SmallLayout, StoreLayout, pick_shard_rows
from gimstage.cache.reader import FeatureReader
from gimstage.cache.store import damage_of, verify
from gimstage.cache.writer import FeatureWriter

__all__ = [
    "ENCODINGS",
    "Affine",
    "ArrayLayout",
    "Compression",
    "Encoding",
    "FeatureReader",
    "FeatureWriter",
    "Fidelity",
    "SmallLayout",
    "StoreLayout",
    "check_values",
    "damage_of",
    "fidelity",
    "pick_shard_rows",
    "register",
    "verify",
]
