"""What features.zarr of a stage looks like: its arrays, their axes, chunks and attributes.

    images   features, codes (sample, view, row, column, channel, y, x); a chunk is a stored view
    speech   features (frame, channel), utterances end to end, and `offsets` of their beginnings

Shape letters: N samples, V stored views, E stored entries, C channels.
"""

from typing import Any

import numpy as np

from gimstage.cache import ArrayLayout, SmallLayout, StoreLayout, pick_shard_rows
from gimstage.inputs import DataSet
from gimstage.modality import samples_per_row, sequence_modules
from gimstage.recipe.chain import Chain
from gimstage.views import FRAME_SAMPLES, StoredSpans, StoredViews

DIMENSIONS = ("sample", "view", "row", "column", "channel", "y", "x")


def features_layout(
    chain: Chain, data: DataSet, *, fingerprint: str, weights_sha256: str
) -> StoreLayout:
    """features.zarr of the chain's last stage, down to the byte.

    Args:
        chain: the stage, last of its chain.
        data: the data set.
        fingerprint: of what it hands on.
        weights_sha256: of the very weights that computed it.
    """
    stored, output = data.stored, chain.last.spec.output
    labels = None if data.labels is None else len(data.labels)
    if isinstance(stored, StoredViews):
        arrays, small, attributes = _grids(chain, stored, labels)
    else:
        arrays, small, attributes = _sequences(chain, stored, labels)
    if output.encoding == "uint8":
        channels = (arrays[0].shape[arrays[0].channel_axis],)
        small.append(_small("features_scale", channels, "float32", "channel"))
        small.append(_small("features_offset", channels, "float32", "channel"))
    return StoreLayout(
        arrays=tuple(arrays),
        small=tuple(small),
        attributes={
            "gimstage": f"features of module {chain.last.key}",
            "fingerprint": fingerprint,
            "weights_sha256": weights_sha256,
            "split": chain.data.train_split,
            "after_relu": output.relu,
            **attributes,
        },
    )


_Parts = tuple[list[ArrayLayout], list[SmallLayout], dict[str, Any]]


def _grids(chain: Chain, stored: StoredViews, labels: int | None) -> _Parts:
    """One chunk is one stored view of one sample; features and codes share their shards."""
    output = chain.last.spec.output
    grid = (stored.num_samples, stored.count, stored.patches, stored.patches)
    shape = (*grid, *chain.shapes()[-1])

    def array(name: str, shape: tuple[int, ...], encoding: Any, rows: int) -> ArrayLayout:
        return ArrayLayout(
            name=name,
            shape=shape,
            dims=DIMENSIONS[: len(shape)],
            encoding=encoding,
            chunk=(1, 1, *shape[2:]),
            shard_rows=rows,
        )

    one = array("features", shape, output.encoding, 1)
    rows = pick_shard_rows(shape[0], row_bytes=one.row_bytes, chunk_rows=1)
    arrays = [array("features", shape, output.encoding, rows)]
    if output.codes:
        arrays.append(array("codes", shape[:5], "float32", rows))
    small = [
        _small("source_sample", shape[:1], "int64", "sample"),
        _small("origin_y", shape[:2], "int64", "sample", "view"),
        _small("origin_x", shape[:2], "int64", "sample", "view"),
        _small("flip", shape[:2], "bool", "sample", "view"),
    ]
    if labels is not None:
        small.append(_small("label", shape[:1], "int64", "sample"))
    attributes = {
        "patch_px": stored.live.patch_px,
        "stride_px": stored.live.stride_px,
        "crop_patches": stored.live.crop_patches,
    }
    return arrays, small, attributes


def _sequences(chain: Chain, stored: StoredSpans, labels: int | None) -> _Parts:
    """One chunk is as many rows as a crop has, whichever entries they belong to."""
    modules = sequence_modules(chain.modules())
    rows = stored.entry_frames * FRAME_SAMPLES
    for module in modules:
        rows = np.array([module.length(int(n)) for n in rows])
    rows_per_frame = FRAME_SAMPLES // samples_per_row(modules)
    shape = (int(rows.sum()), modules[-1].out_channels)
    chunk_rows = rows_per_frame * (chain.data.unit_shape[0] // FRAME_SAMPLES)

    def array(shard_rows: int) -> ArrayLayout:
        return ArrayLayout(
            name="features",
            shape=shape,
            dims=("frame", "channel"),
            encoding=chain.last.spec.output.encoding,
            chunk=(chunk_rows, shape[1]),
            shard_rows=shard_rows,
        )

    row_bytes = array(chunk_rows).row_bytes
    shard_rows = pick_shard_rows(shape[0], row_bytes=row_bytes, chunk_rows=chunk_rows)
    entries = (len(stored.source),)
    small = [
        _small("offsets", (entries[0] + 1,), "int64", "boundary"),
        _small("source_sample", entries, "int64", "entry"),
        _small("start_frame", entries, "int64", "entry"),
        _small("frames", entries, "int64", "entry"),
    ]
    if labels is not None:
        small.append(_small("label", entries, "int64", "entry"))
    return [array(shard_rows)], small, {"rows_per_10_ms": rows_per_frame}


def _small(name: str, shape: tuple[int, ...], dtype: str, *dims: str) -> SmallLayout:
    return SmallLayout(name=name, shape=shape, dtype=np.dtype(dtype), dims=dims)
