"""The fastest exact way to take a stage's training step within a budget of GPU memory.

Exact: the batch, the negatives and so the gradient stay as they are. What may change is how many
samples keep their graph at once (the micro-batch, two passes) and whether blocks are computed again
in backward (checkpointing). A stage that reads recomputed input holds the frozen modules too.

Shape letters: B batch, G patches per side of a crop, C channels, P px per patch side, T rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gimstage.errors import BudgetError
from gimstage.inputs import HandOff, encoded_again
from gimstage.modality import sequence_modules
from gimstage.modules import EncoderModule
from gimstage.plan.memory import Budget, Peak, predict_peak
from gimstage.plan.predictions import code_of, prediction_key, remembered
from gimstage.recipe.chain import Chain
from gimstage.sizes import format_bytes
from gimstage.stack import Learner, new_learners, new_module, stand_in_labels
from gimstage.train.step import Batch, training_step
from gimstage.train.warmup import PIECE_ROWS

# Time of a step as a multiple of the plain one. In theory a forward pass is a third of it and each
# measure costs one more: 1.33, and 1.67 for both. `make bench` measures them.
MICRO_COST, CHECKPOINT_COST = 1.33, 1.25
HALVING_COST = 0.01  # for every halving of the micro-batch: smaller kernels run a little slower

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """A way to take the training step.

    Args:
        micro_batch: samples whose graph is kept at once; the batch size for the plain step.
        checkpointing: whether blocks are computed again in backward.
        relative_time: the time of a step, the plain one being 1.
        peak: predicted.
    """

    micro_batch: int
    checkpointing: bool
    relative_time: float
    peak: Peak


def plain_setting(chain: Chain) -> Setting:
    """The plain step of the chain's last stage."""
    batch = chain.last.spec.train.batch_size
    return Setting(batch, False, 1.0, predicted_peak(chain, batch, False))


