"""One optimiser step, on the whole batch or in micro-batches, with the same gradient.

    whole          batch ─► codes ─► loss ─► backward ─► Adam
    micro-batches  parts ─► codes, without graph        (first pass)
                   all codes ─► loss ─► its gradient at the codes
                   parts ─► codes, with graph ─► backward from that gradient        (second pass)

The negatives of a sample come from the whole batch, so a loss per micro-batch would be another
loss. In two passes it is the same one: the loss reads nothing but codes, and codes of a part depend
on that part alone. What it costs is one more forward pass; what it saves is the graph of all parts
but one. It needs a module in which no sample meets another, so none with batch statistics.

Several learners are trained side by side, each on what the one before hands on, detached. Each runs
its backward pass before the next begins, so no more than one graph exists at any time:

    batch ─► module 1 ─► loss ─► backward ┬─► module 2 ─► loss ─► backward ─► … ─► Adam
                └─► features, detached ───┘
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from gimstage.modules import EncoderModule, Outputs, SequenceModule
from gimstage.objectives import Objective, Result

Load = Callable[[int, int], Tensor]
State = Callable[[int, int], Tensor | None]


class Trained(Protocol):
    """A module and the loss that trains it."""

    @property
    def module(self) -> EncoderModule:
        """The module that is trained."""

    @property
    def objective(self) -> Objective:
        """The loss that trains the module."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a step reads, and what chance decides in it.

    Args:
        load: module input of the samples from the first number to before the second, float32 on the
            module's device; called anew for each pass.
        count: samples of the batch, B.
        labels: the labels of the samples, for objectives that need them.
        rngs: the generators of the negatives, one for each learner.
        state: the state that a recurrent module, the only learner then, begins these samples with;
            asked for anew for each pass, without gradient.
    """

    load: Load
    count: int
    labels: Tensor | None
    rngs: Sequence[torch.Generator]
    state: State | None = None


def training_step(
    learners: Sequence[Trained],
    batch: Batch,
    *,
    optimiser: torch.optim.Optimizer,
    precision: str,
    micro_batch: int,
    due: Sequence[bool],
) -> list[Tensor]:
    """One optimiser step; of each learner loss, accuracy and loss per prediction step, (2 + K,).

    Args:
        learners: one, or several in a row that are trained side by side.
        batch: what is learned from.
        optimiser: the optimiser of the parameters of all of them.
        precision: "float32", or "bfloat16" for autocast.
        micro_batch: samples whose graph is kept at once; B or more for the plain step.
        due: which learners are updated; the others only hand on what they make.
    """
    optimiser.zero_grad(set_to_none=True)
    values = _Steps(learners, batch, due, precision).values(micro_batch)
    optimiser.step()
    return values


@torch.no_grad()
def validation_step(
    learners: Sequence[Trained], batch: Batch, *, precision: str, micro_batch: int
) -> list[Tensor]:
    """The values of `training_step`, with its arguments, of modules that learn nothing here."""
    due = [False for _ in learners]
    return _Steps(learners, batch, due, precision).values(micro_batch)


class _Steps:
    """Forward and backward passes of all learners, and when what they make may be forgotten."""

    def __init__(
        self, learners: Sequence[Trained], batch: Batch, due: Sequence[bool], precision: str
    ) -> None:
        self.learners, self.batch, self.due = learners, batch, due
        self.turns = range(len(learners))
        device = next(p for each in learners for p in each.module.parameters()).device
        narrow = precision == "bfloat16"
        self.autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=narrow)

    def values(self, micro_batch: int) -> list[Tensor]:
        """Run all passes; of each learner loss, accuracy and the loss per prediction step."""
        count = self.batch.count
        if micro_batch >= count:
            results = self.whole((0, count))
        else:
            cuts = [(at, min(at + micro_batch, count)) for at in range(0, count, micro_batch)]
            results = self.in_two_passes(cuts)
        return [torch.cat([r.loss[None], r.accuracy[None], r.loss_per_step]) for r in results]

    def outputs(self, turn: int, inputs: list[Tensor], cut: tuple[int, int]) -> Outputs:
        """What a learner makes of the input taken out of a list, which so lives no longer."""
        module = self.learners[turn].module
        with self.autocast():
            if self.batch.state is None:
                return module.outputs(inputs.pop())
            assert isinstance(module, SequenceModule), "no other has a state"
            return module.continued(inputs.pop(), self.batch.state(*cut))

    def result(self, turn: int, codes: Tensor, contexts: Tensor) -> Result:
        """A learner's result, with its gradient in parameters or at codes, where it is due."""
        objective = self.learners[turn].objective
        with self.autocast(), torch.set_grad_enabled(self.due[turn]):
            draws = objective.draw(codes.shape, self.batch.rngs[turn])
            return objective(codes, contexts, draws, self.batch.labels)

    def whole(self, cut: tuple[int, int]) -> list[Result]:
        """Every learner's loss on the whole batch, its gradient in every parameter."""
        inputs, results = [self.batch.load(*cut)], list[Result]()
        for turn in self.turns:
            with torch.set_grad_enabled(self.due[turn]):
                outputs = self.outputs(turn, inputs, cut)
            result = self.result(turn, outputs.codes, outputs.contexts)
            self._hand_on(turn, outputs, inputs)
            del outputs  # full maps live on only as long as autograd or the next learner needs them
            if self.due[turn]:
                result.loss.backward()
            results.append(_without_graph(result))
        return results

    def in_two_passes(self, cuts: list[tuple[int, int]]) -> list[Result]:
        """The same, with the graph of one part of the batch at a time."""
        pairs = self._codes(cuts)
        results: list[Result] = []
        for turn, (codes, contexts) in enumerate(pairs):
            result = self.result(turn, codes, contexts)
            if self.due[turn]:
                result.loss.backward()
            results.append(_without_graph(result))
        for cut in cuts if any(self.due) else []:
            inputs = [self.batch.load(*cut)]
            for turn, (codes, contexts) in enumerate(pairs):
                with torch.set_grad_enabled(self.due[turn]):
                    outputs = self.outputs(turn, inputs, cut)
                gradients = _gradients_at(outputs, codes, contexts, cut) if self.due[turn] else []
                self._hand_on(turn, outputs, inputs)
                del outputs
                torch.autograd.backward([t for t, _ in gradients], [grad for _, grad in gradients])
        return results

    @torch.no_grad()
    def _codes(self, cuts: list[tuple[int, int]]) -> list[tuple[Tensor, Tensor]]:
        """Every learner's codes and contexts of the whole batch; one tensor where they are one."""
        made: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.turns]
        for cut in cuts:
            inputs = [self.batch.load(*cut)]
            for turn in self.turns:
                outputs = self.outputs(turn, inputs, cut)
                self._hand_on(turn, outputs, inputs)
                made[turn].append((outputs.codes, outputs.contexts))
                del outputs
        return [_joined(parts) for parts in made]

    def _hand_on(self, turn: int, outputs: Outputs, inputs: list[Tensor]) -> None:
        """Give a learner's features to the next one, which no gradient crosses."""
        if turn < self.turns[-1]:
            inputs.append(outputs.features.detach())


def _joined(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Codes and contexts of all parts, as leaves of a graph."""
    with torch.enable_grad():
        codes = torch.cat([codes for codes, _ in parts]).requires_grad_()
        if all(codes is contexts for codes, contexts in parts):
            return codes, codes
        return codes, torch.cat([contexts for _, contexts in parts]).requires_grad_()


def _gradients_at(
    outputs: Outputs, codes: Tensor, contexts: Tensor, cut: tuple[int, int]
) -> list[tuple[Tensor, Tensor]]:
    """What of a part the loss has a gradient at, and that gradient."""
    pairs = [(outputs.codes, codes)]
    pairs += [] if contexts is codes else [(outputs.contexts, contexts)]
    # Codes that are the module's own input have no graph to go back through.
    return [
        (part, whole.grad[slice(*cut)])
        for part, whole in pairs
        if part.requires_grad and whole.grad is not None
    ]


def _without_graph(result: Result) -> Result:
    return Result(result.loss.detach(), result.loss_per_step, result.accuracy)
