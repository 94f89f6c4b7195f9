"""What a recipe will cost before it runs: GPU memory, disk to the byte, operations, hours.

Arithmetic on the recipe's shapes, and a trace of a step without numbers; trains nothing.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gimstage.cache import ENCODINGS, StoreLayout
from gimstage.errors import BudgetError, DataError
from gimstage.errors.commands import on_recipe, pasted
from gimstage.extract.layout import planned_layout
from gimstage.files import free_bytes
from gimstage.inputs import DataSet
from gimstage.modality import modality_of
from gimstage.modules import multiply_adds
from gimstage.objectives import objective_multiply_adds
from gimstage.plan.calibration import Calibration
from gimstage.plan.fit import Setting, choose, plain_setting, recomputed_below
from gimstage.plan.memory import Budget
from gimstage.recipe.chain import Chain
from gimstage.sizes import format_bytes
from gimstage.stack import new_learners


@dataclass(frozen=True)
class Recompute:
    """Reading a stage's input from disk against running the modules below again.

    Args:
        sample_bytes: the bytes of one sample's stored input.
        sample_flops: the operations of a forward pass of all modules below over its crop.
        crossing_gb_per_tflop: disk speed in GB/s, per TFLOP/s of the device, above which reading is
            faster.
        faster: "cache" or "recompute" by the last calibration; None without one.
        crossing_bytes_per_s: the disk speed at which both take as long, by that calibration.
    """

    sample_bytes: int
    sample_flops: int
    crossing_gb_per_tflop: float
    faster: str | None
    crossing_bytes_per_s: float | None


@dataclass(frozen=True)
class StagePlan:
    """The cost of one stage.

    Args:
        name: its number.
        parameters: the number of parameters of module and objective.
        steps: optimiser steps; None, like all that depends on the data, where none was given.
        flops_per_step: forward and backward of module and objective as the setting has it, and
            forward of what is recomputed below; a multiply-add being two.
        feature_shape: the shape of the features array, whether or not it is stored.
        encoding: the encoding of the features.
        cache_bytes: the bytes of everything in features.zarr; 0 where nothing is stored.
        exact: False where compression makes `cache_bytes` an upper bound.
        cached_bytes: what lies there already.
        read_bytes_per_step: the bytes of raw data or stored features.
        recompute: what reading stored input competes with; None for a first stage.
        micro_batch: samples whose graph is kept at once.
        checkpointing: whether blocks are computed again in backward.
        relative_time: the time of a step, the plain one being 1.
        predicted_allocated_bytes: peak of GPU memory of a step: a prediction.
        predicted_reserved_bytes: the same as the caching allocator holds it.
        predicted_by_kind: the allocated bytes by what they are for.
        hours: the hours of training and extraction, by the last calibration; None without one.
    """

    name: str
    parameters: int
    steps: int | None
    flops_per_step: int
    feature_shape: tuple[int, ...] | None
    encoding: str
    cache_bytes: int | None
    exact: bool | None
    cached_bytes: int
    read_bytes_per_step: int
    recompute: Recompute | None
    micro_batch: int
    checkpointing: bool
    relative_time: float
    predicted_allocated_bytes: int
    predicted_reserved_bytes: int
    predicted_by_kind: dict[str, int]
    hours: float | None

    def as_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return asdict(self)


def plan_stages(chains: Iterable[Chain], plan: Callable[[Chain], StagePlan]) -> list[StagePlan]:
    """The plan of every chain's last stage.

    Raises:
        BudgetError: of all stages that do not fit the budget of GPU memory, the largest.
    """
    plans, refusals = [], []
    for chain in chains:
        try:
            plans.append(plan(chain))
        except BudgetError as refusal:
            refusals.append(refusal)
    if refusals:
        raise max(refusals, key=lambda refusal: refusal.smallest_bytes or 0)
    return plans


def plan_stage(
    chain: Chain,
    data: DataSet | None,
    *,
    cached_bytes: int,
    budget: Budget | None,
    calibration: Calibration | None,
) -> StagePlan:
    """The cost of the chain's last stage.

    Args:
        chain: the stage, last of its chain.
        data: the data set; without one, what depends on its size is left out.
        cached_bytes: the bytes of its features on disk already.
        budget: the GPU memory to keep within; None for the plain step.
        calibration: how fast this device and disk are, where that was measured.

    Raises:
        DataError: the split is smaller than a batch.
        BudgetError: no setting fits the budget.
    """
    output, batch = chain.last.spec.output, chain.last.spec.train.batch_size
    setting = choose(chain, budget) if budget else plain_setting(chain)
    steps, layout = (_steps(chain, data), planned_layout(chain, data)) if data else (None, None)
    return StagePlan(
        name=str(chain.last.number),
        parameters=_parameters(chain),
        steps=steps,
        flops_per_step=2 * batch * _step_work(chain, setting),
        feature_shape=layout.arrays[0].shape if layout else None,
        encoding=output.encoding,
        cache_bytes=stored_bytes(chain, data) if data else None,
        exact=layout.exact if layout else None,
        cached_bytes=cached_bytes,
        read_bytes_per_step=int(batch * _sample_bytes(chain) * (1 + _crops_before(chain))),
        recompute=_recompute(chain, calibration),
        micro_batch=setting.micro_batch,
        checkpointing=setting.checkpointing,
        relative_time=setting.relative_time,
        predicted_allocated_bytes=setting.peak.allocated_bytes,
        predicted_reserved_bytes=setting.peak.reserved_bytes,
        predicted_by_kind=setting.peak.by_kind,
        hours=_hours(
            chain, steps, layout, relative_time=setting.relative_time, calibration=calibration
        ),
    )


def _parameters(chain: Chain) -> int:
    """The number of weights of the last stage's modules and objectives."""
    with torch.device("meta"):
        learners = new_learners(chain)
    parts = [part for learner in learners for part in (learner.module, learner.objective)]
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


