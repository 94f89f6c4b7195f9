"""One optimiser step, on the whole batch or in micro-batches, with the same gradient.

    whole          batch ─► codes ─► loss ─► backward ─► Adam
    micro-batches  parts ─► codes, without graph        (first pass)
                   all codes ─► loss ─► its gradient at the codes
                   parts ─► codes, with graph ─► backward from that gradient        (second pass)

The negatives of a sample come from the whole batch, so a loss per micro-batch would be another
loss. In two passes it is the same one: the loss reads nothing but codes, and codes of a part depend
on that part alone. What it costs is one more forward pass; what it saves is the graph of all parts
but one. It needs a module in which no sample meets another, so none with batch statistics.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gimstage.modules import EncoderModule
from gimstage.objectives import Objective, Result

Load = Callable[[int, int], Tensor]


def training_step(
    module: EncoderModule,
    objective: Objective,
    *,
    optimiser: torch.optim.Optimizer,
    load: Load,
    count: int,
    labels: Tensor | None,
    rng: torch.Generator,
    precision: str,
    micro_batch: int,
) -> Tensor:
    """One optimiser step; returns loss, accuracy and the loss per prediction step, (2 + K,).

    Args:
        module: encoder module.
        objective: objective with `draw` and `forward`.
        optimiser: of the parameters of both.
        load: module input of the samples from the first number to before the second, float32 on the
            module's device; called anew for each pass.
        count: samples of the batch, B.
        labels: of the samples, for an objective that needs them.
        rng: of the negatives.
        precision: "float32", or "bfloat16" for autocast.
        micro_batch: samples whose graph is kept at once; B or more for the plain step.
    """
    optimiser.zero_grad(set_to_none=True)
    device = next(module.parameters()).device

    def encoded(first: int, last: int) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return module.codes_and_contexts(load(first, last))

    def judged(codes: Tensor, contexts: Tensor) -> Result:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return objective(codes, contexts, objective.draw(codes.shape, rng), labels)

    # Full maps live on only as long as autograd needs them.
    if micro_batch >= count:
        result = judged(*encoded(0, count))
        result.loss.backward()
    else:
        cuts = [(at, min(at + micro_batch, count)) for at in range(0, count, micro_batch)]
        result = _two_passes(cuts, encoded, judged)
    optimiser.step()
    return torch.cat(
        [result.loss.detach()[None], result.accuracy[None], result.loss_per_step.detach()]
    )


def _two_passes(cuts: list[tuple[int, int]], encoded: Any, judged: Any) -> Result:
    """The loss of all parts, its gradient in every parameter."""
    with torch.no_grad():
        parts = [encoded(*cut) for cut in cuts]
    same = all(codes is contexts for codes, contexts in parts)
    codes = torch.cat([part[0] for part in parts]).requires_grad_()
    contexts = codes if same else torch.cat([part[1] for part in parts]).requires_grad_()
    del parts
    result: Result = judged(codes, contexts)
    result.loss.backward()
    for first, last in cuts:
        pairs = [(codes, 0), (contexts, 1)] if not same else [(codes, 0)]
        part = encoded(first, last)
        # Codes that are the module's own input have no graph to go back through.
        reached = [
            (part[index], whole.grad[first:last])
            for whole, index in pairs
            if part[index].requires_grad and whole.grad is not None
        ]
        del part
        torch.autograd.backward([tensor for tensor, _ in reached], [grad for _, grad in reached])
    return result
