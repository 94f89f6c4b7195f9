"""What a recipe will cost before it runs: disk to the byte, operations per step.

Pure arithmetic on the recipe's shapes; reads no pixel and trains nothing.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gimstage.cache import ArrayLayout, SmallLayout, StoreLayout, pick_shard_rows
from gimstage.errors import BudgetError, DataError
from gimstage.recipe import Chain
from gimstage.sizes import readable
from gimstage.views import StoredViews

DIMENSIONS = ("sample", "view", "row", "column", "channel", "y", "x")


@dataclass(frozen=True)
class StagePlan:
    """The cost of one stage.

    Args:
        name: its number.
        parameters: of module and objective.
        steps: optimiser steps.
        flops_per_step: forward and backward of module and projections, a multiply-add being two.
        feature_shape: of the features array, whether or not it is stored.
        encoding: of the features.
        cache_bytes: of everything in features.zarr; 0 where nothing is stored.
        exact: False where compression makes `cache_bytes` an upper bound.
        cached_bytes: what lies there already.
    """

    name: str
    parameters: int
    steps: int
    flops_per_step: int
    feature_shape: tuple[int, ...]
    encoding: str
    cache_bytes: int
    exact: bool
    cached_bytes: int

    def as_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return asdict(self)


def feature_shape(chain: Chain, stored: StoredViews) -> tuple[int, ...]:
    """(N, V, G, G, C, y, x) of what the chain's last stage hands on."""
    grid = (stored.num_samples, stored.count, stored.patches, stored.patches)
    return (*grid, *chain.shapes()[-1])


def features_layout(
    chain: Chain, stored: StoredViews, *, fingerprint: str, weights_sha256: str, labelled: bool
) -> StoreLayout:
    """features.zarr of the chain's last stage, down to the byte.

    One chunk is one stored view of one sample; features and codes share their shards.

    Args:
        chain: the stage, last of its chain.
        stored: the views it stores.
        fingerprint: of what it hands on.
        weights_sha256: of the very weights that computed it.
        labelled: whether the split has labels.
    """
    output, shape = chain.last.spec.output, feature_shape(chain, stored)

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
    return StoreLayout(
        arrays=tuple(arrays),
        small=tuple(_small_arrays(shape, output.encoding, labelled)),
        attributes={
            "gimstage": f"features of module {chain.last.key}",
            "fingerprint": fingerprint,
            "weights_sha256": weights_sha256,
            "split": chain.data.train_split,
            "after_relu": output.relu,
            "patch_px": stored.live.patch_px,
            "stride_px": stored.live.stride_px,
            "crop_patches": stored.live.crop_patches,
        },
    )


def _small_arrays(shape: tuple[int, ...], encoding: str, labelled: bool) -> list[SmallLayout]:
    def small(name: str, shape: tuple[int, ...], dtype: str, *dims: str) -> SmallLayout:
        return SmallLayout(name=name, shape=shape, dtype=np.dtype(dtype), dims=dims)

    arrays = [
        small("source_sample", shape[:1], "int64", "sample"),
        small("origin_y", shape[:2], "int64", "sample", "view"),
        small("origin_x", shape[:2], "int64", "sample", "view"),
        small("flip", shape[:2], "bool", "sample", "view"),
    ]
    if encoding == "uint8":
        arrays.append(small("features_scale", shape[4:5], "float32", "channel"))
        arrays.append(small("features_offset", shape[4:5], "float32", "channel"))
    if labelled:
        arrays.append(small("label", shape[:1], "int64", "sample"))
    return arrays


def plan_stage(
    chain: Chain, stored: StoredViews, *, labelled: bool, cached_bytes: int
) -> StagePlan:
    """The cost of the chain's last stage.

    Raises:
        DataError: the split is smaller than a batch.
    """
    spec, shapes = chain.last.spec, chain.shapes()
    steps = require_steps(chain, stored.num_samples)
    with torch.device("meta"):
        module = spec.module.build(shapes[-2][0])
        objective = spec.objective.build(module.out_channels)
    crop = stored.live.crop_patches
    forward = crop * crop * module.multiply_adds(shapes[-2])
    forward += spec.objective.multiply_adds(crop, crop, module.out_channels)
    parameters = [*module.parameters(), *objective.parameters()]
    layout = features_layout(
        chain, stored, fingerprint="0" * 64, weights_sha256="0" * 64, labelled=labelled
    )
    kept = spec.output.store == "features"
    return StagePlan(
        name=str(chain.last.number),
        parameters=sum(p.numel() for p in parameters),
        steps=steps,
        flops_per_step=3 * 2 * forward * spec.train.batch_size,
        feature_shape=layout.arrays[0].shape,
        encoding=spec.output.encoding,
        cache_bytes=layout.nbytes if kept else 0,
        exact=layout.exact,
        cached_bytes=cached_bytes,
    )


def require_steps(chain: Chain, num_samples: int) -> int:
    """Optimiser steps of the last stage's training.

    Raises:
        DataError: the split is smaller than a batch.
    """
    train = chain.last.spec.train
    if num_samples < train.batch_size:
        raise DataError(
            f"stage {chain.last.key}",
            f"{num_samples} {chain.data.train_split} samples",
            f"at least one batch of {train.batch_size}",
            "use more data or a smaller batch_size",
        )
    return train.total_steps(num_samples)


def require_disk(
    where: str, needed_bytes: int, *, root: Path, total_bytes: int, max_disk: int | None
) -> None:
    """Refuse before a byte is written what would not fit.

    Args:
        where: what needs the space, for the message.
        needed_bytes: still to be written.
        root: the runs folder.
        total_bytes: of all features of the recipe once they are written.
        max_disk: the most they may take; None for as many as fit.

    Raises:
        BudgetError: free disk or `max_disk` is too small.
    """
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    cure = 'choose a smaller encoding, fewer stored views, or store = "none"; see `gimstage plan`'
    if needed_bytes > free:
        raise BudgetError(
            where,
            f"{readable(needed_bytes)} of features to write, {readable(free)} free on the disk "
            f"of {root}",
            "enough free disk",
            cure,
        )
    if max_disk is not None and total_bytes > max_disk:
        raise BudgetError(
            where,
            f"{readable(total_bytes)} of features in all",
            f"at most --max-disk {readable(max_disk)}",
            cure,
        )