def _step_work(chain: Chain, setting: Setting) -> int:
    """Multiply-adds of a step for one sample's crop, those of what is recomputed below included."""
    # Backward is two passes; micro-batches and checkpointing each add a forward one.
    split = setting.micro_batch < chain.last.spec.train.batch_size
    below = sum(forward_work(part) for part in recomputed_below(chain))
    work = (3 + split + setting.checkpointing) * step_forward_work(chain) + below
    return work + int(_crops_before(chain) * (forward_work(chain) + below))


def _crops_before(chain: Chain) -> float:
    """The rows, in crops, that a recurrent module runs through before one; forward alone."""
    return chain.modality.warm_up_rows(chain.modules()) / chain.shapes()[-1][0]


def _steps(chain: Chain, data: DataSet) -> int:
    """Optimiser steps of the last stage, held-out batches being enough."""
    steps = require_steps(chain, len(data.samples(chain).trained))
    data.held_out_batches(chain)  # refused now, if they are too few
    return steps


def stored_bytes(chain: Chain, data: DataSet) -> int:
    """Bytes of everything in features.zarr of the last stage, or a bound; 0 if it is not stored."""
    if chain.last.spec.output.store == "none":
        return 0
    return planned_layout(chain, data).nbytes


def forward_work(chain: Chain) -> int:
    """Multiply-adds of a forward pass of the last module over one sample's crop."""
    module, shape = chain.modules()[-1], chain.shapes()[-2]
    unit, count = chain.modality.unit_of(module, shape), chain.modality.encoded_alone(module)
    return max(1, count * multiply_adds(module, unit))  # what is divided by this may say 0


def step_forward_work(chain: Chain) -> int:
    """Multiply-adds of a forward pass of modules and objectives over one sample's crop."""
    work, shape = forward_work(chain), chain.shapes()[-2]
    for part, loss in zip(chain.modules()[-1].parts, chain.objectives, strict=True):
        codes = part.code_shape(chain.modality.unit_of(part, shape))
        if part.reads != "grid":
            codes = chain.modality.crop_shape(codes)
        if loss:
            channels, frames = part.context_channels, chain.modality.crop_frames
            work += objective_multiply_adds(loss, codes, channels, frames=frames)
        shape = chain.after(part, shape)
    return work


