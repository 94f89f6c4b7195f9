"""From zarr.json back to layouts: what lies on disk is read as this package would have written it.

Anything else is refused, by the first key that differs, rather than read with hope.
"""

import json
from collections.abc import Mapping
from typing import Any

from gimstage.cache.encodings import ENCODINGS
from gimstage.cache.format import ArrayLayout, Metadata, SmallLayout, StoreLayout
from gimstage.errors import CacheError


def parse_store(documents: Mapping[str, Metadata], *, where: str) -> StoreLayout:
    """The layout that a store's zarr.json files, keyed by path, describe.

    Raises:
        CacheError: they describe something this package would not have written.
    """
    parts = [
        _parse_array(path.removesuffix("/zarr.json"), metadata, where=f"{where}/{path}")
        for path, metadata in sorted(documents.items())
        if path != "zarr.json"
    ]
    arrays = tuple(array for array in parts if isinstance(array, ArrayLayout))
    if not arrays:
        raise CacheError(where, "a Zarr group without a sharded array", "a store of features")
    small = tuple(array for array in parts if isinstance(array, SmallLayout))
    attributes = documents["zarr.json"].get("attributes", {})
    if not isinstance(attributes, dict):
        raise CacheError(f"{where}/zarr.json: attributes", json.dumps(attributes), "a table")
    return StoreLayout(arrays=arrays, small=small, attributes=attributes)


def _parse_array(name: str, metadata: Metadata, *, where: str) -> ArrayLayout | SmallLayout:
    """The layout of one array; anything it would not itself write is refused."""
    try:
        shape, dims = tuple(metadata["shape"]), tuple(metadata["dimension_names"])
        codec = metadata["codecs"][0]
        array: ArrayLayout | SmallLayout
        if codec["name"] == "sharding_indexed":
            inner = codec["configuration"]
            array = ArrayLayout(
                name=name,
                shape=shape,
                dims=dims,
                encoding=_encoding(metadata, inner["codecs"], where=where),
                chunk=tuple(inner["chunk_shape"]),
                shard_rows=metadata["chunk_grid"]["configuration"]["chunk_shape"][0],
            )
        else:
            array = SmallLayout(name=name, shape=shape, dtype=metadata["data_type"], dims=dims)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise CacheError(where, f"metadata gimstage cannot read ({error!r})") from error
    wanted = array.metadata()
    ignored = {"attributes", "storage_transformers"}
    difference = first_difference(
        {k: v for k, v in metadata.items() if k not in ignored},
        {k: v for k, v in wanted.items() if k not in ignored},
    )
    if difference:
        key, this, other = difference
        raise CacheError(f"{where}: {key}", json.dumps(this), json.dumps(other))
    return array


def _encoding(array: Metadata, codecs: list[Metadata], *, where: str) -> str:
    """The name of the encoding that stores the array's dtype through these codecs.

    Several may; then the array's attributes say which it is, else it is the first of them.
    """
    dtype, names = array["data_type"], [codec["name"] for codec in codecs]
    fitting = [
        name
        for name, encoding in ENCODINGS.items()
        if (dtype, names) == (encoding.numpy_dtype.name, encoding.codec_names)
    ]
    named = array.get("attributes", {}).get("encoding")
    unknown = named is not None and named not in ENCODINGS
    if unknown or not fitting:
        through = f"{dtype} through {', '.join(names)}"
        stored = f"{through}, encoded by {json.dumps(named)}" if unknown else through
        raise CacheError(where, stored, expected=f"an encoding of {', '.join(ENCODINGS)}")
    return named if named in fitting else fitting[0]


def first_difference(stored: Any, wanted: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """The first key, in dotted form, whose values differ, with both; None if all are equal."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for name in dict.fromkeys((*wanted, *stored)):
            inner = f"{key}.{name}" if key else name
            difference = first_difference(stored.get(name), wanted.get(name), inner)
            if difference:
                return difference
        return None
    return None if stored == wanted else (key, stored, wanted)
