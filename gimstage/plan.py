"""What a recipe will cost before it runs: disk to the byte, operations per step.

Pure arithmetic on the recipe's shapes; reads no pixel and trains nothing.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gimstage.chain import Chain
from gimstage.errors import BudgetError, DataError
from gimstage.inputs import DataSet
from gimstage.layout import features_layout
from gimstage.modules import EncoderModule
from gimstage.sizes import readable
from gimstage.specs import ImageDataSpec


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


def plan_stage(chain: Chain, data: DataSet, *, cached_bytes: int) -> StagePlan:
    """The cost of the chain's last stage.

    Raises:
        DataError: the split is smaller than a batch.
    """
    spec = chain.last.spec
    steps = require_steps(chain, data.num_samples)
    with torch.device("meta"):
        module = spec.module.build(chain.modules()[-1].in_channels)
        objective = spec.objective.build(module)
    parameters = [*module.parameters(), *objective.parameters()]
    layout = features_layout(chain, data, fingerprint="0" * 64, weights_sha256="0" * 64)
    kept = spec.output.store == "features"
    return StagePlan(
        name=str(chain.last.number),
        parameters=sum(p.numel() for p in parameters),
        steps=steps,
        flops_per_step=3 * 2 * _multiply_adds(chain, module) * spec.train.batch_size,
        feature_shape=layout.arrays[0].shape,
        encoding=spec.output.encoding,
        cache_bytes=layout.nbytes if kept else 0,
        exact=layout.exact,
        cached_bytes=cached_bytes,
    )


def _multiply_adds(chain: Chain, module: EncoderModule) -> int:
    """Of a forward pass of module and objective over one sample's crop."""
    shapes, objective = chain.shapes(), chain.last.spec.objective
    if isinstance(chain.data, ImageDataSpec):
        side = chain.data.live_views().crop_patches
        patches, length, parallel = side * side, side, side
    else:
        patches, length, parallel = 1, shapes[-1][0], 1
    work: int = objective.multiply_adds(length, parallel, module)
    return work + patches * module.multiply_adds(shapes[-2])


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