def _sample_bytes(chain: Chain) -> int:
    """Bytes read for one sample's crop: raw, or as features of the stage that is stored."""
    first = len(chain.stages) - 1 - len(recomputed_below(chain))
    if first == 0:
        return chain.modality.raw_bytes
    output = chain.stages[first - 1].spec.output
    itemsize = ENCODINGS[output.encoding].dtype.itemsize
    return chain.modality.units_per_crop * math.prod(chain.shapes()[first]) * itemsize


def _recompute(chain: Chain, calibration: Calibration | None) -> Recompute | None:
    if chain.upstream is None:
        return None
    itemsize = ENCODINGS[chain.upstream.last.spec.output.encoding].dtype.itemsize
    sample_bytes = chain.modality.units_per_crop * math.prod(chain.shapes()[-2]) * itemsize
    flops = 2 * sum(forward_work(part) for part in chain.below())
    faster, crossing = None, None
    if calibration is not None:
        seconds = sum(calibration.forward_s(part) for part in chain.below())
        crossing = sample_bytes / seconds
        faster = "cache" if calibration.read_bytes_per_s > crossing else "recompute"
    return Recompute(sample_bytes, flops, sample_bytes / 1e9 / (flops / 1e12), faster, crossing)


def _hours(
    chain: Chain,
    steps: int | None,
    layout: StoreLayout | None,
    *,
    relative_time: float,
    calibration: Calibration | None,
) -> float | None:
    """The hours of training, and of extraction where features are stored."""
    if calibration is None or steps is None or layout is None:
        return None
    spec = chain.last.spec
    below = sum(calibration.forward_s(part) for part in recomputed_below(chain))
    # Reading goes on beside computing, writing beside encoding: the slower of the two counts.
    before = _crops_before(chain)
    reading = _sample_bytes(chain) * (1 + before) / calibration.read_bytes_per_s
    step = calibration.step_s(chain) * relative_time + below
    step += before * (calibration.forward_s(chain) + below)
    seconds = steps * spec.train.batch_size * max(step, reading)
    if spec.output.store == "features":
        values = chain.modality.units_per_crop * math.prod(chain.shapes()[-1])
        crops = math.prod(layout.arrays[0].shape) / values
        encoding = crops * (calibration.forward_s(chain) + below)
        seconds += max(encoding, layout.nbytes / calibration.write_bytes_per_s)
    return seconds / 3600


def probe_hours(
    chains: Sequence[Chain], crops: float, *, stacks: int, calibration: Calibration
) -> float:
    """Hours that a probe takes to encode its samples; fitting classifiers is not in it.

    Args:
        chains: the chains of its inputs; one that leads to another is encoded along with that one.
        crops: how many, of the length that the data's `[views]` say, each stack encodes.
        stacks: 2 where what is trained is compared with the same before training, else 1.
        calibration: how fast this device is; covers the chains.
    """
    tops = [c for c in chains if not any(c.last in other.stages[:-1] for other in chains)]
    seconds = 0.0
    for part in (part for top in tops for part in [*top.below(), top]):
        # A stage may be trained, and so was measured, on crops of another length.
        share = math.prod(modality_of(part.data).unit_shape) / math.prod(part.modality.unit_shape)
        seconds += crops * stacks * share * calibration.forward_s(part)
    return seconds / 3600


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
        total_bytes: the bytes of all features of the recipe once they are written.
        max_disk: the most they may take; None for as many as fit.

    Raises:
        BudgetError: free disk or `max_disk` is too small.
    """
    free = free_bytes(root)
    cure = 'choose a smaller encoding, fewer stored views, or store = "none"; see '
    cure += pasted(on_recipe("plan"))
    if needed_bytes > free:
        raise BudgetError(
            where,
            f"{format_bytes(needed_bytes)} of features to write, {format_bytes(free)} free on the "
            f"disk of {root}",
            "enough free disk",
            cure,
        )
    if max_disk is not None and total_bytes > max_disk:
        raise BudgetError(
            where,
            f"{format_bytes(total_bytes)} of features in all",
            f"at most --max-disk {format_bytes(max_disk)}",
            cure,
        )