def choose(chain: Chain, budget: Budget) -> Setting:
    """The fastest setting of the chain's last stage whose predicted reserved bytes fit.

    Raises:
        BudgetError: none fits; says how much the leanest needs.
    """
    room, module = _room(budget), chain.modules()[-1]
    sizes = [chain.last.spec.train.batch_size]
    while sizes[-1] > 1 and not module.uses_batch_statistics:
        sizes.append(-(-sizes[-1] // 2))
    tried = []
    for checkpointing in (False, True) if module.checkpoints > 1 else (False,):
        tried += _search(chain, sizes, checkpointing, room)
    fitting = [setting for setting in tried if setting.peak.reserved_bytes <= room]
    if not fitting:
        raise _too_small(chain, budget, min(tried, key=lambda s: s.peak.reserved_bytes))
    return min(fitting, key=lambda setting: setting.relative_time)


def _search(chain: Chain, sizes: Sequence[int], checkpointing: bool, room: int) -> list[Setting]:
    """The whole batch, then by halving the range the largest micro-batch that fits; all tried."""
    tried = [_setting(chain, sizes[0], checkpointing)]
    if tried[0].peak.reserved_bytes <= room:
        return tried
    low, high = 1, len(sizes) - 1
    while low <= high:
        middle = (low + high) // 2
        tried.append(_setting(chain, sizes[middle], checkpointing))
        if tried[-1].peak.reserved_bytes <= room:
            high = middle - 1
        else:
            low = middle + 1
    return tried


def _setting(chain: Chain, micro_batch: int, checkpointing: bool) -> Setting:
    batch = chain.last.spec.train.batch_size
    time = CHECKPOINT_COST if checkpointing else 1.0
    if micro_batch < batch:
        time += MICRO_COST - 1 + HALVING_COST * (batch / micro_batch - 1) ** 0.5
    return Setting(
        micro_batch, checkpointing, time, predicted_peak(chain, micro_batch, checkpointing)
    )


def _too_small(chain: Chain, budget: Budget, needed: Setting) -> BudgetError:
    fixed = budget.context_bytes + budget.workspace_bytes
    smallest = math.ceil(fixed + needed.peak.reserved_bytes / (1 - budget.margin_share))
    return BudgetError(
        f"stage {chain.last.key}, --gpu-mem {format_bytes(budget.total_bytes)}",
        f"{format_bytes(needed.peak.reserved_bytes)} predicted for tensors at the least "
        f"(micro-batch {needed.micro_batch}{_why_not_less(chain, needed)}), "
        f"{format_bytes(_room(budget))} left for them",
        f"at least {format_bytes(smallest)}: with {format_bytes(budget.context_bytes)} for the "
        f"context, {format_bytes(budget.workspace_bytes)} for workspaces and "
        f"{budget.margin_share:.0%} margin",
        "allow more memory, set less aside (--gpu-context, --gpu-workspace, --gpu-margin), or "
        'choose a narrower module or precision = "bfloat16"',
        smallest_bytes=smallest,
    )


def _why_not_less(chain: Chain, needed: Setting) -> str:
    if chain.modules()[-1].uses_batch_statistics:
        return "; batch statistics forbid smaller ones"
    return ", checkpointing" if needed.checkpointing else ""


def _room(budget: Budget) -> int:
    """Bytes left for tensors, none where context and workspaces take all."""
    try:
        return budget.for_tensors
    except BudgetError:
        return 0


def predicted_peak(chain: Chain, micro_batch: int, checkpointing: bool) -> Peak:
    """The predicted peak of a training step of the chain's last stage, on CUDA; traced once."""
    key = prediction_key(
        stage=chain.weights_identity(""),
        parts=[code_of(table.part) for stage in chain.stages for table in stage.spec.tables],
        recomputed=len(recomputed_below(chain)),  # a store is not part of what decides numbers
        micro_batch=micro_batch,
        checkpointing=checkpointing,
    )
    return remembered(key, partial(_traced, chain, micro_batch, checkpointing))


def _traced(chain: Chain, micro_batch: int, checkpointing: bool) -> Peak:
    spec, below = chain.last.spec.train, recomputed_below(chain)
    learners: list[Learner] = []
    frozen: list[EncoderModule] = []

    def build() -> tuple[nn.Module, nn.Module]:
        learners[:] = new_learners(chain)
        for learner in learners:
            learner.module.checkpointing = checkpointing
        frozen[:] = [new_module(part) for part in below]
        modules, objectives = zip(
            *((each.module, each.objective) for each in learners), strict=True
        )
        return nn.ModuleList(modules), nn.ModuleList(objectives)

    def step(_: nn.Module, __: nn.Module, optimiser: torch.optim.Optimizer, batch: Tensor) -> None:
        training_step(
            learners,
            Batch(
                load=partial(_load, batch, frozen, below),
                count=spec.batch_size,
                labels=stand_in_labels(chain, spec.batch_size),
                rngs=[torch.Generator() for _ in learners],
                state=partial(_state, chain, learners, frozen, below) if warmed_up else None,
            ),
            optimiser=optimiser,
            precision=spec.precision,
            micro_batch=micro_batch,
            due=[True for _ in learners],
        )

    shape, warmed_up = _input_shape(chain, below), chain.modality.warm_up_rows(chain.modules())
    # Once, before the trace: what is first built inside it keeps its stand-ins for tensors.
    for part in [*below, chain]:
        part.build()
    return predict_peak(build, step, batch_shape=(spec.batch_size, *shape), resident=False)


def recomputed_below(chain: Chain) -> list[Chain]:
    """The stages below the last that are run again at every step, lowest first."""
    below: list[Chain] = []
    part = chain.upstream
    while part is not None and part.last.spec.output.store == "none":
        below.insert(0, part)
        part = part.upstream
    return below


def _input_shape(chain: Chain, below: list[Chain]) -> tuple[int, ...]:
    """The shape of one sample of what is read; of speech with the reach of what is recomputed."""
    shapes = chain.shapes()[-2 - len(below) : -1]
    return chain.modality.input_shape(shapes, [part.modules()[-1] for part in below])


@torch.no_grad()
def _state(
    chain: Chain,
    learners: Sequence[Learner],
    frozen: list[EncoderModule],
    below: list[Chain],
    first: int,
    last: int,
) -> Tensor | None:
    """What a recurrent module begins some samples with, after a piece of what is before them."""
    (module,) = sequence_modules([learners[0].module])
    rows = min(PIECE_ROWS, chain.modality.warm_up_rows(chain.modules()))
    *shapes, shape = chain.shapes()[-2 - len(below) : -1]
    piece = [*shapes, (module.reach(0, rows).rows, *shape[1:])]
    read = chain.modality.input_shape(piece, [part.modules()[-1] for part in below])
    return module.advance(_load(torch.empty(last, *read), frozen, below, first, last), None)[1]


def _load(
    batch: Tensor, frozen: list[EncoderModule], below: list[Chain], first: int, last: int
) -> Tensor:
    """Module input of some samples: moved to the device, through the frozen modules if any."""
    x = batch[first:last].to(CPU)
    for module, part in zip(frozen, below, strict=True):
        x = encoded_again(module, x, HandOff.of(part.last.spec.output, module))
    return x
